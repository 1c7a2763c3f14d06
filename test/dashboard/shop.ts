import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import express from 'express'
import { tagcache } from '../../src/adapters/express.ts'
import { type Authorize, dashboard } from '../../src/dashboard/dashboard.ts'
import type { Cache, TagBackend } from '../../src/index.ts'
import { listen, type TestServer } from '../support/http.ts'

/** What nobody may take for anything but text. */
export const HOSTILE = '<img src=x onerror="document.title=\'taken\'">'

/** A shop with a dashboard at `/cache`, and visitors who come and go. */
export interface Shop {
  readonly server: TestServer
  readonly cache: Cache
  /** Begins to visit, so many times a second; returns the way to end that. */
  visit(perSecond: number): () => void
  close(): Promise<void>
}

/** Starts a shop: fast pages, slow ones, some that cannot be cached, and products that change. */
export async function openShop({
  readOnly = false,
  authorize = () => ({ name: 'ann' }) as const,
  backend,
}: {
  readOnly?: boolean
  authorize?: Authorize
  /** Shared with others, who tell what they do. */
  backend?: TagBackend
} = {}): Promise<Shop> {
  const { cached, invalidates, cache } = tagcache({ ttl: 60, ...(backend ? { backend, publishStats: '1s' } : {}) })
  const app = express()
  app.use('/cache', dashboard(cache, { authorize, readOnly }))
  app.get('/products/:id', cached({ tags: (req) => ['products', `product:${req.params.id}`] }), async (req, res) => {
    await sleep(25)
    res.json({ id: req.params.id, name: 'Teapot', price: 30, stock: 12, description: 'Holds a litre. '.repeat(6) })
  })
  app.get('/products', cached({ tags: ['products'] }), async (_req, res) => {
    await sleep(60)
    res.json(Array.from({ length: 20 }, (_, id) => ({ id, name: 'Teapot' })))
  })
  app.get('/search', cached({ tags: ['products'] }), async (req, res) => {
    await sleep(90)
    if (req.query.q === 'remember') res.cookie('last', 'remember')
    res.json([])
  })
  app.get('/account', cached(), async (_req, res) => {
    await sleep(15)
    res.json({ name: 'Ann' })
  })
  app.get('/hostile', cached({ tags: [HOSTILE] }), (_req, res) => {
    res.set('X-Hostile', HOSTILE).type('html').send(`<script>document.title='taken'</script>${HOSTILE}`)
  })
  app.put(
    '/products/:id',
    invalidates((req) => `product:${req.params.id}`),
    (_req, res) => void res.json({ ok: true }),
  )
  const server = await listen(app)
  const agent = new http.Agent({ keepAlive: true, maxSockets: 50 })
  return {
    server,
    cache,
    visit: (perSecond) => visit(server.url, agent, perSecond),
    async close() {
      agent.destroy()
      await cache.close()
      await server.close()
    },
  }
}

const STEP = 50

function visit(url: string, agent: http.Agent, perSecond: number): () => void {
  const timer = setInterval(() => {
    for (let at = 0; at < (perSecond * STEP) / 1000; at++) request(url, agent, ...someVisit())
  }, STEP)
  return () => clearInterval(timer)
}

function request(
  url: string,
  agent: http.Agent,
  method: string,
  path: string,
  headers: Record<string, string> = {},
): void {
  http
    .request(url + path, { method, headers, agent }, (response) => response.resume())
    .on('error', () => {})
    .end()
}

function someVisit(): [method: string, path: string, headers?: Record<string, string>] {
  const chance = Math.random()
  const id = Math.floor(40 * Math.random() ** 2)
  if (chance < 0.62) return ['GET', `/products/${id}`]
  if (chance < 0.78) return ['GET', '/products']
  if (chance < 0.88)
    return [
      'GET',
      `/search?q=${Math.random() < 0.4 ? 'remember' : `tea${id}`}`,
      Math.random() < 0.3 ? { cookie: 'last=tea' } : {},
    ]
  if (chance < 0.97) return ['GET', '/account', { authorization: 'Bearer x' }]
  if (chance < 0.975) return ['GET', '/hostile']
  return Math.random() < 0.25 ? ['PUT', `/products/${id}`] : ['GET', `/products/${id}`]
}
