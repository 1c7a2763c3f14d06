import { redis } from '../../src/backends/redis/redis.ts'
import { tiered } from '../../src/backends/tiered.ts'
import { memory, type TagBackend } from '../../src/index.ts'
import { makeEntry } from '../../src/testing/fixtures.ts'
import { type RedisServer, startCluster, startRedis } from '../../test/support/redis.ts'
import { redisLibraries } from '../../test/support/redis-clients.ts'

/** What one operation costs, on average. */
export interface Cost {
  readonly setUp: string
  readonly operation: string
  /** Commands that clients have sent. */
  readonly commands: number
  /** One after the other, each waiting for the last. */
  readonly roundTrips: number
  /** What the servers were at work, in microseconds. */
  readonly time: number
  /** Bytes that the servers have received, and sent. */
  readonly received: number
  readonly sent: number
}

const ROUNDS = 200
const PARTITIONS = 64
const TAGS = ['tag/product:42', 'tag/products']

const entryOf = (key: string, stamp: number, bytes: number) =>
  makeEntry(key, {
    tags: [...TAGS, 'uri/shop.example/products/42'],
    stamp,
    time: Date.now(),
    response: {
      headers: [
        { name: 'Content-Type', value: 'application/json; charset=utf-8' },
        { name: 'ETag', value: '"5d41402abc4b2a76b9719d911017c592"' },
      ],
      body: Buffer.alloc(bytes, 'x'),
    },
  })

const KEY = 'GET /products/:id?id=42&page=2#host=shop.example'

/** How often each operation waits for an answer before it goes on. */
const ROUND_TRIPS: Record<string, number> = { invalidation: 1, 'invalidation, Cluster': 2 }

/** Measures every operation in every set-up, on servers of its own. */
export async function measureCosts(): Promise<Cost[]> {
  const library = redisLibraries[0]!
  const server = await startRedis()
  const client = await library.connect(server.port)
  const cluster = await startCluster({ masters: 3, replicas: 0 })
  const clusterClient = await library.connectCluster(cluster.nodes.map(({ port }) => port))
  const far = redis(client as never)
  const tiers = {
    bounded: tiered({ near: memory(), far }),
    strong: tiered({ near: memory(), far, consistency: 'strong' }),
  }
  try {
    return [
      ...(await costsOf('redis()', far, [server])),
      ...(await costsOf('tiered(), bounded', tiers.bounded, [server])),
      ...(await costsOf('tiered(), strong', tiers.strong, [server])),
      ...(await costsOf('redis(), Cluster', redis(clusterClient as never, { partitions: PARTITIONS }), cluster.nodes)),
    ]
  } finally {
    await Promise.all([tiers.bounded.close(), tiers.strong.close(), far.close()])
    await library.close(client)
    await library.close(clusterClient)
    await Promise.all([server.stop(), cluster.stop()])
  }
}

async function costsOf(setUp: string, backend: TagBackend<false>, servers: readonly RedisServer[]): Promise<Cost[]> {
  const isCluster = servers.length > 1
  const costs: Cost[] = []
  const cost = async (operation: string, run: () => unknown) => {
    const name = isCluster ? `${operation}, Cluster` : operation
    costs.push({ setUp, operation, ...(await measure(servers, run)), roundTrips: ROUND_TRIPS[name] ?? 1 })
  }
  for (const [size, bytes] of [
    ['1 KB', 1024],
    ['100 KB', 102_400],
  ] as const) {
    await backend.store(entryOf(KEY, await backend.clock(KEY), bytes), 60_000)
    await backend.lookup(KEY)
    await cost(`hit of ${size}`, () => backend.lookup(KEY))
  }
  const stamp = await backend.clock(KEY)
  await cost('miss: look-up', () => backend.lookup(`${KEY}&~x=1`))
  await cost('miss: store of 1 KB', () => backend.store(entryOf(KEY, stamp, 1024), 60_000))
  await cost('invalidation of 2 tags', () => backend.invalidate(TAGS))
  return costs
}

// Asking for the counts costs something too. A near tier asks for news now and then: the least of several rounds is without.
async function measure(servers: readonly RedisServer[], run: () => unknown) {
  const [all, own] = [await countEach(servers, run), await countEach(servers, () => {})]
  const less = (name: keyof Counts) => Math.max(0, all[name] - own[name])
  return { commands: less('commands'), time: less('time'), received: less('received'), sent: less('sent') }
}

async function countEach(servers: readonly RedisServer[], run: () => unknown): Promise<Counts> {
  // The first time a script is sent whole.
  await run()
  const rounds = []
  for (let round = 0; round < 5; round++) {
    const before = await countsOf(servers)
    for (let at = 0; at < ROUNDS / 5; at++) await run()
    const after = await countsOf(servers)
    const per = (name: keyof Counts) => Math.round((10 * (after[name] - before[name])) / (ROUNDS / 5)) / 10
    rounds.push({ commands: per('commands'), time: per('time'), received: per('received'), sent: per('sent') })
  }
  return rounds.sort((a, b) => a.commands - b.commands || a.sent - b.sent)[0]!
}

interface Counts {
  readonly commands: number
  readonly time: number
  readonly received: number
  readonly sent: number
}

async function countsOf(servers: readonly RedisServer[]): Promise<Counts> {
  const texts = await Promise.all(servers.map(async (server) => `${await server.command('INFO', 'everything')}`))
  const sum = (pattern: RegExp) => texts.reduce((total, text) => total + Number(pattern.exec(text)?.[1] ?? 0), 0)
  return {
    commands: sum(/^cmdstat_evalsha:calls=(\d+)/m),
    time: sum(/^cmdstat_evalsha:calls=\d+,usec=(\d+)/m),
    received: sum(/^total_net_input_bytes:(\d+)/m),
    sent: sum(/^total_net_output_bytes:(\d+)/m),
  }
}
