import express from 'express'
import parse, { type Family } from 'parse-prometheus-text-format'
import { Registry } from 'prom-client'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { type CacheOptions, createCache, keyValue, memory } from '../../src/index.ts'
import { MEASURES, prometheusName } from '../../src/observe/measures.ts'
import { type PrometheusOptions, register } from '../../src/observe/prometheus.ts'
import { AsyncMap, Overridden } from '../support/backends.ts'
import { ask, gate, listen } from '../support/http.ts'
import { ManualTime } from '../support/time.ts'

/** A shop that is scraped. */
async function setUp(options: CacheOptions<never> = {}, about: Omit<PrometheusOptions, 'registry'> = {}) {
  const time = new ManualTime()
  const registry = new Registry()
  const { cache, cached, invalidates } = tagcache({ time, ...options } as object)
  register(cache, { registry, ...about })
  const app = express()
    .get('/metrics', async (_req, res) => void res.type(registry.contentType).send(await registry.metrics()))
    .get('/items/:id', cached({ tags: ['items'], staleWhileRevalidate: 60 }), async (req, res) => {
      time.move(250)
      res.send(`item ${req.params.id}`)
    })
    .post('/items', invalidates(['items']), (_req, res) => void res.send('written'))
    .use('/pages', cached({ ttl: 60 }), (req, res) => void res.send(req.path))
  const server = await listen(app)
  onTestFinished(() => server.close())
  const scrape = async () => read((await ask(`${server.url}/metrics`)).text)
  return { time, cache, scrape, get: (path: string, more = {}) => ask(server.url + path, more) }
}

