import fc from 'fast-check'
import { parseList, type Token } from 'structured-headers'
import { describe, expect, it } from 'vitest'
import { directiveSeconds, parseCacheControl, parseSeconds } from '../../src/http/cache-control.ts'
import { type Forward, formatCacheName, formatCacheStatus, HitStatuses } from '../../src/http/cache-status.ts'
import { formatDate, parseDate } from '../../src/http/date.ts'
import { combined, firstLine, listMembers } from '../../src/http/fields.ts'
import { judgeStorage, type StoragePolicy, speaksOfCaching, storableField } from '../../src/http/policy.ts'
import { isConditional, isNotModified } from '../../src/http/validators.ts'
import { mergeNames, varyNames, varyValues } from '../../src/http/vary.ts'

const NOW = Date.UTC(2026, 0, 1)

describe('a date', () => {
  it.each([
    ['Sun, 06 Nov 1994 08:49:37 GMT', Date.UTC(1994, 10, 6, 8, 49, 37)],
    ['Sunday, 06-Nov-94 08:49:37 GMT', Date.UTC(1994, 10, 6, 8, 49, 37)],
    ['Sun Nov  6 08:49:37 1994', Date.UTC(1994, 10, 6, 8, 49, 37)],
    ['Sun Nov 16 08:49:37 1994', Date.UTC(1994, 10, 16, 8, 49, 37)],
    ['sUN, 06 nOV 1994 08:49:37 gmt', Date.UTC(1994, 10, 6, 8, 49, 37)],
    ['Sat, 31 Dec 2016 23:59:60 GMT', Date.UTC(2017, 0, 1)],
    ['Thu, 29 Feb 2024 00:00:00 GMT', Date.UTC(2024, 1, 29)],
    ['Wednesday, 01-Jan-76 00:00:00 GMT', Date.UTC(2076, 0, 1)],
    ['Saturday, 01-Jan-77 00:00:00 GMT', Date.UTC(1977, 0, 1)],
  ])('%s is read', (text, time) => {
    expect(parseDate(text, NOW)).toBe(time)
  })

  it('in the year 50 is not taken for 1950', () => {
    expect(new Date(parseDate('Sat, 01 Jan 0050 00:00:00 GMT', NOW)!).getUTCFullYear()).toBe(50)
  })

  it.each([
    'Sun, 06 Nov 1994 08:49:37 UTC',
    'Sun, 06 Nov 1994 08:49:37 +0000',
    'Sun, 06 Nov 1994 08:49:37 PST',
    'Sun, 06 Nov 1994 08:49:37',
    'Sun 06 Nov 1994 08:49:37 GMT',
    'Sun, 06  Nov 1994 08:49:37 GMT',
    'Sun,  06 Nov 1994 08:49:37 GMT',
    'Sun,06 Nov 1994 08:49:37 GMT',
    'Sun, 06-Nov-1994 08:49:37 GMT',
    'Sun, 06 Nov 1994 08.49.37 GMT',
    'Sun, 06 Nov 1994 8:49:37 GMT',
    'Sun, 06 Nov 1994 08:49 GMT',
    'Sun, 6 Nov 1994 08:49:37 GMT',
    'Sun, 06 Nov 94 08:49:37 GMT',
    'Sun, 06 Nov 1994 24:00:00 GMT',
    'Sun, 06 Nov 1994 08:60:00 GMT',
    'Sun, 31 Feb 2025 00:00:00 GMT',
    'Sun, 00 Jan 2025 00:00:00 GMT',
    'Sun, 06 Foo 1994 08:49:37 GMT',
    'Xxx, 06 Nov 1994 08:49:37 GMT',
    'Sun, 06 Nov 1994 08:49:37 GMT ',
    ' Sun, 06 Nov 1994 08:49:37 GMT',
    'Sun Nov 06 8:49:37 1994',
    'Sun Nov  6 08:49:37 1994 GMT',
    '1994-11-06T08:49:37Z',
    '784111777',
    '0',
    '-1',
    '',
  ])('%s is refused', (text) => {
    expect(parseDate(text, NOW)).toBeUndefined()
  })

  it('is read as it was written', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 253_402_300_799 }), (second) => {
        expect(parseDate(formatDate(second * 1000 + 999), NOW)).toBe(second * 1000)
      }),
    )
  })
})

