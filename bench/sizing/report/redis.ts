import type { Sizing } from '../assumptions.ts'
import {
  bytesOfEntry,
  bytesOfLedger,
  commandsOf,
  type Load,
  loadOf,
  meanOf,
  publishedOf,
  shardOf,
  useOf,
} from '../shards.ts'
import { evennessOf, type Sized } from '../size.ts'
import { gigabytes, list, megabytes, percent, rough, table, times, whole } from './table.ts'

/** What Redis is asked. */
export function commands({ sizing, solution }: Sized): string {
  const kinds = Object.entries(commandsOf(sizing, solution)).map(([kind, load]) => [kind, loadOf(load)] as const)
  const sum = (name: keyof Load) => kinds.reduce((all, [, load]) => all + load[name], 0)
  const all = loadOf({ calls: sum('calls'), received: sum('received'), sent: sum('sent') })
  return table(
    ['commands', 'a second', 'of all', 'to Redis', 'from Redis'],
    [...kinds, ['all', all] as const].map(([kind, { calls, received, sent }]) => [
      kind,
      whole(calls),
      percent(calls / all.calls),
      megabytes(received),
      megabytes(sent),
    ]),
  )
}

/** What invalidations make the fleet and the cluster do. */
export function invalidations({ sizing, shards, solution: { classes, outcomes } }: Sized): string {
  const { invalidations: rate, nodes, partitions, reach, messageBytes } = sizing
  const { subscribed, sending } = publishedOf(sizing, shards)
  const commands = rate * partitions
  const copies = classes.reduce((sum, { count, outdated }, at) => sum + count * outdated * outcomes[at]!.liveCopies, 0)
  return list([
    ['messages to a node', rough(rate), `a second, ${megabytes(rate * messageBytes)}`],
    ['messages to all nodes', whole(rate * nodes), `a second, ${megabytes(rate * nodes * messageBytes)}`],
    ['messages that a shard delivers', whole(subscribed.pushes!), `a second, ${megabytes(subscribed.sent!)}`],
    ["sent on the bus by partition 0's shard", whole(sending.pushes!), `a second, ${megabytes(sending.sent!)}`],
    ['commands', whole(commands), `a second, ${whole(commands / shards)} for each of ${shards} shards`],
    ['entries that they reach', whole(rate * reach), 'a second'],
    ['valid copies that they end', whole(copies * nodes), `a second in all near tiers, ${rough(copies)} in each`],
  ])
}

/** What entries take. */
export function memory({ sizing, solution, shards }: Sized): string {
  const { entries, replicas, tags, tagBytes, entryBytes, keyBytes, keyOverhead } = sizing
  const { live } = solution.total
  const ledgers = sizing.partitions * bytesOfLedger(sizing)
  const each = bytesOfEntry(sizing)
  const row = (name: string, bytes: number) => [name, whole(bytes), ...[entries, live].map((n) => gigabytes(n * bytes))]
  const sum = (name: string, factor: number) => {
    return [name, '', ...[entries, live].map((number) => gigabytes((number * each + ledgers) * factor))]
  }
  return table(
    ['', 'bytes each', `all ${whole(entries)}`, `live at once: ${whole(live)}`],
    [
      row('head and body', entryBytes),
      row('key', keyBytes),
      row('hash table, expiry, allocator', keyOverhead),
      row('tag index', tags * tagBytes),
      row('an entry', each),
      ['invalidations remembered', '', gigabytes(ledgers), gigabytes(ledgers)],
      sum('all masters', 1),
      sum(`a shard of ${shards}, mean`, 1 / shards),
      sum(`with ${replicas} × replicas`, 1 + replicas),
    ],
  )
}

/** How far the busiest partition is from the mean. */
export function balanceOfPartitions({ partitions }: Sized): string {
  const mean = meanOf(partitions)
  const row = (says: string, name: keyof Load, show = whole) => {
    const most = Math.max(...partitions.map((load) => load[name]))
    return [says, show(mean[name]), show(most), times(most / mean[name]), times(partitions[0]![name] / mean[name])]
  }
  return table(
    ['', 'mean', 'hottest', 'hottest : mean', 'partition 0 : mean'],
    [
      row('entries', 'entries'),
      row('live entries', 'live'),
      row('requests/s for its entries, at the nodes', 'requests'),
      row('commands/s that reach it', 'calls'),
      row('received', 'received', megabytes),
      row('sent', 'sent', megabytes),
    ],
  )
}

/** How even partitions are over shards. */
export function balanceOfShards(sized: Sized): string {
  const rows = evennessOf(sized).map(({ shards, even, median, worse }) => [
    whole(shards),
    rough(sized.sizing.partitions / shards),
    ...[even, median, worse].map(times),
  ])
  const says =
    '  The most partitions on one shard, as a multiple of the mean; spread over the slots evenly, or anyhow (1,000 draws).'
  return `${says}\n\n${table(['shards', 'partitions each', 'evenly', 'anyhow, median', 'anyhow, one in twenty'], rows)}`
}

/** How many shards keep to what one is planned for. */
export function plan({ sizing, plan: needed, partitions, shards }: Sized): string {
  const { shardCalls, shardGb, shardGbit, entries } = sizing
  const says = (number: number | undefined) => (number === undefined ? 'none' : whole(number))
  const limit = `nothing up to one shard for each of ${partitions.length} partitions is enough`
  return list([
    ['for calls', says(needed.calls), `${whole(shardCalls)} calls/s on the hottest, delivered messages counted`],
    ['for memory', says(needed.memory), `${shardGb} GB on the fullest, with all ${whole(entries)} entries`],
    ['for network', says(needed.network), `${shardGbit} Gbit/s each way on the hottest`],
    ['for all of it', says(needed.all), needed.all === undefined ? limit : ''],
    ['taken here', whole(shards), sizing.shards > 0 ? 'as asked for' : ''],
  ])
}

/** What shards and partitions do. */
export function loads({ sizing, loads: all, slots, partitions, shards }: Sized): string {
  const hottest = all.reduce((a, b) => (useOf(sizing, b).calls > useOf(sizing, a).calls ? b : a))
  return table(
    ['', 'calls/s', 'messages/s', 'received', 'sent', 'memory', 'of calls', 'of memory', 'of network'],
    [
      loadRow(sizing, 'mean shard', meanOf(all)),
      loadRow(sizing, 'hottest shard', hottest),
      loadRow(sizing, "partition 0's shard", all[shardOf(slots[0]!, shards)]!),
      loadRow(sizing, 'mean partition', meanOf(partitions)),
      loadRow(sizing, 'partition 0, without messages', partitions[0]!),
    ],
  )
}

function loadRow(sizing: Sizing, says: string, load: Load): string[] {
  const { calls, memory: bytes, network } = useOf(sizing, load)
  return [
    says,
    whole(load.calls),
    whole(load.pushes),
    megabytes(load.received),
    megabytes(load.sent),
    gigabytes(load.memory),
    ...[calls, bytes, network].map(percent),
  ]
}
