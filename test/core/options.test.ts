import { describe, expect, it } from 'vitest'
import { keyValue } from '../../src/backends/key-value.ts'
import { memory } from '../../src/backends/memory.ts'
import { durationOf, sizeOf } from '../../src/core/values.ts'
import { createCache } from '../../src/index.ts'
import { resolveCache } from '../../src/options/cache.ts'
import { type RouteOptions, resolveRoute, shareKey } from '../../src/options/route.ts'

const refused = (code: string, message = '') =>
  expect.objectContaining({ name: 'TagcacheError', code, message: expect.stringContaining(message) })

const base = resolveCache({}, 1000).route
const route = (options: unknown) => resolveRoute(options as RouteOptions<never>, base)

const circular: Record<string, unknown> = {}
circular.self = circular

describe('a duration', () => {
  it.each([
    [0, 0],
    [60, 60_000],
    [0.5, 500],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
    ['250ms', 250],
    ['7 days', 7 * 86_400_000],
    ['1.5 hours', 5_400_000],
    ['0s', 0],
  ])('%s', (value, milliseconds) => {
    expect(durationOf('ttl', value)).toBe(milliseconds)
  })

  it.each([
    -1,
    -0.001,
    Number.NaN,
    Number.NEGATIVE_INFINITY,
    '5',
    '',
    '5 minuts',
    '-5m',
    'm',
    '5m5s',
    '1e3s',
    ' 5s',
    null,
    {},
    [],
    true,
    5n,
    circular,
    Symbol('s'),
  ])('%o is refused', (value) => {
    expect(() => durationOf('ttl', value as never)).toThrow(refused('ERR_TAGCACHE_OPTION_VALUE', '"ttl"'))
  })

  it('is at most a hundred years', () => {
    const century = 100 * 365 * 86_400_000
    expect([durationOf('ttl', Number.POSITIVE_INFINITY), durationOf('ttl', 1e300)]).toEqual([century, century])
  })
})

describe('a size', () => {
  it.each([
    [1, 1],
    [1.9, 1],
    ['512kb', 512 * 1024],
    ['64MB', 64 * 1024 * 1024],
    ['1.5 mb', 1.5 * 1024 * 1024],
    ['1gb', 1024 ** 3],
    ['7b', 7],
  ])('%s', (value, size) => {
    expect(sizeOf('maxSize', value)).toBe(size)
  })

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY, '64', '64 mega', '-1mb', '0mb', '', null, {}, 5n])(
    '%o is refused',
    (value) => {
      expect(() => sizeOf('maxSize', value as never)).toThrow(refused('ERR_TAGCACHE_OPTION_VALUE', '"maxSize"'))
    },
  )
})

describe('an option that does not exist', () => {
  it.each([
    ['createCache()', () => createCache({ tll: 5 } as never), 'ttl'],
    ['createCache()', () => createCache({ tags: [] } as never), 'vary'],
    ['createCache()', () => createCache({ maxBodysize: 5 } as never), 'maxBodySize'],
    ['cached()', () => route({ tag: ['a'] }), 'tags'],
    ['cached()', () => route({ Scope: 'public' }), 'scope'],
    ['cached()', () => route({ backend: memory() }), 'key'],
    ['memory()', () => memory({ maxsize: 5 } as never), 'maxSize'],
    ['keyValue()', () => keyValue(new Map(), { maxEntrys: 5 } as never), 'maxEntries'],
  ])('%s refuses it and names the nearest', (where, make, nearest) => {
    const message = new RegExp(`${where.replace('()', '\\(\\)')} has no option .*Did you mean "\\w+"`)
    expect(make).toThrow(refused('ERR_TAGCACHE_OPTION_UNKNOWN'))
    expect(make).toThrow(message)
    if (nearest !== 'vary' && nearest !== 'key') expect(make).toThrow(`Did you mean "${nearest}"?`)
  })
})

