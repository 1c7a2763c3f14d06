import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { crc32, deflateRawSync } from 'node:zlib'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { decodeEntry, encodeEntry, packTexts } from '../../../src/backends/codec.ts'
import { type RedisBackend, type RedisOptions, redis } from '../../../src/backends/redis/redis.ts'
import {
  type Cache,
  type CachedResponse,
  createCache,
  isOutdated,
  type Lookup,
  memory,
  tiered,
} from '../../../src/index.ts'
import { entryOf } from '../../support/backends.ts'
import { type RedisServer, startRedis, until } from '../../support/redis.ts'
import { redisLibraries } from '../../support/redis-clients.ts'

// Whatever stands under our keys: it is a miss and a fault that is told, and never more than that.

const LONG = 600_000
const LEDGER = '{tagcache}:ledger'
const entryAt = (key: string) => `{tagcache}:entry:${key}`
const leaseAt = (key: string) => `{tagcache}:lease:${key}`
const indexAt = (tag: string) => `{tagcache}:index:${tag}`

let server: RedisServer
let raw: Redis

beforeAll(async () => {
  server = await startRedis()
  raw = new Redis({ port: server.port, host: '127.0.0.1' })
  await once(raw, 'ready')
})

afterAll(async () => {
  raw.disconnect()
  await server.stop()
})

beforeEach(async () => void (await raw.flushall()))

async function join(at = 0, options: RedisOptions = {}): Promise<RedisBackend> {
  const library = redisLibraries[at]!
  const client = await library.connect(server.port)
  const backend = redis(client, options)
  onTestFinished(async () => {
    await backend.close()
    await library.close(client)
  })
  return backend
}

interface Watched {
  readonly cache: Cache<string, false>
  /** The codes of the faults that it has told since it was last asked. */
  faults(): string[]
  paused(): boolean
}

function watched(backend: RedisBackend): Watched {
  const cache = createCache({ backend, backendTimeout: '10s', backendPause: '20ms' })
  onTestFinished(() => cache.close())
  const codes: string[] = []
  let isPaused = false
  cache.on('fault', ({ error }) => codes.push(String((error as { code?: unknown }).code)))
  cache.on('backend', ({ state }) => {
    isPaused ||= state === 'paused'
  })
  return { cache, faults: () => codes.splice(0), paused: () => isPaused }
}

async function dumpIn(db: number, key: string): Promise<Buffer> {
  const elsewhere = raw.duplicate({ db })
  const dump = await elsewhere.dumpBuffer(key)
  elsewhere.disconnect()
  return dump
}

const textOf = (response: CachedResponse | undefined) => response && Buffer.from(response.body).toString()

function bodyOf({ entry, invalidatedAt }: Lookup): string | undefined {
  if (!entry || isOutdated(entry.stamp, invalidatedAt)) return undefined
  return Buffer.from(entry.response.body).toString()
}

async function put(backend: RedisBackend, key: string, tags: string[], body = key): Promise<void> {
  const { clock } = await backend.lookup(key)
  // Fresh for years, so that no lease is asked for.
  expect(await backend.store(entryOf(key, { tags, stamp: clock, body, lifetime: 1e12 }), LONG)).toBe(true)
  expect(bodyOf(await backend.lookup(key))).toBe(body)
}

/** What comes of a call, though that be an error. */
async function attempt<V>(call: () => V | Promise<V>): Promise<V | Error> {
  try {
    return await call()
  } catch (error) {
    return error as Error
  }
}

