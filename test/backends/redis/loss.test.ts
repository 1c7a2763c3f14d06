import { once } from 'node:events'
import net, { type Server, type Socket } from 'node:net'
import fc from 'fast-check'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { tagcache } from '../../../src/adapters/node.ts'
import { type RedisBackend, type RedisOptions, redis } from '../../../src/backends/redis/redis.ts'
import { type CacheEvent, createCache, isOutdated, type Lookup } from '../../../src/index.ts'
import { entryOf } from '../../support/backends.ts'
import { ask, gate, listen } from '../../support/http.ts'
import {
  infoOf,
  promote,
  type RedisServer,
  type RelayedRedis,
  startRedis,
  startReplica,
  until,
} from '../../support/redis.ts'
import { type AnyRedisClient, type RedisLibrary, redisLibraries } from '../../support/redis-clients.ts'
import { onFreePort } from '../../support/relay.ts'

// What Redis loses may cost hits. It never brings back what was invalidated.

const [ioredis, , nodeRedis] = redisLibraries as [RedisLibrary, RedisLibrary, RedisLibrary]
const LEDGER = '{tagcache}:ledger'
const LONG = 600_000
const PATIENT = { backendTimeout: '10s', backendPause: '20ms' } as const

/** A process that shares the server with others: a backend with a client of its own. */
interface Process {
  readonly backend: RedisBackend
  readonly client: AnyRedisClient
  readonly library: RedisLibrary
}

async function join(port: number, library = ioredis, options: RedisOptions = {}): Promise<Process> {
  const client = await library.connect(port)
  const backend = redis(client, options)
  onTestFinished(async () => {
    await backend.close()
    await library.close(client)
  })
  return { backend, client, library }
}

/** Two processes, of two libraries. */
async function joinTwice(port: number, options: RedisOptions = {}): Promise<[one: RedisBackend, other: RedisBackend]> {
  const processes = [await join(port, ioredis, options), await join(port, nodeRedis, options)] as const
  return [processes[0].backend, processes[1].backend]
}

async function start(options: Parameters<typeof startRedis>[0] = {}): Promise<RedisServer> {
  const server = await startRedis(options)
  onTestFinished(() => server.stop())
  return server
}

async function startRelayed(): Promise<RelayedRedis> {
  const server = await startRedis({ relay: true })
  onTestFinished(() => server.stop())
  return server
}

async function startReplicaOf(master: { readonly port: number }): Promise<RedisServer> {
  const replica = await startReplica(master)
  onTestFinished(() => replica.stop())
  return replica
}

function store(backend: RedisBackend, key: string, stamp: number, tags: string[], body = key): Promise<boolean> {
  return Promise.resolve(backend.store(entryOf(key, { tags, stamp, body }), LONG))
}

/** Computes and stores an entry at once, and sees to it that it is a hit. */
async function put(backend: RedisBackend, key: string, tags: string[], body = key): Promise<void> {
  const { clock } = await backend.lookup(key)
  expect(await store(backend, key, clock, tags, body)).toBe(true)
  expect(await served(backend, key)).toBe(body)
}

/** The body that a cache answers with; undefined is a miss. */
async function served(backend: RedisBackend, key: string): Promise<string | undefined> {
  return bodyOf(await backend.lookup(key))
}

function bodyOf({ entry, invalidatedAt }: Lookup): string | undefined {
  if (!entry || isOutdated(entry.stamp, invalidatedAt)) return undefined
  return Buffer.from(entry.response.body).toString()
}

/** Waits until a backend answers again, without using the cache. */
async function untilBack({ backend, client, library }: Process): Promise<void> {
  await until('the client is back', async () => `${await library.send(client, 'PING')}` === 'PONG')
  expect(backend.sync).toBe(false)
}

/** Of one cache: what it tells of faults, and of itself falling behind. */
function watch(cache: { on(listener: (event: CacheEvent) => void): unknown }): {
  faults: unknown[]
  states: string[]
} {
  const told = { faults: [] as unknown[], states: [] as string[] }
  cache.on((event) => {
    if (event.type === 'fault') told.faults.push(event.error)
    if (event.type === 'backend') told.states.push(event.state)
  })
  return told
}

/** A name that points at a server, and later at another one; whoever was connected has to connect anew. */
class Signpost {
  readonly port: number
  readonly #sockets = new Set<Socket>()
  readonly #server: Server
  #target: number

