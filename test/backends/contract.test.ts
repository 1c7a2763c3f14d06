import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, it, test } from 'vitest'
import type { CacheBackend, Lookup, TagBackend } from '../../src/backends/backend.ts'
import { keyValue } from '../../src/backends/key-value.ts'
import { memory } from '../../src/backends/memory.ts'
import { backendContract, cacheBackendContract } from '../../src/testing/index.ts'
import { AsyncMap, Overridden, Slices } from '../support/backends.ts'
import { ManualTime } from '../support/time.ts'

const time = new ManualTime()
const move = (milliseconds: number) => time.move(milliseconds)

backendContract({ test, describe, move, name: 'memory()', create: () => memory({ time }) })

backendContract({ test, describe, move, name: 'keyValue(Map)', create: () => keyValue(new Map(), { time }) })

backendContract({ test, describe, move, name: 'keyValue(async)', create: () => keyValue(new AsyncMap(), { time }) })

cacheBackendContract({ test, describe, name: 'Map', create: () => new Map<string, Uint8Array>() })

cacheBackendContract({ test, describe, move, name: 'AsyncMap with expiry', create: () => new ExpiringMap(time) })

class ExpiringMap extends AsyncMap {
  readonly #until = new Map<string, number>()

  constructor(readonly time: ManualTime) {
    super()
  }

