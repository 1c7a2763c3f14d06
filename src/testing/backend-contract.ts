import assert from 'node:assert/strict'
import type { Lookup, Page, Query, TagBackend } from '../backends/backend.ts'
import type { Entry, Removal } from '../core/entry.ts'
import { isPromise, type MaybePromise } from '../core/maybe.ts'
import { isOutdated } from '../core/tags.ts'
import { allBytes, HOSTILE_NAMES, MINUTE, makeEntry } from './fixtures.ts'
import { type Clause, type DeclareTest, declareClauses, type GroupTests } from './runner.ts'

/** What the contract of a `TagBackend` is checked with. */
export interface BackendContractOptions {
  /** Declares a test: the runner's `test` or `it`. */
  test: DeclareTest
  /** Groups the tests: the runner's `describe`. Default: none, and the names of the tests begin with `name`. */
  describe?: GroupTests
  /** What the tests are about, in their report. Default `'tag backend'`. */
  name?: string
  /** Makes a backend for one test: empty, apart from every other, with room for 200 small entries and one of its `maxBodySize`. */
  create: () => MaybePromise<TagBackend>
  /** Moves the time of the backends on, in milliseconds. Default: none, and expiry is not checked. */
  move?: (milliseconds: number) => MaybePromise<void>
  /** How many records the backend holds beside entries, such as remembered tags. Default: none, and it is not checked that they are bounded. */
  countRecords?: (backend: TagBackend) => MaybePromise<number>
}

/**
 * Declares the tests that every `TagBackend` has to pass, in any test runner:
 * `backendContract({ test, describe, create: () => myBackend() })`. Each test makes a backend, and closes it.
 */
export function backendContract(options: BackendContractOptions): void {
  const { create, move, countRecords, name = 'tag backend' } = options
  const clauses = [
    ...CLAUSES,
    ...(move ? expiryClauses(move) : []),
    ...(countRecords ? boundClauses(countRecords) : []),
  ]
  declareClauses(options, name, clauses, async (check) => {
    const backend = await create()
    try {
      await check(backend)
    } finally {
      await backend.close()
    }
  })
}

