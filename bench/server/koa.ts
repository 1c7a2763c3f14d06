import type { RequestListener } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type KoaRouter from '@koa/router'
import type Koa from 'koa'
import type { Middleware } from 'koa'
import { tagcache } from '../../dist/adapters/koa.js'
import { type Make, peerDefault } from './subject.ts'
import type { Origin } from './workload.ts'

// Servers on Koa

interface Store {
  get(key: string): unknown
  set(key: string, value: unknown): unknown
}

/** The cheapest answer that a middleware can give: bytes made beforehand. */
export const koaStatic: Make = async (origin) => {
  const body = origin.body('1')
  return serverOf((ctx) => {
    ctx.type = 'json'
    ctx.body = body
  })
}

/** Before Koa sees the request. */
export const koaFront: Make = async (origin) => {
  const { cached, front } = tagcache({ ttl: '1h' })
  return front(await serverOf(cached({ tags: ['items'], front: true }) as Middleware, handlerOf(origin)))
}

export const koaUse: Make = (origin) =>
  serverOf(tagcache({ ttl: '1h' }).cached({ tags: ['items'] }) as Middleware, handlerOf(origin))

export const koaRoute: Make = async (origin) => {
  const Router = await peerDefault<typeof KoaRouter>('@koa/router')
  const cached = tagcache({ ttl: '1h' }).cached({ tags: (ctx) => ['items', `item:${ctx.params.id}`] })
  const router = new Router().get('/items/:id', cached as never, handlerOf(origin) as never)
  return serverOf(router.routes() as never)
}

/** koa-cash over an LRU, as its page shows it. */
export const koaCash: Make = async (origin) => {
  const koaCash = await peerDefault<(options: Store & { maxAge: number }) => Middleware>('koa-cash')
  const { LRUCache } = await import('lru-cache')
  const store = new LRUCache<string, object>({ max: 200_000 })
  return serverOf(
    koaCash({ maxAge: 3600_000, get: (key) => store.get(key), set: (key, value) => store.set(key, value as object) }),
    async (ctx, next) => ((await (ctx as unknown as { cashed(): Promise<boolean> }).cashed()) ? undefined : next()),
    handlerOf(origin),
  )
}

async function serverOf(...layers: readonly Middleware[]): Promise<RequestListener> {
  const app = new (await peerDefault<typeof Koa>('koa'))()
  for (const layer of layers) app.use(layer)
  return app.callback()
}

function handlerOf(origin: Origin): Middleware {
  const { delay } = origin.work
  return async (ctx) => {
    const item = origin.run(ctx.path.slice(ctx.path.lastIndexOf('/') + 1))
    if (delay) await sleep(delay)
    ctx.body = item
  }
}
