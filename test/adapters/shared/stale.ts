import type { IncomingMessage, ServerResponse } from 'node:http'
import { pipeline, Readable } from 'node:stream'
import { describe, expect, it, onTestFinished } from 'vitest'
import { keyValue } from '../../../src/backends/key-value.ts'
import type { CacheEvent, TagBackend } from '../../../src/index.ts'
import { AsyncMap } from '../../support/backends.ts'
import { ask, askRaw, gate, listen } from '../../support/http.ts'
import {
  type Call,
  type CallCacheOptions,
  type CallOptions,
  counting,
  type Handler,
  type RawHandler,
  type Reply,
  type Site,
  type Stack,
  site,
  turns,
} from '../../support/stacks.ts'
import { ManualTime } from '../../support/time.ts'

const SECOND = 1_000
const STORED = 'tagcache; fwd=uri-miss; stored'

/** A handler whose reply changes when the test says so. */
interface Changing extends Handler {
  readonly runs: () => number
  /** What was asked, request by request. */
  readonly asked: readonly { readonly method: string | undefined; readonly headers: IncomingMessage['headers'] }[]
  reply(next: (text: string, call: Call) => Reply | Promise<Reply>): void
}

function changing(first: (text: string, call: Call) => Reply | Promise<Reply>): Changing {
  let reply = first
  const asked: { method: string | undefined; headers: IncomingMessage['headers'] }[] = []
  const handler = counting((text, call) => {
    asked.push({ method: call.req.method, headers: { ...call.req.headers } })
    return reply(text, call)
  })
  return Object.assign(handler, {
    asked,
    reply: (next: typeof first) => {
      reply = next
    },
  })
}

function saying(control: string): (body: string) => Reply {
  return (body) => ({ headers: { 'Cache-Control': control }, body })
}

function busy(): Reply {
  return { status: 503, body: 'busy' }
}

function fail(): never {
  // Without where it was thrown, which Express tells in its error page.
  throw Object.assign(new Error('thrown by the handler'), { stack: 'Error: thrown by the handler' })
}