describe('Cache-Control', () => {
  const read = (value: string) => Object.fromEntries(parseCacheControl(value))

  it.each([
    ['', {}],
    [',, ,', {}],
    ['max-age=60', { 'max-age': '60' }],
    ['MAX-AGE=60, No-Store', { 'max-age': '60', 'no-store': true }],
    ['max-age="60"', { 'max-age': '60' }],
    ['\t max-age=60 \t,no-cache', { 'max-age': '60', 'no-cache': true }],
    ['max-age=1, max-age=2', { 'max-age': '1' }],
    ['private="set-cookie, x-a", max-age=5', { private: 'set-cookie, x-a', 'max-age': '5' }],
    ['ext="a, no-store", max-age=5', { ext: 'a, no-store', 'max-age': '5' }],
    ['ext="a\\", no-store", max-age=5', { ext: 'a", no-store', 'max-age': '5' }],
    ['ext="", public', { ext: '', public: true }],
    ['stale-while-revalidate=30,must-revalidate', { 'stale-while-revalidate': '30', 'must-revalidate': true }],
    ['__proto__=1', Object.fromEntries([['__proto__', '1']])],
  ])('%s', (value, directives) => {
    expect(read(value)).toEqual(directives)
  })

  it.each(['ext="unclosed, no-store', ';junk, no-store', '=5, no-store', 'a=b;c, no-store', '"x", no-store'])(
    'finds no-store after what is malformed: %s',
    (value) => {
      expect(parseCacheControl(value).has('no-store')).toBe(true)
    },
  )

  it.each([
    ['max-age=60', 60],
    ['max-age="60"', 60],
    ['max-age=007', 7],
    ['max-age=2147483648', 2 ** 31],
    ['max-age=99999999999999999999999', 2 ** 31],
    ['max-age=0', 0],
    ['max-age', 0],
    ['max-age=', 0],
    ['max-age=abc', 0],
    ['max-age=-1', 0],
    ['max-age=1.5', 0],
    ['max-age=60;q=1', 0],
    ['max-age=6 0', 0],
    ['max-age=60, max-age=10', 60],
    ['s-maxage=60', undefined],
  ])('%s is a lifetime of %s', (value, seconds) => {
    expect(directiveSeconds(parseCacheControl(value), 'max-age')).toBe(seconds)
  })

  it('is read in time that grows with its length alone', () => {
    for (const value of ['"'.repeat(50_000), '\\'.repeat(50_000), `a="${'\\"'.repeat(50_000)}`, '\t '.repeat(50_000)]) {
      const start = performance.now()
      parseCacheControl(value)
      expect(performance.now() - start).toBeLessThan(500)
    }
  })

  it('gives all directives that were written', () => {
    const name = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/)
    const value = fc.oneof(fc.constant(true as const), fc.stringMatching(/^[\x20-\x7e]{0,9}$/))
    const directives = fc.uniqueArray(fc.tuple(name, value), { selector: ([key]) => key })
    fc.assert(
      fc.property(directives, (pairs) => {
        const text = pairs.map(([key, value]) => {
          return value === true ? key : `${key}="${value.replace(/["\\]/g, '\\$&')}"`
        })
        expect([...parseCacheControl(text.join(', '))]).toEqual(pairs)
      }),
    )
  })

  it('counts seconds in digits alone', () => {
    expect([parseSeconds('0'), parseSeconds('00012'), parseSeconds('1e3'), parseSeconds('٣')]).toEqual([
      0,
      12,
      undefined,
      undefined,
    ])
  })
})

describe('fields', () => {
  it('of several lines are one list, or the first line', () => {
    const fields = { link: ['<a>', '<b>'], age: 5 }
    expect([combined(fields, 'link'), firstLine(fields, 'link')]).toEqual(['<a>, <b>', '<a>'])
    expect([combined(fields, 'age'), combined(fields, 'x'), firstLine(fields, 'x')]).toEqual([
      '5',
      undefined,
      undefined,
    ])
  })

  it('are split at commas', () => {
    expect(listMembers(' a,, b ,c d,')).toEqual(['a', 'b', 'c d'])
    expect(listMembers(undefined)).toEqual([])
  })
})

