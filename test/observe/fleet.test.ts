import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { redis } from '../../src/backends/redis/redis.ts'
import { addUp } from '../../src/core/sums.ts'
import { type CacheOptions, createCache, memory, type Notice, type TagBackend, tiered } from '../../src/index.ts'
import { Overridden } from '../support/backends.ts'
import { gate } from '../support/http.ts'
import { type RedisCluster, type RedisServer, startCluster, startRedis, until } from '../support/redis.ts'
import { type AnyRedisClient, redisLibraries } from '../support/redis-clients.ts'
import { ManualTime } from '../support/time.ts'

/** A cache over a board in this process that the test can read and write. */
function setUp(options: CacheOptions = {}, board: Partial<NonNullable<TagBackend['board']>> = {}) {
  const time = new ManualTime()
  const notices = new Map<string, Notice & { ttl: number }>()
  const backend = Object.assign(new Overridden(memory(), { sync: false }), {
    board: {
      publish: (id: string, text: string, ttl: number) => void notices.set(id, { id, text, ttl }),
      read: () => [...notices.values()],
      ...board,
    },
  })
  const cache = createCache({ backend, time, publishStats: true, ...options })
  onTestFinished(() => cache.close())
  return { time, cache, notices }
}

const settled = () => new Promise<void>((resolve) => setImmediate(resolve))
const bypass = { type: 'trace', outcome: 'bypass', route: 'GET /a', stored: false } as const

describe('the numbers of this process', () => {
  it('are left at once, and then every ten seconds, for three times as long', async () => {
    const { time, cache, notices } = setUp()
    await settled()
    const [notice] = notices.values()
    expect(notice).toMatchObject({ id: expect.stringMatching(/^\|.+:\d+:[0-9a-f]{6}$/), ttl: 30_000 })
    expect(JSON.parse(notice!.text)).toEqual({ at: time.now(), stats: JSON.parse(JSON.stringify(cache.stats())) })
    cache.flow.events.emit(bypass)
    time.move(9_999)
    await settled()
    expect(JSON.parse([...notices.values()][0]!.text).stats.bypasses).toBe(0)
    time.move(1)
    await settled()
    expect(JSON.parse([...notices.values()][0]!.text).stats.bypasses).toBe(1)
    expect(notices.size).toBe(1)
  })

  it('are left as often as is said, and not at all where nobody says so', async () => {
    const often = setUp({ publishStats: '2s' })
    await settled()
    expect([...often.notices.values()][0]!.ttl).toBe(6_000)
    const never = setUp({ publishStats: false })
    never.time.move(60_000)
    await settled()
    expect([never.notices.size, never.time.pending]).toEqual([0, 0])
    const code = expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_VALUE' })
    for (const publishStats of ['10ms', -1, 'often', null]) {
      expect(() => createCache({ publishStats: publishStats as never })).toThrow(code)
    }
  })

  it('are left no more when the cache is closed', async () => {
    const { time, cache, notices } = setUp()
    await settled()
    await cache.close()
    notices.clear()
    time.move(60_000)
    await settled()
    expect([notices.size, time.pending]).toEqual([0, 0])
    expect((await cache.fleetStats()).of).toBe('process')
  })

  it('do no harm where they cannot be left, and are left again when they can', async () => {
    let fails = true
    const left: string[] = []
    const publish = async (id: string) => {
      if (fails) throw new Error('full')
      left.push(id)
    }
    const { time, cache } = setUp({}, { publish })
    const told: unknown[] = []
    cache.on((event) => told.push(event.type === 'fault' ? event.operation : event))
    await settled()
    expect(told).toEqual(['publish'])
    expect(await cache.set('a', {}, [], { body: 'a' })).toBe(true)
    fails = false
    time.move(10_000)
    await settled()
    expect(left).toHaveLength(1)
  })

  it('and those of others are not waited for longer than two seconds, and the backend is not left alone for that', async () => {
    const { time, cache } = setUp({ publishStats: false }, { read: () => gate<never>().opened })
    await cache.set('a', {}, [], { body: 'a' })
    const asked = cache.fleetStats()
    time.move(2_000)
    expect(await asked).toMatchObject({ of: 'process', nodes: [{ stats: { faults: 0 } }], total: { faults: 0 } })
    expect(await cache.getByRequest('a')).toBeDefined()
  })

  it('are all there is over a backend that is not shared', async () => {
    const cache = createCache({ publishStats: true })
    cache.flow.events.emit(bypass)
    const { of, nodes, total } = await cache.fleetStats()
    expect([of, nodes.length, total]).toEqual(['process', 1, cache.stats()])
  })
})