  static async to(server: RedisServer): Promise<Signpost> {
    const post = await onFreePort(async (port) => {
      const signpost = new Signpost(port, server.ownPort)
      signpost.#server.listen(port, '127.0.0.1')
      await once(signpost.#server, 'listening')
      return signpost
    })
    onTestFinished(() => post.#close())
    return post
  }

  private constructor(port: number, target: number) {
    this.port = port
    this.#target = target
    this.#server = net.createServer((client) => {
      const server = net.connect(this.#target, '127.0.0.1')
      for (const [from, to] of [
        [client, server],
        [server, client],
      ] as const) {
        this.#sockets.add(from)
        from.on('error', () => to.destroy()).on('close', () => this.#sockets.delete(from))
        from.pipe(to)
      }
    })
  }

  pointTo(server: RedisServer): void {
    this.#target = server.ownPort
    for (const socket of this.#sockets) socket.destroy()
  }

  #close(): void {
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
  }
}

describe('a server that loses what it has', () => {
  let server: RedisServer
  let one: RedisBackend
  let other: RedisBackend
  beforeAll(async () => void (server = await startRedis()))
  afterAll(() => server.stop())
  beforeEach(async () => {
    await server.command('FLUSHALL')
    ;[one, other] = await joinTwice(server.port)
  })

  it('is cold after FLUSHALL, and begins anew', async () => {
    await put(one, 'k', ['t'])
    await other.invalidate(['t'])
    await put(one, 'k', ['t'], 'new')
    await server.command('FLUSHALL')
    expect([await served(one, 'k'), await served(other, 'k')]).toEqual([undefined, undefined])
    await put(other, 'k', ['t'], 'newer')
    expect(await served(one, 'k')).toBe('newer')
    await one.invalidate(['t'])
    expect([await served(one, 'k'), await served(other, 'k')]).toEqual([undefined, undefined])
  })

  const flush = () => server.command('FLUSHALL')
  const dropLedger = () => server.command('DEL', LEDGER)
  const purge = () => other.invalidate(['t'])
  const clear = () => other.clear()
  const look = () => one.lookup('k')
  const lookElsewhere = () => one.clock()
  const putByOther = () => put(other, 'k', ['t'], 'by the other')
  it.each([
    { name: 'FLUSHALL, a purge', meanwhile: [flush, purge] },
    { name: 'a purge, FLUSHALL', meanwhile: [purge, flush] },
    { name: 'a purge, FLUSHALL, a look of its own', meanwhile: [purge, flush, look] },
    { name: 'FLUSHALL, a look of its own, a purge', meanwhile: [flush, lookElsewhere, purge] },
    { name: 'FLUSHALL, another store, a purge', meanwhile: [flush, putByOther, purge] },
    { name: 'FLUSHALL, clear()', meanwhile: [flush, clear] },
    { name: 'clear(), FLUSHALL', meanwhile: [clear, flush] },
    { name: 'the loss of the ledger, a purge', meanwhile: [dropLedger, purge] },
    { name: 'a purge, the loss of the ledger', meanwhile: [purge, dropLedger] },
    { name: 'a purge, the loss of the ledger, a look of its own', meanwhile: [purge, dropLedger, look] },
    { name: 'FLUSHALL twice with a purge between', meanwhile: [flush, purge, flush] },
    { name: 'FLUSHALL twice with a look between', meanwhile: [flush, look, purge, flush, look] },
  ])('does not keep what was computed through $name', async ({ meanwhile }) => {
    const { clock } = await one.lookup('k')
    for (const step of meanwhile) await step()
    expect(await store(one, 'k', clock, ['t'], 'old')).toBe(false)
    expect([await served(one, 'k'), await served(other, 'k')]).not.toContain('old')
  })

  it('does not take a stamp of long ago for one of today, however often it was flushed', async () => {
    // As many lookups make the first epoch forgotten in the one process, and its clock says the same as that of the last.
    const { clock } = await one.lookup('k')
    const stamps = [clock]
    for (let round = 0; round < 150; round++) {
      await server.command('FLUSHALL')
      await other.invalidate(['t'])
      stamps.push((await one.lookup('k')).clock)
    }
    const newest = stamps.pop()!
    for (const stamp of stamps) expect(await store(one, 'k', stamp, ['t'], 'old')).toBe(false)
    expect(new Set(stamps).size).toBe(stamps.length)
    expect(await store(one, 'k', newest, ['t'], 'new')).toBe(true)
    expect(await served(other, 'k')).toBe('new')
  })

  it('makes everything a miss where the ledger alone is lost, and keeps nothing computed before', async () => {
    await put(one, 'k', ['t'], 'k')
    await put(one, 'l', ['u'], 'l')
    await other.invalidate(['t'])
    await server.command('DEL', LEDGER)
    expect(await server.command('EXISTS', '{tagcache}:entry:k')).toBe(1)
    for (const backend of [one, other]) {
      expect([await served(backend, 'k'), await served(backend, 'l')]).toEqual([undefined, undefined])
      expect(await backend.list('t', 10)).toEqual([])
      expect(await backend.list('u', 10)).toEqual([])
    }
    await put(one, 'k', ['t'], 'again')
    expect(await served(other, 'k')).toBe('again')
  })

  it('has one miss where an entry alone is lost', async () => {
    await put(one, 'k', ['t'])
    await put(one, 'l', ['t'])
    await server.command('DEL', '{tagcache}:entry:k')
    expect([await served(other, 'k'), await served(other, 'l')]).toEqual([undefined, 'l'])
    expect((await other.list('t', 10)).map(({ entry }) => entry?.key)).toEqual(['l'])
    expect(await other.delete('k')).toBe(false)
    await other.invalidate(['t'])
    expect(await served(one, 'l')).toBeUndefined()
  })

  it('lists less and serves as before where an index alone is lost', async () => {
    await put(one, 'k', ['t', 'u'])
    await server.command('DEL', '{tagcache}:index:t')
    expect(await other.list('t', 10)).toEqual([])
    expect((await other.list('u', 10)).map(({ entry }) => entry?.key)).toEqual(['k'])
    expect(await served(other, 'k')).toBe('k')
    await put(one, 'l', ['t'])
    expect((await other.list('t', 10)).map(({ entry }) => entry?.key)).toEqual(['l'])
    await other.invalidate(['t'])
    expect([await served(one, 'k'), await served(one, 'l')]).toEqual([undefined, undefined])
    expect((await other.list('u', 10)).map(bodyOf)).toEqual([undefined])
  })

  it('lets a second process compute where a lease alone is lost, and whoever stores is still judged', async () => {
    const first = await one.lookup('k', { lease: LONG })
    expect((await other.lookup('k', { lease: LONG })).lease).toMatchObject({ kind: 'held' })
    await server.command('DEL', '{tagcache}:lease:k')
    const second = await other.lookup('k', { lease: LONG })
    const [holder, successor] = [first, second].map(({ lease }) => (lease?.kind === 'taken' ? lease.holder : ''))
    expect([holder, successor].map(Boolean)).toEqual([true, true])
    expect(await one.leases.hold('k', holder!, LONG)).toBe(false)
    await one.leases.release('k', holder!, 'abandoned')
    expect(await other.leases.hold('k', successor!, LONG), 'it is still that of the second').toBe(true)
    await other.invalidate(['t'])
    expect(await one.store(entryOf('k', { tags: ['t'], stamp: first.clock }), LONG, holder)).toBe(false)
    expect(await other.store(entryOf('k', { tags: ['t'], stamp: second.clock }), LONG, successor)).toBe(false)
    expect([await served(one, 'k'), await served(other, 'k')]).toEqual([undefined, undefined])
  })

  it('does not let a lease of before FLUSHALL count after it', async () => {
    await one.lookup('k', { lease: LONG })
    const dump = (await server.command('DUMP', '{tagcache}:lease:k')) as string
    expect(dump).not.toBeNull()
    await server.command('DEL', LEDGER)
    expect((await other.lookup('k', { lease: LONG })).lease).toMatchObject({ kind: 'taken' })
  })

  it('has no fault when its scripts are lost', async () => {
    const cache = createCache({ backend: one, ...PATIENT })
    onTestFinished(() => cache.close())
    const told = watch(cache)
    for (let round = 0; round < 3; round++) {
      await cache.set('GET /a', {}, ['t'], { body: `${round}` }, 60)
      await server.command('SCRIPT', 'FLUSH')
      expect(Buffer.from((await cache.getByRequest('GET /a'))!.body).toString()).toBe(`${round}`)
      await server.command('SCRIPT', 'FLUSH')
      expect(await cache.invalidateTags(['t'])).toBe(true)
      await server.command('SCRIPT', 'FLUSH')
      expect(await cache.getByTags(['t'])).toBeUndefined()
      await server.command('SCRIPT', 'FLUSH')
      expect(await cache.set('GET /a', {}, ['t'], { body: 'x' }, 60)).toBe(true)
      await server.command('SCRIPT', 'FLUSH')
      expect(await cache.delete('GET /a')).toBe(true)
      await server.command('SCRIPT', 'FLUSH')
      expect(await cache.clear()).toBe(true)
    }
    expect(told).toEqual({ faults: [], states: [] })
  })

  const coalescing = [true, 'cluster'] as const
  it.each(coalescing)(
    'does not let a handler that ran through FLUSHALL and a purge be heard of again (%s)',
    async (coalesce) => {
      const running = gate()
      const [begun, caches] = [gate(), [one, other].map((backend) => tagcache({ backend, ...PATIENT }))]
      let data = 'old'
      let runs = 0
      const servers = await Promise.all(
        caches.map(({ cached, cache }) => {
          const handler = cached({ ttl: 60, tags: ['t'], name: 'page', coalesce })
          onTestFinished(() => cache.close())
          return listen((req, res) =>
            handler(req, res, async () => {
              const read = data
              if (++runs === 1) {
                begun.open()
                await running.opened
              }
              res.end(read)
            }),
          )
        }),
      )
      onTestFinished(async () => void (await Promise.all(servers.map((each) => each.close()))))
      const slow = ask(servers[0]!.url)
      await begun.opened
      await server.command('FLUSHALL')
      data = 'new'
      expect(await caches[1]!.cache.invalidateTags(['t'])).toBe(true)
      expect((await ask(servers[1]!.url)).text).toBe('new')
      running.open()
      expect((await slow).text, 'who had asked before').toBe('old')
      for (const { url } of [...servers, ...servers]) expect((await ask(url)).text).toBe('new')
    },
  )
})

describe('a server that is full', () => {
  it('evicts what it likes under allkeys-lru, and nothing invalidated comes back', async () => {
    const server = await start({ args: ['--maxmemory', '4mb', '--maxmemory-policy', 'allkeys-lru'] })
    const backends = await joinTwice(server.port)
    const padding = 'x'.repeat(4000)
    const dead = new Set<string>()
    let living: { text: string; group: number }[] = []
    let late: { key: string; stamp: number; group: number }[] = []
    let hits = 0
    const look = async (key: string, at: number) => {
      const text = await served(backends[at % 2]!, key)
      if (text === undefined) return
      hits += 1
      expect(dead.has(text), text.slice(0, 20)).toBe(false)
    }
    const storeOne = async (at: number) => {
      const [key, group, backend] = [`k${at}`, at % 40, backends[at % 2]!]
      const text = `${key} ${padding}`
      const { clock } = await backend.lookup(key)
      if (at % 10 === 0) late.push({ key: `late${at}`, stamp: clock, group })
      living.push({ text, group })
      await store(backend, key, clock, [`g${group}`, `own:${key}`], text)
    }
    const purgeOne = async (at: number) => {
      const group = (at * 7) % 40
      for (const { text } of living.filter((each) => each.group === group)) dead.add(text)
      living = living.filter((each) => each.group !== group)
      await backends[at % 2]!.invalidate([`g${group}`])
      const [overtaken, rest] = [
        late.filter((each) => each.group === group),
        late.filter((each) => each.group !== group),
      ]
      late = rest
      for (const { key, stamp } of overtaken) {
        dead.add(key)
        await store(backends[at % 2]!, key, stamp, [`g${group}`], key)
        await look(key, at)
      }
    }
    for (let at = 0; at < 5000; at += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, next) => storeOne(at + next)))
      await purgeOne(at / 50)
      await Promise.all(Array.from({ length: 200 }, (_, back) => look(`k${at + 49 - back}`, back)))
    }
    expect(Number((await infoOf(server, 'stats')).evicted_keys)).toBeGreaterThan(1000)
    expect(hits, 'it is of use').toBeGreaterThan(1000)
    await Promise.all(Array.from({ length: 5000 }, (_, at) => look(`k${at}`, at)))
  })

