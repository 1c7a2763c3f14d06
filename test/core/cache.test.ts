import { describe, expect, it } from 'vitest'
import { keyValue } from '../../src/backends/key-value.ts'
import { memory } from '../../src/backends/memory.ts'
import { Cache } from '../../src/cache.ts'
import type { CacheEvent } from '../../src/core/trace.ts'
import { decide } from '../../src/flow/decide.ts'
import { abandon, land } from '../../src/flow/land.ts'
import { type CacheRequest, createCache } from '../../src/index.ts'
import { AsyncMap, Overridden, Slices } from '../support/backends.ts'
import { answerOf, begin, finish, look, responseOf, visitOf } from '../support/requests.ts'
import { ManualTime } from '../support/time.ts'

function setUp(options: ConstructorParameters<typeof Cache>[0] = {}) {
  const time = new ManualTime()
  const slices = new Slices()
  const cache = new Cache<string, true>({ backend: memory({ time, schedule: slices.schedule }), time, ...options })
  const events: CacheEvent[] = []
  cache.on((event) => events.push(event))
  return { cache, time, slices, events }
}

const text = (found: { body: Uint8Array } | undefined) => found && Buffer.from(found.body).toString()
const code = (name: string) => expect.objectContaining({ name: 'TagcacheError', code: name })
const ROUTE = 'GET /products/:id'
const at = (id: string | number): CacheRequest => ({ params: { id } })