/** Ways to put data of another program under a key. */
const OTHERS: Record<string, (key: string) => Promise<unknown>> = {
  'an empty string': (key) => raw.set(key, ''),
  'a text': (key) => raw.set(key, 'hello'),
  'a number': (key) => raw.set(key, '42'),
  'random bytes': (key) => raw.set(key, randomBytes(300)),
  'what begins like ours': (key) => raw.set(key, 'tgc2'),
  'what begins like ours and goes on differently': (key) =>
    raw.set(key, Buffer.concat([Buffer.from('tgc2'), randomBytes(300)])),
  'a hash': (key) => raw.hset(key, 'field', 'value'),
  'a list': (key) => raw.rpush(key, 'a', 'b'),
  'a set': (key) => raw.sadd(key, 'a', 'b'),
  'a sorted set': (key) => raw.zadd(key, 1, 'a', 2, 'b'),
  'a stream': (key) => raw.xadd(key, '*', 'field', 'value'),
  'a bitmap': (key) => raw.setbit(key, 1_000_000, 1),
}

async function occupy(key: string, other: string): Promise<void> {
  await raw.del(key)
  await OTHERS[other]!(key)
}

describe.each(Object.keys(OTHERS))('%s of another program', (other) => {
  it('in the place of an entry is a miss and a fault, and the next response takes the place', async () => {
    const { cache, faults, paused } = watched(await join())
    const key = cache.keyFromRequest('GET /a')
    await cache.set('GET /a', {}, ['t'], { body: 'a' }, 60)
    await cache.set('GET /b', {}, ['t'], { body: 'b' }, 60)
    await occupy(entryAt(key), other)
    expect(await cache.getByRequest('GET /a')).toBeUndefined()
    expect(faults()).toEqual(['ERR_TAGCACHE_FRAME'])
    expect(textOf(await cache.getByRequest('GET /b'))).toBe('b')
    expect(textOf(await cache.getByTags(['t']))).toBe('b')
    expect(await cache.set('GET /a', {}, ['t'], { body: 'new' }, 60)).toBe(true)
    expect(textOf(await cache.getByRequest('GET /a'))).toBe('new')
    expect(await cache.invalidateTags(['t'])).toBe(true)
    expect(await cache.getByRequest('GET /a')).toBeUndefined()
    expect([faults(), paused()]).toEqual([[], false])
  })

  it('in the place of an entry can be deleted, and hinders nobody who asks for the lease', async () => {
    const [one, two] = [await join(), await join(2)]
    await occupy(entryAt('k'), other)
    const { clock, lease, fault } = await one.lookup('k', { lease: LONG })
    expect(fault).toMatchObject({ code: 'ERR_TAGCACHE_FRAME' })
    expect(lease).toMatchObject({ kind: 'taken' })
    expect((await two.lookup('k', { lease: LONG })).lease).toMatchObject({ kind: 'held' })
    const holder = lease?.kind === 'taken' ? lease.holder : ''
    expect(await one.store(entryOf('k', { stamp: clock, lifetime: 1e12 }), LONG, holder)).toBe(true)
    expect(bodyOf(await two.lookup('k', { lease: LONG }))).toBe('k')
    await occupy(entryAt('k'), other)
    expect(await two.delete('k')).toBe(true)
    expect(await two.lookup('k')).toMatchObject({ entry: undefined })
  })

  it('in the place of the ledger costs everything but a crash, and what was invalidated stays so', async () => {
    const watchedOnes = [watched(await join()), watched(await join(2))]
    const [{ cache, faults }, other2] = watchedOnes as [Watched, Watched]
    await cache.set('GET /a', {}, ['t'], { body: 'old' }, 60)
    await cache.set('GET /b', {}, ['u'], { body: 'b' }, 60)
    const stamp = await cache.stamp()
    await occupy(LEDGER, other)
    const isTaken = await cache.invalidateTags(['t'])
    for (const each of watchedOnes) {
      expect(await each.cache.getByRequest('GET /a')).toBeUndefined()
      expect(await each.cache.getByRequest('GET /b')).toBeUndefined()
      expect(await each.cache.getByTags(['t', 'u'])).toBeUndefined()
      expect(await each.cache.set('GET /a', {}, ['t'], { body: 'old' }, 60, stamp)).toBe(false)
    }
    // A sorted set is no ledger of this master's, and is begun anew; anything else is not touched.
    if (!isTaken) {
      expect(other).not.toBe('a sorted set')
      expect(new Set([...faults(), ...other2.faults()])).toEqual(new Set(['ERR_TAGCACHE_BACKEND_REPLY']))
      await raw.del(LEDGER)
    }
    await until('both are used again', async () => {
      const stored = await Promise.all(
        watchedOnes.map((each) => each.cache.set('GET /c', {}, ['t'], { body: 'c' }, 60)),
      )
      return stored.every(Boolean)
    })
    for (const each of watchedOnes) {
      expect(await each.cache.getByRequest('GET /a')).toBeUndefined()
      expect(textOf(await each.cache.getByRequest('GET /c'))).toBe('c')
    }
    await until('the purge has been taken', async () => cache.invalidateTags(['t']))
    for (const each of watchedOnes) expect(await each.cache.getByRequest('GET /c')).toBeUndefined()
  })

  it('in the place of a ledger does not concern another namespace', async () => {
    const [one, elsewhere] = [await join(), await join(0, { namespace: 'elsewhere' })]
    await put(elsewhere, 'k', ['t'])
    await occupy(LEDGER, other)
    await attempt(() => one.invalidate(['t']))
    expect(bodyOf(await elsewhere.lookup('k'))).toBe('k')
    await elsewhere.invalidate(['t'])
    expect(bodyOf(await elsewhere.lookup('k'))).toBeUndefined()
  })

  it('in the place of an index hinders no hit and no purge', async () => {
    const [one, two] = [watched(await join()), watched(await join(2))]
    const { cache } = one
    await cache.set('GET /a', {}, ['t', 'u'], { body: 'a' }, 60)
    await occupy(indexAt(cache.keyFromTag('t')), other)
    expect(await cache.getByTags(['t'])).toBeUndefined()
    expect(textOf(await two.cache.getByTags(['u']))).toBe('a')
    expect(textOf(await two.cache.getByRequest('GET /a'))).toBe('a')
    const stamp = await cache.stamp()
    await cache.set('GET /b', {}, ['t'], { body: 'b' }, 60)
    expect(await two.cache.invalidateTags(['t'])).toBe(true)
    await cache.set('GET /late', {}, ['t'], { body: 'late' }, 60, stamp)
    for (const each of [one, two]) {
      for (const route of ['GET /a', 'GET /b', 'GET /late']) {
        expect(await each.cache.getByRequest(route)).toBeUndefined()
      }
      expect(each.faults().filter((code) => code !== 'ERR_TAGCACHE_BACKEND_REPLY')).toEqual([])
      expect(each.paused()).toBe(false)
    }
    expect(await cache.set('GET /c', {}, ['t'], { body: 'c' }, 60)).toBe(true)
    expect(textOf(await two.cache.getByTags(['t'])), 'the purge has made room').toBe('c')
  })

  it('in the place of a lease hinders no hit, no purge and no other key', async () => {
    const [one, two] = [await join(), await join(2)]
    await put(one, 'k', ['t'])
    await occupy(leaseAt('k'), other)
    expect(bodyOf(await two.lookup('k', { lease: LONG }))).toBe('k')
    const { clock } = await one.lookup('k')
    await two.invalidate(['t'])
    expect(bodyOf(await one.lookup('k'))).toBeUndefined()
    const asked = await attempt(() => one.lookup('k', { lease: LONG }))
    if (asked instanceof Error) expect(asked).toMatchObject({ code: 'ERR_TAGCACHE_BACKEND_REPLY' })
    else expect(bodyOf(asked)).toBeUndefined()
    const entry = entryOf('k', { tags: ['t'], stamp: clock, body: 'old' })
    await Promise.allSettled([one.store(entry, LONG, 'me'), one.leases.hold('k', 'me', LONG, ['t'])])
    await Promise.allSettled([one.leases.release('k', 'me', 'abandoned')])
    for (const each of [one, two]) expect(bodyOf(await each.lookup('k'))).toBeUndefined()
    expect((await two.lookup('l', { lease: LONG })).lease).toMatchObject({ kind: 'taken' })
    await put(two, 'k', ['t'], 'new')
    expect(bodyOf(await one.lookup('k', { lease: LONG }))).toBe('new')
  })
})

