import { setTimeout as sleep } from 'node:timers/promises'
import express from 'express'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import type { Changes, Feed, Lookup, LookupNeeds, TagBackend } from '../../src/backends/backend.ts'
import { memory } from '../../src/backends/memory.ts'
import { type RedisBackend, redis } from '../../src/backends/redis/redis.ts'
import { type TieredOptions, tiered } from '../../src/backends/tiered.ts'
import { isOutdated } from '../../src/core/tags.ts'
import { monotonicTime, type Time } from '../../src/core/time.ts'
import type { CacheEvent, CacheOptions, RouteOptions } from '../../src/index.ts'
import { entryOf } from '../support/backends.ts'
import { ask, gate, listen } from '../support/http.ts'
import { infoOf, type RedisServer, startRedis, until } from '../support/redis.ts'
import { type RedisClient, type RedisLibrary, redisLibraries } from '../support/redis-clients.ts'
import { type Relay, startRelay } from '../support/relay.ts'
import { turns } from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'

// What a machine that others load as well may be late by.
const SLACK = 600
const [ioredis, , nodeRedis] = redisLibraries as [RedisLibrary, RedisLibrary, RedisLibrary]

/** What all nodes read from and write to: names, and their versions. */
class Database {
  readonly #versions = new Map<string, number>()

  read(name: string): number {
    return this.#versions.get(name) ?? 1
  }

  write(name: string): number {
    this.#versions.set(name, this.read(name) + 1)
    return this.read(name)
  }
}

interface NodeOptions extends Partial<Omit<TieredOptions, 'near' | 'far'>> {
  readonly library?: RedisLibrary
  /** Where subscriptions connect to, if somewhere else. */
  readonly subscribeAt?: number
  readonly nearSize?: string
  readonly overrideFar?: (far: RedisBackend) => TagBackend<false>
  readonly cache?: Partial<CacheOptions<never>>
  readonly route?: RouteOptions<never>
  readonly padding?: number
  /** Where it does not read from the database of the server's other nodes. */
  readonly database?: Database
}

interface Node {
  readonly cache: ReturnType<typeof tagcache>['cache']
  readonly client: RedisClient
  readonly events: CacheEvent[]
  /** Reads a version over HTTP; `tier` is where it came from: near, far, or the handler. */
  get(name?: string): Promise<{ version: number; tier: string }>
  /** Writes the next version over HTTP. */
  put(name?: string): Promise<number>
  states(): string[]
}

/** A process as it were: a client, a near tier, a cache and an HTTP server of its own. */
async function nodeAt(port: number, options: NodeOptions = {}): Promise<Node> {
  const { library = ioredis, subscribeAt, nearSize, overrideFar, cache: more, route, padding = 0 } = options
  const { database = shared, consistency, maxStaleness, time } = options
  const client = await library.connect(port)
  onTestFinished(() => library.close(client))
  if (subscribeAt !== undefined) subscribeElsewhere(client, subscribeAt)
  const far = redis(client)
  const backend = tiered({
    near: memory(nearSize === undefined ? {} : { maxSize: nearSize }),
    far: overrideFar?.(far) ?? far,
    ...(consistency === undefined ? {} : { consistency }),
    ...(maxStaleness === undefined ? {} : { maxStaleness }),
    ...(time === undefined ? {} : { time }),
  })
  const { cache, cached, invalidates } = tagcache({
    backend,
    // A busy machine is not to pass for one that is away.
    backendTimeout: '1s',
    ...(more as CacheOptions),
  })
  onTestFinished(async () => void (await Promise.race([cache.close(), sleep(1000)])))
  const app = express().set('env', 'test').set('etag', false)
  app.get(
    '/:name',
    cached({ host: false, tags: (req) => req.params.name!, ...(route as RouteOptions) }),
    (req, res) => {
      res.send(`${database.read(req.params.name as string)}${' '.repeat(padding)}`)
    },
  )
  app.put(
    '/:name',
    invalidates((req) => req.params.name as string),
    (req, res) => {
      res.send(String(database.write(req.params.name as string)))
    },
  )
  const server = await listen(app)
  onTestFinished(() => server.close())
  const events: CacheEvent[] = []
  cache.on((event) => events.push(event))
  return {
    cache,
    client,
    events,
    async get(name = 'item') {
      const { text, cacheStatus = '' } = await ask(`${server.url}/${name}`)
      const trace = events.findLast((event) => event.type === 'trace' && event.outcome === 'hit')
      const isHit = cacheStatus.startsWith('tagcache; hit')
      return {
        version: Number(text.trimEnd()),
        tier: isHit ? String(trace?.type === 'trace' && trace.tier) : 'handler',
      }
    },
    async put(name = 'item') {
      return Number((await ask(`${server.url}/${name}`, { method: 'PUT' })).text)
    },
    states: () => events.flatMap((event) => (event.type === 'backend' ? [event.state] : [])),
  }
}

let shared = new Database()

