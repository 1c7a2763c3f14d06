import { describe, expect, it } from 'vitest'
import { memory } from '../../../src/index.ts'
import { Overridden } from '../../support/backends.ts'
import { gate } from '../../support/http.ts'
import {
  type App,
  type CallCacheOptions,
  type CallOptions,
  counting,
  type Handler,
  type Layer,
  type Reply,
  type Stack,
  site,
  type Tools,
  turns,
  until,
} from '../../support/stacks.ts'
import { ManualTime } from '../../support/time.ts'
import { exchange, requestText } from '../../support/wire.ts'

const METHODS = ['POST', 'PUT', 'PATCH', 'DELETE', 'M-SEARCH']
const SAFE = ['GET', 'HEAD', 'OPTIONS']

const HOST = 'shop.example'

/** What stands before the routes, and before the write. */
type Layers = (tools: Tools) => Layer[]

const PLACES: [name: string, above: Layers, atWrite: Layers][] = [
  ['an app-wide cached()', ({ cached }) => [cached()], () => []],
  ['an invalidates() of other tags', () => [], ({ invalidates }) => [invalidates('other')]],
  ['a cached() before the write', () => [], ({ cached }) => [cached()]],
  ['all of them', ({ cached }) => [cached()], ({ cached, invalidates }) => [cached(), invalidates('other')]],
]

const POINTERS: [name: string, reference: string, isPurged: boolean][] = [
  ['a path', '/items/2', true],
  ['a path below its own', '2', true],
  ['the whole URI', `http://${HOST}/items/2`, true],
  ['the URI without a scheme', `//${HOST}/items/2`, true],
  ['the URI with another scheme', `https://${HOST}/items/2`, true],
  ['the host in capitals', `http://${HOST.toUpperCase()}/items/2`, true],
  ['a fragment beside', '/items/2#top', true],
  ['other spelling', '/items/%32', true],
  ['dot segments', '/other/../items/./2', true],
  ['another host', 'http://other.example/items/2', false],
  ['another port', `http://${HOST}:8080/items/2`, false],
  ['a host that only begins alike', `http://${HOST}.other.example/items/2`, false],
  ['another query', '/items/2?page=1', false],
  ['another path', '/items/22', false],
  ['what is no URI', 'http://[', false],
  ['another scheme of URIs', 'urn:items:2', false],
]

