import { Registry } from 'prom-client'
import { describe, expect, it } from 'vitest'
import { keyValue } from '../../src/backends/key-value.ts'
import { memory } from '../../src/backends/memory.ts'
import type { Cache, CacheStats, TagBackend, Tally } from '../../src/index.ts'
import { register } from '../../src/observe/prometheus.ts'
import { AsyncMap } from '../support/backends.ts'
import { type Answer, gate } from '../support/http.ts'
import { type Call, type CallCacheOptions, fronted, type Site, STACKS, site, turns, until } from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'

const NUMBERS = [
  'requests',
  'hits',
  'stale',
  'collapsed',
  'misses',
  'bypasses',
  'stores',
  'refreshes',
  'failedRefreshes',
  'servedBytes',
  'savedSeconds',
  'spentSeconds',
] as const

const sum = (numbers: Iterable<number>) => [...numbers].reduce((total, number) => total + number, 0)
const reasonsOf = ({ reasons }: Tally) => sum(Object.values(reasons))

/** What holds of all numbers, whatever has happened. */
function expectSums(stats: CacheStats): void {
  for (const tally of [stats, ...Object.values(stats.routes)]) {
    const { hits, stale, collapsed, misses, bypasses } = tally
    expect(hits + stale + collapsed + misses + bypasses).toBe(tally.requests)
    expect(reasonsOf(tally)).toBe(stale + misses + bypasses)
  }
  for (const name of NUMBERS)
    expect(sum(Object.values(stats.routes).map((tally) => tally[name]))).toBeCloseTo(stats[name])
  expect(stats.stores - sum(Object.values(stats.removals))).toBe(stats.entries)
  for (const { count, counts, total, longest } of [...Object.values(stats.backend.calls), stats.latency.miss]) {
    expect([sum(counts), total >= longest]).toEqual([count, true])
  }
}

/** A backend of this process whose calls may be made to fail, before they have done anything. */
function faulty<Sync extends boolean>(
  inner: TagBackend<Sync>,
  isDue: (operation: string) => boolean,
): TagBackend<Sync> {
  const failing = new Set(['lookup', 'store', 'invalidate', 'invalidatedAt', 'delete'])
  return new Proxy(inner, {
    get(target, name) {
      const value = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        if (failing.has(String(name)) && isDue(String(name))) throw new Error(`${String(name)} is down`)
        return Reflect.apply(value, target, args)
      }
    },
  })
}

/** A Map that, by chance, refuses, refuses though it has done it, gives something else, or does not answer. */
class Unsteady extends AsyncMap {
  isOver = false

  constructor(readonly chance: () => number) {
    super()
  }

  override get(key: string) {
    return this.#perhaps(
      () => super.get(key),
      () => Buffer.from('something else'),
    )
  }

  override set(key: string, value: Uint8Array) {
    return this.#perhaps(() => super.set(key, value))
  }

  override delete(key: string) {
    return this.#perhaps(() => super.delete(key))
  }

  async #perhaps<V>(run: () => Promise<V>, other: () => unknown = () => undefined): Promise<V> {
    const dice = this.isOver ? 1 : this.chance()
    if (dice < 0.04) throw new Error('refused')
    if (dice < 0.08) return run().then(() => Promise.reject(new Error('done, and then refused')))
    if (dice < 0.12) return other() as V
    if (dice < 0.15) return new Promise(() => {})
    return run()
  }
}

/** Waits for what depends on time that has to go by. */
async function passing<V>(time: ManualTime, waited: Promise<V>): Promise<V> {
  let isOver = false
  const done = waited.finally(() => {
    isOver = true
  })
  while (!isOver) {
    await turns(10)
    time.move(50)
  }
  return done
}

/** The sums of the counters that Prometheus is told. */
async function exported(registry: Registry, name: string): Promise<number> {
  const { values } = (await registry.getSingleMetric(`tagcache_${name}`)!.get()) as { values: { value: number }[] }
  return sum(values.map(({ value }) => value))
}