function subscribeElsewhere(client: RedisClient, port: number): void {
  const { duplicate } = client as unknown as { duplicate(options: object): unknown }
  Object.assign(client, {
    duplicate: (options: object) => duplicate.call(client, { ...options, port }),
  })
}

/** A far tier with methods replaced one by one. */
function changed(far: RedisBackend, changes: Partial<TagBackend<false>>): TagBackend<false> {
  return {
    sync: false,
    maxBodySize: far.maxBodySize,
    leases: far.leases,
    feed: far.feed,
    lookup: (key, needs) => far.lookup(key, needs),
    clock: (key) => far.clock(key),
    invalidatedAt: (tags, key) => far.invalidatedAt(tags, key),
    store: (entry, ttl, holder) => far.store(entry, ttl, holder),
    invalidate: (tags) => far.invalidate(tags),
    delete: (key) => far.delete(key),
    clear: () => far.clear(),
    list: (tag, limit) => far.list(tag, limit),
    close: () => far.close(),
    ...changes,
  }
}

/** Asks until the answer comes from the near tier. */
async function warm(node: Node, name = 'item'): Promise<void> {
  await until('the near tier answers', async () => (await node.get(name)).tier === 'near')
}

async function relayTo(server: RedisServer): Promise<Relay> {
  const relay = await startRelay(server.ownPort)
  onTestFinished(() => relay.stop())
  return relay
}

/** How many commands clients have sent to the server; scripts and what they run count once. */
async function commandsOf(server: RedisServer): Promise<number> {
  const stats = await infoOf(server, 'commandstats')
  const calls = (name: string) => Number(/calls=(\d+)/.exec(stats[`cmdstat_${name}`] ?? '')?.[1] ?? 0)
  return calls('evalsha') + calls('eval') + calls('subscribe')
}

let server: RedisServer
beforeAll(async () => void (server = await startRedis()))
afterAll(() => server.stop())

/** An empty server, and an empty database. */
async function fresh(): Promise<void> {
  await server.command('FLUSHALL')
  shared = new Database()
}

describe.each([ioredis, nodeRedis])('two tiers, by $name', (library) => {
  it('answer from the near one without a byte to the far one', async () => {
    await fresh()
    const relay = await relayTo(server)
    // Time that stands still: no news are asked for.
    const node = await nodeAt(relay.port, { library, time: new ManualTime(), maxStaleness: '1h' })
    await warm(node)
    await turns()
    const [toServer, toClient, commands] = [relay.bytesToServer, relay.bytesToClient, await commandsOf(server)]
    for (let at = 0; at < 100; at++) expect((await node.get()).tier).toBe('near')
    expect([relay.bytesToServer, relay.bytesToClient]).toEqual([toServer, toClient])
    expect(await commandsOf(server)).toBe(commands)
  })

  it('answer from a near one that does not remember what it has handed out', async () => {
    await fresh()
    const node = await nodeAt(server.port, { library, nearSize: '40kb' })
    await warm(node)
    for (let at = 0; at < 3; at++) expect(await node.get()).toEqual({ version: 1, tier: 'near' })
    await node.put()
    expect(await node.get()).toEqual({ version: 2, tier: 'handler' })
    await warm(node)
    expect(await node.get()).toEqual({ version: 2, tier: 'near' })
  })

  it('ask for news four times in `maxStaleness`, however many requests there are', async () => {
    await fresh()
    const node = await nodeAt(server.port, { library, maxStaleness: '4s' })
    await warm(node)
    const [commands, begun] = [await commandsOf(server), performance.now()]
    let requests = 0
    while (performance.now() - begun < 2000) {
      expect((await node.get()).tier).toBe('near')
      requests += 1
    }
    expect(requests).toBeGreaterThan(20)
    expect((await commandsOf(server)) - commands).toBeLessThanOrEqual((performance.now() - begun) / 1000 + 1)
  })

  it('honour a purge on another node as soon as it is told', async () => {
    await fresh()
    // News are asked for once in a quarter of an hour: it can only be a message.
    const [a, b] = [
      await nodeAt(server.port, { library, maxStaleness: '1h' }),
      await nodeAt(server.port, { library, maxStaleness: '1h' }),
    ]
    await warm(a)
    await warm(b)
    const delays: number[] = []
    for (let at = 0; at < 10; at++) {
      const version = await a.put()
      const written = performance.now()
      expect(await a.get()).toMatchObject({ version })
      await until('the other node has heard', async () => (await b.get()).version === version, 2000)
      delays.push(performance.now() - written)
      await warm(a)
      await warm(b)
    }
    expect(Math.min(...delays)).toBeLessThan(100)
    expect(Math.max(...delays)).toBeLessThan(SLACK)
  })

  it('hear of purges again after the subscription was killed', async () => {
    await fresh()
    const [a, b] = [
      await nodeAt(server.port, { library, maxStaleness: '1h' }),
      await nodeAt(server.port, { library, maxStaleness: '1h' }),
    ]
    await warm(b)
    await until('there are subscriptions', async () => Number(await server.command('PUBSUB', 'SHARDNUMSUB')) >= 0)
    const subscribers = async () =>
      ((await server.command('PUBSUB', 'NUMSUB', 'tagcache:purged')) as [string, number])[1]
    await a.get()
    await until('both have subscribed', async () => (await subscribers()) === 2)
    await server.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await until('both have subscribed again', async () => (await subscribers()) === 2)
    await warm(b)
    const version = await a.put()
    await until('the other node has heard', async () => (await b.get()).version === version, 2000)
  })
})

