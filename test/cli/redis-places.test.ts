import * as ioredis6 from 'ioredis'
import * as ioredis5 from 'ioredis5'
import * as redis6 from 'redis'
import * as redis5 from 'redis5'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { redis } from '../../src/backends/redis/redis.ts'
import type { Address, Ways } from '../../src/cli/targets/connecting.ts'
import { ioRedis } from '../../src/cli/targets/ioredis.ts'
import { nodeRedis } from '../../src/cli/targets/node-redis.ts'
import { placeOf } from '../../src/cli/targets/redis-address.ts'
import { createCache } from '../../src/index.ts'
import {
  type RedisCluster,
  type RedisServer,
  type Sentinels,
  startCluster,
  startRedis,
  startReplica,
  startSentinels,
  until,
} from '../support/redis.ts'
import { run } from './support.ts'

const LIBRARIES: readonly [name: string, ways: (address: Address) => Ways][] = [
  ['ioredis 6', (address) => ioRedis(ioredis6, address)],
  ['ioredis 5', (address) => ioRedis(ioredis5 as never, address)],
  ['node-redis 6', (address) => nodeRedis(redis6, address)],
  ['node-redis 5', (address) => nodeRedis(redis5 as never, address)],
]

describe('the address of a Redis', () => {
  it.each<[string, object]>([
    [
      'redis://localhost',
      {
        name: 'redis://localhost:6379',
        url: 'redis://localhost',
        hosts: [{ host: 'localhost', port: 6379 }],
        isTls: false,
        credentials: {},
        database: 0,
      },
    ],
    [
      'rediss://ann:p%40ss@a:1/3',
      { name: 'rediss://a:1/3', isTls: true, credentials: { username: 'ann', password: 'p@ss' }, database: 3 },
    ],
    [
      'redis://a:1,[::1]:2,c',
      {
        name: 'redis://a:1,[::1]:2,c:6379',
        hosts: [
          { host: 'a', port: 1 },
          { host: '::1', port: 2 },
          { host: 'c', port: 6379 },
        ],
      },
    ],
    ['redis://:x:y@a,b', { name: 'redis://a:6379,b:6379', credentials: { password: 'x:y' } }],
    [
      'redis+sentinel://a,b:7/my%2Fmaster',
      {
        name: 'redis+sentinel://a:26379,b:7/my/master',
        hosts: [
          { host: 'a', port: 26379 },
          { host: 'b', port: 7 },
        ],
        sentinel: { master: 'my/master', credentials: {} },
        database: 0,
      },
    ],
    [
      'REDISS+SENTINEL://:data@a/m/2?sentinel_username=u&sentinel_password=p%26',
      {
        name: 'rediss+sentinel://a:26379/m/2',
        isTls: true,
        credentials: { password: 'data' },
        database: 2,
        sentinel: { master: 'm', credentials: { username: 'u', password: 'p&' } },
      },
    ],
  ])('%s is read', (text, place) => {
    expect(placeOf(text)).toMatchObject(place)
  })

  it.each([
    'localhost:6379',
    'http://localhost',
    'redis://',
    'redis://:secret@',
    'redis://:secret@a,,b',
    'redis://a:secret',
    'redis://:secret@a/b/c',
    'redis://:secret@a,b?db=1',
    'redis+sentinel://:secret@a',
    'redis+sentinel://:secret@a/',
    'redis+sentinel://a/m/secret',
    'redis+sentinel://a/m?password=secret',
    'redis://%zz:secret@a,b',
    `redis://${'a@'.repeat(50_000)}`,
  ])('%.40s is none, and is not shown', (text) => {
    expect(() => placeOf(text)).toThrow(
      expect.objectContaining({ exit: 2, message: expect.not.stringContaining('secret') }),
    )
  })
})