describe('validators', () => {
  const matches = (noneMatch: string | string[], etag?: string) =>
    isNotModified({ 'if-none-match': noneMatch }, etag === undefined ? {} : { etag }, NOW)

  it.each([
    ['"a"', '"a"', true],
    ['"a"', '"b"', false],
    ['W/"a"', '"a"', true],
    ['"a"', 'W/"a"', true],
    ['W/"a"', 'W/"a"', true],
    ['"x", W/"a" ,"y"', '"a"', true],
    ['"x","a","y"', '"a"', true],
    ['"a,b"', '"a,b"', true],
    ['"a,b"', '"a"', false],
    ['"x, y", "a,b"', 'W/"a,b"', true],
    ['*', '"a"', true],
    [' * ', '"a"', true],
    ['"*"', '"a"', false],
    ['', '"a"', false],
    ['a', '"a"', false],
    ['"A"', '"a"', false],
    ['""', '""', true],
  ])('If-None-Match: %s against ETag %s: %s', (noneMatch, etag, isMatch) => {
    expect(matches(noneMatch, etag)).toBe(isMatch)
  })

  it('no ETag matches none but *', () => {
    expect([matches('"a"'), matches('*')]).toEqual([false, true])
  })

  it('several lines are one list', () => {
    expect(matches(['"x"', '"a"'], '"a"')).toBe(true)
  })

  const modified = 'Sun, 06 Nov 1994 08:49:37 GMT'
  it.each([
    [modified, true],
    ['Sun, 06 Nov 1994 08:49:38 GMT', true],
    ['Sun, 06 Nov 1994 08:49:36 GMT', false],
    ['yesterday', false],
  ])('If-Modified-Since: %s: %s', (since, isMatch) => {
    expect(isNotModified({ 'if-modified-since': since }, { 'last-modified': modified }, NOW)).toBe(isMatch)
    expect(isNotModified({ 'if-modified-since': since }, {}, NOW)).toBe(false)
  })

  it('If-None-Match goes before If-Modified-Since', () => {
    const response = { etag: '"a"', 'last-modified': modified }
    const request = { 'if-none-match': '"b"', 'if-modified-since': modified }
    expect(isNotModified(request, response, NOW)).toBe(false)
  })

  it('tell what is conditional', () => {
    expect([isConditional({}), isConditional({ 'if-none-match': '*' })]).toEqual([false, true])
  })
})

describe('Vary', () => {
  it.each([
    [undefined, []],
    ['', []],
    ['Accept-Encoding, accept, ACCEPT', ['accept', 'accept-encoding']],
    ['Accept, *', '*'],
    ['*', '*'],
  ])('%s depends on %j', (value, names) => {
    expect(varyNames(value)).toEqual(names)
  })

  it('merges names, sorted and once each', () => {
    expect(mergeNames(['b', 'a'], ['c', 'a'])).toEqual(['a', 'b', 'c'])
  })

  it('tells an absent field from an empty one', () => {
    expect(varyValues(['a', 'b', 'c'], { a: '', c: ['1', '2'] })).toEqual([
      ['a', ''],
      ['b', undefined],
      ['c', '1, 2'],
    ])
  })
})

