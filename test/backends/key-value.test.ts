import { describe, expect, it } from 'vitest'
import type { CacheBackend, Lookup } from '../../src/backends/backend.ts'
import { decodeEntry, encodeEntry } from '../../src/backends/codec.ts'
import { keyValue } from '../../src/backends/key-value.ts'
import { Cache } from '../../src/cache.ts'
import type { Removal } from '../../src/core/entry.ts'
import { isOutdated } from '../../src/core/tags.ts'
import { AsyncMap, entryOf, Slices } from '../support/backends.ts'
import { gate } from '../support/http.ts'
import { answerOf, begin, finish, look, visitOf } from '../support/requests.ts'
import { ManualTime } from '../support/time.ts'

function setUp(backend: CacheBackend = new Map<string, Uint8Array>(), maxEntries = 1000) {
  const time = new ManualTime()
  const slices = new Slices()
  const removals: Removal[] = []
  const make = () => keyValue(backend, { time, schedule: slices.schedule, maxEntries })
  const kv = make()
  kv.onRemoval?.((removal) => removals.push(removal))
  return { backend, time, slices, removals, make, kv }
}

const bodyOf = ({ entry }: Lookup) => entry && Buffer.from(entry.response.body).toString()

/** Three methods whose answers come when the test says so, in any order. */
function held() {
  const map = new Map<string, Uint8Array>()
  const waiting: { readonly name: string; answer: () => void }[] = []
  const hold = <V>(name: string, run: () => V) => {
    const { opened, open } = gate<V>()
    waiting.push({ name, answer: () => open(run()) })
    return opened
  }
  const backend = {
    get: (key: string) => hold('get', () => map.get(key)),
    set: (key: string, value: Uint8Array) => hold('set', () => void map.set(key, value)),
    delete: (key: string) => hold('delete', () => void map.delete(key)),
  }
  const answer = async (name: string, at = 0) => {
    const found = waiting.filter((call) => call.name === name)[at]
    if (!found) throw new Error(`no ${name} is waiting`)
    waiting.splice(waiting.indexOf(found), 1)
    found.answer()
    for (let turn = 0; turn < 5; turn++) await Promise.resolve()
  }
  return { map, waiting, backend, answer }
}