describe('a master that Sentinels watch', () => {
  let servers: RedisServer[]
  let sentinels: Sentinels

  beforeAll(async () => {
    const master = await startRedis()
    servers = [master, await startReplica(master), await startReplica(master)]
    sentinels = await startSentinels(master)
  }, 60_000)
  afterAll(async () => {
    await sentinels?.stop()
    for (const server of servers ?? []) await server.stop()
  }, 30_000)

  const url = (first = '') =>
    `redis+sentinel://${first}${sentinels.ports.map((port) => `127.0.0.1:${port}`).join(',')}/${sentinels.name}`
  const masterNow = async () => {
    const port = await sentinels.masterPort()
    return servers.find(({ ownPort }) => ownPort === port)!
  }

  it('is found and purged, though a Sentinel is away', async () => {
    // Nobody listens there.
    const where = ['--redis', url('127.0.0.1:9,')]
    const purged = await run(['purge', 'products', ...where])
    expect([purged.code, purged.stdout]).toEqual([
      0,
      `Purged the tag products in ${url('127.0.0.1:9,')}, namespace tagcache.\n`,
    ])
    const master = await masterNow()
    expect(await master.command('ZSCORE', '{tagcache}:ledger', ':tag/products')).toBeTruthy()
    expect((await run(['tags', ...where])).code).toBe(1)
  })

  it.each(LIBRARIES)('is found with %s, and is no replica', async (_, ways) => {
    const place = placeOf(url('127.0.0.1:9,'))
    const { client, end } = await ways({ place, timeout: 10_000 }).sentinel(place.sentinel!)
    const cache = createCache({ backend: redis(client), backendTimeout: 5 })
    try {
      expect(await cache.set('GET /a', {}, ['a'], { body: 'a' })).toBe(true)
      expect(await cache.invalidateTags('a')).toBe(true)
    } finally {
      await cache.close()
      end()
    }
  })

  it.each(LIBRARIES)('whom no Sentinel knows, or who is away, cannot be reached with %s', async (_, ways) => {
    for (const text of [url().replace(sentinels.name, 'nobody'), 'redis+sentinel://127.0.0.1:9/mymaster']) {
      const place = placeOf(text)
      const opening = ways({ place, timeout: 1500 }).sentinel(place.sentinel!)
      await expect(opening).rejects.toMatchObject({ exit: 3, message: expect.stringContaining(place.name) })
    }
  })

  it('asks for a password, and gets the one that was given', async () => {
    for (const server of servers) {
      await server.command('CONFIG', 'SET', 'masterauth', 'open-sesame')
      await server.command('ACL', 'SETUSER', 'cli', 'on', '>open-sesame', '+@all', '~*', '&*')
    }
    const as = (user: string) => run(['purge', 'a', '--redis', url().replace('//', `//${user}@`)])
    expect((await as('cli:open-sesame')).code).toBe(0)
    const { code, stderr } = await as('cli:wrong')
    expect(code).toBe(4)
    expect(stderr).toContain('WRONGPASS')
    expect(stderr).not.toContain('wrong@')
  })

  it('is followed when it is replaced', async () => {
    const old = await masterNow()
    const port = await sentinels.failover(old)
    expect(port).not.toBe(old.ownPort)
    const { code } = await run(['purge', 'after', '--redis', url()])
    expect(code).toBe(0)
    const master = await masterNow()
    expect(await master.command('ZSCORE', '{tagcache}:ledger', ':tag/after')).toBeTruthy()
  }, 60_000)
})

describe('a Cluster', () => {
  let cluster: RedisCluster
  beforeAll(async () => {
    cluster = await startCluster({ masters: 3, replicas: 0 })
  }, 90_000)
  afterAll(() => cluster?.stop())

  const url = () => `redis://${['127.0.0.1:9', ...cluster.ports.map((port) => `127.0.0.1:${port}`)].join(',')}`

  it('is found by any node that answers', async () => {
    const { code, stdout } = await run(['purge', 'products', '--redis', url(), '--partitions', '3'])
    expect([code, stdout]).toEqual([0, `Purged the tag products in ${url()}, namespace tagcache.\n`])
  })

  it.each(LIBRARIES)('is purged with %s', async (_, ways) => {
    const { client, end } = await ways({ place: placeOf(url()), timeout: 10_000 }).cluster()
    const cache = createCache({ backend: redis(client, { partitions: 8 }), backendTimeout: 5 })
    try {
      await until('it is there', async () => cache.set('GET /a', {}, ['a'], { body: 'a' }))
      expect(await cache.invalidateTags('a')).toBe(true)
    } finally {
      await cache.close()
      end()
    }
  })

  it('of which no node answers is 3', async () => {
    const { code, stderr } = await run(['tags', '--redis', 'redis://:secret@127.0.0.1:9,127.0.0.1:10'])
    expect(code).toBe(3)
    expect(stderr).toContain('Cannot reach redis://127.0.0.1:9,127.0.0.1:10: connect ECONNREFUSED')
    expect(stderr).not.toContain('secret')
  })

  it('is none where several servers know nothing of each other', async () => {
    const alone = await startRedis()
    const { code, stderr } = await run(['purge', 'a', '--redis', `redis://127.0.0.1:${alone.port},127.0.0.1:9`])
    await alone.stop()
    expect(code).toBe(2)
    expect(stderr).toContain('no Cluster')
  })
})
