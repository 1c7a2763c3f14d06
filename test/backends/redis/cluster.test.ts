import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { partitionOf, placesOf, slotOf } from '../../../src/backends/redis/layout.ts'
import { type RedisBackend, redis } from '../../../src/backends/redis/redis.ts'
import { createCache, isOutdated, type Lookup } from '../../../src/index.ts'
import { entryOf } from '../../support/backends.ts'
import { type RedisCluster, type RedisServer, startCluster, until } from '../../support/redis.ts'
import { type AnyRedisClient, redisLibraries } from '../../support/redis-clients.ts'

const PARTITIONS = 16
const KEYS = Array.from({ length: 300 }, (_, at) => `GET /products/:id?id=${at}`)

const isValid = ({ entry, invalidatedAt }: Lookup) => entry !== undefined && !isOutdated(entry.stamp, invalidatedAt)

async function fill(backend: RedisBackend, keys = KEYS, tags = ['all']): Promise<void> {
  await Promise.all(
    keys.map(async (key) => {
      const { clock } = await backend.lookup(key)
      expect(await backend.store(entryOf(key, { tags: [...tags, key], stamp: clock }), 600_000)).toBe(true)
    }),
  )
}

async function validKeys(backend: RedisBackend, keys = KEYS): Promise<string[]> {
  const found = await Promise.all(
    keys.map(async (key) => {
      try {
        return await backend.lookup(key)
      } catch {
        return { entry: undefined, invalidatedAt: 0, clock: 0 }
      }
    }),
  )
  return keys.filter((_, at) => isValid(found[at]!))
}

describe('the places of partitions', () => {
  it.each([1, 3, 16, 64, 100, 1024])('are %i slots, evenly over all', (partitions) => {
    const slots = placesOf('shop', partitions).map(({ ledger }) => slotOf(/\{(.*)\}/.exec(ledger)![1]!))
    expect(new Set(slots).size).toBe(partitions)
    const share = 16_384 / partitions
    for (const [at, slot] of slots.entries()) {
      if (partitions > 1) expect(Math.abs(slot - (at + 0.5) * share)).toBeLessThanOrEqual(share / 2 + 1)
    }
  })

  it('have everything of a partition in one slot, whatever a key or a tag is named', () => {
    for (const place of placesOf('shop', 16)) {
      const keys = [place.ledger, place.entry('{other}'), place.lease('a}b{c'), place.index('{}')]
      expect(new Set(keys.map((key) => slotOf(/\{(.*?)\}/.exec(key)![1]!))).size).toBe(1)
    }
  })

  it('are the same for all variants of a response, whose stamps are taken before it is known what varies', () => {
    const primary = 'GET /p?q=~a&~b=1#host=h'
    expect(partitionOf(`${primary}&~accept=x`, 1024)).toBe(partitionOf(primary, 1024))
    expect(partitionOf('GET /p#~accept=x', 1024)).toBe(partitionOf('GET /p', 1024))
    expect(new Set(KEYS.map((key) => partitionOf(key, 64))).size).toBeGreaterThan(50)
  })
})

