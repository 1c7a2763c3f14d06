import { setTimeout as sleep } from 'node:timers/promises'
import express, { type Express } from 'express'
import type { Registry } from 'prom-client'
import type { Cache } from 'tagcache'
import { type Authorize, dashboard } from 'tagcache/dashboard'
import type { tagcache } from 'tagcache/express'
import type { Troubles } from './troubles.ts'

export const PRODUCTS = 5000

/** What stands around the shop. */
export interface Surroundings {
  readonly caching: Pick<ReturnType<typeof tagcache>, 'cached' | 'invalidates'> & { readonly cache: Cache }
  readonly registry: Registry
  readonly authorize: Authorize
  readonly troubles: Troubles
}

/** A small shop, with a dashboard at `/cache` and metrics at `/metrics`. In production neither is for the public. */
export function createShop({ caching, registry, authorize, troubles }: Surroundings): Express {
  const { cached, invalidates, cache } = caching
  const prices = new Map<string, number>()
  const app = express().disable('x-powered-by')

  app.use('/cache', dashboard(cache, { authorize }))
  app.get('/metrics', async (_req, res) => void res.type(registry.contentType).send(await registry.metrics()))

  app.get('/products', cached({ tags: ['products'] }), async (_req, res) => {
    await sleep(30)
    res.json(Array.from({ length: 20 }, (_, id) => show(String(id))))
  })
  app.get('/products/:id', cached({ tags: (req) => [`product:${req.params.id}`] }), async (req, res) => {
    await sleep(10)
    if (Number(req.params.id) < PRODUCTS) res.json(show(req.params.id))
    else res.sendStatus(404)
  })
  app.get('/search', cached({ tags: ['products'] }), async (req, res) => {
    await sleep(troubles.isSlow ? 250 : 25)
    // What is offered differs from visitor to visitor, and the handler says so: `no-store`.
    if (req.query.q === 'offers') res.set('Cache-Control', 'no-store')
    res.json([show('1'), show('2')])
  })
  // Nobody said who may share an account, so nobody does: `credentials`.
  app.get('/account', cached(), async (req, res) => {
    await sleep(5)
    res.json({ token: req.get('authorization')?.length ?? 0 })
  })
  // After a second it is made anew behind a stale answer, and nobody waits; where it cannot be, the stale one stands in for the error.
  app.get('/report', cached({ ttl: '1s', staleWhileRevalidate: '500ms', staleIfError: '10m' }), async (_req, res) => {
    await sleep(150)
    if (troubles.isFailing) res.status(503).send('the database is away')
    else res.json({ sold: prices.size })
  })
  app.put(
    '/products/:id',
    invalidates((req) => [`product:${req.params.id}`]),
    (req, res) => {
      prices.set(req.params.id, 10 + Math.floor(90 * Math.random()))
      res.json(show(req.params.id))
    },
  )
  app.post('/import', async (_req, res) => {
    res.json({ isDelivered: await cache.invalidateTags('products', { by: 'hourly import' }) })
  })
  return app

  function show(id: string): object {
    return { id, name: `Teapot ${id}`, price: prices.get(id) ?? 30, text: 'Holds a litre. '.repeat(20) }
  }
}
