import { afterAll, beforeAll, describe, test, vi } from 'vitest'
import { type RedisBackend, redis } from '../../../src/backends/redis/redis.ts'
import { tiered } from '../../../src/backends/tiered.ts'
import { memory, type TagBackend } from '../../../src/index.ts'
import { backendContract } from '../../../src/testing/index.ts'
import { type RedisCluster, type RedisServer, startCluster, startRedis } from '../../support/redis.ts'
import { type AnyRedisClient, redisLibraries } from '../../support/redis-clients.ts'

const MAX_TAGS = 5000
let namespaces = 0

// The entries of the contract are of the first of January.
const BEGUN = performance.now()
vi.spyOn(Date, 'now').mockImplementation(() => Date.UTC(2026, 0, 1) + performance.now() - BEGUN)

const fresh = () => `contract-${++namespaces}`

/** Everything that stands in the ledgers of a namespace. */
async function membersOf(server: RedisServer, namespace: string): Promise<number> {
  return Number(await server.command('ZCARD', `{${namespace}}:ledger`))
}

describe.each(redisLibraries)('with $name', (library) => {
  let server: RedisServer
  let client: AnyRedisClient

  beforeAll(async () => {
    server = await startRedis()
    client = await library.connect(server.port)
  })

  afterAll(async () => {
    await library.close(client)
    await server.stop()
  })

  const create = (namespace = fresh()) => redis(client, { namespace, maxTags: MAX_TAGS })

  const named = new WeakMap<TagBackend, string>()
  const createNamed = () => {
    const namespace = fresh()
    const backend = create(namespace)
    named.set(backend, namespace)
    return backend
  }

  backendContract({
    test,
    describe,
    name: 'redis()',
    create: createNamed,
    countRecords: (backend) => membersOf(server, named.get(backend)!),
  })
  backendContract({
    test,
    describe,
    name: 'redis() that compresses',
    create: () => redis(client, { namespace: fresh(), compressFrom: 1 }),
  })
  for (const consistency of ['bounded', 'strong'] as const) {
    backendContract({
      test,
      describe,
      name: `tiered(), ${consistency}`,
      create: () => tiered({ near: memory(), far: create(), consistency }),
    })
  }
})

describe('a Cluster', () => {
  let cluster: RedisCluster

  beforeAll(async () => {
    cluster = await startCluster({ masters: 3, replicas: 0 })
  }, 60_000)

  afterAll(() => cluster.stop())

  describe.each(redisLibraries)('with $name', (library) => {
    let client: AnyRedisClient

    beforeAll(async () => {
      client = await library.connectCluster(cluster.nodes.map(({ port }) => port))
    })

    afterAll(() => library.close(client))

    const create = (): RedisBackend => redis(client as never, { namespace: fresh(), partitions: 8 })

    backendContract({ test, describe, name: 'redis()', create })
    backendContract({
      test,
      describe,
      name: 'tiered()',
      create: () => tiered({ near: memory(), far: create() }),
    })
  })
})