describe('a response set by hand', () => {
  it('is got by its request, with all that was given', () => {
    const { cache, time } = setUp()
    const response = {
      status: 203,
      statusMessage: 'Fine',
      headers: { 'X-A': 'a', Link: ['<1>', '<2>'] },
      body: 'héllo',
    }
    expect(cache.set(ROUTE, at(1), [{ type: 'product', id: 1 }, 'x'], response, '2m')).toBe(true)
    time.move(5_500)
    expect(cache.getByRequest(ROUTE, at(1))).toEqual({
      key: 'GET /products/:id?id=1',
      status: 203,
      statusMessage: 'Fine',
      headers: { 'x-a': 'a', link: ['<1>', '<2>'] },
      body: Buffer.from('héllo'),
      tags: ['product:1', 'product', 'x'],
      time: time.now() - 5_500,
      age: 5,
      ttl: 114,
    })
    expect(cache.getByRequest(ROUTE, at(2))).toBeUndefined()
    expect(cache.getByRequest('GET /other/:id', at(1))).toBeUndefined()
  })

  it('is the answer to the same request over HTTP', async () => {
    const { cache } = setUp()
    cache.set('GET /products', { query: 'b=2&a=%31', host: 'h' }, [], { body: 'both' })
    const visit = visitOf(cache, '/products', {}, { target: { query: 'a=1&b=2', host: 'h' } })
    expect(answerOf(await look(cache, visit))).toBe('both')
  })

  it('is fresh for as long as was said, 60 seconds by default', () => {
    const { cache, time } = setUp()
    cache.set('a', {}, [], { body: '1' })
    cache.set('b', {}, [], { body: '2' }, 90)
    time.move(59_999)
    expect([text(cache.getByRequest('a')), text(cache.getByRequest('b'))]).toEqual(['1', '2'])
    time.move(1)
    expect([text(cache.getByRequest('a')), text(cache.getByRequest('b'))]).toEqual([undefined, '2'])
    time.move(30_000)
    expect(cache.getByRequest('b')).toBeUndefined()
  })

  it.each([-1, Number.NaN, '5 minuts', '5', '', null, {}])('is refused with a ttl of %o', (ttl) => {
    expect(() => setUp().cache.set('a', {}, [], {}, ttl as never)).toThrow(code('ERR_TAGCACHE_TTL'))
  })

  it('with a ttl of 0 is not stored', () => {
    const { cache } = setUp()
    expect([cache.set('a', {}, [], {}, 0), cache.set('a', {}, [], {}, '0s')]).toEqual([false, false])
    expect([cache.getByRequest('a'), cache.stats().entries]).toEqual([undefined, 0])
    const none = setUp({ ttl: 0 }).cache
    expect([none.set('a', {}, [], {}), none.set('a', {}, [], {}, 1)]).toEqual([false, true])
  })

  it.each([
    ['a status of 100', { status: 100 }],
    ['a status of 600', { status: 600 }],
    ['a status of 200.5', { status: 200.5 }],
    ['a body of a number', { body: 5 }],
    ['a body of an object', { body: {} }],
    ['Vary: *', { headers: { Vary: '*' } }],
  ])('is refused with %s', (_, response) => {
    expect(() => setUp().cache.set('a', {}, [], response as never)).toThrow(code('ERR_TAGCACHE_RESPONSE'))
  })

  it('is refused with a bad tag, or without a route', () => {
    const { cache } = setUp()
    expect(() => cache.set('a', {}, [''], {})).toThrow(code('ERR_TAGCACHE_TAG'))
    expect(() => cache.set('', {}, [], {})).toThrow(code('ERR_TAGCACHE_REQUEST'))
    expect(() => cache.getByRequest('')).toThrow(code('ERR_TAGCACHE_REQUEST'))
    expect(() => cache.keyFromRequest(undefined as never)).toThrow(code('ERR_TAGCACHE_REQUEST'))
  })

  it('is not changed by what happens to the bytes that were given, or got', () => {
    const { cache } = setUp()
    const bytes = Buffer.from('before')
    cache.set('a', {}, [], { body: bytes })
    bytes.fill(0)
    cache.getByRequest('a')?.body.fill(0)
    expect(text(cache.getByRequest('a'))).toBe('before')
  })

  it('takes the place of an earlier one', () => {
    const { cache } = setUp()
    cache.set('a', {}, ['old'], { body: '1' })
    cache.set('a', {}, ['new'], { body: '2' })
    cache.invalidateTags('old')
    expect(text(cache.getByRequest('a'))).toBe('2')
  })

  it('varies on the fields that it names', () => {
    const { cache } = setUp()
    const asked = (lang?: string) => ({ headers: lang === undefined ? {} : { 'accept-language': lang } })
    for (const lang of ['de', 'en', undefined]) {
      cache.set('a', asked(lang), [], { headers: { Vary: 'Accept-Language' }, body: `in ${lang}` })
    }
    expect(['de', 'en', undefined, 'fr'].map((lang) => text(cache.getByRequest('a', asked(lang))))).toEqual([
      'in de',
      'in en',
      'in undefined',
      undefined,
    ])
  })

  it('with a stamp of before an invalidation is dead', () => {
    const { cache } = setUp()
    const stamp = cache.stamp()
    cache.invalidateTags('t')
    cache.set('a', {}, ['t'], { body: 'old' }, 60, stamp)
    expect(cache.getByRequest('a')).toBeUndefined()
    cache.set('a', {}, ['t'], { body: 'new' }, 60, cache.stamp())
    expect(text(cache.getByRequest('a'))).toBe('new')
  })
})

describe('keys', () => {
  const { cache } = setUp()

  it.each([
    ['GET /products/:id', { params: { id: 42 }, query: { page: 2 } }, 'GET /products/:id?id=42&page=2'],
    ['GET /', { query: '?b=1&a=2' }, 'GET /?a=2&b=1'],
    ['GET /', { query: new URLSearchParams({ a: 'x y' }) }, 'GET /?a=x%20y'],
    ['GET /', { query: { a: ['1', '2'], b: undefined, c: null } }, 'GET /?a=1&a=2'],
    ['GET /', { host: 'example.com', scope: 'u1' }, 'GET /#host=example.com&scope=u1'],
    ['GET /', { key: 'k', vary: ['accept'], headers: { accept: 'text/html' } }, 'GET /#custom=k&~accept=text%2Fhtml'],
    ['GET /', { vary: ['accept'] }, 'GET /#~accept'],
    ['GET /', {}, 'GET /'],
  ])('of %s', (route, request, key) => {
    expect(cache.keyFromRequest(route, request as CacheRequest)).toBe(key)
  })

  it('of tags', () => {
    expect(cache.keyFromTag('product:42')).toBe('tag/product:42')
    expect(cache.keyFromTag({ type: 'product', id: 42 })).toBe('tag/product:42')
    expect(() => cache.keyFromTag('')).toThrow(code('ERR_TAGCACHE_TAG'))
  })

  it('of a namespace', () => {
    const { cache } = setUp({ namespace: 'v2' })
    expect([cache.keyFromRequest('GET /'), cache.keyFromTag('a')]).toEqual(['v2|GET /', 'v2|tag/a'])
    cache.set('GET /', {}, ['a'], {})
    expect(cache.getByRequest('GET /')?.tags).toEqual(['a'])
  })
})