  it('trusts nothing while it takes no invalidations under noeviction, and delivers them when it can', async () => {
    const server = await start({ args: ['--maxmemory-policy', 'noeviction'] })
    const [one, other] = await joinTwice(server.port)
    const caches = [one, other].map((backend) => createCache({ backend, ...PATIENT }))
    onTestFinished(async () => void (await Promise.all(caches.map((cache) => cache.close()))))
    const told = watch(caches[0]!)
    const tag = caches[0]!.keyFromTag('t')
    expect(await caches[1]!.set('GET /a', {}, ['t'], { body: 'old' }, 600)).toBe(true)
    const { clock } = await one.lookup('k')
    await server.command('CONFIG', 'SET', 'maxmemory', '1')
    expect(await caches[0]!.invalidateTags(['t'])).toBe(false)
    expect(await caches[0]!.getByRequest('GET /a')).toBeUndefined()
    await expect(store(one, 'k', clock, [tag])).rejects.toMatchObject({ code: 'ERR_TAGCACHE_BACKEND_REPLY' })
    await expect(one.clear()).rejects.toMatchObject({ code: 'ERR_TAGCACHE_BACKEND_REPLY' })
    expect(told.faults[0]).toMatchObject({ message: expect.stringMatching(/maxmemory/) })
    await server.command('CONFIG', 'SET', 'maxmemory', '0')
    await until('it is delivered', () => told.states.includes('delivered'))
    for (const cache of caches) expect(await cache.getByRequest('GET /a')).toBeUndefined()
    expect(await store(one, 'k', clock, [tag]), 'the purge has reached it').toBe(false)
  })
})

describe('a server that is restarted', () => {
  async function set(args: readonly string[]) {
    const server = await start({ args })
    const processes = [await join(server.port, ioredis), await join(server.port, nodeRedis)] as const
    const [one, other] = [processes[0].backend, processes[1].backend]
    const crash = async () => {
      await server.kill()
      await server.restart()
      for (const each of processes) await untilBack(each)
    }
    return { server, one, other, crash, processes }
  }

  it('without persistence is cold, and refuses what was computed before', async () => {
    const { one, other, crash } = await set([])
    await put(one, 'k', ['t'])
    const { clock } = await one.lookup('l')
    await crash()
    await other.invalidate(['t'])
    expect(await store(one, 'l', clock, ['t'])).toBe(false)
    expect([await served(one, 'k'), await served(other, 'l')]).toEqual([undefined, undefined])
    await put(one, 'k', ['t'], 'again')
    expect(await served(other, 'k')).toBe('again')
  })

  it('from a snapshot that is older than an invalidation serves nothing that is in it', async () => {
    const { server, one, other, crash } = await set([])
    await put(one, 'k', ['t'])
    await put(one, 'l', ['u'])
    const { clock } = await one.lookup('m')
    await server.command('SAVE')
    await other.invalidate(['t'])
    const later = (await one.lookup('m')).clock
    await crash()
    expect(await server.command('EXISTS', '{tagcache}:entry:k', LEDGER), 'both are back').toBe(2)
    expect(await server.command('ZSCORE', LEDGER, ':t'), 'the invalidation is not').toBeNull()
    expect(await store(one, 'm', clock, ['t'])).toBe(false)
    expect(await store(one, 'm', later, ['t'])).toBe(false)
    for (const backend of [one, other]) {
      expect(await served(backend, 'k')).toBeUndefined()
      expect((await backend.list('t', 10)).map(bodyOf)).toEqual([])
    }
    expect(await one.invalidatedAt(['t'])).toBeGreaterThan(later)
    await put(other, 'k', ['t'], 'again')
    expect(await served(one, 'k')).toBe('again')
  })

  it('from a snapshot, again and again, and from the same one', async () => {
    const { server, one, other, crash } = await set([])
    await put(one, 'k', ['t'])
    await server.command('SAVE')
    for (let round = 0; round < 4; round++) {
      await other.invalidate(['t'])
      await crash()
      expect(await served(round % 2 === 0 ? one : other, 'k')).toBeUndefined()
      await put(one, 'k', ['t'], `round ${round}`)
      if (round === 2) await server.command('SAVE')
    }
  })

  it('from a snapshot serves nothing of it to a process that has never seen the server before', async () => {
    const { server, one, other, crash } = await set([])
    await put(one, 'k', ['t'])
    await server.command('SAVE')
    await other.invalidate(['t'])
    await crash()
    const { backend } = await join(server.port)
    expect(await served(backend, 'k')).toBeUndefined()
  })

  it('with an append-only file still does not serve what was invalidated', async () => {
    const { server, one, other, crash } = await set(['--appendonly', 'yes', '--appendfsync', 'always'])
    await put(one, 'k', ['t'])
    await put(one, 'l', ['u'])
    const { clock } = await one.lookup('m')
    await other.invalidate(['t'])
    await crash()
    expect(await server.command('EXISTS', '{tagcache}:entry:k', LEDGER)).toBe(2)
    expect([await served(one, 'k'), await served(other, 'k')]).toEqual([undefined, undefined])
    expect(await store(one, 'm', clock, ['t'])).toBe(false)
    await put(one, 'k', ['t'], 'again')
    await put(one, 'l', ['u'], 'again')
  })

  it('does not serve what was invalidated after an append-only file has lost its end', async () => {
    const { server, one, other, crash } = await set(['--appendonly', 'yes', '--appendfsync', 'no'])
    await put(one, 'k', ['t'])
    // From now on nothing more is written: the disk stands still.
    await server.command('CONFIG', 'SET', 'appendonly', 'no')
    await other.invalidate(['t'])
    await crash()
    expect(await server.command('ZSCORE', LEDGER, ':t')).toBeNull()
    expect([await served(one, 'k'), await served(other, 'k')]).toEqual([undefined, undefined])
  })

  it('delivers through the cache what could not be delivered while it was away', async () => {
    const { server, one, other } = await set(['--appendonly', 'yes', '--appendfsync', 'always'])
    const caches = [one, other].map((backend) => createCache({ backend, ...PATIENT }))
    onTestFinished(async () => void (await Promise.all(caches.map((cache) => cache.close()))))
    const told = watch(caches[0]!)
    expect(await caches[1]!.set('GET /a', {}, ['t'], { body: 'old' }, 600)).toBe(true)
    const stamp = await caches[1]!.stamp()
    await server.kill()
    expect(await caches[0]!.invalidateTags(['t'])).toBe(false)
    expect(await caches[0]!.getByRequest('GET /a')).toBeUndefined()
    await server.restart()
    await until('it is delivered', () => told.states.includes('delivered'))
    await until('the other is back', async () => (await caches[1]!.stamp()) > 0)
    expect(await caches[1]!.set('GET /a', {}, ['t'], { body: 'old' }, 600, stamp)).toBe(false)
    for (const cache of caches) expect(await cache.getByRequest('GET /a')).toBeUndefined()
  })
})

