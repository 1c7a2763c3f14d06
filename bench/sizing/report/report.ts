import { ASSUMPTIONS, flagOf, NAMES, type Sizing } from '../assumptions.ts'
import { bytesOfEntry } from '../shards.ts'
import { size, type Variant, variantsOf } from '../size.ts'
import { checks, ratios, scarcity } from './hits.ts'
import { balanceOfPartitions, balanceOfShards, commands, invalidations, loads, memory, plan } from './redis.ts'
import { gigabytes, list, percent, table, whole } from './table.ts'

/** Everything there is to say about a fleet, as text: the same for the same assumptions. */
export function reportOf(sizing: Sizing): string {
  const sized = size(sizing)
  const sections: readonly [title: string, text: string][] = [
    ['What this rests on', assumptions(sizing)],
    ['Hit ratios', ratios(sized)],
    ['The formulas beside real LRUs', checks(sized)],
    ['If Redis has less memory than all live entries take', scarcity(sizing)],
    ['Commands and bytes', commands(sized)],
    ['Invalidations', invalidations(sized)],
    ['Memory of Redis', memory(sized)],
    ['Balance of partitions', balanceOfPartitions(sized)],
    ['Balance of shards', balanceOfShards(sized)],
    ['Shards needed', plan(sized)],
    [`Load of one of ${sized.shards} shards`, loads(sized)],
    ['One assumption changed at a time', variants(sizing)],
  ]
  return sections.map(([title, text], at) => `${at + 1}. ${title}\n\n${text}\n`).join('\n')
}

const COSTS = [
  'A near hit takes no command; a far hit one; a miss a look-up and a store; each is one script call, one round trip.',
  'An invalidation is one call at partition 0, then one at each other partition, and one message published by the first.',
  'The message goes over the cluster bus to every other Redis server; each shard delivers it to its share of the nodes.',
  'A far hit moves the call and the entry; a store moves both again to each replica.',
  'Requests come at random and independently; all entries are of one size; what is invalidated is dropped at once.',
  'The cache has run for long: nothing here is about restarts, deployments or a purge of everything.',
  'MB and GB are 2^20 and 2^30 bytes, MB/s and Gbit/s 10^6 bytes and 10^9 bits.',
]

function assumptions(sizing: Sizing): string {
  const rows = NAMES.map((name) => {
    const { unit, says } = ASSUMPTIONS[name]
    const value = name === 'seed' ? String(sizing[name]) : sizing[name].toLocaleString('en')
    return [`--${flagOf(name)}`, value, `${unit.padEnd(12)}${says}`] as const
  })
  return `${list(rows)}\n\n${COSTS.map((cost) => `  - ${cost}`).join('\n')}`
}

function variants(sizing: Sizing): string {
  return table(
    ['', 'near hits', 'far hits', 'misses', 'commands/s', 'live entries', 'shards for calls', 'shards'],
    variantsOf(sizing).map(variant),
  )
}

function variant({ change, sized: { sizing, solution, partitions, plan: needed } }: Variant): string[] {
  const { near, far, misses, live } = solution.total
  const flags = Object.entries(change).map(([name, value]) => `--${flagOf(name)} ${value}`)
  return [
    flags.join(' ') || 'as above',
    ...[near, far, misses].map((rate) => percent(rate / sizing.requests)),
    whole(partitions.reduce((sum, { calls }) => sum + calls, 0)),
    gigabytes(live * bytesOfEntry(sizing)),
    ...[needed.calls, needed.all].map((shards) => (shards === undefined ? 'none' : whole(shards))),
  ]
}
