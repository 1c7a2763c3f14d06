import type { RequestHandler } from 'express'
import { tagcache } from '../../dist/adapters/express.js'
import { redis } from '../../dist/backends/redis/redis.js'
import { memory, tiered } from '../../dist/index.js'
import { peer } from './subject.ts'
import type { Origin } from './workload.ts'

// Caches in Redis, and before it

type Client = Parameters<typeof redis>[0] & {
  getBuffer(key: string): Promise<Buffer | null>
  set(key: string, value: string, mode: 'EX', seconds: number): Promise<unknown>
}

async function clientFor(origin: Origin): Promise<Client> {
  const { Redis } = await peer<{ Redis: new (port: number) => Client }>('ioredis')
  return new Redis(origin.work.redisPort!)
}

/** A body by GET, and sent: the least that a cache in Redis costs. */
export async function redisByHand(origin: Origin): Promise<RequestHandler> {
  const client = await clientFor(origin)
  return async (req, res, next) => {
    const key = `by-hand:${req.originalUrl}`
    const body = await client.getBuffer(key)
    if (body) return res.setHeader('Content-Type', 'application/json; charset=utf-8').end(body)
    const send = res.send
    res.send = (sent) => {
      if (typeof sent === 'string') void client.set(key, sent, 'EX', 3600)
      return send.call(res, sent)
    }
    next()
  }
}

export async function redisCached(origin: Origin): Promise<RequestHandler> {
  const far = redis(await clientFor(origin), { namespace: 'bench' })
  await far.ready()
  return tagcache({ ttl: '1h', backend: far }).cached({ tags: ['items'] }) as RequestHandler
}

export async function nearCached(origin: Origin): Promise<RequestHandler> {
  const far = redis(await clientFor(origin), { namespace: 'bench-near' })
  await far.ready()
  const backend = tiered({ near: memory(), far })
  return tagcache({ ttl: '1h', backend }).cached({ tags: ['items'] }) as RequestHandler
}