describe('who wins', () => {
  const policy: StoragePolicy = {
    ownTtl: undefined,
    routeTtl: undefined,
    defaultTtl: 60_000,
    statuses: new Set([200, 301]),
    targetedFields: [],
    heuristic: false,
    staleWhileRevalidate: undefined,
    staleIfError: undefined,
    keepStale: 0,
    storeSetCookie: false,
    storePartial: false,
    compress: undefined,
    isAuthorized: false,
  }
  const own = { ...policy, routeTtl: 5_000 }
  const judge = (fields: Record<string, string | string[]>, rules = policy, status = 200, outer?: string) =>
    judgeStorage({ status, fields, ...(outer === undefined ? {} : { outerCacheControl: outer }) }, rules, NOW)

  const date = formatDate(NOW)
  const later = formatDate(NOW + 30_000)

  describe.each([
    ['without a ttl of the route', policy],
    ['even with a ttl of the route', own],
  ])('never stored %s', (_, rules) => {
    it.each([
      ['no-store', { 'cache-control': 'no-store, max-age=60' }],
      ['no-store', { 'cache-control': ['max-age=60', 'no-store'] }],
      ['private', { 'cache-control': 'max-age=60, private' }],
      ['private', { 'cache-control': 'private="set-cookie"' }],
      ['set-cookie', { 'set-cookie': 'a=1' }],
      ['set-cookie', { 'set-cookie': ['a=1', 'b=2'], 'cache-control': 'public, max-age=60' }],
      ['vary', { vary: 'accept, *' }],
      ['vary', { vary: ['accept', '*'] }],
      ['connection', { connection: 'Upgrade' }],
    ])('%s: %j', (reason, fields) => {
      expect(judge(fields, rules)).toEqual({ storable: false, reason })
    })

    it.each([
      [404, 'status'],
      [500, 'status'],
      [206, 'partial'],
      [304, 'not-modified'],
      [101, 'status'],
    ])('status %d: %s', (status, reason) => {
      expect(judge({}, rules, status)).toEqual({ storable: false, reason })
    })

    it.each([
      ['no-cache', { 'cache-control': 'no-cache' }],
      ['max-age=0', { 'cache-control': 'max-age=0' }],
      ['Expires in the past', { expires: '0' }],
    ])('an error that says %s of itself', (_, fields) => {
      expect(judge(fields, rules, 500)).toMatchObject({ storable: false })
    })

    it('what an outer layer forbids', () => {
      expect(judge({}, rules, 200, 'no-store')).toEqual({ storable: false, reason: 'no-store' })
      expect(judge({}, rules, 200, 'private')).toEqual({ storable: false, reason: 'private' })
      expect(judge({}, rules, 200, 'max-age=1')).toMatchObject({ storable: true })
    })
  })

  it.each([
    ["the route's ttl before all", { 'cache-control': 's-maxage=7, max-age=9', expires: later }, own, 5_000],
    ["the route's ttl before no-cache", { 'cache-control': 'no-cache' }, own, 5_000],
    ['s-maxage before max-age', { 'cache-control': 'max-age=9, s-maxage=7' }, policy, 7_000],
    ['max-age before Expires', { 'cache-control': 'max-age=9', expires: later, date }, policy, 9_000],
    ['Expires before the default', { expires: later, date }, policy, 30_000],
    ['Expires without Date', { expires: later }, policy, 30_000],
    ['the default last', {}, policy, 60_000],
    ['the default with public alone', { 'cache-control': 'public' }, policy, 60_000],
    ['Age off the lifetime', { 'cache-control': 'max-age=9', age: '4' }, policy, 5_000],
    ['Age not off the own ttl', { age: '4' }, own, 5_000],
  ])('%s', (_, fields, rules, lifetime) => {
    expect(judge(fields as Record<string, string>, rules as StoragePolicy)).toMatchObject({
      storable: true,
      terms: { lifetime },
    })
  })

  it.each([
    ['no-cache', { 'cache-control': 'no-cache' }],
    ['max-age=0', { 'cache-control': 'max-age=0' }],
    ['an unreadable max-age', { 'cache-control': 'max-age=ten' }],
    ['s-maxage=0 with a long max-age', { 'cache-control': 's-maxage=0, max-age=600' }],
    ['Expires in the past', { expires: date, date: later }],
    ['Expires: 0', { expires: '0' }],
    ['two Expires', { expires: [later, later] }],
    ['an Age over the lifetime', { 'cache-control': 'max-age=9', age: '9' }],
  ])('%s is stale from the start, so not stored', (_, fields) => {
    expect(judge(fields as Record<string, string>)).toEqual({ storable: false, reason: 'no-lifetime' })
  })

  it('a ttl of 0 stores nothing', () => {
    expect(judge({}, { ...policy, routeTtl: 0 })).toEqual({ storable: false, reason: 'no-lifetime' })
    expect(judge({}, { ...policy, defaultTtl: 0 })).toEqual({ storable: false, reason: 'no-lifetime' })
    expect(judge({ 'cache-control': 'max-age=5' }, { ...policy, defaultTtl: 0 })).toMatchObject({
      terms: { lifetime: 5_000 },
    })
  })

  it('a status outside the list is stored where the response gives a lifetime', () => {
    expect(judge({ 'cache-control': 'max-age=9' }, policy, 404)).toMatchObject({
      storable: true,
      terms: { lifetime: 9_000 },
    })
  })

  it('what the handler says of this response goes before all', () => {
    const rules = { ...own, ownTtl: 3_000 }
    expect(judge({ 'cache-control': 'max-age=9' }, rules)).toMatchObject({ terms: { lifetime: 3_000 } })
    expect(judge({ 'cache-control': 'no-cache' }, rules, 404)).toMatchObject({
      storable: true,
      terms: { lifetime: 3_000 },
    })
    expect(judge({}, { ...rules, ownTtl: 0 })).toEqual({ storable: false, reason: 'no-lifetime' })
    expect(judge({}, { ...rules, ownTtl: 0 }, 404)).toEqual({ storable: false, reason: 'status' })
    expect(judge({ 'cache-control': 'no-store' }, rules)).toEqual({ storable: false, reason: 'no-store' })
  })

  it('an error that gives its own lifetime lives no longer than it says', () => {
    expect(judge({ 'cache-control': 'max-age=2' }, own, 500)).toMatchObject({
      storable: true,
      terms: { lifetime: 2_000 },
    })
  })

  it('Vary of a layer above counts, but for Origin', () => {
    const above = (outerVary: string) =>
      judgeStorage({ status: 200, fields: { vary: 'Accept' }, outerVary }, policy, NOW)
    expect(above('Accept-Encoding, Origin')).toMatchObject({ vary: ['accept', 'accept-encoding'] })
    expect(above('*')).toEqual({ storable: false, reason: 'vary' })
  })

  it.each(['text/event-stream', 'Text/Event-Stream; charset=utf-8', 'multipart/x-mixed-replace; boundary=x'])(
    'a body that goes on for ever is not stored: %s',
    (type) => {
      expect(judge({ 'content-type': type }, own)).toEqual({ storable: false, reason: 'endless' })
    },
  )

  it('the age that it comes with is kept', () => {
    expect(judge({ 'cache-control': 'max-age=9', age: ['4', '5'] })).toMatchObject({ terms: { initialAge: 4_000 } })
    expect(judge({ 'cache-control': 'max-age=9', age: '4, 5' })).toMatchObject({ terms: { initialAge: 4_000 } })
    expect(judge({ 'cache-control': 'max-age=9', age: 'old' })).toMatchObject({ terms: { initialAge: 0 } })
  })

  it('Vary is found', () => {
    expect(judge({ vary: ['Accept', 'accept-language'] })).toMatchObject({ vary: ['accept', 'accept-language'] })
  })
})

