import express from 'express'
import { Redis } from 'ioredis'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { redis } from '../../src/backends/redis/redis.ts'
import { dashboard } from '../../src/dashboard/dashboard.ts'
import { createCache, keyValue, memory, tiered } from '../../src/index.ts'
import { ask, listen } from '../support/http.ts'
import { startRedis } from '../support/redis.ts'
import { ManualTime } from '../support/time.ts'
import { ANN, board, jsonOf, MOUNTINGS } from './support.ts'

const time = Date.UTC(2026, 0, 1)

/** A shop of two routes, and its dashboard. */
async function shop() {
  const clock = new ManualTime(time)
  const { cached, cache, invalidates } = tagcache({ time: clock, ttl: 60 })
  const app = express()
  app.use('/cache', dashboard(cache, ANN))
  app.get('/products/:id', cached({ tags: (req) => [{ type: 'product', id: String(req.params.id) }] }), (req, res) => {
    clock.move(40)
    res.json({ id: req.params.id })
  })
  app.put(
    '/products/:id',
    invalidates((req) => `product:${req.params.id}`),
    (_req, res) => void res.end(),
  )
  app.get('/search', cached(), (_req, res) => {
    clock.move(10)
    res.cookie('a', 'b').json([])
  })
  const server = await listen(app)
  onTestFinished(() => server.close())
  const get = (path: string, headers = {}) => ask(server.url + path, { headers })
  return { clock, cache, server, get, read: async <V>(path: string) => jsonOf<V>(await get(`/cache/api${path}`)) }
}