describe('a bad value', () => {
  const bad: Record<string, unknown[]> = {
    ttl: [-1, Number.NaN, '5', '5 minuts', null],
    tags: ['', ['a', ''], 42, [null], { type: 'a:b' }],
    name: ['', 42, null],
    query: ['page', 42, null, [1], { ignore: 'a' }, {}, { only: ['a'] }],
    params: ['id', 42, null, [1]],
    vary: [42, '', 'a b', ['a:b'], [''], null],
    scope: ['private', true, 42, null],
    host: ['example.com', 1, null],
    methods: ['GET', [], ['GE T'], ['POST'], [1], null].filter((value) => !Array.isArray(value) || value.length > 0),
    statuses: [200, [99], [600], [100], ['200'], [200.5], null],
    maxBodySize: [0, -1, Number.NaN, '1', '1 mega', null],
    key: ['id', true, null],
    enabled: ['yes', 1, null],
    clientCacheControl: ['no', 1, null],
    coalesce: ['10s', 5, { maxWait: -1 }, { maxWait: '10' }, { within: 'world' }, null],
  }
  const code = (option: string) => (option === 'tags' ? 'ERR_TAGCACHE_TAG' : 'ERR_TAGCACHE_OPTION_VALUE')

  it.each(Object.entries(bad).flatMap(([option, values]) => values.map((value) => [option, value] as const)))(
    'of a route: %s: %j',
    (option, value) => {
      expect(() => route({ [option]: value })).toThrow(refused(code(option)))
      if (option !== 'tags') expect(() => route({ [option]: value })).toThrow(`"${option}`)
    },
  )

  it.each([
    ['ttl', -1],
    ['ttl', '5'],
    ['namespace', ''],
    ['namespace', 'a|b'],
    ['namespace', 'a b'],
    ['namespace', 42],
    ['cacheName', ''],
    ['cacheName', 'é'],
    ['cacheName', 'a\nb'],
    ['cacheName', 42],
    ['backendTimeout', -1],
    ['backendTimeout', '250'],
    ['backendPause', Number.NaN],
    ['scope', 'private'],
    ['maxBodySize', 0],
    ['backend', new Map()],
    ['backend', null],
    ['time', 5],
  ])('of a cache: %s: %o', (option, value) => {
    expect(() => createCache({ [option]: value } as never)).toThrow(refused('ERR_TAGCACHE_OPTION_VALUE', option))
  })

  it.each([
    ['maxSize', 0],
    ['maxSize', '64'],
    ['maxEntries', 0],
    ['maxEntries', 1.5],
    ['maxEntries', '5'],
  ])('of memory(): %s: %o', (option, value) => {
    expect(() => memory({ [option]: value } as never)).toThrow(refused('ERR_TAGCACHE_OPTION_VALUE', option))
  })

  it.each([
    ['maxEntries', -1],
    ['maxBodySize', 'big'],
  ])('of keyValue(): %s: %o', (option, value) => {
    expect(() => keyValue(new Map(), { [option]: value } as never)).toThrow(
      refused('ERR_TAGCACHE_OPTION_VALUE', option),
    )
  })

  it.each([
    ['null', null],
    ['no methods', {}],
    ['a set', new Set()],
    ['a missing set()', { get() {}, delete() {} }],
  ])('of keyValue(): a backend that is none: %s', (_, backend) => {
    expect(() => keyValue(backend as never)).toThrow(refused('ERR_TAGCACHE_OPTION_VALUE'))
  })

  it.each([null, 5, 'ttl', []])('options that are no object: %o', (options) => {
    expect(() => createCache(options as never)).toThrow(refused('ERR_TAGCACHE_OPTION_VALUE'))
    expect(() => route(options)).toThrow(refused('ERR_TAGCACHE_OPTION_VALUE'))
    expect(() => memory(options as never)).toThrow(refused('ERR_TAGCACHE_OPTION_VALUE'))
  })
})

describe('options of a route', () => {
  it('are those of the cache where it says nothing', () => {
    const cache = resolveCache({ scope: 'public', statuses: [200, 404], maxBodySize: '1kb' }, 10_000).route
    expect(resolveRoute({}, cache)).toEqual(cache)
    expect(cache).toMatchObject({ scope: 'public', maxBodySize: 1024, ttl: undefined, maxWait: 10_000 })
  })

  it('go before those of the cache, but for the tags, which add up', () => {
    const outer = route({ tags: ['a'], ttl: 5 })
    expect(resolveRoute({ tags: 'b', ttl: '1m' }, outer)).toMatchObject({ tags: [['a'], 'b'], ttl: 60_000 })
  })

  it('take no larger body than the backend', () => {
    expect(route({ maxBodySize: '1gb' }).maxBodySize).toBe(1000)
    expect(route({ maxBodySize: 10 }).maxBodySize).toBe(10)
  })

  it('have one spelling inside', () => {
    expect(route({ vary: 'Accept, accept, Accept-Language' }).vary).toEqual(['accept', 'accept-language'])
    expect([...route({ methods: ['get', 'post'], key: () => 'k' }).methods]).toEqual(['GET', 'POST'])
    expect([route({ coalesce: false }).maxWait, route({ coalesce: { maxWait: '1s' } }).maxWait]).toEqual([0, 1000])
  })

  it('tell whether two layers keep under one key', () => {
    expect(shareKey(base, route({ ttl: 5, tags: 'a' }))).toBe(true)
    expect(shareKey(base, route({ query: ['a'] }))).toBe(false)
    expect(shareKey(base, route({ scope: 'public' }))).toBe(false)
  })
})

describe('compress', () => {
  it.each([
    [undefined, undefined],
    [false, undefined],
    [true, { threshold: 1024, codings: ['br', 'zstd', 'gzip'] }],
    [{}, { threshold: 1024, codings: ['br', 'zstd', 'gzip'] }],
    [{ threshold: '2kb' }, { threshold: 2048, codings: ['br', 'zstd', 'gzip'] }],
    [
      { threshold: 1, codings: ['gzip', 'gzip'] },
      { threshold: 1, codings: ['gzip'] },
    ],
  ])('%o', (compress, resolved) => {
    expect(route({ compress }).compress).toEqual(resolved)
  })

  it('is taken over from the cache, and can be turned off', () => {
    const all = resolveCache({ compress: { codings: ['br'] } }, 1000).route
    expect(resolveRoute({}, all).compress?.codings).toEqual(['br'])
    expect(resolveRoute({ compress: false }, all).compress).toBeUndefined()
  })

  it.each([
    null,
    'br',
    1,
    { codings: [] },
    { codings: 'br' },
    { codings: ['deflate'] },
    { codings: [1] },
    { threshold: 0 },
    { threshold: '1x' },
    circular,
  ])('%o is refused', (compress) => {
    expect(() => route({ compress })).toThrow(expect.objectContaining({ name: 'TagcacheError' }))
  })
})