describe('the numbers of a fleet', () => {
  it('are those of all who have left theirs, and this process as it is now', async () => {
    const { cache, notices, time } = setUp()
    await settled()
    cache.flow.events.emit({ ...bypass, outcome: 'hit', cost: 1500 })
    const stats = { ...createCache().stats(), requests: 5, misses: 5, reasons: { aborted: 2 }, savedSeconds: 0.5 }
    const other = { at: 7, stats: { ...stats, removals: { ...stats.removals, evicted: 3 } } }
    notices.set('|z', { id: '|z', text: JSON.stringify(other), ttl: 1 })
    const { of, nodes, total } = await cache.fleetStats()
    expect(of).toBe('fleet')
    expect(nodes.map(({ at, stats }) => [at, stats.requests])).toEqual([
      [time.now(), 1],
      [7, 5],
    ])
    expect(nodes[1]!.id).toBe('z')
    expect(total).toMatchObject({ requests: 6, hits: 1, misses: 5, reasons: { aborted: 2 }, savedSeconds: 2 })
    expect(total.removals).toMatchObject({ evicted: 3, expired: 0 })
  })

  it('leave out what is of another namespace, and what nobody understands', async () => {
    const { cache, notices } = setUp({ namespace: 'shop' })
    await settled()
    const stats = JSON.stringify({ at: 1, stats: createCache().stats() })
    const others = {
      '|a': stats,
      'news|a': stats,
      'shop|a': stats,
      'shop|b': '{',
      'shop|c': '{"at":1}',
      'shop|d': 'null',
    }
    for (const [id, text] of Object.entries(others)) notices.set(id, { id, text, ttl: 1 })
    const { nodes } = await cache.fleetStats()
    expect(nodes.slice(1).map(({ id }) => id)).toEqual(['a'])
  })
})

