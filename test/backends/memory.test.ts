import { describe, expect, it } from 'vitest'
import { memory } from '../../src/backends/memory.ts'
import type { Removal } from '../../src/core/entry.ts'
import { entryOf, Slices } from '../support/backends.ts'
import { ManualTime } from '../support/time.ts'

function setUp(options: { maxSize?: number | string; maxEntries?: number } = {}) {
  const time = new ManualTime()
  const slices = new Slices()
  const backend = memory({ ...options, time, schedule: slices.schedule })
  const removals: Removal[] = []
  backend.onRemoval?.((removal) => removals.push(removal))
  const store = (key: string, tags: string[] = [], ttl = 60_000, body = key) =>
    backend.store(entryOf(key, { tags, stamp: backend.clock(), body }), ttl)
  const keys = (...names: string[]) => names.filter((name) => backend.lookup(name).entry !== undefined)
  return { backend, time, slices, removals, store, keys }
}

describe('memory()', () => {
  it('is bounded by bytes: the least recently used leave first', () => {
    const { backend, store, keys, removals } = setUp({ maxSize: 10_000 })
    for (const key of ['a', 'b', 'c']) expect(store(key, [], 60_000, 'x'.repeat(2_500))).toBe(true)
    backend.lookup('a')
    expect(store('d', [], 60_000, 'x'.repeat(2_500))).toBe(true)
    expect(keys('a', 'b', 'c', 'd')).toEqual(['a', 'c', 'd'])
    expect(removals).toEqual([{ reason: 'evicted', entries: 1, key: 'b' }])
    expect(backend.size?.().bytes).toBeLessThanOrEqual(10_000)
  })

  it('never holds more bytes than it may, whatever is stored', () => {
    const { backend, store } = setUp({ maxSize: '64kb' })
    for (let at = 0; at < 500; at++) {
      store(`${at % 90}`, [`tag ${at % 13}`, `t${at}`], 60_000, 'x'.repeat((at * 37) % 6_000))
      expect(backend.size?.().bytes).toBeLessThanOrEqual(64 * 1024)
    }
    expect(backend.size?.().entries).toBeGreaterThan(5)
  })

  it('counts keys, headers and tags, too', () => {
    const { backend } = setUp()
    const grow = (more: Parameters<typeof entryOf>[1], key = 'k') => {
      const before = backend.size?.().bytes ?? 0
      backend.store(entryOf(key, { stamp: backend.clock(), ...more }), 60_000)
      const bytes = (backend.size?.().bytes ?? 0) - before
      backend.delete(key)
      return bytes
    }
    const empty = grow({ body: '' })
    expect(grow({ body: 'x'.repeat(500) })).toBe(empty + 500)
    expect(grow({ body: '', tags: ['x'.repeat(200)] })).toBeGreaterThanOrEqual(empty + 200)
    expect(grow({ body: '' }, 'k'.repeat(501))).toBe(empty + 1000)
    const response = { ...entryOf('').response, headers: [{ name: 'X-A', value: ['y'.repeat(400), 'z'.repeat(300)] }] }
    expect(grow({ response })).toBeGreaterThanOrEqual(empty + 700)
    expect(grow({ response: { ...response, headers: [], trailers: response.headers } })).toBeGreaterThan(empty + 700)
  })

  it('is bounded by the number of entries', () => {
    const { store, keys, removals, backend } = setUp({ maxEntries: 2 })
    for (const key of ['a', 'b', 'c']) expect(store(key)).toBe(true)
    expect(keys('a', 'b', 'c')).toEqual(['b', 'c'])
    expect(removals).toEqual([{ reason: 'evicted', entries: 1, key: 'a' }])
    expect(backend.size?.().entries).toBe(2)
  })

  it('does not keep what is larger than everything it may hold', () => {
    const { store, keys, backend } = setUp({ maxSize: 10_000 })
    store('a')
    expect(store('large', ['t'], 60_000, 'x'.repeat(20_000))).toBe(false)
    expect(keys('a', 'large')).toEqual(['a'])
    expect(backend.list('t', 1)).toEqual([])
  })

  it('takes bodies up to a sixteenth of its size', () => {
    expect(memory({ maxSize: '16mb' }).maxBodySize).toBe(1024 * 1024)
    expect(memory().maxBodySize).toBe(4 * 1024 * 1024)
  })

  it('tells why an entry left: expired', () => {
    const { store, time, removals, keys } = setUp()
    store('a', [], 1_000)
    time.move(999)
    expect(keys('a')).toEqual(['a'])
    time.move(1)
    expect(keys('a')).toEqual([])
    expect(removals).toEqual([{ reason: 'expired', entries: 1, key: 'a' }])
  })

  it('tells why an entry left: expired, though it was pushed out', () => {
    const { store, time, removals } = setUp({ maxEntries: 1 })
    store('a', [], 1_000)
    time.move(2_000)
    store('b')
    expect(removals).toEqual([{ reason: 'expired', entries: 1, key: 'a' }])
  })

  it('tells why an entry left: invalidated', () => {
    const { store, backend, slices, removals } = setUp()
    store('a', ['t'])
    store('b')
    backend.invalidate(['t'])
    expect([removals.length, backend.size?.().entries]).toEqual([0, 2])
    slices.runAll()
    expect(removals).toEqual([{ reason: 'invalidated', entries: 1, key: 'a' }])
    expect(backend.size?.().entries).toBe(1)
  })

  it('tells why an entry left: replaced, deleted', () => {
    const { store, backend, removals } = setUp()
    store('a')
    store('a')
    backend.delete('a')
    expect(removals.map(({ reason }) => reason)).toEqual(['replaced', 'deleted'])
  })

  it('tells why entries left: all deleted at once', () => {
    const { store, backend, removals, slices } = setUp()
    for (let at = 0; at < 10; at++) store(`${at}`, ['t'])
    backend.invalidate(['t'])
    backend.clear()
    slices.runAll()
    expect(removals).toEqual([{ reason: 'deleted', entries: 10 }])
    backend.clear()
    expect(removals.length).toBe(1)
    expect(backend.size?.()).toEqual({ entries: 0, bytes: 0 })
  })

  it('tells of each entry that leaves exactly once', () => {
    const { store, backend, time, slices, removals } = setUp({ maxEntries: 20 })
    let stored = 0
    for (let at = 0; at < 400; at++) {
      if (store(`${at % 31}`, [`t${at % 5}`], 500 + (at % 7) * 300)) stored += 1
      if (at % 11 === 0) backend.invalidate([`t${at % 5}`])
      if (at % 13 === 0) backend.delete(`${at % 29}`)
      if (at % 17 === 0) time.move(400)
      if (at % 3 === 0) slices.runOne()
      backend.lookup(`${(at * 7) % 31}`)
    }
    const left = removals.reduce((sum, { entries }) => sum + entries, 0)
    expect(stored).toBe(left + (backend.size?.().entries ?? 0))
    expect(new Set(removals.map(({ reason }) => reason)).size).toBe(5)
  })

  it('does not list what has expired', () => {
    const { store, backend, time } = setUp()
    store('a', ['t'], 1_000)
    store('b', ['t'])
    time.move(1_000)
    expect(backend.list('t', 10).map(({ entry }) => entry?.key)).toEqual(['b'])
  })

  it('holds nothing after close()', () => {
    const { store, backend, keys } = setUp()
    store('a')
    backend.close()
    expect(keys('a')).toEqual([])
  })
})