describe('getByTags', () => {
  it('gives the newest valid response that carries any of the tags', () => {
    const { cache, time } = setUp()
    const set = (name: string, tags: string[], ttl = 60) => {
      time.move(10)
      cache.set(name, {}, tags, { body: name }, ttl)
    }
    set('1', ['a'])
    set('2', ['b'])
    set('3', ['a', 'c'])
    set('4', ['d'], 1)
    expect(text(cache.getByTags('a'))).toBe('3')
    expect(text(cache.getByTags(['a', 'b']))).toBe('3')
    expect(text(cache.getByTags(['b', 'never']))).toBe('2')
    expect(cache.getByTags([])).toBeUndefined()
    expect(text(cache.getByTags(['d', 'a']))).toBe('4')
    time.move(1_000)
    expect(text(cache.getByTags(['d', 'a']))).toBe('3')
    cache.invalidateTags('c')
    expect(text(cache.getByTags('a'))).toBe('1')
  })

  it('finds a valid one behind many that are not', () => {
    const { cache } = setUp()
    cache.set('valid', {}, ['t'], { body: 'valid' })
    for (let index = 0; index < 200; index++) cache.set(`${index}`, {}, ['t', 'dead'], {})
    cache.invalidateTags('dead')
    expect(text(cache.getByTags('t'))).toBe('valid')
  })

  it('of a type reaches all ids of it', () => {
    const { cache } = setUp()
    cache.set('a', {}, { type: 'product', id: 7 }, { body: 'seven' })
    expect(text(cache.getByTags({ type: 'product' }))).toBe('seven')
    expect(cache.getByTags({ type: 'product', id: 8 })).toBeUndefined()
  })
})

describe('purging', () => {
  it('reaches every response of every tag, and no others', () => {
    const { cache, events } = setUp()
    for (let id = 0; id < 50; id++) cache.set(ROUTE, at(id), ['products', `product:${id}`], {})
    cache.set('apart', {}, ['apart'], {})
    cache.invalidateTags(['product:3', 'product:4'])
    expect([3, 4, 5].map((id) => cache.getByRequest(ROUTE, at(id)) !== undefined)).toEqual([false, false, true])
    cache.invalidateTags('products')
    expect(Array.from({ length: 50 }, (_, id) => cache.getByRequest(ROUTE, at(id))).filter(Boolean)).toEqual([])
    expect(cache.getByRequest('apart')).toBeDefined()
    expect(events.filter(({ type }) => type === 'invalidation')).toEqual([
      { type: 'invalidation', tags: ['product:3', 'product:4'], uris: [], isDelivered: true },
      { type: 'invalidation', tags: ['products'], uris: [], isDelivered: true },
    ])
  })

  it('of a whole type reaches those tagged with an id, not those of a longer name', () => {
    const { cache } = setUp()
    cache.set('a', {}, { type: 'product', id: 1 }, {})
    cache.set('b', {}, { type: 'products', id: 1 }, {})
    cache.invalidateTags({ type: 'product' })
    expect([cache.getByRequest('a'), cache.getByRequest('b') !== undefined]).toEqual([undefined, true])
  })

  it('of no tags does nothing, of bad ones throws', () => {
    const { cache, events } = setUp()
    cache.invalidateTags([])
    expect(events).toEqual([])
    expect(() => cache.invalidateTags([''])).toThrow(code('ERR_TAGCACHE_TAG'))
  })

  it('of everything reaches what has no tags, too', () => {
    const { cache, events } = setUp()
    cache.set('a', {}, [], {})
    cache.set('b', {}, ['t'], {})
    cache.clear()
    expect([cache.getByRequest('a'), cache.getByRequest('b')]).toEqual([undefined, undefined])
    expect(events.at(-1)).toEqual({ type: 'clear', isDelivered: true })
  })

  it('of one request forgets that one alone', () => {
    const { cache } = setUp()
    cache.set(ROUTE, at(1), [], {})
    cache.set(ROUTE, at(2), [], {})
    expect([cache.delete(ROUTE, at(1)), cache.delete(ROUTE, at(1))]).toEqual([true, false])
    expect([cache.getByRequest(ROUTE, at(1)), cache.getByRequest(ROUTE, at(2)) !== undefined]).toEqual([
      undefined,
      true,
    ])
  })

  it.each([
    ['a tag', (cache: Cache) => cache.invalidateTags('t'), ['t']],
    ['everything', (cache: Cache) => cache.clear(), ['t']],
    ['everything, and what is computed has no tags', (cache: Cache) => cache.clear(), []],
  ])('%s outdates what is being computed', async (_, purge, tags) => {
    const { cache, events } = setUp()
    const visit = visitOf(cache, '/')
    const run = await begin(cache, visit)
    await purge(cache)
    await finish(cache, run, { body: 'old', tags })
    expect(answerOf(await look(cache, visit))).toBe('run')
    expect(events.at(-1)).toMatchObject({ type: 'trace', outcome: 'miss', stored: false, reason: 'outdated' })
  })
})

