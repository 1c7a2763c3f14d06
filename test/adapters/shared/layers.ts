import { expect, it } from 'vitest'
import { cacheStatusOf } from '../../support/cache-status.ts'
import { type CallOptions, counting, type Site, type Stack, site } from '../../support/stacks.ts'
import { ManualTime } from '../../support/time.ts'

export function layers(stack: Stack): void {
  /** `cached(outer)` around everything, `cached(inner)` on the route. */
  const nested = (outer: CallOptions, inner: CallOptions, handler = counting()): Promise<Site> =>
    site(stack, { time: new ManualTime() }, (app, { cached }) => {
      app.use(cached(outer))
      app.on('GET', '/items/:id', cached(inner), handler)
    })

  it('one app-wide layer and one on the route make one entry', async () => {
    const { get, cache } = await nested({}, { ttl: 30, tags: ['item'] })
    expect((await get('/items/1')).cacheStatus).toBe('tagcache; fwd=uri-miss; stored')
    expect(cache.stats()).toMatchObject({ requests: 1, misses: 1, stores: 1, entries: 1 })
    const hit = await get('/items/1')
    expect([hit.text, hit.cacheStatus]).toEqual(['run 1', 'tagcache; hit; ttl=30'])
    expect(cache.stats()).toMatchObject({ requests: 2, hits: 1, entries: 1 })
  })

  it('the tags of both count', async () => {
    const { get, cache } = await nested({ tags: 'all' }, { tags: 'item' })
    await get('/items/1')
    cache.invalidateTags('item')
    expect((await get('/items/1')).text).toBe('run 2')
    cache.invalidateTags('all')
    expect((await get('/items/1')).text).toBe('run 3')
  })

  it('what the inner one leaves out stays as the outer one says', async () => {
    const { get } = await nested({ ttl: 20, clientCacheControl: false }, { tags: 'item' })
    await get('/items/1')
    const hit = await get('/items/1')
    expect([hit.cacheStatus, hit.headers['cache-control']]).toEqual(['tagcache; hit; ttl=20', undefined])
  })

  it('app-wide alone keeps what is under each path', async () => {
    const { get, cache } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
      app.use(cached({ tags: 'all' }))
      app.on('GET', '/items/:id', counting())
    })
    expect((await get('/items/1')).text).toBe('run 1')
    expect((await get('/items/2')).text).toBe('run 2')
    expect((await get('/items/1')).cacheStatus).toBe('tagcache; hit; ttl=60')
    expect(cache.stats().entries).toBe(2)
  })

  const perUser: CallOptions = { scope: ({ req }) => req.headers['x-user'] as string }

  it('an inner scope takes over, and nothing is shared across it', async () => {
    const { get, cache } = await nested({}, perUser)
    const ask = async (user: string) => (await get('/items/1', { 'x-user': user })).text
    expect([await ask('ann'), await ask('bob'), await ask('ann'), await ask('bob')]).toEqual([
      'run 1',
      'run 2',
      'run 1',
      'run 2',
    ])
    expect(cache.stats()).toMatchObject({ requests: 4, misses: 2, hits: 2, entries: 2 })
  })

  it('an inner scope takes over requests with credentials too', async () => {
    const { get, cache } = await nested({}, perUser)
    const headers = { 'x-user': 'ann', cookie: 'session=ann' }
    const miss = await get('/items/1', headers)
    expect(cacheStatusOf(miss)).toEqual([{ cache: 'tagcache', fwd: 'uri-miss', stored: true }])
    const hit = await get('/items/1', headers)
    expect([hit.text, hit.cacheStatus]).toEqual(['run 1', 'tagcache; hit; ttl=60'])
    expect(cache.stats()).toMatchObject({ requests: 2, misses: 1, hits: 1, bypasses: 0, entries: 1 })
  })

  it('what an outer public layer holds is not shared past an inner scope', async () => {
    const { get } = await nested({ scope: 'public' }, perUser)
    expect((await get('/items/1', { 'x-user': 'ann' })).text).toBe('run 1')
    expect((await get('/items/1', { 'x-user': 'bob' })).text).toBe('run 2')
  })

  it.each([
    ['vary', { vary: 'x-own' }, { 'x-own': 'a' }, { 'x-own': 'b' }, '/items/1', '/items/1'],
    ['query', { query: ['q'] }, {}, {}, '/items/1?q=1&x=1', '/items/1?q=2&x=1'],
    ['host', { host: () => 'one' }, { 'x-own': 'a' }, { 'x-own': 'a' }, '/items/1', '/items/2'],
  ] as [string, CallOptions, Record<string, string>, Record<string, string>, string, string][])(
    'another %s inside takes over, with one entry for each key',
    async (_, inner, oneHeaders, otherHeaders, onePath, otherPath) => {
      const { get, cache } = await nested({}, inner)
      const one = await get(onePath, oneHeaders)
      expect(cacheStatusOf(one)).toEqual([{ cache: 'tagcache', fwd: 'uri-miss', stored: true }])
      expect(cache.stats().entries).toBe(1)
      expect((await get(otherPath, otherHeaders)).text).toBe('run 2')
      expect((await get(onePath, oneHeaders)).text).toBe('run 1')
      expect(cache.stats()).toMatchObject({ requests: 3, entries: 2 })
    },
  )

  it('an inner query selection shares what the outer one would keep apart', async () => {
    const { get, cache } = await nested({}, { query: ['q'] })
    await get('/items/1?q=1&x=1')
    const hit = await get('/items/1?q=1&x=2')
    expect([hit.text, hit.cacheStatus]).toEqual(['run 1', 'tagcache; hit; ttl=60'])
    expect(cache.stats().entries).toBe(1)
  })

  it('an inner layer that is not enabled takes the request out', async () => {
    const { get, cache } = await nested({}, { enabled: false })
    const answer = await get('/items/1')
    expect([answer.text, answer.cacheStatus]).toEqual(['run 1', 'tagcache; fwd=bypass; detail=disabled'])
    expect((await get('/items/1')).text).toBe('run 2')
    expect(cache.stats()).toMatchObject({ requests: 2, bypasses: 2, entries: 0 })
  })

  const twoCaches = async () => {
    const time = new ManualTime()
    const inner = stack.tools({ time, cacheName: 'inner' })
    const { cache: outer, get } = await site(stack, { time, cacheName: 'outer' }, (app, { cached }) => {
      app.on('GET', '/', cached({ tags: 'a' }), inner.cached({ tags: 'b' }), counting())
    })
    return { get, outer, inner: inner.cache }
  }

  it('two caches in one chain both store', async () => {
    const { get, outer, inner } = await twoCaches()
    const miss = await get('/')
    expect(cacheStatusOf(miss)).toEqual([
      { cache: 'inner', fwd: 'uri-miss', stored: true },
      { cache: 'outer', fwd: 'uri-miss', stored: true },
    ])
    expect([outer.stats().entries, inner.stats().entries]).toEqual([1, 1])
  })

  it('two caches in one chain are purged each for itself', async () => {
    const { get, outer, inner } = await twoCaches()
    await get('/')
    outer.invalidateTags('a')
    const answer = await get('/')
    expect(answer.text).toBe('run 1')
    expect(cacheStatusOf(answer)[0]).toEqual({ cache: 'inner', hit: true, ttl: 60 })
    inner.invalidateTags('b')
    outer.invalidateTags('a')
    expect((await get('/')).text).toBe('run 2')
  })
}