/** What exporters are told is what the cache itself counts. */
async function expectExported(registry: Registry, stats: CacheStats): Promise<void> {
  expect(await exported(registry, 'requests_total')).toBe(stats.requests)
  expect(await exported(registry, 'stores_total')).toBe(stats.stores)
  expect(await exported(registry, 'refreshes_total')).toBe(stats.refreshes)
  expect(await exported(registry, 'removals_total')).toBe(sum(Object.values(stats.removals)))
  expect(await exported(registry, 'invalidations_total')).toBe(stats.invalidations)
  expect(await exported(registry, 'faults_total')).toBe(stats.faults)
  expect(await exported(registry, 'saved_seconds_total')).toBeCloseTo(stats.savedSeconds)
  expect(await exported(registry, 'entries')).toBe(stats.entries)
  expect(await exported(registry, 'size_bytes')).toBe(stats.bytes)
}

/** What the entries that a backend lists would weigh in one that has never held anything else. */
async function weighAnew(backend: TagBackend, fresh: TagBackend): Promise<{ entries: number; bytes: number }> {
  const { items } = await backend.entries!({ limit: 1000 })
  for (const { entry } of items) if (entry) await fresh.store(entry, 1_000_000)
  return fresh.size!() as { entries: number; bytes: number }
}

/** Chance that is the same each time. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31
    return state / 2 ** 31
  }
}

/** A shop under load: hits, misses, waiters, purges, errors, stale responses, past the cache. Answers what its clients were answered. */
async function runLoad(served: Site, time: ManualTime, chance: () => number): Promise<Answer[]> {
  const answers: Answer[] = []
  for (let round = 0; round < 60; round++) {
    const asked = Array.from({ length: 8 }, () => {
      const id = Math.floor(chance() * 6)
      const dice = chance()
      if (dice < 0.05) return served.send('POST', `/items/${id}`)
      if (dice < 0.1) return served.get(`/items/${id}`, { cookie: 'a=1' })
      if (dice < 0.15) return served.send('HEAD', `/items/${id}`)
      if (dice < 0.2) return served.get(`/items/${id}`, { 'if-none-match': '"v1"' })
      if (dice < 0.25) return served.get(`/items/${id}`, { range: 'bytes=0-3' })
      if (dice < 0.35) return served.get('/broken')
      if (dice < 0.45) return served.get(`/stale?id=${id}`)
      return served.get(`/items/${id}`)
    })
    answers.push(...(await Promise.all(asked)))
    if (chance() < 0.3) time.move(4_000)
    await turns(3)
  }
  await turns(50)
  return answers
}

function shop(stackAt: number, options: CallCacheOptions, chance: () => number): Promise<Site> {
  const stack = fronted(STACKS[stackAt]!)
  return site(stack, options, (app, { cached, invalidates }) => {
    const tags = ({ req }: Call) => `item:${/\d+/.exec(req.url ?? '')?.[0] ?? 'none'}`
    app.on('GET', '/items/:id', cached({ ttl: 10, tags, front: true }), async () => {
      await turns(2)
      return { headers: { ETag: '"v1"' }, body: 'an item' }
    })
    app.on('HEAD', '/items/:id', cached({ ttl: 10, tags, front: true }), () => ({ headers: { ETag: '"v1"' } }))
    app.on('POST', '/items/:id', invalidates(tags), () => 'written')
    app.on('GET', '/broken', cached(), () => ({ status: 500, body: 'broken' }))
    app.on('GET', '/stale', cached({ ttl: 3, staleWhileRevalidate: 6, staleIfError: 60 }), () =>
      chance() < 0.3 ? { status: 503, body: 'failed' } : 'something that may be stale',
    )
  })
}