describe('a node', () => {
  it('honours its own purge before it is told that it has happened', async () => {
    await fresh()
    const node = await nodeAt(server.port, { maxStaleness: '1h' })
    for (let at = 0; at < 20; at++) {
      await warm(node)
      shared.write('item')
      const purged = node.cache.invalidateTags('item')
      await purged
      expect(await node.get()).toEqual({ version: shared.read('item'), tier: 'handler' })
    }
  })

  it('honours clear() on another node, and its own', async () => {
    await fresh()
    const [a, b] = [
      await nodeAt(server.port, { maxStaleness: '1h' }),
      await nodeAt(server.port, { maxStaleness: '1h' }),
    ]
    await warm(a)
    await warm(b)
    shared.write('item')
    await a.cache.clear()
    expect(await a.get()).toEqual({ version: 2, tier: 'handler' })
    await until('the other node has heard', async () => (await b.get()).version === 2, 2000)
  })

  it('does without an entry that was deleted on another node', async () => {
    await fresh()
    const [a, b] = [
      await nodeAt(server.port, { maxStaleness: '1h' }),
      await nodeAt(server.port, { maxStaleness: '1h' }),
    ]
    await warm(a)
    await warm(b)
    shared.write('item')
    expect(await a.cache.delete('GET /:name', { params: { name: 'item' } })).toBe(true)
    expect(await a.get()).toEqual({ version: 2, tier: 'handler' })
    await until('the other node has heard', async () => (await b.get()).version === 2, 2000)
  })

  it('that misses messages is right again with the next news', async () => {
    await fresh()
    const relay = await relayTo(server)
    const [a, b] = [await nodeAt(server.port), await nodeAt(server.port, { subscribeAt: relay.port })]
    await warm(b)
    relay.freeze()
    const delays: number[] = []
    for (let at = 0; at < 5; at++) {
      await warm(b)
      const version = await a.put()
      const written = performance.now()
      await until('the other node is right', async () => (await b.get()).version === version, 2000)
      delays.push(performance.now() - written)
    }
    expect(Math.max(...delays)).toBeLessThan(250 + SLACK)
    expect(b.states()).toEqual([])
  })

  it('that misses the message of a deletion is right again with the next news', async () => {
    await fresh()
    const relay = await relayTo(server)
    const [a, b] = [await nodeAt(server.port), await nodeAt(server.port, { subscribeAt: relay.port })]
    await warm(b)
    relay.freeze()
    shared.write('item')
    await a.cache.delete('GET /:name', { params: { name: 'item' } })
    const deleted = performance.now()
    await until('the other node is right', async () => (await b.get()).version === 2, 2000)
    expect(performance.now() - deleted).toBeLessThan(250 + SLACK)
  })

  it('keeps what was made since a purge when the news of it come', async () => {
    await fresh()
    const slowly = { maxStaleness: '4s' } as const
    const [a, b] = [await nodeAt(server.port, slowly), await nodeAt(server.port, slowly)]
    await warm(a)
    await warm(b)
    const version = await a.put()
    for (const node of [a, b]) {
      await until('it has a new copy', async () => {
        const answer = await node.get()
        return answer.version === version && answer.tier === 'near'
      })
    }
    const begun = performance.now()
    while (performance.now() - begun < 1300) {
      for (const node of [a, b]) expect(await node.get()).toEqual({ version, tier: 'near' })
    }
  })

  it('asks for nothing while nobody asks it, and then the far tier first', async () => {
    await fresh()
    const node = await nodeAt(server.port)
    await warm(node)
    await sleep(1100)
    const commands = await commandsOf(server)
    await sleep(1100)
    expect(await commandsOf(server)).toBe(commands)
    expect((await node.get()).tier).toBe('far')
    await warm(node)
    expect(node.states()).toEqual([])
  })

  it('that stood still trusts none of its copies until there are news', async () => {
    await fresh()
    let skipped = 0
    const time: Time = { ...monotonicTime, now: () => monotonicTime.now() + skipped }
    const [a, b] = [await nodeAt(server.port), await nodeAt(server.port, { time })]
    for (let at = 0; at < 5; at++) {
      await warm(b)
      skipped += 5000
      expect((await b.get()).tier).toBe('far')
    }
    await warm(b)
    expect(await a.get()).toMatchObject({ tier: 'far' })
  })

  it('goes to the far tier for bodies that are too large for the near one', async () => {
    await fresh()
    const node = await nodeAt(server.port, { nearSize: '160kb', padding: 20_000 })
    await node.get()
    await sleep(50)
    for (let at = 0; at < 5; at++) expect((await node.get()).tier).toBe('far')
    expect(node.cache.stats().entries).toBe(0)
  })

  it('answers for no longer from its copy than the entry is fresh', async () => {
    await fresh()
    const node = await nodeAt(server.port, { route: { ttl: '1s' } })
    await node.get()
    const stored = Date.now()
    while (Date.now() - stored < 900) expect((await node.get()).version).toBe(1)
    shared.write('item')
    await until('the copy is stale', async () => (await node.get()).version === 2, 2000)
    expect(Date.now() - stored).toBeLessThan(1000 + SLACK)
  })

  it('sees a newer entry of another node when its own copy is stale, though the clocks have drifted apart', async () => {
    await fresh()
    // The machine's clock was put forward by an hour since the process began, as after a sleep; a time that never goes back has not moved.
    const time: Time = { ...monotonicTime, now: () => monotonicTime.now() - 3_600_000 }
    const [a, b] = [
      await nodeAt(server.port, { route: { ttl: '1s', staleWhileRevalidate: '1m' } }),
      await nodeAt(server.port, { route: { ttl: '1s', staleWhileRevalidate: '1m' }, time }),
    ]
    await a.get()
    await sleep(700)
    await warm(b)
    await sleep(400)
    shared.write('item')
    // A's entry is stale: it is made anew there, and is fresh for a second.
    await until('there is a new entry', async () => (await a.get()).version === 2)
    expect((await b.get()).version).toBe(2)
  })

  it('keeps copies though the clocks have drifted apart', async () => {
    await fresh()
    const time: Time = { ...monotonicTime, now: () => monotonicTime.now() + 3_600_000 }
    const node = await nodeAt(server.port, { time })
    await node.get()
    await until('the near tier answers', async () => (await node.get()).tier === 'near', 2000)
  })
})

