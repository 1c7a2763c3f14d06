import { once } from 'node:events'
import net from 'node:net'
import * as ioredis6 from 'ioredis'
import * as ioredis5 from 'ioredis5'
import * as redis6 from 'redis'
import * as redis5 from 'redis5'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { tagcache } from '../../../src/adapters/node.ts'
import { type RedisBackend, type RedisClient, type RedisOptions, redis } from '../../../src/backends/redis/redis.ts'
import { type CacheEvent, createCache, isOutdated, type Lookup, type TagcacheError } from '../../../src/index.ts'
import { entryOf } from '../../support/backends.ts'
import { ask, listen } from '../../support/http.ts'
import { promote, type RedisServer, startRedis, startReplica, until } from '../../support/redis.ts'
import { type AnyRedisClient, type RedisLibrary, redisLibraries } from '../../support/redis-clients.ts'
import { onFreePort } from '../../support/relay.ts'

// What is wrong with a client, an option or a server is said at once, with what to do; and it never keeps the application from working.

const LONG = 600_000
const HOST = '127.0.0.1'

let server: RedisServer
beforeAll(async () => void (server = await startRedis()))
afterAll(() => server.stop())
beforeEach(async () => void (await server.command('FLUSHALL')))

async function start(options: Parameters<typeof startRedis>[0] = {}): Promise<RedisServer> {
  const started = await startRedis(options)
  onTestFinished(() => started.stop())
  return started
}

async function connect(library: RedisLibrary, port = server.port): Promise<AnyRedisClient> {
  const client = await library.connect(port)
  onTestFinished(() => library.close(client))
  return client
}

async function join(library: RedisLibrary, port = server.port, options: RedisOptions = {}): Promise<RedisBackend> {
  return made(await connect(library, port), options)
}

function made(client: unknown, options: RedisOptions = {}): RedisBackend {
  const backend = redis(client as RedisClient, options)
  onTestFinished(async () => void (await backend.close()))
  return backend
}

/** A client that is closed in the end, whatever it is. */
function closing<C extends { disconnect?: unknown; destroy?: unknown; on: unknown }>(client: C): C {
  ;(client.on as (event: string, listener: () => void) => unknown)('error', () => {})
  onTestFinished(async () => {
    const [{ destroy, disconnect }] = [client]
    try {
      await ((destroy ?? disconnect) as () => unknown).call(client)
    } catch {}
  })
  return client
}

function refusal(client: unknown, options?: unknown): TagcacheError {
  try {
    redis(client as RedisClient, options as RedisOptions)
  } catch (error) {
    return error as TagcacheError
  }
  throw new Error('It was taken.')
}

function bodyOf({ entry, invalidatedAt }: Lookup): string | undefined {
  if (!entry || isOutdated(entry.stamp, invalidatedAt)) return undefined
  return Buffer.from(entry.response.body).toString()
}

async function put(backend: RedisBackend, key: string, tags: string[], body = key): Promise<void> {
  const { clock } = await backend.lookup(key)
  expect(await backend.store(entryOf(key, { tags, stamp: clock, body, lifetime: 1e12 }), LONG)).toBe(true)
  expect(bodyOf(await backend.lookup(key))).toBe(body)
}

/** Sees to it that two backends work together, leases and their ends included. */
async function checkTogether(one: RedisBackend, other: RedisBackend): Promise<void> {
  await put(one, 'k', ['t'])
  expect(bodyOf(await other.lookup('k'))).toBe('k')
  await other.invalidate(['t'])
  expect(bodyOf(await one.lookup('k'))).toBeUndefined()
  const { clock, lease } = await one.lookup('l', { lease: LONG })
  const holder = lease?.kind === 'taken' ? lease.holder : ''
  expect((await other.lookup('l', { lease: LONG })).lease).toMatchObject({ kind: 'held' })
  const told = new Promise((resolve) => other.leases.onEnd('l', resolve))
  const body = 'ünï\0\r\n$5'
  expect(await one.store(entryOf('l', { tags: ['ü'], stamp: clock, body, lifetime: 1e12 }), LONG, holder)).toBe(true)
  expect(await told).toBe('stored')
  expect(bodyOf(await other.lookup('l', { lease: LONG }))).toBe(body)
  expect((await other.list('ü', 5)).map(bodyOf)).toEqual([body])
  expect(await other.delete('l')).toBe(true)
  await other.clear()
}

