import { IncomingMessage } from 'node:http'
import express from 'express'
import { describe, expect, it } from 'vitest'
import { tagcache as expressCache } from '../../src/adapters/express.ts'
import { keyValue } from '../../src/backends/key-value.ts'
import { createCache, type Explanation } from '../../src/index.ts'
import { AsyncMap } from '../support/backends.ts'
import { ask, gate, listen } from '../support/http.ts'
import { counting, fronted, type Layer, STACKS, site, type Tools, turns, until } from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'

type Options = Parameters<Tools['cached']>[0]

/** An application behind a proxy on this machine, with a page, and what is shut to everybody but this machine. */
async function proxied() {
  const { cached, cache } = expressCache()
  const app = express().set('trust proxy', 'loopback')
  let shut = 0
  app.get('/page', cached(), (_req, res) => void res.send('page'))
  app.get('/shut', (req, res) => {
    if (req.ip !== '127.0.0.1') return void res.sendStatus(403)
    shut += 1
    res.send('shut')
  })
  return { cache, shut: () => shut, ...(await listen(app)) }
}

/** A shop with one item route, and what explains it. */
async function shop(stack = STACKS[1]!, route: Options = {}, more: object = {}) {
  const time = new ManualTime()
  const handler = counting()
  const seen: string[] = []
  const served = await site(stack, { time, ...more }, (app, { cached, invalidates }) => {
    app.use(stack.before(({ req }) => seen.push(`${req.method} ${req.url}`)))
    app.on('GET', '/items/:id', cached({ tags: ['items'], ttl: 10, ...route }), handler)
    app.on('GET', '/plain', () => ({ status: 418, body: 'no cache' }))
    app.on('GET', '/purging', invalidates('items') as Layer, cached(), handler)
    app.on('PUT', '/items/:id', invalidates('items'), handler)
  })
  const host = `127.0.0.1:${served.port}`
  return { ...served, time, handler, seen, host }
}

const all = [...STACKS, ...STACKS.map((stack) => ({ ...fronted(stack), name: `${stack.name}, from in front` }))]