describe.each([
  ['memory', (time: ManualTime) => memory({ time, maxEntries: 9 })],
  ['an asynchronous backend', (time: ManualTime) => keyValue(new AsyncMap(), { time, maxEntries: 9 })],
] as const)('over %s', (_, make) => {
  it.each([
    ['Express 5', 1, 0],
    ['Express 5, with faults', 1, 0.08],
    ['Koa 3, with faults', 3, 0.08],
  ])('the numbers add up under load: %s', async (_, stackAt, share) => {
    const time = new ManualTime()
    const chance = random(7)
    let isOver = false
    const backend = faulty<boolean>(make(time), () => !isOver && chance() < share)
    const served = await shop(stackAt, { backend, time, backendPause: 2, backendTimeout: '1h' }, chance)
    const registry = new Registry()
    register(served.cache as Cache, { registry })
    const answers = await runLoad(served, time, chance)
    isOver = true
    await until(() => served.cache.flow.flights.size === 0)
    const stats = served.cache.stats()
    expectSums(stats)
    expect(stats.bytes > 0).toBe(stats.entries > 0)
    const passed = answers.filter(({ cacheStatus }) => cacheStatus !== undefined)
    expect(stats.requests).toBe(passed.length)
    const fromCache = passed.filter(({ cacheStatus }) => /; hit|collapsed|fwd-status|stale-if-error/.test(cacheStatus!))
    expect(stats.servedBytes).toBe(sum(fromCache.map(({ body }) => body.byteLength)))
    const { hits, stale, collapsed, misses, bypasses, invalidations } = stats
    for (const count of [hits, stale, collapsed, misses, bypasses, invalidations]) expect(count).toBeGreaterThan(0)
    expect(stats.faults > 0).toBe(share > 0)
    expect(stats.reasons.backend === undefined).toBe(share === 0)
    await expectExported(registry, stats)
    if (backend.entries) {
      const { entries, bytes } = await weighAnew(backend, make(time))
      // Beside the entries there may be what is ready for those that are asked for often.
      expect([entries, bytes <= stats.bytes]).toEqual([stats.entries, true])
    }
    // The backend may be left alone for what the last of the load has met with.
    time.move(2_000)
    await served.cache.clear()
    await until(() => served.cache.stats().bytes === 0)
    expectSums(served.cache.stats())
    expect(served.cache.stats().entries).toBe(0)
  })
})

it.each([1, 2, 3])('the numbers add up over a backend that fails in every way, chance %i', async (seed) => {
  const time = new ManualTime()
  const chance = random(seed)
  const map = new Unsteady(chance)
  const backend = keyValue(map, { time, maxEntries: 9 })
  const served = await shop(1, { backend, time, backendPause: '100ms', backendTimeout: '250ms' }, chance)
  const registry = new Registry()
  register(served.cache as Cache, { registry })
  const answers = await passing(time, runLoad(served, time, chance))
  map.isOver = true
  await passing(
    time,
    until(() => served.cache.flow.flights.size === 0 && !served.cache.stats().backend.isBehind),
  )
  await turns(50)
  const stats = served.cache.stats()
  expectSums(stats)
  expect(stats.requests).toBe(answers.filter(({ cacheStatus }) => cacheStatus !== undefined).length)
  expect(answers.filter(({ status }) => status >= 500 && status !== 503).every(({ text }) => text === 'broken')).toBe(
    true,
  )
  for (const count of [stats.faults, stats.hits, stats.misses, stats.stale]) expect(count).toBeGreaterThan(0)
  expect(stats.backend.calls.lookup!.count).toBeGreaterThan(0)
  await expectExported(registry, stats)
  await passing(time, Promise.resolve(served.cache.clear()))
  expectSums(served.cache.stats())
  expect(served.cache.stats()).toMatchObject({ entries: 0, bytes: 0 })
})

