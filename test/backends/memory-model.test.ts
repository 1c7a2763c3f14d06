import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { memory } from '../../src/backends/memory.ts'
import type { Entry } from '../../src/core/entry.ts'
import { isOutdated } from '../../src/core/tags.ts'
import { entryOf, Slices } from '../support/backends.ts'
import { ManualTime } from '../support/time.ts'

type Step =
  | {
      readonly kind: 'store'
      readonly key: string
      readonly tags: string[]
      readonly ttl: number
      readonly late: number
      readonly shape: Shape
    }
  | { readonly kind: 'encode' | 'look' | 'delete'; readonly key: string }
  | { readonly kind: 'purge'; readonly tags: string[] }
  | { readonly kind: 'list'; readonly tag: string }
  | { readonly kind: 'wait'; readonly milliseconds: number }
  | { readonly kind: 'clear' | 'slice' }

/** What of a response others may have too, or not. */
interface Shape {
  readonly status: number
  readonly names: readonly string[]
  readonly size: number
  readonly isList: boolean
}

// `Aa` and `BB` have one hash of the kind that is common, and so has all that is made of them.
const key = fc.constantFrom('a', 'Aa', 'BB', 'AaAa', 'BBBB', 'AaBB', '__proto__', '')
const tag = fc.constantFrom('t', 'Aa', 'BB', '__proto__', 'toString')
const tags = fc.uniqueArray(tag, { maxLength: 4 })
const shape = fc.record({
  status: fc.constantFrom(200, 404),
  names: fc.constantFrom([], ['X'], ['X', 'Y'], ['x']),
  size: fc.constantFrom(0, 10, 1023, 1025, 4000),
  isList: fc.boolean(),
})
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('store' as const),
      key,
      tags,
      ttl: fc.constantFrom(1, 1000, 10_000),
      late: fc.constantFrom(0, 0, 0, 1, 3),
      shape,
    }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('encode' as const, 'look', 'look', 'delete'), key }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('purge' as const), tags }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('list' as const), tag }) },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant('wait' as const), milliseconds: fc.constantFrom(1, 999, 5000) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('slice' as const, 'slice', 'clear') }) },
)

/** A backend, and a Map that says what it may answer with. */
class Compared {
  readonly time = new ManualTime()
  readonly slices = new Slices()
  readonly current = new Map<string, { readonly entry: Entry; readonly until: number }>()
  readonly purges: { readonly clock: number; readonly tags: readonly string[] }[] = []
  readonly backend
  readonly maxSize
  clearedAt = 0
  stored = 0
  told = 0
  #made = 0
  #isReacting = false

  constructor(maxSize: number, reactions: readonly Step[]) {
    this.maxSize = maxSize
    this.backend = memory({ maxSize, maxEntries: 6, time: this.time, schedule: this.slices.schedule })
    const left = [...reactions]
    this.backend.onRemoval?.(({ entries }) => {
      this.told += entries
      const reaction = this.#isReacting ? undefined : left.shift()
      if (!reaction) return
      this.#isReacting = true
      this.perform(reaction)
      this.#isReacting = false
    })
  }

  perform(step: Step): void {
    const { backend, time } = this
    if (step.kind === 'store') this.#store(this.#entry(step), step.ttl)
    else if (step.kind === 'encode') this.#encode(step.key)
    else if (step.kind === 'look') this.#check(step.key, backend.lookup(step.key))
    else if (step.kind === 'list') for (const found of backend.list(step.tag, 10)) this.#check(found.entry!.key, found)
    else if (step.kind === 'wait') time.move(step.milliseconds)
    else if (step.kind === 'slice') this.slices.runOne()
    else if (step.kind === 'delete') {
      this.current.delete(step.key)
      backend.delete(step.key)
    } else if (step.kind === 'purge') {
      this.purges.push({ clock: backend.clock() + 1, tags: step.tags })
      backend.invalidate(step.tags)
    } else {
      this.clearedAt = backend.clock() + 1
      this.current.clear()
      backend.clear()
    }
    this.#checkSize()
  }