describe('the admin routes', () => {
  it('say whose numbers they are', async () => {
    const { read } = await shop()
    const of = { kind: 'process', pid: process.pid, host: expect.any(String), since: time }
    expect(await read('/about')).toEqual({
      of,
      node: process.version,
      namespace: null,
      visitor: { name: 'ann' },
      can: { purge: true, explain: expect.any(Boolean), listTags: true, listEntries: true, fleet: false },
    })
    for (const path of ['/stats', '/series', '/routes', '/events']) expect(await read(path)).toMatchObject({ of })
    expect(await read('/stats')).toMatchObject({ health: 'well', maxBytes: 64 * 1024 * 1024, stats: { requests: 0 } })
  })

  it('give what became of requests, by route, with the reasons', async () => {
    const { read, get } = await shop()
    for (let at = 0; at < 3; at++) await get('/products/1')
    await get('/products/1', { cookie: 'a=b' })
    await get('/search')
    const { routes } = await read<{ routes: unknown[] }>('/routes')
    expect(routes).toMatchObject([
      {
        route: 'GET /products/:id',
        requests: 4,
        hits: 2,
        misses: 1,
        bypasses: 1,
        stores: 1,
        hitRatio: 0.5,
        savedSeconds: 0.08,
        handlerMilliseconds: 40,
      },
      { route: 'GET /search', requests: 1, misses: 1, hitRatio: 0 },
    ])
    expect(routes).toMatchObject([
      { reasons: expect.arrayContaining([{ reason: 'credentials', count: 1 }]) },
      { reasons: [{ reason: 'set-cookie', count: 1 }] },
    ])
  })

  it('give the last minutes by second, and the last hour by ten', async () => {
    const { read, get, clock } = await shop()
    await get('/products/1')
    clock.move(5000)
    for (let at = 0; at < 3; at++) await get('/products/1')
    const { seconds, tens } = await read<Record<'seconds' | 'tens', Record<string, (number | null)[]>>>('/series')
    const at = (seconds.time as number[]).indexOf(time + 5000)
    expect([seconds.time!.length, tens.time!.length, at]).toEqual([300, 360, 299])
    const column = (name: string) => [seconds[name]![at - 5], seconds[name]![at]]
    expect([column('misses'), column('hits'), column('saved'), column('spent')]).toEqual([
      [1, 0],
      [0, 3],
      [0, 120],
      [40, 0],
    ])
    expect(seconds.entries![at - 1]).toBe(1)
    expect(seconds.hits!.slice(0, at).every((hits) => hits === 0)).toBe(true)
    expect(tens.hits!.at(-1)).toBe(3)
    clock.move(300_000)
    const later = await read<{ seconds: Record<string, number[]> }>('/series')
    expect(later.seconds.hits!.every((hits) => hits === 0)).toBe(true)
  })

  it('give how long answers took, from the cache and by the handler, in the last ten seconds of each step', async () => {
    const { read, get, clock } = await shop()
    for (let id = 0; id < 19; id++) await get(`/products/${id}`)
    for (let id = 0; id < 19; id++) await get(`/products/${id}`)
    await get('/search')
    const of = async (series: 'seconds' | 'tens') => {
      const columns = (await read<Record<string, Record<string, (number | null)[]>>>('/series'))[series]!
      return ['handlerMedian', 'handlerMost', 'hitMedian', 'hitMost'].map((name) => columns[name]!.at(-1))
    }
    for (const series of ['seconds', 'tens'] as const) {
      const [median, most, hitMedian, hitMost] = await of(series)
      for (const time of [median, most]) expect(Math.abs(time! - 40)).toBeLessThan(4)
      for (const time of [hitMedian, hitMost]) expect(time! > 0 && time! < 1000).toBe(true)
      expect(hitMedian! <= hitMost!).toBe(true)
    }
    clock.move(10_000)
    expect([await of('seconds'), await of('tens')]).toEqual([
      [null, null, null, null],
      [null, null, null, null],
    ])
  })

  it('give tags with what carries them, and who purged them last', async () => {
    const { read, get, cache, clock } = await shop()
    for (const id of [1, 2, 3]) await get(`/products/${id}`)
    expect(await read('/tags?limit=2')).toEqual({
      tags: [
        { kind: 'tag', name: 'product', entries: 3 },
        { kind: 'tag', name: 'product:1', entries: 1 },
      ],
      next: expect.any(String),
    })
    const { next } = await read<{ next: string }>('/tags?limit=2')
    const rest = await read(`/tags?limit=50&after=${encodeURIComponent(next)}`)
    expect(rest).toMatchObject({ tags: [{ name: 'product:2' }, { name: 'product:3' }] })
    cache.invalidateTags('product:2', { by: 'bob' })
    const purgedAt = clock.now()
    await get('/products/2')
    expect(await read('/tags?prefix=product:2')).toEqual({
      tags: [{ kind: 'tag', name: 'product:2', entries: 1, lastPurge: { time: purgedAt, by: 'bob' } }],
    })
    expect(await read('/tags?kind=route')).toEqual({ tags: [{ kind: 'route', name: 'GET /products/:id', entries: 3 }] })
    expect(await read<{ tags: unknown[] }>('/tags?kind=uri')).toMatchObject({ tags: [{ kind: 'uri' }, {}, {}] })
  })

  it('give entries by tag, by route and by key, page by page', async () => {
    const { read, get, cache } = await shop()
    for (const id of [1, 2, 3]) await get(`/products/${id}`)
    cache.set('GET /products/:id/parts', {}, ['product:1'], { body: 'parts' })
    const keys = async (query: string) => {
      const all: string[] = []
      for (let next: string | undefined = ''; next !== undefined; ) {
        const after: string = next === '' ? '' : `&after=${encodeURIComponent(next)}`
        const page: { entries: { key: string; route: string }[]; next?: string } = await read(
          `/entries?${query}&limit=2${after}`,
        )
        all.push(...page.entries.map(({ key }) => key.replace(/#host.*/, '')))
        next = page.next
      }
      return all
    }
    const products = ['GET /products/:id?id=1', 'GET /products/:id?id=2', 'GET /products/:id?id=3']
    expect(await keys('tag=product')).toEqual([...products].reverse())
    expect(await keys(`route=${encodeURIComponent('GET /products/:id')}`)).toEqual(products)
    expect(await keys('')).toEqual([...products.slice(0, 0), 'GET /products/:id/parts', ...products].sort())
    expect(await keys(`prefix=${encodeURIComponent('GET /products/:id?id=2')}`)).toEqual([products[1]])
    expect(await keys('tag=nothing')).toEqual([])
  })

  it('give one entry with its headers, tags, variants and the beginning of its body', async () => {
    const { read, get, cache, clock } = await shop()
    await get('/products/1')
    const { entries } = await read<{ entries: { key: string }[] }>('/entries')
    clock.move(10_000)
    const key = entries[0]!.key
    expect(await read(`/entry?key=${encodeURIComponent(key)}`)).toMatchObject({
      key,
      route: 'GET /products/:id',
      parts: { params: [['id', '1']] },
      status: 200,
      state: 'fresh',
      age: 10,
      ttl: 50,
      cost: 40,
      size: 10,
      headers: expect.arrayContaining([['Content-Type', ['application/json; charset=utf-8']]]),
      tags: expect.arrayContaining([
        { kind: 'tag', name: 'product:1' },
        { kind: 'route', name: 'GET /products/:id' },
      ]),
      body: { size: 10, type: 'application/json; charset=utf-8', text: '{"id":"1"}' },
      variants: [],
    })
    for (const language of ['de', 'en']) {
      const request = { headers: { 'accept-language': language } }
      cache.set('GET /page', request, [], { headers: { vary: 'accept-language' }, body: language })
    }
    const german = cache.keyFromRequest('GET /page', { headers: { 'accept-language': 'de' } })
    const { variants } = await read<{ variants: { key: string }[] }>(`/entry?key=${encodeURIComponent(german)}`)
    expect(variants.map((one) => one.key)).toEqual([
      cache.keyFromRequest('GET /page', { headers: { 'accept-language': 'en' } }),
    ])
  })

  it('give a body as text only where it is text, and not all of a long one', async () => {
    const { read, cache } = await shop()
    const previews = async (headers: Record<string, string>, body: string | Uint8Array) => {
      cache.set('GET /body', {}, [], { headers, body })
      const key = encodeURIComponent(cache.keyFromRequest('GET /body'))
      return (await read<{ body: unknown }>(`/entry?key=${key}`)).body
    }
    const html = { 'content-type': 'text/html' }
    expect(await previews(html, '<script>')).toEqual({ size: 8, type: 'text/html', text: '<script>' })
    expect(await previews(html, 'ü'.repeat(3000))).toEqual({
      size: 6000,
      type: 'text/html',
      text: 'ü'.repeat(2048),
      isCut: true,
    })
    expect(await previews(html, `a${'ü'.repeat(3000)}`)).toMatchObject({ text: `a${'ü'.repeat(2047)}` })
    expect(await previews({ 'content-type': 'text/plain; charset=latin1' }, Buffer.from([0xfc]))).toMatchObject({
      text: 'ü',
    })
    expect(await previews({ 'content-type': 'text/plain; charset=nonsense' }, 'a')).toMatchObject({ text: 'a' })
    for (const [type, encoding] of [
      ['image/png'],
      ['application/octet-stream'],
      ['text/html', 'gzip'],
      [''],
    ] as const) {
      const headers = {
        ...(type ? { 'content-type': type } : {}),
        ...(encoding ? { 'content-encoding': encoding } : {}),
      }
      expect(await previews(headers, 'bytes')).not.toHaveProperty('text')
    }
  })

  it('purge what answers for a URI, and nothing that carries a tag of that name', async () => {
    const { get, cache, server } = await shop()
    await get('/products/1')
    const uri = `${server.url.slice('http://'.length)}/products/1`
    cache.set('GET /a', {}, [uri], { body: 'one' })
    const headers = { 'content-type': 'application/json', 'x-tagcache': '1' }
    const purge = (body: object) =>
      ask(`${server.url}/cache/api/purge`, { method: 'POST', headers, body: JSON.stringify(body) })
    expect((await purge({ uri, tags: ['a'] })).status).toBe(400)
    expect((await purge({ uri: 1 })).status).toBe(400)
    expect(cache.getByTags('product:1')).toBeDefined()
    expect(jsonOf(await purge({ uri }))).toEqual({ isPurged: true, isDelivered: true })
    expect(cache.getByTags('product:1')).toBeUndefined()
    expect(cache.getByRequest('GET /a')).toBeDefined()
    const { events } = jsonOf<{ events: object[] }>(await get('/cache/api/events'))
    expect(events[0]).toMatchObject({ kind: 'purge', uris: [`uri/${uri}`], by: 'ann' })
  })

  it('say of what is explained when each tag was purged last, and by whom', async () => {
    const { get, cache, server, clock } = await shop()
    cache.invalidateTags('product:1', { by: 'bob' })
    cache.invalidateRoute('GET /products/:id', { by: 'eve' })
    const at = clock.now()
    await get('/products/1')
    const headers = { 'content-type': 'application/json', 'x-tagcache': '1' }
    const explain = async (body: object) =>
      jsonOf<{ entry: { tags: object[] }; first: { entry: { tags: object[] } } }>(
        await ask(`${server.url}/cache/api/explain`, { method: 'POST', headers, body: JSON.stringify(body) }),
      )
    const tags = [
      { name: 'product:1', lastPurge: { time: at, by: 'bob' } },
      { kind: 'route', lastPurge: { time: at, by: 'eve' } },
    ]
    const request = { url: '/products/1' }
    const said = await explain({ request })
    expect(said.entry.tags).toEqual(expect.arrayContaining(tags.map((tag) => expect.objectContaining(tag))))
    const both = await explain({ request, other: request })
    expect(both.first.entry.tags).toEqual(said.entry.tags)
    expect(said.entry.tags).toContainEqual({ kind: 'tag', name: 'product', invalidatedAt: 0 })
  })

  it('say what each reason means', async () => {
    const { reasons } = await (await shop()).read<{ reasons: Record<string, string> }>('/reasons')
    expect(reasons).toMatchObject({ credentials: expect.stringContaining('does not say who may share') })
  })

  it('tell what happened beside requests, the same in a row once', async () => {
    const { read, cache, server } = await shop()
    await ask(`${server.url}/products/1`, { method: 'PUT' })
    cache.invalidateTags('again')
    cache.invalidateTags('again')
    cache.clear({ by: 'ann' })
    const { events } = await read<{ events: unknown[] }>('/events')
    expect(events).toMatchObject([
      { kind: 'clear', by: 'ann', count: 1 },
      { kind: 'purge', tags: ['again'], count: 2 },
      { kind: 'purge', tags: ['product:1'], count: 1 },
    ])
  })

  it('say what a backend cannot list, and go on with what it can', async () => {
    const { get, post, cache } = await board(MOUNTINGS[0], ANN, { backend: keyValue(new Map()) })
    cache.set('GET /a', {}, ['t'], { body: 'one' })
    expect(jsonOf(await get('/api/about'))).toMatchObject({ can: { listTags: false, listEntries: false } })
    for (const path of ['/api/tags', '/api/entries']) expect((await get(path)).status).toBe(501)
    expect(jsonOf<{ entries: unknown[] }>(await get('/api/entries?tag=t')).entries).toHaveLength(1)
    const key = cache.keyFromRequest('GET /a')
    expect(jsonOf(await get(`/api/entry?key=${encodeURIComponent(key)}`))).toMatchObject({ key, variants: [] })
    expect(jsonOf(await post('/api/purge', { key: 'GET /b' }))).toEqual({ isPurged: false, isDelivered: true })
  })

  it('give what all processes hold, over Redis in two tiers', async () => {
    const redisServer = await startRedis()
    const client = new Redis(redisServer.port)
    onTestFinished(async () => {
      client.disconnect()
      await redisServer.stop()
    })
    const before = Date.now()
    const other = createCache({ backend: redis(client), namespace: 'shop' })
    await other.set('GET /a', {}, ['t', 'u'], { body: 'of another process' })
    await other.invalidateTags('u')
    await other.set('GET /b', {}, ['u'], { body: 'b' })
    const { get, post } = await board(MOUNTINGS[0], ANN, {
      backend: tiered({ near: memory(), far: redis(client) }),
      namespace: 'shop',
      backendTimeout: '5s',
    })
    const { tags } = jsonOf<{ tags: { name: string; entries: number; lastPurge?: { time: number } }[] }>(
      await get('/api/tags'),
    )
    const [t, u] = tags.toSorted((a, b) => a.name.localeCompare(b.name))
    expect([t, u]).toMatchObject([
      { name: 't', entries: 1 },
      { name: 'u', entries: 1 },
    ])
    expect(t).not.toHaveProperty('lastPurge')
    expect(Math.abs(u!.lastPurge!.time - before)).toBeLessThan(60_000)
    const listed = jsonOf<{ entries: { key: string; state: string }[] }>(await get('/api/entries')).entries
    expect(listed.map(({ key, state }) => `${key} ${state}`).sort()).toEqual([
      'shop|GET /a purged',
      'shop|GET /b fresh',
    ])
    await post('/api/purge', { route: 'GET /b' })
    expect(await other.getByRequest('GET /b')).toBeUndefined()
  })

  it('explain requests, and say where there is no application to ask', async () => {
    const { post } = await board(undefined, ANN, {})
    const request = { method: 'get', url: '/products/1', headers: { Accept: 'text/html' } }
    for (const bad of [
      {},
      { url: 'javascript:1' },
      { url: '/', headers: { 'a b': 'c' } },
      { url: '/', headers: { a: 1 } },
      { url: '/', method: 'G T' },
    ])
      expect((await post('/api/explain', { request: bad })).status, JSON.stringify(bad)).toBe(400)
    const { server, get } = await shop()
    const explain = async (body: object) => {
      const headers = { 'content-type': 'application/json', 'x-tagcache': '1' }
      return jsonOf(
        await ask(`${server.url}/cache/api/explain`, { method: 'POST', headers, body: JSON.stringify(body) }),
      )
    }
    await get('/products/1')
    expect(await explain({ request })).toMatchObject({ route: 'GET /products/:id', decision: { outcome: 'hit' } })
    expect(await explain({ request, other: { url: '/products/2' } })).toMatchObject({ difference: { part: 'params' } })
  })
})