const KEEPING: readonly Clause<TagBackend>[] = [
  [
    'a key under which nothing was stored has no entry',
    async (backend) => {
      const found = await backend.lookup('nothing')
      assert.equal(found.entry, undefined)
      assert.equal(found.invalidatedAt, 0)
      assert.equal(found.clock, await backend.clock('nothing'))
    },
  ],
  [
    'an entry comes back with every field as it was stored',
    async (backend) => {
      const entry = makeEntry('whole', {
        tags: ['tag/a', 'tag/b'],
        stamp: await backend.clock('whole'),
        time: 1_767_225_600_123,
        initialAge: 2_500,
        lifetime: 90_000.5,
        cost: 12.25,
        response: {
          status: 203,
          statusMessage: 'Not Quite',
          headers: [
            { name: 'Content-Type', value: 'text/plain; charset=utf-8' },
            { name: 'Link', value: ['</a>; rel=next', '</b>; rel=prev'] },
            { name: 'Vary', value: 'Accept', append: true },
            { name: 'Cache-Control', value: 'no-cache', isDefault: true },
            { name: 'X-Empty', value: '' },
            { name: 'X-Latin', value: 'caf\u00e9' },
          ],
          removed: ['x-powered-by'],
          trailers: [{ name: 'Server-Timing', value: 'total;dur=3' }],
        },
      })
      await keep(backend, entry)
      const { entry: found } = await backend.lookup('whole')
      assert.deepEqual(plain(found), plain(entry))
    },
  ],
  [
    'bodies come back byte for byte',
    async (backend) => {
      const stamp = await stampsOf(backend)
      for (const body of [allBytes(), new Uint8Array(), Buffer.from('\u0000'), Buffer.alloc(100_000, 7)]) {
        await keep(backend, makeEntry('bytes', { stamp: stamp('bytes'), response: { body } }))
        assertBody(await backend.lookup('bytes'), body)
      }
    },
  ],
  [
    'encodings of a body come back with it, and so does that there are none yet',
    async (backend) => {
      const stamp = await stampsOf(backend)
      const encodings = [
        { coding: 'br', body: Buffer.from('small') },
        { coding: 'gzip', body: allBytes() },
      ] as const
      for (const given of [[], encodings]) {
        await keep(backend, makeEntry('encoded', { stamp: stamp('encoded'), response: { encodings: given } }))
        const found = await backend.lookup('encoded')
        assertBody(found, Buffer.from('body of encoded'))
        const seen = found.entry?.response.encodings?.map(({ coding, body }) => [coding, Buffer.from(body)])
        assert.deepEqual(
          seen,
          given.map(({ coding, body }) => [coding, Buffer.from(body)]),
        )
      }
    },
  ],
  [
    'a body of maxBodySize is kept',
    async (backend) => {
      assert.ok(backend.maxBodySize > 0, 'maxBodySize is a positive number of bytes')
      const body = Buffer.alloc(Math.min(backend.maxBodySize, 16 * 1024 * 1024), 5)
      await keep(backend, makeEntry('large', { stamp: await backend.clock('large'), response: { body } }))
      assertBody(await backend.lookup('large'), body)
    },
  ],
  [
    'keys and tags may be any text',
    async (backend) => {
      const stamp = await stampsOf(backend)
      for (const name of HOSTILE_NAMES) await keep(backend, makeEntry(name, { tags: [name], stamp: stamp(name) }))
      for (const name of HOSTILE_NAMES) {
        assert.equal((await valid(backend, name))?.key, name)
        assert.deepEqual(keysOf(await backend.list(name, 10)), [name])
      }
      await backend.invalidate(['__proto__', 'with space'])
      for (const name of HOSTILE_NAMES) {
        const isPurged = name === '__proto__' || name === 'with space'
        assert.equal((await valid(backend, name))?.key, isPurged ? undefined : name)
      }
    },
  ],
  [
    'storing again under a key takes the place of the entry, and of its tags',
    async (backend) => {
      const stamp = await stampsOf(backend)
      await keep(backend, makeEntry('page', { tags: ['old'], stamp: stamp('page') }))
      await keep(
        backend,
        makeEntry('page', { tags: ['new'], stamp: stamp('page'), response: { body: Buffer.from('second') } }),
      )
      assertBody(await backend.lookup('page'), Buffer.from('second'))
      assert.deepEqual(keysOf(await backend.list('new', 10)), ['page'])
      assert.deepEqual(keysOf(await backend.list('old', 10)), [])
      await backend.invalidate(['old'])
      assert.ok(await valid(backend, 'page'), 'a tag that only the earlier entry carried does not reach the later one')
    },
  ],
  [
    'what a look-up gave is not changed by what happens later',
    async (backend) => {
      const stamp = await stampsOf(backend)
      await keep(backend, makeEntry('page', { stamp: stamp('page'), response: { body: Buffer.from('first') } }))
      const before = await backend.lookup('page')
      await keep(backend, makeEntry('page', { stamp: stamp('page'), response: { body: Buffer.from('other') } }))
      await backend.lookup('page')
      await backend.delete('page')
      assertBody(before, Buffer.from('first'))
    },
  ],
  [
    'delete() forgets one entry, and says whether there was one',
    async (backend) => {
      const stamp = await stampsOf(backend)
      await keep(backend, makeEntry('one', { tags: ['t'], stamp: stamp('one') }))
      await keep(backend, makeEntry('two', { tags: ['t'], stamp: stamp('two') }))
      assert.equal(await backend.delete('one'), true)
      assert.equal(await backend.delete('one'), false)
      assert.equal((await backend.lookup('one')).entry, undefined)
      assert.deepEqual(keysOf(await backend.list('t', 10)), ['two'])
      await keep(backend, makeEntry('one', { tags: ['t'], stamp: stamp('one') }))
      assert.ok(await valid(backend, 'one'), 'deleting is no invalidation')
    },
  ],
]