describe('what anybody may have left on a board', () => {
  const stats = JSON.parse(JSON.stringify(createCache().stats()))
  const said = (changes: object, at: unknown = 1) => JSON.stringify({ at, stats: { ...stats, ...changes } })
  const tally = { ...stats, requests: 1, misses: 1 }

  async function read(texts: Readonly<Record<string, string>>) {
    const { cache, notices } = setUp({ publishStats: false })
    for (const [name, text] of Object.entries(texts)) notices.set(`|${name}`, { id: `|${name}`, text, ttl: 1 })
    return cache.fleetStats()
  }

  it.each<[string, string]>([
    ['a number that is a text', said({ requests: '7' })],
    ['a number without bounds', said({ requests: 1 }).replace('"requests":1', '"requests":1e999')],
    ['a number that is a list', said({ savedSeconds: [1] })],
    ['a number too large to be counted on', said({ servedBytes: 1e300 })],
    ['half of the numbers', JSON.stringify({ at: 1, stats: { requests: 5, routes: {} } })],
    ['routes that are a text', said({ routes: 'all' })],
    ['a route that is nothing', said({ routes: { 'GET /a': null } })],
    ['a route with half of its numbers', said({ routes: { 'GET /a': { requests: 5 } } })],
    [
      'more routes than a process names',
      said({ routes: Object.fromEntries(Array.from({ length: 1001 }, (_, at) => [at, tally])) }),
    ],
    ['a route with an endless name', said({ routes: { ['x'.repeat(1001)]: tally } })],
    ['reasons without an end', said({ reasons: Object.fromEntries(Array.from({ length: 201 }, (_, at) => [at, 1])) })],
    ['a moment that no calendar has', said({}, 1e300)],
    ['a moment that is a text', said({}, 'now')],
    ['brackets without an end', `${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}`],
    ['nothing', ''],
  ])('is not counted where it is %s, and that is told', async (_, text) => {
    const { nodes, total, unread } = await read({ evil: text, good: said({ requests: 3, misses: 3 }) })
    expect([nodes.map(({ id }) => id).slice(1), unread, total.requests]).toEqual([['good'], 1, 3])
  })

  it('is not counted under a name without an end', async () => {
    const { nodes, unread } = await read({ ['x'.repeat(301)]: said({}) })
    expect([nodes.length, unread]).toEqual([1, 1])
  })

  it('hands on nothing but what numbers are made of', async () => {
    const more = {
      evil: 1,
      since: -5,
      backend: { ...stats.backend, state: '<b>', near: '<b>', undelivered: 2, evil: 1 },
    }
    const text = said({
      ...more,
      latency: { hit: { ...stats.latency.hit, count: 9, counts: [9] }, miss: stats.latency.miss },
    })
    const { nodes, total } = await read({ a: text.replace('"evil"', '"__proto__"') })
    expect(nodes[1]!.stats).toEqual({
      ...stats,
      since: 0,
      backend: { ...stats.backend, undelivered: 2, near: undefined },
    })
    expect(JSON.stringify(total)).not.toMatch(/evil|__proto__|<b>/)
    expect(Object.prototype).not.toHaveProperty('evil')
  })

  it('has the names of routes that a prototype has, as names', async () => {
    const routes = `{"__proto__":${JSON.stringify(tally)},"constructor":${JSON.stringify(tally)}}`
    const { total } = await read({ a: said({ routes: 0 }).replace('"routes":0', `"routes":${routes}`) })
    expect(Object.entries(total.routes).map(([name, { requests }]) => [name, requests])).toEqual([
      ['__proto__', 1],
      ['constructor', 1],
    ])
  })

  it('comes to 500 routes and the others, whatever the number of nodes, and requests are blocked by none of it', async () => {
    const texts = Array.from({ length: 40 }, (_, node) => {
      const names = Array.from({ length: 500 }, (_, at) => [
        `GET /${node === 0 ? `busy/${at}` : `${node}/${at}`}`,
        { ...tally, requests: node === 0 ? 9 : 1 },
      ])
      return [`n${node}`, said({ routes: Object.fromEntries(names), requests: node === 0 ? 4500 : 500 })]
    })
    let turns = 0
    const turn = () => {
      turns += 1
      timer = setImmediate(turn)
    }
    let timer = setImmediate(turn)
    const { nodes, total } = await read(Object.fromEntries(texts))
    clearImmediate(timer)
    expect(turns).toBeGreaterThan(10)
    expect(nodes).toHaveLength(41)
    const routes = Object.entries(total.routes)
    expect(routes).toHaveLength(501)
    expect(routes.filter(([name]) => name.startsWith('GET /busy/'))).toHaveLength(500)
    expect(total.routes['(other)']!.requests).toBe(39 * 500)
    expect(routes.reduce((sum, [, { requests }]) => sum + requests, 0)).toBe(total.requests)
  })
})