/** What a cache tells from now on. */
function heard(cache: { on(listener: (event: CacheEvent) => void): unknown }) {
  const warnings: Extract<CacheEvent, { type: 'warning' }>[] = []
  const faults: TagcacheError[] = []
  cache.on((event) => {
    if (event.type === 'warning') warnings.push(event)
    if (event.type === 'fault') faults.push(event.error as TagcacheError)
  })
  return { warnings, faults, codes: () => warnings.map(({ code }) => code) }
}

describe('a client that is not connected', () => {
  const at = () => ({ host: HOST, port: server.port })
  const nodes = () => [{ url: `redis://${HOST}:${server.port}` }]
  const clients: Record<string, () => unknown> = {
    'ioredis 6 with lazyConnect': () => new ioredis6.Redis({ ...at(), lazyConnect: true }),
    'ioredis 5 with lazyConnect': () => new ioredis5.Redis({ ...at(), lazyConnect: true }),
    'a Cluster of ioredis 6 with lazyConnect': () => new ioredis6.Cluster([at()], { lazyConnect: true }),
    'a Cluster of ioredis 5 with lazyConnect': () => new ioredis5.Cluster([at()], { lazyConnect: true }),
    'node-redis 6 before connect()': () => redis6.createClient({ socket: at() }),
    'node-redis 5 before connect()': () => redis5.createClient({ socket: at() }),
    'a Cluster of node-redis 6 before connect()': () => redis6.createCluster({ rootNodes: nodes() }),
    'a Cluster of node-redis 5 before connect()': () => redis5.createCluster({ rootNodes: nodes() }),
    'a Sentinel client of node-redis 6 before connect()': () =>
      redis6.createSentinel({ name: 'mymaster', sentinelRootNodes: [at()] }),
    'a Sentinel client of node-redis 5 before connect()': () =>
      redis5.createSentinel({ name: 'mymaster', sentinelRootNodes: [at()] }),
  }

  it.each(Object.keys(clients))('is refused, and told to connect: %s', (name) => {
    const error = refusal(closing(clients[name]!() as never))
    expect(error).toMatchObject({ code: 'ERR_TAGCACHE_REDIS_CLIENT' })
    expect(error.message).toMatch(/not connected\. Call `await client\.connect\(\)`/)
  })

  it.each(redisLibraries)('is refused once it was closed ($name)', async (library) => {
    const client = await library.connect(server.port)
    await library.close(client)
    await until('it is closed', () => !('status' in client) || client.status === 'end')
    expect(refusal(client)).toMatchObject({ code: 'ERR_TAGCACHE_REDIS_CLIENT' })
  })

  it.each(redisLibraries)('is taken while it connects ($name)', async (library) => {
    const client = library.connectLater(server.port)
    onTestFinished(() => library.close(client))
    const backend = made(client)
    await backend.ready()
    await put(backend, 'k', ['t'])
  })

  it.each(redisLibraries)('and closed later costs faults and no more ($name)', async (library) => {
    const client = await library.connect(server.port)
    const cache = createCache({ backend: made(client), backendPause: '20ms' })
    onTestFinished(() => cache.close())
    const { faults } = heard(cache)
    expect(await cache.set('GET /a', {}, ['t'], { body: 'a' }, 60)).toBe(true)
    await library.close(client)
    expect(await cache.getByRequest('GET /a')).toBeUndefined()
    expect(await cache.invalidateTags(['t'])).toBe(false)
    expect(faults.length).toBeGreaterThan(0)
  })
})

describe('a client in subscriber mode', () => {
  it.each(redisLibraries)('is refused, and another one asked for ($name)', async (library) => {
    const client = await connect(library)
    await (client as { subscribe(channel: string, listener: () => void): Promise<unknown> }).subscribe('news', () => {})
    const error = refusal(client)
    expect(error).toMatchObject({ code: 'ERR_TAGCACHE_REDIS_CLIENT' })
    expect(error.message).toMatch(/subscriber mode.*client\.duplicate\(\)/)
  })

  it.each(redisLibraries)('from later on costs faults at the worst ($name)', async (library) => {
    const client = await connect(library)
    const backend = made(client)
    await put(backend, 'k', ['t'])
    await (client as { subscribe(channel: string, listener: () => void): Promise<unknown> }).subscribe('news', () => {})
    const cache = createCache({ backend, backendPause: '20ms' })
    onTestFinished(() => cache.close())
    await cache.getByRequest('GET /a')
    await cache.invalidateTags(['t'])
  })
})

