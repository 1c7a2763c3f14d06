import type { Sizing } from './assumptions.ts'
import { type Solution, solve, type Traffic } from './model.ts'
import { randomOf } from './random.ts'
import { type Counts, grainOf, sampled } from './sample.ts'
import {
  anySlots,
  bytesOfEntry,
  bytesOfLedger,
  evenSlots,
  GB,
  heldBy,
  type Load,
  type Plan,
  partitionsOf,
  planOf,
  type Slots,
  shardsOf,
} from './shards.ts'

/** One fleet in front of one cluster, worked out. */
export interface Sized {
  readonly sizing: Sizing
  readonly traffic: Traffic
  readonly solution: Solution
  readonly partitions: readonly Load[]
  readonly slots: Slots
  /** As many as were asked for, or as the plan wants; where the plan cannot be kept, one for each partition. */
  readonly shards: number
  readonly loads: readonly Load[]
  readonly plan: Plan
}

/** The traffic, where Redis has room for so many entries. */
export function trafficOf(sizing: Sizing, farEntries = Number.POSITIVE_INFINITY): Traffic {
  const { nodes, requests, entries, zipf, writeZipf, ttl, invalidations, reach, entryBytes, nearOverhead } = sizing
  return {
    nodes,
    requests,
    entries,
    zipf,
    writeZipf,
    ttl,
    outdated: invalidations * reach,
    nearEntries: (sizing.nearMb * 2 ** 20) / (entryBytes + nearOverhead),
    farEntries,
  }
}

/** Works a fleet out. */
export function size(sizing: Sizing): Sized {
  const random = randomOf(sizing.seed)
  const slots = evenSlots(sizing.partitions, random)
  const farEntries = sizing.shards > 0 ? roomOf(sizing, slots) : Number.POSITIVE_INFINITY
  const traffic = trafficOf(sizing, farEntries)
  const solution = solve(traffic)
  const partitions = partitionsOf(sizing, solution, random)
  const plan = planOf(sizing, partitions, slots)
  const shards = sizing.shards > 0 ? sizing.shards : (plan.all ?? sizing.partitions)
  return {
    sizing,
    traffic,
    solution,
    partitions,
    slots,
    shards,
    loads: shardsOf(sizing, partitions, slots, shards),
    plan,
  }
}

// Each shard holds what its partitions need, or what fits: the room that one has left over is of no use to another.
function roomOf(sizing: Sizing, slots: Slots): number {
  const needed = sizing.entries / sizing.partitions
  return heldBy(slots, sizing.shards).reduce((sum, partitions) => {
    const room = (sizing.shardGb * GB - partitions * bytesOfLedger(sizing)) / bytesOfEntry(sizing)
    return sum + Math.min(partitions * needed, Math.max(1, room))
  }, 0)
}

/** The formulas beside a sample of the same system, both in a model of 1 : grain. */
export interface Check {
  readonly says: string
  readonly grain: number
  readonly formula: Solution
  readonly counts: Counts
}

/** Checks of the system as it is, and of two in which a tier is too small. */
export function checksOf({ sizing, traffic, solution }: Pick<Sized, 'sizing' | 'traffic' | 'solution'>): Check[] {
  const systems: readonly [string, Traffic][] = [
    ['as assumed', traffic],
    ['near tiers of an eighth', { ...traffic, nearEntries: traffic.nearEntries / 8 }],
    ['Redis holds half of what is live', { ...traffic, farEntries: solution.total.live / 2 }],
  ]
  const grain = grainOf(traffic, sizing.sample)
  return systems.map(([says, system]) => {
    return { says, grain, formula: solve(system, grain), counts: sampled(system, grain, sizing.seed) }
  })
}

/** The same system with less memory in Redis than all live entries take. */
export interface Scarcity {
  readonly share: number
  readonly farEntries: number
  readonly solution: Solution
}

/** Redis with all the memory that live entries take, and with less. */
export function scarcitiesOf(sizing: Sizing): Scarcity[] {
  const needed = solve(trafficOf(sizing)).total.live
  return [1, 0.75, 0.5, 0.25, 0.1].map((share) => {
    const farEntries = share === 1 ? Number.POSITIVE_INFINITY : share * needed
    return { share, farEntries: share * needed, solution: solve(trafficOf(sizing, farEntries)) }
  })
}

/** How even the partitions are over the shards: the most that one holds, as a multiple of the mean. */
export interface Evenness {
  readonly shards: number
  readonly even: number
  /** Of slots without care, for the middle one of many draws and for one in twenty. */
  readonly median: number
  readonly worse: number
}

const DRAWS = 1000

/** Evenness for numbers of shards that are usual, and the one that is planned. */
export function evennessOf({ sizing, slots, shards: planned }: Pick<Sized, 'sizing' | 'slots' | 'shards'>): Evenness[] {
  const random = randomOf(sizing.seed)
  const { partitions } = sizing
  const numbers = [4, 8, 16, 32, 64, planned].filter((shards) => shards <= partitions)
  return [...new Set(numbers)]
    .sort((a, b) => a - b)
    .map((shards) => {
      const mean = partitions / shards
      const draws = Array.from(
        { length: DRAWS },
        () => Math.max(...heldBy(anySlots(partitions, random), shards)) / mean,
      )
      draws.sort((a, b) => a - b)
      return {
        shards,
        even: Math.max(...heldBy(slots, shards)) / mean,
        median: draws[DRAWS / 2]!,
        worse: draws[DRAWS * 0.95]!,
      }
    })
}

/** The same fleet with one assumption changed. */
export interface Variant {
  readonly change: Partial<Sizing>
  readonly sized: Sized
}

/** What changes with one assumption at a time; first nothing. */
export function variantsOf(sizing: Sizing): Variant[] {
  const { zipf, nearMb, nodes, ttl, invalidations, shardCalls } = sizing
  const changes: readonly Partial<Sizing>[] = [
    {},
    { zipf: Math.max(0, round(zipf - 0.2)) },
    { zipf: round(zipf + 0.2) },
    { nearMb: 0 },
    { nearMb: nearMb / 4 },
    { nearMb: nearMb * 4 },
    { nodes: Math.ceil(nodes / 10) },
    { ttl: ttl * 10 },
    { ttl: ttl * 60 },
    { invalidations: 0 },
    { invalidations: invalidations * 10 },
    { writeZipf: 0 },
    { writeZipf: zipf },
    { shardCalls: shardCalls / 2 },
  ]
  return changes.map((change) => ({ change, sized: size({ ...sizing, ...change, shards: 0 }) }))
}

function round(exponent: number): number {
  return Math.round(exponent * 100) / 100
}