describe('a master whose place is taken by a replica', () => {
  /** A master, a replica that can be kept from hearing more, and two processes that go where they are pointed. */
  async function set() {
    const master = await startRelayed()
    const replica = await startReplicaOf(master)
    const posts = [await Signpost.to(master), await Signpost.to(master)] as const
    const processes = [await join(posts[0].port, ioredis), await join(posts[1].port, nodeRedis)] as const
    const go = async (server: RedisServer, who: readonly number[] = [0, 1]) => {
      for (const at of who) posts[at]!.pointTo(server)
      for (const at of who) await untilBack(processes[at]!)
    }
    return { master, replica, go, processes, one: processes[0].backend, other: processes[1].backend }
  }

  async function replicated(from: RedisServer, to: RedisServer): Promise<void> {
    await until('it is replicated', async () => {
      const [{ master_repl_offset: sent }, { slave_repl_offset: taken }] = (await Promise.all(
        [from, to].map((server) => infoOf(server, 'replication')),
      )) as [Record<string, string>, Record<string, string>]
      return sent !== undefined && sent === taken
    })
  }

  async function follow(server: RedisServer, master: RedisServer): Promise<void> {
    await server.command('REPLICAOF', '127.0.0.1', master.ownPort)
    await until('it has the data', async () => {
      const { role, master_link_status: link } = await infoOf(server, 'replication')
      return role === 'slave' && link === 'up'
    })
  }

  it('is not believed about entries whose invalidation the replica has missed', async () => {
    const { master, replica, go, one, other } = await set()
    await put(one, 'k', ['t'])
    await put(one, 'l', ['u'])
    const { clock } = await one.lookup('m')
    await replicated(master, replica)
    master.relay.freeze('toClient')
    await other.invalidate(['t'])
    await promote(replica)
    await go(replica)
    expect(await replica.command('EXISTS', '{tagcache}:entry:k', LEDGER)).toBe(2)
    expect(await replica.command('ZSCORE', LEDGER, ':t')).toBeNull()
    expect(await store(one, 'm', clock, ['t'])).toBe(false)
    expect([await served(one, 'k'), await served(other, 'k'), await served(one, 'm')]).toEqual(Array(3).fill(undefined))
    const { backend: newcomer } = await join(replica.port)
    expect(await served(newcomer, 'k')).toBeUndefined()
    await put(other, 'k', ['t'], 'again')
    expect(await served(one, 'k')).toBe('again')
    await one.invalidate(['t'])
    expect([await served(other, 'k'), await served(newcomer, 'k')]).toEqual([undefined, undefined])
  })

  it.each([true, false])('and takes it back, whether the cache was used in between or not (%s)', async (isUsed) => {
    const { master, replica, go, one, other } = await set()
    await put(one, 'k', ['t'])
    await put(one, 'l', ['u'])
    const { clock } = await one.lookup('m')
    await replicated(master, replica)
    master.relay.freeze('toClient')
    await other.invalidate(['t'])
    await promote(replica)
    if (isUsed) {
      await go(replica)
      await put(one, 'l', ['u'], 'of the second reign')
      await put(other, 'n', ['t'])
      await one.invalidate(['u'])
    }
    await follow(master, replica)
    await promote(master)
    await go(master)
    expect(await master.command('EXISTS', '{tagcache}:entry:k', LEDGER)).toBe(2)
    for (const backend of [one, other]) {
      for (const key of ['k', 'l', 'm', 'n']) expect(await served(backend, key)).toBeUndefined()
    }
    expect(await store(one, 'm', clock, ['t'])).toBe(false)
    await put(one, 'k', ['t'], 'again')
    expect(await served(other, 'k')).toBe('again')
  })

  it('and takes it back without having got the data of the replica', async () => {
    const { master, replica, go, one, other } = await set()
    await put(one, 'k', ['t'])
    await replicated(master, replica)
    await promote(replica)
    await go(replica)
    await other.invalidate(['t'])
    expect(await served(one, 'k')).toBeUndefined()
    await master.command('REPLICAOF', '127.0.0.1', 1)
    await promote(master)
    await go(master)
    expect([await served(one, 'k'), await served(other, 'k')]).toEqual([undefined, undefined])
  })

  it('and takes it back after a restart from its own snapshot', async () => {
    const { master, replica, go, one, other } = await set()
    await put(one, 'k', ['t'])
    await replicated(master, replica)
    await master.command('SAVE')
    await master.kill()
    await promote(replica)
    await go(replica)
    await other.invalidate(['t'])
    await master.restart()
    await go(master)
    expect(await master.command('EXISTS', '{tagcache}:entry:k', LEDGER)).toBe(2)
    expect([await served(one, 'k'), await served(other, 'k')]).toEqual([undefined, undefined])
  })

  it('many times over, to and fro', async () => {
    const { master, replica, go, one, other } = await set()
    const servers = [master, replica] as const
    for (let round = 0; round < 4; round++) {
      const [from, to] = [servers[round % 2]!, servers[(round + 1) % 2]!]
      await put(one, 'k', ['t'], `round ${round}`)
      const { clock } = await one.lookup('m')
      await replicated(from, to)
      await promote(to)
      await other.invalidate(['t'])
      await go(to)
      expect(await store(one, 'm', clock, ['t'])).toBe(false)
      for (const key of ['k', 'm']) expect([await served(one, key), await served(other, key)]).toEqual(Array(2))
      await follow(from, to)
    }
  })

  it('is asked in vain once it is a replica: each call fails, and nothing stale is answered', async () => {
    const { master, replica, one, other } = await set()
    await put(one, 'k', ['t'])
    const { clock, lease } = await one.lookup('m', { lease: LONG })
    const holder = lease?.kind === 'taken' ? lease.holder : ''
    await replicated(master, replica)
    await promote(replica)
    await follow(master, replica)
    expect(await master.command('EXISTS', '{tagcache}:entry:k', LEDGER)).toBe(2)
    // Redis ends the connections of clients when a Sentinel has a master step down; here nobody does.
    const calls = {
      lookup: () => one.lookup('k'),
      'lookup for a lease': () => one.lookup('k', { lease: LONG }),
      clock: () => one.clock(),
      invalidatedAt: () => one.invalidatedAt(['t']),
      store: () => store(one, 'm', clock, ['t']),
      'store under a lease': () => one.store(entryOf('m', { tags: ['t'], stamp: clock }), LONG, holder),
      invalidate: () => one.invalidate(['t']),
      clear: () => other.clear(),
      delete: () => other.delete('k'),
      list: () => other.list('t', 10),
      hold: () => one.leases.hold('m', holder, LONG),
      release: () => one.leases.release('m', holder, 'abandoned'),
      changesSince: () => one.feed.changesSince(undefined),
    }
    for (const [name, call] of Object.entries(calls)) {
      const outcome = Promise.resolve().then<unknown>(call)
      await expect(outcome, name).rejects.toMatchObject({ code: 'ERR_TAGCACHE_BACKEND_REPLY' })
      await expect(outcome, name).rejects.toThrow(/READONLY/)
    }
  })

  it('that is cut off from the replicas it has to have is not believed, and takes no purge', async () => {
    const { master, replica, go, one, other } = await set()
    await master.command('CONFIG', 'SET', 'min-replicas-to-write', 1)
    await master.command('CONFIG', 'SET', 'min-replicas-max-lag', 1)
    await until('the replica is counted', async () => {
      return (await infoOf(master, 'replication')).min_slaves_good_slaves === '1'
    })
    await put(one, 'k', ['t'])
    await replicated(master, replica)
    master.relay.freeze()
    await until('the master misses its replica', async () => {
      return (await infoOf(master, 'replication')).min_slaves_good_slaves === '0'
    })
    await promote(replica)
    await go(replica, [1])
    await other.invalidate(['t'])
    // As the one process sees it, nothing has happened.
    expect(await Promise.resolve(one.lookup('k')).then(bodyOf, () => undefined)).toBeUndefined()
    await expect(one.invalidate(['u'])).rejects.toMatchObject({ code: 'ERR_TAGCACHE_BACKEND_REPLY' })
    await go(replica, [0])
    expect([await served(one, 'k'), await served(other, 'k')]).toEqual([undefined, undefined])
  })

  it('is not believed as a replica, which knows the ledger of its master as far as it has heard', async () => {
    const { master, replica, go, one, other } = await set()
    await put(other, 'k', ['t'])
    await replicated(master, replica)
    await go(replica, [0])
    const inVain = async () => {
      const calls = [() => one.lookup('k'), () => one.lookup('k', { lease: LONG }), () => one.invalidatedAt(['t'])]
      for (const call of [
        ...calls,
        () => one.clock(),
        () => one.list('t', 5),
        () => one.feed.changesSince(undefined),
      ]) {
        await expect(Promise.resolve().then<unknown>(call)).rejects.toThrow(/READONLY/)
      }
    }
    await inVain()
    master.relay.freeze()
    await other.invalidate(['t'])
    await inVain()
    expect(await replica.command('ZSCORE', LEDGER, ':t')).toBeNull()
  })

  it('costs a cache that still talks to it no more than misses, and a purge is delivered to its successor', async () => {
    const { master, replica, go, one, other } = await set()
    const caches = [one, other].map((backend) => createCache({ backend, ...PATIENT }))
    onTestFinished(async () => void (await Promise.all(caches.map((cache) => cache.close()))))
    const told = watch(caches[0]!)
    expect(await caches[0]!.set('GET /a', {}, ['t'], { body: 'old' }, 600)).toBe(true)
    const stamp = await caches[0]!.stamp()
    await replicated(master, replica)
    await promote(replica)
    await follow(master, replica)
    expect(await caches[0]!.getByRequest('GET /a')).toBeUndefined()
    expect(await caches[0]!.getByTags(['t'])).toBeUndefined()
    expect(await caches[0]!.set('GET /a', {}, ['t'], { body: 'old' }, 600, stamp)).toBe(false)
    expect(told.faults.length).toBeGreaterThanOrEqual(3)
    expect(told.states, 'it is there').not.toContain('paused')
    await go(replica, [1])
    expect(await caches[1]!.set('GET /a', {}, ['t'], { body: 'of the successor' }, 600)).toBe(true)
    expect(await caches[0]!.invalidateTags(['t'])).toBe(false)
    await go(replica, [0])
    await until('it is delivered', () => told.states.includes('delivered'))
    for (const cache of caches) expect(await cache.getByRequest('GET /a')).toBeUndefined()
  })

  it('is not sent again what its successor must not have', async () => {
    const { master, replica, go, one, other } = await set()
    const { clock } = await one.lookup('k')
    await replicated(master, replica)
    master.freeze()
    const late = store(one, 'k', clock, ['t'], 'old').catch(() => 'failed')
    await promote(replica)
    await go(replica, [1])
    await other.invalidate(['t'])
    await go(replica, [0])
    // One library sends again what had no answer.
    expect([false, 'failed']).toContain(await late)
    expect([await served(one, 'k'), await served(other, 'k')]).toEqual([undefined, undefined])
    master.thaw()
  })
})