describe('what is no client', () => {
  const nothing = () => {}
  const things: Record<string, unknown> = {
    undefined: undefined,
    null: null,
    'an object': {},
    'a Map': new Map(),
    'an address': 'redis://localhost:6379',
    'a number': 6379,
    'a function': nothing,
    'the library node-redis': redis6,
    'the library ioredis': ioredis6,
    'the class of ioredis': ioredis6.Redis,
    'a promise of a client': Promise.resolve(),
    'a client of node-redis 3': { connected: true, ready: true, send_command: nothing, get: nothing, on: nothing },
    'a client of node-redis 4': {
      isOpen: true,
      isReady: true,
      sendCommand: nothing,
      duplicate: nothing,
      get: nothing,
      on: nothing,
    },
    'a client of ioredis 4': {
      status: 'ready',
      callBuffer: nothing,
      duplicate: nothing,
      subscribe: nothing,
      on: nothing,
    },
    'a server of Express': Object.assign(() => {}, { set: nothing, get: nothing, on: nothing }),
  }

  it.each(Object.keys(things))('is refused, and the libraries named: %s', (name) => {
    const error = refusal(things[name])
    expect(error).toMatchObject({ name: 'TagcacheError', code: 'ERR_TAGCACHE_REDIS_CLIENT' })
    expect(error.message).toMatch(/ioredis 5 or later.*node-redis\) 5 or later/)
  })

  it.each([
    ['node-redis 6', redis6],
    ['node-redis 5', redis5 as unknown as typeof redis6],
  ])('a pool of clients (%s) is refused, or works like one', async (_, library) => {
    const pool = closing(
      library.createClientPool({ socket: { host: HOST, port: server.port } }) as never,
    ) as unknown as {
      connect(): Promise<unknown>
    }
    await pool.connect()
    let backend: RedisBackend
    try {
      backend = made(pool)
    } catch (error) {
      expect(error).toMatchObject({ code: 'ERR_TAGCACHE_REDIS_CLIENT' })
      return
    }
    await checkTogether(backend, await join(redisLibraries[0]!))
  })
})

describe('a client with options of its own', () => {
  const at = () => ({ host: HOST, port: server.port })
  const clients: Record<string, () => unknown> = {
    'ioredis 6, RESP2': () => new ioredis6.Redis({ ...at(), protocol: 2 } as never),
    'ioredis 6, RESP3': () => new ioredis6.Redis({ ...at(), protocol: 3 } as never),
    'ioredis 6, autopipelining': () => new ioredis6.Redis({ ...at(), enableAutoPipelining: true }),
    'ioredis 5, autopipelining': () => new ioredis5.Redis({ ...at(), enableAutoPipelining: true }),
    'ioredis 6, numbers as text': () => new ioredis6.Redis({ ...at(), stringNumbers: true }),
    'ioredis 5, numbers as text': () => new ioredis5.Redis({ ...at(), stringNumbers: true }),
    'ioredis 6, key prefix': () => new ioredis6.Redis({ ...at(), keyPrefix: 'app:' }),
    'ioredis 5, key prefix': () => new ioredis5.Redis({ ...at(), keyPrefix: 'app:' }),
    'ioredis 6, another database': () => new ioredis6.Redis({ ...at(), db: 3 }),
    'ioredis 6, friendly errors': () => new ioredis6.Redis({ ...at(), showFriendlyErrorStack: true }),
    'ioredis 6, no ready check': () => new ioredis6.Redis({ ...at(), enableReadyCheck: false }),
    'node-redis 6, RESP2': () => redis6.createClient({ socket: at(), RESP: 2 }),
    'node-redis 6, RESP3': () => redis6.createClient({ socket: at(), RESP: 3 }),
    'node-redis 5, RESP2': () => redis5.createClient({ socket: at(), RESP: 2 }),
    'node-redis 5, RESP3': () => redis5.createClient({ socket: at(), RESP: 3 }),
    'node-redis 6, another database': () => redis6.createClient({ socket: at(), database: 3 }),
    'node-redis 6, numbers as text': () =>
      redis6.createClient({ socket: at(), commandOptions: { typeMapping: { 58: String } } } as never),
    'node-redis 5, numbers as text': () =>
      redis5.createClient({ socket: at(), commandOptions: { typeMapping: { 58: String } } } as never),
  }

  it.each(Object.keys(clients))('is used as it is: %s', async (name) => {
    const connected = async () => {
      const client = closing(clients[name]!() as never) as { connect(): Promise<unknown>; status?: string }
      if (client.status === undefined) await client.connect()
      return client
    }
    const [one, other] = [made(await connected()), made(await connected())]
    await one.ready()
    await checkTogether(one, other)
  })

  it.each([redis6, redis5 as unknown as typeof redis6])(
    'is used with a mapping of types around it',
    async (library) => {
      const client = closing(library.createClient({ socket: at() }) as never) as unknown as redis6.RedisClientType
      await client.connect()
      const mapped = client.withTypeMapping({ 58: String as never, 36: String })
      await checkTogether(made(mapped), await join(redisLibraries[0]!))
    },
  )
})

