import type { Sizing } from './assumptions.ts'
import type { Solution } from './model.ts'
import { normalOf, type Random } from './random.ts'

const LOAD = ['entries', 'live', 'requests', 'calls', 'pushes', 'received', 'sent', 'memory'] as const

/** What a partition or a shard holds and does: numbers of entries and bytes, and of requests, calls and bytes a second. */
export type Load = Record<(typeof LOAD)[number], number>

/** Nothing, but for what is given. */
export function loadOf(given: Partial<Load> = {}): Load {
  return Object.fromEntries(LOAD.map((name) => [name, given[name] ?? 0])) as Load
}

function add(load: Load, more: Partial<Load>, times = 1): void {
  for (const name of LOAD) load[name] += (more[name] ?? 0) * times
}

/** What one entry takes in Redis, in bytes. */
export function bytesOfEntry({ entryBytes, keyBytes, keyOverhead, tags, tagBytes }: Sizing): number {
  return entryBytes + keyBytes + keyOverhead + tags * tagBytes
}

/** How many invalidations a partition remembers, in bytes. */
export function bytesOfLedger({ invalidations, ttl, ledgerSeconds, ledgerBytes }: Sizing): number {
  return invalidations * (ttl + ledgerSeconds) * ledgerBytes
}

/** Commands a second and the bytes that they move, by kind. Published messages are told apart: they are no commands. */
export function commandsOf(sizing: Sizing, { total }: Pick<Solution, 'total'>): Record<string, Partial<Load>> {
  const { invalidations, partitions, commandBytes, keyBytes, entryBytes, replyBytes, pollBytes, replicas } = sizing
  const question = commandBytes + keyBytes
  const entry = question + entryBytes
  const each = (calls: number, received: number, sent: number) => ({
    calls,
    received: calls * received,
    sent: calls * sent,
  })
  return {
    'look-ups, found': each(total.far, question, replyBytes + entryBytes),
    'look-ups, missed': each(total.misses, question, replyBytes),
    stores: each(total.misses, entry, replyBytes + replicas * entry),
    invalidations: each(invalidations * partitions, commandBytes, replyBytes + replicas * commandBytes),
    polls: each(pollsOf(sizing), commandBytes, pollBytes),
  }
}

/** How often a second all nodes ask for changes; one without a request in between does not. */
export function pollsOf({ nodes, polls, requests }: Sizing): number {
  return polls === 0 ? 0 : nodes * polls * -Math.expm1(-requests / nodes / polls)
}

/** The load of each partition. Which entries it holds is drawn at random, for the popular ones one by one. */
export function partitionsOf(sizing: Sizing, solution: Solution, random: Random): Load[] {
  const { invalidations, polls } = commandsOf(sizing, solution) as Record<string, Partial<Load>>
  const loads = Array.from({ length: sizing.partitions }, () => loadOf({ memory: bytesOfLedger(sizing) }))
  for (const load of loads) add(load, invalidations!, 1 / sizing.partitions)
  add(loads[0]!, polls!)
  for (const [at, { count, rate }] of solution.classes.entries()) {
    const ofOne = loadOfEntry(sizing, rate, solution.outcomes[at]!)
    for (const [partition, number] of spread(count, sizing.partitions, random)) add(loads[partition]!, ofOne, number)
  }
  return loads
}

function loadOfEntry(sizing: Sizing, requests: number, outcome: Solution['total']): Load {
  const kinds = commandsOf({ ...sizing, invalidations: 0, polls: 0 }, { total: outcome })
  const load = loadOf({ entries: 1, live: outcome.live, requests, memory: bytesOfEntry(sizing) })
  for (const kind of Object.values(kinds)) add(load, kind)
  return load
}

const MOST_DRAWN = 2000

/** How many of so many things each partition gets, by chance. */
function* spread(count: number, partitions: number, random: Random): Generator<[partition: number, number: number]> {
  if (count <= MOST_DRAWN) {
    for (let drawn = 0; drawn < count; drawn++) yield [Math.floor(random() * partitions), 1]
    return
  }
  const mean = count / partitions
  const noise = Array.from({ length: partitions }, () => normalOf(random) * Math.sqrt(mean))
  const excess = noise.reduce((sum, one) => sum + one, 0) / partitions
  for (const [partition, one] of noise.entries()) yield [partition, mean + one - excess]
}

