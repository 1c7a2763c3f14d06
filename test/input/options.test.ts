import express from 'express'
import Koa from 'koa'
import { describe, expect, it } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { tagcache as tagcacheKoa } from '../../src/adapters/koa.ts'
import { type CacheOptions, createCache, keyValue, memory, type RouteOptions, TagcacheError } from '../../src/index.ts'
import { eventsOf, start } from '../peers/support.ts'
import { ask } from '../support/http.ts'

const DURATIONS = 'zero or more seconds as a number, or text with a unit such as "30s", "5m", "1h", "7 days"'
const SIZES = 'a positive number of bytes, or text such as "512kb", "64mb"'

function errorOf(run: () => unknown): TagcacheError {
  try {
    run()
  } catch (error) {
    if (error instanceof TagcacheError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

const BAD_DURATIONS: unknown[] = [
  -1,
  Number.NaN,
  Number.NEGATIVE_INFINITY,
  '5 minuts',
  '-5m',
  '5',
  '',
  'm',
  '1e3s',
  {},
  true,
]
const BAD_SIZES: unknown[] = [-1, 0, Number.NaN, Number.POSITIVE_INFINITY, '5 megs', '-1mb', '5', '', {}, true]

/** Whether an error names the option, the value and what is allowed; quotes around the value are a matter of taste. */
function expectRefusal(error: TagcacheError, option: string, value: unknown, allowed: string): void {
  expect(error.code).toBe('ERR_TAGCACHE_OPTION_VALUE')
  expect(error.message).toMatch(/^Option "[\w.]+" cannot be .+; allowed: .+\.$/)
  const [start, end] = error.message.split('; allowed: ') as [string, string]
  expect(start).toContain(`"${option}" cannot be`)
  if (typeof value !== 'object') expect(start).toContain(String(value))
  expect(end).toContain(allowed)
}

describe('a value that an option cannot have is an error at start-up that names option, value and what is allowed', () => {
  it.each(BAD_DURATIONS)('for a time: %j', (value) => {
    const places: [option: string, run: () => unknown][] = [
      ['ttl', () => createCache({ ttl: value as number })],
      ['ttl', () => tagcache({ ttl: value as number })],
      ['ttl', () => tagcache().cached({ ttl: value as number })],
      ['ttl', () => tagcacheKoa().cached({ ttl: value as number })],
      ['backendTimeout', () => createCache({ backendTimeout: value as number })],
      ['backendPause', () => createCache({ backendPause: value as number })],
      ['coalesce.maxWait', () => tagcache().cached({ coalesce: { maxWait: value as number } })],
    ]
    for (const [option, run] of places) {
      expectRefusal(errorOf(run), option, value, DURATIONS)
    }
  })

  it.each(BAD_SIZES)('for a size: %j', (value) => {
    const places: [option: string, run: () => unknown][] = [
      ['maxSize', () => memory({ maxSize: value as number })],
      ['maxBodySize', () => createCache({ maxBodySize: value as number })],
      ['maxBodySize', () => tagcache().cached({ maxBodySize: value as number })],
      ['maxBodySize', () => keyValue(new Map<string, Uint8Array>(), { maxBodySize: value as number })],
    ]
    for (const [option, run] of places) {
      expectRefusal(errorOf(run), option, value, SIZES)
    }
  })

  it.each([-1, 0, 1.5, Number.NaN, '5'])('for a number of entries: %j', (maxEntries) => {
    for (const run of [
      () => memory({ maxEntries: maxEntries as number }),
      () => keyValue(new Map<string, Uint8Array>(), { maxEntries: maxEntries as number }),
    ]) {
      expectRefusal(errorOf(run), 'maxEntries', maxEntries, 'a positive whole number')
    }
  })

  const OTHERS: [option: keyof RouteOptions, value: unknown, allowed: string][] = [
    ['scope', 'privat', '"public", "explicit", "rfc9111", a function'],
    ['scope', null, '"public", "explicit", "rfc9111", a function'],
    ['host', 'no', 'true, false, a function'],
    ['enabled', 'yes', 'true, false, a function'],
    ['key', 'a', 'a function'],
    ['name', '', 'text that is not empty'],
    ['query', 'page', 'a list of names'],
    ['params', { ignore: 'id' }, 'a list of names'],
    ['vary', 'accept language', 'names of header fields'],
    ['methods', ['POST'], 'needs a `key` function'],
    ['methods', 'GET', 'a list of method names'],
    ['statuses', [99], '200 to 599'],
    ['statuses', 200, '200 to 599'],
    ['clientCacheControl', 'no', 'true or false'],
    ['coalesce', 5, "true, false, 'cluster', or { maxWait, within }"],
  ]

  it.each(OTHERS)('for %s: %j', (option, value, allowed) => {
    expectRefusal(
      errorOf(() => tagcache().cached({ [option]: value } as RouteOptions)),
      option,
      value,
      allowed,
    )
  })

  it.each([['a b'], [''], ['a|b'], ['a/b']])('for namespace: %j', (namespace) => {
    expectRefusal(
      errorOf(() => createCache({ namespace })),
      'namespace',
      namespace,
      'letters, digits',
    )
  })

  const circular: Record<string, unknown> = {}
  circular.self = circular

  it.each<[name: string, value: unknown]>([
    ['a big integer', 5n],
    ['a circular object', circular],
    ['a symbol', Symbol('x')],
    ['a function', () => 5],
  ])('even for what JSON cannot show: %s', (_name, ttl) => {
    expect(errorOf(() => createCache({ ttl: ttl as number })).message).toMatch(/^Option "ttl" cannot be /)
  })

  it.each([undefined, null, '', [''], [{ type: 'a:b' }], [{ id: 5 }], [5], 'a\nb', '\ud800', 'x'.repeat(257)])(
    'for a static tag: %j',
    (tags) => {
      if (tags !== undefined)
        expect(errorOf(() => tagcache().cached({ tags: tags as string })).code).toBe('ERR_TAGCACHE_TAG')
      expect(errorOf(() => tagcache().invalidates(tags as string)).code).toBe('ERR_TAGCACHE_TAG')
    },
  )

  it.each([-1, Number.NaN, '5 minuts'])('for the time to live of one response: %j', async (ttl) => {
    expect(errorOf(() => createCache().set('r', {}, [], { body: 'x' }, ttl)).code).toBe('ERR_TAGCACHE_TTL')
    const { cached, ttl: setTtl, cache } = tagcache()
    const events = eventsOf(cache)
    const app = express().get('/', cached(), (_req, res) => {
      setTtl(res, ttl)
      res.send('x')
    })
    const { url } = await start(app)
    expect(await ask(url)).toMatchObject({ status: 200, text: 'x', cacheStatus: 'tagcache; fwd=uri-miss; detail=skip' })
    expect(events).toContainEqual(expect.objectContaining({ type: 'warning', code: 'TAGCACHE_CONTROL_FAILED' }))
  })
})

describe('an option that there is not is an error at start-up that names the nearest one', () => {
  const CASES: [given: string, nearest: string, run: (options: object) => unknown][] = [
    ['tag', 'tags', (options) => tagcache().cached(options)],
    ['TTL', 'ttl', (options) => tagcache().cached(options)],
    ['maxbodysize', 'maxBodySize', (options) => tagcache().cached(options)],
    ['status', 'statuses', (options) => tagcacheKoa().cached(options)],
    ['ttls', 'ttl', (options) => createCache(options as CacheOptions)],
    ['name_space', 'namespace', (options) => tagcache(options as CacheOptions)],
    ['backendTimeOut', 'backendTimeout', (options) => tagcacheKoa(options as CacheOptions)],
    ['maxsize', 'maxSize', (options) => memory(options)],
    ['maxEntry', 'maxEntries', (options) => keyValue(new Map<string, Uint8Array>(), options)],
    ['wehn', 'when', (options) => tagcache().invalidates('x', options)],
  ]

  it.each(CASES)('%s: %s', (given, nearest, run) => {
    const error = errorOf(() => run({ [given]: 1 }))
    expect(error.code).toBe('ERR_TAGCACHE_OPTION_UNKNOWN')
    expect(error.message).toContain(`has no option "${given}". Did you mean "${nearest}"?`)
  })

  it('also when the options are none', () => {
    for (const options of [[], 'ttl', null, 5])
      expect(errorOf(() => tagcache().cached(options as RouteOptions)).code).toBe('ERR_TAGCACHE_OPTION_VALUE')
  })

  it('also for the name of what every object has', () => {
    for (const name of ['constructor', '__proto__'])
      expect(errorOf(() => createCache(JSON.parse(`{ "${name}": 1 }`))).message).toContain(`has no option "${name}"`)
  })
})

describe('a time to live of 0', () => {
  it.each<[where: string, cache: CacheOptions, route: RouteOptions]>([
    ['the cache', { ttl: 0 }, {}],
    ['the route', {}, { ttl: 0 }],
    ['the route, as text', {}, { ttl: '0s' }],
  ])('of %s stores nothing', async (_where, options, route) => {
    const { cached, cache } = tagcache(options)
    let runs = 0
    const app = express().get('/', cached(route as object), (_req, res) => void res.send(String(++runs)))
    const { url } = await start(app)
    for (const text of ['1', '2', '3']) expect((await ask(url)).text).toBe(text)
    expect(cache.stats()).toMatchObject({ stores: 0, entries: 0, hits: 0 })
  })

  it('of one response stores nothing', async () => {
    const { cached, ttl, cache } = tagcacheKoa()
    let runs = 0
    const app = new Koa().use(cached()).use((ctx) => {
      ttl(ctx, 0)
      ctx.body = String(++runs)
    })
    const { url } = await start(app.callback())
    for (const text of ['1', '2']) expect((await ask(url)).text).toBe(text)
    expect(cache.stats().stores).toBe(0)
    expect(createCache().set('r', {}, [], { body: 'x' }, 0)).toBe(false)
  })
})
