import { parseArgs } from 'node:util'

interface Assumption {
  readonly value: number
  readonly from: number
  readonly to: number
  readonly isWhole?: true
  readonly unit: string
  readonly says: string
}

/** Everything that the numbers rest on. Each is a flag of the same name: `nearMb` is `--near-mb`. */
export const ASSUMPTIONS = {
  nodes: whole(1000, 1, 100_000, 'nodes', 'Node servers; each request goes to one of them at random'),
  requests: some(1_000_000, 1, 1e9, 'requests/s', 'of the whole fleet, steady'),
  entries: whole(100_000_000, 1000, 1e10, 'entries', 'cacheable responses that are asked for'),
  zipf: some(0.9, 0, 3, '', 'exponent of the Zipf law by which requests choose entries'),
  ttl: some(60, 1, 2_592_000, 's', 'an entry and its copies live so long; no refresh on a hit, no stale answers'),
  nearMb: some(256, 0, 1_048_576, 'MB', 'memory of the near tier in each node, least recently used leaves first'),
  invalidations: some(500, 0, 1e6, '1/s', 'of one tag each'),
  reach: some(20, 0, 1e6, 'entries', 'carry the tag that is invalidated'),
  writeZipf: some(0.5, 0, 3, '', 'exponent of the Zipf law by which invalidations choose entries; 0 is evenly'),
  originMs: some(50, 0, 60_000, 'ms', 'until a missing response is made'),
  partitions: whole(64, 1, 1024, 'partitions', 'one hash slot each, evenly over all slots'),
  shards: whole(0, 0, 1024, 'shards', '0 is as many as are needed'),
  replicas: whole(1, 0, 5, 'per shard', 'which serve no reads'),
  polls: some(4, 0, 1000, '1/s', 'of each node that has traffic, for changes, at partition 0'),
  shardCalls: some(100_000, 1, 1e9, 'calls/s', 'ASSUMED: script calls that a shard is planned for'),
  shardGb: some(25, 0.1, 10_000, 'GB', 'ASSUMED: memory that a shard is planned for'),
  shardGbit: some(10, 0.1, 1000, 'Gbit/s', 'ASSUMED: network that a shard is planned for, each way'),
  pushCost: some(0.2, 0, 10, 'calls', 'ASSUMED: what delivering one published message takes'),
  entryBytes: some(2048, 1, 1e8, 'bytes', 'ASSUMED: head and body of an entry'),
  keyBytes: some(90, 1, 10_000, 'bytes', "ASSUMED: a key in Redis, with its partition's prefix"),
  tags: some(3, 0, 1000, 'tags', 'ASSUMED: of an entry'),
  keyOverhead: some(
    450,
    0,
    100_000,
    'bytes',
    "ASSUMED: hash table, expiry and allocator's rounding for an entry in Redis",
  ),
  tagBytes: some(170, 0, 100_000, 'bytes', "ASSUMED: one tag of one entry in Redis' index"),
  ledgerBytes: some(130, 0, 100_000, 'bytes', 'ASSUMED: one invalidation as each partition remembers it'),
  ledgerSeconds: some(60, 0, 1e6, 's', 'an invalidation is remembered longer than the TTL'),
  nearOverhead: some(1700, 0, 1e6, 'bytes', 'ASSUMED: objects around an entry in the near tier'),
  commandBytes: some(120, 0, 1e6, 'bytes', 'ASSUMED: a call, without key and entry'),
  replyBytes: some(40, 0, 1e6, 'bytes', 'ASSUMED: an answer, without the entry'),
  pollBytes: some(
    40,
    0,
    1e6,
    'bytes',
    'ASSUMED: an answer to a node that asks for changes, which messages have told before',
  ),
  messageBytes: some(160, 0, 1e6, 'bytes', 'ASSUMED: a published invalidation'),
  busBytes: some(
    2264,
    0,
    1e6,
    'bytes',
    'ASSUMED: head of a message on the cluster bus of Redis 7; light ones of Valkey take 40',
  ),
  sample: whole(3_000_000, 10_000, 2e7, 'requests', 'through real LRUs, to check the formulas'),
  seed: whole(1, 0, 2 ** 32 - 1, '', 'of everything random'),
} as const satisfies Record<string, Assumption>

type Name = keyof typeof ASSUMPTIONS

/** A value for each assumption. */
export type Sizing = { readonly [name in Name]: number }

/** The names of all assumptions, in the order in which they are told. */
export const NAMES = Object.keys(ASSUMPTIONS) as Name[]

/** The flag that sets an assumption. */
export function flagOf(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}

/** What was given on the command line, and the defaults. Throws an Error that says what is wrong. */
export function parse(args: readonly string[]): Sizing {
  const options = Object.fromEntries(NAMES.map((name) => [flagOf(name), { type: 'string' as const }]))
  const { values } = parseArgs({ args: [...args], options })
  const sizing = Object.fromEntries(NAMES.map((name) => [name, numberOf(name, values[flagOf(name)])])) as Sizing
  if (sizing.shards > sizing.partitions) {
    throw new Error(
      `--shards ${sizing.shards} is more than --partitions ${sizing.partitions}: some would hold nothing.`,
    )
  }
  return sizing
}

function numberOf(name: Name, text: string | boolean | undefined): number {
  const { value, from, to, isWhole }: Assumption = ASSUMPTIONS[name]
  if (text === undefined) return value
  const given = String(text).trim() === '' ? Number.NaN : Number(text)
  if (given >= from && given <= to && (!isWhole || Number.isInteger(given))) return given
  throw new Error(`--${flagOf(name)} takes a ${isWhole ? 'whole ' : ''}number from ${from} to ${to}, not '${text}'.`)
}

function some(value: number, from: number, to: number, unit: string, says: string): Assumption {
  return { value, from, to, unit, says }
}

function whole(value: number, from: number, to: number, unit: string, says: string): Assumption {
  return { ...some(value, from, to, unit, says), isWhole: true }
}
