import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type RedisBackend, redis } from '../../../src/backends/redis/redis.ts'
import { type Cache, type CachedResponse, createCache, isOutdated, type Lookup } from '../../../src/index.ts'
import { entryOf } from '../../support/backends.ts'
import {
  infoOf,
  type RedisServer,
  type Sentinels,
  startRedis,
  startReplica,
  startSentinels,
  until,
} from '../../support/redis.ts'
import { type AnyRedisClient, redisLibraries } from '../../support/redis-clients.ts'

const LONG = 600_000
const PRODUCT = 'GET /products/:id'

const textOf = (response: CachedResponse | undefined) => response && Buffer.from(response.body).toString()

function bodyOf({ entry, invalidatedAt }: Lookup): string | undefined {
  if (!entry || isOutdated(entry.stamp, invalidatedAt)) return undefined
  return Buffer.from(entry.response.body).toString()
}

describe.each(redisLibraries)('a master that Sentinels watch, with $name', (library) => {
  let servers: RedisServer[]
  let sentinels: Sentinels
  let clients: AnyRedisClient[]
  let backends: [RedisBackend, RedisBackend]
  let caches: [Cache<string, false>, Cache<string, false>]
  let states: string[]

  beforeAll(async () => {
    const master = await startRedis()
    servers = [master, await startReplica(master), await startReplica(master)]
    sentinels = await startSentinels(master)
    clients = await Promise.all([1, 2].map(() => library.connectSentinel(sentinels.ports, sentinels.name)))
    backends = clients.map((client) => redis(client as never)) as never
    await Promise.all(backends.map((backend) => backend.ready()))
    caches = backends.map((backend) =>
      createCache({ backend, backendTimeout: '2s', backendPause: '50ms' }),
    ) as typeof caches
    states = []
    caches[0].on('backend', ({ state }) => states.push(state))
  }, 60_000)

  afterAll(async () => {
    for (const cache of caches ?? []) await cache.close()
    for (const client of clients ?? []) await library.close(client)
    await sentinels?.stop()
    for (const server of servers ?? []) await server.stop()
  }, 30_000)

  async function masterNow(): Promise<RedisServer> {
    const port = await sentinels.masterPort()
    return servers.find(({ ownPort }) => ownPort === port)!
  }

  const set = (cache: Cache<string, false>, id: number, body: string, stamp?: number) =>
    cache.set(PRODUCT, { params: { id } }, ['products', `product:${id}`], { body }, 600, stamp)
  const get = async (cache: Cache<string, false>, id: number) =>
    textOf(await cache.getByRequest(PRODUCT, { params: { id } }))

  /** Both processes have their answers from the new master. */
  async function untilBack(): Promise<void> {
    for (const cache of caches) await until('it is back', async () => (await cache.stamp()) > 0, 30_000)
  }

  it('keeps entries and purges, as one alone does', async () => {
    const [one, other] = caches
    for (let id = 0; id < 5; id++) expect(await set(one, id, `old ${id}`)).toBe(true)
    expect(await get(other, 3)).toBe('old 3')
    expect(await other.invalidateTags(['product:3'])).toBe(true)
    expect([await get(one, 3), await get(one, 4)]).toEqual([undefined, 'old 4'])
    expect(textOf(await one.getByTags(['product:4']))).toBe('old 4')
    const { clock, lease } = await backends[0].lookup('k', { lease: LONG })
    const holder = lease?.kind === 'taken' ? lease.holder : ''
    expect((await backends[1].lookup('k', { lease: LONG })).lease).toMatchObject({ kind: 'held' })
    const told = new Promise((resolve) => backends[1].leases.onEnd('k', resolve))
    expect(await backends[0].store(entryOf('k', { tags: ['t'], stamp: clock }), LONG, holder)).toBe(true)
    expect(await told).toBe('stored')
  })

  it('goes on after it was killed: what was stored is a miss, and what was purged or overtaken does not come back', async () => {
    const [one, other] = caches
    const master = await masterNow()
    for (let id = 0; id < 5; id++) expect(await set(one, id, `before ${id}`)).toBe(true)
    const stamp = await one.stamp()
    const raw = await backends[0].lookup('late')
    expect(await other.invalidateTags(['product:1'])).toBe(true)

    await sentinels.failover(master)
    await untilBack()
    const next = await masterNow()
    expect(next).not.toBe(master)
    expect((await infoOf(next, 'replication')).role).toBe('master')

    for (const cache of caches) {
      for (let id = 0; id < 5; id++) expect(await get(cache, id)).toBeUndefined()
      expect(await cache.getByTags(['products'])).toBeUndefined()
    }
    expect(await set(one, 1, 'overtaken', stamp)).toBe(false)
    expect(await backends[0].store(entryOf('late', { tags: ['t'], stamp: raw.clock }), LONG)).toBe(false)

    expect(await set(one, 2, 'after 2')).toBe(true)
    expect(await get(other, 2)).toBe('after 2')
    expect(await other.invalidateTags(['product:2'])).toBe(true)
    expect([await get(one, 2), await get(other, 2)]).toEqual([undefined, undefined])

    await master.restart()
    await until(
      'the old master follows',
      async () => {
        const { role, master_link_status: link } = await infoOf(master, 'replication')
        return role === 'slave' && link === 'up'
      },
      30_000,
    )
    expect([await get(one, 2), await get(other, 1)]).toEqual([undefined, undefined])
  }, 90_000)

  it('delivers what was purged while there was none, and serves nothing of before', async () => {
    const [one, other] = caches
    const master = await masterNow()
    for (let id = 0; id < 5; id++) expect(await set(other, id, `old ${id}`)).toBe(true)
    states.length = 0
    await master.kill()
    const isTaken = await one.invalidateTags(['product:0'])
    expect(await get(one, 0)).toBeUndefined()
    await until('another one is there', async () => (await masterNow()) !== master, 30_000)
    await untilBack()
    if (!isTaken) await until('it is delivered', () => states.includes('delivered'), 30_000)
    for (const cache of caches) for (let id = 0; id < 5; id++) expect(await get(cache, id)).toBeUndefined()
    expect(await set(other, 0, 'new')).toBe(true)
    expect(await get(one, 0)).toBe('new')
    expect(await one.invalidateTags(['product:0'])).toBe(true)
    expect([await get(one, 0), await get(other, 0)]).toEqual([undefined, undefined])
    await master.restart()
    await until('the old master follows', async () => (await infoOf(master, 'replication')).role === 'slave', 30_000)
  }, 90_000)

  it('that hangs and comes back is not believed any more', async () => {
    const [one, other] = caches
    const master = await masterNow()
    for (let id = 0; id < 5; id++) expect(await set(one, id, `hung ${id}`)).toBe(true)
    master.freeze()
    await until('another one is there', async () => (await masterNow()) !== master, 30_000)
    // One library goes to the other one now, the other when its connection ends.
    await other.invalidateTags(['products'])
    master.thaw()
    await until('the old master follows', async () => (await infoOf(master, 'replication')).role === 'slave', 30_000)
    await until('a purge is taken', () => other.invalidateTags(['products']), 30_000)
    for (const cache of caches) for (let id = 0; id < 5; id++) expect(await get(cache, id)).toBeUndefined()
    await untilBack()
    for (const cache of caches) for (let id = 0; id < 5; id++) expect(await get(cache, id)).toBeUndefined()
    expect(await set(one, 0, 'new')).toBe(true)
    expect(await get(other, 0)).toBe('new')
  }, 90_000)

  it('tells the ends of leases after all that', async () => {
    // Redis keeps no messages: what is published while a subscriber is on its way to the new master is lost.
    let isTold = false
    for (let round = 0; !isTold && round < 20; round += 1) isTold = await tellsEndOf(`m${round}`)
    expect(isTold).toBe(true)
  })

  async function tellsEndOf(key: string): Promise<boolean> {
    const { clock, lease } = await backends[0].lookup(key, { lease: LONG })
    expect(lease).toMatchObject({ kind: 'taken' })
    expect((await backends[1].lookup(key, { lease: LONG })).lease).toMatchObject({ kind: 'held' })
    const ends: string[] = []
    backends[1].leases.onEnd(key, (end) => ends.push(end))
    const holder = lease?.kind === 'taken' ? lease.holder : ''
    expect(await backends[0].store(entryOf(key, { tags: ['t'], stamp: clock }), LONG, holder)).toBe(true)
    expect(bodyOf(await backends[1].lookup(key))).toBe(key)
    return until('it is told', () => ends.includes('stored'), 500).then(
      () => true,
      () => false,
    )
  }
})