describe('a node that is cut off without noticing', () => {
  it('answers from its copies for no longer than `maxStaleness`, and then not until it has news', async () => {
    await fresh()
    const relay = await relayTo(server)
    const [a, b] = [await nodeAt(server.port), await nodeAt(relay.port, { cache: { backendTimeout: '250ms' } })]
    for (let round = 0; round < 4; round++) {
      await warm(a)
      await warm(b)
      // Right after news, and some time after them.
      await sleep(round * 70)
      relay.freeze(round % 2 === 0 ? 'both' : 'toClient')
      const version = await a.put()
      const written = performance.now()
      let lastStale = 0
      let nearAfter = 0
      while (performance.now() - written < 2500) {
        const asked = performance.now() - written
        const answer = await b.get()
        if (answer.version < version) lastStale = Math.max(lastStale, asked)
        if (asked > 1000 + SLACK && answer.tier !== 'handler') nearAfter += 1
      }
      expect(nearAfter).toBe(0)
      expect(lastStale).toBeLessThanOrEqual(1000)
      await relay.heal()
      await until('the node has caught up', async () => {
        const { version: seen, tier } = await b.get()
        expect(seen).toBe(version)
        return tier === 'near'
      })
    }
    expect(b.states().filter((state) => state.startsWith('near-'))).toEqual(
      Array.from({ length: 4 }, () => ['near-lost', 'near-trusted']).flat(),
    )
  }, 60_000)

  it('and whose connection is refused answers no longer from its copies either', async () => {
    await fresh()
    const relay = await relayTo(server)
    const [a, b] = [await nodeAt(server.port), await nodeAt(relay.port)]
    await warm(b)
    await relay.cut()
    const version = await a.put()
    const written = performance.now()
    let lastStale = 0
    while (performance.now() - written < 2000) {
      const asked = performance.now() - written
      if ((await b.get()).version < version) lastStale = asked
    }
    expect(lastStale).toBeLessThanOrEqual(1000)
    await relay.heal()
    await warm(b)
    expect(await b.get()).toMatchObject({ version })
    expect(b.states().filter((state) => state.startsWith('near-'))).toEqual(['near-lost', 'near-trusted'])
  })

  it('counts from the question, however late its answer comes', async () => {
    await fresh()
    const time = new ManualTime()
    const [asked, answer] = [gate(), gate()]
    let questions = 0
    const b = await nodeAt(server.port, {
      time,
      maxStaleness: '1m',
      overrideFar: (far) =>
        changed(far, {
          feed: {
            check: (key, tags) => far.feed.check(key, tags),
            hasPassed: (reached, other) => far.feed.hasPassed(reached, other),
            // No message comes.
            listen: () => () => {},
            async changesSince(position) {
              const changes = await far.feed.changesSince(position)
              questions += 1
              if (questions === 2) {
                asked.open()
                await answer.opened
              }
              return questions > 2 ? new Promise<never>(() => {}) : changes
            },
          },
        }),
    })
    const a = await nodeAt(server.port)
    await warm(b)
    time.move(15_000)
    await asked.opened
    const version = await a.put()
    time.move(42_000)
    answer.open()
    await turns()
    expect((await b.get()).tier).toBe('near')
    time.move(17_999)
    expect((await b.get()).tier).toBe('near')
    time.move(1)
    expect((await b.get()).version).toBe(version)
  })

  it('does not take the shared backend for healed because a copy has answered', async () => {
    await fresh()
    const relay = await relayTo(server)
    const node = await nodeAt(relay.port, { maxStaleness: '1m', cache: { backendPause: '300ms' } })
    await warm(node, 'here')
    relay.freeze()
    expect((await node.get('elsewhere')).tier).toBe('handler')
    expect(node.states()).toEqual(['paused'])
    await sleep(350)
    expect((await node.get('here')).version).toBe(1)
    expect(node.states()).toEqual(['paused'])
  })
})