describe('a store whose index is occupied', () => {
  it('keeps the entry or does not, and does not keep those waiting who wait for it', async () => {
    const [one, two] = [await join(), await join(2)]
    const { clock, lease } = await one.lookup('k', { lease: LONG })
    const holder = lease?.kind === 'taken' ? lease.holder : ''
    expect((await two.lookup('k', { lease: LONG })).lease).toMatchObject({ kind: 'held' })
    const told: string[] = []
    two.leases.onEnd('k', (end) => told.push(end))
    await raw.set(indexAt('t'), 'hello')
    await attempt(() => one.store(entryOf('k', { tags: ['t'], stamp: clock, lifetime: 1e12 }), LONG, holder))
    await until('they are told', () => told.length > 0, 3000)
    const found = await two.lookup('k', { lease: LONG })
    expect(bodyOf(found) === 'k' || found.lease?.kind === 'taken').toBe(true)
  })
})

describe('a lease that is no lease', () => {
  it.each([
    { name: 'without anything', fields: { field: 'value' } },
    { name: 'of nobody', fields: { holder: '' } },
    { name: 'without a clock', fields: { holder: 'somebody', epoch: 'now' } },
    { name: 'with a clock that is none', fields: { holder: 'somebody', epoch: 'now', clock: 'noon' } },
    { name: 'with tags that are none', fields: { holder: 'somebody', epoch: 'now', clock: '0', tags: 'hello' } },
    { name: 'with nested tags', fields: { holder: 'somebody', epoch: 'now', clock: '0', tags: '\x91\x91\x01' } },
    { name: 'of another epoch', fields: { holder: 'somebody', epoch: '1', clock: '1' } },
    { name: 'for ever', fields: { holder: 'somebody', epoch: 'now', clock: '1' } },
  ])('($name) is a fault at the worst, for its own key alone', async ({ fields }) => {
    const [one, two] = [await join(), await join(2)]
    await put(one, 'k', ['t'])
    const epoch = String(-Number(await raw.zscore(LEDGER, 'epoch')))
    const values = Object.entries(fields).map(([name, value]) => [name, value === 'now' ? epoch : value])
    for (const [name, value] of values) await raw.call('HSET', leaseAt('k'), name!, Buffer.from(value!, 'latin1'))
    expect(bodyOf(await two.lookup('k', { lease: LONG }))).toBe('k')
    await two.invalidate(['t'])
    const asked = await attempt(() => one.lookup('k', { lease: LONG }))
    if (asked instanceof Error) expect(asked).toMatchObject({ code: 'ERR_TAGCACHE_BACKEND_REPLY' })
    else {
      expect(bodyOf(asked)).toBeUndefined()
      expect(['taken', 'held']).toContain(asked.lease?.kind)
    }
    expect((await one.lookup('l', { lease: LONG })).lease).toMatchObject({ kind: 'taken' })
    await put(one, 'k', ['t'], 'new')
    expect(bodyOf(await two.lookup('k', { lease: LONG }))).toBe('new')
  })
})