describe('a process that is pointed to another server and back', () => {
  async function set() {
    const servers = [await start(), await start()] as const
    const post = await Signpost.to(servers[0])
    const traveller = await join(post.port, ioredis)
    const { backend: settler } = await join(servers[0].port, nodeRedis)
    const go = async (at: 0 | 1) => {
      post.pointTo(servers[at])
      await untilBack(traveller)
    }
    return { traveller: traveller.backend, settler, go, away: servers[1] }
  }

  it('hears of what was invalidated while it was away', async () => {
    const { traveller, settler, go } = await set()
    await put(traveller, 'k', ['t'])
    await go(1)
    expect(await served(traveller, 'k')).toBeUndefined()
    await settler.invalidate(['t'])
    expect(await served(settler, 'k')).toBeUndefined()
    await go(0)
    expect(await served(traveller, 'k')).toBeUndefined()
  })

  it('hears of what was stored and invalidated while it was away', async () => {
    const { traveller, settler, go } = await set()
    await traveller.clock()
    await go(1)
    await traveller.clock()
    await settler.invalidate(['other'])
    await put(settler, 'k', ['t'])
    await settler.invalidate(['t'])
    await go(0)
    expect(await served(traveller, 'k')).toBeUndefined()
    expect((await traveller.list('t', 10)).map(bodyOf).filter((body) => body !== undefined)).toEqual([])
  })

  it('does not keep what it began before it was away and others have purged since', async () => {
    const { traveller, settler, go } = await set()
    const { clock } = await traveller.lookup('k')
    await go(1)
    await traveller.clock()
    await settler.invalidate(['t'])
    await go(0)
    expect(await store(traveller, 'k', clock, ['t'])).toBe(false)
    const back = await traveller.clock()
    await settler.invalidate(['t'])
    expect(await store(traveller, 'k', back, ['t'])).toBe(false)
    expect(isOutdated(back, await traveller.invalidatedAt(['t']))).toBe(true)
    expect([await served(traveller, 'k'), await served(settler, 'k')]).toEqual([undefined, undefined])
  })

  it('has hits and stores again in the end', async () => {
    const { traveller, settler, go } = await set()
    await traveller.clock()
    await go(1)
    await traveller.clock()
    await go(0)
    await settler.invalidate(['t'])
    await until('it stores again', async () => {
      const { clock } = await traveller.lookup('k')
      return store(traveller, 'k', clock, ['t'])
    })
    expect(await served(traveller, 'k')).toBe('k')
  })
})