const INVALIDATING: readonly Clause<TagBackend>[] = [
  [
    'the clock never goes back, and every invalidation moves it on',
    async (backend) => {
      let last = await backend.clock('k')
      const steps = [
        () => keep(backend, makeEntry('k', { tags: ['t'], stamp: last })),
        () => backend.lookup('k'),
        () => backend.delete('k'),
        () => backend.list('t', 1),
      ]
      for (const step of steps) {
        await step()
        const now = await backend.clock('k')
        assert.ok(now >= last, `the clock went from ${last} to ${now}`)
        last = now
      }
      for (const step of [() => backend.invalidate(['t']), () => backend.invalidate(['t']), () => backend.clear()]) {
        await step()
        const now = await backend.clock('k')
        assert.ok(now > last, `the clock stayed at ${last} over an invalidation`)
        last = now
      }
    },
  ],
  [
    'an invalidation outdates the entries that carry its tag, and no others',
    async (backend) => {
      const stamp = await stampsOf(backend)
      await keep(backend, makeEntry('a', { tags: ['t', 'x'], stamp: stamp('a') }))
      await keep(backend, makeEntry('b', { tags: ['x'], stamp: stamp('b') }))
      await keep(backend, makeEntry('c', { stamp: stamp('c') }))
      await keep(backend, makeEntry('d', { tags: ['t2', 'T', 't '], stamp: stamp('d') }))
      await backend.invalidate(['t'])
      await assertInvalid(backend, 'a')
      for (const key of ['b', 'c', 'd']) assert.ok(await valid(backend, key), `${key} does not carry the tag`)
    },
  ],
  [
    'one tag reaches all entries that carry it',
    async (backend) => {
      const stamp = await stampsOf(backend)
      const keys = Array.from({ length: 100 }, (_, at) => `entry ${at}`)
      for (const key of keys) await keep(backend, makeEntry(key, { tags: ['all', key], stamp: stamp(key) }))
      await backend.invalidate(['all'])
      for (const key of keys) await assertInvalid(backend, key)
    },
  ],
  [
    'one call takes many tags',
    async (backend) => {
      const stamp = await stampsOf(backend)
      const tags = Array.from({ length: 100 }, (_, at) => `tag ${at}`)
      for (const tag of tags) await keep(backend, makeEntry(`of ${tag}`, { tags: [tag], stamp: stamp(`of ${tag}`) }))
      await keep(backend, makeEntry('apart', { tags: ['apart'], stamp: stamp('apart') }))
      await backend.invalidate(tags)
      for (const tag of tags) await assertInvalid(backend, `of ${tag}`)
      assert.ok(await valid(backend, 'apart'))
    },
  ],
  [
    'what was computed from before an invalidation is outdated though it is stored after it',
    async (backend) => {
      await keep(backend, makeEntry('known', { tags: ['known'], stamp: await backend.clock('known') }))
      const stamp = await stampsOf(backend)
      await backend.invalidate(['known', 'never seen'])
      await backend.store(makeEntry('late', { tags: ['known'], stamp: stamp('late') }), MINUTE)
      await backend.store(makeEntry('unseen', { tags: ['never seen'], stamp: stamp('unseen') }), MINUTE)
      await backend.store(makeEntry('both', { tags: ['other', 'never seen'], stamp: stamp('both') }), MINUTE)
      for (const key of ['late', 'unseen', 'both']) await assertInvalid(backend, key)
    },
  ],
  [
    'what is computed after an invalidation is valid, until the next one',
    async (backend) => {
      await backend.invalidate(['t'])
      await keep(backend, makeEntry('page', { tags: ['t'], stamp: (await backend.lookup('page')).clock }))
      assert.ok(await valid(backend, 'page'))
      await backend.invalidate(['t'])
      await assertInvalid(backend, 'page')
      await keep(backend, makeEntry('page', { tags: ['t'], stamp: await backend.clock('page') }))
      assert.ok(await valid(backend, 'page'))
    },
  ],
  [
    'an entry that was stored too late does not bring an earlier invalidation back',
    async (backend) => {
      const old = await backend.clock('other')
      await backend.invalidate(['t'])
      await keep(backend, makeEntry('page', { tags: ['t'], stamp: await backend.clock('page') }))
      await backend.store(makeEntry('other', { tags: ['t'], stamp: old }), MINUTE)
      assert.ok(await valid(backend, 'page'))
      await assertInvalid(backend, 'other')
    },
  ],
  [
    'invalidatedAt() is the latest invalidation among the tags, and never in the future',
    async (backend) => {
      const start = await backend.clock('k')
      assert.equal(isOutdated(start, await backend.invalidatedAt(['never', 'seen'], 'k')), false)
      assert.equal(isOutdated(start, await backend.invalidatedAt([], 'k')), false)
      await backend.invalidate(['a'])
      const between = await backend.clock('k')
      await backend.invalidate(['b'])
      assert.equal(isOutdated(start, await backend.invalidatedAt(['a'], 'k')), true)
      assert.equal(isOutdated(between, await backend.invalidatedAt(['a'], 'k')), false)
      assert.equal(isOutdated(between, await backend.invalidatedAt(['a', 'b', 'c'], 'k')), true)
      assert.equal(isOutdated(await backend.clock('k'), await backend.invalidatedAt(['a', 'b', 'c'], 'k')), false)
    },
  ],
  [
    'clear() outdates everything that is stored',
    async (backend) => {
      const stamp = await stampsOf(backend)
      await keep(backend, makeEntry('tagged', { tags: ['t'], stamp: stamp('tagged') }))
      await keep(backend, makeEntry('untagged', { stamp: stamp('untagged') }))
      await backend.clear()
      for (const key of ['tagged', 'untagged']) await assertInvalid(backend, key)
      await keep(backend, makeEntry('tagged', { tags: ['t'], stamp: await backend.clock('tagged') }))
      assert.ok(await valid(backend, 'tagged'), 'what is computed after it is valid')
    },
  ],
  [
    'clear() outdates everything that is being computed, with tags',
    async (backend) => {
      await keep(backend, makeEntry('first', { tags: ['seen'], stamp: await backend.clock('first') }))
      const stamp = await stampsOf(backend)
      await backend.clear()
      await backend.store(makeEntry('seen', { tags: ['seen'], stamp: stamp('seen') }), MINUTE)
      await backend.store(makeEntry('unseen', { tags: ['never seen'], stamp: stamp('unseen') }), MINUTE)
      for (const key of ['seen', 'unseen']) await assertInvalid(backend, key)
    },
  ],
  [
    'clear() outdates everything that is being computed, without tags',
    async (backend) => {
      const stamp = await stampsOf(backend)
      await backend.clear()
      await backend.store(makeEntry('untagged', { stamp: stamp('untagged') }), MINUTE)
      await assertInvalid(backend, 'untagged')
    },
  ],
  [
    'an entry, its invalidation and the clock are of one moment',
    async (backend) => {
      for (let round = 0; round < 20; round++) {
        const stamp = await stampsOf(backend)
        await keep(backend, makeEntry('page', { tags: ['t'], stamp: stamp('page') }))
        const look = () => backend.lookup('page')
        const purge = () => backend.invalidate(['t'])
        const [a, b] = round % 2 === 0 ? [look, purge] : [purge, look]
        const answers = await Promise.all([a(), b()])
        const found = answers.find((answer) => answer !== undefined) as Lookup
        const isValid = found.entry !== undefined && !isOutdated(found.entry.stamp, found.invalidatedAt)
        assert.equal(
          isValid && found.clock > stamp('page'),
          false,
          'the clock knows of an invalidation, the entry does not',
        )
        await assertInvalid(backend, 'page')
      }
    },
  ],
]