describe('keyValue()', () => {
  it('answers at once over three methods that do, else with promises', async () => {
    const sync = setUp().kv
    expect([sync.sync, sync.store(entryOf('k'), 60_000), bodyOf(sync.lookup('k') as Lookup)]).toEqual([true, true, 'k'])
    const async = setUp(new AsyncMap()).kv
    expect([async.sync, await async.store(entryOf('k'), 60_000), bodyOf(await async.lookup('k'))]).toEqual([
      false,
      true,
      'k',
    ])
  })

  it('counts entries of an earlier run as misses', async () => {
    const { kv, make } = setUp()
    await kv.store(entryOf('k', { tags: ['t'] }), 60_000)
    const again = make()
    expect((await again.lookup('k')).entry).toBeUndefined()
    expect(await again.list('t', 10)).toEqual([])
    await again.store(entryOf('k', { body: 'new' }), 60_000)
    expect(bodyOf(await again.lookup('k'))).toBe('new')
  })

  it('counts bytes that another process wrote in between as a miss', async () => {
    const { kv, make, removals } = setUp()
    await kv.store(entryOf('k', { body: 'ours' }), 60_000)
    await make().store(entryOf('k', { body: 'theirs' }), 60_000)
    expect((await kv.lookup('k')).entry).toBeUndefined()
    expect(removals).toEqual([{ reason: 'evicted', entries: 1, key: 'k' }])
    await kv.store(entryOf('k', { body: 'again' }), 60_000)
    expect(bodyOf(await kv.lookup('k'))).toBe('again')
  })

  it('counts bytes that the backend lost as a miss', async () => {
    for (const nothing of [undefined, null]) {
      const { kv, removals } = setUp({ get: () => nothing, set() {}, delete() {} })
      await kv.store(entryOf('k'), 60_000)
      expect((await kv.lookup('k')).entry).toBeUndefined()
      expect(removals).toEqual([{ reason: 'evicted', entries: 1, key: 'k' }])
    }
  })

  it('keeps no key of its own in the way of others', async () => {
    const map = new Map<string, Uint8Array>([['k', Buffer.from('not ours')]])
    const { kv } = setUp(map)
    await kv.store(entryOf('k'), 60_000)
    expect(map.get('k')?.toString()).toBe('not ours')
    expect([...map.keys()].filter((key) => key !== 'k')).toEqual(['tagcache/k'])
  })

  it('hands on the time to live in whole seconds, rounded up', async () => {
    const ttls: (number | undefined)[] = []
    const { kv } = setUp({ get: () => undefined, delete() {}, set: (_key, _value, ttl) => ttls.push(ttl) })
    for (const ttl of [1, 999, 1_000, 1_001, 60_000]) await kv.store(entryOf('k'), ttl)
    expect(ttls).toEqual([1, 1, 1, 2, 60])
  })

  it('does not hand on what is born outdated', async () => {
    const map = new Map<string, Uint8Array>()
    const { kv } = setUp(map)
    const stamp = await kv.clock()
    await kv.invalidate(['t'])
    expect(await kv.store(entryOf('k', { tags: ['t'], stamp }), 60_000)).toBe(false)
    expect(map.size).toBe(0)
  })

  it('is bounded, and frees the bytes of what it forgets', async () => {
    const map = new Map<string, Uint8Array>()
    const { kv, removals } = setUp(map, 2)
    for (const key of ['a', 'b', 'c']) await kv.store(entryOf(key), 60_000)
    expect([...map.keys()]).toEqual(['tagcache/b', 'tagcache/c'])
    expect(removals).toEqual([{ reason: 'evicted', entries: 1, key: 'a' }])
  })

  it.each([
    ['expired', async ({ kv, time }: ReturnType<typeof setUp>) => [time.move(60_000), await kv.lookup('k')]],
    ['deleted', async ({ kv }: ReturnType<typeof setUp>) => kv.delete('k')],
    ['invalidated', async ({ kv, slices }: ReturnType<typeof setUp>) => [await kv.invalidate(['t']), slices.runAll()]],
    ['deleted', async ({ kv, slices }: ReturnType<typeof setUp>) => [await kv.clear(), slices.runAll()]],
  ] as const)('tells why an entry left, and frees its bytes: %s', async (reason, act) => {
    const map = new Map<string, Uint8Array>()
    const set = setUp(map)
    await set.kv.store(entryOf('k', { tags: ['t'] }), 60_000)
    await act(set)
    expect(set.removals.map(({ reason, entries }) => ({ reason, entries }))).toEqual([{ reason, entries: 1 }])
    expect(map.size).toBe(0)
  })

  it('tells that an entry was replaced, and keeps the new bytes', async () => {
    const { kv, removals } = setUp()
    await kv.store(entryOf('k', { body: '1' }), 60_000)
    await kv.store(entryOf('k', { body: '2' }), 60_000)
    expect(removals).toEqual([{ reason: 'replaced', entries: 1, key: 'k' }])
    expect(bodyOf(await kv.lookup('k'))).toBe('2')
  })

  it('is not disturbed by a delete() that throws or rejects', async () => {
    const map = new Map<string, Uint8Array>()
    const base = {
      get: (key: string) => map.get(key),
      set: (key: string, value: Uint8Array) => void map.set(key, value),
    }
    const throwing = setUp({
      ...base,
      delete() {
        throw new Error('down')
      },
    }).kv
    const rejecting = setUp({ ...base, delete: () => Promise.reject(new Error('down')) }).kv
    for (const kv of [throwing, rejecting]) {
      await kv.store(entryOf('k'), 60_000)
      expect(await kv.delete('k')).toBe(true)
      expect((await kv.lookup('k')).entry).toBeUndefined()
    }
  })

  it('lists what is still there, newest first', async () => {
    const { kv, backend } = setUp()
    for (const key of ['a', 'b', 'c']) await kv.store(entryOf(key, { tags: ['t'] }), 60_000)
    await backend.delete('tagcache/b')
    const found = await kv.list('t', 10)
    expect(found.flatMap(({ entry }) => entry?.key ?? [])).toEqual(['c', 'a'])
  })
})