describe.each(redisLibraries)('a Cluster of three masters and three replicas, with $name', (library) => {
  let cluster: RedisCluster
  let clients: AnyRedisClient[]
  let one: RedisBackend
  let other: RedisBackend

  beforeAll(async () => {
    cluster = await startCluster({ masters: 3, replicas: 1 })
    const ports = cluster.nodes.map(({ port }) => port)
    clients = [await library.connectCluster(ports), await library.connectCluster(ports)]
    ;[one, other] = clients.map((client) => redis(client as never, { partitions: PARTITIONS })) as [
      RedisBackend,
      RedisBackend,
    ]
    await one.ready()
  }, 90_000)

  afterAll(async () => {
    for (const client of clients) await library.close(client)
    await cluster.stop()
  }, 30_000)

  const masters = () => cluster.nodes.slice(0, 3)
  const entriesOf = async (node: RedisServer) =>
    ((await node.command('KEYS', '*:entry:*')) as string[]).filter((key) => key.includes('GET /products'))

  it('has its entries on all masters, and every command is of one slot', async () => {
    await fill(one)
    expect(await validKeys(other)).toEqual(KEYS)
    const counts = await Promise.all(masters().map(async (node) => (await entriesOf(node)).length))
    expect(counts.reduce((sum, count) => sum + count)).toBe(KEYS.length)
    for (const count of counts) expect(count).toBeGreaterThan(KEYS.length / 6)
    for (const node of masters()) {
      const errors = `${await node.command('INFO', 'errorstats')}`
      expect(errors).not.toMatch(/CROSSSLOT/)
    }
  })

  it('keeps the promise over all masters', async () => {
    await fill(one)
    await other.invalidate(['all'])
    expect(await validKeys(one)).toEqual([])
    await fill(one)
    await other.invalidate(KEYS.slice(0, 100))
    expect(await validKeys(one)).toEqual(KEYS.slice(100))
    await other.clear()
    expect(await validKeys(one)).toEqual([])
  })

  it('does not keep a response under a key whose clock its stamp is not of', async () => {
    const cache = createCache({ backend: one })
    const stamps = await Promise.all(
      KEYS.slice(0, 20).map((_, at) => cache.stamp('GET /stamped/:id', { params: { id: at } })),
    )
    const kept = await Promise.all(
      stamps.map((stamp, id) => cache.set('GET /stamped/:id', { params: { id } }, ['t'], { body: 'x' }, 60, stamp)),
    )
    expect(kept).toEqual(Array(20).fill(true))
    await expect(one.clock()).rejects.toThrow(/route and the request/)
  })

  it('serves nothing that was purged while a slot is on its way to another master', async () => {
    await fill(one)
    const key = KEYS[0]!
    const place = placesOf('tagcache', PARTITIONS)[one.clockOf!(key)]!
    const slot = slotOf(/\{(.*)\}/.exec(place.ledger)![1]!)
    const here = KEYS.filter((other) => one.clockOf!(other) === one.clockOf!(key))
    const from = await cluster.ownerOf(slot)
    const to = masters().find((node) => node !== from)!
    const move = await cluster.moveSlot(slot, from, to)
    // Half of the entries are there already, and then the ledger too.
    await move.moveKeys(...here.filter((_, at) => at % 2 === 0).map(place.entry))
    await invalidateThrough(other, [here[0]!, here[1]!])
    expect(await validKeys(one, here)).not.toContain(here[0])
    expect(await validKeys(one, here)).not.toContain(here[1])
    await move.moveKeys(place.ledger)
    await invalidateThrough(other, [here[2]!, here[3]!])
    for (const purged of here.slice(0, 4)) expect(await validKeys(one, here)).not.toContain(purged)
    await move.finish()
    await until('the new master answers', async () => {
      await one.lookup(key)
      return true
    })
    for (const purged of here.slice(0, 4)) expect(await validKeys(one, here)).not.toContain(purged)
    await fill(one, here)
    expect(await validKeys(other, here)).toEqual(here)
  }, 30_000)

  it('goes on after a master was killed, and brings nothing back', async () => {
    await fill(one)
    await other.invalidate(KEYS.slice(0, 100))
    await cluster.failover(0)
    await until('all partitions answer', () => invalidates(other, ['after']), 20_000)
    const valid = await validKeys(one)
    for (const purged of KEYS.slice(0, 100)) expect(valid).not.toContain(purged)
    await until('all keys are stored again', async () => {
      await fill(one).catch(() => {})
      return (await validKeys(other)).length === KEYS.length
    })
    await one.invalidate(['all'])
    expect(await validKeys(other)).toEqual([])
  }, 60_000)
})

async function invalidates(backend: RedisBackend, tags: string[]): Promise<boolean> {
  return Promise.resolve(backend.invalidate(tags)).then(
    () => true,
    () => false,
  )
}

/** Keeps trying, as the cache does. */
async function invalidateThrough(backend: RedisBackend, tags: string[]): Promise<void> {
  await until('the purge is taken', () => invalidates(backend, tags))
}