describe('what two processes say, together', () => {
  it('is the sum of counts, the longest of times, the first beginning, and the worse state', () => {
    const latency = { count: 2, total: 0.5, longest: 0.4, bounds: [1, 2], counts: [2, 0, 0] }
    const one = {
      since: 10,
      requests: 1,
      routes: { a: { hits: 1 } },
      latency,
      state: 'well',
      isBehind: false,
      near: 'lost',
    }
    const other = {
      since: 5,
      requests: 2,
      routes: { a: { hits: 2 }, constructor: { hits: 4 } },
      latency: { ...latency, longest: 0.9, counts: [0, 1, 1] },
      state: 'paused',
      isBehind: true,
      undelivered: 3,
    }
    const both = {
      since: 5,
      requests: 3,
      routes: { a: { hits: 3 }, constructor: { hits: 4 } },
      latency: { count: 4, total: 1, longest: 0.9, bounds: [1, 2], counts: [2, 1, 1] },
      state: 'paused',
      isBehind: true,
      near: 'lost',
      undelivered: 3,
    }
    expect(addUp<object>(one, other)).toEqual(both)
    expect(addUp<object>(other, one)).toEqual(both)
    expect(addUp<object>({ undelivered: 3 }, { undelivered: 'everything' })).toEqual({ undelivered: 'everything' })
    const hostile = JSON.parse('{"__proto__": {"polluted": 1}, "routes": {"__proto__": {"hits": 1}}}')
    expect(Object.keys(addUp(hostile, hostile).routes)).toEqual(['__proto__'])
    expect(Object.prototype).not.toHaveProperty('polluted')
  })
})

const CHILD = `
import { Redis } from 'ioredis'
import { createCache } from './src/index.ts'
import { redis } from './src/backends/redis/redis.ts'
const [port, requests] = process.argv.slice(-2).map(Number)
const client = new Redis(port, '127.0.0.1')
const cache = createCache({ backend: redis(client), publishStats: '1s' })
for (let at = 0; at < requests; at++) {
  cache.flow.events.emit({ type: 'trace', outcome: 'bypass', route: 'GET /a', stored: false })
}
process.stdin.once('data', () => client.disconnect())
console.log('ready')
`