  override async get(key: string) {
    return (this.#until.get(key) ?? 0) > this.time.now() ? super.get(key) : undefined
  }

  override async set(key: string, value: Uint8Array, ttl = 60) {
    this.#until.set(key, this.time.now() + ttl * 1000)
    return super.set(key, value)
  }
}

/** The names of the tests that fail. */
async function failures(declare: (test: (name: string, run: () => Promise<void>) => void) => void): Promise<string[]> {
  const tests: [string, () => Promise<void>][] = []
  declare((name, run) => tests.push([name.replace(/^.*?: /, ''), run]))
  const failed: string[] = []
  for (const [name, run] of tests) await run().catch(() => failed.push(name))
  return failed
}

function failuresOf(changes: (inner: TagBackend<true>) => Partial<TagBackend>): Promise<string[]> {
  return failures((test) =>
    backendContract({
      test,
      move,
      create: () => {
        const inner = memory({ time, schedule: new Slices().schedule })
        return new Overridden(inner, changes(inner))
      },
    }),
  )
}

function withBody(found: Lookup, read: (body: Buffer) => Uint8Array): Lookup {
  const { entry } = found
  if (!entry) return found
  return {
    ...found,
    entry: { ...entry, response: { ...entry.response, body: read(Buffer.from(entry.response.body)) } },
  }
}

describe('the contract of a TagBackend notices', () => {
  type Change = (inner: TagBackend<true>) => Partial<TagBackend>
  const broken: Record<string, [clause: string, change: Change]> = {
    'no stamps are checked': [
      'an invalidation outdates the entries that carry its tag, and no others',
      (inner) => ({ lookup: (key) => ({ ...inner.lookup(key), invalidatedAt: 0 }) }),
    ],
    'an invalidation that marks only tags already known': [
      'what was computed from before an invalidation is outdated though it is stored after it',
      (inner) => {
        const known = new Set<string>()
        return {
          store(entry, ttl) {
            for (const tag of entry.tags) known.add(tag)
            return inner.store(entry, ttl)
          },
          invalidate: (tags) => inner.invalidate(tags.filter((tag) => known.has(tag))),
        }
      },
    ],
    'a purge of everything for one tag': [
      'an invalidation outdates the entries that carry its tag, and no others',
      (inner) => ({ invalidate: () => inner.clear() }),
    ],
    'only the first tag of a call': [
      'one call takes many tags',
      (inner) => ({ invalidate: (tags) => inner.invalidate(tags.slice(0, 1)) }),
    ],
    'a clock that stands still': [
      'the clock never goes back, and every invalidation moves it on',
      () => ({ clock: () => 1 }),
    ],
    'a clear() that only drops entries': [
      'clear() outdates everything that is being computed, with tags',
      (inner) => {
        const keys = new Set<string>()
        return {
          store: (entry, ttl) => keys.add(entry.key) && inner.store(entry, ttl),
          clear: () => void [...keys].map((key) => inner.delete(key)),
        }
      },
    ],
    'bodies read as text': [
      'bodies come back byte for byte',
      (inner) => ({ lookup: (key) => withBody(inner.lookup(key), (body) => Buffer.from(body.toString())) }),
    ],
    'one buffer for all that is read': [
      'what a look-up gave is not changed by what happens later',
      (inner) => {
        const shared = Buffer.alloc(inner.maxBodySize)
        const read = (body: Buffer) => shared.subarray(0, body.copy(shared))
        return { lookup: (key) => withBody(inner.lookup(key), read) }
      },
    ],
    'a list in the wrong order': [
      'list() gives the entries that carry a tag, newest first, no more than asked for',
      (inner) => ({ list: (tag, limit) => [...inner.list(tag, 1000)].reverse().slice(0, limit) }),
    ],
    'seconds taken for milliseconds': [
      'an entry is gone when its time to live is over, and not before',
      (inner) => ({ store: (entry, ttl) => inner.store(entry, ttl / 1000) }),
    ],
    'keys cut short': [
      'keys and tags may be any text',
      (inner) => ({
        lookup: (key) => inner.lookup(key.slice(0, 200)),
        store: (entry, ttl) => inner.store({ ...entry, key: entry.key.slice(0, 200) }, ttl),
      }),
    ],
    'promises of a synchronous backend': [
      'a backend that says it is synchronous answers at once',
      (inner) => ({ sync: true, clock: async () => inner.clock() }),
    ],
    'an entry and a clock of two moments': [
      'an entry, its invalidation and the clock are of one moment',
      (inner) => ({
        sync: false,
        async lookup(key) {
          const found = inner.lookup(key)
          await Promise.resolve()
          return { ...found, clock: inner.clock() }
        },
      }),
    ],
  }

  for (const [name, [clause, change]] of Object.entries(broken)) {
    it(name, async () => {
      expect(await failuresOf(() => ({}))).not.toContain(clause)
      expect(await failuresOf(change)).toContain(clause)
    })
  }

  it('bookkeeping that only grows', async () => {
    const leaky = (isBounded: boolean) =>
      failures((test) =>
        backendContract({
          test,
          create: () => {
            const inner = memory()
            const records = new Set<string>()
            const backend = new Overridden(inner, {
              invalidate: (tags) => {
                for (const tag of tags) records.add(tag)
                if (isBounded && records.size > 1000) records.clear()
                return inner.invalidate(tags)
              },
            })
            return Object.assign(backend, { records })
          },
          countRecords: (backend) => (backend as TagBackend & { records: Set<string> }).records.size,
        }),
      )
    const clause = 'invalidations of ever new tags do not pile up'
    expect(await leaky(false)).toContain(clause)
    expect(await leaky(true)).not.toContain(clause)
  })
})

describe('the contract of a CacheBackend notices', () => {
  const broken: Record<string, (map: Map<string, Uint8Array>) => Partial<CacheBackend>> = {
    'text instead of bytes': (map) => ({ get: (key) => map.get(key)?.toString() as never }),
    'keys in lower case': (map) => ({
      get: (key) => map.get(key.toLowerCase()),
      set: (key, value) => map.set(key.toLowerCase(), value),
    }),
    'a delete that does nothing': () => ({ delete: () => undefined }),
    'values that are never replaced': (map) => ({ set: (key, value) => map.has(key) || map.set(key, value) }),
  }

  for (const [name, changes] of Object.entries(broken)) {
    it(name, async () => {
      const failed = await failures((test) =>
        cacheBackendContract({
          test,
          create: () => {
            const map = new Map<string, Uint8Array>()
            const sound: CacheBackend = {
              get: (key) => map.get(key),
              set: (key, value) => map.set(key, value),
              delete: (key) => map.delete(key),
            }
            return { ...sound, ...changes(map) }
          },
        }),
      )
      expect(failed).not.toEqual([])
    })
  }

  it('a time to live that is not kept', async () => {
    expect(
      await failures((test) => cacheBackendContract({ test, move, create: () => new Map<string, Uint8Array>() })),
    ).toEqual(['bytes are gone when their seconds to live are over, and not before'])
  })
})

it('runs in any test runner: node:test', { timeout: 30_000 }, async () => {
  const script = new URL('./contract.node.ts', import.meta.url).pathname
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--import', 'tsx', '--test-reporter', 'tap', script],
    { env },
  ).catch((error) => error)
  expect(Number(/^# pass (\d+)/m.exec(stdout)?.[1])).toBeGreaterThan(20)
  expect(stdout).toMatch(/^\s*# Subtest: .*one tag reaches all entries that carry it/m)
  expect(stdout.match(/^\s*not ok .*/gm) ?? []).toEqual([])
})
