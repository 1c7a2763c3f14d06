import type { IncomingMessage, RequestListener } from 'node:http'
import { createRequire } from 'node:module'
import express5 from 'express'
import Koa3 from 'koa'
import { onTestFinished } from 'vitest'
import { tagcache as expressCache } from '../../src/adapters/express.ts'
import { tagcache as koaCache } from '../../src/adapters/koa.ts'
import { tagcache as nodeCache } from '../../src/adapters/node.ts'
import { type DashboardOptions, dashboard } from '../../src/dashboard/dashboard.ts'
import { type Cache, type CacheOptions, createCache } from '../../src/index.ts'
import { type Answer, ask, listen, type TestServer } from '../support/http.ts'

const require = createRequire(import.meta.url)
const express4 = require('express4') as typeof express5
const Koa2 = require('koa2') as typeof Koa3

type Options = DashboardOptions<IncomingMessage, unknown>

/** A way to mount a dashboard at `/cache`, below a `cached()` that caches everything that it may. */
export interface Mounting {
  readonly name: string
  mount(cache: Cache, options: Options): RequestListener
}

const EVERYTHING = { scope: 'public', ttl: 60, host: false } as const

export const MOUNTINGS: readonly Mounting[] = [
  { name: 'Express 5', mount: mountExpress(express5) },
  { name: 'Express 4', mount: mountExpress(express4) },
  { name: 'Koa 3', mount: mountKoa(Koa3) },
  { name: 'Koa 2', mount: mountKoa(Koa2) },
  {
    name: 'node:http',
    mount(cache, options) {
      const { cached } = nodeCache(cache)
      const layer = cached(EVERYTHING)
      const board = dashboard(cache, { ...options, path: '/cache' })
      const application: RequestListener = (_req, res) => {
        res.setHeader('content-type', 'text/plain')
        res.end('application')
      }
      return (req, res) => layer(req, res, () => board(req, res, () => application(req, res)))
    },
  },
]

function mountExpress(express: typeof express5): Mounting['mount'] {
  return (cache, options) => {
    const app = express()
    app.set('env', 'test')
    app.use(expressCache(cache).cached(EVERYTHING), express.json())
    app.use('/cache', dashboard(cache, options))
    app.use((_req, res) => void res.type('text/plain').send('application'))
    return app
  }
}

function mountKoa(Koa: typeof Koa3): Mounting['mount'] {
  return (cache, options) => {
    const app = new Koa()
    app.silent = true
    app.use(koaCache(cache).cached(EVERYTHING))
    app.use(dashboard(cache, { ...options, path: '/cache' }).koa)
    app.use((ctx) => {
      ctx.body = 'application'
    })
    return app.callback()
  }
}

/** A mounted dashboard, and whoever asks it. */
export interface Board {
  readonly cache: Cache
  readonly server: TestServer
  /** Where it is mounted, without a slash at the end. */
  readonly url: string
  get(path: string, headers?: Record<string, string>): Promise<Answer>
  /** As the page writes. */
  post(path: string, body: unknown, headers?: Record<string, string | undefined>): Promise<Answer>
}

export const ANN = { authorize: () => ({ name: 'ann' }) } as const

/** Mounts a dashboard for one test. */
export async function board(
  mounting: Mounting = MOUNTINGS[0]!,
  options: Options = ANN,
  cacheOptions: CacheOptions = {},
): Promise<Board> {
  const cache = createCache(cacheOptions) as Cache
  const server = await listen(mounting.mount(cache, options))
  onTestFinished(async () => {
    await cache.close()
    await server.close()
  })
  const url = `${server.url}/cache`
  return {
    cache,
    server,
    url,
    get: (path, headers) => ask(url + path, headers ? { headers } : {}),
    post(path, body, headers = {}) {
      const all = { 'content-type': 'application/json', 'x-tagcache': '1', origin: server.url, ...headers }
      const sent = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
      const text = typeof body === 'string' ? body : JSON.stringify(body)
      return ask(url + path, {
        method: 'POST',
        headers: { ...sent, 'content-length': Buffer.byteLength(text) },
        body: text,
      })
    },
  }
}

/** What an answer says, read. */
export function jsonOf<V = Record<string, never>>({ text }: Answer): V {
  return JSON.parse(text)
}