describe('the far tier', () => {
  const twoNodes = async (at: RedisServer, options: NodeOptions = {}) => {
    const database = new Database()
    return {
      database,
      a: await nodeAt(at.port, { ...options, database }),
      b: await nodeAt(at.port, { ...options, database }),
    }
  }

  it('that has lost everything takes the copies along', async () => {
    await fresh()
    const { database, a, b } = await twoNodes(server)
    await warm(a)
    await warm(b)
    database.write('item')
    await server.command('FLUSHALL')
    const flushed = performance.now()
    await until('both are right', async () => (await a.get()).version + (await b.get()).version === 4, 2000)
    expect(performance.now() - flushed).toBeLessThan(250 + SLACK)
  })

  it('that has lost everything keeps no purge from being honoured', async () => {
    await fresh()
    const { a, b } = await twoNodes(server, { maxStaleness: '1h' })
    await warm(a)
    await warm(b)
    await server.command('FLUSHALL')
    const version = await a.put()
    expect((await a.get()).version).toBe(version)
    await until('the other node has heard', async () => (await b.get()).version === version, 2000)
  })

  it('that comes back empty, or with an older state, takes the copies along', async () => {
    const own = await startRedis({ args: ['--dbfilename', 'dump.rdb'] })
    onTestFinished(() => own.stop())
    const { database, a, b } = await twoNodes(own)
    await warm(a)
    await warm(b)
    await own.command('SAVE')
    const version = await a.put()
    await warm(a)
    await own.kill()
    // What was saved knows the first version, and nothing of its purge.
    await own.start()
    expect(await own.command('DBSIZE')).not.toBe(0)
    await until('both are back', async () => {
      const [one, other] = [await a.get(), await b.get()]
      expect([one.version, other.version]).toEqual([version, version])
      return one.tier === 'near' && other.tier === 'near'
    })
    database.write('item')
    await own.restart()
    await until('both are right', async () => (await a.get()).version + (await b.get()).version === 6)
  })
})

describe("consistency: 'strong'", () => {
  const strong = { consistency: 'strong', maxStaleness: '1h' } as const

  it('never gives an answer that was purged, and moves no body for it', async () => {
    await fresh()
    const [relay, subscriptions] = [await relayTo(server), await relayTo(server)]
    const a = await nodeAt(server.port, strong)
    const b = await nodeAt(relay.port, { ...strong, subscribeAt: subscriptions.port, padding: 200_000 })
    await warm(b)
    subscriptions.freeze()
    for (let at = 0; at < 30; at++) {
      await warm(b)
      const version = await a.put()
      expect((await b.get()).version).toBe(version)
    }
    await warm(b)
    const [toServer, toClient, commands] = [relay.bytesToServer, relay.bytesToClient, await commandsOf(server)]
    for (let at = 0; at < 50; at++) expect((await b.get()).tier).toBe('near')
    expect((relay.bytesToServer - toServer) / 50).toBeLessThan(300)
    expect((relay.bytesToClient - toClient) / 50).toBeLessThan(100)
    expect((await commandsOf(server)) - commands).toBe(50)
  })

  it('never gives an answer that was there before everything was lost', async () => {
    await fresh()
    const node = await nodeAt(server.port, strong)
    for (let at = 0; at < 5; at++) {
      await warm(node)
      const version = shared.write('item')
      await server.command('FLUSHALL')
      expect(await node.get()).toEqual({ version, tier: 'handler' })
    }
  })

  it('never gives an answer that was purged while it was cut off', async () => {
    await fresh()
    const relay = await relayTo(server)
    const [a, b] = [await nodeAt(server.port, strong), await nodeAt(relay.port, strong)]
    await warm(b)
    relay.freeze()
    const version = await a.put()
    for (let at = 0; at < 10; at++) expect(await b.get()).toEqual({ version, tier: 'handler' })
    await relay.heal()
    await until('the node is back', async () => {
      const { version: seen, tier } = await b.get()
      expect(seen).toBe(version)
      return tier === 'near'
    })
  })

  it('gives no answer that was deleted elsewhere, though no message of it has come', async () => {
    await fresh()
    const subscriptions = await relayTo(server)
    const [a, b] = [
      await nodeAt(server.port, strong),
      await nodeAt(server.port, { ...strong, subscribeAt: subscriptions.port }),
    ]
    await warm(b)
    subscriptions.freeze()
    shared.write('item')
    await a.cache.delete('GET /:name', { params: { name: 'item' } })
    expect((await b.get()).version).toBe(2)
  })
})