const TELLING: readonly Clause<TagBackend>[] = [
  [
    'its board, if it has one, has the last notice of each, until it runs out',
    async ({ board }) => {
      if (!board) return
      assert.deepEqual(await board.read(), [])
      for (const text of ['first', 'last \u00e4\n{}']) await board.publish('a|1', text, MINUTE)
      await board.publish('b|2', '', MINUTE)
      const notices = async () => [...(await board.read())].sort((one, other) => (one.id < other.id ? -1 : 1))
      assert.deepEqual(await notices(), [
        { id: 'a|1', text: 'last \u00e4\n{}' },
        { id: 'b|2', text: '' },
      ])
      await board.publish('b|2', 'short', 1)
      const begun = performance.now()
      while ((await notices()).length > 1) {
        assert.ok(performance.now() - begun < MINUTE, 'a notice of a millisecond has run out')
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
      assert.equal((await notices())[0]?.id, 'a|1')
    },
  ],
  [
    'list() gives the entries that carry a tag, newest first, no more than asked for',
    async (backend) => {
      const stamp = await stampsOf(backend)
      for (const key of ['one', 'two', 'three'])
        await keep(backend, makeEntry(key, { tags: ['t', key], stamp: stamp(key) }))
      await keep(backend, makeEntry('apart', { tags: ['apart'], stamp: stamp('apart') }))
      assert.deepEqual(keysOf(await backend.list('t', 10)), ['three', 'two', 'one'])
      assert.deepEqual(keysOf(await backend.list('t', 2)), ['three', 'two'])
      assert.deepEqual(keysOf(await backend.list('never seen', 10)), [])
      await keep(backend, makeEntry('one', { tags: ['t'], stamp: stamp('one') }))
      assert.deepEqual(keysOf(await backend.list('t', 10)), ['one', 'three', 'two'])
    },
  ],
  [
    'list() delivers what shows an entry to be outdated',
    async (backend) => {
      const stamp = await stampsOf(backend)
      await keep(backend, makeEntry('a', { tags: ['t', 'a'], stamp: stamp('a') }))
      await keep(backend, makeEntry('b', { tags: ['t', 'b'], stamp: stamp('b') }))
      await backend.invalidate(['a'])
      const found = await backend.list('t', 10)
      const current = found.filter(({ entry, invalidatedAt }) => entry && !isOutdated(entry.stamp, invalidatedAt))
      assert.deepEqual(keysOf(current), ['b'])
    },
  ],
  [
    'tags() gives each tag that entries carry, page by page, where there is a tags()',
    async (backend) => {
      if (!backend.tags) return
      const stamp = await stampsOf(backend)
      const names = ['tag/', 'other/'].flatMap((kind) => HOSTILE_NAMES.map((name) => kind + name))
      for (const tag of names) {
        for (const at of [1, 2])
          await keep(backend, makeEntry(`${at} ${tag}`, { tags: [tag], stamp: stamp(`${at} ${tag}`) }))
      }
      for (const limit of [1, 5, 100]) {
        const found = await pagesOf((query) => backend.tags!(query), limit)
        assert.deepEqual(found.map(({ tag }) => tag).sort(), [...names].sort())
        assert.ok(
          found.every(({ entries }) => entries === 2),
          'two entries carry each tag',
        )
      }
      const some = await pagesOf((query) => backend.tags!({ ...query, prefix: 'tag/*' }), 5)
      assert.deepEqual(
        some.map(({ tag }) => tag),
        ['tag/*'],
      )
    },
  ],
  [
    'entries() gives each entry by what its key begins with, page by page, where there is an entries()',
    async (backend) => {
      if (!backend.entries) return
      const stamp = await stampsOf(backend)
      const keys = ['GET /a?', 'GET /b?'].flatMap((route) => HOSTILE_NAMES.map((name) => route + name))
      for (const key of keys) await keep(backend, makeEntry(key, { stamp: stamp(key) }))
      for (const limit of [1, 5, 100]) {
        assert.deepEqual(keysOf(await pagesOf((query) => backend.entries!(query), limit)).sort(), [...keys].sort())
      }
      const some = await pagesOf((query) => backend.entries!({ ...query, prefix: 'GET /b?[' }), 5)
      assert.deepEqual(keysOf(some), [])
      const few = await pagesOf((query) => backend.entries!({ ...query, prefix: 'GET /b?*' }), 5)
      assert.deepEqual(keysOf(few), ['GET /b?*'])
    },
  ],
  [
    'what was purged, deleted or cleared is not listed as valid',
    async (backend) => {
      if (!backend.entries) return
      const stamp = await stampsOf(backend)
      for (const key of ['purged', 'deleted', 'kept']) {
        await keep(backend, makeEntry(key, { tags: [key], stamp: stamp(key) }))
      }
      await backend.invalidate(['purged'])
      await backend.delete('deleted')
      assert.deepEqual(keysOf(validOf(await pagesOf((query) => backend.entries!(query), 2))), ['kept'])
      await backend.clear()
      assert.deepEqual(keysOf(validOf(await pagesOf((query) => backend.entries!(query), 2))), [])
    },
  ],
  [
    'size() counts entries and bytes, where there is a size()',
    async (backend) => {
      if (!backend.size) return
      const empty = backend.size()
      await keep(backend, makeEntry('k', { stamp: await backend.clock('k'), response: { body: Buffer.alloc(1000) } }))
      const one = backend.size()
      assert.equal(one.entries, empty.entries + 1)
      assert.ok(one.bytes >= empty.bytes + 1000, `${one.bytes} bytes with a body of 1000`)
      await backend.delete('k')
      assert.deepEqual(backend.size(), empty)
    },
  ],
  [
    'every removal is told once, with its reason, where removals are told',
    async (backend) => {
      if (!backend.onRemoval) return
      const told: Removal[] = []
      backend.onRemoval((removal) => told.push(removal))
      const stamp = await stampsOf(backend)
      await keep(backend, makeEntry('k', { stamp: stamp('k') }))
      assert.deepEqual(told, [])
      await keep(backend, makeEntry('k', { stamp: stamp('k') }))
      assert.deepEqual(told.splice(0), [{ reason: 'replaced', entries: 1, key: 'k' }])
      await backend.delete('k')
      assert.deepEqual(told.splice(0), [{ reason: 'deleted', entries: 1, key: 'k' }])
      for (const key of ['a', 'b']) await keep(backend, makeEntry(key, { stamp: stamp(key) }))
      await backend.clear()
      assert.ok(told.every(({ reason }) => reason === 'deleted'))
      assert.equal(
        told.reduce((sum, { entries }) => sum + entries, 0),
        2,
      )
    },
  ],
  [
    'a backend that says it is synchronous answers at once',
    async (backend) => {
      if (!backend.sync) return
      const stamp = await stampsOf(backend)
      const answers = [
        backend.clock('k'),
        backend.store(makeEntry('k', { tags: ['t'], stamp: stamp('k') }), MINUTE),
        backend.lookup('k'),
        backend.list('t', 1),
        backend.invalidatedAt(['t'], 'k'),
        backend.invalidate(['t']),
        backend.delete('k'),
        backend.clear(),
      ]
      assert.equal(answers.some(isPromise), false)
    },
  ],
]

const CLAUSES = [...KEEPING, ...INVALIDATING, ...TELLING]

function expiryClauses(move: (milliseconds: number) => MaybePromise<void>): Clause<TagBackend>[] {
  return [
    [
      'an entry is gone when its time to live is over, and not before',
      async (backend) => {
        const stamp = await stampsOf(backend)
        await backend.store(makeEntry('short', { tags: ['t'], stamp: stamp('short') }), 2_000)
        await backend.store(makeEntry('long', { tags: ['t'], stamp: stamp('long') }), 60_000)
        await move(1_000)
        assert.equal((await valid(backend, 'short'))?.key, 'short')
        await move(3_000)
        assert.equal((await backend.lookup('short')).entry, undefined)
        assert.equal((await valid(backend, 'long'))?.key, 'long')
        assert.deepEqual(keysOf(await backend.list('t', 10)), ['long'])
      },
    ],
    [
      'storing again begins a new time to live',
      async (backend) => {
        const stamp = await stampsOf(backend)
        await backend.store(makeEntry('page', { stamp: stamp('page') }), 2_000)
        await move(1_000)
        await backend.store(makeEntry('page', { stamp: stamp('page') }), 60_000)
        await move(3_000)
        assert.equal((await valid(backend, 'page'))?.key, 'page')
      },
    ],
    [
      'an invalidation is not forgotten with time',
      async (backend) => {
        const stamp = await stampsOf(backend)
        await backend.invalidate(['t'])
        await move(24 * 60 * MINUTE)
        await backend.store(makeEntry('late', { tags: ['t'], stamp: stamp('late') }), MINUTE)
        await assertInvalid(backend, 'late')
      },
    ],
  ]
}

// Twice as many tags as any backend should remember for nothing.
const MANY_TAGS = 25_000

function boundClauses(countRecords: (backend: TagBackend) => MaybePromise<number>): Clause<TagBackend>[] {
  return [
    [
      'invalidations of ever new tags do not pile up',
      async (backend) => {
        const counts: number[] = []
        for (const round of [1, 2]) {
          const tags = Array.from({ length: MANY_TAGS }, (_, at) => `unused ${round}/${at}`)
          for (let at = 0; at < MANY_TAGS; at += 100) await backend.invalidate(tags.slice(at, at + 100))
          counts.push(await countRecords(backend))
        }
        const [first = 0, second = 0] = counts
        assert.ok(second <= first + MANY_TAGS / 2, `${first} records after ${MANY_TAGS} tags, ${second} after twice`)
      },
    ],
  ]
}

/** The clock now, for each key: a backend may have several. */
async function stampsOf(backend: TagBackend): Promise<(key: string) => number> {
  const clockOf = (key: string) => backend.clockOf?.(key) ?? 0
  const samples = new Map<number, string>()
  for (let at = 0; at < 1000; at++) samples.set(clockOf(`sample ${at}`), `sample ${at}`)
  const clocks = new Map<number, number>()
  for (const [clock, key] of samples) clocks.set(clock, await backend.clock(key))
  return (key) => clocks.get(clockOf(key)) ?? Number.NaN
}

async function keep(backend: TagBackend, entry: Entry): Promise<void> {
  assert.equal(await backend.store(entry, MINUTE), true, `${entry.key} is not kept`)
}

/** The entry under a key, if it is there and not outdated. */
async function valid(backend: TagBackend, key: string): Promise<Entry | undefined> {
  const { entry, invalidatedAt } = await backend.lookup(key)
  return entry && !isOutdated(entry.stamp, invalidatedAt) ? entry : undefined
}

async function assertInvalid(backend: TagBackend, key: string): Promise<void> {
  assert.equal((await valid(backend, key))?.key, undefined, `${key} is still valid`)
}

function keysOf(found: readonly Lookup[]): string[] {
  return found.flatMap(({ entry }) => (entry ? [entry.key] : []))
}

function validOf(found: readonly Lookup[]): Lookup[] {
  return found.filter(({ entry, invalidatedAt }) => entry && !isOutdated(entry.stamp, invalidatedAt))
}

// Many pages may be empty; that they end at all is part of it.
const MOST_PAGES = 10_000

async function pagesOf<V>(ask: (query: Query) => MaybePromise<Page<V>>, limit: number): Promise<V[]> {
  const all: V[] = []
  let after: string | undefined
  for (let pages = 0; pages < MOST_PAGES; pages++) {
    const { items, next } = await ask({ limit, ...(after === undefined ? {} : { after }) })
    assert.ok(items.length <= limit, `a page of ${items.length} where ${limit} were asked for`)
    all.push(...items)
    if (next === undefined) return all
    after = next
  }
  throw new assert.AssertionError({ message: 'the pages do not end' })
}

function assertBody({ entry }: Lookup, body: Uint8Array): void {
  assert.ok(entry, 'there is no entry')
  assert.ok(entry.response.body instanceof Uint8Array, 'the body is bytes')
  assert.ok(Buffer.from(body).equals(entry.response.body), 'the body is another one')
}

// A Buffer and a Uint8Array of the same bytes are the same body.
function plain(entry: Entry | undefined): unknown {
  return entry && { ...entry, response: { ...entry.response, body: Buffer.from(entry.response.body).toString('hex') } }
}