  #entry({ key, tags, late, shape: { status, names, size, isList } }: Step & { kind: 'store' }): Entry {
    this.#made += 1
    const id = `${this.#made}`
    const headers = ['ETag', ...names].map((name) => ({ name, value: isList ? [id, name] : id }))
    const body = Buffer.alloc(size, id)
    const response = { status, statusMessage: '', headers, removed: [], trailers: [], body, encodings: [] }
    return entryOf(key, { tags, stamp: Math.max(0, this.backend.clock() - late), time: this.time.now(), response })
  }

  #store(entry: Entry, ttl: number): boolean {
    if (this.#isPurged(entry)) {
      expect(this.backend.store(entry, ttl)).toBe(false)
      return false
    }
    const kept = { entry, until: this.time.now() + ttl }
    this.current.set(entry.key, kept)
    // Whoever is told of what leaves may do anything meanwhile.
    const isStored = this.backend.store(entry, ttl)
    if (isStored) this.stored += 1
    else if (this.current.get(entry.key) === kept) this.current.delete(entry.key)
    return isStored
  }

  #encode(key: string): void {
    const { entry } = this.backend.lookup(key)
    const kept = this.current.get(key)
    if (!entry || !kept || this.#isPurged(entry)) return
    const before = this.stored
    const encodings = [{ coding: 'br' as const, body: Buffer.from(`br of ${key}`) }]
    const isFirst = entry.response.encodings?.length === 0
    const isStored = this.#store({ ...entry, response: { ...entry.response, encodings } }, kept.until - this.time.now())
    if (isStored && isFirst) this.stored = before
  }

  #isPurged({ stamp, tags }: Entry): boolean {
    if (isOutdated(stamp, this.clearedAt)) return true
    return this.purges.some((purge) => isOutdated(stamp, purge.clock) && purge.tags.some((tag) => tags.includes(tag)))
  }

  #check(key: string, { entry, invalidatedAt }: { entry?: Entry | undefined; invalidatedAt: number }): void {
    if (!entry) return
    const kept = this.current.get(key)
    expect(kept && plain(entry)).toEqual(kept && plain(kept.entry))
    expect(kept?.until).toBeGreaterThan(this.time.now())
    expect(isOutdated(entry.stamp, invalidatedAt)).toBe(this.#isPurged(entry))
  }

  #checkSize(): void {
    const { entries, bytes } = this.backend.size!()
    // Room is still being made when somebody is told of it.
    if (!this.#isReacting) expect(bytes).toBeLessThanOrEqual(this.maxSize)
    expect(bytes >= 0 && entries >= 0 && entries <= 6).toBe(true)
  }

  end(): void {
    this.#isReacting = true
    while (this.slices.runOne());
    expect(this.backend.size!().entries).toBe(this.stored - this.told)
    for (const key of [...this.current.keys()]) this.backend.delete(key)
    expect(this.backend.size!()).toEqual({ entries: 0, bytes: 0 })
  }
}

function plain({ key, stamp, time, tags, response }: Entry) {
  const { status, headers, body, encodings } = response
  const codings = encodings?.map((encoding) => String(encoding.body))
  return { key, stamp, time, tags, status, headers, body: String(body), codings }
}

describe('a memory, whatever is done to it', () => {
  const steps = fc.array(step, { maxLength: 60 })

  it('answers with what was stored last, and tells what was purged', () => {
    fc.assert(
      fc.property(steps, fc.constantFrom(3000, 20_000, 200_000), (steps, maxSize) => {
        const compared = new Compared(maxSize, [])
        for (const each of steps) compared.perform(each)
        compared.end()
      }),
      { numRuns: 400 },
    )
  })

  it('does so where somebody purges or stores when told that something has left', () => {
    fc.assert(
      fc.property(steps, fc.array(step, { maxLength: 20 }), (steps, reactions) => {
        const compared = new Compared(20_000, reactions)
        for (const each of steps) compared.perform(each)
        compared.end()
      }),
      { numRuns: 400 },
    )
  })
})