// The parser makes one of all series of a histogram, unless it takes them for what they are one by one.
function read(text: string): Family[] {
  return [...parse(text), ...parse(text.replace(/^# .*\n/gm, '')).filter(({ name }) => name.endsWith('_seconds_count'))]
}

/** The value of a series, found by some of its labels. */
function readingOf(families: readonly Family[], name: string, labels: Record<string, string> = {}): number | undefined {
  const metrics = families.filter((family) => family.name === name).flatMap((family) => family.metrics)
  const found = metrics.filter((one) =>
    Object.entries(labels).every(([key, value]) => (one.labels?.[key] ?? '') === value),
  )
  return found.length === 0 ? undefined : found.reduce((sum, one) => sum + Number(one.value), 0)
}

const ITEM = 'GET /items/:id'

describe('the metrics for Prometheus', () => {
  it('say what has become of requests, by route, outcome and reason', async () => {
    const { get, scrape } = await setUp()
    await get('/items/1')
    for (let hit = 0; hit < 3; hit++) await get('/items/1')
    await get('/items/2', { headers: { cookie: 'secret=1' } })
    const families = await scrape()
    const requests = (labels: Record<string, string>) => readingOf(families, 'tagcache_requests_total', labels)
    expect(requests({ cache: 'tagcache', route: ITEM, outcome: 'miss', reason: 'uri-miss' })).toBe(1)
    expect(requests({ route: ITEM, outcome: 'hit' })).toBe(3)
    expect(requests({ route: ITEM, outcome: 'bypass', reason: 'credentials' })).toBe(1)
    expect(readingOf(families, 'tagcache_saved_seconds_total', { route: ITEM })).toBeCloseTo(0.75)
    expect(readingOf(families, 'tagcache_stores_total', { route: ITEM })).toBe(1)
    expect(readingOf(families, 'tagcache_handler_duration_seconds_count', { route: ITEM })).toBe(1)
  })

  it('are text that a parser of Prometheus reads, each with its type and what it means', async () => {
    const { get, scrape } = await setUp()
    await get('/items/1')
    const families = new Map((await scrape()).map((family) => [family.name, family]))
    for (const measure of Object.values(MEASURES)) {
      const family = families.get(prometheusName(measure))
      expect(family, measure.name).toMatchObject({ type: measure.kind.toUpperCase(), help: measure.description })
    }
    const others = [...families.keys()].filter((name) => !name.endsWith('_count'))
    expect(others).toHaveLength(Object.keys(MEASURES).length)
  })

  it('agree with the stats, and never go back', async () => {
    const { get, scrape, cache, time } = await setUp({ backend: memory({ maxEntries: 3 }) })
    let before: Family[] = []
    for (let round = 0; round < 4; round++) {
      for (let id = 0; id < 6; id++) await get(`/items/${id}`)
      await get('/items/5')
      time.move(61_000)
      const refreshed = new Promise<void>((resolve) => cache.on('refresh', () => resolve()))
      await get('/items/5')
      await refreshed
      await get('/items', { method: 'POST' })
      const now = await scrape()
      for (const { name, type, metrics } of before) {
        if (type !== 'COUNTER') continue
        for (const { value, labels } of metrics)
          expect(readingOf(now, name, labels), name).toBeGreaterThanOrEqual(Number(value))
      }
      before = now
    }
    const stats = cache.stats()
    const total = (measure: keyof typeof MEASURES, labels = {}) =>
      readingOf(before, prometheusName(MEASURES[measure]), labels) ?? 0
    expect(total('requests')).toBe(stats.requests)
    expect(total('requests', { outcome: 'stale' })).toBe(stats.stale)
    expect(stats.stale).toBe(4)
    expect(total('refreshes')).toBe(stats.refreshes)
    expect(total('stores')).toBe(stats.stores)
    expect(total('saved')).toBeCloseTo(stats.savedSeconds)
    expect(total('invalidations', { kind: 'tags', delivered: 'true' })).toBe(4)
    expect(total('removals', { reason: 'evicted' })).toBe(stats.removals.evicted)
    expect(stats.removals.evicted).toBeGreaterThan(0)
    expect(total('entries')).toBe(stats.entries)
    expect(total('size')).toBe(stats.bytes)
  })

  it('have a bounded number of series, whatever is asked for', async () => {
    const { get, scrape } = await setUp({}, { maxRoutes: 3 })
    for (let at = 0; at < 20; at++) await get(`/pages/${at}?token=secret-${at}`)
    const families = await scrape()
    const { metrics = [] } = families.find(({ name }) => name === 'tagcache_requests_total') ?? {}
    expect(metrics.map(({ labels }) => labels?.route)).toEqual([
      'GET /pages/0',
      'GET /pages/1',
      'GET /pages/2',
      'other',
    ])
    expect(readingOf(families, 'tagcache_requests_total', { route: 'other' })).toBe(17)
    expect(JSON.stringify(families)).not.toContain('secret')
  })

  it('tell how long the backend took, and what went wrong with it', async () => {
    const inner = memory()
    let isDown = false
    const fails = () => Promise.reject(Object.assign(new Error('down'), { code: 'ECONNREFUSED' }))
    const backend = new Overridden(inner, {
      sync: false,
      lookup: async (key) => (isDown ? fails() : inner.lookup(key)),
      invalidate: async (tags) => (isDown ? fails() : inner.invalidate(tags)),
    })
    const { get, scrape, time } = await setUp({ backend })
    await get('/items/1')
    const state = async () => {
      const families = await scrape()
      return ['available', 'behind'].map((name) => readingOf(families, `tagcache_backend_${name}`))
    }
    expect(await state()).toEqual([1, 0])
    isDown = true
    expect((await get('/items/1')).status).toBe(200)
    expect(await state()).toEqual([0, 0])
    await get('/items', { method: 'POST' })
    expect(await state()).toEqual([0, 1])
    const families = await scrape()
    const calls = (labels: object) => readingOf(families, 'tagcache_backend_duration_seconds_count', { ...labels })
    expect(calls({ operation: 'lookup', error: '' })).toBe(1)
    expect(calls({ operation: 'lookup', error: 'ECONNREFUSED' })).toBe(1)
    expect(calls({ operation: 'store', error: '' })).toBe(1)
    expect(readingOf(families, 'tagcache_faults_total', { operation: 'lookup', error: 'ECONNREFUSED' })).toBe(1)
    expect(readingOf(families, 'tagcache_invalidations_total', { delivered: 'false' })).toBe(1)
    isDown = false
    time.move(1000)
    await get('/items/1')
    expect(await state()).toEqual([1, 0])
    expect(readingOf(await scrape(), 'tagcache_backend_transitions_total', { state: 'delivered' })).toBe(1)
  })

  it('say how the backend does to whoever comes late', async () => {
    const backend = new Overridden(memory(), { lookup: () => Promise.reject(new Error('down')), sync: false })
    const { get, cache } = await setUp({ backend })
    await get('/items/1')
    const registry = new Registry()
    register(cache, { registry })
    expect(readingOf(read(await registry.metrics()), 'tagcache_backend_available')).toBe(0)
  })

  it('begin at nought where it is known what can come, so that the first of its kind is seen to be more', async () => {
    const { cache, get, scrape } = await setUp()
    const nought = await scrape()
    for (const state of ['paused', 'resumed', 'behind', 'delivered', 'near-lost', 'near-trusted'])
      expect(readingOf(nought, 'tagcache_backend_transitions_total', { state }), state).toBe(0)
    for (const reason of Object.keys(cache.stats().removals))
      expect(readingOf(nought, 'tagcache_removals_total', { reason }), reason).toBe(0)
    await get('/items/1')
    expect(readingOf(await scrape(), 'tagcache_failures_total', { route: ITEM })).toBe(0)
    const purges: [kind: string, purge: () => unknown][] = [
      ['tags', () => cache.invalidateTags('a')],
      ['route', () => cache.invalidateRoute(ITEM)],
      ['uri', () => cache.flow.events.emit({ type: 'invalidation', tags: [], uris: ['/a'], isDelivered: true })],
      [
        'entry',
        () => cache.flow.events.emit({ type: 'invalidation', tags: [], uris: [], keys: ['a'], isDelivered: true }),
      ],
      ['everything', () => cache.clear()],
    ]
    for (const [kind, purge] of purges) {
      const count = async () => readingOf(await scrape(), 'tagcache_invalidations_total', { kind, delivered: 'true' })
      expect(await count(), kind).toBe(0)
      purge()
      expect(await count(), kind).toBe(1)
    }
  })

  it('count a call that has no end as over at its deadline', async () => {
    const time = new ManualTime()
    const inner = memory({ time })
    const backend = new Overridden(inner, { sync: false, lookup: () => gate<never>().opened })
    const registry = new Registry()
    const cache = createCache({ backend, time })
    register(cache, { registry })
    const answer = cache.getByRequest('a')
    time.move(250)
    expect(await answer).toBeUndefined()
    const families = read(await registry.metrics())
    const labels = { operation: 'lookup', error: 'ERR_TAGCACHE_BACKEND_TIMEOUT' }
    expect(readingOf(families, 'tagcache_backend_duration_seconds_count', labels)).toBe(1)
  })

  it('are shared by the caches of a process, which a label tells apart', async () => {
    const registry = new Registry()
    const [shop, news] = [createCache({ namespace: 'shop' }), createCache({ cacheName: 'news' })]
    const stop = register(shop, { registry })
    register(news, { registry })
    shop.clear()
    news.set('a', {}, [], { body: 'a' })
    const purges = async (cache: string) =>
      readingOf(read(await registry.metrics()), 'tagcache_invalidations_total', { cache })
    const entries = async (cache: string) => readingOf(read(await registry.metrics()), 'tagcache_entries', { cache })
    expect([await purges('tagcache/shop'), await purges('news')]).toEqual([1, 0])
    expect([await entries('tagcache/shop'), await entries('news')]).toEqual([0, 1])
    stop()
    shop.clear()
    expect([await purges('tagcache/shop'), await entries('tagcache/shop'), await entries('news')]).toEqual([
      1,
      undefined,
      1,
    ])
  })

  it('have the prefix and the name that they are given, and refuse others', async () => {
    const registry = new Registry()
    const cache = createCache()
    register(cache, { registry, prefix: 'shop_cache_', name: 'one' })
    cache.clear()
    expect(await registry.metrics()).toContain(
      'shop_cache_invalidations_total{cache="one",kind="everything",delivered="true"} 1',
    )
    const code = expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_VALUE' })
    for (const wrong of [{ prefix: 'a-b' }, { name: '' }, { maxRoutes: 0 }]) {
      expect(() => register(createCache(), { registry: new Registry(), ...wrong })).toThrow(code)
    }
  })

  it('take a cache whatever its tags are, over any backend, until they are stopped', async () => {
    const registry = new Registry()
    const tagged = createCache<'a' | 'b'>()
    const asked = createCache({ backend: keyValue(new AsyncMap()) })
    for (const stop of [register(tagged, { registry }), register(asked, { registry })]) stop()
    expect(await registry.metrics()).not.toContain('tagcache_entries{')
    expect([tagged, asked].map(({ flow }) => flow.events.work.isEmpty)).toEqual([true, true])
  })
})