describe('a copy that is made while a purge is under way', () => {
  // The far tier has looked before the purge, and answers when the test says so.
  const held = async () => {
    await fresh()
    const looked = gate()
    const answer = gate()
    let isHeld = false
    const b = await nodeAt(server.port, {
      maxStaleness: '1h',
      overrideFar: (far) =>
        changed(far, {
          async lookup(key: string, needs?: LookupNeeds): Promise<Lookup> {
            const found = await far.lookup(key, needs)
            if (!isHeld) return found
            isHeld = false
            looked.open()
            await answer.opened
            return found
          },
        }),
    })
    const a = await nodeAt(server.port)
    await a.get()
    // Something else of B, so that it listens.
    await warm(b, 'other')
    isHeld = true
    const late = b.get()
    await looked.opened
    return { a, b, late, answer }
  }

  it('is not served once the purge is known: heard of before the copy is there', async () => {
    const { a, b, late, answer } = await held()
    const version = await a.put()
    await warm(b, 'yet another')
    await sleep(50)
    answer.open()
    await late
    expect((await b.get()).version).toBe(version)
  })

  it('is not served once the purge is known: heard of after the copy is there', async () => {
    const { a, b, late, answer } = await held()
    answer.open()
    await late
    const version = await a.put()
    await until('it is heard of', async () => (await b.get()).version === version, 2000)
  })

  it('is not served once the purge is known: the purge was its own', async () => {
    const { b, late, answer } = await held()
    const version = await b.put()
    answer.open()
    await late
    expect((await b.get()).version).toBe(version)
  })

  it('is not served once everything was purged, or it was deleted', async () => {
    for (const act of ['clear', 'delete'] as const) {
      const { b, late, answer } = await held()
      const version = shared.write('item')
      await (act === 'clear' ? b.cache.clear() : b.cache.delete('GET /:name', { params: { name: 'item' } }))
      answer.open()
      await late
      expect((await b.get()).version).toBe(version)
    }
  })
})

async function turnsOfPromises(count: number): Promise<void> {
  for (let at = 0; at < count; at++) await Promise.resolve()
}

/** A far tier in this process; its answers, and the messages and answers of its feed, come when a scheduler says so. */
class FakeFar {
  readonly history: { readonly clock: number; readonly tag: string }[] = []
  readonly #entries = new Map<string, ReturnType<typeof entryOf>>()
  readonly #wait: (label: string) => Promise<void>
  #clock = 1
  #listener: ((changes: Changes) => void) | undefined
  /** The latest purge of each tag that the tier in front has been told of. */
  readonly told = new Map<string, number>()
  /** The clock after each purge by the tier in front. */
  readonly own = new WeakMap<readonly string[], number>()

  constructor(wait: (label: string) => Promise<void>) {
    this.#wait = wait
  }

  get clock(): number {
    return this.#clock
  }

  /** Puts an entry there, made now. */
  put(key: string, tags: readonly string[]): void {
    this.#entries.set(key, entryOf(key, { tags, stamp: this.#clock, time: Date.now(), body: String(this.#clock) }))
  }

  latest(tags: readonly string[]): number {
    return Math.max(0, ...this.history.filter(({ tag }) => tags.includes(tag)).map(({ clock }) => clock))
  }

  /** A purge by another node, or with a dash the deletion of a key. Its message comes so many times, each whenever. */
  purge(tag: string, messages: number): void {
    if (tag.startsWith('-') && !this.#entries.delete(tag.slice(1))) return
    this.#clock += 1
    const clock = this.#clock
    this.history.push({ clock, tag })
    for (let at = 0; at < messages; at++) {
      void this.#wait(`message ${tag}@${clock}`).then(() => {
        if (this.#listener) this.tell([tag], clock)
        this.#listener?.(changesOf([tag]))
      })
    }
  }

  tell(tags: readonly string[], clock: number): void {
    for (const tag of tags) this.told.set(tag, Math.max(clock, this.told.get(tag) ?? 0))
  }