describe.each(all)('$name', (stack) => {
  it('explains a request that was never seen, and then one that would hit', async () => {
    const { cache, get, time, handler, seen, host } = await shop(stack)
    await get('/plain')
    await get('/items/2')
    const before = [cache.stats(), handler.runs()]
    const first = await cache.explain('/items/1?b=2&a=1')
    expect(first).toMatchObject({ method: 'GET', url: '/items/1?b=2&a=1', isReached: true })
    expect(first.decision).toMatchObject({ outcome: 'miss', forward: 'uri-miss', reason: 'uri-miss' })
    expect(first.key).toMatchObject({ query: ['a=1', 'b=2'], host, vary: {} })
    expect([first.route, first.key!.params]).toEqual(
      stack.hasPatterns ? ['GET /items/:id', { id: '1' }] : ['GET /items/1', {}],
    )
    expect(first.entry).toBeUndefined()
    expect([cache.stats(), handler.runs()]).toEqual(before)
    expect(seen.at(-1)).toBe('GET /items/1?b=2&a=1')

    await get('/items/1')
    time.move(4_000)
    const hit = await cache.explain(new Request(`http://${host}/items/1`))
    expect(hit.decision).toEqual({ outcome: 'hit', text: 'It would hit: a fresh response is stored.' })
    expect(hit.entry).toMatchObject({ status: 200, age: 4, ttl: 6, lifetime: 10, size: 5, isInvalidated: false })
    expect(hit.entry!.tags).toMatchObject([{ kind: 'route' }, { name: 'items', kind: 'tag' }, { kind: 'uri' }])
    expect([cache.stats().requests, (await get('/items/1')).text]).toEqual([2, 'run 2'])
  })

  it('runs no handler, purges nothing and stores nothing', async () => {
    const { cache, get, handler } = await shop(stack)
    await get('/items/1')
    const { invalidations, entries, requests } = cache.stats()
    expect((await cache.explain('/purging')).decision.outcome).toBe('miss')
    expect(await cache.explain({ url: '/items/1', method: 'PUT' })).toMatchObject({
      isReached: false,
      decision: { outcome: 'bypass', reason: 'method' },
    })
    expect(cache.stats()).toMatchObject({ invalidations, entries, requests })
    expect(handler.runs()).toBe(1)
    expect((await get('/items/1')).cacheStatus).toMatch(/; hit/)
  })

  it('says that no layer was reached, and what was answered', async () => {
    const { cache, get } = await shop(stack)
    await get('/items/1')
    expect(await cache.explain('/plain')).toMatchObject({
      isReached: false,
      status: 418,
      decision: { outcome: 'bypass', reason: 'unreached' },
    })
    const { status } = await get('/nowhere')
    expect(await cache.explain('/nowhere')).toMatchObject({ isReached: false, status })
  })

  it('says what two requests do not share', async () => {
    const { cache, get } = await shop(stack, { vary: 'X-Own' })
    await get('/items/1')
    const { isShared, text, difference } = await cache.explain('/items/1?a=1&b=2', '/items/1?b=2&a=1')
    expect([isShared, text, difference]).toEqual([
      true,
      'They share: both are looked for under the same key.',
      undefined,
    ])
    const other = async (headers: Record<string, string>, url = '/items/1') =>
      (await cache.explain('/items/1?page=1', { url: `${url}?page=1`, headers })).difference
    expect((await cache.explain('/items/1?page=1', '/items/1?page=2')).difference).toEqual({
      part: 'query',
      name: 'page',
      first: '1',
      second: '2',
    })
    expect(await other({ 'X-Own': 'a' })).toEqual({ part: 'vary', name: 'x-own', first: undefined, second: 'a' })
    expect(await other({ host: 'other.example' })).toMatchObject({ part: 'host', second: 'other.example' })
    expect(await other({}, '/items/2')).toMatchObject(
      stack.hasPatterns ? { part: 'params', name: 'id', first: '1', second: '2' } : { part: 'route' },
    )
    const past = await cache.explain('/items/1', { url: '/items/1', headers: { cookie: 'a=1' } })
    expect([past.isShared, past.second.decision.reason]).toEqual([false, 'credentials'])
  })
})

const outcomeOf = ({ decision: { outcome, reason } }: Explanation) => (reason ? `${outcome}: ${reason}` : outcome)