describe('commands that are executed late', () => {
  async function set() {
    const server = await startRelayed()
    const [near, far] = [await join(server.port, ioredis), await join(server.ownPort, nodeRedis)]
    return { server, slow: near.backend, quick: far.backend, slowProcess: near }
  }

  it('do not store what was purged while they were under way', async () => {
    const { server, slow, quick } = await set()
    const clocks = [(await slow.lookup('k')).clock, (await slow.lookup('l')).clock]
    server.relay.freeze('toServer')
    const late = [store(slow, 'k', clocks[0]!, ['t'], 'old'), store(slow, 'l', clocks[1]!, ['u'], 'l')]
    await quick.invalidate(['t'])
    await put(quick, 'k', ['t'], 'new')
    await server.relay.heal()
    expect(await Promise.all(late)).toEqual([false, true])
    expect([await served(slow, 'k'), await served(quick, 'k'), await served(quick, 'l')]).toEqual(['new', 'new', 'l'])
  })

  it('do not answer with what was purged before they were executed', async () => {
    const { server, slow, quick } = await set()
    await put(slow, 'k', ['t'])
    server.relay.freeze('toServer')
    const late = slow.lookup('k')
    const latest = slow.invalidatedAt(['t'])
    await quick.invalidate(['t'])
    await server.relay.heal()
    expect(bodyOf(await late)).toBeUndefined()
    expect(await latest).toBeGreaterThan(0)
  })

  it('do not let a stamp count that came too late', async () => {
    const { server, slow, quick } = await set()
    await put(quick, 'k', ['t'])
    server.relay.freeze('toClient')
    const late = slow.lookup('m')
    // It was executed, and its answer is on its way.
    await until('it was executed', async () =>
      /cmdstat_evalsha/.test(`${await server.command('INFO', 'commandstats')}`),
    )
    await until('nothing is left to do', async () => {
      const clients = `${await server.command('CLIENT', 'LIST', 'TYPE', 'NORMAL')}`
      return !/qbuf=[1-9]/.test(clients.replace(/.*cmd=client.*/g, ''))
    })
    await quick.invalidate(['t'])
    await server.relay.heal()
    const { clock } = await late
    expect(await store(slow, 'm', clock, ['t'])).toBe(false)
  })

  it('purge once more what others have stored since, and no less than that', async () => {
    const { server, slow, quick } = await set()
    await put(slow, 'k', ['t'], 'old')
    server.relay.freeze('toServer')
    const late = slow.invalidate(['t'])
    expect(await served(quick, 'k'), 'it has not resolved').toBe('old')
    await put(quick, 'k', ['t'], 'between')
    await server.relay.heal()
    await late
    expect([await served(slow, 'k'), await served(quick, 'k')]).toEqual([undefined, undefined])
  })

  it('are of no harm after their caller has given up, who trusts nothing until its purge is delivered', async () => {
    const { server, slow, quick } = await set()
    const cache = createCache({ backend: slow, backendTimeout: '80ms', backendPause: '20ms' })
    const other = createCache({ backend: quick, ...PATIENT })
    onTestFinished(async () => void (await Promise.all([cache.close(), other.close()])))
    const told = watch(cache)
    let stamp = 0
    await until('there is a stamp', async () => (stamp = await cache.stamp()) > 0)
    expect(await other.set('GET /a', {}, ['t'], { body: 'old' }, 600)).toBe(true)
    server.relay.freeze('toServer')
    const stored = await cache.set('GET /b', {}, ['t'], { body: 'old' }, 600, stamp)
    expect(stored).toBe(false)
    expect(await cache.invalidateTags(['t'])).toBe(false)
    expect([await cache.getByRequest('GET /a'), await cache.getByRequest('GET /b')]).toEqual([undefined, undefined])
    expect(await other.invalidateTags(['t'])).toBe(true)
    await server.relay.heal()
    await until('it is delivered', () => told.states.includes('delivered'))
    for (const each of [cache, other]) {
      expect([await each.getByRequest('GET /a'), await each.getByRequest('GET /b')]).toEqual([undefined, undefined])
    }
  })

  it('are of no harm where the answers are lost, though the commands were not', async () => {
    const { server, slow, quick } = await set()
    const cache = createCache({ backend: slow, backendTimeout: '80ms', backendPause: '20ms' })
    const other = createCache({ backend: quick, ...PATIENT })
    onTestFinished(async () => void (await Promise.all([cache.close(), other.close()])))
    const told = watch(cache)
    let stamp = 0
    await until('there is a stamp', async () => (stamp = await cache.stamp()) > 0)
    expect(await other.set('GET /a', {}, ['t'], { body: 'old' }, 600)).toBe(true)
    server.relay.freeze('toClient')
    expect(await cache.set('GET /b', {}, ['t'], { body: 'old' }, 600, stamp)).toBe(false)
    expect(await cache.invalidateTags(['t'])).toBe(false)
    expect(await cache.getByRequest('GET /a')).toBeUndefined()
    expect(await other.invalidateTags(['t'])).toBe(true)
    expect([await other.getByRequest('GET /a'), await other.getByRequest('GET /b')]).toEqual([undefined, undefined])
    await server.relay.cut()
    await server.relay.heal()
    await until('it is delivered', () => told.states.includes('delivered'))
    for (const each of [cache, other]) {
      expect([await each.getByRequest('GET /a'), await each.getByRequest('GET /b')]).toEqual([undefined, undefined])
    }
  })

  it('of a lease that is over do not end that of the next', async () => {
    const { server, slow, quick } = await set()
    const first = await slow.lookup('k', { lease: LONG })
    const holder = first.lease?.kind === 'taken' ? first.lease.holder : ''
    await slow.leases.hold('k', holder, LONG, ['t'])
    server.relay.freeze('toServer')
    const late = [slow.leases.hold('k', holder, LONG), store(slow, 'k', first.clock, ['t'], 'old')] as const
    const release = slow.leases.release('k', holder, 'abandoned')
    await quick.invalidate(['t'])
    const second = await quick.lookup('k', { lease: LONG })
    expect(second.lease).toMatchObject({ kind: 'taken' })
    await server.relay.heal()
    expect(await Promise.all(late)).toEqual([false, false])
    await release
    const successor = second.lease?.kind === 'taken' ? second.lease.holder : ''
    expect(await quick.leases.hold('k', successor, LONG)).toBe(true)
  })
})