describe('a request', () => {
  it('runs its handler once, and is answered from the cache until that is stale', async () => {
    const { cache, time } = setUp()
    const visit = visitOf(cache, '/', { tags: 't' })
    await finish(cache, await begin(cache, visit), { body: 'first' })
    time.move(7_000)
    expect(await look(cache, visit)).toMatchObject({ kind: 'hit', age: 7_000, cacheStatus: 'tagcache; hit; ttl=53' })
    time.move(53_000)
    expect(await look(cache, visit)).toMatchObject({ kind: 'run' })
  })

  it('that comes while its response is computed waits for it', async () => {
    const { cache, events, time } = setUp()
    const visit = visitOf(cache, '/')
    const run = await begin(cache, visit)
    const waiting = [look(cache, visit), look(cache, visit)]
    time.move(250)
    await finish(cache, run, { body: 'shared' })
    expect((await Promise.all(waiting)).map(answerOf)).toEqual(['shared', 'shared'])
    expect(cache.stats()).toMatchObject({ requests: 3, collapsed: 2, misses: 1, stores: 1, savedSeconds: 0.5 })
    expect(events.filter((event) => event.type === 'trace').map(({ outcome }) => outcome)).toEqual([
      'miss',
      'collapsed',
      'collapsed',
    ])
  })

  it('that comes after an invalidation does not wait for what was begun before it', async () => {
    const { cache } = setUp()
    const visit = visitOf(cache, '/', { tags: ['t'] })
    const old = await begin(cache, visit)
    cache.invalidateTags('t')
    const young = await begin(cache, visit)
    expect(young).not.toBe(old)
    await finish(cache, old, { body: 'old' })
    const third = look(cache, visit)
    await finish(cache, young, { body: 'young' })
    expect(answerOf(await third)).toBe('young')
  })

  it('that comes after an invalidation of another tag waits all the same', async () => {
    const { cache } = setUp()
    const visit = visitOf(cache, '/', { tags: ['t'] })
    const run = await begin(cache, visit)
    cache.invalidateTags('other')
    const waiting = look(cache, visit)
    await finish(cache, run, { body: 'shared' })
    expect(answerOf(await waiting)).toBe('shared')
  })

  it('that waits runs anew where a tag that was added late was invalidated before it came', async () => {
    const { cache } = setUp()
    const visit = visitOf(cache, '/')
    const run = await begin(cache, visit)
    cache.invalidateTags('late')
    const waiting = look(cache, visit)
    await finish(cache, run, { body: 'old', tags: 'late' })
    expect(answerOf(await waiting)).toBe('run')
  })

  it('that waits runs for itself where the response is of no use to it', async () => {
    const { cache, time } = setUp()
    const visit = visitOf(cache, '/')
    for (const head of [{ fields: { 'set-cookie': 'a=1' } }, { status: 500 }]) {
      const run = await begin(cache, visit)
      const waiting = look(cache, visit)
      await finish(cache, run, { head })
      expect(answerOf(await waiting)).toBe('run')
      time.move(60_000)
    }
  })

  it('that waits is let go when the handler takes too long', async () => {
    const { cache, time } = setUp()
    const visit = visitOf(cache, '/', { coalesce: { maxWait: '2s' } })
    await begin(cache, visit)
    const waiting = look(cache, visit)
    time.move(2_000)
    expect(answerOf(await waiting)).toBe('run')
  })

  it('waits for nobody where coalescing is off', async () => {
    const { cache } = setUp({ coalesce: false })
    const visit = visitOf(cache, '/')
    expect([await begin(cache, visit), await begin(cache, visit)].map(({ flight }) => flight)).toEqual([
      undefined,
      undefined,
    ])
  })

  it('is not answered by a response that its handler gave up, or skipped', async () => {
    const { cache } = setUp()
    const visit = visitOf(cache, '/')
    const given = await begin(cache, visit)
    const waiting = look(cache, visit)
    abandon(cache.flow, given, 'aborted')
    expect(answerOf(await waiting)).toBe('run')
    const skipped = await begin(cache, visit)
    const decision = decide(cache.flow, skipped, { status: 200, fields: {} })
    skipped.isSkipped = true
    if (decision.store) await land(cache.flow, skipped, decision, responseOf('skipped'))
    expect(answerOf(await look(cache, visit))).toBe('run')
    expect(cache.stats().reasons).toEqual({ aborted: 1, skip: 1 })
  })

  it.each([
    ['credentials', {}, { headers: { authorization: 'x' } }],
    ['credentials', {}, { headers: { cookie: 'a=1' } }],
    ['scope', { scope: () => undefined }, {}],
    ['disabled', { enabled: false }, {}],
    ['method', {}, { method: 'POST' }],
    ['range', {}, { headers: { range: 'items=0-1' } }],
    ['precondition', {}, { headers: { 'if-match': '"a"' } }],
    ['body', {}, { headers: { 'content-length': '5' } }],
    ['body', {}, { headers: { 'transfer-encoding': 'chunked' } }],
    ['key', { key: () => undefined }, {}],
    ['head', {}, { method: 'HEAD' }],
    ['request-no-store', {}, { headers: { 'cache-control': 'no-store' } }],
    [
      'option-failed',
      {
        enabled: () => {
          throw new Error('bug')
        },
      },
      {},
    ],
  ])('goes past the cache: %s', async (reason, options, more) => {
    const { cache } = setUp()
    expect(answerOf(await look(cache, visitOf(cache, '/', options as never, more)))).toBe(`pass: ${reason}`)
  })

  it('shares with those of its own scope alone', async () => {
    const { cache } = setUp()
    const visit = (user: string | number) =>
      visitOf(cache, '/', { scope: () => user }, { headers: { cookie: `user=${user}` } })
    await finish(cache, await begin(cache, visit('ann')), { body: 'for ann' })
    expect([answerOf(await look(cache, visit('ann'))), answerOf(await look(cache, visit('bob')))]).toEqual([
      'for ann',
      'run',
    ])
    const open = visitOf(cache, '/', { scope: 'public' }, { headers: { cookie: 'a=1' } })
    expect(answerOf(await look(cache, open))).toBe('run')
  })

  it('is answered by its own variant', async () => {
    const { cache } = setUp()
    const visit = (language: string) => visitOf(cache, '/', {}, { headers: { 'accept-language': language } })
    const head = { fields: { vary: 'Accept-Language' } }
    await finish(cache, await begin(cache, visit('de')), { body: 'deutsch', head })
    const english = await begin(cache, visit('en'))
    expect(english.forward).toBe('vary-miss')
    await finish(cache, english, { body: 'english', head })
    expect([answerOf(await look(cache, visit('de'))), answerOf(await look(cache, visit('en')))]).toEqual([
      'deutsch',
      'english',
    ])
  })
})

