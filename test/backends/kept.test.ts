import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { memory } from '../../src/backends/memory.ts'
import type { Entry, HeaderField } from '../../src/core/entry.ts'
import { entryOf } from '../support/backends.ts'

const name = fc.constantFrom('ETag', 'Date', 'Content-Type', 'X-A', 'x-a', '__proto__')
const value = fc.oneof(fc.constantFrom('', 'a', 'b'), fc.string(), fc.array(fc.string(), { maxLength: 3 }))
const flag = fc.constant(true as const)
const field = fc.record(
  { name, value, append: flag, isDefault: flag },
  { requiredKeys: ['name', 'value'] },
) as fc.Arbitrary<HeaderField>
const fields = fc.oneof(
  fc.array(field, { maxLength: 6 }),
  fc.tuple(value, value).map(([etag, date]) => [
    { name: 'ETag', value: etag },
    { name: 'Date', value: date },
  ]),
)
const body = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.constantFrom(1023, 1024, 1025).map((size) => Uint8Array.from({ length: size }, (_, at) => (at * 7) % 256)),
)
const encodings = fc.array(fc.record({ coding: fc.constantFrom('br' as const, 'gzip' as const), body }), {
  maxLength: 2,
})
const number = fc.oneof(fc.constantFrom(0, 1, 60_000), fc.double({ min: 0, max: 1e13, noNaN: true }))

const entry: fc.Arbitrary<Entry> = fc
  .record({
    tags: fc.uniqueArray(fc.constantFrom('a', 'b', 'c', '__proto__'), { maxLength: 3 }),
    time: number,
    cost: number,
    lifetime: number,
    initialAge: number,
    staleWhileRevalidate: number,
    staleIfError: number,
    mustRevalidate: fc.boolean(),
    isShared: fc.boolean(),
    response: fc.record(
      {
        status: fc.integer({ min: 200, max: 999 }),
        statusMessage: fc.constantFrom('', 'OK', 'Not Quite'),
        headers: fields,
        removed: fc.array(name, { maxLength: 2 }),
        trailers: fields,
        body,
        encodings,
      },
      { requiredKeys: ['status', 'statusMessage', 'headers', 'removed', 'trailers', 'body'] },
    ),
  })
  .map((more) => entryOf('k', more))

const AGES = 1e15

/** All of an entry, in values that can be compared. */
function plain(entry: Entry | undefined) {
  if (!entry) return undefined
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
  const { body, encodings, ...response } = entry.response
  const coded = encodings?.map((encoding) => ({ ...encoding, body: hex(encoding.body) }))
  return structuredClone({ ...entry, response: { ...response, body: hex(body), encodings: coded } })
}

/** Backends that remember what they have handed out, and that do not. */
const SIZES = ['64mb', '40kb'] as const

function hold(entries: readonly Entry[], maxSize: string = '64mb') {
  const backend = memory({ maxSize })
  const given = entries.map((each, at) => ({ ...each, key: `${at}` }))
  for (const each of given) expect(backend.store(each, AGES)).toBe(true)
  return { backend, given }
}