describe('an option that cannot be', () => {
  let client: AnyRedisClient
  beforeEach(async () => void (client = await connect(redisLibraries[0]!)))

  it.each([
    '',
    'a{b',
    'a}b',
    '{tagcache}',
    'a\nb',
    'a\0b',
    'a\u007fb',
    'a\u0085b',
    'x'.repeat(101),
    '\ud800',
    5,
    {},
    ['a'],
    true,
  ])('is the namespace %j, and it is said what may be', (namespace) => {
    const error = refusal(client, { namespace })
    expect(error).toMatchObject({ code: 'ERR_TAGCACHE_OPTION_VALUE' })
    expect(error.message).toMatch(/"namespace" .* 1 to 100 characters without control characters and braces/)
  })

  it.each(['a', 'shop', 'a:b', 'a b', '*', 'ünï-✓', '😀'.repeat(100), '[x]', "'", '\\'])(
    'is not the namespace %j',
    async (namespace) => {
      const backend = made(client, { namespace })
      await put(backend, 'k', ['t'])
      await backend.invalidate(['t'])
      expect(bodyOf(await backend.lookup('k'))).toBeUndefined()
      const keys = (await server.command('KEYS', '*')) as string[]
      expect(keys.filter((key) => !key.startsWith(`{${namespace}}:`))).toEqual([])
      expect(keys).toContain(`{${namespace}}:ledger`)
    },
  )

  it.each<[string, unknown]>([
    ['maxTags', 0],
    ['maxTags', -1],
    ['maxTags', 1.5],
    ['maxTags', Number.NaN],
    ['maxTags', Number.POSITIVE_INFINITY],
    ['maxTags', '5'],
    ['maxBodySize', 0],
    ['maxBodySize', -1],
    ['maxBodySize', 'huge'],
    ['maxBodySize', Number.NaN],
    ['compressFrom', 0],
    ['compressFrom', 'always'],
    ['index', 'yes'],
    ['index', 1],
    ['partitions', 0],
    ['partitions', 1.5],
    ['partitions', '1'],
    ['partitions', 64],
  ])('is %s: %j', (option, value) => {
    const error = refusal(client, { [option]: value })
    expect(error).toMatchObject({ code: 'ERR_TAGCACHE_OPTION_VALUE' })
    expect(error.message).toMatch(new RegExp(`"${option}" .* allowed: `))
  })

  it.each([
    ['nameSpace', 'namespace'],
    ['maxtags', 'maxTags'],
    ['partition', 'partitions'],
  ])('is %s, where %s is meant', (option, meant) => {
    const error = refusal(client, { [option]: 1 })
    expect(error).toMatchObject({ code: 'ERR_TAGCACHE_OPTION_UNKNOWN' })
    expect(error.message).toContain(meant)
  })

  it.each([null, 'tagcache', 5])('is %j in the place of all', (options) => {
    expect(refusal(client, options).code ?? '').toMatch(/^ERR_TAGCACHE_OPTION/)
  })
})

