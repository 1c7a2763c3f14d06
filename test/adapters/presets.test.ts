import { describe, expect, it } from 'vitest'
import { type CacheOptions, createCache, TagcacheError } from '../../src/index.ts'
import {
  type CallCacheOptions,
  type CallOptions,
  counting,
  oneRoute,
  STACKS,
  type Stack,
  site,
} from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'

const EARLIER = 'Mon, 22 Dec 2025 00:00:00 GMT'

type Headers = Record<string, string | string[]>

/** A site of one route under these options, whose handler answers with these fields. */
function under(stack: Stack, options: CallCacheOptions, headers: Headers = {}, route: CallOptions = {}) {
  const time = new ManualTime()
  const handler = counting((body) => ({ headers, body }))
  return oneRoute(stack, handler, route, { time, ...options }).then((served) => ({ ...served, time, handler }))
}

function resolved(options: CacheOptions) {
  return createCache(options).flow.options
}

describe('presets', () => {
  it("'rfc9111' sets what the table says, and nothing else", () => {
    const plain = resolved({})
    const { route, defaultTtl, origins, ...others } = resolved({ preset: 'rfc9111' })
    expect(defaultTtl).toBe(0)
    expect(route).toEqual({
      ...plain.route,
      clientCacheControl: false,
      scope: 'explicit',
      normaliseVary: new Map([['accept-language', 'case-insensitive-list']]),
    })
    expect(new Set(origins.values())).toEqual(new Set(['preset', 'cache']))
    expect(origins.get('preset')).toBe('cache')
    const { route: _, defaultTtl: __, origins: ___, ...plainOthers } = plain
    expect(others).toEqual(plainOthers)
  })

  it("'rfc9111-full' sets what the table says, and nothing else", () => {
    const { route, defaultTtl } = resolved({ preset: 'rfc9111-full' })
    expect(defaultTtl).toBe(0)
    expect(route).toEqual({
      ...resolved({}).route,
      clientCacheControl: false,
      scope: 'rfc9111',
      heuristic: true,
      requestDirectives: true,
      targetedFields: ['cdn-cache-control'],
      staleIfError: 24 * 60 * 60 * 1000,
      storeSetCookie: true,
      storePost: true,
      storePartial: true,
      normaliseVary: new Map([
        ['accept-language', 'languages'],
        ['*', 'list'],
      ]),
    })
  })

  it.each<[name: string, given: CacheOptions, field: string, value: unknown]>([
    ['scope', { scope: 'public' }, 'scope', 'public'],
    ['clientCacheControl', { clientCacheControl: true }, 'clientCacheControl', true],
    ['heuristic', { heuristic: false }, 'heuristic', false],
    ['requestDirectives', { requestDirectives: false }, 'requestDirectives', false],
    ['targetedFields', { targetedFields: [] }, 'targetedFields', []],
    ['staleIfError', { staleIfError: 0 }, 'staleIfError', 0],
    ['storeSetCookie', { storeSetCookie: false }, 'storeSetCookie', false],
    ['storePost', { storePost: false }, 'storePost', false],
    ['storePartial', { storePartial: false }, 'storePartial', false],
    ['normaliseVary', { normaliseVary: {} }, 'normaliseVary', new Map()],
    ['maxVariants', { maxVariants: 5 }, 'maxVariants', 5],
  ])('%s given beside wins', (_, given, field, value) => {
    const { route } = resolved({ preset: 'rfc9111-full', ...given })
    expect(route[field as keyof typeof route]).toEqual(value)
    expect({ ...route, [field]: undefined }).toEqual({
      ...resolved({ preset: 'rfc9111-full' }).route,
      [field]: undefined,
    })
  })

  it('ttl given beside wins', () => {
    expect(resolved({ preset: 'rfc9111', ttl: '5m' }).defaultTtl).toBe(300_000)
  })

  it('what is given as undefined wins over nothing', () => {
    const given = { preset: 'rfc9111', ttl: undefined, scope: undefined, clientCacheControl: undefined }
    expect(resolved(given as object)).toMatchObject({
      defaultTtl: 0,
      route: { scope: 'explicit', clientCacheControl: false },
    })
    expect(resolved({ preset: undefined } as unknown as CacheOptions).defaultTtl).toBe(60_000)
  })

  it.each(['rfc9112', '', 'RFC9111', 'constructor', '__proto__', 'toString', null, false, 5, {}])(
    'an unknown one is refused at start-up: %o',
    (preset) => {
      const make = () => createCache({ preset } as unknown as CacheOptions)
      expect(make).toThrow(TagcacheError)
      expect(make).toThrow(expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_VALUE' }))
      expect(make).toThrow(/preset.*"rfc9111".*"rfc9111-full"/s)
    },
  )

  it('is no option of a route', () => {
    expect(() => createCache().flow.route({ preset: 'rfc9111' } as never)).toThrow(
      expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_UNKNOWN' }),
    )
  })
})

describe.each(STACKS)('presets under $name', (stack) => {
  describe.each(['rfc9111', 'rfc9111-full'] as const)('%s', (preset) => {
    it('stores nothing that has no lifetime of its own', async () => {
      const { get } = await under(stack, { preset })
      expect((await get('/')).cacheStatus).toBe('tagcache; fwd=uri-miss; detail=no-lifetime')
      expect((await get('/')).text).toBe('run 2')
    })

    it('stores what has one, and adds nothing for clients', async () => {
      const { get } = await under(stack, { preset }, { 'Cache-Control': 'max-age=60', ETag: '"v1"' })
      await get('/')
      const hit = await get('/')
      expect([hit.cacheStatus, hit.headers['cache-control'], hit.headers.etag]).toEqual([
        'tagcache; hit; ttl=60',
        'max-age=60',
        '"v1"',
      ])
    })

    it('adds no Cache-Control, and no tag, to what says nothing', async () => {
      const { get } = await under(stack, { preset, ttl: 60 })
      for (const { headers } of [await get('/'), await get('/')]) {
        expect(headers['cache-control']).toBeUndefined()
        if (stack.kind !== 'express') expect(headers.etag).toBeUndefined()
      }
    })

    it.each([
      ['max-age=60', false],
      ['public, max-age=60', true],
      ['max-age=60, must-revalidate', true],
      ['s-maxage=60', true],
    ])('shares with Authorization what says so: %s', async (control, isShared) => {
      const { get } = await under(stack, { preset }, { 'Cache-Control': control })
      const headers = { authorization: 'Basic YTpi' }
      await get('/', headers)
      expect((await get('/', headers)).text).toBe(isShared ? 'run 1' : 'run 2')
      expect((await get('/')).text).toBe(isShared ? 'run 1' : 'run 3')
      expect((await get('/', headers)).text).toBe(isShared ? 'run 1' : 'run 4')
    })

    it('compares Accept-Language without case', async () => {
      const { get } = await under(stack, { preset }, { 'Cache-Control': 'max-age=60', Vary: 'Accept-Language' })
      await get('/', { 'accept-language': 'en, de' })
      expect((await get('/', { 'accept-language': 'EN,de' })).text).toBe('run 1')
      expect((await get('/', { 'accept-language': 'de, en' })).text).toBe(preset === 'rfc9111' ? 'run 2' : 'run 1')
    })

    it('gives way to the options of a route', async () => {
      const { get } = await under(stack, { preset }, {}, { ttl: 10, scope: 'public', clientCacheControl: true })
      await get('/', { authorization: 'Basic YTpi' })
      const hit = await get('/', { cookie: 'a=1' })
      expect([hit.cacheStatus, hit.headers['cache-control']]).toEqual(['tagcache; hit; ttl=10', 'no-cache'])
    })
  })

  it("'rfc9111': requests with a cookie go past the cache", async () => {
    const { get } = await under(stack, { preset: 'rfc9111' }, { 'Cache-Control': 'public, max-age=60' })
    await get('/')
    expect((await get('/', { cookie: 'a=1' })).cacheStatus).toBe('tagcache; fwd=bypass; detail=credentials')
  })

  it("'rfc9111': what is optional is off", async () => {
    const { get } = await under(stack, { preset: 'rfc9111' }, { 'Last-Modified': EARLIER })
    await get('/')
    expect((await get('/')).text).toBe('run 2')
    const other = await under(stack, { preset: 'rfc9111' }, { 'Cache-Control': 'max-age=60', 'Set-Cookie': ['a=1'] })
    expect((await other.get('/')).cacheStatus).toBe('tagcache; fwd=uri-miss; detail=set-cookie')
    const asked = await under(stack, { preset: 'rfc9111' }, { 'Cache-Control': 'max-age=60' })
    await asked.get('/')
    expect((await asked.get('/', { 'cache-control': 'no-cache' })).text).toBe('run 1')
  })

  describe("'rfc9111-full'", () => {
    const preset = 'rfc9111-full'

    it('cookies do not count', async () => {
      const { get } = await under(stack, { preset }, { 'Cache-Control': 'max-age=60' })
      await get('/', { cookie: 'a=1' })
      expect((await get('/', { cookie: 'a=2' })).text).toBe('run 1')
    })

    it('estimates a lifetime', async () => {
      const { get } = await under(stack, { preset }, { 'Last-Modified': EARLIER })
      await get('/')
      expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=86400')
    })

    it('keeps to what clients ask for', async () => {
      const { get, time } = await under(stack, { preset }, { 'Cache-Control': 'max-age=60' })
      await get('/')
      time.move(10_000)
      expect((await get('/', { 'cache-control': 'max-age=20' })).text).toBe('run 1')
      expect((await get('/', { 'cache-control': 'max-age=5' })).text).toBe('run 2')
      expect((await get('/', { pragma: 'no-cache' })).text).toBe('run 3')
      const unknown = await get('/?a', { 'cache-control': 'only-if-cached' })
      expect([unknown.status, unknown.cacheStatus]).toEqual([504, 'tagcache; detail=only-if-cached'])
    })

    it('hears CDN-Cache-Control', async () => {
      const headers = { 'Cache-Control': 'no-store', 'CDN-Cache-Control': 'max-age=30' }
      const { get } = await under(stack, { preset }, headers)
      await get('/')
      expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=30')
    })

    it('serves what is stale for a day where the handler fails', async () => {
      const time = new ManualTime()
      const handler = counting((body) => ({
        status: body === 'run 1' ? 200 : 503,
        headers: { 'Cache-Control': 'max-age=10' },
        body,
      }))
      const { get } = await oneRoute(stack, handler, {}, { preset, time })
      await get('/')
      time.move(23 * 60 * 60 * 1000)
      expect(await get('/')).toMatchObject({ status: 200, text: 'run 1' })
      time.move(2 * 60 * 60 * 1000)
      expect((await get('/')).status).toBe(503)
    })

    it('stores Set-Cookie', async () => {
      const { get } = await under(stack, { preset }, { 'Cache-Control': 'max-age=60', 'Set-Cookie': ['a=1', 'b=2'] })
      await get('/')
      const hit = await get('/')
      expect([hit.text, hit.headers['set-cookie']]).toEqual(['run 1', ['a=1', 'b=2']])
    })

    it('stores the answer to a POST for GET', async () => {
      const { get, send } = await site(stack, { preset, time: new ManualTime() }, (app, { cached }) => {
        app.use(cached())
        app.on('GET', '/', counting())
        app.on('POST', '/', () => ({
          headers: { 'Cache-Control': 'max-age=60', 'Content-Location': '/' },
          body: 'posted',
        }))
      })
      await send('POST', '/')
      expect((await get('/')).text).toBe('posted')
    })

    it('stores parts', async () => {
      const handler = counting(() => ({
        status: 206,
        headers: { 'Cache-Control': 'max-age=60', 'Content-Range': 'bytes 2-5/9' },
        body: 'part',
      }))
      const { get } = await oneRoute(stack, handler, {}, { preset, time: new ManualTime() })
      await get('/', { range: 'bytes=2-5' })
      const part = await get('/', { range: 'bytes=3-4' })
      expect([part.status, part.text, part.headers['content-range']]).toEqual([206, 'ar', 'bytes 3-4/9'])
      expect(handler.runs()).toBe(1)
    })

    it('selects by Content-Language, and compares other fields as lists', async () => {
      const headers = { 'Cache-Control': 'max-age=60', Vary: 'Accept-Language, X-Own', 'Content-Language': 'de' }
      const { get } = await under(stack, { preset }, headers)
      await get('/', { 'accept-language': 'de, en;q=0.5', 'x-own': 'a,b' })
      expect((await get('/', { 'accept-language': 'DE', 'x-own': 'a, b' })).text).toBe('run 1')
      expect((await get('/', { 'accept-language': 'de', 'x-own': 'b, a' })).text).toBe('run 2')
    })
  })
})

const TARGETED: [name: string, headers: Headers, status: string][] = [
  ['nothing in them: Cache-Control', { 'Cache-Control': 'max-age=10' }, 'hit; ttl=10'],
  ['over Cache-Control', { 'Cache-Control': 'max-age=10', 'One-Cache-Control': 'max-age=20' }, 'hit; ttl=20'],
  ['over Expires', { Expires: 'Thu, 01 Jan 2026 01:00:00 GMT', 'One-Cache-Control': 'max-age=20' }, 'hit; ttl=20'],
  ['over what forbids to store', { 'Cache-Control': 'no-store', 'One-Cache-Control': 'max-age=20' }, 'hit; ttl=20'],
  ['over private', { 'Cache-Control': 'private, max-age=10', 'One-Cache-Control': 'max-age=20' }, 'hit; ttl=20'],
  [
    'forbidding what Cache-Control allows',
    { 'Cache-Control': 'max-age=10', 'One-Cache-Control': 'no-store' },
    'no-store',
  ],
  ['private', { 'Cache-Control': 'max-age=10', 'One-Cache-Control': 'private' }, 'private'],
  ['without a lifetime: the default', { 'Cache-Control': 'max-age=10', 'One-Cache-Control': 'public' }, 'hit; ttl=60'],
  [
    'the first before the second',
    { 'One-Cache-Control': 'max-age=20', 'Two-Cache-Control': 'max-age=30' },
    'hit; ttl=20',
  ],
  [
    'the second where the first is absent',
    { 'Cache-Control': 'max-age=10', 'Two-Cache-Control': 'max-age=30' },
    'hit; ttl=30',
  ],
  [
    'the second where the first is invalid',
    { 'One-Cache-Control': 'max-age=', 'Two-Cache-Control': 'max-age=30' },
    'hit; ttl=30',
  ],
  [
    'the second where the first is empty',
    { 'One-Cache-Control': '', 'Two-Cache-Control': 'max-age=30' },
    'hit; ttl=30',
  ],
  ['s-maxage before max-age', { 'One-Cache-Control': 'max-age=20, s-maxage=25' }, 'hit; ttl=25'],
  ['two lines', { 'One-Cache-Control': ['max-age=20', 'public'] }, 'hit; ttl=20'],
  ['a name that is given twice: the last', { 'One-Cache-Control': 'max-age=20, max-age=40' }, 'hit; ttl=40'],
  ['parameters, which are ignored', { 'One-Cache-Control': 'max-age=20;a=1, public;b' }, 'hit; ttl=20'],
  ['an unknown directive, which is ignored', { 'One-Cache-Control': 'max-age=20, other=(1 2)' }, 'hit; ttl=20'],
  [
    'letters in capitals are no dictionary',
    { 'Cache-Control': 'max-age=10', 'One-Cache-Control': 'Max-Age=20' },
    'hit; ttl=10',
  ],
  [
    'blanks around the equals sign are none',
    { 'Cache-Control': 'max-age=10', 'One-Cache-Control': 'max-age = 20' },
    'hit; ttl=10',
  ],
  [
    'one bad member spoils it all',
    { 'Cache-Control': 'max-age=10', 'One-Cache-Control': 'max-age=20, "x"' },
    'hit; ttl=10',
  ],
  [
    'sixteen digits are no integer',
    { 'Cache-Control': 'max-age=10', 'One-Cache-Control': 'max-age=1234567890123456' },
    'hit; ttl=10',
  ],
  ['another target', { 'Cache-Control': 'max-age=10', 'Three-Cache-Control': 'max-age=20' }, 'hit; ttl=10'],
  [
    'a value of the wrong type is as if it were absent',
    { 'Cache-Control': 'max-age=10', 'One-Cache-Control': 'max-age="20", public' },
    'hit; ttl=60',
  ],
  ['so is a decimal', { 'Cache-Control': 'max-age=10', 'One-Cache-Control': 'max-age=20.5, public' }, 'hit; ttl=60'],
  ['so is a negative one', { 'Cache-Control': 'max-age=10', 'One-Cache-Control': 'max-age=-1, public' }, 'hit; ttl=60'],
]

describe.each(STACKS)('targetedFields (RFC 9213) under $name', (stack) => {
  const route: CallOptions = { targetedFields: ['One-Cache-Control', 'two-cache-control'] }

  it.each(TARGETED)('%s', async (_, headers, status) => {
    const { get } = await under(stack, {}, headers, route)
    const miss = await get('/')
    const second = await get('/')
    const isHit = status.startsWith('hit')
    expect(miss.cacheStatus).toBe(`tagcache; fwd=uri-miss; ${isHit ? 'stored' : `detail=${status}`}`)
    expect(second.cacheStatus).toBe(isHit ? `tagcache; ${status}` : miss.cacheStatus)
    for (const [name, value] of Object.entries(headers)) {
      for (const answer of [miss, second]) expect(answer.headers[name.toLowerCase()]).toBe([value].flat().join(', '))
    }
  })

  it('a lifetime of nothing is one', async () => {
    const headers = { 'Cache-Control': 'max-age=10', 'One-Cache-Control': 'max-age=0' }
    const { get } = await under(stack, {}, headers, route)
    await get('/')
    expect((await get('/')).text).toBe('run 2')
  })

  it('no-cache in it: validated each time', async () => {
    const headers = { 'Cache-Control': 'max-age=10', ETag: '"v1"', 'One-Cache-Control': 'no-cache' }
    const { get } = await under(stack, {}, headers, route)
    await get('/')
    expect((await get('/')).cacheStatus).toMatch(/^tagcache; fwd=stale/)
  })

  it('must-revalidate, stale-while-revalidate and stale-if-error are heard in it alone', async () => {
    const time = new ManualTime()
    const handler = counting((body) => ({
      status: body === 'run 1' ? 200 : 503,
      headers: { 'Cache-Control': 'max-age=10, must-revalidate', 'One-Cache-Control': 'max-age=10, stale-if-error=60' },
      body,
    }))
    const { get } = await oneRoute(stack, handler, route, { time })
    await get('/')
    time.move(11_000)
    expect(await get('/')).toMatchObject({ status: 200, text: 'run 1' })
    const reverse = counting((body) => ({
      status: body === 'run 1' ? 200 : 503,
      headers: { 'Cache-Control': 'max-age=10, stale-if-error=60', 'One-Cache-Control': 'max-age=10' },
      body,
    }))
    const other = await oneRoute(stack, reverse, route, { time })
    await other.get('/')
    time.move(11_000)
    expect((await other.get('/')).status).toBe(503)
  })

  it('the ttl of a route goes before it', async () => {
    const { get } = await under(stack, {}, { 'One-Cache-Control': 'max-age=20' }, { ...route, ttl: 5 })
    await get('/')
    expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=5')
  })

  it('is heard when a 304 brings it', async () => {
    const time = new ManualTime()
    const handler = counting((body, { req }) => {
      const headers = { ETag: '"v1"', 'Cache-Control': 'no-store' }
      if (req.headers['if-none-match'] === undefined)
        return { headers: { ...headers, 'One-Cache-Control': 'max-age=10' }, body }
      return { status: 304, headers: { ...headers, 'One-Cache-Control': 'max-age=30' } }
    })
    const { get } = await oneRoute(stack, handler, route, { time })
    await get('/')
    time.move(11_000)
    expect((await get('/')).cacheStatus).toBe('tagcache; fwd=stale; fwd-status=304; stored')
    expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=30')
  })

  it('is not heard without the option', async () => {
    const headers = { 'Cache-Control': 'max-age=10', 'CDN-Cache-Control': 'no-store' }
    const { get } = await under(stack, {}, headers)
    await get('/')
    expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=10')
  })
})