describe('a ledger that somebody has worked at', () => {
  it.each(['epoch', 'clock', 'floor', 'everything', 'began', 'ttl', 'run'])(
    'so that its %s is gone takes no purge that it does not keep',
    async (name) => {
      const [one, two] = [await join(), await join(2)]
      await put(one, 'k', ['t'])
      await put(one, 'l', ['u'])
      await two.invalidate(['u'])
      const members = await raw.zrange(LEDGER, '0', '-1')
      await raw.zrem(LEDGER, members.find((member) => member === name || member.startsWith(`${name}:`))!)
      const refused = await attempt(() => two.invalidate(['t']))
      if (refused) expect(refused).toMatchObject({ code: 'ERR_TAGCACHE_BACKEND_REPLY' })
      for (const backend of [one, two]) {
        const [k, l] = [await attempt(() => backend.lookup('k')), await attempt(() => backend.lookup('l'))]
        if (!refused && !(k instanceof Error)) expect(bodyOf(k)).toBeUndefined()
        if (!(l instanceof Error)) expect(bodyOf(l)).toBeUndefined()
      }
      await raw.del(LEDGER)
      for (const backend of [one, two]) expect(bodyOf(await backend.lookup('k'))).toBeUndefined()
      await put(two, 'k', ['t'], 'new')
      expect(bodyOf(await one.lookup('k'))).toBe('new')
    },
  )

  it('with members of another program goes on', async () => {
    const [one, two] = [await join(), await join(2)]
    await put(one, 'k', ['t'])
    await raw.zadd(LEDGER, 1, 'foreign', 2, '', -5, 'negative', '+inf', 'endless')
    await two.invalidate(['u'])
    await two.invalidate(['t'])
    expect(bodyOf(await one.lookup('k'))).toBeUndefined()
    await put(one, 'k', ['t'], 'new')
    expect(bodyOf(await two.lookup('k'))).toBe('new')
  })
})

