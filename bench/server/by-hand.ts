import type { RequestHandler, Response } from 'express'
import { peer } from './subject.ts'

// Caches of values, as somebody would put them into a middleware by hand

/** What is kept of an answer. */
interface Kept {
  readonly status: number
  readonly type: string
  readonly body: string
}

/** Gives the value for a key, from a run where there is none. */
type Wrap = (key: string, run: () => Promise<Kept>) => Promise<Kept | undefined>

interface CacheManager {
  wrap(key: string, run: () => Promise<Kept>, ttl: number): Promise<Kept>
}

interface Bento {
  getOrSet(options: { key: string; ttl: string; factory: () => Promise<Kept> }): Promise<Kept>
}

interface DedupeCache {
  define(
    name: 'page',
    options: { serialize: (asked: Asked) => string },
    run: (asked: Asked) => Promise<Kept>,
  ): { page: (asked: Asked) => Promise<Kept> }
}

interface Asked {
  readonly key: string
  readonly run: () => Promise<Kept>
}

export async function cacheManager(): Promise<RequestHandler> {
  const { createCache } = await peer<{ createCache: (options: object) => CacheManager }>('cache-manager')
  const cache = createCache({})
  return byHand((key, run) => cache.wrap(key, run, 3600_000))
}

export async function bentocache(): Promise<RequestHandler> {
  const { BentoCache, bentostore } = await peer<{
    BentoCache: new (options: object) => Bento
    bentostore: () => { useL1Layer(driver: unknown): unknown }
  }>('bentocache')
  const { memoryDriver } = await peer<{ memoryDriver: (options: object) => unknown }>('bentocache/drivers/memory')
  const store = bentostore().useL1Layer(memoryDriver({ maxItems: 200_000 }))
  const cache = new BentoCache({ default: 'memory', stores: { memory: store } })
  return byHand((key, run) => cache.getOrSet({ key, ttl: '1h', factory: run }))
}

export async function asyncCacheDedupe(): Promise<RequestHandler> {
  const { createCache } = await peer<{ createCache: (options: object) => DedupeCache }>('async-cache-dedupe')
  const cache = createCache({ ttl: 3600, storage: { type: 'memory', options: { size: 200_000 } } })
  const { page } = cache.define('page', { serialize: ({ key }) => key }, ({ run }) => run())
  return byHand((key, run) => page({ key, run }))
}

function byHand(wrap: Wrap): RequestHandler {
  return async (req, res, next) => {
    let isOwn = false
    const kept = await wrap(req.originalUrl, () => {
      isOwn = true
      return captured(res, next)
    })
    if (!isOwn && kept) reply(res, kept)
  }
}

/** Runs the handler, and has what it says when it says it with `res.send`, as `res.json` does. */
function captured(res: Response, next: () => void): Promise<Kept> {
  const { promise, resolve } = withResolvers<Kept>()
  const send = res.send
  res.send = (body) => {
    const answer = send.call(res, body)
    if (typeof body === 'string') resolve({ status: res.statusCode, type: String(res.get('Content-Type')), body })
    return answer
  }
  next()
  return promise
}

function reply(res: Response, { status, type, body }: Kept): void {
  res.statusCode = status
  res.setHeader('Content-Type', type).end(body)
}

function withResolvers<V>(): { promise: Promise<V>; resolve: (value: V) => void } {
  let resolve: (value: V) => void = () => {}
  const promise = new Promise<V>((settle) => {
    resolve = settle
  })
  return { promise, resolve }
}