describe('keyValue() over three methods that answer out of order', () => {
  it('serves nothing that was invalidated while its bytes were on their way in', async () => {
    const { backend, answer } = held()
    const { kv } = setUp(backend)
    await answer('get')
    const stored = kv.store(entryOf('k', { tags: ['t'] }), 60_000)
    await kv.invalidate(['t'])
    await answer('set')
    expect(await stored).toBe(false)
    expect((await kv.lookup('k')).entry).toBeUndefined()
  })

  it('tells of an invalidation that came while the bytes were on their way out', async () => {
    const { backend, answer } = held()
    const { kv } = setUp(backend)
    await answer('get')
    const stored = kv.store(entryOf('k', { tags: ['t'] }), 60_000)
    await answer('set')
    await stored
    const looked = kv.lookup('k')
    await kv.invalidate(['t'])
    await answer('get')
    const { entry, invalidatedAt } = await looked
    expect(entry === undefined || isOutdated(entry.stamp, invalidatedAt)).toBe(true)
  })

  it('serves nothing that was cleared while its bytes were on their way', async () => {
    const { backend, answer } = held()
    const { kv } = setUp(backend)
    await answer('get')
    const untagged = kv.store(entryOf('k'), 60_000)
    await kv.clear()
    await answer('set')
    expect(await untagged).toBe(false)
  })

  it('serves the bytes that it knows, whichever of two sets came last', async () => {
    const { backend, answer, map } = held()
    const { kv } = setUp(backend)
    await answer('get')
    const first = kv.store(entryOf('k', { body: '1' }), 60_000)
    const second = kv.store(entryOf('k', { body: '2' }), 60_000)
    await answer('set', 1)
    await answer('set', 0)
    await Promise.all([first, second])
    const inMap = decodeEntry([...map.values()][0]).entry
    const looked = kv.lookup('k')
    await answer('get')
    const found = bodyOf(await looked)
    expect([undefined, Buffer.from(inMap.response.body).toString()]).toContain(found)
  })

  it('counts as a miss what a late delete() took away', async () => {
    const { backend, answer, waiting } = held()
    const { kv, slices } = setUp(backend)
    await answer('get')
    const first = kv.store(entryOf('k', { tags: ['t'], body: '1' }), 60_000)
    await answer('set')
    await first
    await kv.invalidate(['t'])
    slices.runAll()
    expect(waiting.map(({ name }) => name)).toEqual(['delete'])
    const second = kv.store(entryOf('k', { tags: ['t'], stamp: await kv.clock(), body: '2' }), 60_000)
    await answer('set')
    await answer('delete')
    expect(await second).toBe(true)
    const looked = kv.lookup('k')
    await answer('get')
    expect((await looked).entry).toBeUndefined()
  })

  it('does not answer with an entry that was replaced while its bytes were on their way', async () => {
    const { backend, answer } = held()
    const { kv } = setUp(backend)
    await answer('get')
    const first = kv.store(entryOf('k', { body: '1' }), 60_000)
    await answer('set')
    await first
    const looked = kv.lookup('k')
    const second = kv.store(entryOf('k', { body: '2' }), 60_000)
    await answer('set')
    await second
    await answer('get')
    expect([undefined, '2']).toContain(bodyOf(await looked))
  })
})