describe('the decision', () => {
  it('is the one that the request itself comes to', async () => {
    const stack = STACKS[1]!
    const { cache, get, time, events, send } = await shop(stack, { staleWhileRevalidate: 5, requestDirectives: true })
    const foretold: string[] = []
    const told = () =>
      events.flatMap((event) =>
        event.type === 'trace' ? (event.reason ? `${event.outcome}: ${event.reason}` : event.outcome) : [],
      )
    const ask = async (headers: Record<string, string> = {}, method = 'GET') => {
      foretold.push(outcomeOf(await cache.explain({ url: '/items/1', method, headers })))
      await send(method, '/items/1', { headers })
    }
    await get('/plain')
    await get('/items/2')
    await ask()
    await ask()
    await ask({ 'cache-control': 'no-cache' })
    await ask({ 'cache-control': 'only-if-cached, no-cache' })
    await ask({ cookie: 'a=1' })
    await ask({ range: 'lines=1-2' })
    await ask({}, 'HEAD')
    time.move(12_000)
    await ask()
    await until(() => cache.stats().refreshes === 1)
    time.move(3_600_000)
    await ask()
    cache.invalidateTags('items')
    await ask()
    cache.invalidateTags('items')
    await turns()
    await ask({ 'cache-control': 'no-store' })
    await ask({}, 'HEAD')
    expect(foretold).toEqual(told().slice(1))
    expect(new Set(foretold).size).toBeGreaterThan(8)
  })

  it('says that the request would wait', async () => {
    const held = gate()
    const stack = STACKS[1]!
    const served = await site(stack, {}, (app, { cached }) => {
      app.on('GET', '/', cached(), () => held.opened.then(() => 'text'))
    })
    const answer = served.get('/')
    await until(() => served.cache.flow.flights.size === 1)
    expect(outcomeOf(await served.cache.explain('/'))).toBe('collapsed')
    held.open()
    await answer
    expect(outcomeOf(await served.cache.explain('/'))).toBe('hit')
  })

  it('says why the last response was not kept', async () => {
    const served = await site(STACKS[1]!, {}, (app, { cached }) => {
      app.on('GET', '/', cached(), () => ({ headers: { 'Set-Cookie': 'a=1' }, body: 'text' }))
    })
    await served.get('/')
    expect(await served.cache.explain('/')).toMatchObject({ decision: { reason: 'uri-miss' }, refused: 'set-cookie' })
  })

  it('is told over an asynchronous backend, with variants and what tells them apart', async () => {
    const served = await site(STACKS[1]!, { backend: keyValue(new AsyncMap()) }, (app, { cached }) => {
      app.on('GET', '/', cached(), ({ req }) => ({
        headers: { Vary: 'X-Token' },
        body: String(req.headers['x-token']),
      }))
    })
    for (const token of ['one', 'two']) await served.get('/', { 'x-token': token })
    await until(() => served.cache.stats().stores === 2)
    const told = await served.cache.explain({ url: '/', headers: { 'X-Token': 'one' } })
    expect([outcomeOf(told), told.entry!.variants.length]).toEqual(['hit', 2])
    expect(told.key!.vary['x-token']).toMatchObject({ from: 'response', value: expect.stringMatching(/^sha256-/) })
    expect(JSON.stringify(told)).not.toMatch(/"one"|=one\b|=two\b/)
    expect(outcomeOf(await served.cache.explain({ url: '/', headers: { 'X-Token': 'new' } }))).toBe('miss: vary-miss')
  })
})

describe.each(STACKS)('of two layers around a handler: $name', (stack) => {
  /** Does what it foretells, and says what both came to. */
  const nested = async (outer: Options, inner: Options) => {
    const handler = counting()
    const served = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
      app.use(cached({ jitter: 0, ...outer }))
      app.on('GET', '/page', cached(inner), handler)
      app.on('GET', '/plain', handler)
    })
    const { cache, get, events } = served
    return {
      handler,
      get,
      explain: (url: string, headers = {}) => cache.explain({ url, headers }),
      both: async (url: string, headers = {}) => {
        const said = await cache.explain({ url, headers })
        await get(url, headers)
        const last = events.findLast((event) => event.type === 'trace')!
        return { said, foretold: outcomeOf(said), came: last.reason ? `${last.outcome}: ${last.reason}` : last.outcome }
      },
    }
  }

  it.each<[what: string, outer: Options, inner: Options, headers: Record<string, string>]>([
    ['says who may share', {}, { scope: 'public' }, { cookie: 'a=1' }],
    ['has another key', {}, { query: ['page'] }, {}],
    ['adds to the outer one', { ttl: '1h' }, { tags: 'page' }, {}],
    ['is not used', {}, { enabled: false }, {}],
  ])('says what comes of it where the inner one %s', async (_, outer, inner, headers) => {
    const { get, both, explain, handler } = await nested(outer, inner)
    await get('/page?page=0', headers)
    for (const query of ['page=1&utm=1', 'page=1&utm=1', 'page=1&utm=2', 'page=1&utm=2']) {
      const { foretold, came } = await both(`/page?${query}`, headers)
      expect(foretold).toBe(came)
    }
    const runs = handler.runs()
    const { options } = await explain('/page?page=1&utm=1', headers)
    for (const name of Object.keys({ ...outer, ...inner })) expect(options![name]!.from, name).toBe('route')
    expect(handler.runs()).toBe(runs)
  })

  it('runs no handler behind one alone', async () => {
    const { get, both, explain, handler } = await nested({}, {})
    await get('/page')
    await get('/plain')
    const runs = handler.runs()
    expect((await explain('/plain?other')).decision.outcome).toBe('miss')
    expect(handler.runs()).toBe(runs)
    expect((await both('/plain')).foretold).toBe('hit')
  })
})