describe('a ledger that forgets', () => {
  let server: RedisServer
  beforeAll(async () => void (server = await startRedis()))
  afterAll(() => server.stop())
  beforeEach(async () => void (await server.command('FLUSHALL')))

  const members = async () => Number(await server.command('ZCARD', LEDGER))
  /** Lets so many seconds pass on the ledger's clock, which is Redis's own time since the ledger was begun. */
  const pass = (seconds: number) => server.command('ZINCRBY', LEDGER, seconds * 1_000_000, 'began')

  it('does so where nothing kept can be older, and what is kept follows the rule', async () => {
    const [one, other] = await joinTwice(server.port)
    const tags = Array.from({ length: 900 }, (_, at) => `t${at}`)
    const { clock: first } = await one.lookup('late')
    await put(one, 'k', ['t1'], 'old')
    await put(one, 'l', ['u'], 'old')
    await other.invalidate(tags)
    expect(await members()).toBe(907)
    await pass(LONG / 1000)
    await put(one, 'm', ['t2'])
    await put(one, 'n', ['t3'])
    await other.invalidate(['t3'])
    expect(await members(), 'some that is kept may be older').toBe(907)
    await pass(70)
    await other.invalidate(['v'])
    expect(await members(), 'all but the last two are forgotten').toBe(9)
    expect(await server.command('ZSCORE', LEDGER, ':t1')).toBeNull()
    for (const backend of [one, other]) {
      expect(await served(backend, 'k'), 'it was purged').toBeUndefined()
      expect(await served(backend, 'n'), 'it was purged').toBeUndefined()
      expect(await served(backend, 'm'), 'it was computed later').toBe('m')
    }
    expect(await store(one, 'late', first, ['t1'], 'old')).toBe(false)
    expect(await store(one, 'late', first, ['u'], 'old'), 'who knows').toBe(false)
    await other.invalidate(['t2'])
    expect(await served(one, 'm')).toBeUndefined()
  })

  it('does not do so earlier than the longest lived entry asks for', async () => {
    const [one, other] = await joinTwice(server.port)
    const { clock } = await one.lookup('long')
    await one.store(entryOf('long', { tags: ['t'], stamp: clock }), 10 * LONG)
    await put(one, 'short', ['u'])
    await other.invalidate(['t'])
    for (let round = 0; round < 8; round++) {
      await pass(LONG / 1000)
      await other.invalidate([`x${round}`])
      expect(await served(one, 'short'), `after round ${round}`).toBe('short')
      expect(await served(one, 'long')).toBeUndefined()
    }
    for (let round = 0; round < 8; round++) {
      await pass(LONG / 1000)
      await other.invalidate([`x${round}`])
      expect([await served(one, 'long'), await served(other, 'long')]).toEqual([undefined, undefined])
    }
    expect(await members()).toBeLessThan(7 + 12)
  })

  it('goes on where its time goes back', async () => {
    const [one, other] = await joinTwice(server.port)
    await put(one, 'k', ['t'])
    await pass(3600)
    await other.invalidate(['x'])
    await pass(-7200)
    const { clock } = await one.lookup('l')
    await other.invalidate(['t'])
    expect(await store(one, 'l', clock, ['t'])).toBe(false)
    expect([await served(one, 'k'), await served(other, 'k')]).toEqual([undefined, undefined])
    await put(one, 'k', ['t'], 'new')
    await other.invalidate(['t'])
    expect([await served(one, 'k'), await served(other, 'k')]).toEqual([undefined, undefined])
  })

  it('under `maxTags` makes older entries misses, which never become valid again', async () => {
    const [one, other] = await joinTwice(server.port, { maxTags: 20 })
    const { clock } = await one.lookup('late')
    const keys = Array.from({ length: 60 }, (_, at) => `k${at}`)
    for (const key of keys) await put(one, key, [key], 'old')
    for (let at = 0; at < 60; at++) await other.invalidate([`k${at % 30}`])
    expect(await members()).toBe(7 + 20)
    const check = async () => {
      for (const backend of [one, other]) {
        const bodies = await Promise.all(keys.map((key) => served(backend, key)))
        expect(bodies.filter((body) => body === 'old')).toEqual([])
      }
    }
    await check()
    expect(await store(one, 'late', clock, ['never purged'])).toBe(false)
    for (const key of keys.slice(30)) await put(other, key, [key], 'new')
    for (let at = 0; at < 15; at++) await one.invalidate([`x${at}`])
    expect(await Promise.all(keys.map((key) => served(one, key)))).toEqual(
      keys.map((_, at) => (at < 30 ? undefined : 'new')),
    )
    for (let at = 0; at < 40; at++) await one.invalidate([`y${at}`])
    await check()
    expect(await Promise.all(keys.map((key) => served(other, key)))).toEqual(keys.map(() => undefined))
  })

  it('under `maxTags` takes an invalidation of more tags than it may keep', async () => {
    const [one, other] = await joinTwice(server.port, { maxTags: 1 })
    const tags = Array.from({ length: 1000 }, (_, at) => `t${at}`)
    for (const tag of tags.slice(0, 50)) await put(one, tag, [tag])
    const { clock } = await one.lookup('late')
    await other.invalidate(tags)
    expect(await members()).toBe(8)
    for (const tag of tags.slice(0, 50)) expect(await served(one, tag)).toBeUndefined()
    expect(await store(one, 'late', clock, ['t999'])).toBe(false)
    await put(one, 'k', ['t1'])
    expect(await served(other, 'k')).toBe('k')
  })

  it('under `maxTags` forgets what was deleted as well, and tells those who keep copies that anything may have changed', async () => {
    const [one, other] = await joinTwice(server.port, { maxTags: 5 })
    const { position } = await one.feed.changesSince(undefined)
    await put(one, 'k', ['t'])
    await other.invalidate(['a'])
    await other.delete('k')
    expect(await one.feed.changesSince(position)).toMatchObject({ tags: ['a'], keys: ['k'] })
    for (let at = 0; at < 20; at++) await other.invalidate([`x${at}`])
    expect(await one.feed.changesSince(position)).toMatchObject({ tags: undefined })
  })

  it('reaches by clear() also what has no tags, and keeps nothing computed before', async () => {
    const [one, other] = await joinTwice(server.port)
    await put(one, 'k', [])
    const { clock } = await one.lookup('l')
    await other.clear()
    expect(await store(one, 'l', clock, [])).toBe(false)
    expect([await served(one, 'k'), await served(other, 'k'), await served(one, 'l')]).toEqual(Array(3).fill(undefined))
    expect(bodyOf(await one.lookup('k', { lease: LONG }))).toBeUndefined()
    await put(one, 'k', [])
    await other.invalidate(['t'])
    expect(await served(one, 'k')).toBe('k')
  })

  it('does not let clear() forget what it has forgotten', async () => {
    const [one, other] = await joinTwice(server.port, { maxTags: 5 })
    const { clock } = await one.lookup('late')
    await put(one, 'k', ['t'])
    await other.clear()
    expect(await store(one, 'late', clock, ['t'])).toBe(false)
    const afterwards = (await one.lookup('late')).clock
    for (let at = 0; at < 20; at++) await other.invalidate([`x${at}`])
    expect(await store(one, 'late', afterwards, ['t'])).toBe(false)
    expect([await served(one, 'k'), await served(other, 'k')]).toEqual([undefined, undefined])
    await put(one, 'k', ['t'], 'new')
    await other.clear()
    expect(await served(one, 'k')).toBeUndefined()
  })
})

// Random histories against a model that knows what must not be served.

type Action =
  | { readonly kind: 'begin'; readonly by: number; readonly run: number; readonly key: string; readonly tags: string[] }
  | { readonly kind: 'land'; readonly by: number; readonly run: number }
  | { readonly kind: 'put'; readonly by: number; readonly key: string; readonly tags: string[] }
  | { readonly kind: 'invalidate'; readonly by: number; readonly tags: string[] }
  | { readonly kind: 'lookup' | 'delete'; readonly by: number; readonly key: string }
  | { readonly kind: 'list'; readonly by: number; readonly tag: string }
  | { readonly kind: 'clear'; readonly by: number }
  | { readonly kind: Loss; readonly key: string }

type Loss = 'flush' | 'del-ledger' | 'del-entry' | 'save' | 'crash' | 'failover' | 'pass'