describe('an earlier state that somebody puts in the place of what is there', () => {
  const keep = async () => {
    const keys = await raw.keys('*')
    await Promise.all(keys.map((key) => raw.copy(key, key, 'DB', 1, 'REPLACE')))
  }

  it.each([
    ['the ledger alone', async () => raw.restore(LEDGER, 0, await dumpIn(1, LEDGER), 'REPLACE')],
    ['all of it', () => raw.call('SWAPDB', 0, 1)],
  ])('brings nothing back that was purged since: %s', async (_, putBack) => {
    const [one, two] = [await join(), await join(1)]
    await put(one, 'k', ['t'])
    await put(one, 'l', ['u'])
    await keep()
    await one.invalidate(['t'])
    expect(bodyOf(await two.lookup('k'))).toBeUndefined()
    const { position } = await two.feed.changesSince(undefined)
    await putBack()
    expect((await two.feed.changesSince(position)).tags).toBeUndefined()
    for (const ask of [() => one.lookup('k'), () => two.lookup('k', { lease: LONG }), () => two.list('t', 1)]) {
      const answer = await attempt<Lookup | readonly Lookup[]>(ask)
      const found = answer instanceof Error ? [] : [answer].flat()
      expect(found.map(bodyOf)).not.toContain('k')
    }
    // It is begun anew: what else was there is gone, and all is well.
    for (const backend of [one, two]) expect(bodyOf(await backend.lookup('l'))).toBeUndefined()
    await put(two, 'k', ['t'], 'newer')
    expect(bodyOf(await one.lookup('k'))).toBe('newer')
  })

  it('is told as a fault, and the next ones are answered', async () => {
    const backend = await join()
    const { cache, faults, paused } = watched(backend)
    await cache.set('GET /a', {}, ['t'], { body: 'a' }, 60)
    await keep()
    await cache.invalidateTags('t')
    await raw.call('SWAPDB', 0, 1)
    expect(await cache.getByRequest('GET /a')).toBeUndefined()
    expect([faults(), paused()]).toEqual([['ERR_TAGCACHE_BACKEND_REPLY'], false])
    await cache.set('GET /a', {}, ['t'], { body: 'newer' }, 60)
    expect(textOf(await cache.getByRequest('GET /a'))).toBe('newer')
    expect(faults()).toEqual([])
  })
})

