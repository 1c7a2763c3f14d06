import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import express from 'express'
import { Redis } from 'ioredis'
import { Registry } from 'prom-client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { memory } from '../../src/backends/memory.ts'
import { redis } from '../../src/backends/redis/redis.ts'
import { tiered } from '../../src/backends/tiered.ts'
import { register } from '../../src/observe/prometheus.ts'
import { ask, listen } from '../support/http.ts'
import { findPrometheus, type PrometheusServer, startPrometheus } from '../support/prometheus.ts'
import { startRedis, until } from '../support/redis.ts'

const docs = fileURLToPath(new URL('../../docs', import.meta.url))
const found = findPrometheus()

interface Panel {
  readonly title: string
  readonly targets: readonly { readonly expr: string }[]
}

/** The queries of the dashboard, of every cache and process, over windows of two seconds. */
const { panels } = JSON.parse(readFileSync(`${docs}/grafana/tagcache.json`, 'utf8')) as { panels: Panel[] }
const shown = panels.flatMap(({ title, targets }) =>
  targets.map(({ expr }) => {
    const query = expr.replaceAll('$__rate_interval', '2s').replaceAll(/\$(?:cache|instance)/g, '.*')
    return [title, query] as const
  }),
)

/** The queries of the documentation, over such windows too, and compared with a second before instead of a day. */
const documented = ['observability', 'operations'].flatMap((name) =>
  [...readFileSync(`${docs}/${name}.md`, 'utf8').matchAll(/^```promql\n(.*?)^```/gms)].flatMap(([, block]) =>
    block!.split(/\n\n/).map((query) => query.replaceAll(/\[\w+\]/g, '[2s]').replaceAll('offset 1d', 'offset 1s')),
  ),
)

it.runIf(process.env.CI)('CI has a Prometheus', () => expect(found).toBeDefined())

describe.skipIf(!found)('a Prometheus that scrapes an application to which everything happens', () => {
  let server: PrometheusServer
  let from: number
  let to: number
  const ends: (() => unknown)[] = []

  beforeAll(async () => {
    const store = await startRedis()
    ends.push(() => store.stop())
    const client = new Redis({ port: store.port, maxRetriesPerRequest: 0, retryStrategy: () => 100 })
    client.on('error', () => {})
    ends.push(() => client.disconnect())
    const backend = tiered({ near: memory({ maxEntries: 5 }), far: redis(client) })
    const { cached, invalidates, cache } = tagcache({ backend, backendPause: '200ms', ttl: '30s' })
    ends.push(() => cache.close())
    const registry = new Registry()
    register(cache, { registry })
    let isFailing = false
    const app = express()
    app.get('/metrics', async (_req, res) => void res.type(registry.contentType).send(await registry.metrics()))
    app.get('/items/:id', cached({ tags: 'items' }), (req, res) => void res.send(req.params.id))
    app.get('/search', cached(), (_req, res) => void res.send('found'))
    const lasting = { ttl: '100ms', staleWhileRevalidate: '100ms', staleIfError: '1m' } as const
    app.get('/report', cached(lasting), (_req, res) => void res.status(isFailing ? 503 : 200).send('report'))
    app.put('/items', invalidates('items'), (_req, res) => void res.send('written'))
    const site = await listen(app)
    ends.push(() => site.close())
    server = await startPrometheus(found!.server, {
      target: new URL(site.url).host,
      interval: '200ms',
      rules: [`${docs}/grafana/alerts.yml`],
    })
    ends.push(() => server.stop())
    // It takes some seconds before it begins.
    await until('it scrapes', async () => (await server.query('up', Date.now() - 1000, Date.now())).length > 0)

    from = Date.now()
    const load = async (seconds: number) => {
      const end = Date.now() + seconds * 1000
      for (let at = 0; Date.now() < end; at++) {
        await Promise.all(['/report', '/search', `/items/${at % 10}`].map((path) => ask(site.url + path)))
        await ask(`${site.url}/search`, { headers: { cookie: 'a=1' } })
        if (at % 20 === 0) await ask(`${site.url}/items`, { method: 'PUT' })
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    }
    await load(1.5)
    // Neither comes about in such a short time.
    for (const state of ['near-lost', 'near-trusted'] as const) cache.flow.events.emit({ type: 'backend', state })
    cache.flow.warn('TAGCACHE_SCOPE_UNDEFINED')
    isFailing = true
    await load(1.5)
    cache.flow.warn('TAGCACHE_SCOPE_UNDEFINED')
    await store.shutdown()
    await load(1.5)
    await store.restart()
    await until('the backend is used again', () => cache.stats().backend.state === 'well')
    await load(1)
    to = Date.now()
  }, 60_000)

  afterAll(async () => {
    for (const end of ends.reverse()) await end()
  })

  it.each(shown)('has something to show in the panel "%s": %s', async (_title, query) => {
    const series = await server.query(query, from, to)
    const values = series.flatMap(({ values }) => values.map(([, value]) => Number(value)))
    expect(values.filter((value) => Number.isFinite(value)).length).toBeGreaterThan(0)
    expect(Math.max(...values.filter(Number.isFinite))).toBeGreaterThan(0)
  })

  it('shows the share of hits of a route that has none, as nought', async () => {
    const [, query] = shown.find(([title]) => title === 'Hit ratio by route')!
    const routes = (await server.query(query, from, to)).map(({ metric }) => metric.route)
    expect(routes.sort()).toEqual(['GET /items/:id', 'GET /report', 'GET /search'])
  })

  it.each(documented)('understands the query of the documentation: %s', async (query) => {
    await expect(server.query(query, from, to)).resolves.toBeInstanceOf(Array)
  })

  it('evaluates each alert', async () => {
    const rules = await server.rules()
    expect(Object.keys(rules).length).toBeGreaterThan(10)
    expect(new Set(Object.values(rules))).toEqual(new Set(['ok']))
  })
})