describe('an explanation', () => {
  it('has no credentials', async () => {
    const { cache, get } = await shop(STACKS[1]!, {
      scope: ({ req }) => `user-of-${req.headers.cookie}`,
      vary: ['authorization', 'accept-language'],
    })
    const headers = { cookie: 'sid=raw-secret', authorization: 'Bearer raw-secret', 'accept-language': 'de' }
    await get('/items/1', headers)
    const told = await cache.explain({ url: '/items/1', headers })
    expect(outcomeOf(told)).toBe('hit')
    expect(JSON.stringify(told)).not.toContain('raw-secret')
    expect(told.key!.vary).toMatchObject({ 'accept-language': { value: 'de', from: 'route' } })
    const other = { url: '/items/1', headers: { ...headers, cookie: 'sid=other' } }
    expect((await cache.explain({ url: '/items/1', headers }, other)).difference).toMatchObject({ part: 'scope' })
  })

  it('says where each option comes from', async () => {
    const { cache, get } = await shop(STACKS[1]!, { query: { ignore: ['utm_*'] } }, { preset: 'rfc9111', jitter: 0.1 })
    await get('/items/1')
    const { options } = await cache.explain('/items/1')
    expect(options).toMatchObject({
      ttl: { value: 10, from: 'route' },
      tags: { value: ['items'], from: 'route' },
      query: { value: { ignore: ['utm_*'] }, from: 'route' },
      jitter: { value: 0.1, from: 'cache' },
      scope: { value: 'explicit', from: 'preset' },
      keepStale: { value: 3600, from: 'default' },
      methods: { value: ['GET', 'HEAD'], from: 'default' },
      coalesce: { value: { maxWait: 10, within: 'process' }, from: 'default' },
    })
  })

  it('can be had of a request as a server has it, and of an application that is given', async () => {
    const { cache, get, time } = await shop()
    await get('/items/1')
    const requests: IncomingMessage[] = []
    const other = await listen((req, res) => {
      requests.push(req)
      res.end()
    })
    await fetch(`${other.url}/items/1?from=elsewhere`, { headers: { 'x-own': 'a' } })
    const told = await cache.explain(requests[0]!)
    expect([told.url, told.key!.host]).toEqual(['/items/1?from=elsewhere', new URL(other.url).host])
    await other.close()
    expect(requests[0]).toBeInstanceOf(IncomingMessage)
    const app = STACKS[1]!.app()
    const tools = STACKS[1]!.tools({ time })
    app.on('GET', '/', tools.cached(), () => 'text')
    await expect(tools.cache.explain('/')).rejects.toMatchObject({ code: 'ERR_TAGCACHE_EXPLAIN' })
    expect(await tools.cache.explain('http://a.example/', { app: app.listener() })).toMatchObject({
      isReached: true,
      key: { host: 'a.example' },
    })
    const pair = await tools.cache.explain('http://a.example/', 'https://a.example/', { app: app.listener() })
    expect(pair.difference).toMatchObject({ part: 'host', first: 'a.example', second: 'https://a.example' })
  })

  it('is of a request like the last one that was not answered from the cache, at the same host', async () => {
    const { cache, get } = await shop()
    await get('/items/1', { host: 'check.internal' })
    await get('/items/1', { host: 'shop.example' })
    expect(await cache.explain('/items/1')).toMatchObject({
      key: { host: 'shop.example' },
      decision: { outcome: 'hit' },
    })
    await get('/items/1', { host: 'check.internal' })
    expect(await cache.explain('/items/1')).toMatchObject({ key: { host: 'shop.example' } })
  })

  it.each<[what: string, told: Record<string, string>]>([
    ['X-Forwarded-Proto', { host: 'shop.example', 'x-forwarded-proto': 'https' }],
    [
      'X-Forwarded-Host and its kin',
      { 'x-forwarded-proto': 'https', 'x-forwarded-host': 'shop.example', 'x-forwarded-port': '443' },
    ],
    ['values of two proxies', { host: 'shop.example', 'x-forwarded-proto': 'https, http' }],
    ['Forwarded', { forwarded: 'for=203.0.113.7;host=shop.example;proto=https' }],
  ])('is of a request that comes through the same proxy: %s', async (_, told) => {
    const { cache, url } = await proxied()
    const sent = { ...told, 'x-forwarded-for': '203.0.113.7' }
    for (const status of [/stored/, /hit/])
      expect((await ask(`${url}/page`, { headers: sent })).headers['cache-status']).toMatch(status)
    for (const asked of ['/page', 'https://shop.example/page']) {
      expect(await cache.explain(asked), asked).toMatchObject({ decision: { outcome: 'hit' } })
    }
    expect((await cache.explain('/page', 'https://other.example/page')).difference).toMatchObject({
      part: expect.any(String),
    })
    expect((await cache.explain('/page', 'http://shop.example/page')).isShared).toBe(false)
  })

  it.each([[{}], [{ 'x-forwarded-for': '203.0.113.7' }], [{ 'x-forwarded-proto': 'https' }]])(
    'is of a request that is not from this machine, where others come with %o',
    async (sent) => {
      const { cache, url, shut } = await proxied()
      await ask(`${url}/page`, { headers: sent })
      expect((await ask(`${url}/shut`)).status).toBe(200)
      expect(await cache.explain('/shut')).toMatchObject({ isReached: false, status: 403 })
      expect(shut()).toBe(1)
    },
  )

  it('is not had of a POST, unless it may write, and then of the body that is given', async () => {
    const { cached, cache } = expressCache()
    const app = express().use(express.json())
    let runs = 0
    app.post('/query', cached({ methods: ['POST'], key: (req) => req.body.query, tags: 'all' }), (req, res) => {
      runs += 1
      res.json(req.body)
    })
    app.post('/write', (_req, res) => {
      runs += 1
      res.json({})
    })
    const { url } = await listen(app)
    const headers = { 'content-type': 'application/json' }
    const request = { method: 'POST', url: '/query', headers, body: JSON.stringify({ query: 'all' }) }
    const status = async () => (await ask(`${url}/query`, { ...request })).headers['cache-status']
    expect([await status(), await status()]).toEqual([expect.stringMatching(/stored/), expect.stringMatching(/hit/)])
    expect(await cache.explain(request)).toMatchObject({
      isReached: false,
      decision: { outcome: 'unknown', reason: 'unasked' },
    })
    expect(await cache.explain({ method: 'DELETE', url: '/query' })).toMatchObject({
      decision: { outcome: 'bypass', reason: 'method' },
    })
    const mayWrite = { mayWrite: true }
    expect(await cache.explain(request, mayWrite)).toMatchObject({
      isReached: true,
      key: { custom: 'all', method: 'POST' },
      decision: { outcome: 'hit' },
    })
    const other = { ...request, body: Buffer.from('{"query":"other"}') }
    expect((await cache.explain(request, other, mayWrite)).difference).toEqual({
      part: 'custom',
      first: 'all',
      second: 'other',
    })
    expect(await cache.explain({ ...request, body: '{}' }, mayWrite)).toMatchObject({
      decision: { outcome: 'bypass', reason: 'key' },
    })
    expect(runs).toBe(1)
    expect(await cache.explain({ ...request, url: '/write' }, mayWrite)).toMatchObject({
      isReached: false,
      status: 200,
    })
    expect(runs).toBe(2)
  })

  it('is refused for what is no request, and by a cache without a framework', async () => {
    const { cache, get } = await shop()
    await get('/items/1')
    for (const bad of ['items', 'ftp://a/', '', 1, null, {}, { url: 1 }]) {
      await expect(cache.explain(bad as never)).rejects.toMatchObject({ code: 'ERR_TAGCACHE_EXPLAIN' })
    }
    await expect(cache.explain('/', { app: {} })).rejects.toMatchObject({ code: 'ERR_TAGCACHE_EXPLAIN' })
    await expect(createCache().explain('/')).rejects.toMatchObject({ code: 'ERR_TAGCACHE_EXPLAIN' })
  })

  it('is asked of each application that the cache was seen in, and passes other caches', async () => {
    const stack = STACKS[1]!
    const outer = stack.tools({})
    const tools = stack.tools({})
    const [one, two] = [stack.app(), stack.app()]
    one.on('GET', '/one', tools.cached(), () => 'one')
    two.use(outer.cached())
    two.on('GET', '/two', tools.cached(), () => 'two')
    const servers = await Promise.all([one, two].map((app) => listen(app.listener())))
    for (const [at, path] of ['/one', '/two'].entries()) await fetch(servers[at]!.url + path)
    for (const path of ['/one', '/two']) expect(await tools.cache.explain(path)).toMatchObject({ isReached: true })
    expect(outer.cache.stats()).toMatchObject({ requests: 1, stores: 1 })
    await Promise.all(servers.map((server) => server.close()))
  })

  it('is given up where the application does not answer', async () => {
    const stack = STACKS[1]!
    const { cache, get, time } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
      app.on('GET', '/', cached(), () => 'text')
      app.on('GET', '/hanging', () => new Promise(() => {}))
    }).then((served) => ({ ...served, time: served.cache.flow.options.time as ManualTime }))
    await get('/')
    const asked = cache.explain('/hanging')
    await turns()
    time.move(10_000)
    expect(await asked).toMatchObject({ isReached: false, decision: { outcome: 'unknown', reason: 'timeout' } })
  })

  it('cannot be asked for by a client', async () => {
    const { get, handler } = await shop()
    const answer = await get('/items/1', { 'x-tagcache-explain': '1' })
    expect([answer.status, answer.text, handler.runs()]).toEqual([200, 'run 1', 1])
  })
})