export function unsafe(stack: Stack): void {
  const items = (app: App, { cached }: Tools, route: CallOptions = {}, handler: Handler = counting()) =>
    app.on('GET', '/items/:id', cached(route), handler)

  /** A site with items, which are cached, and writes to them, as they are answered by `reply`. */
  const shop = (
    reply: Reply | Handler = 'done',
    { above = ({ cached }) => [cached()], atWrite = () => [] }: { above?: Layers; atWrite?: Layers } = {},
    route: CallOptions = {},
    options: CallCacheOptions = {},
  ) => {
    return site(stack, { time: new ManualTime(), ...options }, (app, tools) => {
      for (const layer of above(tools)) app.use(layer)
      items(app, tools, route)
      for (const method of [...METHODS, 'OPTIONS']) {
        app.on(method, '/items/:id', ...atWrite(tools), typeof reply === 'function' ? reply : () => reply)
      }
    }).then((served) => ({
      ...served,
      get: (path: string, headers: Record<string, string> = {}) => served.get(path, { host: HOST, ...headers }),
      send: (method: string, path: string, headers: Record<string, string> = {}) =>
        served.send(method, path, { headers: { host: HOST, ...headers } }),
    }))
  }

  type Shop = Awaited<ReturnType<typeof shop>>

  const isKept = async ({ get }: Pick<Shop, 'get'>, path: string, headers?: Record<string, string>) =>
    /^tagcache; hit/.test((await get(path, headers)).cacheStatus!)

  describe.each(PLACES)('through %s', (_, above, atWrite) => {
    it.each(METHODS)('%s purges what its own URI gave', async (method) => {
      const served = await shop('done', { above, atWrite })
      await served.get('/items/1')
      await served.get('/items/2')
      expect((await served.send(method, '/items/1')).status).toBe(200)
      expect(await isKept(served, '/items/1')).toBe(false)
      expect(await isKept(served, '/items/2')).toBe(true)
    })

    it.each([200, 201, 202, 204, 301, 303, 307, 399])('an answer of %i purges', async (status) => {
      const served = await shop({ status }, { above, atWrite })
      await served.get('/items/1')
      await served.send('POST', '/items/1')
      expect(await isKept(served, '/items/1')).toBe(false)
    })

    it.each([400, 404, 412, 500, 503])('an answer of %i does not', async (status) => {
      const served = await shop({ status, headers: { Location: '/items/2' }, body: 'no' }, { above, atWrite })
      await served.get('/items/1')
      await served.get('/items/2')
      await served.send('POST', '/items/1')
      expect(await isKept(served, '/items/1')).toBe(true)
      expect(await isKept(served, '/items/2')).toBe(true)
    })

    it('what its handler throws does not', async () => {
      const served = await shop(() => Promise.reject(new Error('thrown by the write')), { above, atWrite })
      await served.get('/items/1')
      expect((await served.send('PUT', '/items/1')).status).toBe(500)
      expect(await isKept(served, '/items/1')).toBe(true)
    })

    it('all variants go', async () => {
      const handler = counting((body) => ({ headers: { Vary: 'Accept-Language' }, body }))
      const { get, send, cache } = await site(stack, { time: new ManualTime() }, (app, tools) => {
        for (const layer of above(tools)) app.use(layer)
        app.on('GET', '/', tools.cached(), handler)
        app.on('PUT', '/', ...atWrite(tools), () => 'done')
      })
      for (const language of ['en', 'de', 'fr']) await get('/', { 'accept-language': language })
      expect(cache.stats().entries).toBe(3)
      await send('PUT', '/', { headers: { 'accept-language': 'xx' } })
      for (const [at, language] of ['en', 'de', 'fr'].entries()) {
        expect((await get('/', { 'accept-language': language })).text).toBe(`run ${at + 4}`)
      }
    })

    it('the writer sees no byte before the purge is done', async () => {
      const inner = memory()
      const purging = gate()
      const order: string[] = []
      const invalidate = async (tags: readonly string[]) => {
        await purging.opened
        inner.invalidate(tags)
        order.push('purged')
      }
      const backend = new Overridden(inner, { sync: false, invalidate })
      const { get, send } = await site(stack, { backend, time: new ManualTime() }, (app, tools) => {
        for (const layer of above(tools)) app.use(layer)
        app.on('GET', '/other', () => 'other')
        app.on('PUT', '/', ...atWrite(tools), () => 'done')
      })
      const written = send('PUT', '/').then((answer) => {
        order.push('answered')
        return answer
      })
      await get('/other')
      await turns()
      expect(order).toEqual([])
      purging.open()
      expect((await written).text).toBe('done')
      expect(order[0]).toBe('purged')
    })

    it('what was begun before it is not stored after it', async () => {
      const held = gate()
      const handler = counting(async (text) => {
        if (text === 'run 1') await held.opened
        return text
      })
      const { get, send } = await site(stack, { time: new ManualTime() }, (app, tools) => {
        for (const layer of above(tools)) app.use(layer)
        app.on('GET', '/', tools.cached(), handler)
        app.on('PUT', '/', ...atWrite(tools), () => 'done')
      })
      const early = get('/')
      await until(() => handler.runs() === 1)
      await send('PUT', '/')
      held.open()
      expect((await early).text).toBe('run 1')
      expect((await get('/')).text).toBe('run 2')
    })
  })

  it.each(SAFE)('%s purges nothing, whatever it answers', async (method) => {
    const groups = { 'Cache-Group-Invalidation': '"items"', Location: '/items/2', 'Content-Location': '/items/2' }
    const served = await site(stack, { time: new ManualTime() }, (app, tools) => {
      app.use(tools.cached())
      items(app, tools, { tags: 'items' })
      app.on('GET', '/safe', tools.invalidates([]), () => ({ headers: groups, body: 'safe' }))
      app.on('OPTIONS', '/items/:id', tools.invalidates([]), () => ({ headers: groups, body: 'safe' }))
    })
    await served.get('/items/1')
    await served.get('/items/2')
    expect((await served.send(method, method === 'OPTIONS' ? '/items/1' : '/safe')).status).toBe(200)
    expect(await isKept(served, '/items/1')).toBe(true)
    expect(await isKept(served, '/items/2')).toBe(true)
  })

  describe.each(['Location', 'Content-Location'])('%s', (field) => {
    it.each(POINTERS)('with %s: %s', async (_, reference, isPurged) => {
      const served = await shop({ status: 201, headers: { [field]: reference }, body: 'made' })
      await served.get('/items/1')
      await served.get('/items/2')
      expect((await served.send('POST', '/items/1')).status).toBe(201)
      expect(await isKept(served, '/items/2')).toBe(!isPurged)
      expect(await isKept(served, '/items/1')).toBe(false)
    })

    it('is heard beside invalidates() of a route', async () => {
      const served = await shop(
        { status: 303, headers: { [field]: '/items/2' } },
        { above: () => [], atWrite: ({ invalidates }) => [invalidates('other')] },
      )
      await served.get('/items/2')
      await served.send('POST', '/items/1')
      expect(await isKept(served, '/items/2')).toBe(false)
    })
  })

  it('both fields are heard, and the query is part of the URI', async () => {
    const headers = { Location: '/items/2?a=1&b=2', 'Content-Location': '/items/3' }
    const served = await shop({ status: 201, headers, body: 'made' })
    for (const path of ['/items/2?b=2&a=1', '/items/2', '/items/3', '/items/3?a=1']) await served.get(path)
    await served.send('POST', '/items/1')
    expect(await isKept(served, '/items/2?b=2&a=1')).toBe(false)
    expect(await isKept(served, '/items/2')).toBe(true)
    expect(await isKept(served, '/items/3')).toBe(false)
    expect(await isKept(served, '/items/3?a=1')).toBe(true)
  })

  describe('the query', () => {
    it('that differs is another URI', async () => {
      const served = await shop()
      for (const path of ['/items/1', '/items/1?page=1', '/items/1?page=2']) await served.get(path)
      await served.send('POST', '/items/1?page=1')
      expect(await isKept(served, '/items/1')).toBe(true)
      expect(await isKept(served, '/items/1?page=1')).toBe(false)
      expect(await isKept(served, '/items/1?page=2')).toBe(true)
    })

    it('in another order is the same URI', async () => {
      const served = await shop()
      await served.get('/items/1?a=1&b=%41')
      await served.send('POST', '/items/1?b=A&a=1')
      expect(await isKept(served, '/items/1?a=1&b=A')).toBe(false)
    })

    // Whoever reads his own write asks for the URI that he wrote to.
    it.each([
      ['of which `query` leaves parts out', { query: ['id'] }, '?id=1&from=mail'],
      ['of which `query` ignores parts', { query: { ignore: ['from'] } }, '?id=1&from=mail'],
      ['that does not count', { query: false }, '?id=1'],
      ['that `key` takes the place of', { key: ({ params }) => params.id ?? 'any' }, '?id=1'],
    ] as [string, CallOptions, string][])('%s: the writer reads his own write', async (_, route, query) => {
      const served = await shop('done', {}, route)
      expect((await served.get(`/items/1${query}`)).text).toBe('run 1')
      await served.send('PUT', `/items/1${query}`)
      expect((await served.get(`/items/1${query}`)).text).toBe('run 2')
    })

    it('that No-Vary-Search leaves out: the writer reads his own write', async () => {
      const handler = counting((body) => ({ headers: { 'No-Vary-Search': 'params=("from")' }, body }))
      const served = await site(stack, { time: new ManualTime() }, (app, tools) => {
        app.use(tools.cached())
        items(app, tools, {}, handler)
        app.on('PUT', '/items/:id', () => 'done')
      })
      await served.get('/items/1?id=1&from=mail')
      expect((await served.get('/items/1?id=1&from=feed')).text).toBe('run 1')
      await served.send('PUT', '/items/1?id=1&from=feed')
      expect((await served.get('/items/1?id=1&from=feed')).text).toBe('run 2')
    })
  })

  describe('the host', () => {
    it('that differs is another URI', async () => {
      const served = await shop()
      await served.get('/items/1')
      await served.get('/items/1', { host: 'other.example' })
      await served.send('PUT', '/items/1')
      expect(await isKept(served, '/items/1', { host: 'other.example' })).toBe(true)
      expect(await isKept(served, '/items/1')).toBe(false)
    })

    it.each([
      ['false', false],
      ['a function', () => 'any'],
    ] as [string, CallOptions['host'] & {}][])('does not count for a route with `host`: %s', async (_, host) => {
      const served = await shop('done', { above: () => [], atWrite: ({ cached }) => [cached()] }, { host })
      await served.get('/items/1', { host: 'other.example' })
      await served.send('PUT', '/items/1')
      expect(await isKept(served, '/items/1', { host: 'other.example' })).toBe(false)
    })

    it('of a cache with `host`: false does not count either', async () => {
      const served = await shop('done', {}, {}, { host: false })
      await served.get('/items/1', { host: 'other.example' })
      await served.send('PUT', '/items/1')
      expect(await isKept(served, '/items/1', { host: 'other.example' })).toBe(false)
    })

    it('in capitals is the same', async () => {
      const served = await shop()
      await served.get('/items/1')
      await served.send('PUT', '/items/1', { host: HOST.toUpperCase() })
      expect(await isKept(served, '/items/1')).toBe(false)
    })
  })

  describe('the path', () => {
    it('in other spelling is the same', async () => {
      const served = await shop()
      await served.get('/items/a')
      await served.send('PUT', '/items/%61')
      expect(await isKept(served, '/items/a')).toBe(false)
    })

    it('that is very long is one as well', async () => {
      const served = await shop()
      const [one, other] = [`/items/${'x'.repeat(3_000)}`, `/items/${'x'.repeat(2_999)}y`]
      await served.get(one)
      await served.get(other)
      await served.send('PUT', one)
      expect(await isKept(served, one)).toBe(false)
      expect(await isKept(served, other)).toBe(true)
    })

    it.each<[name: string, isAbove: boolean]>([
      ['app-wide', true],
      ['inside', false],
    ])('of a mounted router, with the cached() %s', async (_, isAbove) => {
      const served = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        if (isAbove) app.use(cached())
        for (const prefix of ['/shop', '/other']) {
          app.mount(prefix, (inner) => {
            inner.on('GET', '/items/:id', cached(), counting())
            inner.on('PUT', '/items/:id', ...(isAbove ? [] : [cached()]), () => ({
              headers: { Location: '2', 'Content-Location': '/shop/items/3' },
              body: 'done',
            }))
          })
        }
      })
      const paths = ['/shop/items/1', '/shop/items/2', '/shop/items/3', '/other/items/1', '/other/items/2']
      for (const path of paths) await served.get(path)
      await served.send('PUT', '/shop/items/1')
      const kept = await Promise.all(paths.map((path) => isKept(served, path)))
      expect(kept).toEqual([false, false, false, true, true])
    })

    // RFC 9112, 3.2.2: a server has to accept it; other routers know no such path.
    if (stack.kind !== 'node')
      it('of a request in absolute form is the same', async () => {
        const served = await shop()
        await served.get('/items/1')
        const target = `http://${HOST}/items/1`
        const request = `PUT ${target} HTTP/1.1\r\nHost: ${HOST}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`
        expect(await exchange(served.port, request)).toMatch(/^HTTP\/1.1 200 OK/)
        expect(await isKept(served, '/items/1')).toBe(false)
      })

    // Where nothing says what the client has sent, there is nothing to know it by.
    if (stack.kind !== 'node')
      it('that a layer above has rewritten is the one that was sent', async () => {
        const served = await site(stack, { time: new ManualTime() }, (app, tools) => {
          app.use(
            stack.before(({ req }) => {
              req.url = req.url!.replace(/^\/v1\//, '/')
            }),
          )
          app.use(tools.cached())
          items(app, tools)
          app.on('PUT', '/items/:id', () => 'done')
        })
        await served.get('/v1/items/1')
        await served.get('/items/1')
        await served.send('PUT', '/v1/items/1')
        expect(await isKept(served, '/v1/items/1')).toBe(false)
        expect(await isKept(served, '/items/1')).toBe(true)
      })
  })

  it('a write of one cache purges nothing of another', async () => {
    const time = new ManualTime()
    const other = stack.tools({ time, cacheName: 'other' })
    const served = await site(stack, { time }, (app, { cached }) => {
      app.on('GET', '/', other.cached(), () => 'kept')
      app.on('PUT', '/', cached(), () => 'done')
    })
    await served.get('/')
    await served.send('PUT', '/')
    expect((await served.get('/')).cacheStatus).toMatch(/^other; hit/)
  })

  it('whoever asks after the write does not wait for what was begun before it', async () => {
    const held = gate()
    const handler = counting(async (text) => {
      if (text === 'run 1') await held.opened
      return text
    })
    const served = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
      app.use(cached())
      app.on('GET', '/', handler)
      app.on('PUT', '/', () => 'done')
    })
    const first = served.get('/')
    await until(() => handler.runs() === 1)
    await served.send('PUT', '/')
    const later = served.get('/')
    await served.send('PUT', '/other')
    await turns()
    const runs = handler.runs()
    held.open()
    expect([(await first).text, (await later).text]).toEqual(['run 1', 'run 2'])
    expect(runs).toBe(2)
  })

  describe('storePost', () => {
    const KEPT = { 'Content-Location': '/page', 'Cache-Control': 'max-age=60' }

    /** A page that is read, and written by POST; both cached. */
    const page = (write: Reply | Handler, route: CallOptions = { storePost: true }, options: CallCacheOptions = {}) => {
      const reads = counting((text) => `read ${text}`)
      const writes = counting((_, call) => (typeof write === 'function' ? write(call) : write))
      return site(stack, { time: new ManualTime(), ...options }, (app, { cached }) => {
        app.use(cached(route))
        app.on('GET', '/page', reads)
        app.on('POST', '/page', writes)
      }).then((served) => ({ ...served, reads, writes }))
    }

    it('the answer to a POST with its own URI in Content-Location, and a lifetime, answers GET', async () => {
      const { get, send, reads, writes } = await page({ headers: { ...KEPT, 'X-Own': 'kept' }, body: 'written' })
      expect((await get('/page')).text).toBe('read run 1')
      const written = await send('POST', '/page', { body: 'new' })
      expect([written.status, written.text]).toEqual([200, 'written'])
      const hit = await get('/page')
      expect([hit.status, hit.text, hit.headers['x-own']]).toEqual([200, 'written', 'kept'])
      expect(hit.cacheStatus).toBe('tagcache; hit; ttl=60')
      const head = await send('HEAD', '/page')
      expect([head.headers['content-length'], head.cacheStatus]).toEqual(['7', 'tagcache; hit; ttl=60'])
      expect([reads.runs(), writes.runs()]).toEqual([1, 1])
    })

    it('a POST itself is never answered from the cache', async () => {
      const { send, writes } = await page({ headers: KEPT, body: 'written' })
      for (const _ of [1, 2, 3]) await send('POST', '/page')
      expect(writes.runs()).toBe(3)
    })

    it.each<[name: string, reply: Reply]>([
      ['no Content-Location', { headers: { 'Cache-Control': 'max-age=60' }, body: 'written' }],
      ['no lifetime', { headers: { 'Content-Location': '/page' }, body: 'written' }],
      ['another URI', { headers: { ...KEPT, 'Content-Location': '/other' }, body: 'written' }],
      ['another host', { headers: { ...KEPT, 'Content-Location': 'http://other.example/page' }, body: 'written' }],
      ['another query', { headers: { ...KEPT, 'Content-Location': '/page?a=1' }, body: 'written' }],
      ['another status', { status: 201, headers: KEPT, body: 'written' }],
      ['no-store', { headers: { ...KEPT, 'Cache-Control': 'no-store, max-age=60' }, body: 'written' }],
      ['private', { headers: { ...KEPT, 'Cache-Control': 'private, max-age=60' }, body: 'written' }],
      ['a cookie', { headers: { ...KEPT, 'Set-Cookie': 'a=1' }, body: 'written' }],
      ['a lifetime of nothing', { headers: { ...KEPT, 'Cache-Control': 'max-age=0' }, body: 'written' }],
      ['Vary: *', { headers: { ...KEPT, Vary: '*' }, body: 'written' }],
    ])('not with %s; but what was there is gone', async (_, reply) => {
      const { get, send } = await page(reply)
      await get('/page')
      const written = await send('POST', '/page')
      expect(written.text).toBe('written')
      expect((await get('/page')).text).toBe('read run 2')
    })

    it('not for an error, which purges nothing either', async () => {
      const { get, send } = await page({ status: 422, headers: KEPT, body: 'refused' })
      await get('/page')
      await send('POST', '/page')
      expect((await get('/page')).text).toBe('read run 1')
    })

    it('not without the option', async () => {
      const { get, send } = await page({ headers: KEPT, body: 'written' }, {})
      await get('/page')
      await send('POST', '/page')
      expect((await get('/page')).text).toBe('read run 2')
    })

    it('not for other methods', async () => {
      const { get, send } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        app.use(cached({ storePost: true }))
        app.on('GET', '/page', counting())
        app.on('PUT', '/page', () => ({ headers: KEPT, body: 'written' }))
      })
      await send('PUT', '/page')
      expect((await get('/page')).text).toBe('run 1')
    })

    it.each([{ cookie: 'session=1' }, { authorization: 'Basic YTpi' }])('not for somebody: %o', async (headers) => {
      const { get, send } = await page({ headers: KEPT, body: 'written' })
      await get('/page')
      await send('POST', '/page', { headers })
      expect((await get('/page')).text).toBe('read run 2')
    })

    it('with the tags of the route, by which it is purged', async () => {
      const { get, send, cache } = await page({ headers: KEPT, body: 'written' }, { storePost: true, tags: 'page' })
      await send('POST', '/page')
      expect((await get('/page')).text).toBe('written')
      await cache.invalidateTags('page')
      expect((await get('/page')).text).toBe('read run 1')
    })

    it('until the next write', async () => {
      let refuses = false
      const { get, send } = await page(() => (refuses ? { status: 204 } : { headers: KEPT, body: 'written' }))
      await send('POST', '/page')
      expect((await get('/page')).text).toBe('written')
      refuses = true
      await send('POST', '/page')
      expect((await get('/page')).text).toBe('read run 1')
    })

    it('as one variant, where it varies', async () => {
      const headers = { ...KEPT, Vary: 'Accept-Language' }
      const { get, send } = await page({ headers, body: 'written' })
      await send('POST', '/page', { headers: { 'accept-language': 'de' } })
      expect((await get('/page', { 'accept-language': 'de' })).text).toBe('written')
      expect((await get('/page', { 'accept-language': 'en' })).text).toBe('read run 1')
    })

    it('not where something that it may be made of was purged meanwhile', async () => {
      const held = gate()
      const write: Handler = () => held.opened.then(() => ({ headers: KEPT, body: 'written' }))
      const { get, send, cache, writes } = await page(write, { storePost: true, tags: 'page' })
      const written = send('POST', '/page')
      await until(() => writes.runs() === 1)
      await cache.invalidateTags('page')
      held.open()
      expect((await written).text).toBe('written')
      expect((await get('/page')).text).toBe('read run 1')
    })

    it('not what a second write has overtaken', async () => {
      const held = gate()
      const replies = [held.opened.then(() => 'first'), Promise.resolve('second')]
      const write: Handler = async () => ({ headers: KEPT, body: await replies.shift()! })
      const { get, send, writes } = await page(write)
      const first = send('POST', '/page')
      await until(() => writes.runs() === 1)
      await send('POST', '/page')
      expect((await get('/page')).text).toBe('second')
      held.open()
      await first
      expect((await get('/page')).text).not.toBe('second')
    })

    it('over a backend whose clock takes a while it only purges', async () => {
      const inner = memory()
      const backend = new Overridden(inner, { sync: false, clock: async () => inner.clock() })
      const { get, send } = await page({ headers: KEPT, body: 'written' }, { storePost: true }, { backend })
      await get('/page')
      expect((await send('POST', '/page')).text).toBe('written')
      expect((await get('/page')).text).toBe('read run 2')
    })

    it('not a body that is cut', async () => {
      const { get, port } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        app.use(cached({ storePost: true }))
        app.on('GET', '/page', counting())
        app.raw('POST', '/page', (_req, res) => {
          res.writeHead(200, { ...KEPT, 'Content-Length': 9 })
          res.write('part', () => res.destroy())
        })
      })
      await get('/page', { host: 'a' })
      expect(await exchange(port, requestText('POST', '/page'))).toMatch(/part$/)
      await turns()
      expect((await get('/page', { host: 'a' })).text).toBe('run 2')
    })
  })
}
