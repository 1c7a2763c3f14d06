import { describe, expect, it } from 'vitest'
import { parse } from '../../bench/sizing/assumptions.ts'
import { classesOf, solve, type Traffic } from '../../bench/sizing/model.ts'
import { randomOf } from '../../bench/sizing/random.ts'
import { reportOf } from '../../bench/sizing/report/report.ts'
import { sampled, Tiers } from '../../bench/sizing/sample.ts'
import { anySlots, commandsOf, evenSlots, heldBy, type Load, shardsOf } from '../../bench/sizing/shards.ts'
import { size } from '../../bench/sizing/size.ts'
import { Zipf } from '../../bench/sizing/zipf.ts'

const small: Traffic = {
  nodes: 10,
  requests: 2000,
  entries: 20_000,
  zipf: 0.9,
  outdated: 40,
  writeZipf: 0.5,
  ttl: 10,
  nearEntries: 2000,
  farEntries: Number.POSITIVE_INFINITY,
}
const SMALL = '--nodes 10 --requests 2000 --entries 20000 --ttl 10 --near-mb 4 --invalidations 5 --sample 100000'
const sizingOf = (flags: string) => parse(flags.split(' '))

function sumOf(values: Iterable<number>): number {
  return [...values].reduce((sum, value) => sum + value, 0)
}

describe("Zipf's law", () => {
  const exactly = (ranks: number, exponent: number) => {
    const weights = Array.from({ length: ranks }, (_, at) => (at + 1) ** -exponent)
    const total = sumOf(weights)
    return weights.map((weight) => weight / total)
  }

  it.each([0, 0.5, 0.9, 1, 1.3, 3])('draws ranks as often as the law with exponent %d says', (exponent) => {
    const [law, random, draws] = [new Zipf(40, exponent), randomOf(7), 200_000]
    const drawn = new Array<number>(40).fill(0)
    for (let draw = 0; draw < draws; draw++) drawn[law.draw(random) - 1]!++
    const squares = exactly(40, exponent).map((share, at) => (drawn[at]! - share * draws) ** 2 / (share * draws))
    // One in a thousand samples of 39 degrees of freedom is above 72.
    expect(sumOf(squares)).toBeLessThan(72)
  })

  it.each([0, 0.9, 1, 1.3, 3])('knows the shares of many ranks for the exponent %d', (exponent) => {
    const [law, shares] = [new Zipf(30_000, exponent), exactly(30_000, exponent)]
    for (const [first, last] of [
      [1, 1],
      [1, 1000],
      [900, 1100],
      [5000, 9000],
      [1, 30_000],
    ] as const) {
      expect(law.share(first, last)).toBeCloseTo(sumOf(shares.slice(first - 1, last)), 7)
    }
  })

  it('draws as many from the head of a hundred million as it says', () => {
    const [law, random] = [new Zipf(1e8, 0.9), randomOf(3)]
    const isHead = Array.from({ length: 100_000 }, () => Number(law.draw(random) <= 1000))
    expect(sumOf(isHead) / 100_000).toBeCloseTo(law.share(1, 1000), 2)
  })
})

describe('the formulas', () => {
  it('leave out no entry, request or invalidation', () => {
    for (const grain of [1, 7]) {
      const classes = classesOf(small, grain)
      expect(sumOf(classes.map(({ count }) => count))).toBe(Math.ceil(small.entries / grain))
      expect(sumOf(classes.map(({ count, rate }) => count * rate))).toBeCloseTo(small.requests / grain, 6)
      expect(sumOf(classes.map(({ count, outdated }) => count * outdated))).toBeCloseTo(small.outdated / grain, 6)
    }
  })

  it.each([{}, { nearEntries: 0 }, { farEntries: 500 }, { nodes: 1 }, { outdated: 0 }, { ttl: 1000 }])(
    'give each request one answer: %j',
    (change) => {
      const { total } = solve({ ...small, ...change })
      expect(total.near + total.far + total.misses).toBeCloseTo(small.requests, 6)
      expect(Math.min(total.near, total.far, total.misses)).toBeGreaterThanOrEqual(0)
    },
  )

  it('fill what is too small, and no more', () => {
    const { total } = solve({ ...small, nearEntries: 100, farEntries: 500 })
    expect(total.copies).toBeCloseTo(100, 2)
    expect(total.live).toBeCloseTo(500, 2)
  })

  it('know the one entry that lives for its TTL', () => {
    const { total } = solve({ ...small, entries: 1, requests: 3, outdated: 0, nearEntries: 0 })
    expect(total.misses).toBeCloseTo(3 / (1 + 3 * small.ttl), 10)
    expect(total.live).toBeCloseTo((3 * small.ttl) / (1 + 3 * small.ttl), 10)
  })

  it.each<[string, Partial<Traffic>]>([
    ['where both tiers are large', {}],
    ['where near tiers are full', { nearEntries: 200 }],
    ['where Redis is full', { nearEntries: 300, farEntries: 2900 }],
    ['where there is one node', { nodes: 1, nearEntries: 500 }],
    ['where nothing is invalidated', { outdated: 0 }],
    ['where much is invalidated', { outdated: 1000 }],
  ])('agree with LRUs within a few per cent %s', (_, change) => {
    const traffic = { ...small, ...change }
    const { total } = solve(traffic)
    const counts = sampled(traffic, 1, 5)
    for (const name of ['near', 'far', 'misses'] as const) {
      const [formula, counted] = [total[name] / small.requests, counts[name] / counts.requests]
      expect(Math.abs(counted / formula - 1), `${name}: ${formula} ${counted}`).toBeLessThan(0.03)
    }
    expect(Math.abs(counts.live / total.live - 1)).toBeLessThan(0.05)
  })

  it('agree with LRUs of a model in which one entry stands for several', () => {
    const { total } = solve(small, 4)
    const counts = sampled(small, 4, 5)
    expect(Math.abs(counts.near / counts.requests / ((total.near * 4) / small.requests) - 1)).toBeLessThan(0.03)
  })
})