describe('damaged bytes', () => {
  const damage: Record<string, (bytes: Uint8Array) => unknown> = {
    'one bit flipped': (bytes) => bytes.map((byte, at) => (at === bytes.length - 1 ? byte ^ 1 : byte)),
    'cut short': (bytes) => bytes.subarray(0, bytes.length - 5),
    'more at the end': (bytes) => Buffer.concat([bytes, Buffer.from('x')]),
    'another format': () => Buffer.from('{"json":true}'),
    'of another version': (bytes) => bytes.map((byte, at) => (at === 3 ? byte + 1 : byte)),
    empty: () => new Uint8Array(),
    text: () => 'text',
    'a number': () => 42,
    'an object': () => ({}),
  }

  it.each(Object.entries(damage))(
    '%s: a fault is told, the request is a miss, and its response is stored',
    async (_, how) => {
      const map = new Map<string, Uint8Array>()
      const time = new ManualTime()
      const cache = new Cache({ backend: keyValue(map, { time }), time })
      const faults: unknown[] = []
      cache.on('fault', ({ error }) => faults.push(error))
      const visit = visitOf(cache, '/')
      await finish(cache, await begin(cache, visit), { body: 'first' })
      const [[key, bytes] = []] = [...map]
      map.set(key!, how(bytes!) as never)
      const run = await begin(cache, visit)
      expect(faults).toEqual([expect.objectContaining({ code: 'ERR_TAGCACHE_FRAME' })])
      await finish(cache, run, { body: 'second' })
      expect(answerOf(await look(cache, visit))).toBe('second')
      expect(faults.length).toBe(1)
    },
  )
})

it('damaged bytes of one entry do not hide the others', async () => {
  const map = new Map<string, Uint8Array>()
  const time = new ManualTime()
  const cache = new Cache({ backend: keyValue(map, { time }), time })
  cache.set('sound', {}, ['t'], { body: 'sound' })
  time.move(1)
  cache.set('damaged', {}, ['t'], {})
  map.set('tagcache/damaged', Buffer.from('junk'))
  const found = await cache.getByTags('t')
  expect(Buffer.from(found?.body ?? '').toString()).toBe('sound')
  expect(cache.stats().faults).toBe(1)
})

describe('the frame of an entry', () => {
  it('gives the entry back', () => {
    const entry = entryOf('k\ud800\u0000é', { tags: ['a', 'b'], stamp: 7, lifetime: 0.5, body: 'bytes\u0000' })
    const { entry: found, identity } = decodeEntry(encodeEntry(entry, { identity: 'me' }))
    expect([found, identity]).toEqual([entry, 'me'])
  })

  it('is read from a view of a larger buffer', () => {
    const bytes = encodeEntry(entryOf('k'), { identity: 'me' })
    const larger = Buffer.concat([Buffer.from('junk'), bytes, Buffer.from('junk')])
    expect(decodeEntry(new Uint8Array(larger.buffer, larger.byteOffset + 4, bytes.byteLength)).identity).toBe('me')
  })

  it('is a copy: the body may change afterwards', () => {
    const entry = entryOf('k', { body: 'before' })
    const bytes = encodeEntry(entry, { identity: 'me' })
    entry.response.body.fill(0)
    expect(bodyOf({ ...decodeEntry(bytes), invalidatedAt: 0, clock: 1 })).toBe('before')
  })

  it('is refused wherever a byte was changed', () => {
    const bytes = encodeEntry(entryOf('k'), { identity: 'me' })
    for (let at = 0; at < bytes.length; at++) {
      const damaged = bytes.map((byte, index) => (index === at ? byte ^ 0x10 : byte))
      expect(() => decodeEntry(damaged), `byte ${at}`).toThrow(expect.objectContaining({ code: 'ERR_TAGCACHE_FRAME' }))
    }
  })

  it('is refused where only the length of its head was changed, and a body begins with blanks', () => {
    const frame = Buffer.from(encodeEntry(entryOf('k', { body: '   text' }), { identity: 'me' }))
    frame.writeUInt32LE(frame.readUInt32LE(4) + 2, 4)
    expect(() => decodeEntry(frame)).toThrow(expect.objectContaining({ code: 'ERR_TAGCACHE_FRAME' }))
  })
})
