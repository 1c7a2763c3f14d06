import { describe, expect, it } from 'vitest'
import { Counters, OTHER_ROUTES } from '../../src/core/counters.ts'
import { LATENCY_BOUNDS, quantileOf, Stopwatch } from '../../src/core/latency.ts'
import { Names } from '../../src/observe/names.ts'

const HELD = {
  entries: 0,
  bytes: 0,
  backend: { state: 'well', isBehind: false, undelivered: 0, calls: {} },
} as const

describe('routes', () => {
  it('are counted by name up to 500, and the others as one', () => {
    const counters = new Counters(0)
    for (let index = 0; index < 700; index++) counters.ofRoute(`GET /${index}`).countHit(10)
    counters.ofRoute('GET /1').countHit(10)
    counters.ofRoute('GET /600').countHit(10)
    const { routes, hits, savedSeconds } = counters.read(HELD)
    expect(Object.keys(routes)).toHaveLength(501)
    expect([routes['GET /1']!.hits, routes[OTHER_ROUTES]!.hits, hits]).toEqual([2, 201, 702])
    expect(savedSeconds).toBeCloseTo(7.02)
  })

  it('are not told apart by names without end, which paths of strangers may be', () => {
    const counters = new Counters(0)
    for (let index = 0; index < 700; index++) counters.ofRoute(`GET /${index}${'x'.repeat(12_000)}`).countHit(1)
    for (let index = 0; index < 600; index++) counters.ofRoute(`GET /${index}`).countHit(1)
    const { routes, hits } = counters.read(HELD)
    expect([Object.keys(routes).length, routes[OTHER_ROUTES]!.hits, hits]).toEqual([500, 801, 1300])
    const names = new Names(10)
    expect([names.of('x'.repeat(12_000)), names.of('GET /')]).toEqual(['other', 'GET /'])
  })

  it('may have any name', () => {
    const counters = new Counters(0)
    for (const name of ['__proto__', 'constructor', '']) counters.ofRoute(name).countHit(1)
    const { routes, hits } = counters.read(HELD)
    expect([Object.keys(routes), hits]).toEqual([['__proto__', 'constructor', ''], 3])
  })
})

describe('a stopwatch', () => {
  const timesOf = (...milliseconds: number[]) => {
    const watch = new Stopwatch()
    for (const time of milliseconds) watch.add(time)
    return watch.read()
  }

  it('counts each time in the class that it is in', () => {
    for (const [at, bound] of LATENCY_BOUNDS.entries()) {
      const { counts } = timesOf(bound * 1000, bound * 1000 * 1.01)
      expect(counts.flatMap((count, at) => (count > 0 ? at : []))).toEqual([at, at + 1])
    }
    const { counts, count, total, longest } = timesOf(-1, 0, 3_600_000)
    expect([counts[0], counts.at(-1), count, total, longest]).toEqual([2, 1, 3, 3600, 3600])
  })

  it('says within which time a share was', () => {
    expect(quantileOf(timesOf(), 0.5)).toBe(0)
    const times = timesOf(...Array.from({ length: 99 }, () => 1), 100)
    expect(quantileOf(times, 0.5)).toBeGreaterThan(0.0005)
    expect(quantileOf(times, 0.5)).toBeLessThanOrEqual(0.001)
    expect(quantileOf(times, 0.99)).toBeLessThanOrEqual(0.001)
    expect(quantileOf(times, 1)).toBe(0.1)
    expect(quantileOf(timesOf(60_000), 0.5)).toBeGreaterThan(LATENCY_BOUNDS.at(-1)!)
  })
})