describe('the tiers', () => {
  it('answer from the node, then from Redis, until the entry expires', () => {
    const tiers = new Tiers(2, 10, 10, 60)
    expect([tiers.ask(0, 1, 0), tiers.ask(0, 1, 1), tiers.ask(1, 1, 2), tiers.ask(1, 1, 59)]).toEqual([
      'miss',
      'near',
      'far',
      'near',
    ])
    expect([tiers.ask(1, 1, 60), tiers.ask(0, 1, 61)]).toEqual(['miss', 'far'])
  })

  it('drop what is invalidated everywhere, and the least recently used', () => {
    const tiers = new Tiers(2, 1, 10, 60)
    for (const node of [0, 1]) tiers.ask(node, 1, 0)
    tiers.invalidate(1)
    expect([tiers.live, tiers.copies]).toEqual([0, 0])
    expect([tiers.ask(0, 1, 1), tiers.ask(0, 2, 1), tiers.ask(0, 1, 1)]).toEqual(['miss', 'miss', 'far'])
  })

  it('count each request once', () => {
    const { requests, near, far, misses } = sampled(small, 2, 1)
    expect(near + far + misses).toBe(requests)
    expect(requests).toBeGreaterThan(0)
  })
})

describe('the load', () => {
  const sized = size(sizingOf(`${SMALL} --partitions 16 --shards 5`))
  const all = (loads: readonly Load[], name: keyof Load) => sumOf(loads.map((load) => load[name]))

  it('of all partitions is that of all commands', () => {
    const kinds = Object.values(commandsOf(sized.sizing, sized.solution))
    for (const name of ['calls', 'received', 'sent'] as const) {
      expect(all(sized.partitions, name)).toBeCloseTo(sumOf(kinds.map((kind) => kind[name]!)), 3)
    }
    expect(all(sized.partitions, 'entries')).toBeCloseTo(20_000, 6)
    expect(all(sized.partitions, 'requests')).toBeCloseTo(2000, 6)
  })

  it('of a miss is two calls, of a far hit one, of an invalidation one for each partition', () => {
    const { far, misses } = sized.solution.total
    expect(all(sized.partitions, 'calls')).toBeCloseTo(far + 2 * misses + 5 * 16 + 10 * 4, 3)
  })

  it('of all shards is that of the partitions, and a message for each node and each other server', () => {
    expect(all(sized.loads, 'calls')).toBeCloseTo(all(sized.partitions, 'calls'), 3)
    expect(all(sized.loads, 'pushes')).toBeCloseTo(5 * 10 + 5 * (2 * 5 - 1) + 4 * 5, 6)
  })

  it('is spread over shards as slots are', () => {
    const random = randomOf(1)
    expect(heldBy(evenSlots(64, random), 16)).toEqual(new Array(16).fill(4))
    expect(Math.max(...heldBy(anySlots(64, random), 16))).toBeGreaterThan(4)
    expect(shardsOf(sized.sizing, sized.partitions, sized.slots, 1)).toHaveLength(1)
  })

  it('keeps to the plan on each shard, or there is none', () => {
    const planned = size(sizingOf(`${SMALL} --shard-calls 700`))
    expect(planned.plan.calls).toBe(planned.shards)
    for (const { calls, pushes } of planned.loads) expect(calls + 0.2 * pushes).toBeLessThanOrEqual(700)
    expect(size(sizingOf(`${SMALL} --shard-calls 20`)).plan.all).toBeUndefined()
  })
})

describe('the report', () => {
  it('is the same for the same seed, and another for another', () => {
    const first = reportOf(sizingOf(SMALL))
    expect(reportOf(sizingOf(SMALL))).toBe(first)
    expect(reportOf(sizingOf(`${SMALL} --seed 2`))).not.toBe(first)
    expect(first).not.toMatch(/NaN|Infinity|undefined/)
  })

  it.each([
    '--near-mb 0',
    '--invalidations 0',
    '--nodes 1',
    '--partitions 1',
    '--shards 2 --shard-gb 0.1',
    '--zipf 0',
    '--zipf 3 --entries 100000000',
  ])('has a number for everything with %s', (flags) => {
    expect(reportOf(sizingOf(`${SMALL} ${flags} --sample 20000`))).not.toMatch(/NaN|Infinity|undefined/)
  })

  it.each([
    ['--nodes 0', '--nodes takes a whole number from 1 to 100000'],
    ['--nodes 1.5', '--nodes takes a whole number'],
    ['--zipf steep', "--zipf takes a number from 0 to 3, not 'steep'"],
    ['--ttl=', '--ttl takes a number'],
    ['--shards 65', '--shards 65 is more than --partitions 64'],
    ['--servers 3', "Unknown option '--servers'"],
  ])('is refused for %s', (flags, message) => {
    expect(() => sizingOf(flags)).toThrow(message)
  })
})
