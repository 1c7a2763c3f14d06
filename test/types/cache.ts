// Checked by the compiler; nothing here runs.
import { expectTypeOf, test } from 'vitest'
import {
  type Answer,
  type Cache,
  type CachedResponse,
  type CacheEvent,
  type CacheOptions,
  createCache,
  keyValue,
  memory,
  type TagBackend,
} from '../../src/index.ts'
import { backendContract, cacheBackendContract } from '../../src/testing/index.ts'
import { AsyncMap } from '../support/backends.ts'

type Shop = 'products' | `product:${number}`

test('answers are values over a synchronous backend', () => {
  const overMap = createCache({ backend: keyValue(new Map<string, Uint8Array>()) })
  for (const cache of [createCache(), createCache({ backend: memory() }), overMap]) {
    expectTypeOf(cache).toEqualTypeOf<Cache<string, true>>()
    expectTypeOf(cache.getByRequest('GET /')).toEqualTypeOf<CachedResponse | undefined>()
    expectTypeOf(cache.getByTags('a')).toEqualTypeOf<CachedResponse | undefined>()
    expectTypeOf(cache.set('GET /', {}, [], {})).toEqualTypeOf<boolean>()
    expectTypeOf(cache.delete('GET /')).toEqualTypeOf<boolean>()
    expectTypeOf(cache.stamp()).toEqualTypeOf<number>()
    expectTypeOf(cache.invalidateTags('a')).toEqualTypeOf<boolean>()
    expectTypeOf(cache.clear()).toEqualTypeOf<boolean>()
    expectTypeOf(cache.close()).toEqualTypeOf<void>()
  }
})

test('answers are promises over an asynchronous one', () => {
  const cache = createCache({ backend: keyValue(new AsyncMap()) })
  expectTypeOf(cache).toEqualTypeOf<Cache<string, false>>()
  expectTypeOf(cache.getByRequest('GET /')).toEqualTypeOf<Promise<CachedResponse | undefined>>()
  expectTypeOf(cache.getByTags('a')).toEqualTypeOf<Promise<CachedResponse | undefined>>()
  expectTypeOf(cache.set('GET /', {}, [], {})).toEqualTypeOf<Promise<boolean>>()
  expectTypeOf(cache.delete('GET /')).toEqualTypeOf<Promise<boolean>>()
  expectTypeOf(cache.stamp()).toEqualTypeOf<Promise<number>>()
  expectTypeOf(cache.invalidateTags('a')).toEqualTypeOf<Promise<boolean>>()
  expectTypeOf(cache.close()).toEqualTypeOf<Promise<void>>()
})

test('answers are one or the other where the backend is not known', () => {
  const backend = memory() as TagBackend
  const cache = createCache({ backend })
  expectTypeOf(cache.stamp()).toEqualTypeOf<Answer<boolean, number>>()
  expectTypeOf(cache.stamp()).toEqualTypeOf<number | Promise<number>>()
})

test('a backend of three methods is as synchronous as they are', () => {
  expectTypeOf(keyValue(new Map<string, Uint8Array>())).toEqualTypeOf<TagBackend<true>>()
  expectTypeOf(keyValue(new AsyncMap())).toEqualTypeOf<TagBackend<false>>()
  const mixed = {
    get: (_: string) => undefined,
    set: async (_: string, __: Uint8Array) => {},
    delete: (_: string) => {},
  }
  // Whether it is asynchronous is seen from get() when it runs, so where only set() is, or nothing is known, it may be either.
  expectTypeOf(keyValue(mixed).sync).toEqualTypeOf<boolean>()
  expectTypeOf(keyValue(new Map()).sync).toEqualTypeOf<boolean>()
  // @ts-expect-error there is no delete()
  keyValue({ get: () => undefined, set() {} })
  // @ts-expect-error values are bytes
  keyValue(new Map<string, string>())
  // @ts-expect-error a backend of three methods is none of a cache
  createCache({ backend: new Map<string, Uint8Array>() })
})

test('a misspelt tag does not compile', () => {
  const cache = createCache<Shop>()
  cache.set('GET /', {}, ['products', 'product:42', { type: 'product', id: 42 }, { type: 'products' }], {})
  cache.invalidateTags('product:42')
  cache.invalidateTags({ type: 'product', id: 42 })
  cache.getByTags(['products'])
  cache.keyFromTag('products')
  cache.keyFromTag({ type: 'product', id: 1 })
  // @ts-expect-error misspelt
  cache.set('GET /', {}, ['prodcuts'], {})
  // @ts-expect-error misspelt in a list that is right otherwise
  cache.invalidateTags(['products', 'product:x'])
  // @ts-expect-error misspelt
  cache.invalidateTags('product')
  // @ts-expect-error misspelt type
  cache.invalidateTags({ type: 'prodcut', id: 42 })
  // @ts-expect-error misspelt type
  cache.getByTags([{ type: 'prodcuts' }])
  // @ts-expect-error misspelt
  cache.keyFromTag('prodcuts')
  // @ts-expect-error one tag, not a list
  cache.keyFromTag(['products'])
})

test('any tag compiles where none were named', () => {
  const cache = createCache()
  cache.invalidateTags(['anything', { type: 'any', id: 'x' }])
  const readonlyTags: readonly string[] = ['a']
  cache.invalidateTags(readonlyTags)
  // @ts-expect-error a number is no tag
  cache.invalidateTags(42)
  // @ts-expect-error an id is text or a number
  cache.invalidateTags({ type: 'a', id: true })
})

test('an unknown option does not compile', () => {
  createCache({ ttl: '5m', namespace: 'a', coalesce: { maxWait: 5 }, query: { ignore: ['utm_*'] } })
  // @ts-expect-error misspelt
  createCache({ tll: 5 })
  // @ts-expect-error a route's option
  createCache({ tags: ['a'] })
  // @ts-expect-error a route's option
  createCache({ name: 'a' })
  // @ts-expect-error neither
  createCache({ scope: 'private' })
  // @ts-expect-error misspelt
  memory({ maxsize: 5 })
  // @ts-expect-error misspelt
  keyValue(new Map<string, Uint8Array>(), { maxEntrys: 5 })
  expectTypeOf<CacheOptions['ttl']>().toEqualTypeOf<string | number | undefined>()
})

test('listeners are told the event that they ask for', () => {
  const cache = createCache()
  cache.on((event) => expectTypeOf(event).toEqualTypeOf<CacheEvent>())
  cache.on('invalidation', (event) => expectTypeOf(event.tags).toEqualTypeOf<readonly string[]>())
  cache.on('trace', ({ outcome }) =>
    expectTypeOf(outcome).toEqualTypeOf<'hit' | 'stale' | 'collapsed' | 'miss' | 'bypass'>(),
  )
  // @ts-expect-error there is no such event
  cache.on('purge', () => {})
  expectTypeOf(cache.on('clear', () => {})).toEqualTypeOf<() => void>()
})

test('the contracts take the test function of any runner', async () => {
  const nodeTest = await import('node:test')
  const create = () => memory()
  backendContract({ test, create })
  backendContract({ test: nodeTest.test, describe: nodeTest.describe, create: async () => keyValue(new AsyncMap()) })
  backendContract({ test: (name: string, run: (done?: unknown) => void) => void [name, run], create })
  cacheBackendContract({ test: nodeTest.it, create: () => new AsyncMap() })
  // @ts-expect-error a factory is needed
  backendContract({ test })
})