describe.each([STACKS[1]!, STACKS[3]!, STACKS[4]!, fronted(STACKS[1]!)])('debug: $name', (stack) => {
  const keyOf = (answer: { headers: object }) => (answer.headers as Record<string, string>)['x-cache-key']

  it('tells the key in misses and hits, without credentials, and stores no such field', async () => {
    const { get, cache, host } = await shop(
      stack,
      { scope: ({ req }) => req.headers['x-user'] as string },
      { debug: true },
    )
    const headers = { 'x-user': 'raw-secret' }
    const [miss, hit] = [await get('/items/1', headers), await get('/items/1', headers)]
    expect([miss.cacheStatus, hit.cacheStatus]).toEqual([expect.stringMatching(/stored/), expect.stringMatching(/hit/)])
    const { key } = await cache.explain({ url: '/items/1', headers })
    expect([keyOf(miss), keyOf(hit)]).toEqual([key!.text, key!.text])
    expect(key!.text).toContain(`host=${encodeURIComponent(host)}`)
    expect(key!.text).not.toContain('raw-secret')
    const stored = await cache.getByTags('items')
    expect(Object.keys(stored!.headers)).not.toContain('x-cache-key')
  })

  it('tells nothing where it is off, nor in production unless it always does', async () => {
    const before = process.env.NODE_ENV
    try {
      process.env.NODE_ENV = 'production'
      for (const [debug, isTold] of [
        [false, false],
        [true, false],
        ['always', true],
      ] as const) {
        const { get } = await shop(stack, {}, { debug })
        for (const _ of [1, 2]) expect(keyOf(await get('/items/1')) !== undefined).toBe(isTold)
      }
    } finally {
      process.env.NODE_ENV = before
    }
  })
})