it('count the time that handlers took, and that they did not have to take', async () => {
  const time = new ManualTime()
  const took = (milliseconds: number) => {
    time.move(milliseconds)
    return 'text'
  }
  const served = await site(STACKS[1]!, { time }, (app, { cached }) => {
    app.on('GET', '/kept', cached(), () => took(200))
    app.on('GET', '/not', cached(), () => ({ status: 404, body: took(300) }))
  })
  for (const path of ['/kept', '/kept', '/kept', '/not']) await served.get(path)
  await served.get('/kept', { cookie: 'a=1' })
  const { routes, savedSeconds, spentSeconds, latency } = served.cache.stats()
  expect([savedSeconds, spentSeconds]).toEqual([0.4, 0.7])
  expect(routes['GET /kept']).toMatchObject({ savedSeconds: 0.4, spentSeconds: 0.4, servedBytes: 8, hits: 2 })
  expect(routes['GET /not']).toMatchObject({ savedSeconds: 0, spentSeconds: 0.3, reasons: { status: 1 } })
  expect(latency.miss).toMatchObject({ count: 2, total: 0.5, longest: 0.3 })
})

it.each([STACKS[1]!, STACKS[3]!, fronted(STACKS[1]!)])(
  'measure one answer in 64 while anybody listens, and none otherwise: $name, $isFronted',
  async (stack) => {
    const served = await site(stack, {}, (app, { cached }) => app.on('GET', '/', cached(), () => 'text'))
    for (let index = 0; index < 200; index++) await served.get('/')
    const { count } = served.cache.stats().latency.hit
    expect([count >= 2, count <= 4]).toEqual([true, true])
    const alone = STACKS[1]!.tools({})
    const app = STACKS[1]!.app()
    app.on('GET', '/', alone.cached(), () => 'text')
    for (let index = 0; index < 200; index++) alone.cache.flow.events.endAnswer(alone.cache.flow.events.beginAnswer())
    expect(alone.cache.stats().latency.hit.count).toBe(0)
  },
)

it('measure every answer where a meter asks for it, tell it, and as many as before once it has ended', async () => {
  const served = await site(STACKS[1]!, {}, (app, { cached }) => app.on('GET', '/', cached(), () => 'text'))
  const { events } = served.cache.flow
  const told: number[] = []
  const meter = events.meter((milliseconds) => told.push(milliseconds))
  meter.measureOneIn(1)
  for (let index = 0; index < 9; index++) await served.get('/')
  expect(told.length).toBe(8)
  expect(told.every((time) => time > 0 && time < 1000)).toBe(true)
  expect(served.cache.stats().latency.hit.count).toBe(8)
  meter.measureOneIn(1024)
  for (let index = 0; index < 64; index++) await served.get('/')
  expect(told.length).toBe(9)
  meter.measureOneIn(1)
  meter.end()
  for (let index = 0; index < 64; index++) await served.get('/')
  expect([told.length, served.cache.stats().latency.hit.count]).toEqual([9, 10])
})

it('say what waits for a backend that does not take it', async () => {
  const time = new ManualTime()
  let isDown = true
  const backend = faulty(memory({ time }), () => isDown)
  const { cache } = STACKS[1]!.tools({ backend, time })
  cache.invalidateTags(['a', 'b'])
  expect(cache.stats().backend).toMatchObject({ state: 'paused', isBehind: true, undelivered: 2, faults: 1 })
  cache.invalidateTags('b')
  expect(cache.stats().backend.undelivered).toBe(2)
  isDown = false
  time.move(1_000)
  expect(cache.stats().backend).toMatchObject({ state: 'well', isBehind: false, undelivered: 0 })
  expect(cache.stats().since).toBe(new ManualTime().now())
})

it('say how long the calls of an asynchronous backend take, those that fail too', async () => {
  const map = new AsyncMap()
  const held = gate()
  const served = await site(STACKS[1]!, { backend: keyValue(map) }, (app, { cached }) =>
    app.on('GET', '/', cached(), () => 'text'),
  )
  await served.get('/')
  await until(() => served.cache.stats().stores === 1)
  map.get = () => held.opened.then(() => Promise.reject(new Error('down')))
  const answer = served.get('/')
  await turns(3)
  held.open()
  await answer
  const { calls, faults } = served.cache.stats().backend
  expect([calls.lookup?.count, calls.store?.count, faults]).toEqual([1, 1, 1])
})