describe('processes that share a Redis', () => {
  let server: RedisServer
  const clients: AnyRedisClient[] = []

  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(async () => {
    for (const client of clients) await redisLibraries[0]!.close(client)
    await server.stop()
  })

  const join = async (options: CacheOptions = {}, wrap = (backend: TagBackend<false>) => backend) => {
    const client = await redisLibraries[0]!.connect(server.port)
    clients.push(client)
    const cache = createCache({ publishStats: '1s', ...options, backend: wrap(redis(client as never)) })
    onTestFinished(() => cache.close())
    return cache
  }

  it('know what all of them have done, and end although they publish', async () => {
    const children = [3, 4].map((requests) => {
      const args = ['--import', 'tsx', '--input-type=module', '-e', CHILD, '--', String(server.port), String(requests)]
      return spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'] })
    })
    await Promise.all(children.map((child) => once(createInterface(child.stdout), 'line')))
    const cache = await join()
    cache.flow.events.emit(bypass)
    await until('all have published', async () => (await cache.fleetStats()).total.bypasses === 8)
    const { nodes } = await cache.fleetStats()
    expect(nodes.map(({ stats }) => stats.bypasses).sort()).toEqual([1, 3, 4])
    expect(nodes.map(({ id }) => id.split(':')[1]).sort()).toEqual(
      [process.pid, ...children.map(({ pid }) => pid)].map(String).sort(),
    )
    // What they have done is lost with them: their notices run out after three intervals.
    const ended = children.map((child) => once(child, 'exit'))
    for (const child of children) child.stdin.end('end')
    expect((await Promise.all(ended)).map(([code]) => code)).toEqual([0, 0])
    await until('their notices have run out', async () => (await cache.fleetStats()).nodes.length === 1)
  })

  it('do so through two tiers, and keep to their namespaces', async () => {
    const near = (far: TagBackend<false>) => tiered({ near: memory(), far })
    const [one, other] = [await join({ namespace: 'shop' }, near), await join({ namespace: 'shop' }, near)]
    const third = await join({ namespace: 'news' })
    one.flow.events.emit(bypass)
    await until('all have published', async () => (await other.fleetStats()).total.bypasses === 1)
    expect((await other.fleetStats()).nodes).toHaveLength(2)
    expect((await third.fleetStats()).nodes).toHaveLength(1)
  })

  it('leave one key for each and a list, in one slot, all with an end', async () => {
    const cache = await join()
    const keys = async () => ((await server.command('KEYS', '*:notice:*')) as string[]).length
    await until('it has published', async () => (await keys()) > 0)
    const all = (await server.command('KEYS', '{tagcache}:board')) as string[]
    for (const key of [...all, ...((await server.command('KEYS', '*:notice:*')) as string[])]) {
      expect(key).toMatch(/^\{tagcache\}:(board|notice:)/)
      expect(Number(await server.command('PTTL', key))).toBeGreaterThan(0)
    }
    expect(all).toHaveLength(1)
    await cache.close()
  })

  it('read no more than they can bear, and tell how many are left out', async () => {
    const own = await startRedis()
    const client = await redisLibraries[0]!.connect(own.port)
    const cache = createCache({ backend: redis(client as never) })
    try {
      const board = redis(client as never).board
      const text = JSON.stringify({ at: Date.now(), stats: createCache().stats() })
      const padded = (length: number) => text.padEnd(length)
      await board.publish('|longest', padded(2 * 1024 * 1024), 60_000)
      await board.publish('|longer', padded(2 * 1024 * 1024 + 1), 60_000)
      expect(await cache.fleetStats()).toMatchObject({ nodes: [{}, { id: 'longest' }], unread: 1 })
      for (let at = 0; at < 17; at++) await board.publish(`|${at}`, padded(2 * 1024 * 1024), 60_000)
      expect(await cache.fleetStats()).toMatchObject({ of: 'fleet', nodes: { length: 17 }, unread: 3 })
    } finally {
      await cache.close()
      await redisLibraries[0]!.close(client)
      await own.stop()
    }
  })

  it('understand what the largest of them says', async () => {
    const cache = await join({ namespace: 'large' })
    const other = await join({ namespace: 'large', publishStats: false })
    for (let at = 0; at < 500; at++) cache.flow.events.emit({ ...bypass, route: `GET /${'ä'.repeat(990)}/${at}` })
    await until('it has published', async () => (await other.fleetStats()).total.bypasses === 500)
    expect(await other.fleetStats()).toMatchObject({ nodes: { length: 2 }, unread: 0 })
  })

  it('do not mind that it is away', async () => {
    const away = await startRedis()
    const client = await redisLibraries[0]!.connect(away.port)
    const cache = createCache({ backend: redis(client as never), publishStats: true })
    await away.stop()
    expect(await cache.fleetStats()).toMatchObject({ of: 'process', nodes: [{ stats: { requests: 0 } }] })
    await cache.close()
    await redisLibraries[0]!.close(client)
  })
})

describe.each([redisLibraries[0]!, redisLibraries[2]!])('processes that share a Cluster, with $name', (library) => {
  let cluster: RedisCluster

  beforeAll(async () => {
    cluster = await startCluster({ masters: 3, replicas: 0 })
  }, 90_000)
  afterAll(() => cluster.stop())

  it('know what all of them have done', async () => {
    const clients = await Promise.all([1, 2, 3].map(() => library.connectCluster(cluster.ports)))
    const caches = clients.map((client) => createCache({ backend: redis(client as never), publishStats: '1s' }))
    for (const cache of caches) cache.flow.events.emit(bypass)
    await until('all have published', async () => {
      const fleets = await Promise.all(caches.map((cache) => cache.fleetStats()))
      return fleets.every(({ of, nodes, total }) => of === 'fleet' && nodes.length === 3 && total.bypasses === 3)
    })
    await Promise.all(caches.map((cache) => cache.close()))
    await Promise.all(clients.map((client) => library.close(client)))
  })
})