const by = fc.nat(1)
const key = fc.constantFrom('a', 'b', 'c')
const tag = fc.constantFrom('t', 'u', 'v')
const tags = fc.uniqueArray(tag, { maxLength: 2 })
const run = fc.nat(2)
const kind = <K extends string>(value: K) => fc.constant(value)

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: kind('begin'), by, run, key, tags }) },
  { weight: 5, arbitrary: fc.record({ kind: kind('land'), by, run }) },
  { weight: 6, arbitrary: fc.record({ kind: kind('put'), by, key, tags }) },
  { weight: 5, arbitrary: fc.record({ kind: kind('invalidate'), by, tags }) },
  { weight: 8, arbitrary: fc.record({ kind: kind('lookup'), by, key }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('delete'), by, key }) },
  { weight: 2, arbitrary: fc.record({ kind: kind('list'), by, tag }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('clear'), by }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constantFrom<Loss>('flush', 'del-ledger', 'del-entry', 'pass', 'failover'), key }),
  },
  { weight: 2, arbitrary: fc.record({ kind: kind('save'), key }) },
  { weight: 1, arbitrary: fc.record({ kind: kind('crash'), key }) },
)

/** What is stored, or may be: known by its body. */
interface Version {
  readonly body: string
  readonly key: string
  readonly tags: readonly string[]
  /** The step in which its stamp was taken. */
  readonly begun: number
  /** The step in which it was stored; undefined while it is not, or where it was refused. */
  stored?: number
}

/** Knows of each version whether it may be served. Steps that overlap have the same number. */
class Model {
  readonly versions: Version[] = []
  #step = 0
  readonly #purges: { readonly step: number; readonly hits: (version: Version) => boolean }[] = []

  get step(): number {
    return this.#step
  }

  next(): void {
    this.#step += 1
  }

  begin(key: string, tags: readonly string[]): Version {
    const version = { body: `${this.versions.length}`, key, tags, begun: this.#step }
    this.versions.push(version)
    return version
  }

  invalidate(tags: readonly string[]): void {
    this.#purge((version) => version.tags.some((tag) => tags.includes(tag)))
  }

  delete(key: string): void {
    const step = this.#step
    // What was computed before may be stored after.
    this.#purge((version) => version.key === key && (version.stored ?? step) < step)
  }

  /** Everything is purged; or lost, so that nothing of it can be proved any more. */
  clear(): void {
    this.#purge(() => true)
  }

  mayServe(body: string, key?: string): boolean {
    const version = this.versions[Number(body)]
    if (!version || (key !== undefined && version.key !== key)) return false
    const isHit = (purge: { step: number; hits: (version: Version) => boolean }) =>
      version.begun < purge.step && purge.step < this.#step && purge.hits(version)
    return !this.#purges.some(isHit)
  }

  #purge(hits: (version: Version) => boolean): void {
    this.#purges.push({ step: this.#step, hits })
  }
}

describe('random histories of two processes', () => {
  it('never serve what must not be served', async () => {
    const server = await start()
    const processes = [await join(server.port, ioredis), await join(server.port, nodeRedis)] as const
    const backends = processes.map(({ backend }) => backend)
    let hits = 0
    let runs = 0

    const losses: Record<Loss, (model: Model, key: string) => Promise<unknown>> = {
      flush: (model) => {
        model.clear()
        return server.command('FLUSHALL')
      },
      'del-ledger': (model) => {
        model.clear()
        return server.command('DEL', LEDGER)
      },
      'del-entry': (_, key) => server.command('DEL', `{tagcache}:entry:${key}`),
      // So that the ledger forgets what is too old.
      pass: async () => {
        const isThere = Number(await server.command('EXISTS', LEDGER))
        if (isThere) await server.command('ZINCRBY', LEDGER, 2000 * 1_000_000, 'began')
      },
      save: () => server.command('SAVE'),
      crash: async (model) => {
        model.clear()
        await server.kill()
        await server.restart()
        for (const each of processes) await untilBack(each)
      },
      // A master in another reign.
      failover: async (model) => {
        model.clear()
        await server.command('REPLICAOF', '127.0.0.1', 1)
        await promote(server)
      },
    }

    const see = (model: Model, body: string | undefined, key?: string) => {
      if (body === undefined) return
      hits += 1
      const about = JSON.stringify({ step: model.step, key, version: model.versions[Number(body)] })
      expect(model.mayServe(body, key), about).toBe(true)
    }

    const land = async (model: Model, backend: RedisBackend, version: Version, stamp: number) => {
      const { step } = model
      const isKept = await store(backend, version.key, stamp, [...version.tags], version.body)
      if (isKept) version.stored = step
      return isKept
    }

    const isGone = (error: unknown) => /LOADING|READONLY|not connected|closed/i.test(String(error))

    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(action, { minLength: 1, maxLength: 3 }), { minLength: 5, maxLength: 25 }),
        async (history) => {
          runs += 1
          await server.command('FLUSHALL')
          await server.command('SAVE')
          const model = new Model()
          const open = new Map<string, { version: Version; stamp: number }>()

          const act = async (one: Action, isAlone: boolean): Promise<void> => {
            if (!('by' in one)) return void (await losses[one.kind](model, one.key))
            const backend = backends[one.by]!
            if (one.kind === 'begin') {
              const version = model.begin(one.key, one.tags)
              const found = await backend.lookup(one.key)
              see(model, bodyOf(found), one.key)
              open.set(`${one.by} ${one.run}`, { version, stamp: found.clock })
            } else if (one.kind === 'land') {
              const flight = open.get(`${one.by} ${one.run}`)
              open.delete(`${one.by} ${one.run}`)
              if (flight) await land(model, backend, flight.version, flight.stamp)
            } else if (one.kind === 'put') {
              const version = model.begin(one.key, one.tags)
              const { clock } = await backend.lookup(one.key)
              const isKept = await land(model, backend, version, clock)
              if (!isAlone) return
              expect(isKept, 'nobody else was there').toBe(true)
              expect(await served(backends[1 - one.by]!, one.key)).toBe(version.body)
            } else if (one.kind === 'lookup') see(model, await served(backend, one.key), one.key)
            else if (one.kind === 'delete') {
              model.delete(one.key)
              await backend.delete(one.key)
            } else if (one.kind === 'list') {
              for (const found of await backend.list(one.tag, 10)) see(model, bodyOf(found))
            } else if (one.kind === 'invalidate') {
              model.invalidate(one.tags)
              await backend.invalidate(one.tags)
            } else {
              model.clear()
              await backend.clear()
            }
          }

          for (const together of history) {
            model.next()
            // A server that is away answers nobody, and that is not what is looked at here.
            const isAway = together.some(({ kind }) => kind === 'crash' || kind === 'failover')
            if (isAway) for (const each of together) await act(each, false)
            else if (together.length === 1) await act(together[0]!, true)
            else {
              const outcomes = await Promise.allSettled(together.map((each) => act(each, false)))
              for (const outcome of outcomes)
                if (outcome.status === 'rejected' && !isGone(outcome.reason)) throw outcome.reason
            }
          }
          model.next()
          for (const each of ['a', 'b', 'c']) {
            for (const backend of backends) see(model, await served(backend, each), each)
          }
        },
      ),
      { numRuns: 150, interruptAfterTimeLimit: 40_000 },
    )
    expect(runs).toBeGreaterThan(100)
    expect(hits, 'it is not all misses').toBeGreaterThan(runs)
  }, 90_000)
})