describe('what is kept in memory', () => {
  it('comes out as it went in, whatever it shares with others', () => {
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 12 }), fc.constantFrom(...SIZES), (entries, size) => {
        const { backend, given } = hold(size === '40kb' ? entries.slice(0, 4) : entries, size)
        for (const each of given) expect(plain(backend.lookup(each.key).entry)).toEqual(plain(each))
        for (const [at, { key }] of given.entries()) if (at % 2 === 0) backend.delete(key)
        for (const [at, each] of given.entries()) {
          expect(plain(backend.lookup(each.key).entry)).toEqual(at % 2 === 0 ? undefined : plain(each))
        }
        for (const { key } of given) backend.delete(key)
        expect(backend.size!()).toEqual({ entries: 0, bytes: 0 })
      }),
      { numRuns: 200 },
    )
  })

  it('is not reached by what is done to what another one was handed, or to what was handed in', () => {
    fc.assert(
      fc.property(entry, (one) => {
        const { backend, given } = hold([one, one], '40kb')
        const before = plain(given[0])
        const { response, tags } = backend.lookup('0').entry!
        if (one.response.body.byteLength <= 1024) {
          response.body.fill(1)
          one.response.body.fill(2)
        }
        for (const tagged of [tags, given[0]!.tags]) (tagged as string[]).push('more')
        for (const { value } of response.headers)
          if (Array.isArray(value) && !Object.isFrozen(value)) value.push('more')
        ;(one.response.headers as HeaderField[]).length = 0
        for (const key of ['0', '1']) expect({ ...plain(backend.lookup(key).entry), key: '0' }).toEqual(before)
      }),
    )
  })

  it('has lists of lines that Node may add to', () => {
    const headers = [{ name: 'Link', value: ['</a>', '</b>'] }]
    const { backend } = hold([1, 2].map(() => entryOf('k', { response: { ...entryOf('k').response, headers } })))
    for (const key of ['0', '1']) {
      const { value } = backend.lookup(key).entry!.response.headers[0]!
      expect(value).toEqual(['</a>', '</b>'])
      expect(Object.isFrozen(value)).toBe(false)
    }
  })

  it('goes on answering whoever has it, after it has left', () => {
    const { backend, given } = hold([entryOf('k', { tags: ['t'], body: 'body' })])
    const { entry: shown } = backend.lookup('0')
    backend.delete('0')
    backend.clear()
    expect(plain(shown)).toEqual(plain(given[0]))
  })

  it('is the same object each time, for what is asked for again and again, whatever else is asked for', () => {
    const backend = memory({ maxSize: '512mb' })
    for (let at = 0; at < 10_000; at += 1) backend.store(entryOf(`${at}`), AGES)
    const first = backend.lookup('7').entry
    for (let at = 0; at < 10_000; at += 1) {
      backend.lookup(`${at}`)
      if (at % 1000 === 0) expect(backend.lookup('7').entry).toBe(first)
    }
    expect(backend.lookup('7').entry).toBe(first)
    expect(backend.list('t', 1)).toEqual([])
  })

  it.each(SIZES)('is charged for what it has handed out, as long as it remembers it, of %s', (maxSize) => {
    const { backend } = hold([entryOf('k', { tags: ['t'] })], maxSize)
    const stored = backend.size!().bytes
    const shown = backend.lookup('0').entry
    expect(backend.lookup('0').entry === shown).toBe(maxSize === '64mb')
    expect(backend.size!().bytes > stored).toBe(maxSize === '64mb')
    backend.delete('0')
    expect(backend.size!().bytes).toBe(0)
  })

  // What the front makes of a response, as `process.memoryUsage()` measures it.
  it.each([
    ['a body that is kept as text too', 5200, 4000, 4, 2],
    ['many fields', 4500, 500, 40, 2],
    ['many tags', 4100, 500, 4, 200],
  ])('is charged for what is made of it: %s', (_, bytes, size, fields, tags) => {
    const headers = Array.from({ length: fields }, (_, at) => ({ name: `X-${at}`, value: `${at}` }))
    const response = { ...entryOf('k').response, headers, body: Buffer.alloc(size, 'x') }
    const { backend } = hold([entryOf('k', { tags: Array.from({ length: tags }, (_, at) => `tag ${at}`), response })])
    const stored = backend.size!().bytes
    backend.lookup('0')
    const charged = backend.size!().bytes - stored
    expect(charged).toBeGreaterThan(bytes)
    expect(charged).toBeLessThan(bytes * 1.25)
  })

  it('never takes more than it may, with all that it has handed out', () => {
    const backend = memory({ maxSize: '200kb' })
    for (let at = 0; at < 3000; at += 1) {
      backend.store(entryOf(`${at}`, { tags: [`${at % 50}`], body: 'x'.repeat((at * 37) % 3000) }), AGES)
      backend.lookup(`${at - 3}`)
      backend.lookup(`${(at * 7) % (at + 1)}`)
      expect(backend.size!().bytes).toBeLessThanOrEqual(200 * 1024)
    }
    expect(backend.size!().entries).toBeGreaterThan(30)
  })

  it.each(SIZES)('is the same response where its encodings are added, of %s, small or large', (maxSize) => {
    for (const size of [10, 1024, 1025]) {
      const response = { ...entryOf('k').response, body: Buffer.alloc(size, 'x'), encodings: [] }
      const { backend } = hold([entryOf('k', { tags: ['t'], response })], maxSize)
      const removals: unknown[] = []
      backend.onRemoval!((removal) => removals.push(removal))
      const found = backend.lookup('0').entry!
      for (let at = 0; at < 3; at += 1) backend.store(entryOf(`other ${at}`), AGES)
      const coded = [{ coding: 'br' as const, body: Buffer.from('coded') }]
      expect(backend.store({ ...found, response: { ...found.response, encodings: coded } }, AGES)).toBe(true)
      expect(removals).toEqual([])
      expect(backend.lookup('0').entry!.response.encodings).toEqual(coded)
      expect(backend.lookup('0').entry!.response.body).toEqual(response.body)
      expect(backend.size!().entries).toBe(4)
      expect(backend.list('t', 10).length).toBe(1)
    }
  })

  it('is another response where it is none with encodings, though it looks the same', () => {
    const { backend } = hold([entryOf('k')])
    const removals: unknown[] = []
    backend.onRemoval!((removal) => removals.push(removal))
    backend.store({ ...entryOf('k'), key: '0' }, AGES)
    expect(removals).toEqual([{ reason: 'replaced', entries: 1, key: '0' }])
  })

  it('leaves in the order of use', () => {
    const step = fc.record({ type: fc.constantFrom('store', 'lookup', 'delete'), name: fc.nat(8) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 80 }), fc.integer({ min: 1, max: 5 }), (steps, maxEntries) => {
        const backend = memory({ maxEntries })
        let model: number[] = []
        for (const { type, name } of steps) {
          const isThere = model.includes(name)
          if (type === 'store') expect(backend.store(entryOf(`${name}`), AGES)).toBe(true)
          else if (type === 'lookup') expect(backend.lookup(`${name}`).entry !== undefined).toBe(isThere)
          else expect(backend.delete(`${name}`)).toBe(isThere)
          model = model.filter((other) => other !== name)
          if (type === 'store' || (type === 'lookup' && isThere)) model.push(name)
          model = model.slice(-maxEntries)
          expect(backend.size!().entries).toBe(model.length)
        }
        const left = Array.from({ length: 9 }, (_, name) => name).filter((name) => backend.delete(`${name}`))
        expect(left).toEqual(model.toSorted())
      }),
      { numRuns: 300 },
    )
  })
})