/** Waits until something has come true, but not for as long as a test may take: many would wait at once. */
async function soon(isTrue: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!isTrue()) {
    if (Date.now() > deadline) throw new Error(`It has not come true: ${isTrue}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

type MakeBackend = (time: ManualTime) => TagBackend | undefined

interface Stale extends Site {
  readonly time: ManualTime
  readonly handler: Changing
  /** Waits until so many refreshes have ended. */
  refreshed(count: number): Promise<void>
  /** Asks, and gives the text with what Cache-Status says after the cache's name. */
  read(headers?: Record<string, string>): Promise<string>
}

/** A site with one route, whose response was stored so many seconds ago. */
async function staleSite(
  stack: Stack,
  seconds: number,
  {
    reply = (text) => text,
    route = {},
    backend = () => undefined,
    above,
  }: {
    reply?: (text: string, call: Call) => Reply | Promise<Reply>
    route?: CallOptions
    backend?: MakeBackend
    above?: (call: Call) => unknown
  },
): Promise<Stale> {
  const time = new ManualTime()
  const handler = changing(reply)
  const given = backend(time)
  const options = { time, ...(given ? { backend: given } : {}) } as CallCacheOptions
  const served = await site(stack, options, (app, { cached, invalidates }) => {
    if (above) app.use(stack.before(above))
    app.on('GET', '/', cached(route), handler)
    app.on('POST', '/', invalidates('something else'), () => 'written')
  })
  const { cache, get } = served
  const read = async (headers?: Record<string, string>) => {
    const { text, cacheStatus } = await get('/', headers)
    return `${text}: ${cacheStatus?.replace(/^tagcache; /, '')}`
  }
  expect(await read()).toBe('run 1: fwd=uri-miss; stored')
  time.move(seconds * SECOND)
  return { ...served, time, handler, read, refreshed: (count) => soon(() => cache.stats().refreshes === count) }
}

const BACKENDS: [name: string, make: MakeBackend][] = [
  ['memory', () => undefined],
  ['a backend that answers with promises', (time) => keyValue(new AsyncMap(), { time })],
]

const PURGES: [name: string, purge: (served: Stale) => unknown][] = [
  ['its tag', ({ cache }) => cache.invalidateTags('page')],
  ['everything', ({ cache }) => cache.clear()],
  ['its URI', ({ send }) => send('POST', '/')],
]

const FORBIDDING = [
  'max-age=10, must-revalidate',
  'max-age=10, proxy-revalidate',
  's-maxage=10',
  'max-age=99, s-maxage=10',
  'no-cache, max-age=10',
  'no-cache',
]

export function staleWhileRevalidate(stack: Stack): void {
  const SWR = { ttl: 10, staleWhileRevalidate: 30 } as const

  it.each([
    ['the response says so', 'max-age=10, stale-while-revalidate=30', {}],
    ['the route says so', undefined, SWR],
    ['the route says so over the response', 'max-age=10, stale-while-revalidate=0', { staleWhileRevalidate: '30s' }],
  ] as [string, string | undefined, CallOptions][])(
    'serves at once, and makes a new one: %s',
    async (_, control, route) => {
      const held = gate()
      const reply = (body: string) => (control === undefined ? body : saying(control)(body))
      const { get, read, handler, refreshed, cache, events, time } = await staleSite(stack, 15, { reply, route })
      handler.reply((body) => held.opened.then(() => reply(body)))
      const stale = await get('/')
      expect([stale.status, stale.text, stale.headers.age]).toEqual([200, 'run 1', '15'])
      expect(stale.cacheStatus).toBe('tagcache; hit; ttl=-5; detail=stale-while-revalidate')
      await soon(() => handler.runs() === 2)
      time.move(SECOND)
      held.open()
      await refreshed(1)
      expect(await read()).toBe('run 2: hit; ttl=10')
      expect(cache.stats()).toMatchObject({ requests: 3, misses: 1, stale: 1, hits: 1, stores: 2, entries: 1 })
      expect(cache.stats()).toMatchObject({
        refreshes: 1,
        failedRefreshes: 0,
        reasons: { 'stale-while-revalidate': 1 },
      })
      expect(events.filter(({ type }) => type === 'refresh')).toEqual([
        { type: 'refresh', route: 'GET /', key: expect.any(String), stored: true, cost: SECOND },
      ])
    },
  )

  it('to the end of the window, and never after it', async () => {
    const { read, time, refreshed, handler } = await staleSite(stack, 10, { route: SWR })
    expect(await read()).toBe('run 1: hit; ttl=0; detail=stale-while-revalidate')
    await refreshed(1)
    time.move(39_999)
    expect(await read()).toMatch(/^run 2: hit; ttl=-30; detail=stale-while-revalidate$/)
    await refreshed(2)
    time.move(40_001)
    expect(await read()).toMatch(/^run 4: fwd=.*; stored(; detail=expired)?$/)
    expect(handler.runs()).toBe(4)
  })

  it('never after the window where what is stored is kept for its validator', async () => {
    const reply = (body: string) => ({ headers: { ETag: `"${body}"` }, body })
    const { read, cache } = await staleSite(stack, 40.001, { reply, route: SWR })
    expect(await read()).toBe('run 2: fwd=stale; stored')
    expect(cache.stats().refreshes).toBe(0)
  })

  it.each(BACKENDS)('makes one new response for many who ask: %s', async (_, backend) => {
    const held = gate()
    const { get, cache, handler } = await staleSite(stack, 15, { route: SWR, backend })
    handler.reply((text) => held.opened.then(() => text))
    const answers = await Promise.all(Array.from({ length: 50 }, () => get('/')))
    for (const { text, cacheStatus } of answers) {
      expect([text, cacheStatus]).toEqual(['run 1', 'tagcache; hit; ttl=-5; detail=stale-while-revalidate'])
    }
    await soon(() => handler.runs() === 2)
    expect((await get('/')).text).toBe('run 1')
    held.open()
    await soon(() => cache.stats().refreshes === 1)
    expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=10')
    expect((await get('/')).text).toBe('run 2')
    expect(handler.runs()).toBe(2)
    expect(cache.stats()).toMatchObject({ stale: 51, refreshes: 1, failedRefreshes: 0 })
  })

  it('has the new response replace the old one, with all that it says', async () => {
    const { get, handler, time, refreshed, read } = await staleSite(stack, 15, {
      reply: (body) => ({
        headers: { 'Cache-Control': 'max-age=10, stale-while-revalidate=30', 'X-Old': 'yes' },
        body,
      }),
    })
    handler.reply((body) => ({ headers: { 'Cache-Control': 'max-age=5', 'X-New': 'yes' }, body }))
    await get('/')
    await refreshed(1)
    const hit = await get('/')
    expect([hit.text, hit.headers.age, hit.cacheStatus]).toEqual(['run 2', '0', 'tagcache; hit; ttl=5'])
    expect(hit.headers['x-old']).toBeUndefined()
    expect(hit.headers).toMatchObject({ 'x-new': 'yes', 'cache-control': 'max-age=5' })
    time.move(6 * SECOND)
    expect(await read()).toMatch(/^run 3: fwd=/)
  })

  it('asks the handler whether what is stored is still good', async () => {
    const { get, handler, refreshed, time } = await staleSite(stack, 15, {
      reply: (body, { req }) => {
        if (req.headers['if-none-match'] === '"v1"') return { status: 304, headers: { ETag: '"v1"', 'X-Own': body } }
        return { headers: { ETag: '"v1"', 'X-Own': body }, body }
      },
      route: SWR,
    })
    await get('/', { 'if-none-match': '"mine"' })
    await refreshed(1)
    expect(handler.asked[1]?.headers['if-none-match']).toBe('"v1"')
    time.move(2 * SECOND)
    const hit = await get('/')
    expect([hit.text, hit.headers['x-own'], hit.headers.age]).toEqual(['run 1', 'run 2', '2'])
    expect(hit.cacheStatus).toBe('tagcache; hit; ttl=8')
  })

  it('keeps the variants apart', async () => {
    const reply = (body: string, { req }: Call): Reply => ({
      headers: { Vary: 'Accept-Language' },
      body: `${body} in ${req.headers['accept-language']}`,
    })
    const time = new ManualTime()
    const { get, cache } = await site(stack, { time }, (app, { cached }) =>
      app.on('GET', '/', cached(SWR), counting(reply)),
    )
    const text = async (language: string) => (await get('/', { 'accept-language': language })).text
    await text('en')
    await text('de')
    time.move(15 * SECOND)
    expect(await text('de')).toBe('run 2 in de')
    await soon(() => cache.stats().refreshes === 1)
    expect(await text('de')).toBe('run 3 in de')
    expect(await text('en')).toBe('run 1 in en')
    await soon(() => cache.stats().refreshes === 2)
    expect([await text('de'), await text('en')]).toEqual(['run 3 in de', 'run 4 in en'])
  })

  it('is for each principal of his own', async () => {
    const time = new ManualTime()
    const seen: unknown[] = []
    const scope = ({ req }: Call) => {
      seen.push([req.headers.cookie, req.socket.remoteAddress])
      return req.headers.cookie
    }
    const handler = counting((body, { req }) => `${body} for ${req.headers.cookie}`)
    const { get, cache } = await site(stack, { time }, (app, { cached }) =>
      app.on('GET', '/', cached({ ...SWR, scope }), handler),
    )
    const text = async (cookie: string) => (await get('/', { cookie })).text
    await text('ann')
    await text('bob')
    time.move(15 * SECOND)
    seen.length = 0
    expect(await text('bob')).toBe('run 2 for bob')
    await soon(() => cache.stats().refreshes === 1)
    expect(seen).toEqual([
      ['bob', '127.0.0.1'],
      ['bob', '127.0.0.1'],
    ])
    expect([await text('ann'), await text('bob')]).toEqual(['run 1 for ann', 'run 3 for bob'])
  })

  it('finds a route below a mount point, with its query', async () => {
    const time = new ManualTime()
    const handler = counting((body, { req }) => `${body} of ${req.url?.split('?')[1]}`)
    const { get, cache } = await site(stack, { time }, (app, { cached }) =>
      app.mount('/shop', (inner) => inner.on('GET', '/items', cached(SWR), handler)),
    )
    await get('/shop/items?b=2&a=%20x')
    time.move(15 * SECOND)
    expect((await get('/shop/items?b=2&a=%20x')).text).toBe('run 1 of b=2&a=%20x')
    await soon(() => cache.stats().refreshes === 1)
    expect(cache.stats().failedRefreshes).toBe(0)
    expect((await get('/shop/items?b=2&a=%20x')).text).toBe('run 2 of b=2&a=%20x')
  })

  it('goes through the layers of cached() around the route', async () => {
    const time = new ManualTime()
    const { get, cache } = await site(stack, { time }, (app, { cached }) => {
      app.use(cached({ tags: 'all' }))
      app.on('GET', '/items', cached({ ...SWR, tags: 'items' }), counting())
    })
    await get('/items')
    time.move(15 * SECOND)
    expect((await get('/items')).text).toBe('run 1')
    await soon(() => cache.stats().refreshes === 1)
    expect(await get('/items')).toMatchObject({ text: 'run 2', cacheStatus: 'tagcache; hit; ttl=10' })
    expect(cache.stats()).toMatchObject({ failedRefreshes: 0, entries: 1, requests: 3 })
    for (const [tag, run] of [
      ['items', 'run 3'],
      ['all', 'run 4'],
    ]) {
      cache.invalidateTags(tag!)
      expect((await get('/items')).text).toBe(run)
    }
  })

  it('reaches the inner layer, where that has another key than the outer one', async () => {
    const time = new ManualTime()
    const { get, cache } = await site(stack, { time }, (app, { cached }) => {
      app.use(cached(SWR))
      app.on('GET', '/', cached({ scope: ({ req }) => req.headers.cookie }), counting())
    })
    await get('/', { cookie: 'ann' })
    time.move(15 * SECOND)
    expect((await get('/', { cookie: 'ann' })).text).toBe('run 1')
    await soon(() => cache.stats().refreshes === 1)
    expect((await get('/', { cookie: 'ann' })).text).toBe('run 2')
    expect(cache.stats().failedRefreshes).toBe(0)
  })

  describe('the request in the background', () => {
    it('has no field that the client has not sent, so that no client can make one', async () => {
      const requests: IncomingMessage[] = []
      const { get, refreshed, handler } = await staleSite(stack, 15, {
        route: SWR,
        above: ({ req }) => void requests.push(req),
      })
      const host = requests[0]!.headers.host!
      await get('/', {
        host,
        'x-own': 'kept',
        'user-agent': 'a browser',
        'if-none-match': '"mine"',
        'if-modified-since': 'Mon, 01 Dec 2025 00:00:00 GMT',
        'cache-control': 'max-age=0',
        pragma: 'no-cache',
      })
      await refreshed(1)
      expect(handler.runs()).toBe(2)
      const again = requests[2]!
      expect(again.headers).toEqual({ host, 'x-own': 'kept', 'user-agent': 'a browser' })
      expect([again.method, again.url, again.httpVersion]).toEqual(['GET', '/', '1.1'])
      expect(again.socket.remoteAddress).toBe(requests[1]!.socket.remoteAddress)
      expect(again.socket.remotePort).toBe(requests[1]!.socket.remotePort)
      // The same fields from a client make no refresh, but a look-up.
      expect((await get('/', again.headers as Record<string, string>)).cacheStatus).toBe('tagcache; hit; ttl=10')
      expect(handler.runs()).toBe(2)
    })

    it('passes the layers above again', async () => {
      const visits: string[] = []
      const { get, read, refreshed } = await staleSite(stack, 15, {
        route: SWR,
        above: ({ req, res }) => {
          visits.push(`${req.method} ${req.url}`)
          res.setHeader('X-Request-Id', visits.length)
        },
      })
      const stale = await get('/')
      expect([stale.text, stale.headers['x-request-id']]).toEqual(['run 1', '2'])
      await refreshed(1)
      expect(visits).toEqual(['GET /', 'GET /', 'GET /'])
      const hit = await get('/')
      // In front of them nobody passes them.
      expect([hit.text, hit.headers['x-request-id']]).toEqual(['run 2', stack.isFronted ? undefined : '4'])
      expect(await read()).toBe('run 2: hit; ttl=10')
    })

    it('is not kept where a layer above fails', async () => {
      let visits = 0
      const { read, refreshed, events } = await staleSite(stack, 15, {
        route: SWR,
        above: () => (++visits === 3 ? fail() : undefined),
      })
      expect(await read()).toBe('run 1: hit; ttl=-5; detail=stale-while-revalidate')
      await refreshed(1)
      expect(events.filter(({ type }) => type === 'refresh')).toMatchObject([{ stored: false, reason: 'unreached' }])
      expect(await read()).toBe('run 1: hit; ttl=-5; detail=stale-while-revalidate')
    })

    it('is kept only under the key that it was made for', async () => {
      // A layer above that says by chance who asks: what is made for one is not for the other.
      let visits = 0
      const { read, refreshed, cache } = await staleSite(stack, 15, {
        route: { ...SWR, scope: () => (visits === 3 ? 'bob' : 'ann') },
        reply: (text) => (visits === 3 ? `${text} for bob` : text),
        above: () => void (visits += 1),
      })
      expect(await read()).toBe('run 1: hit; ttl=-5; detail=stale-while-revalidate')
      await refreshed(1)
      expect(cache.stats().failedRefreshes).toBe(1)
      expect(await read()).toBe('run 1: hit; ttl=-5; detail=stale-while-revalidate')
    })

    it('says nothing to the client', async () => {
      const { handler, refreshed, get } = await staleSite(stack, 15, { route: SWR })
      handler.reply((body) => ({ headers: { 'X-Run': body, 'Set-Cookie': 'a=1' }, body: `${body} in the background` }))
      const stale = await get('/')
      await refreshed(1)
      expect([stale.text, stale.headers['x-run'], stale.headers['set-cookie']]).toEqual(['run 1', undefined, undefined])
    })

    it('sends nothing on the connection that the client keeps', async () => {
      const time = new ManualTime()
      const { cache, port } = await site(stack, { time }, (app, { cached }) => {
        app.on(
          'GET',
          '/',
          cached(SWR),
          counting((body) => ({ headers: { 'X-Run': body }, body })),
        )
      })
      const request = (more = '') => `GET / HTTP/1.1\r\nHost: a\r\n${more}\r\n`
      await askRaw(port, request('Connection: close\r\n'))
      time.move(15 * SECOND)
      const text = await askRaw(port, request() + request() + request('Connection: close\r\n'))
      await soon(() => cache.stats().refreshes === 1)
      expect(text.match(/HTTP\/1\.1 200/g)).toHaveLength(3)
      expect(text.match(/X-Run: /gi)).toHaveLength(3)
      expect(text.startsWith('HTTP/1.1 200')).toBe(true)
      for (const part of text.split('HTTP/1.1 200').slice(1)) expect(part).toMatch(/\r\n\r\nrun \d$/)
    })

    it.each([
      ['HEAD', 'HEAD', {}, 200, ''],
      ['Range', 'GET', { range: 'bytes=0-2' }, 206, 'run'],
      ['a condition', 'GET', { 'if-none-match': '*' }, 304, ''],
    ] as const)('is a plain GET where the client has asked with %s', async (_, method, headers, status, text) => {
      const { send, read, handler, refreshed } = await staleSite(stack, 15, { route: SWR })
      const answer = await send(method, '/', { headers })
      expect([answer.status, answer.text]).toEqual([status, text])
      expect(answer.cacheStatus).toBe('tagcache; hit; ttl=-5; detail=stale-while-revalidate')
      await refreshed(1)
      expect(handler.asked[1]?.method).toBe('GET')
      expect(handler.asked[1]?.headers).not.toHaveProperty(['range'])
      expect(handler.asked[1]?.headers['if-none-match']).not.toBe('*')
      expect(await read()).toBe('run 2: hit; ttl=10')
    })

    it.each([
      ['POST', {}],
      ['GET', { 'content-length': '2' }],
    ] as const)('is not made for %s %o, which may have a body', async (method, headers) => {
      const time = new ManualTime()
      const route = { ...SWR, methods: ['GET', 'HEAD', 'POST'], key: () => 'one' }
      const { send, cache } = await site(stack, { time }, (app, { cached }) => {
        app.use(cached(route))
        for (const each of ['GET', 'POST']) app.on(each, '/', counting())
      })
      const question = { headers, ...('content-length' in headers ? { body: '{}' } : {}) }
      await send(method, '/', question)
      time.move(15 * SECOND)
      const answer = await send(method, '/', question)
      expect(answer.text).toBe('run 2')
      await turns()
      expect(cache.stats()).toMatchObject({ refreshes: 0, stale: 0 })
    })
  })

  describe('is forbidden', () => {
    it.each(FORBIDDING)('by %s', async (control) => {
      for (const [reply, route] of [
        [saying(`${control}, stale-while-revalidate=600`), {}],
        [saying(control), { staleWhileRevalidate: 600 }],
      ] as const) {
        const { read, cache } = await staleSite(stack, 15, { reply: (body) => withTag(reply(body)), route })
        expect(await read()).toBe('run 2: fwd=stale; stored')
        expect(cache.stats()).toMatchObject({ refreshes: 0, stale: 0 })
      }
    })

    it.each(['s-maxage=99', 's-maxage=1, max-age=99'])('not by %s where the route has its own ttl', async (control) => {
      const { read, refreshed } = await staleSite(stack, 15, { reply: saying(control), route: SWR })
      expect(await read()).toBe('run 1: hit; ttl=-5; detail=stale-while-revalidate')
      await refreshed(1)
    })

    it.each(['must-revalidate', 'proxy-revalidate'])('by %s also where the route has its own ttl', async (control) => {
      const { read } = await staleSite(stack, 15, { reply: saying(control), route: SWR })
      expect(await read()).toMatch(/^run 2: fwd=/)
    })
  })

  describe('once purged', () => {
    const route = { ...SWR, tags: 'page' }

    it.each(PURGES)('a response is never served stale: %s', async (_, purge) => {
      const served = await staleSite(stack, 15, { route })
      await purge(served)
      expect(await served.read()).toMatch(/^run 2: fwd=uri-miss; stored(; detail=invalidated)?$/)
      expect(served.cache.stats()).toMatchObject({ refreshes: 0, stale: 0 })
    })

    const heldSite = async () => {
      const held = gate()
      const served = await staleSite(stack, 15, { route })
      served.handler.reply(async (text) => {
        if (text === 'run 2') await held.opened
        return text
      })
      expect(await served.read()).toBe('run 1: hit; ttl=-5; detail=stale-while-revalidate')
      await soon(() => served.handler.runs() === 2)
      return { ...served, held }
    }

    it.each(PURGES)('meanwhile, the new response is not kept either: %s', async (_, purge) => {
      const served = await heldSite()
      const { held, refreshed, read, cache, events } = served
      await purge(served)
      held.open()
      await refreshed(1)
      expect(events.filter(({ type }) => type === 'refresh')).toMatchObject([{ stored: false, reason: 'outdated' }])
      expect(cache.stats()).toMatchObject({ failedRefreshes: 1 })
      expect(await read()).toMatch(/^run 3: fwd=uri-miss; stored(; detail=invalidated)?$/)
      expect(await read()).toBe('run 3: hit; ttl=10')
    })

    it.each(PURGES)('meanwhile, nobody waits for the new response: %s', async (_, purge) => {
      const served = await heldSite()
      const { held, refreshed, read, handler, time } = served
      await purge(served)
      const timers = time.pending
      const answer = read()
      await soon(() => handler.runs() === 3 || time.pending > timers)
      expect(handler.runs()).toBe(3)
      expect(await answer).toMatch(/^run 3: fwd=uri-miss; stored(; detail=invalidated)?$/)
      held.open()
      await refreshed(1)
      expect(await read()).toBe('run 3: hit; ttl=10')
    })

    it('meanwhile, a tag that only the new response has counts too', async () => {
      const held = gate()
      const time = new ManualTime()
      const { get, cache } = await site(stack, { time }, (app, { cached, tag }) => {
        const handler = counting(async (text, call) => {
          if (text === 'run 2') await held.opened
          tag(call, text)
          return text
        })
        app.on('GET', '/', cached(SWR), handler)
      })
      await get('/')
      time.move(15 * SECOND)
      await get('/')
      cache.invalidateTags('run 2')
      held.open()
      await soon(() => cache.stats().refreshes === 1)
      expect(cache.stats().failedRefreshes).toBe(1)
      expect((await get('/')).text).not.toBe('run 2')
    })
  })

  describe('a refresh that fails', () => {
    const HOUR = { ttl: 10, staleWhileRevalidate: '1h' } as const

    const failures: [name: string, reply: () => Reply | Promise<Reply>][] = [
      ['throws', fail],
      ['answers 500', () => ({ status: 500, body: 'broken' })],
      ['answers 503', () => ({ status: 503, headers: { 'Retry-After': '9' }, body: 'busy' })],
    ]

    it.each(failures)('leaves what is stored, and is tried again after a pause: it %s', async (_, reply) => {
      const { read, handler, refreshed, cache, time } = await staleSite(stack, 15, { route: HOUR })
      handler.reply(reply)
      expect(await read()).toBe('run 1: hit; ttl=-5; detail=stale-while-revalidate')
      await refreshed(1)
      expect(cache.stats()).toMatchObject({ refreshes: 1, failedRefreshes: 1, entries: 1 })
      time.move(999)
      for (let again = 0; again < 3; again++) expect(await read()).toMatch(/^run 1: hit; .*stale-while-revalidate$/)
      await turns()
      expect(handler.runs()).toBe(2)
      time.move(1)
      handler.reply((text) => text)
      expect(await read()).toMatch(/^run 1: hit; .*stale-while-revalidate$/)
      await refreshed(2)
      expect(await read()).toBe('run 3: hit; ttl=10')
      expect(cache.stats()).toMatchObject({ refreshes: 2, failedRefreshes: 1 })
    })

    it.each(failures)('pauses twice as long each time, a minute at the most: it %s', async (_, reply) => {
      const { read, handler, refreshed, time } = await staleSite(stack, 15, { route: HOUR })
      handler.reply(reply)
      const pauses = [0, 1, 2, 4, 8, 16, 32, 60, 60]
      for (const [at, pause] of pauses.entries()) {
        if (pause > 0) {
          time.move(pause * SECOND - 1)
          await read()
          await turns(5)
          expect([pause, handler.runs()]).toEqual([pause, at + 1])
          time.move(1)
        }
        expect(await read()).toMatch(/^run 1: hit; .*stale-while-revalidate$/)
        await refreshed(at + 1)
        expect([pause, handler.runs()]).toEqual([pause, at + 2])
      }
      // A success begins anew.
      time.move(60 * SECOND)
      handler.reply((text) => text)
      await read()
      await refreshed(pauses.length + 1)
      handler.reply(reply)
      time.move(15 * SECOND)
      await read()
      await refreshed(pauses.length + 2)
      const runs = handler.runs()
      time.move(SECOND)
      await read()
      await refreshed(pauses.length + 3)
      expect(handler.runs()).toBe(runs + 1)
    })

    it('that never ends is given up after a minute', async () => {
      const held = gate()
      const closed: string[] = []
      const { read, handler, refreshed, time, cache, events } = await staleSite(stack, 15, { route: HOUR })
      handler.reply((text, { res }) => {
        res.on('close', () => closed.push(text))
        return held.opened.then(() => text)
      })
      await read()
      await soon(() => handler.runs() === 2)
      time.move(59_999)
      expect(await read()).toMatch(/^run 1: hit; .*stale-while-revalidate$/)
      await turns()
      expect([handler.runs(), cache.stats().refreshes]).toEqual([2, 0])
      time.move(1)
      await refreshed(1)
      expect(events.filter(({ type }) => type === 'refresh')).toMatchObject([{ stored: false, reason: 'timeout' }])
      await soon(() => closed.length === 1)
      expect(await read()).toMatch(/^run 1: hit; .*stale-while-revalidate$/)
      await turns()
      expect(handler.runs()).toBe(2)
      time.move(SECOND)
      handler.reply((text) => text)
      await read()
      await refreshed(2)
      expect(await read()).toBe('run 3: hit; ttl=10')
      // What it says in the end is of no use any more.
      held.open()
      await turns()
      expect(await read()).toBe('run 3: hit; ttl=10')
      expect(cache.stats()).toMatchObject({ refreshes: 2, failedRefreshes: 1 })
    })

    it('leaves no timer behind', async () => {
      const { read, handler, refreshed, time } = await staleSite(stack, 15, { route: HOUR })
      await read()
      await refreshed(1)
      time.move(15 * SECOND)
      handler.reply(fail)
      await read()
      await refreshed(2)
      await soon(() => time.pending === 0)
    })

    it.each([
      ['sets a cookie', { headers: { 'Set-Cookie': 'a=1' }, body: 'mine' }, 'set-cookie'],
      ['says no-store', { headers: { 'Cache-Control': 'no-store' }, body: 'mine' }, 'no-store'],
      ['says private', { headers: { 'Cache-Control': 'private' }, body: 'mine' }, 'private'],
      ['is not found', { status: 404, body: 'gone' }, 'status'],
    ] as [string, Exclude<Reply, string>, string][])(
      'to give something to keep removes what is stored: it %s',
      async (_, reply, reason) => {
        const { get, read, handler, refreshed, cache, events } = await staleSite(stack, 15, { route: HOUR })
        handler.reply(() => reply)
        await read()
        await refreshed(1)
        expect(events.filter(({ type }) => type === 'refresh')).toMatchObject([{ stored: false, reason }])
        expect(cache.stats()).toMatchObject({ entries: 0, failedRefreshes: 1 })
        const next = await get('/')
        expect([next.status, next.text]).toEqual([reply.status ?? 200, reply.body])
        handler.reply((text) => text)
        expect(await read()).toBe('run 4: fwd=uri-miss; stored; detail=deleted')
      },
    )

    it('too large to keep removes what is stored', async () => {
      const { read, handler, refreshed, cache } = await staleSite(stack, 15, { route: { ...HOUR, maxBodySize: 100 } })
      handler.reply(() => 'x'.repeat(101))
      await read()
      await refreshed(1)
      expect(cache.stats()).toMatchObject({ entries: 0, failedRefreshes: 1 })
    })
  })

  describe('by a handler that writes with', () => {
    const large = Buffer.alloc(3_000_000, 'tagcache ')
    const writers: [name: string, write: (res: ServerResponse, body: Buffer) => unknown][] = [
      ['end', (res, body) => res.end(body)],
      ['write, chunk by chunk', (res, body) => writeAll(res, body)],
      ['write, waiting for drain', (res, body) => writeDraining(res, body)],
      ['pipe', (res, body) => chunksOf(body).pipe(res)],
      ['stream.pipeline', (res, body) => pipeline(chunksOf(body), res, () => {})],
      [
        'flushHeaders and pipe',
        (res, body) => {
          res.flushHeaders()
          chunksOf(body).pipe(res)
        },
      ],
      ['writeHead and Content-Length', (res, body) => res.writeHead(200, { 'Content-Length': body.length }).end(body)],
    ]

    it.each(writers)('%s', async (_, write) => {
      const time = new ManualTime()
      let runs = 0
      const bodies = [large, Buffer.from(large).fill('another ')]
      const writing: RawHandler = (_, res) => void write(res, bodies[runs++]!)
      const { get, cache } = await site(stack, { time }, (app, { cached }) => app.raw('GET', '/', cached(SWR), writing))
      await get('/')
      time.move(15 * SECOND)
      expect((await get('/')).body.equals(large)).toBe(true)
      await soon(() => cache.stats().refreshes === 1)
      const hit = await get('/')
      expect([hit.status, hit.cacheStatus]).toEqual([200, 'tagcache; hit; ttl=10'])
      expect(hit.body.equals(bodies[1]!)).toBe(true)
      expect(cache.stats().failedRefreshes).toBe(0)
    })

    it('a stream that breaks is not kept', async () => {
      const time = new ManualTime()
      let runs = 0
      const writing: RawHandler = (_, res) => {
        if (++runs === 1) return res.end('whole')
        return pipeline(Readable.from(breaking()), res, () => {})
      }
      const { get, cache } = await site(stack, { time }, (app, { cached }) => app.raw('GET', '/', cached(SWR), writing))
      await get('/')
      time.move(15 * SECOND)
      expect((await get('/')).text).toBe('whole')
      await soon(() => cache.stats().refreshes === 1)
      expect(cache.stats()).toMatchObject({ failedRefreshes: 1, entries: 1 })
      expect((await get('/')).text).toBe('whole')
    })
  })

  it('tells the listeners of the server, whatever stands around the application', async () => {
    const time = new ManualTime()
    const { cached, cache } = stack.tools({ time })
    const tenants = new WeakMap<IncomingMessage, string>()
    const app = stack.app()
    app.on(
      'GET',
      '/',
      cached(SWR),
      counting((text, { req }) => `${text} for ${tenants.get(req)}`),
    )
    const inner = app.listener()
    const server = await listen((req, res) => {
      tenants.set(req, 'acme')
      inner(req, res)
    })
    onTestFinished(() => server.close())
    await ask(server.url)
    time.move(15 * SECOND)
    expect((await ask(server.url)).text).toBe('run 1 for acme')
    await soon(() => cache.stats().refreshes === 1)
    expect((await ask(server.url)).text).toBe('run 2 for acme')
  })
}

function withTag(reply: Reply): Reply {
  const { headers = {}, ...rest } = reply as Exclude<Reply, string>
  return { ...rest, headers: { ...headers, ETag: `"${String(rest.body)}"` } }
}

function chunksOf(body: Buffer): Readable {
  const chunks: Buffer[] = []
  for (let at = 0; at < body.length; at += 65_536) chunks.push(body.subarray(at, at + 65_536))
  return Readable.from(chunks)
}

async function writeAll(res: ServerResponse, body: Buffer): Promise<void> {
  for await (const chunk of chunksOf(body)) res.write(chunk)
  res.end()
}

async function writeDraining(res: ServerResponse, body: Buffer): Promise<void> {
  for await (const chunk of chunksOf(body)) {
    if (!res.write(chunk)) await new Promise((resolve) => res.once('drain', resolve))
  }
  res.end()
}

async function* breaking(): AsyncGenerator<string> {
  yield 'a part'
  await new Promise((resolve) => setImmediate(resolve))
  throw new Error('thrown by the stream')
}

export function staleIfError(stack: Stack): void {
  const SIE = { ttl: 10, staleIfError: 30 } as const
  const thrownStatus = stack.kind === 'koa' ? '' : 'fwd-status=500; '
  const INSTEAD = (status: string) => `run 1: fwd=stale; ${status}detail=stale-if-error`

  const failures: [name: string, reply: () => Reply | Promise<Reply>, status: string][] = [
    ['throws', fail, thrownStatus],
    ['rejects later', () => new Promise((resolve) => setImmediate(resolve)).then(fail), thrownStatus],
    ['answers 500', () => ({ status: 500, body: 'broken' }), 'fwd-status=500; '],
    ['answers 502', () => ({ status: 502, body: 'broken' }), 'fwd-status=502; '],
    ['answers 503', () => ({ status: 503, headers: { 'Retry-After': '9' }, body: 'busy' }), 'fwd-status=503; '],
    ['answers 504 without a body', () => ({ status: 504 }), 'fwd-status=504; '],
  ]

  describe.each([
    ['the response says so', 'max-age=10, stale-if-error=30', {}],
    ['the route says so', undefined, SIE],
  ] as [string, string | undefined, CallOptions][])('where %s', (_, control, route) => {
    it.each(failures)('serves what is stored where the handler %s', async (_, failing, status) => {
      const reply = (body: string) => (control === undefined ? body : saying(control)(body))
      const { get, read, handler, time, cache } = await staleSite(stack, 15, { reply, route })
      const told: CacheEvent[] = []
      cache.on('failure', (event) => told.push(event))
      handler.reply(failing)
      const stale = await get('/')
      expect([stale.status, stale.statusMessage, stale.text]).toEqual([200, 'OK', 'run 1'])
      expect(stale.cacheStatus).toBe(`tagcache; fwd=stale; ${status}detail=stale-if-error`)
      expect(stale.headers).toMatchObject({ age: '15', 'content-length': '5' })
      expect(stale.headers['retry-after']).toBeUndefined()
      expect(cache.stats()).toMatchObject({ requests: 2, misses: 1, stale: 1, entries: 1 })
      const [, code] = /fwd-status=(\d+)/.exec(status) ?? []
      const error = expect.objectContaining({ message: 'thrown by the handler' })
      expect(told).toEqual([
        { type: 'failure', route: 'GET /', ...(code === undefined ? { error } : { status: Number(code) }) },
      ])
      handler.reply(reply)
      time.move(SECOND)
      expect(await read()).toBe('run 3: fwd=stale; stored')
      expect(await read()).toBe('run 3: hit; ttl=10')
    })
  })

  it.each([
    ['501', { status: 501, body: 'never' }],
    ['404', { status: 404, body: 'none' }],
    ['429', { status: 429, body: 'later' }],
    ['505', { status: 505, body: 'no' }],
  ] as [string, Exclude<Reply, string>][])('not where the handler answers %s', async (_, reply) => {
    const { get, handler } = await staleSite(stack, 15, { route: SIE })
    handler.reply(() => reply)
    const answer = await get('/')
    expect([answer.status, answer.text, answer.cacheStatus]).toEqual([
      reply.status,
      reply.body,
      'tagcache; fwd=stale; detail=status',
    ])
    // That is newer than what was stored, which is not served again.
    handler.reply(busy)
    expect((await get('/')).status).toBe(503)
  })

  it('to the end of the window, and not after it', async () => {
    const inside = await staleSite(stack, 39.999, { route: SIE })
    inside.handler.reply(busy)
    expect(await inside.read()).toBe(INSTEAD('fwd-status=503; '))
    const outside = await staleSite(stack, 40.001, { route: SIE })
    outside.handler.reply(busy)
    expect((await outside.get('/')).status).toBe(503)
  })

  it('not after the window where what is stored is kept for its validator', async () => {
    const reply = (body: string) => withTag({ body })
    const { get, handler } = await staleSite(stack, 40.001, { reply, route: SIE })
    handler.reply(busy)
    expect([(await get('/')).status, (await get('/')).status]).toEqual([503, 503])
  })

  it('not after the window where that ends while the handler runs', async () => {
    const held = gate()
    const { get, handler, time } = await staleSite(stack, 39, { route: SIE })
    handler.reply(() => held.opened.then(busy))
    const answer = get('/')
    await soon(() => handler.runs() === 2)
    time.move(2 * SECOND)
    held.open()
    expect((await answer).status).toBe(503)
  })

  it('not after the window where a pause goes on', async () => {
    const { get, read, handler, time } = await staleSite(stack, 39.5, { route: SIE })
    handler.reply(busy)
    expect(await read()).toBe(INSTEAD('fwd-status=503; '))
    time.move(600)
    expect((await get('/')).status).toBe(503)
  })

  it.each(FORBIDDING)('not where the response says %s', async (control) => {
    for (const [reply, route] of [
      [saying(`${control}, stale-if-error=600`), {}],
      [saying(control), { staleIfError: 600 }],
    ] as const) {
      const { get, handler } = await staleSite(stack, 15, { reply: (body) => withTag(reply(body)), route })
      handler.reply(busy)
      expect((await get('/')).status).toBe(503)
    }
  })

  it('where the response says s-maxage and the route has its own ttl', async () => {
    const { read, handler } = await staleSite(stack, 15, { reply: saying('s-maxage=99'), route: SIE })
    handler.reply(busy)
    expect(await read()).toBe(INSTEAD('fwd-status=503; '))
  })

  it.each([
    ['HEAD', 'HEAD', {}, 200, ''],
    ['Range', 'GET', { range: 'bytes=0-2' }, 206, 'run'],
    ['a condition that matches', 'GET', { 'if-none-match': '*' }, 304, ''],
    ['a condition that does not', 'GET', { 'if-none-match': '"other"' }, 200, 'run 1'],
  ] as const)('answers %s by what is stored', async (_, method, headers, status, text) => {
    for (const failing of [fail, busy]) {
      const { send, handler } = await staleSite(stack, 15, { route: SIE })
      handler.reply(failing)
      const answer = await send(method, '/', { headers })
      expect([answer.status, answer.text]).toEqual([status, text])
      expect(answer.cacheStatus).toMatch(/^tagcache; fwd=stale; .*detail=stale-if-error$/)
    }
  })

  it('keeps what layers above have set, and nothing of the error', async () => {
    let visits = 0
    for (const failing of [
      fail,
      () => ({ status: 503, headers: { 'X-Error': 'yes', 'X-Own': 'bad' }, body: 'busy' }),
    ]) {
      const { get, handler } = await staleSite(stack, 15, {
        route: SIE,
        reply: (body) => ({ headers: { 'X-Own': 'good', 'Content-Type': 'text/plain; charset=utf-8' }, body }),
        above: ({ req, res }) => {
          res.setHeader('Access-Control-Allow-Origin', req.headers.origin ?? 'nobody')
          res.setHeader('X-Request-Id', ++visits)
          res.setHeader('X-Own', 'above')
        },
      })
      handler.reply((_, { res }) => {
        res.setHeader('X-Begun', 'yes')
        res.removeHeader('X-Request-Id')
        return failing()
      })
      const { headers, text } = await get('/', { origin: 'http://a.example' })
      expect(text).toBe('run 1')
      expect(headers).toMatchObject({
        'access-control-allow-origin': 'http://a.example',
        'x-request-id': String(visits),
        'x-own': 'good',
        'content-type': 'text/plain; charset=utf-8',
        'content-length': '5',
      })
      for (const name of ['x-error', 'x-begun', 'content-security-policy', 'x-content-type-options']) {
        expect(headers).not.toHaveProperty([name])
      }
    }
  })

  it.each([
    [
      'writeHead, write and end',
      (res) => {
        res.writeHead(503, { 'Content-Length': '8' }).write('busy')
        res.end('busy')
      },
    ],
    [
      'a pipe',
      (res) => {
        res.statusCode = 503
        chunksOf(Buffer.alloc(200_000, 'busy')).pipe(res)
      },
    ],
    [
      'flushHeaders',
      (res) => {
        res.statusCode = 503
        res.flushHeaders()
        setImmediate(() => res.end('busy'))
      },
    ],
    ['end alone', (res) => res.writeHead(503).end()],
  ] as [string, (res: ServerResponse) => unknown][])(
    'in the place of an error that is written by %s',
    async (_, write) => {
      const time = new ManualTime()
      let runs = 0
      const writing: RawHandler = (_, res) => void (++runs === 1 ? res.end('run 1') : write(res))
      const { get } = await site(stack, { time }, (app, { cached }) => app.raw('GET', '/', cached(SIE), writing))
      await get('/')
      time.move(15 * SECOND)
      const answer = await get('/')
      expect([answer.status, answer.text, answer.headers['content-length']]).toEqual([200, 'run 1', '5'])
      expect(answer.cacheStatus).toBe('tagcache; fwd=stale; fwd-status=503; detail=stale-if-error')
    },
  )

  const heldSite = async (failing: () => Reply = busy, backend: MakeBackend = () => undefined) => {
    const held = gate()
    const served = await staleSite(stack, 15, {
      route: { ...SIE, tags: 'page' },
      backend,
    })
    const { handler, time } = served
    handler.reply(async () => {
      await held.opened
      return failing()
    })
    const timers = time.pending
    return { ...served, held, waiting: (count: number) => soon(() => time.pending === timers + count) }
  }

  const ends: [name: string, failing: () => Reply][] = [
    ['throws', fail],
    ['answers 503', busy],
  ]

  it.each(
    BACKENDS.flatMap(([kept, backend]) => ends.map(([name, failing]) => [name, kept, failing, backend] as const)),
  )('serves those who wait, by one run: the handler %s, over %s', async (_, __, failing, backend) => {
    const { get, held, waiting, handler, cache } = await heldSite(failing, backend)
    const answers = [...Array.from({ length: 4 }, () => get('/')), get('/', { 'if-none-match': '*' })]
    await soon(() => handler.runs() === 2)
    await turns()
    await waiting(4)
    held.open()
    const settled = await Promise.all(answers)
    expect(settled.map(({ status, text }) => `${status} ${text}`).sort()).toEqual([
      '200 run 1',
      '200 run 1',
      '200 run 1',
      '200 run 1',
      '304 ',
    ])
    for (const { cacheStatus } of settled) {
      expect(cacheStatus).toMatch(/^tagcache; fwd=stale; (fwd-status=\d+; )?(collapsed; )?detail=stale-if-error$/)
    }
    expect(settled.filter(({ cacheStatus }) => cacheStatus?.includes('collapsed'))).toHaveLength(4)
    expect(handler.runs()).toBe(2)
    expect(cache.stats()).toMatchObject({ requests: 6, stale: 5, misses: 1 })
  })

  describe('once purged', () => {
    it.each(PURGES)('what is stored takes the place of no error: %s', async (_, purge) => {
      for (const failing of [fail, busy]) {
        const served = await staleSite(stack, 15, { route: { ...SIE, tags: 'page' } })
        await purge(served)
        served.handler.reply(failing)
        const answer = await served.get('/')
        expect([answer.status >= 500, answer.text.includes('run 1')]).toEqual([true, false])
      }
    })

    const cases = BACKENDS.flatMap(([name, backend]) =>
      PURGES.map(([what, purge]) => [`${what}, ${name}`, backend, purge] as const),
    )

    it.each(cases)('between the look and the failure, the error is what all get: %s', async (_, backend, purge) => {
      for (const failing of [fail, busy]) {
        const served = await heldSite(failing, backend)
        const { get, held, waiting, handler } = served
        const answers = [get('/'), get('/'), get('/')]
        await soon(() => handler.runs() === 2)
        await turns()
        await waiting(2)
        await purge(served)
        held.open()
        for (const answer of await Promise.all(answers)) {
          expect([answer.status >= 500, answer.text.includes('run 1')]).toEqual([true, false])
        }
      }
    })

    it('in a pause, what is stored is not served', async () => {
      const { read, get, handler, cache } = await staleSite(stack, 15, { route: { ...SIE, tags: 'page' } })
      handler.reply(busy)
      expect(await read()).toBe(INSTEAD('fwd-status=503; '))
      cache.invalidateTags('page')
      expect((await get('/')).status).toBe(503)
    })

    it('other tags change nothing', async () => {
      const { get, held, handler, cache } = await heldSite()
      const answer = get('/')
      await soon(() => handler.runs() === 2)
      cache.invalidateTags('another page')
      held.open()
      expect((await answer).text).toBe('run 1')
    })
  })

  describe('after a failure', () => {
    it('those who ask are served without the handler for a while, twice as long each time', async () => {
      const { read, handler, time } = await staleSite(stack, 15, { route: { ttl: 10, staleIfError: '1h' } })
      handler.reply(busy)
      expect(await read()).toBe(INSTEAD('fwd-status=503; '))
      for (const [at, pause] of [1, 2, 4, 8, 16, 32, 60, 60].entries()) {
        expect(await read()).toMatch(/^run 1: hit; ttl=-\d+; detail=stale-if-error$/)
        time.move(pause * SECOND - 1)
        expect(await read()).toMatch(/^run 1: hit; ttl=-\d+; detail=stale-if-error$/)
        expect([pause, handler.runs()]).toEqual([pause, at + 2])
        time.move(1)
        expect(await read()).toBe(INSTEAD('fwd-status=503; '))
        expect([pause, handler.runs()]).toEqual([pause, at + 3])
      }
      time.move(60 * SECOND)
      handler.reply((text) => text)
      expect(await read()).toMatch(/^run \d+: fwd=stale; stored$/)
      expect(await read()).toMatch(/^run \d+: hit; ttl=10$/)
      time.move(15 * SECOND)
      handler.reply(busy)
      const runs = handler.runs()
      await read()
      time.move(SECOND)
      await read()
      expect(handler.runs()).toBe(runs + 2)
    })

    it('HEAD and Range requests are served so too', async () => {
      const { read, send, handler } = await staleSite(stack, 15, { route: SIE })
      handler.reply(busy)
      await read()
      expect((await send('HEAD', '/')).cacheStatus).toBe('tagcache; hit; ttl=-5; detail=stale-if-error')
      expect((await send('GET', '/', { headers: { range: 'bytes=0-2' } })).text).toBe('run')
      expect(handler.runs()).toBe(2)
    })

    it('of a refresh, those who ask after its window are served without the handler', async () => {
      const route = { ttl: 10, staleWhileRevalidate: 5, staleIfError: 30 }
      const { read, handler, refreshed, time } = await staleSite(stack, 14.5, { route })
      handler.reply(busy)
      expect(await read()).toBe('run 1: hit; ttl=-5; detail=stale-while-revalidate')
      await refreshed(1)
      time.move(600)
      expect(await read()).toBe('run 1: hit; ttl=-6; detail=stale-if-error')
      expect(handler.runs()).toBe(2)
      time.move(500)
      expect(await read()).toBe(INSTEAD('fwd-status=503; '))
    })

    it('a success of the handler counts for all', async () => {
      const { read, handler, time } = await staleSite(stack, 15, { route: SIE })
      handler.reply(busy)
      await read()
      time.move(SECOND)
      handler.reply((text) => text)
      expect(await read()).toBe('run 3: fwd=stale; stored')
      expect(await read()).toBe('run 3: hit; ttl=10')
    })
  })

  describe('without something stored', () => {
    it.each(failures)('the error is as it is without the cache, where the handler %s', async (_, failing) => {
      const time = new ManualTime()
      const { get } = await site(stack, { time }, (app, { cached }) => {
        app.on('GET', '/cached', cached(SIE), failing)
        // Polka hands a lone handler nothing to tell of an error.
        app.on(
          'GET',
          '/plain',
          stack.before(() => {}),
          failing,
        )
      })
      const [mine, plain] = [await get('/cached'), await get('/plain')]
      expect([mine.status, mine.statusMessage]).toEqual([plain.status, plain.statusMessage])
      expect(mine.text).toBe(plain.text)
      const { 'cache-status': said, date: _date, ...fields } = mine.headers
      const { date: __, ...others } = plain.headers
      expect(fields).toEqual(others)
      expect(said).toMatch(/^tagcache; fwd=uri-miss; detail=/)
    })

    it.each(failures)('nor where what is stored may not be served, and the handler %s', async (_, failing) => {
      const time = new ManualTime()
      const reply = changing((body) => withTag({ body }))
      const { get } = await site(stack, { time }, (app, { cached }) => {
        app.on('GET', '/cached', cached({ ttl: 10 }), reply)
        // Polka hands a lone handler nothing to tell of an error.
        app.on(
          'GET',
          '/plain',
          stack.before(() => {}),
          failing,
        )
      })
      await get('/cached')
      time.move(15 * SECOND)
      reply.reply(failing)
      const [mine, plain] = [await get('/cached'), await get('/plain')]
      expect([mine.status, mine.text]).toEqual([plain.status, plain.text])
      const { 'cache-status': said, date: _date, ...fields } = mine.headers
      const { date: __, ...others } = plain.headers
      expect(fields).toEqual(others)
      expect(said).toMatch(/^tagcache; fwd=stale; detail=/)
    })
  })
}

export function earlyRefresh(stack: Stack): void {
  /** A site whose handler takes two seconds, and whose response is fresh for ten; chance gives `random`. */
  const slowSite = async (earlyRefresh: number | boolean, random: () => number) => {
    const time = new ManualTime()
    const handler = changing((text) => {
      time.move(2 * SECOND)
      return text
    })
    const served = await site(stack, { time, random }, (app, { cached }) =>
      app.on('GET', '/', cached({ ttl: 10, earlyRefresh, tags: 'page' }), handler),
    )
    expect((await served.get('/')).cacheStatus).toBe(STORED)
    const { cache } = served
    return { ...served, time, handler, refreshed: (count: number) => soon(() => cache.stats().refreshes === count) }
  }

  // The time left that is too much, and just enough: cost times eagerness times -ln(random).
  it.each([
    ['as eager as it is', true, Math.exp(-1), 2_000],
    ['three times as eager', 3, Math.exp(-1), 6_000],
    ['half as eager', 0.5, Math.exp(-1), 1_000],
    ['by a small chance', true, Math.exp(-4), 8_000],
    ['by a great chance', true, Math.exp(-0.01), 20],
  ])('makes a new response in time: %s', async (_, earlyRefresh, random, enough) => {
    const { get, time, handler, refreshed } = await slowSite(earlyRefresh, () => random)
    time.move(10_000 - enough - 1)
    expect((await get('/')).text).toBe('run 1')
    await turns()
    expect(handler.runs()).toBe(1)
    time.move(2)
    const early = await get('/')
    expect([early.text, early.cacheStatus]).toEqual(['run 1', `tagcache; hit; ttl=${Math.floor((enough - 1) / 1000)}`])
    await refreshed(1)
    expect(await get('/')).toMatchObject({ text: 'run 2', cacheStatus: 'tagcache; hit; ttl=10' })
  })

  it('never where it is not asked for', async () => {
    const { get, time, handler } = await slowSite(false, () => 0)
    time.move(9_999)
    expect((await get('/')).text).toBe('run 1')
    await turns()
    expect(handler.runs()).toBe(1)
  })

  it('never where the handler took no time', async () => {
    const time = new ManualTime()
    const handler = counting()
    const { get } = await site(stack, { time, random: () => 0 }, (app, { cached }) =>
      app.on('GET', '/', cached({ ttl: 10, earlyRefresh: true }), handler),
    )
    await get('/')
    time.move(9_999)
    expect((await get('/')).text).toBe('run 1')
    await turns()
    expect(handler.runs()).toBe(1)
  })

  it('makes one new response for many who ask', async () => {
    const { get, time, handler, cache, refreshed } = await slowSite(true, () => 0)
    const held = gate()
    handler.reply((text) => held.opened.then(() => text))
    time.move(5_000)
    const answers = await Promise.all(Array.from({ length: 20 }, () => get('/')))
    expect(new Set(answers.map(({ text }) => text))).toEqual(new Set(['run 1']))
    held.open()
    await refreshed(1)
    expect(handler.runs()).toBe(2)
    expect(cache.stats()).toMatchObject({ hits: 20, stale: 0, misses: 1, stores: 2 })
  })

  it('leaves what is fresh where the handler fails', async () => {
    const { get, time, handler, refreshed, cache } = await slowSite(true, () => 0)
    handler.reply(fail)
    time.move(5_000)
    await get('/')
    await refreshed(1)
    expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=5')
    await turns()
    expect(handler.runs()).toBe(2)
    expect(cache.stats()).toMatchObject({ failedRefreshes: 1, entries: 1 })
  })

  it('is not kept where it was purged meanwhile', async () => {
    const { get, time, handler, refreshed, cache } = await slowSite(true, () => 0)
    const held = gate()
    handler.reply(async (text) => {
      if (text === 'run 2') await held.opened
      return text
    })
    time.move(5_000)
    await get('/')
    await soon(() => handler.runs() === 2)
    cache.invalidateTags('page')
    held.open()
    await refreshed(1)
    expect((await get('/')).text).toBe('run 3')
  })

  it('leaves those who ask when it has become stale meanwhile to wait for it', async () => {
    const { get, time, handler, refreshed } = await slowSite(true, () => 0)
    const held = gate()
    handler.reply(async (text) => {
      await held.opened
      return text
    })
    time.move(5_000)
    await get('/')
    await soon(() => handler.runs() === 2)
    time.move(5_000)
    const timers = time.pending
    const late = get('/')
    await soon(() => time.pending === timers + 1)
    held.open()
    await refreshed(1)
    expect((await late).text).toBe('run 2')
    expect(handler.runs()).toBe(2)
  })
}

export function jitter(stack: Stack): void {
  it.each([
    [0, 0, 100],
    [0, 0.999, 100],
    [0.2, 0, 100],
    [0.2, 0.5, 90],
    [0.2, 0.9999, 80],
    [0.5, 0.9999, 50],
  ])('of %d with a chance of %d makes 100 s to %d s', async (share, chance, seconds) => {
    const time = new ManualTime()
    const { get } = await site(stack, { time, random: () => chance }, (app, { cached }) =>
      app.on('GET', '/', cached({ ttl: 100, jitter: share }), counting()),
    )
    await get('/')
    expect((await get('/')).cacheStatus).toBe(`tagcache; hit; ttl=${seconds}`)
    time.move((seconds + 1) * SECOND)
    expect((await get('/')).text).toBe('run 2')
  })

  it('counts for what the response says itself', async () => {
    const time = new ManualTime()
    const { get } = await site(stack, { time, random: () => 0.5 }, (app, { cached }) =>
      app.on('GET', '/', cached({ jitter: 0.2 }), counting(saying('max-age=100'))),
    )
    const miss = await get('/')
    expect(miss.headers['cache-control']).toBe('max-age=100')
    expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=90')
  })

  it('counts for what was validated too', async () => {
    const time = new ManualTime()
    const reply: Handler = ({ req }) =>
      req.headers['if-none-match'] === '"v1"' ? { status: 304 } : { headers: { ETag: '"v1"' }, body: 'hello' }
    const { get } = await site(stack, { time, random: () => 0.5 }, (app, { cached }) =>
      app.on('GET', '/', cached({ ttl: 100, jitter: 0.2 }), reply),
    )
    await get('/')
    time.move(95 * SECOND)
    expect((await get('/')).cacheStatus).toBe('tagcache; fwd=stale; fwd-status=304; stored')
    expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=90')
  })

  it('differs from response to response', async () => {
    const time = new ManualTime()
    let chance = 0
    const random = () => (chance = (chance + 0.3) % 1)
    const { get } = await site(stack, { time, random }, (app, { cached }) =>
      app.on('GET', '/:id', cached({ ttl: 100, jitter: 0.5 }), counting()),
    )
    const lifetimes = new Set<string | undefined>()
    for (const path of ['/1', '/2', '/3']) {
      await get(path)
      lifetimes.add((await get(path)).cacheStatus)
    }
    expect(lifetimes.size).toBe(3)
  })
}