describe('stats', () => {
  it('add up', async () => {
    const { cache, time, slices } = setUp({ backend: undefined as never })
    const visit = visitOf(cache, '/', { tags: 't' })
    await finish(cache, await begin(cache, visit))
    for (let index = 0; index < 3; index++) await look(cache, visit)
    await finish(cache, await begin(cache, visitOf(cache, '/no')), { head: { status: 404 } })
    const past = await look(cache, visitOf(cache, '/', {}, { headers: { cookie: 'a' } }))
    if (past.kind === 'pass') cache.flow.record(past.trace)
    cache.invalidateTags('t')
    cache.clear()
    slices.runAll()
    time.move(1)
    const stats = cache.stats()
    expect(stats).toMatchObject({
      requests: 6,
      hits: 3,
      misses: 2,
      bypasses: 1,
      collapsed: 0,
      stores: 1,
      invalidations: 2,
      faults: 0,
      reasons: { status: 1, credentials: 1 },
      entries: 0,
    })
    const left = Object.values(stats.removals).reduce((sum, count) => sum + count, 0)
    expect(left + stats.entries).toBe(stats.stores)
  })

  it('reach every reason of removal', async () => {
    const time = new ManualTime()
    const slices = new Slices()
    const { cache } = setUp({ backend: memory({ time, schedule: slices.schedule, maxEntries: 2 }) })
    for (const name of ['a', 'b', 'c']) cache.set(name, {}, ['t'], {})
    cache.set('c', {}, ['t'], {}, 1)
    time.move(1_000)
    cache.getByRequest('c')
    cache.delete('b')
    cache.set('d', {}, ['t'], {})
    cache.invalidateTags('t')
    slices.runAll()
    expect(cache.stats().removals).toEqual({ expired: 1, evicted: 1, invalidated: 1, replaced: 1, deleted: 1 })
  })

  it('count faults of the backend, which cost hits and nothing else', async () => {
    const backend = new Overridden(memory(), {
      lookup() {
        throw new Error('down')
      },
    })
    const { cache, events } = setUp({ backend })
    expect(answerOf(await look(cache, visitOf(cache, '/')))).toBe('pass: backend')
    expect(cache.getByRequest('a')).toBeUndefined()
    expect(cache.stats().faults).toBe(1)
    expect(events.map(({ type }) => type)).toEqual(['backend', 'fault'])
  })

  it('are a copy', () => {
    const { cache } = setUp()
    const stats = cache.stats()
    cache.set('a', {}, [], {})
    expect([stats.entries, cache.stats().entries]).toEqual([0, 1])
  })
})