describe('a frame that is damaged', () => {
  let one: RedisBackend
  let two: RedisBackend
  let frame: Buffer

  beforeEach(async () => {
    ;[one, two] = [await join(), await join(2)]
    await put(one, 'k', ['tag one', 'tag two'], 'a body')
    await put(one, 'l', ['tag one'])
    frame = (await raw.getBuffer(entryAt('k')))!
  })

  const write = (bytes: Uint8Array) => raw.set(entryAt('k'), Buffer.from(bytes), 'PX', LONG)

  /** Looks up in all ways; none may fail, and none may find anything. Answers whether each of them has told a fault. */
  async function look(): Promise<boolean> {
    const found = [await one.lookup('k'), await two.lookup('k'), await two.lookup('k', { lease: LONG })]
    expect(found.map(bodyOf)).toEqual([undefined, undefined, undefined])
    for (const { fault } of found) if (fault) expect(fault).toMatchObject({ code: 'ERR_TAGCACHE_FRAME' })
    expect(found.map(({ clock }) => clock > 0)).toEqual([true, true, true])
    await raw.del(leaseAt('k'))
    return found.every(({ fault }) => fault !== undefined)
  }

  async function renew(): Promise<void> {
    await put(two, 'k', ['tag one'], 'new')
    expect(bodyOf(await one.lookup('k'))).toBe('new')
    expect(bodyOf(await one.lookup('l')), 'the other key').toBe('l')
  }

  /** The frame with another section of tags; its checksum fits. */
  function withTags(tags: Uint8Array, size = tags.byteLength): Buffer {
    const tagsAt = 29 + frame[28]!
    const made = Buffer.concat([frame.subarray(0, tagsAt), tags, frame.subarray(tagsAt + frame.readUInt32LE(24))])
    made.writeUInt32LE(size, 24)
    return summed(made)
  }

  function summed(bytes: Buffer): Buffer {
    bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4)
    return bytes
  }

  it('in any one bit is a miss, and told where it could be ours', async () => {
    const identity = { from: 28, to: 29 + frame[28]! }
    const silent: number[] = []
    for (let at = 0; at < frame.byteLength; at++) {
      const bytes = Buffer.from(frame)
      bytes[at] = bytes[at]! ^ (1 << (at % 8))
      await write(bytes)
      const isTold = await look()
      if (!isTold) silent.push(at)
    }
    // An entry of another epoch is none of ours, and nothing is wrong with it.
    expect(silent.filter((at) => at < identity.from || at >= identity.to)).toEqual([])
    await renew()
  }, 60_000)

  it('in any bit of what the scripts read is a miss', async () => {
    const end = 29 + frame[28]! + frame.readUInt32LE(24) + 2
    for (let bit = 0; bit < end * 8; bit++) {
      const bytes = Buffer.from(frame)
      bytes[bit >> 3] = bytes[bit >> 3]! ^ (1 << (bit & 7))
      await write(bytes)
      await look()
    }
    await renew()
  }, 60_000)

  it('by a cut is a miss, wherever it ends', async () => {
    for (let end = 0; end < frame.byteLength; end++) {
      await write(frame.subarray(0, end))
      await look()
    }
    await write(Buffer.concat([frame, Buffer.from('more')]))
    expect(await look()).toBe(true)
    await renew()
  }, 60_000)

  it.each(['tgc1', 'tgc3', 'TGC2', '\0\0\0\0'])('by another version (%j) is a miss and told', async (magic) => {
    const bytes = Buffer.from(frame)
    bytes.write(magic, 'latin1')
    await write(bytes)
    expect(await look()).toBe(true)
    await renew()
  })

  const nested = (depth: number) => Buffer.concat([Buffer.alloc(depth, 0x91), Buffer.of(0xc0)])
  it.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['one byte', Buffer.of(0xdd)],
    ['nil', Buffer.of(0xc0)],
    ['a number', Buffer.of(0x01)],
    ['a text', Buffer.from('\xa1t', 'latin1')],
    ['a short list', Buffer.from('\x91\xa7tag one', 'latin1')],
    ['a list of nil', Buffer.of(0x92, 0xc0, 0xc0)],
    ['a list of numbers', Buffer.of(0x92, 0x01, 0x02)],
    ['a list of truths', Buffer.of(0x92, 0xc3, 0xc2)],
    ['a list of lists', Buffer.of(0x92, 0x91, 0x01, 0x90)],
    ['a list of maps', Buffer.of(0x91, 0x81, 0x01, 0x02)],
    ['a map', Buffer.from('\x81\xa3tag\xa3one', 'latin1')],
    ['a list that claims to be huge', Buffer.of(0xdd, 0xff, 0xff, 0xff, 0xff)],
    ['a text that claims to be huge', Buffer.of(0xdd, 0, 0, 0, 1, 0xdb, 0xff, 0xff, 0xff, 0xff)],
    ['lists in lists', nested(100)],
    ['lists in lists without end', nested(200_000)],
    ['random bytes', randomBytes(50)],
  ])('by a section of tags that is %s is a miss', async (_, tags) => {
    await write(withTags(tags))
    await look()
    expect((await one.list('tag one', 10)).map(bodyOf).filter((body) => body !== undefined)).toEqual(['l'])
    await renew()
    expect(await server.command('PING')).toBe('PONG')
  })

  it.each([0, 1, 5, 0x7f_ff_ff_ff, 0xff_ff_ff_ff])(
    'by a section of tags that claims %i bytes is a miss',
    async (size) => {
      await write(withTags(packTexts(['tag one', 'tag two']), size))
      await look()
      await renew()
    },
  )

  it('by tags that nobody has given is judged by them', async () => {
    await write(withTags(packTexts(Array.from({ length: 3000 }, (_, at) => `x${at}`))))
    expect(bodyOf(await two.lookup('k'))).toBe('a body')
    await one.invalidate(['x2999'])
    expect(bodyOf(await two.lookup('k'))).toBeUndefined()
    expect(bodyOf(await two.lookup('k', { lease: LONG }))).toBeUndefined()
  })

  it('by numbers that are none is a miss', async () => {
    for (const stamp of [Number.NaN, Number.NEGATIVE_INFINITY, -1]) {
      const bytes = Buffer.from(frame)
      bytes.writeDoubleLE(stamp, 8)
      await one.invalidate(['tag two'])
      await write(summed(bytes))
      for (const backend of [one, two]) expect(bodyOf(await backend.lookup('k'))).toBeUndefined()
    }
    await renew()
  })

  it('is a miss where the body does not expand, or to more than may be', async () => {
    const { entry, identity } = decodeEntry(frame)
    const bodies = [
      Buffer.from('not compressed at all'),
      Buffer.alloc(0),
      deflateRawSync(Buffer.alloc(100)).subarray(0, 5),
      deflateRawSync(Buffer.alloc(50_000_000)),
    ]
    for (const body of bodies) {
      const made = encodeEntry({ ...entry, response: { ...entry.response, body } }, { identity, isCompressed: true })
      await write(made)
      for (const backend of [one, two]) {
        const found = await backend.lookup('k')
        expect([bodyOf(found), found.fault !== undefined]).toEqual([undefined, true])
      }
    }
    await renew()
  })

  it('is a miss where it is of another key', async () => {
    await raw.copy(entryAt('l'), entryAt('k'), 'REPLACE')
    for (const backend of [one, two]) {
      expect(bodyOf(await backend.lookup('k'))).toBeUndefined()
      expect(bodyOf(await backend.lookup('k', { lease: LONG }))).toBeUndefined()
    }
    await renew()
  })

  it('is a miss where it is of another namespace', async () => {
    const elsewhere = await join(0, { namespace: 'elsewhere' })
    await put(elsewhere, 'k', ['tag one'], 'of the other')
    await raw.copy('{elsewhere}:entry:k', entryAt('k'), 'REPLACE')
    for (const backend of [one, two]) expect(bodyOf(await backend.lookup('k'))).toBeUndefined()
    await renew()
  })

  it('stays outdated where it was taken away and is put back', async () => {
    const dump = await raw.dumpBuffer(entryAt('k'))
    await two.invalidate(['tag two'])
    await put(two, 'k', ['tag two'], 'newer')
    await raw.restore(entryAt('k'), LONG, dump, 'REPLACE')
    for (const backend of [one, two]) expect(bodyOf(await backend.lookup('k'))).toBeUndefined()
    await two.clear()
    await raw.restore(entryAt('k'), LONG, dump, 'REPLACE')
    for (const backend of [one, two]) expect(bodyOf(await backend.lookup('k'))).toBeUndefined()
  })

  it('does not keep the cache from its other entries, though it is whole and makes no sense', async () => {
    const { cache, faults, paused } = watched(one)
    const { entry, identity } = decodeEntry(frame)
    await cache.set('GET /a', {}, ['t'], { body: 'a' }, 60)
    await cache.set('GET /b', {}, ['t'], { body: 'b' }, 60)
    const key = cache.keyFromRequest('GET /a')
    const headers = [{ name: 'x', value: 'a\r\nset-cookie: b' }]
    for (const response of [
      { ...entry.response, status: 99 },
      { ...entry.response, headers },
    ]) {
      const made = encodeEntry({ ...entry, key, tags: [cache.keyFromTag('t')], response }, { identity })
      await raw.set(entryAt(key), made, 'PX', LONG)
      expect(await cache.getByRequest('GET /a')).toBeUndefined()
      expect(faults()).toHaveLength(1)
      expect(textOf(await cache.getByRequest('GET /b')), 'the other one').toBe('b')
      expect(paused()).toBe(false)
    }
  })
})