/** Where each partition's slot is among all slots, from 0 to below 1. */
export type Slots = readonly number[]

/** Each partition's slot in a stretch of its own. */
export function evenSlots(partitions: number, random: Random): Slots {
  return Array.from({ length: partitions }, (_, at) => (at + random()) / partitions)
}

/** Any slots, as when names are hashed without care. */
export function anySlots(partitions: number, random: Random): Slots {
  return Array.from({ length: partitions }, random)
}

/** The shard that holds a slot, where shards hold equal ranges of slots. */
export function shardOf(slot: number, shards: number): number {
  return Math.floor(slot * shards)
}

/** How many partitions each shard holds. */
export function heldBy(slots: Slots, shards: number): number[] {
  const held = new Array<number>(shards).fill(0)
  for (const slot of slots) held[shardOf(slot, shards)]!++
  return held
}

/** The load of each shard: its partitions, and its part of the published messages. */
export function shardsOf(sizing: Sizing, partitions: readonly Load[], slots: Slots, shards: number): Load[] {
  const { subscribed, sending, receiving } = publishedOf(sizing, shards)
  const loads = Array.from({ length: shards }, () => loadOf(subscribed))
  for (const [at, load] of partitions.entries()) add(loads[shardOf(slots[at]!, shards)]!, load)
  const sender = shardOf(slots[0]!, shards)
  for (const [at, load] of loads.entries()) add(load, at === sender ? sending : receiving)
  return loads
}

/** What published invalidations make a shard do: for its subscribers, and as sender or receiver on the cluster bus. */
export function publishedOf(
  sizing: Sizing,
  shards: number,
): Record<'subscribed' | 'sending' | 'receiving', Partial<Load>> {
  const { invalidations, nodes, replicas, messageBytes, busBytes } = sizing
  const deliveries = (invalidations * nodes) / shards
  const others = invalidations * (shards * (1 + replicas) - 1)
  const size = busBytes + messageBytes
  return {
    subscribed: { pushes: deliveries, sent: deliveries * messageBytes },
    sending: { pushes: others, sent: others * size },
    receiving: { pushes: invalidations, received: invalidations * size },
  }
}

/** The share of what a shard is planned for that it uses. */
export interface Use {
  readonly calls: number
  readonly memory: number
  readonly network: number
}

/** The bytes of one GB of memory. */
export const GB = 2 ** 30

/** How much of its plan a shard uses. */
export function useOf({ shardCalls, shardGb, shardGbit, pushCost }: Sizing, load: Load): Use {
  return {
    calls: (load.calls + load.pushes * pushCost) / shardCalls,
    memory: load.memory / (shardGb * GB),
    network: (8 * Math.max(load.received, load.sent)) / (shardGbit * 1e9),
  }
}

/** The mean of loads. */
export function meanOf(loads: readonly Load[]): Load {
  const mean = loadOf()
  for (const load of loads) add(mean, load, 1 / loads.length)
  return mean
}

/** How many shards keep the busiest of them within each plan, and within all; undefined where that is more than there are partitions. */
export type Plan = Record<keyof Use | 'all', number | undefined>

/** The fewest shards for each plan. */
export function planOf(sizing: Sizing, partitions: readonly Load[], slots: Slots): Plan {
  const plan: Plan = { calls: undefined, memory: undefined, network: undefined, all: undefined }
  for (let shards = 1; shards <= partitions.length && plan.all === undefined; shards++) {
    const uses = shardsOf(sizing, partitions, slots, shards).map((load) => useOf(sizing, load))
    const fitting = (['calls', 'memory', 'network'] as const).filter((name) => uses.every((use) => use[name] <= 1))
    for (const name of fitting) plan[name] ??= shards
    if (fitting.length === 3) plan.all = shards
  }
  return plan
}