describe('listeners', () => {
  it('hear all events, or those of one type, until they leave', () => {
    const { cache } = setUp()
    const all: string[] = []
    const some: unknown[] = []
    const leave = cache.on((event) => all.push(event.type))
    cache.on('invalidation', ({ tags }) => some.push(tags))
    cache.invalidateTags('a')
    cache.clear()
    leave()
    cache.invalidateTags(['b', 'c'])
    expect([all, some]).toEqual([
      ['invalidation', 'clear'],
      [['a'], ['b', 'c']],
    ])
  })

  it('that throw are told of once and asked no more, and disturb nobody', async () => {
    const { cache, events } = setUp()
    const warned = new Promise<Error>((resolve) => {
      process.on('warning', function told(warning: Error & { code?: string }) {
        if (warning.code !== 'TAGCACHE_LISTENER_FAILED') return
        process.off('warning', told)
        resolve(warning)
      })
    })
    const heard: string[] = []
    let calls = 0
    cache.on(() => {
      calls += 1
      throw new Error('bug in a listener')
    })
    cache.on((event) => heard.push(event.type))
    expect(() => cache.invalidateTags('a')).not.toThrow()
    cache.invalidateTags('b')
    expect(calls).toBe(1)
    expect(heard.filter((type) => type === 'invalidation').length).toBe(2)
    expect(events).toContainEqual(expect.objectContaining({ type: 'warning', code: 'TAGCACHE_LISTENER_FAILED' }))
    expect(await warned).toMatchObject({ name: 'TagcacheWarning' })
  })
})