describe('what others publish on our channels', () => {
  const JUNK = [
    '',
    'hello',
    'null',
    '[]',
    '42',
    '{',
    '{}',
    '{"tags":5}',
    '{"tags":[1,2]}',
    '{"tags":null,"keys":[]}',
    '{"tags":["t"],"keys":5}',
    '{"__proto__":{"tags":[]}}',
    'stored ',
    'stored k',
    'declined k',
    'abandoned k',
    'stored __proto__',
    'stored\nk',
    'x'.repeat(100_000),
  ]

  async function publish(pattern: string): Promise<void> {
    const channels = (await raw.pubsub('CHANNELS', pattern)) as string[]
    expect(channels.length).toBeGreaterThan(0)
    for (const channel of channels) {
      for (const junk of JUNK) expect(await raw.publish(channel, junk)).toBeGreaterThan(0)
      expect(await raw.publish(channel, randomBytes(100))).toBeGreaterThan(0)
    }
  }

  it.each([0, 1, 2, 3])('changes nothing but what is copied (library %i)', async (at) => {
    const far = await join(at)
    const backend = tiered({ near: memory(), far })
    const other = await join((at + 1) % 4)
    await put(other, 'k', ['t'])
    await backend.lookup('k', { lease: LONG })
    await far.lookup('l', { lease: LONG })
    await until('it has subscribed', async () => ((await raw.pubsub('CHANNELS', 'tagcache:*')) as string[]).length > 1)
    await publish('tagcache:*')
    expect(bodyOf(await backend.lookup('k'))).toBe('k')
    await other.invalidate(['t'])
    await until('it is heard of', async () => bodyOf(await backend.lookup('k')) === undefined)
    await publish('tagcache:*')
    expect(bodyOf(await backend.lookup('k'))).toBeUndefined()
    await put(other, 'k', ['t'], 'new')
    expect(bodyOf(await backend.lookup('k'))).toBe('new')
    await backend.close()
  })

  it('lets a lease be taken for one that has ended, and no more than one process has it', async () => {
    const [one, two] = [await join(), await join(2)]
    const { clock, lease } = await one.lookup('k', { lease: LONG })
    expect((await two.lookup('k', { lease: LONG })).lease).toMatchObject({ kind: 'held' })
    const told: string[] = []
    two.leases.onEnd('k', (end) => told.push(end))
    await publish('tagcache:node:*')
    await until('it is told', () => told.length > 0)
    expect((await two.lookup('k', { lease: LONG })).lease).toMatchObject({ kind: 'held' })
    await two.invalidate(['t'])
    const holder = lease?.kind === 'taken' ? lease.holder : ''
    expect(await one.store(entryOf('k', { tags: ['t'], stamp: clock }), LONG, holder)).toBe(false)
  })
})