describe('fields that are not kept', () => {
  it.each(['connection', 'keep-alive', 'transfer-encoding', 'te', 'upgrade', 'proxy-authenticate'])('%s', (name) => {
    expect(storableField(name, {})).toBe(false)
  })

  it('those that Connection names', () => {
    expect(storableField('x-hop', { connection: 'close, X-Hop' })).toBe(false)
    expect(storableField('x-other', { connection: 'close, X-Hop' })).toBe(true)
  })

  it.each(['cache-control', 'expires', 'pragma'])('%s speaks of caching', (name) => {
    expect(speaksOfCaching({ [name]: 'x' })).toBe(true)
    expect(speaksOfCaching({ etag: 'x' })).toBe(false)
  })
})

describe('Cache-Status', () => {
  const read = (text: string) => parseList(text).map(([name, parameters]) => [String(name), plain(parameters)])
  const plain = (parameters: Map<string, unknown>) =>
    Object.fromEntries([...parameters].map(([key, value]) => [key, typeof value === 'object' ? String(value) : value]))

  it('remembers what it says of hits, whatever their lifetime', () => {
    const statuses = new HitStatuses('tagcache')
    const lifetime = fc.oneof(fc.integer({ min: -5000, max: 5000 }), fc.maxSafeInteger(), fc.constantFrom(0, -0, 4096))
    fc.assert(
      fc.property(fc.array(lifetime), (lifetimes) => {
        for (const ttl of lifetimes) expect(statuses.of(ttl)).toBe(formatCacheStatus('tagcache', { hit: true, ttl }))
      }),
    )
  })

  it('is what a parser of structured fields reads', () => {
    expect(read(formatCacheStatus('tagcache', { hit: true, ttl: 37 }))).toEqual([['tagcache', { hit: true, ttl: 37 }]])
    expect(read(formatCacheStatus('tagcache', { hit: true, ttl: -3 }))).toEqual([['tagcache', { hit: true, ttl: -3 }]])
  })

  it.each(['bypass', 'method', 'uri-miss', 'vary-miss', 'stale', 'request'] as Forward[])('fwd=%s', (forward) => {
    expect(read(formatCacheStatus('c', { hit: false, forward, stored: true, collapsed: true }))).toEqual([
      ['c', { fwd: forward, stored: true, collapsed: true }],
    ])
    expect(read(formatCacheStatus('c', { hit: false, forward, detail: 'set-cookie' }))).toEqual([
      ['c', { fwd: forward, detail: 'set-cookie' }],
    ])
  })

  it('names the cache with any visible text', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[\x20-\x7e]{1,12}$/), (name) => {
        const [[item] = []] = parseList(formatCacheStatus(formatCacheName(name), { hit: true, ttl: 1 }))
        expect(String(item as Token | string)).toBe(name)
      }),
    )
  })
})