describe('caches that share a backend', () => {
  it('need namespaces, and are kept apart by them', () => {
    const backend = memory()
    const one = createCache({ backend, namespace: 'one' })
    const two = createCache({ backend, namespace: 'two' })
    one.set('a', {}, ['t'], { body: '1' })
    two.set('a', {}, ['t'], { body: '2' })
    one.invalidateTags('t')
    expect([text(one.getByRequest('a')), text(two.getByRequest('a'))]).toEqual([undefined, '2'])
    expect(two.getByTags('t')?.tags).toEqual(['t'])
  })

  it('may not take the same one, or none twice', () => {
    const backend = memory()
    createCache({ backend })
    createCache({ backend, namespace: 'a' })
    expect(() => createCache({ backend })).toThrow(code('ERR_TAGCACHE_NAMESPACE_TAKEN'))
    expect(() => createCache({ backend, namespace: 'a' })).toThrow(code('ERR_TAGCACHE_NAMESPACE_TAKEN'))
    createCache({ backend: memory(), namespace: 'a' })
  })

  it('give theirs back when they close', () => {
    const backend = memory()
    createCache({ backend, namespace: 'a' }).close()
    expect(() => createCache({ backend, namespace: 'a' })).not.toThrow()
  })
})

describe('a closed cache', () => {
  it('lets requests pass, and refuses everything else', async () => {
    const { cache } = setUp()
    cache.set('a', {}, [], {})
    cache.close()
    cache.close()
    expect(answerOf(await look(cache, visitOf(cache, '/')))).toBe('pass: closed')
    const calls: (() => unknown)[] = [
      () => cache.getByRequest('a'),
      () => cache.getByTags('t'),
      () => cache.set('a', {}, [], {}),
      () => cache.stamp(),
      () => cache.invalidateTags('t'),
      () => cache.delete('a'),
      () => cache.clear(),
    ]
    for (const call of calls) expect(call).toThrow(code('ERR_TAGCACHE_CLOSED'))
  })

  it('stores nothing of a run that was under way', async () => {
    const { cache } = setUp()
    const run = await begin(cache, visitOf(cache, '/'))
    cache.close()
    await finish(cache, run, { body: 'late' })
    expect(cache.stats().entries).toBe(0)
  })
})

describe('over a backend that answers with promises', () => {
  it('every method gives a promise', async () => {
    const cache = createCache({ backend: keyValue(new AsyncMap()) })
    const stored = cache.set('a', {}, ['t'], { body: 'x' })
    expect(stored).toBeInstanceOf(Promise)
    expect(await stored).toBe(true)
    const found = [cache.getByRequest('a'), cache.getByTags('t')]
    expect(found.every((answer) => answer instanceof Promise)).toBe(true)
    expect((await Promise.all(found)).map(text)).toEqual(['x', 'x'])
    const others = [
      cache.set('a', {}, ['t'], {}, 0),
      cache.stamp(),
      cache.delete('b'),
      cache.invalidateTags('t'),
      cache.invalidateTags([]),
      cache.clear(),
      cache.close(),
      cache.close(),
    ]
    expect(others.every((answer) => answer instanceof Promise)).toBe(true)
    await Promise.all(others)
  })

  it('a stamp that cannot be had is one that outdates', async () => {
    const backend = new Overridden(keyValue(new AsyncMap()), { clock: () => Promise.reject(new Error('down')) })
    const cache = new Cache<string, false>({ backend })
    const stamp = await cache.stamp()
    await cache.invalidateTags('t')
    await cache.set('a', {}, ['t'], {}, 60, stamp)
    expect(await cache.getByRequest('a')).toBeUndefined()
  })
})
