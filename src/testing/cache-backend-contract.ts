import assert from 'node:assert/strict'
import type { CacheBackend } from '../backends/backend.ts'
import type { MaybePromise } from '../core/maybe.ts'
import { allBytes, HOSTILE_NAMES } from './fixtures.ts'
import { type Clause, type DeclareTest, declareClauses, type GroupTests } from './runner.ts'

/** What the contract of a three-method `CacheBackend` is checked with. */
export interface CacheBackendContractOptions {
  /** Declares a test: the runner's `test` or `it`. */
  test: DeclareTest
  /** Groups the tests: the runner's `describe`. Default: none, and the names of the tests begin with `name`. */
  describe?: GroupTests
  /** What the tests are about, in their report. Default `'cache backend'`. */
  name?: string
  /** Makes a backend for one test, empty and apart from every other. */
  create: () => MaybePromise<CacheBackend>
  /** Ends a backend after its test. Default: nothing. */
  destroy?: (backend: CacheBackend) => MaybePromise<void>
  /** Moves the time of the backends on, in milliseconds. Default: none, and expiry is not checked. */
  move?: (milliseconds: number) => MaybePromise<void>
}

/**
 * Declares the tests that every three-method backend has to pass, in any test runner. With `keyValue(backend)` it then
 * is a `TagBackend`, for `backendContract`.
 */
export function cacheBackendContract(options: CacheBackendContractOptions): void {
  const { create, destroy, move, name = 'cache backend' } = options
  declareClauses(options, name, move ? [...CLAUSES, ...expiryClauses(move)] : CLAUSES, async (check) => {
    const backend = await create()
    try {
      await check(backend)
    } finally {
      await destroy?.(backend)
    }
  })
}

const CLAUSES: readonly Clause<CacheBackend>[] = [
  [
    'a key that was never set gives undefined or null',
    async (backend) => {
      assert.equal((await backend.get('nothing')) ?? undefined, undefined)
    },
  ],
  [
    'bytes come back as they were set',
    async (backend) => {
      for (const bytes of [allBytes(), new Uint8Array(), Buffer.from('\u0000'), Buffer.alloc(1_000_000, 7)]) {
        await backend.set('bytes', bytes, 60)
        assertBytes(await backend.get('bytes'), bytes)
      }
    },
  ],
  [
    'bytes are kept without a time to live, too',
    async (backend) => {
      await backend.set('k', Buffer.from('v'))
      assertBytes(await backend.get('k'), Buffer.from('v'))
    },
  ],
  [
    'setting again takes the place of what was there',
    async (backend) => {
      await backend.set('k', Buffer.from('a longer first value'), 60)
      await backend.set('k', Buffer.from('second'), 60)
      assertBytes(await backend.get('k'), Buffer.from('second'))
    },
  ],
  [
    'keys may be any text, and are not confused',
    async (backend) => {
      for (const key of HOSTILE_NAMES) await backend.set(key, Buffer.from(`of ${key}`), 60)
      for (const key of HOSTILE_NAMES) assertBytes(await backend.get(key), Buffer.from(`of ${key}`))
      assert.equal((await backend.get('PLAIN')) ?? undefined, undefined)
    },
  ],
  [
    'delete() forgets a key, and nothing else',
    async (backend) => {
      await backend.set('a', Buffer.from('1'), 60)
      await backend.set('b', Buffer.from('2'), 60)
      await backend.delete('a')
      await backend.delete('never set')
      assert.equal((await backend.get('a')) ?? undefined, undefined)
      assertBytes(await backend.get('b'), Buffer.from('2'))
    },
  ],
  [
    'what was read is not changed by what is set later',
    async (backend) => {
      await backend.set('k', Buffer.from('first'), 60)
      const first = await backend.get('k')
      await backend.set('k', Buffer.from('other'), 60)
      await backend.get('k')
      await backend.delete('k')
      assertBytes(first, Buffer.from('first'))
    },
  ],
  [
    'a set that has answered is seen by the next get, a delete too, many at a time',
    async (backend) => {
      const keys = Array.from({ length: 50 }, (_, at) => `key ${at}`)
      await Promise.all(keys.map((key) => backend.set(key, Buffer.from(key), 60)))
      const found = await Promise.all(keys.map((key) => backend.get(key)))
      for (const [at, key] of keys.entries()) assertBytes(found[at], Buffer.from(key))
      await Promise.all(keys.map((key) => backend.delete(key)))
      assert.deepEqual(
        (await Promise.all(keys.map((key) => backend.get(key)))).filter((value) => value),
        [],
      )
    },
  ],
]

function expiryClauses(move: (milliseconds: number) => MaybePromise<void>): Clause<CacheBackend>[] {
  return [
    [
      'bytes are gone when their seconds to live are over, and not before',
      async (backend) => {
        await backend.set('short', Buffer.from('1'), 2)
        await backend.set('long', Buffer.from('2'), 60)
        await move(1_000)
        assertBytes(await backend.get('short'), Buffer.from('1'))
        await move(3_000)
        assert.equal((await backend.get('short')) ?? undefined, undefined)
        assertBytes(await backend.get('long'), Buffer.from('2'))
      },
    ],
  ]
}

function assertBytes(found: unknown, bytes: Uint8Array): void {
  assert.ok(found instanceof Uint8Array, `the value is ${found === null ? 'null' : typeof found}, not bytes`)
  assert.ok(Buffer.from(bytes).equals(found), 'the bytes are other ones')
}