  get backend(): TagBackend<false> {
    const after = async <V>(label: string, act: () => V): Promise<V> => {
      await this.#wait(`${label}: arrives`)
      const answer = act()
      await this.#wait(`${label}: is answered`)
      return answer
    }
    const feed: Feed = {
      changesSince: async (position) => {
        const since = Number(position ?? 0)
        const now = await after('news', () => ({ clock: this.#clock, history: [...this.history] }))
        const tags = now.history.filter(({ clock }) => clock > since).map(({ tag }) => tag)
        // Known by whoever gets this answer, as soon as it has passed through the promises on its way.
        void turnsOfPromises(20).then(() => {
          for (const { clock, tag } of now.history) this.tell([tag], clock)
        })
        return { ...changesOf(tags), position: String(now.clock) }
      },
      hasPassed: (reached, other) => Number(reached) >= Number(other),
      check: (key, tags) =>
        after('check', () => ({ invalidatedAt: this.latest(tags), deletedAt: this.latest([`-${key}`]) })),
      listen: (listener) => {
        this.#listener = listener
        return () => (this.#listener = undefined)
      },
    }
    return {
      sync: false,
      maxBodySize: 1_000_000,
      feed,
      lookup: (key) =>
        after(`lookup ${key}`, () => {
          const entry = this.#entries.get(key)
          return { entry, invalidatedAt: entry ? this.latest(entry.tags) : 0, clock: this.#clock }
        }),
      clock: async () => this.#clock,
      invalidatedAt: (tags) => after('invalidatedAt', () => this.latest(tags)),
      store: (entry) =>
        after(`store ${entry.key}`, () => {
          if (isOutdated(entry.stamp, this.latest(entry.tags))) return false
          this.#entries.set(entry.key, entry)
          return true
        }),
      // The message to itself is lost: it has to know without.
      invalidate: (tags) =>
        after(`invalidate ${tags}`, () => {
          for (const tag of tags) this.purge(tag, 0)
          this.own.set(tags, this.#clock)
        }),
      delete: async (key) => this.#entries.delete(key),
      clear: async () => {},
      list: async () => [],
      close: async () => {},
    }
  }
}

function changesOf(names: readonly string[]): Changes {
  const isKey = (name: string) => name.startsWith('-')
  return { tags: names.filter((name) => !isKey(name)), keys: names.filter(isKey).map((name) => name.slice(1)) }
}

describe('whatever the order of answers, messages and news', () => {
  type Step =
    | { readonly kind: 'lookup'; readonly key: string }
    | { readonly kind: 'purge elsewhere'; readonly tag: string; readonly messages: number }
    | { readonly kind: 'purge here'; readonly tag: string }
    | { readonly kind: 'entry elsewhere'; readonly key: string }
    | { readonly kind: 'entry here'; readonly key: string }
    | { readonly kind: 'time'; readonly milliseconds: number }

  const KEYS = ['one', 'two'] as const
  // Both entries have a tag of their own, and one in common.
  const tagsOf = (key: string) => [key, 'both']
  const key = fc.constantFrom(...KEYS)
  const tag = fc.constantFrom(...KEYS, 'both')
  const purged = fc.constantFrom(...KEYS, 'both', ...KEYS.map((each) => `-${each}`))
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('lookup' as const), key }) },
    {
      weight: 2,
      arbitrary: fc.record({
        kind: fc.constant('purge elsewhere' as const),
        tag: purged,
        messages: fc.nat({ max: 2 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('purge here' as const), tag }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('entry elsewhere' as const), key }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('entry here' as const), key }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant('time' as const), milliseconds: fc.nat({ max: 600 }) }) },
  )

  it.each(['bounded', 'strong'] as const)(
    'no copy is served that was purged as far as is known (%s)',
    async (consistency) => {
      let nearHits = 0
      await fc.assert(
        fc.asyncProperty(
          fc.scheduler(),
          fc.array(fc.tuple(step, fc.nat({ max: 4 })), { minLength: 20, maxLength: 60, size: 'max' }),
          async (s, steps) => {
            const time = new ManualTime()
            const far = new FakeFar((label) => s.schedule(Promise.resolve(), label))
            for (const each of KEYS) far.put(each, tagsOf(each))
            const near = tiered({ near: memory(), far: far.backend, consistency, time })
            // Purges by the time at which they took effect, for the bound.
            const effects = new Map<number, number>()
            const pending: Promise<unknown>[] = []
            const look = async (key: string) => {
              const known = new Map(far.told)
              const [begun, clockThen] = [time.now(), far.clock]
              const { entry, invalidatedAt, tier } = await near.lookup(key)
              if (!entry || isOutdated(entry.stamp, invalidatedAt) || tier !== 'near') return
              nearHits += 1
              // A computation goes on when its key is deleted, and may be stored.
              const isComputed = Buffer.from(entry.response.body).toString() === 'computed'
              const names = isComputed ? entry.tags : [...entry.tags, `-${entry.key}`]
              for (const name of names) expect(known.get(name) ?? 0).toBeLessThanOrEqual(entry.stamp)
              for (const { clock, tag } of far.history) {
                if (!names.includes(tag) || clock <= entry.stamp) continue
                // What was purged before the question, and is served still, was purged less than a second ago.
                if (clock <= clockThen) expect(begun - effects.get(clock)!).toBeLessThan(1000)
                if (clock <= clockThen) expect(consistency).toBe('bounded')
              }
            }
            const settleHistory = () => {
              for (const { clock } of far.history) if (!effects.has(clock)) effects.set(clock, time.now())
            }
            for (const [each, events] of steps) {
              if (each.kind === 'lookup') pending.push(look(each.key))
              if (each.kind === 'purge elsewhere') far.purge(each.tag, each.messages)
              if (each.kind === 'purge here') {
                const tags = [each.tag]
                pending.push(Promise.resolve(near.invalidate(tags)).then(() => far.tell(tags, far.own.get(tags)!)))
              }
              if (each.kind === 'entry elsewhere') far.put(each.key, tagsOf(each.key))
              if (each.kind === 'entry here') {
                const [tags, stamp] = [tagsOf(each.key), far.clock]
                const entry = entryOf(each.key, { tags, stamp, time: Date.now(), body: 'computed' })
                pending.push(Promise.resolve(near.store(entry, 60_000)))
              }
              if (each.kind === 'time') time.move(each.milliseconds)
              settleHistory()
              // Something may come now, or later.
              for (let at = 0; at < events && s.count() > 0; at++) {
                await s.waitOne()
                settleHistory()
              }
              await Promise.resolve()
            }
            await s.waitIdle()
            await Promise.all(pending)
            await near.close()
          },
        ),
        { numRuns: 1500 },
      )
      // Or else nothing was tested.
      expect(nearHits).toBeGreaterThan(2000)
    },
  )
})

describe('close()', () => {
  it('leaves no timer, no subscription, and the client that was handed in', async () => {
    await fresh()
    const time = new ManualTime()
    const node = await nodeAt(server.port, { time, route: { coalesce: 'cluster' } })
    await warm(node)
    await turns()
    const clients = async () => String(await server.command('CLIENT', 'LIST', 'TYPE', 'pubsub')).trim()
    await until('it has subscribed', async () => (await clients()) !== '')
    await node.cache.close()
    await until('the subscriptions are gone', async () => (await clients()) === '')
    time.move(10_000)
    await turns()
    expect(time.pending).toBe(0)
    expect(await ioredis.send(node.client, 'PING')).toBe('PONG')
    expect((await node.get()).tier).toBe('handler')
  })

  it('leaves no timer behind a question that is under way', async () => {
    await fresh()
    const time = new ManualTime()
    const asked = gate()
    const answer = gate()
    const node = await nodeAt(server.port, {
      time,
      overrideFar: (far) =>
        changed(far, {
          feed: {
            hasPassed: (reached, other) => far.feed.hasPassed(reached, other),
            listen: (listener) => far.feed.listen(listener),
            check: (key, tags) => far.feed.check(key, tags),
            async changesSince(position) {
              asked.open()
              await answer.opened
              return far.feed.changesSince(position)
            },
          },
        }),
    })
    await node.get()
    await asked.opened
    await node.cache.close()
    answer.open()
    await sleep(50)
    time.move(10_000)
    await turns()
    expect(time.pending).toBe(0)
  })

  it.each([ioredis, nodeRedis])('comes to an end though Redis has never answered ($name)', async (library) => {
    const relay = await relayTo(server)
    const client = await library.connect(relay.port)
    onTestFinished(() => library.close(client))
    relay.freeze()
    const backend = tiered({ near: memory(), far: redis(client) })
    const { cache } = tagcache({ backend })
    await cache.getByRequest('GET /', {})
    const closed = Promise.resolve(cache.close()).then(() => 'closed')
    expect(await Promise.race([closed, sleep(3000, 'hangs')])).toBe('closed')
  })
})

describe('options', () => {
  const near = memory()
  const far = new FakeFar(async () => {}).backend
  const { feed: _, ...feedless } = far

  it.each([
    ['near', { near: undefined, far }],
    ['near', { near: far, far }],
    ['near', { near: {}, far }],
    ['far', { near, far: undefined }],
    ['far', { near, far: memory() }],
    ['far', { near, far: feedless }],
    ['consistency', { near, far, consistency: 'eventual' }],
    ['consistency', { near, far, consistency: null }],
    ['maxStaleness', { near, far, maxStaleness: '10ms' }],
    ['maxStaleness', { near, far, maxStaleness: -1 }],
    ['maxStaleness', { near, far, maxStaleness: '1000' }],
    ['maxStaleness', { near, far, maxStaleness: Number.NaN }],
    ['time', { near, far, time: {} }],
    ['time', { near, far, time: Date }],
  ])('%s that cannot be used is refused: %#', (name, given) => {
    expect(() => tiered(given as never)).toThrow(
      expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_VALUE', message: expect.stringContaining(`"${name}"`) }),
    )
  })

  it('of another name are refused, and what was meant is named', () => {
    expect(() => tiered({ near, far, maxStalenes: 1 } as never)).toThrow(
      expect.objectContaining({
        code: 'ERR_TAGCACHE_OPTION_UNKNOWN',
        message: expect.stringContaining('maxStaleness'),
      }),
    )
    expect(() => tiered(undefined as never)).toThrow(expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_VALUE' }))
  })
})
