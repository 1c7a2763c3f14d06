import { describe, expect, it } from 'vitest'
import { keyValue } from '../../src/backends/key-value.ts'
import { memory } from '../../src/backends/memory.ts'
import type { CacheStats, TagBackend, Tally } from '../../src/index.ts'
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
  })
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