describe('a server that cannot be used', () => {
  /** A cache that says so, goes on without, and harms no request. */
  async function checkUnusable(library: RedisLibrary, client: AnyRedisClient, message: RegExp): Promise<void> {
    const backend = made(client)
    const { cached, cache } = tagcache({ backend, backendPause: '20ms' })
    onTestFinished(() => cache.close())
    const { warnings, faults } = heard(cache)
    const error = await backend.ready().then(
      () => undefined,
      (reason: unknown) => reason,
    )
    expect(error, library.name).toMatchObject({ name: 'TagcacheError', code: 'ERR_TAGCACHE_REDIS_SERVER' })
    expect((error as Error).message).toMatch(message)
    await until('it is warned of', () => warnings.length > 0)
    expect(warnings).toMatchObject([{ code: 'TAGCACHE_REDIS_UNUSABLE', error }])

    let runs = 0
    const handler = cached({ ttl: 60, tags: ['t'], name: 'page' })
    const app = await listen((req, res) => handler(req, res, () => void res.end(`run ${++runs}`)))
    onTestFinished(() => app.close())
    expect((await ask(app.url)).text).toBe('run 1')
    expect(await cache.invalidateTags(['t'])).toBe(false)
    expect((await ask(app.url)).text).toBe('run 2')
    expect(await cache.set('GET /a', {}, ['t'], { body: 'a' }, 60)).toBe(false)
    expect(await cache.getByRequest('GET /a')).toBeUndefined()
    expect(faults.map(({ code }) => code)).toContain('ERR_TAGCACHE_REDIS_SERVER')
  }

  it.each(redisLibraries)('is a node of a Cluster, for a client of one server ($name)', async (library) => {
    const node = await start({ args: ['--cluster-enabled', 'yes'] })
    await checkUnusable(library, await connect(library, node.port), /node of a Cluster.*Hand in a Cluster client/)
  })

  it.each(redisLibraries)('is older than 6.2 ($name)', async (library) => {
    const port = await startImpostor('6.0.16')
    await checkUnusable(library, await connect(library, port), /version 6\.0\.16, and 6\.2 is the first.*Update it/)
  })

  it.each(['2.8.24', '5.0.14', '6.1.240'])('is of version %s', async (version) => {
    const port = await startImpostor(version)
    await expect((await join(redisLibraries[0]!, port)).ready()).rejects.toMatchObject({
      code: 'ERR_TAGCACHE_REDIS_SERVER',
    })
  })

  it.each(['6.2.0', '6.10.1', '7.2.4', '8.0.0', '10.0.0'])('is not of version %s', async (version) => {
    const port = await startImpostor(version)
    await (await join(redisLibraries[0]!, port)).ready()
  })

  it('is told of by the process, also to caches that are made later', async () => {
    const node = await start({ args: ['--cluster-enabled', 'yes'] })
    const backend = await join(redisLibraries[0]!, node.port)
    await expect(backend.ready()).rejects.toThrow(/Cluster/)
    const told: { code?: string; message: string }[] = []
    const listener = (warning: Error) => told.push(warning as never)
    process.on('warning', listener)
    onTestFinished(() => void process.off('warning', listener))
    const cache = createCache({ backend })
    onTestFinished(() => cache.close())
    await until('the process is warned', () => told.some(({ code }) => code === 'TAGCACHE_REDIS_UNUSABLE'))
    expect(told.find(({ code }) => code === 'TAGCACHE_REDIS_UNUSABLE')?.message).toMatch(/nothing is cached/)
  })

  it('is none of which it is not known yet: it is found out once the server is there', async () => {
    const library = redisLibraries[0]!
    const gone = await start({ args: ['--cluster-enabled', 'yes'] })
    await gone.kill()
    const client = library.connectLater(gone.port)
    onTestFinished(() => library.close(client))
    const backend = made(client)
    let verdict = 'unknown'
    backend.ready().then(
      () => (verdict = 'fit'),
      () => (verdict = 'unfit'),
    )
    await expect(backend.clock()).rejects.toThrow()
    await expect(backend.clock()).rejects.toThrow()
    expect(verdict).not.toBe('fit')
    await gone.restart()
    await until('it is known', async () => {
      await Promise.resolve(backend.clock()).catch(() => {})
      return verdict === 'unfit'
    })
  })

  it('does not keep a cache from being closed', async () => {
    const node = await start({ args: ['--cluster-enabled', 'yes'] })
    const cache = createCache({ backend: await join(redisLibraries[0]!, node.port) })
    await cache.invalidateTags(['t'])
    await cache.close()
  })
})

describe('a server that does not tell what it is', () => {
  it('is found out in use: every call is a miss and a fault, and a purge is kept', async () => {
    await server.command('ACL', 'SETUSER', 'mute', 'on', 'nopass', '~*', '&*', '+@all', '-info')
    const client = closing(
      new ioredis6.Redis({ host: HOST, port: server.port, username: 'mute', password: 'x', enableReadyCheck: false }),
    )
    const backend = made(client)
    await Promise.resolve(backend.ready()).catch(() => {})
    const cache = createCache({ backend, backendPause: '20ms' })
    onTestFinished(() => cache.close())
    const { faults } = heard(cache)
    expect(await cache.set('GET /a', {}, ['t'], { body: 'a' }, 60)).toBe(false)
    expect(await cache.getByRequest('GET /a')).toBeUndefined()
    expect(await cache.invalidateTags(['t'])).toBe(false)
    expect(faults[0]!.message).toMatch(/can't run this command/)
    await server.command('ACL', 'SETUSER', 'mute', '+info')
    await until('it is used', async () => cache.set('GET /a', {}, ['t'], { body: 'a' }, 60))
    expect(Buffer.from((await cache.getByRequest('GET /a'))!.body).toString()).toBe('a')
  })
})

describe('a user who may do little', () => {
  // What the scripts do counts as done by the user.
  const OWN = ['info', 'eval', 'evalsha', 'time', 'publish', 'subscribe', 'unsubscribe', '@connection']
  const VALUES = ['get', 'set', 'exists', 'unlink', 'pexpire', 'pttl']
  const SETS = ['zadd', 'zrem', 'zcard', 'zmscore', 'zscore', 'zrange', 'zrevrange', 'zrangebyscore']
  const HASHES = ['hget', 'hset', 'hmget', 'hdel', 'hgetall']

  it.each(redisLibraries)('needs no more than keys, channels and commands of the cache ($name)', async (library) => {
    const own = await start()
    const commands = [...OWN, ...VALUES, ...SETS, ...HASHES].map((command) => `+${command}`)
    await own.command('ACL', 'SETUSER', 'default', 'reset', 'on', 'nopass', '~{tagcache}:*', '&tagcache:*', ...commands)
    const [one, other] = [await join(library, own.port), await join(library, own.port)]
    await one.ready()
    await checkTogether(one, other)
    const { position } = await one.feed.changesSince(undefined)
    const heard: unknown[] = []
    one.feed.listen((changes) => heard.push(changes))
    await until('it hears of purges', async () => {
      await other.invalidate(['u'])
      return heard.length > 0
    })
    // What was heard of is not told again.
    expect(await one.feed.changesSince(position)).toMatchObject({ tags: [] })
    const { lease } = await one.lookup('n', { lease: LONG })
    const holder = lease?.kind === 'taken' ? lease.holder : ''
    expect(await one.leases.hold('n', holder, LONG, ['t'])).toBe(true)
    await other.invalidate(['t'])
    await one.leases.release('n', holder, 'abandoned')
    for (const id of ['a', 'b']) await one.board.publish(id, id, id === 'a' ? 1 : LONG)
    await until('the other one has the notice', async () => (await other.board.read()).length === 1)
    await one.board.publish('c', 'c', LONG)
    expect(await other.board.read()).toHaveLength(2)
  })
})

describe('a replica', () => {
  it.each(redisLibraries)('is warned of, costs misses, and is used once it is a master ($name)', async (library) => {
    const master = await start()
    const replica = await startReplica(master)
    onTestFinished(() => replica.stop())
    const cache = createCache({ backend: await join(library, replica.port), backendPause: '20ms' })
    onTestFinished(() => cache.close())
    const { codes, faults } = heard(cache)
    await until('it is warned of', () => codes().includes('TAGCACHE_REDIS_REPLICA'))
    expect(await cache.set('GET /a', {}, ['t'], { body: 'a' }, 60)).toBe(false)
    expect(await cache.getByRequest('GET /a')).toBeUndefined()
    expect(await cache.invalidateTags(['t'])).toBe(false)
    expect(faults.length).toBeGreaterThan(0)
    for (const { code, message } of faults) {
      expect([code, message]).toEqual(['ERR_TAGCACHE_BACKEND_REPLY', expect.stringMatching(/READONLY/)])
    }
    await promote(replica)
    await until('it is used', async () => cache.set('GET /a', {}, ['t'], { body: 'a' }, 60))
    expect(Buffer.from((await cache.getByRequest('GET /a'))!.body).toString()).toBe('a')
  })
})

describe('a server whose set-up does not suit', () => {
  async function warningsOf(settings: Record<string, string | number>): Promise<string[]> {
    const other = await start()
    for (const [name, value] of Object.entries(settings)) await other.command('CONFIG', 'SET', name, value)
    const backend = await join(redisLibraries[2]!, other.port)
    const cache = createCache({ backend })
    onTestFinished(() => cache.close())
    const { warnings, codes } = heard(cache)
    await backend.ready()
    for (const { message } of warnings) expect(message).toMatch(/Set `|Connect to|Give each/)
    await put(backend, 'k', ['t'])
    return codes()
  }

  it.each(['noeviction', 'allkeys-random', 'volatile-random'])('by its eviction (%s) is warned of', async (policy) => {
    expect(await warningsOf({ maxmemory: '100mb', 'maxmemory-policy': policy })).toEqual(['TAGCACHE_REDIS_EVICTION'])
  })

  it.each(['allkeys-lru', 'allkeys-lfu', 'volatile-lru', 'volatile-lfu', 'volatile-ttl'])(
    'is not one that evicts by %s',
    async (policy) => {
      expect(await warningsOf({ maxmemory: '100mb', 'maxmemory-policy': policy })).toEqual([])
    },
  )

  it.each(['noeviction', 'allkeys-random'])('is not one without a limit, whatever its policy (%s)', async (policy) => {
    expect(await warningsOf({ maxmemory: 0, 'maxmemory-policy': policy })).toEqual([])
  })
})

describe('two namespaces of one server', () => {
  it.each([
    ['shop', 'blog'],
    ['a', 'a:b'],
    ['a', 'a:ledger'],
    ['a', 'A'],
    ['a', 'a '],
    ['*', '**'],
    ['ü', 'u\u0308'],
  ])('%j and %j are apart', async (first, second) => {
    const [one, other] = await Promise.all([
      join(redisLibraries[0]!, server.port, { namespace: first }),
      join(redisLibraries[2]!, server.port, { namespace: second }),
    ])
    await put(one, 'k', ['t'], 'of the one')
    await put(other, 'k', ['t'], 'of the other')
    const { lease } = await one.lookup('m', { lease: LONG })
    expect(lease).toMatchObject({ kind: 'taken' })
    expect((await other.lookup('m', { lease: LONG })).lease).toMatchObject({ kind: 'taken' })
    const { position } = await other.feed.changesSince(undefined)
    await one.invalidate(['t'])
    expect(bodyOf(await one.lookup('k'))).toBeUndefined()
    expect(bodyOf(await other.lookup('k'))).toBe('of the other')
    expect(await other.feed.changesSince(position)).toMatchObject({ tags: [], keys: [] })
    await put(one, 'k', ['t'], 'again')
    await one.clear()
    expect(bodyOf(await one.lookup('k'))).toBeUndefined()
    expect(bodyOf(await other.lookup('k'))).toBe('of the other')
    expect((await other.list('t', 5)).map(bodyOf)).toEqual(['of the other'])
    expect(await one.delete('k')).toBe(true)
    expect(bodyOf(await other.lookup('k'))).toBe('of the other')
    const keys = (await server.command('KEYS', '*')) as string[]
    expect(keys.filter((key) => !key.startsWith(`{${first}}:`) && !key.startsWith(`{${second}}:`))).toEqual([])
  })

  it('hear nothing of each other', async () => {
    const one = await join(redisLibraries[0]!, server.port, { namespace: 'shop' })
    const other = await join(redisLibraries[0]!, server.port, { namespace: 'blog' })
    const heard: unknown[] = []
    one.feed.listen((changes) => heard.push(changes))
    await until(
      'it listens',
      async () => ((await server.command('PUBSUB', 'NUMSUB', 'shop:purged')) as number[])[1] === 1,
    )
    await other.invalidate(['t'])
    await one.invalidate(['u'])
    await until('it has heard', () => heard.length > 0)
    expect(heard).toEqual([{ tags: ['u'], keys: [] }])
  })

  it('of one backend, for two caches, are apart as well', async () => {
    const backend = await join(redisLibraries[0]!)
    const [shop, blog] = ['shop', 'blog'].map((namespace) => createCache({ backend, namespace }))
    await shop!.set('GET /a', {}, ['t'], { body: 'shop' }, 60)
    await blog!.set('GET /a', {}, ['t'], { body: 'blog' }, 60)
    await shop!.invalidateTags(['t'])
    expect(await shop!.getByRequest('GET /a')).toBeUndefined()
    expect(Buffer.from((await blog!.getByRequest('GET /a'))!.body).toString()).toBe('blog')
    await shop!.set('GET /a', {}, ['t'], { body: 'shop' }, 60)
    await shop!.clear()
    expect(await shop!.getByRequest('GET /a')).toBeUndefined()
    expect(Buffer.from((await blog!.getByRequest('GET /a'))!.body).toString()).toBe('blog')
    await shop!.close()
    expect(Buffer.from((await blog!.getByRequest('GET /a'))!.body).toString(), 'the backend is still in use').toBe(
      'blog',
    )
    await blog!.close()
  })

  it('of two databases are apart under one name', async () => {
    const clients = [0, 1].map((db) => closing(new ioredis6.Redis({ host: HOST, port: server.port, db })))
    const [one, other] = clients.map((client) => made(client)) as [RedisBackend, RedisBackend]
    await put(one, 'k', ['t'], 'of the one')
    await put(other, 'k', ['t'], 'of the other')
    await one.invalidate(['t'])
    await one.clear()
    expect([bodyOf(await one.lookup('k')), bodyOf(await other.lookup('k'))]).toEqual([undefined, 'of the other'])
  })
})

/** Speaks enough of Redis's protocol to be taken for a server of some version; it knows no scripts. */
function startImpostor(version: string): Promise<number> {
  return onFreePort(async (port) => {
    const sockets = new Set<net.Socket>()
    const impostor = net.createServer((socket) => {
      sockets.add(socket)
      let [rest, isThree] = ['', false]
      socket.on('error', () => {}).on('close', () => sockets.delete(socket))
      socket.on('data', (bytes) => {
        rest += bytes.toString('latin1')
        for (;;) {
          const command = readCommand(rest)
          if (!command) return
          rest = rest.slice(command.length)
          if (command.words[0]?.toUpperCase() === 'HELLO') isThree = command.words[1] === '3'
          socket.write(answerTo(command.words, version, isThree), 'latin1')
        }
      })
    })
    impostor.listen(port, HOST)
    await once(impostor, 'listening')
    onTestFinished(() => {
      impostor.close()
      for (const socket of sockets) socket.destroy()
    })
    return port
  })
}

/** The first command of a text, and how much of it that is; undefined where it is not complete. */
function readCommand(text: string): { words: string[]; length: number } | undefined {
  const head = /^\*(\d+)\r\n/.exec(text)
  if (!head) return undefined
  let at = head[0].length
  const words: string[] = []
  while (words.length < Number(head[1])) {
    const size = /^\$(\d+)\r\n/.exec(text.slice(at))
    if (!size) return undefined
    const from = at + size[0].length
    at = from + Number(size[1]) + 2
    if (text.length < at) return undefined
    words.push(text.slice(from, at - 2))
  }
  return { words, length: at }
}

function answerTo([name = '', ...words]: readonly string[], version: string, isThree: boolean): string {
  const bulk = (text: string) => `$${text.length}\r\n${text}\r\n`
  switch (name.toUpperCase()) {
    case 'HELLO': {
      const fields = ['server', 'redis', 'version', version, 'mode', 'standalone', 'role', 'master']
      return `${isThree ? `%${fields.length / 2}` : `*${fields.length}`}\r\n${fields.map(bulk).join('')}`
    }
    case 'INFO':
      return bulk(`# Server\r\nredis_version:${version}\r\nrole:master\r\ncluster_enabled:0\r\nloading:0\r\n`)
    case 'SUBSCRIBE':
      return words
        .map((word, at) => `${isThree ? '>' : '*'}3\r\n${bulk('subscribe')}${bulk(word)}:${at + 1}\r\n`)
        .join('')
    case 'PING':
      return '+PONG\r\n'
    case 'EVAL':
    case 'EVALSHA':
      return '-ERR Error running script (call to f_1): @user_script:1: Unknown Redis command called from Lua script\r\n'
    default:
      return '+OK\r\n'
  }
}
