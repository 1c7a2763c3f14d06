import { once } from 'node:events'
import http, { type ServerResponse } from 'node:http'
import zlib from 'node:zlib'
import express from 'express'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tagcache as expressCache } from '../../src/adapters/express.ts'
import { memory } from '../../src/index.ts'
import { Overridden } from '../support/backends.ts'
import { cacheStatusOf } from '../support/cache-status.ts'
import { type Answer, ask, gate, listen } from '../support/http.ts'
import {
  type CallOptions,
  counting,
  EXPRESSES,
  type Handler,
  oneRoute,
  type RawHandler,
  STACKS,
  type Stack,
  site,
  turns,
  until,
} from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'
import { exchange, requestText } from '../support/wire.ts'
import { encoding } from './shared/ranges.ts'

// What the public HTTP cache tests do not see, line by line.

const HOURS = 60 * 60 * 1000
const TEXT = 'compressible '.repeat(50)

/** A site of one route whose handler writes with node:http. */
function rawRoute(stack: Stack, handler: RawHandler, route: CallOptions = {}, time = new ManualTime()) {
  return site(stack, { time }, (app, { cached }) => app.raw('GET', '/', cached({ tags: 'page', ...route }), handler))
}

/** A request whose client can leave. */
async function opened(url: string, headers: http.OutgoingHttpHeaders = {}) {
  const request = http.request(url, { headers, agent: false }).end()
  request.on('error', () => {})
  await once(request, 'finish')
  return request
}

describe.each(STACKS)('$name', (stack) => {
  // More in test/peers/bodies.test.ts ([cut]), test/input/bodies.test.ts, test/adapters/streaming.test.ts,
  // test/adapters/transparency.test.ts and, for refreshes, test/adapters/shared/stale.ts.
  describe('truncated or aborted application responses stored as complete; a handler that errs after the first byte; length that does not fit', () => {
    const cuts: [name: string, cut: (res: ServerResponse) => unknown][] = [
      ['an abort', (res) => res.write('part', () => res.destroy())],
      ['an abort before the length', (res) => res.setHeader('Content-Length', 9).write('part', () => res.destroy())],
      ['an error', (res) => res.write('part', () => res.destroy(new Error('broken')))],
      ['an end before the length', (res) => res.setHeader('Content-Length', 9).end('part')],
    ]

    it.each(cuts)('cut by %s, the answer to a validation is not kept', async (_, cut) => {
      const time = new ManualTime()
      let isCut = false
      const { get, port, cache } = await rawRoute(
        stack,
        (_req, res) => {
          res.setHeader('ETag', isCut ? '"v2"' : '"v1"')
          if (isCut) cut(res)
          else res.end('whole')
        },
        { ttl: 10 },
        time,
      )
      await get('/', { host: 'a' })
      time.move(11_000)
      isCut = true
      expect(await exchange(port, requestText())).not.toContain('whole')
      await turns()
      expect(await exchange(port, requestText())).not.toContain('; hit')
      isCut = false
      const answer = await get('/', { host: 'a' })
      expect([answer.status, answer.text]).toEqual([200, 'whole'])
      expect((await cache.getByTags('page'))?.body.toString()).toBe('whole')
    })

    it.each(cuts)(
      'cut by %s, the answer to a Range request is not kept, nor the rest of a stored part',
      async (_, cut) => {
        const { port, cache, get } = await rawRoute(
          stack,
          (req, res) => {
            if (req.headers.range === 'bytes=0-3') {
              res.writeHead(206, { ETag: '"v1"', 'Content-Range': 'bytes 0-3/9', 'Content-Length': 4 }).end('0123')
            } else if (req.headers.range !== undefined) {
              res.statusCode = 206
              res.setHeader('ETag', '"v1"').setHeader('Content-Range', 'bytes 4-8/9')
              cut(res)
            } else res.setHeader('ETag', '"v1"').end('012345678')
          },
          { storePartial: true },
        )
        await exchange(port, requestText('GET', '/', { headers: 'Range: bytes=4-\r\n' }))
        await turns()
        expect(cache.stats().entries).toBe(0)
        expect((await get('/', { host: 'a', range: 'bytes=0-3' })).text).toBe('0123')
        for (const _ of [1, 2]) {
          const whole = await get('/', { host: 'a' })
          expect([whole.status, whole.text]).toEqual([200, '012345678'])
        }
      },
    )
  })

  // More in test/adapters/streaming.test.ts (back-pressure, twenty megabytes) and test/adapters/shared/flights.ts.
  describe('client that goes away during a miss; slow client; very large bodies; bodies over the size limit', () => {
    it('a client that leaves during a range of a miss holds up nobody', async () => {
      const held = gate()
      const handler = counting(async (text) => {
        if (text === 'run 1') await held.opened
        return text
      })
      const { get, server } = await oneRoute(stack, handler)
      const request = await opened(server.url, { range: 'bytes=0-1' })
      await until(() => handler.runs() === 1)
      request.destroy()
      expect((await get('/')).text).toBe('run 2')
      held.open()
      await turns()
      expect((await get('/')).text).toBe('run 2')
    })

    it('a client that leaves while a part is completed for him keeps nobody else from the whole', async () => {
      const held = gate()
      const handler = counting(async (_, { req }) => {
        if (req.headers.range === 'bytes=0-3') {
          return { status: 206, headers: { ETag: '"v1"', 'Content-Range': 'bytes 0-3/9' }, body: '0123' }
        }
        await held.opened
        if (req.headers.range === undefined) return { headers: { ETag: '"v1"' }, body: '012345678' }
        return { status: 206, headers: { ETag: '"v1"', 'Content-Range': 'bytes 4-8/9' }, body: '45678' }
      })
      const time = new ManualTime()
      const { get, server } = await oneRoute(stack, handler, { storePartial: true }, { time })
      await get('/', { range: 'bytes=0-3' })
      const request = await opened(server.url)
      await until(() => handler.runs() === 2)
      const other = get('/')
      await turns()
      request.destroy()
      await turns()
      held.open()
      expect([(await other).status, (await other).text]).toEqual([200, '012345678'])
      expect((await get('/')).text).toBe('012345678')
      // One timer for a client that waits, and none for who is gone.
      expect(time.pending).toBe(0)
    })

    it('a client that leaves during a write has purged all the same', async () => {
      const held = gate()
      const began = gate()
      const { get, server } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        app.use(cached())
        app.on('GET', '/', counting())
        app.on('PUT', '/', async () => {
          began.open()
          await held.opened
          return 'done'
        })
      })
      await get('/')
      const request = http.request(server.url, { method: 'PUT', agent: false }).end()
      request.on('error', () => {})
      await began.opened
      request.destroy()
      held.open()
      await turns(50)
      expect((await get('/')).text).toBe('run 2')
    })

    it('a body over the limit in the answer to a validation goes to its client, and what was stored is gone', async () => {
      const time = new ManualTime()
      const handler = counting((text) => ({
        headers: { ETag: `"${text}"` },
        body: text.repeat(text === 'run 1' ? 1 : 10),
      }))
      const { get, cache } = await oneRoute(stack, handler, { ttl: 10, maxBodySize: 10 }, { time })
      await get('/')
      time.move(11_000)
      expect((await get('/')).text).toBe('run 2'.repeat(10))
      await turns()
      expect(cache.stats().entries).toBe(0)
    })

    it('a range of a body over the limit is the handler’s', async () => {
      const body = Buffer.alloc(100, 'x')
      const handler: Handler = ({ req }) =>
        req.headers.range
          ? { status: 206, headers: { 'Content-Range': 'bytes 0-9/100' }, body: body.subarray(0, 10) }
          : { body }
      const { get } = await oneRoute(stack, handler, { maxBodySize: 50 })
      expect((await get('/')).body.length).toBe(100)
      const part = await get('/', { range: 'bytes=0-9' })
      expect([part.status, part.body.length]).toEqual([206, 10])
    })
  })

  // More in test/adapters/shared/flights.ts, validation.ts (several clients), stale.ts and test/peers/bodies.test.ts ([hang]).
  describe('many requests for one missing key at once, and a handler that hangs or fails under it', () => {
    it('each gets what he asked for: the whole, a part, 304, no body', async () => {
      const held = gate()
      const handler = counting(() => held.opened.then(() => ({ headers: { ETag: '"v1"' }, body: '0123456789' })))
      const { get, send } = await oneRoute(stack, handler)
      const first = get('/')
      await until(() => handler.runs() === 1)
      const others = [get('/'), get('/', { 'if-none-match': '"v1"' }), get('/', { 'if-none-match': '"v2"' })]
      await turns()
      held.open()
      const [whole, same, newer] = await Promise.all(others)
      expect([(await first).text, whole!.text, same!.status, newer!.text]).toEqual([
        '0123456789',
        '0123456789',
        304,
        '0123456789',
      ])
      expect((await get('/', { range: 'bytes=2-3' })).text).toBe('23')
      expect((await send('HEAD', '/')).headers['content-length']).toBe('10')
      expect(handler.runs()).toBe(1)
    })

    it('for many variants at once there is one run for each', async () => {
      const held = gate()
      const handler = counting(async (text, { req }) => {
        if (text !== 'run 1') await held.opened
        return { headers: { Vary: 'X-Own' }, body: `for ${req.headers['x-own']}` }
      })
      const time = new ManualTime()
      const { get } = await oneRoute(stack, handler, {}, { time })
      await get('/', { 'x-own': 'first' })
      const values = ['a', 'b', 'a', 'b', 'a']
      const answers = values.map((value) => get('/', { 'x-own': value }))
      await until(() => time.pending === 3)
      held.open()
      expect((await Promise.all(answers)).map(({ text }) => text)).toEqual(values.map((value) => `for ${value}`))
      expect(handler.runs()).toBe(3)
    })

    it('an unsafe request waits for nobody, and nobody for it', async () => {
      const held = gate()
      const began = gate()
      const { get, send } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        app.use(cached())
        app.on('GET', '/', () => 'page')
        app.on('POST', '/', async ({ req }) => {
          if (req.headers['x-slow'] === undefined) return 'quick'
          began.open()
          await held.opened
          return 'slow'
        })
      })
      const slow = send('POST', '/', { headers: { 'x-slow': '1' } })
      await began.opened
      expect((await send('POST', '/')).text).toBe('quick')
      expect((await get('/')).text).toBe('page')
      held.open()
      expect((await slow).text).toBe('slow')
    })
  })

  // By URL in test/adapters/shared/unsafe.ts; by tag in purge.ts, stale.ts, validation.ts and test/peers/purge.test.ts.
  describe('invalidation by URL or tag while an older answer is still being produced: that answer must not be stored afterwards', () => {
    const purges: [name: string, path: string][] = [
      ['its own URI', '/page?id=1'],
      ['Location', '/location'],
      ['a group', '/group'],
    ]

    it.each(purges)('by %s, also where the answer streams already', async (_, path) => {
      const held = gate()
      const began = gate()
      let runs = 0
      const { get, send } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        app.use(cached())
        app.raw('GET', '/page', async (_req, res) => {
          const text = `run ${++runs}`
          res.setHeader('Cache-Groups', '"page"')
          if (runs > 1) return res.end(text)
          res.write('run', () => began.open())
          await held.opened
          res.end(' 1')
        })
        app.on('POST', '/page', () => 'done')
        app.on('POST', '/location', () => ({ status: 303, headers: { Location: '/page?id=1' } }))
        app.on('POST', '/group', () => ({ headers: { 'Cache-Group-Invalidation': '"page"' }, body: 'done' }))
      })
      const early = get('/page?id=1')
      await began.opened
      await send('POST', path)
      held.open()
      expect((await early).text).toBe('run 1')
      await turns()
      expect((await get('/page?id=1')).text).toBe('run 2')
    })

    it('nor stays the rest of a part that was asked for before', async () => {
      const held = gate()
      let value = 'old'
      const handler = counting(async (_, { req }) => {
        const now = value
        const headers = { ETag: `"${now}"`, 'Content-Type': 'text/plain' }
        if (req.headers.range === 'bytes=0-0') {
          return { status: 206, headers: { ...headers, 'Content-Range': 'bytes 0-0/3' }, body: now.slice(0, 1) }
        }
        if (req.headers.range !== undefined) {
          await held.opened
          return { status: 206, headers: { ...headers, 'Content-Range': 'bytes 1-2/3' }, body: now.slice(1) }
        }
        return { headers, body: now }
      })
      const { get, send } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        app.use(cached({ storePartial: true }))
        app.on('GET', '/', handler)
        app.on('PUT', '/', () => {
          value = 'new'
          return 'done'
        })
      })
      await get('/', { range: 'bytes=0-0' })
      const early = get('/')
      await until(() => handler.runs() === 2)
      await send('PUT', '/')
      const late = get('/')
      await turns()
      held.open()
      expect((await late).text).toBe('new')
      expect(['old', 'new']).toContain((await early).text)
      expect((await get('/')).text).toBe('new')
    })
  })

  // More in test/peers/outage.test.ts, test/input/backends.test.ts, test/adversarial/faults.test.ts and test/backends.
  describe('storage that is slow, down, full or returns damaged entries', () => {
    it('full: what does not fit is answered by the handler, what fits by the cache, whatever is asked for', async () => {
      const backend = memory({ maxEntries: 3 })
      const { get, cache } = await oneRoute(
        stack,
        counting((_, { req }) => ({ headers: { Vary: 'X-Own' }, body: `${req.url} for ${req.headers['x-own']}` })),
        {},
        { backend, time: new ManualTime() },
      )
      for (let at = 0; at < 40; at++) {
        const [path, own] = [`/?page=${at % 5}`, `${at % 3}`]
        const { status, text } = await get(path, { 'x-own': own, ...(at % 2 ? { range: 'bytes=0-99' } : {}) })
        expect([200, 206]).toContain(status)
        expect(text).toBe(`${path} for ${own}`)
      }
      expect(cache.stats().entries).toBeLessThanOrEqual(3)
    })

    it('down: what was learned of variants and queries shows nobody what is not his', async () => {
      const inner = memory()
      let isDown = false
      const fail = () => {
        throw new Error('down')
      }
      const backend = new Overridden(inner, {
        lookup: (key) => (isDown ? fail() : inner.lookup(key)),
        store: (entry, ttl) => (isDown ? fail() : inner.store(entry, ttl)),
      })
      const handler = counting((_, { req }) => ({
        headers: { Vary: 'X-Own', 'No-Vary-Search': 'params=("from")' },
        body: `${req.url} for ${req.headers['x-own']}`,
      }))
      const { get } = await oneRoute(stack, handler, {}, { backend, time: new ManualTime(), backendPause: 0 })
      for (const state of [false, true, false]) {
        isDown = state
        for (const own of ['a', 'b']) {
          for (const path of ['/?id=1', '/?id=2'])
            expect((await get(path, { 'x-own': own })).text).toBe(`${path} for ${own}`)
        }
      }
    })

    it.each([
      ['a part that is shorter than it says', 206, 'bytes 0-3/9', '012'],
      ['a part that says nothing of itself', 206, undefined, '0123'],
    ] as const)('damaged: %s answers nobody', async (_, status, range, body) => {
      const inner = memory()
      const backend = new Overridden(inner, {
        lookup: (key) => {
          const found = inner.lookup(key) as Awaited<ReturnType<typeof inner.lookup>>
          if (!found.entry) return found
          const headers = range === undefined ? [] : [{ name: 'Content-Range', value: range }]
          const response = { ...found.entry.response, status, headers, body: Buffer.from(body) }
          return { ...found, entry: { ...found.entry, response } }
        },
      })
      const { get } = await oneRoute(
        stack,
        counting((text) => text),
        { storePartial: true },
        { backend, time: new ManualTime() },
      )
      await get('/')
      expect(await get('/')).toMatchObject({ status: 200, text: 'run 2' })
      expect(await get('/', { range: 'bytes=1-2' })).toMatchObject({ status: 200, text: 'run 3' })
    })
  })

  // More in test/adapters/shared/keys.ts, test/core/paths.test.ts, test/adversarial/keys.test.ts, test/input/requests.test.ts
  // and test/peers/sharing.test.ts ([host], [collision], [query-order]).
  describe('keys: Host, scheme, method, trailing slash, encoded paths, very long URLs; HEAD from a GET entry; OPTIONS untouched', () => {
    /** A site that shows the path that was asked for, cached as a whole or not at all. */
    const echo = (isCached = true) =>
      site(stack, { time: new ManualTime() }, (app, { cached }) => {
        if (isCached) app.use(cached())
        for (const path of ['/items', '/items/', '/items/:id', '/items/:id/', '/items/:id/:more']) {
          app.on('GET', path, ({ req }) => `${req.url}`)
        }
      })

    it('every path is answered as without the cache, the second time too', async () => {
      const [plain, cached] = [await echo(false), await echo()]
      const ids = [
        '1',
        '1/',
        '1%2F2',
        '1/2',
        '1/2/',
        '%25',
        '%2525',
        'a+b',
        'a%20b',
        'A',
        'a',
        '..%2F1',
        '%2E',
        '%E2%82%AC',
      ]
      const paths = ['/items', '/items/', ...ids.map((id) => `/items/${id}`), '/items/1;a=1', '/items/1?a=%2F']
      for (const _ of [1, 2]) {
        for (const path of paths) {
          const [expected, answer] = [await plain.get(path), await cached.get(path)]
          expect([path, answer.status, answer.status === 200 ? answer.text : '']).toEqual([
            path,
            expected.status,
            expected.status === 200 ? expected.text : '',
          ])
        }
      }
      expect(cached.cache.stats().hits).toBeGreaterThan(10)
    })

    it('very long URLs that differ in the last letter have keys of their own', async () => {
      const { get } = await echo()
      const [one, other] = ['a', 'b'].map((last) => `/items/${'x'.repeat(6_000)}${last}`) as [string, string]
      const [third, fourth] = ['a', 'b'].map((last) => `/items/1?q=${'x'.repeat(6_000)}${last}`) as [string, string]
      for (const _ of [1, 2])
        for (const path of [one, other, third, fourth]) expect((await get(path)).text === path).toBe(true)
      expect((await get(one)).cacheStatus).toBe('tagcache; hit; ttl=60')
    })

    it('HEAD is answered from the GET entry, by its conditions; a stale one goes to the handler', async () => {
      const time = new ManualTime()
      const methods: unknown[] = []
      const handler: Handler = ({ req }) => {
        methods.push(req.method)
        return { headers: { 'X-Own': 'kept', Vary: 'X-Own' }, body: '0123456789' }
      }
      const { get, send } = await oneRoute(stack, handler, { ttl: 10 }, { time })
      const { etag } = (await get('/')).headers
      const head = (headers: http.OutgoingHttpHeaders = {}) => send('HEAD', '/', { headers })
      const plain = await head()
      expect([plain.status, plain.text, plain.headers['content-length'], plain.headers['x-own']]).toEqual([
        200,
        '',
        '10',
        'kept',
      ])
      expect((await head({ 'if-none-match': etag! })).status).toBe(304)
      expect((await head({ 'x-own': 'other' })).cacheStatus).toBe('tagcache; fwd=vary-miss; detail=head')
      time.move(11_000)
      expect((await head()).cacheStatus).not.toMatch(/hit/)
      expect(methods).toEqual(['GET', 'HEAD', 'HEAD'])
      expect((await get('/')).text).toBe('0123456789')
    })

    it('OPTIONS is untouched, and touches nothing', async () => {
      const build = (isCached: boolean) =>
        site(stack, { time: new ManualTime() }, (app, { cached }) => {
          if (isCached) app.use(cached({ methods: ['GET', 'HEAD'] }))
          app.on('GET', '/', counting())
          app.on('OPTIONS', '/', ({ req }) => ({
            headers: { Allow: 'GET, OPTIONS', 'Access-Control-Allow-Methods': 'GET' },
            body: `options ${req.headers['access-control-request-method']}`,
          }))
        })
      const [plain, cached] = [await build(false), await build(true)]
      await cached.get('/')
      const ask = ({ send }: typeof plain) =>
        send('OPTIONS', '/', { headers: { 'access-control-request-method': 'PUT' } })
      const [expected, answer] = [await ask(plain), await ask(cached)]
      const shown = ({ status, text, headers }: Answer) => {
        const { date: _, 'cache-status': __, ...others } = headers
        return [status, text, others]
      }
      expect(shown(answer)).toEqual(shown(expected))
      expect(answer.cacheStatus).toBe('tagcache; fwd=method; detail=method')
      expect((await cached.get('/')).cacheStatus).toBe('tagcache; hit; ttl=60')
    })

    it('HEAD and GET of a POST-only key, and a method of its own, are apart', async () => {
      const key: CallOptions['key'] = ({ req }) => String(req.headers['x-key'])
      const { send } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        app.use(cached({ methods: ['GET', 'POST'], key }))
        for (const method of ['GET', 'POST']) {
          app.on(
            method,
            '/',
            counting((text) => `${method} ${text}`),
          )
        }
      })
      const ask = async (method: string) => (await send(method, '/', { headers: { 'x-key': 'k' } })).text
      expect([await ask('POST'), await ask('GET'), await ask('POST'), await ask('GET')]).toEqual([
        'POST run 1',
        'GET run 1',
        'POST run 1',
        'GET run 1',
      ])
    })
  })

  // More in test/adapters/shared/credentials.ts, cache-status.ts, presets.test.ts, onion.test.ts and test/peers/sharing.test.ts.
  describe('request no-store; Authorization and Cookie beyond the four simple cases; Set-Cookie in a stored answer', () => {
    it('request no-store: neither stored, nor waited for, nor a reason to forget what is stored', async () => {
      const held = gate()
      const handler = counting(async (text, { req }) => {
        if (req.headers['cache-control'] === 'no-store') await held.opened
        return text
      })
      const { get } = await oneRoute(stack, handler)
      const forbidding = get('/', { 'cache-control': 'no-store' })
      await until(() => handler.runs() === 1)
      expect((await get('/')).text).toBe('run 2')
      held.open()
      expect((await forbidding).text).toBe('run 1')
      expect((await get('/')).text).toBe('run 2')
    })

    it('request no-store: the answer to a validation is not stored either', async () => {
      const time = new ManualTime()
      const handler = counting((text) => ({ headers: { ETag: `"${text}"` }, body: text }))
      const { get } = await oneRoute(stack, handler, { ttl: 10 }, { time })
      await get('/')
      time.move(11_000)
      expect((await get('/', { 'cache-control': 'no-store' })).text).toBe('run 2')
      expect((await get('/')).text).toBe('run 3')
    })

    it('request no-store beside Range, and in a list, in capitals', async () => {
      const { get, cache } = await oneRoute(stack, counting())
      await get('/', { 'cache-control': 'max-age=0, NO-STORE', range: 'bytes=0-1' })
      await get('/', { 'cache-control': 'no-store="x"' })
      expect(cache.stats().entries).toBe(0)
      await get('/', { 'cache-control': 'x="no-store"' })
      expect(cache.stats().entries).toBe(1)
    })

    it.each([{ cookie: '' }, { authorization: '' }, { cookie: 'a=1', authorization: 'Basic YTpi' }])(
      'with %o a request goes past the cache, whatever it asks for',
      async (headers) => {
        const { get, send } = await oneRoute(
          stack,
          counting((body) => ({ headers: { ETag: '"v1"', 'Cache-Control': 'public, s-maxage=60' }, body })),
        )
        await get('/')
        expect((await get('/', { ...headers, range: 'bytes=0-1' })).cacheStatus).toBe(
          'tagcache; fwd=bypass; detail=credentials',
        )
        expect((await get('/', { ...headers, 'if-none-match': '"v1"' })).cacheStatus).toMatch(/detail=credentials/)
        expect((await send('HEAD', '/', { headers })).cacheStatus).toMatch(/detail=credentials/)
        expect((await get('/')).text).toBe('run 1')
      },
    )

    it('nobody with credentials waits for an answer of somebody without, nor the other way', async () => {
      const held = gate()
      const handler = counting(async (text, { req }) => {
        await held.opened
        return `${text} for ${req.headers.cookie ?? 'all'}`
      })
      const { get } = await oneRoute(stack, handler)
      const answers = [get('/'), get('/', { cookie: 'a=1' }), get('/', { cookie: 'a=2' })]
      await until(() => handler.runs() === 3)
      held.open()
      const texts = (await Promise.all(answers)).map(({ text }) => text.replace(/^run \d /, ''))
      expect(texts).toEqual(['for all', 'for a=1', 'for a=2'])
    })

    it('scope: what is validated or refreshed is each principal’s own', async () => {
      const time = new ManualTime()
      const scope: CallOptions['scope'] = ({ req }) => req.headers.cookie
      const handler: Handler = ({ req }) =>
        req.headers['if-none-match'] === `"${req.headers.cookie}"`
          ? { status: 304, headers: { ETag: `"${req.headers.cookie}"` } }
          : { headers: { ETag: `"${req.headers.cookie}"` }, body: `for ${req.headers.cookie}` }
      const { get } = await oneRoute(stack, handler, { scope, ttl: 10 }, { time })
      for (const cookie of ['a=1', 'a=2']) await get('/', { cookie })
      time.move(11_000)
      for (const cookie of ['a=2', 'a=1', 'a=2']) expect((await get('/', { cookie })).text).toBe(`for ${cookie}`)
    })

    it('a cookie that is set in a 304 goes to that client alone, and into no store', async () => {
      const time = new ManualTime()
      const handler: Handler = ({ req }) =>
        req.headers['if-none-match'] === '"v1"'
          ? { status: 304, headers: { ETag: '"v1"', 'Set-Cookie': 'session=secret' } }
          : { headers: { ETag: '"v1"' }, body: 'page' }
      const { get } = await oneRoute(stack, handler, { ttl: 10, staleIfError: 60 }, { time })
      await get('/')
      time.move(11_000)
      const validated = await get('/')
      expect([validated.status, validated.text]).toEqual([200, 'page'])
      for (const _ of [1, 2]) expect((await get('/')).headers['set-cookie']).toBeUndefined()
    })

    it('a cookie that is set with a part, or for the rest of one, is not stored', async () => {
      const handler = counting((text, { req }) => {
        const [, first] = /bytes=(\d)/.exec(String(req.headers.range)) ?? []
        const headers = { ETag: '"v1"', 'Set-Cookie': `run=${text.slice(4)}` }
        if (first === undefined) return { headers, body: '0123' }
        const range = `bytes ${first}-${first === '0' ? 1 : 3}/4`
        const isFirst = text === 'run 1'
        return {
          status: 206,
          headers: { ...(isFirst ? { ETag: '"v1"' } : headers), 'Content-Range': range },
          body: first === '0' ? '01' : '23',
        }
      })
      const { get, cache } = await oneRoute(stack, handler, { storePartial: true })
      await get('/', { range: 'bytes=0-1' })
      expect((await get('/')).text).toBe('0123')
      const second = await get('/')
      expect([second.text, second.cacheStatus]).toEqual(['0123', expect.not.stringMatching(/hit/)])
      expect((await cache.getByTags('any'))?.headers['set-cookie']).toBeUndefined()
    })

    it('storeSetCookie: the stored cookie comes beside those of the layers above', async () => {
      let visits = 0
      const { get } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        app.use(stack.before(({ res }) => res.appendHeader('Set-Cookie', `visit=${++visits}`)))
        app.on('GET', '/', cached({ storeSetCookie: true }), ({ res }) => {
          res.appendHeader('Set-Cookie', 'theme=dark')
          return 'page'
        })
      })
      for (const visit of [1, 2, 3]) {
        expect((await get('/')).headers['set-cookie']).toEqual([`visit=${visit}`, 'theme=dark'])
      }
    })
  })

  // Trailers on miss, hit and HTTP/1.0 also in test/adapters/transparency.test.ts; encodings in test/peers/bodies.test.ts
  // ([encoding]), test/adapters/shared/negotiation.ts (below) and ranges.ts (both sides).
  describe('connection fields really gone (fault 3), trailers, Content-Encoding with and without a compressing middleware on either side', () => {
    const HOP: Record<string, string> = {
      'Keep-Alive': 'timeout=99, max=9',
      'Proxy-Authenticate': 'Basic',
      'Proxy-Authentication-Info': 'nextnonce="a"',
      'Proxy-Authorization': 'Basic YTpi',
      'Proxy-Connection': 'keep-alive',
      TE: 'trailers',
      Upgrade: 'other/1',
      'X-Hop': 'this hop',
      'X-Other-Hop': 'this hop too',
    }
    const SENT = { ...HOP, Connection: 'X-Hop, close, x-other-hop', ETag: '"v1"', 'X-Kept': 'yes' }
    const names = Object.keys(HOP).map((name) => name.toLowerCase())

    const expectGone = ({ headers }: Answer) => {
      expect(headers['x-kept']).toBe('yes')
      expect(
        names.filter(
          (name) => headers[name] !== undefined && !(name === 'keep-alive' && /timeout=5/.test(String(headers[name]))),
        ),
      ).toEqual([])
      expect(String(headers.connection)).not.toMatch(/hop/i)
    }

    it('are on the miss, and on nothing that comes from the store', async () => {
      const { get, send, cache } = await oneRoute(
        stack,
        counting((body) => ({ headers: SENT, body })),
        { tags: 'page' },
      )
      const miss = await get('/')
      expect(miss.headers).toMatchObject(
        Object.fromEntries(Object.entries(HOP).map(([name, value]) => [name.toLowerCase(), value])),
      )
      expectGone(await get('/'))
      expectGone(await get('/', { range: 'bytes=0-1' }))
      expectGone(await get('/', { 'if-none-match': '"v1"' }))
      expectGone(await send('HEAD', '/'))
      const stored = (await cache.getByTags('page'))!.headers
      expect([...names, 'connection', 'transfer-encoding'].filter((name) => Object.hasOwn(stored, name))).toEqual([])
    })

    it('are not written into the store by node:http either', async () => {
      const { get, cache } = await rawRoute(stack, (_req, res) => {
        res.writeHead(200, { ...SENT, 'Transfer-Encoding': 'chunked' })
        res.write('one')
        res.end('two')
      })
      await get('/')
      const hit = await get('/')
      expectGone(hit)
      expect([hit.text, hit.headers['transfer-encoding'], hit.headers['content-length']]).toEqual([
        'onetwo',
        undefined,
        '6',
      ])
      const stored = (await cache.getByTags('page'))!.headers
      expect([...names, 'connection', 'transfer-encoding'].filter((name) => Object.hasOwn(stored, name))).toEqual([])
    })

    it('do not come into the store with a 304', async () => {
      const time = new ManualTime()
      const handler: Handler = ({ req }) =>
        req.headers['if-none-match'] === '"v1"'
          ? { status: 304, headers: SENT }
          : { headers: { ETag: '"v1"', 'X-Kept': 'yes' }, body: 'page' }
      const { get, cache } = await oneRoute(stack, handler, { ttl: 10, tags: 'page' }, { time })
      await get('/')
      time.move(11_000)
      expectGone(await get('/'))
      expectGone(await get('/'))
      const stored = (await cache.getByTags('page'))!.headers
      expect([...names, 'connection'].filter((name) => Object.hasOwn(stored, name))).toEqual([])
    })

    it('do not come with a stored part, nor with what was completed', async () => {
      const handler: Handler = ({ req }) => {
        const [, first] = /bytes=(\d)/.exec(String(req.headers.range)) ?? []
        if (first === undefined) return { headers: SENT, body: '0123' }
        const range = `bytes ${first}-${first === '0' ? 1 : 3}/4`
        return { status: 206, headers: { ...SENT, 'Content-Range': range }, body: first === '0' ? '01' : '23' }
      }
      const { get } = await oneRoute(stack, handler, { storePartial: true })
      await get('/', { range: 'bytes=0-1' })
      expectGone(await get('/', { range: 'bytes=1-1' }))
      expect((await get('/')).text).toBe('0123')
      expectGone(await get('/'))
    })

    it('trailers come with the whole, and with nothing else', async () => {
      const { get, send, port } = await rawRoute(stack, (_req, res) => {
        res.setHeader('Trailer', 'X-Sum')
        res.setHeader('ETag', '"v1"')
        res.write('0123')
        res.addTrailers({ 'X-Sum': 'abc' })
        res.end('456789')
      })
      for (const _ of [1, 2, 3]) {
        const answer = await get('/', { host: 'a' })
        expect([answer.text, answer.headers.trailer, answer.trailers['x-sum']]).toEqual(['0123456789', 'X-Sum', 'abc'])
      }
      const without = [
        await get('/', { host: 'a', range: 'bytes=2-3' }),
        await get('/', { host: 'a', range: 'bytes=99-' }),
        await get('/', { host: 'a', 'if-none-match': '"v1"' }),
        await send('HEAD', '/', { headers: { host: 'a' } }),
      ]
      expect(without.map(({ status, text }) => [status, text])).toEqual([
        [206, '23'],
        [416, ''],
        [304, ''],
        [200, ''],
      ])
      expect(without.map(({ trailers }) => Object.keys(trailers))).toEqual([[], [], [], []])
      expect(await exchange(port, requestText('GET', '/', { version: '1.0' }))).toMatch(/\r\n\r\n0123456789$/)
    })

    const decode = ({ body, headers }: Answer) => {
      const coding = headers['content-encoding'] as string | undefined
      const { gunzipSync: gzip, brotliDecompressSync: br, inflateSync: deflate } = zlib
      // koa-compress uses it where Node has it.
      const { zstdDecompressSync: zstd } = zlib as unknown as { zstdDecompressSync?: typeof gzip }
      const decoder = { gzip, br, deflate, zstd }[coding ?? '']
      return (decoder ? decoder(body) : body).toString()
    }

    it.each(['above', 'below', 'on both sides'] as const)(
      'a compressing layer %s: everybody can read it, and 304 works',
      async (place) => {
        const handler = counting(() => ({ headers: { 'Content-Type': 'text/plain' }, body: TEXT }))
        const { get, send } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
          if (place !== 'below') app.use(encoding(stack))
          app.on('GET', '/', cached(), ...(place === 'above' ? [] : [encoding(stack)]), handler)
        })
        const values = ['gzip, deflate, br', 'gzip', undefined, 'br', 'identity', 'gzip;q=0, *']
        for (const _ of [1, 2]) {
          for (const value of values) {
            const headers: http.OutgoingHttpHeaders = value === undefined ? {} : { 'accept-encoding': value }
            const answer = await get('/', headers)
            expect(decode(answer) === TEXT, `${place}: ${value}`).toBe(true)
            const coding = String(answer.headers['content-encoding'] ?? 'identity')
            if (value === undefined || value === 'identity') expect(coding).toBe('identity')
            else if (!value.includes('*')) expect(value).toContain(coding)
            else expect(coding).not.toBe('gzip')
            const { etag } = answer.headers
            if (etag === undefined) continue
            expect((await get('/', { ...headers, 'if-none-match': etag })).status).toBe(304)
            expect((await send('HEAD', '/', { headers })).text).toBe('')
          }
        }
        expect(handler.runs()).toBeLessThan(values.length + 1)
      },
    )

    it('a response with no-transform stays as it is', async () => {
      const { get } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        app.use(encoding(stack))
        const headers = { 'Content-Type': 'text/plain', 'Cache-Control': 'max-age=60, no-transform' }
        app.on('GET', '/', cached(), () => ({ headers, body: TEXT }))
      })
      for (const _ of [1, 2]) {
        const answer = await get('/', { 'accept-encoding': 'gzip' })
        expect([answer.headers['content-encoding'], answer.text === TEXT]).toEqual([undefined, true])
      }
    })
  })

  // In test/adapters/shared/ranges.ts and test/http/ranges.test.ts.
  describe('If-Range, several ranges, unsatisfiable ranges (416), ranges on an encoded body', () => {
    it('of what a compressing layer below has encoded: parts of the encoded bytes, which make the whole again', async () => {
      const { get } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        const headers = { 'Content-Type': 'text/plain', ETag: 'W/"v1"' }
        app.on('GET', '/', cached(), encoding(stack), () => ({ headers, body: TEXT }))
      })
      const accepting = { 'accept-encoding': 'gzip' }
      const whole = await get('/', accepting)
      const parts = [
        await get('/', { ...accepting, range: 'bytes=0-9' }),
        await get('/', { ...accepting, range: 'bytes=10-' }),
      ]
      for (const part of parts) {
        expect([part.status, part.headers['content-encoding']]).toEqual([206, 'gzip'])
        expect(part.cacheStatus).toBe('tagcache; hit; ttl=60')
      }
      expect(Buffer.concat(parts.map(({ body }) => body))).toEqual(whole.body)
      expect(zlib.gunzipSync(whole.body).toString() === TEXT).toBe(true)
      const beyond = await get('/', { ...accepting, range: `bytes=${whole.body.length}-` })
      expect([beyond.status, beyond.headers['content-range']]).toEqual([416, `bytes */${whole.body.length}`])
      expect((await get('/', { range: 'bytes=0-9' })).headers['content-encoding']).toBeUndefined()
    })
  })

  // Limits of variants also in test/core/variants.test.ts and shared/negotiation.ts; layers in shared/layers.ts,
  // test/adversarial/layers.test.ts and refresh.test.ts; mount points in shared/keys.ts, shared/stale.ts and unsafe.ts.
  describe('Vary explosion limits; clocks that jump; Age over many hours; two middlewares of ours in one chain; sub-applications and routers', () => {
    it('a thousand browsers leave a hundred variants, and each gets his own', async () => {
      const { get, cache } = await oneRoute(
        stack,
        counting((_, { req }) => ({ headers: { Vary: 'User-Agent' }, body: `for ${req.headers['user-agent']}` })),
      )
      for (let at = 0; at < 300; at++) {
        const agent = `Browser/${at % 150}`
        expect((await get('/', { 'user-agent': agent })).text).toBe(`for ${agent}`)
      }
      expect(cache.stats().entries).toBe(100)
    })

    it('a response that names a hundred fields is kept by them all', async () => {
      const names = Array.from({ length: 100 }, (_, at) => `x-field-${at}`)
      const { get } = await oneRoute(
        stack,
        counting((body) => ({ headers: { Vary: names.join(', ') }, body })),
      )
      await get('/')
      expect((await get('/')).text).toBe('run 1')
      expect((await get('/', { 'x-field-99': 'a' })).text).toBe('run 2')
    })

    it('a clock that jumps back makes nothing older than new, or immortal', async () => {
      const time = new ManualTime()
      const { get } = await oneRoute(stack, counting(), { ttl: 60 }, { time })
      await get('/')
      time.move(-5 * HOURS)
      const hit = await get('/')
      expect([hit.text, hit.headers.age, hit.cacheStatus]).toEqual(['run 1', '0', 'tagcache; hit; ttl=60'])
      time.move(5 * HOURS + 61_000)
      expect((await get('/')).text).toBe('run 2')
      time.move(-30_000)
      expect((await get('/')).text).toBe('run 2')
      time.move(89_000)
      expect((await get('/')).text).toBe('run 2')
      time.move(1_000)
      expect((await get('/')).text).toBe('run 3')
    })

    it('a clock that jumps back never undoes a purge, nor makes a request wait for ever', async () => {
      const time = new ManualTime()
      const { get, send, cache } = await site(stack, { time }, (app, { cached }) => {
        app.use(cached({ tags: 'page', staleWhileRevalidate: 60, staleIfError: 60 }))
        app.on('GET', '/', counting())
        app.on('PUT', '/', () => 'done')
      })
      await get('/')
      time.move(-HOURS)
      await cache.invalidateTags('page')
      expect((await get('/')).text).toBe('run 2')
      time.move(-HOURS)
      await send('PUT', '/')
      expect((await get('/')).text).toBe('run 3')
      time.move(3 * HOURS)
      expect((await get('/')).text).toBe('run 4')
    })

    it('a clock that jumps far ahead and back serves what it had, or less', async () => {
      const time = new ManualTime()
      const handler = counting((body) => ({ headers: { ETag: '"v1"' }, body }))
      const { get } = await oneRoute(stack, handler, { ttl: 60 }, { time })
      await get('/')
      time.move(365 * 24 * HOURS)
      await get('/')
      time.move(-365 * 24 * HOURS)
      const { status, text } = await get('/')
      expect([status, text]).toEqual([200, 'run 2'])
    })

    it('Age counts on over hours, days and decades', async () => {
      const time = new ManualTime()
      const handler = counting((body) => ({ headers: { 'Cache-Control': 'max-age=9999999999' }, body }))
      const { get } = await oneRoute(stack, handler, {}, { time })
      await get('/')
      let hours = 0
      for (const more of [1, 24, 24 * 49, 24 * 365 * 60]) {
        time.move(more * HOURS)
        hours += more
        const hit = await get('/')
        expect([hit.text, hit.headers.age]).toEqual(['run 1', String(hours * 3600)])
        expect(hit.headers.date).toBe('Thu, 01 Jan 2026 00:00:00 GMT')
      }
    })

    it('Age of what came with an age of its own, on 304, 206 and HEAD', async () => {
      const time = new ManualTime()
      const handler = counting((body) => ({
        headers: { Age: '7200', 'Cache-Control': 'max-age=99999', ETag: '"v1"' },
        body,
      }))
      const { get, send } = await oneRoute(stack, handler, {}, { time })
      await get('/')
      time.move(10 * HOURS)
      const answers = [
        await get('/'),
        await get('/', { 'if-none-match': '"v1"' }),
        await get('/', { range: 'bytes=0-1' }),
        await send('HEAD', '/'),
      ]
      expect(answers.map(({ headers }) => headers.age)).toEqual(answers.map(() => String(12 * 3600)))
    })

    /** Two caches in one chain, the outer one with a shorter memory. */
    const chain = async (outerTtl: number, handler: Handler, more: CallOptions = {}) => {
      const time = new ManualTime()
      const inner = stack.tools({ time, cacheName: 'inner' })
      const served = await site(stack, { time, cacheName: 'outer' }, (app, { cached }) => {
        app.use(cached({ ttl: outerTtl, ...more }))
        app.on('GET', '/', inner.cached({ ttl: 1_000 }), handler)
      })
      return { ...served, time, inner: inner.cache }
    }

    it('two caches: a range is answered by the outer one; on its miss by the inner one, and not stored', async () => {
      const handler = counting(() => ({ headers: { ETag: '"v1"' }, body: '0123456789' }))
      const { get, cache } = await chain(10, handler)
      await get('/')
      const part = await get('/', { range: 'bytes=2-3' })
      expect([part.status, part.text, part.headers['content-range']]).toEqual([206, '23', 'bytes 2-3/10'])
      expect(cacheStatusOf(part).at(-1)).toMatchObject({ cache: 'outer', hit: true })
      await cache.clear()
      const other = await get('/', { range: 'bytes=2-3' })
      expect([other.status, other.text, other.headers['content-range']]).toEqual([206, '23', 'bytes 2-3/10'])
      expect(cacheStatusOf(other)).toEqual([
        { cache: 'inner', hit: true, ttl: 1_000 },
        { cache: 'outer', fwd: 'uri-miss', detail: 'partial' },
      ])
      expect([cache.stats().entries, handler.runs()]).toEqual([0, 1])
      expect((await get('/')).text).toBe('0123456789')
    })

    it('two caches: what is stale in the outer one is validated with the inner one, for ranges and conditions too', async () => {
      const handler = counting(() => ({ headers: { ETag: '"v1"' }, body: '0123456789' }))
      const { get, time } = await chain(10, handler)
      await get('/')
      for (const [headers, status, text] of [
        [{}, 200, '0123456789'],
        [{ range: 'bytes=2-3' }, 206, '23'],
        [{ range: 'bytes=2-3', 'if-range': '"v1"' }, 206, '23'],
        [{ range: 'bytes=2-3', 'if-range': '"v2"' }, 200, '0123456789'],
        [{ 'if-none-match': '"v1"' }, 304, ''],
        [{ 'if-none-match': '"v2"' }, 200, '0123456789'],
      ] as const) {
        time.move(11_000)
        const answer = await get('/', headers)
        expect([answer.status, answer.text], JSON.stringify(headers)).toEqual([status, text])
        expect(cacheStatusOf(answer).at(-1)).toMatchObject({ cache: 'outer', fwd: 'stale' })
      }
      expect(handler.runs()).toBe(1)
    })

    it('two caches: Age adds up', async () => {
      const { get, time, cache } = await chain(10, counting())
      await get('/')
      time.move(30_000)
      await cache.clear()
      expect((await get('/')).headers.age).toBe('30')
      time.move(5_000)
      const hit = await get('/')
      expect([hit.headers.age, cacheStatusOf(hit).at(-1)]).toEqual(['35', { cache: 'outer', hit: true, ttl: 5 }])
    })

    it('two caches: an unsafe request purges in both', async () => {
      const time = new ManualTime()
      const inner = stack.tools({ time, cacheName: 'inner' })
      const { get, send } = await site(stack, { time, cacheName: 'outer' }, (app, { cached }) => {
        app.use(cached())
        app.use(inner.cached())
        app.on('GET', '/', counting())
        app.on('PUT', '/', () => 'done')
      })
      await get('/')
      await send('PUT', '/')
      expect((await get('/')).text).toBe('run 2')
      expect((await get('/')).text).toBe('run 2')
    })

    it('one cache twice: stale and range answers come once, with one entry', async () => {
      const time = new ManualTime()
      const handler = counting((text, { req }) =>
        req.headers['if-none-match'] === '"v1"'
          ? { status: 304, headers: { ETag: '"v1"' } }
          : { headers: { ETag: '"v1"' }, body: `${text} of ten` },
      )
      const { get, cache, events } = await site(stack, { time }, (app, { cached }) => {
        app.use(cached({ ttl: 5, storePartial: true }))
        app.on('GET', '/', cached({ ttl: 10, staleWhileRevalidate: 5 }), handler)
      })
      await get('/')
      const part = await get('/', { range: 'bytes=0-2' })
      expect([part.status, part.text, part.cacheStatus]).toEqual([206, 'run', 'tagcache; hit; ttl=10'])
      time.move(12_000)
      const stale = await get('/', { range: 'bytes=0-2' })
      expect([stale.status, stale.text, stale.headers['content-range']]).toEqual([206, 'run', 'bytes 0-2/12'])
      await until(() => events.some((event) => event.type === 'refresh'))
      time.move(20_000)
      const validated = await get('/', { range: 'bytes=0-2' })
      expect([validated.status, validated.text]).toEqual([206, 'run'])
      expect(cacheStatusOf(validated)).toEqual([{ cache: 'tagcache', fwd: 'stale', 'fwd-status': 304, stored: true }])
      expect(cache.stats().entries).toBe(1)
    })

    it('one cache twice, apart by scope: each has its entries, and a range is answered from them', async () => {
      const scope: CallOptions['scope'] = ({ req }) => String(req.headers['x-user'])
      const handler = counting((_, { req }) => `for ${req.headers['x-user']}`)
      const { get } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        app.use(cached())
        app.on('GET', '/', cached({ scope }), handler)
      })
      for (const user of ['ann', 'bob']) await get('/', { 'x-user': user })
      for (const user of ['ann', 'bob']) {
        const part = await get('/', { 'x-user': user, range: 'bytes=4-' })
        expect([part.status, part.text, part.cacheStatus]).toEqual([206, user, 'tagcache; hit; ttl=60'])
      }
      expect(handler.runs()).toBe(2)
    })

    it('below a mount point: ranges, variants and queries are kept for each', async () => {
      const { get, send } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        for (const prefix of ['/one', '/two']) {
          app.mount(prefix, (inner) =>
            inner.on(
              'GET',
              '/page',
              cached(),
              counting((text, { req }) => ({
                headers: { Vary: 'X-Own', 'No-Vary-Search': 'params=("from")' },
                body: `${prefix} ${text} ${req.headers['x-own'] ?? ''}`,
              })),
            ),
          )
        }
      })
      for (const prefix of ['/one', '/two']) {
        expect((await get(`${prefix}/page?from=a`)).text).toBe(`${prefix} run 1 `)
        expect((await get(`${prefix}/page?from=b`)).text).toBe(`${prefix} run 1 `)
        expect((await get(`${prefix}/page?from=b`, { range: 'bytes=0-3' })).text).toBe(prefix)
        expect((await get(`${prefix}/page`, { 'x-own': 'a' })).text).toBe(`${prefix} run 2 a`)
        expect((await send('HEAD', `${prefix}/page?from=c`)).cacheStatus).toBe('tagcache; hit; ttl=60')
      }
    })
  })
})

describe.each(EXPRESSES)('sub-applications under $name', ({ express: make }) => {
  it('have keys, ranges, purges and refreshes of their own', async () => {
    const time = new ManualTime()
    const { cached, cache } = expressCache({ time })
    const handler = counting((text, { req }) => `${text} of ${req.url}`)
    const build = () => {
      const inner = make()
      inner.set('env', 'test')
      inner.get('/page', cached({ ttl: 10, staleWhileRevalidate: 60 }), (req, res) => {
        res.send(String(handler({ req, res, params: {}, handle: res })))
      })
      inner.put('/page', cached(), (_req, res) => void res.send('done'))
      return inner
    }
    const app = make().use('/one', build()).use('/two', build())
    const server = await listen(app)
    onTestFinished(() => server.close())
    const get = (path: string, headers: http.OutgoingHttpHeaders = {}) => ask(server.url + path, { headers })
    expect((await get('/one/page')).text).toBe('run 1 of /page')
    expect((await get('/two/page')).text).toBe('run 2 of /page')
    expect((await get('/one/page', { range: 'bytes=0-4' })).text).toBe('run 1')
    await ask(`${server.url}/one/page`, { method: 'PUT' })
    expect((await get('/two/page')).text).toBe('run 2 of /page')
    expect((await get('/one/page')).text).toBe('run 3 of /page')
    time.move(11_000)
    let refreshed = false
    cache.on('refresh', () => {
      refreshed = true
    })
    expect((await get('/two/page')).text).toBe('run 2 of /page')
    await until(() => refreshed)
    expect((await get('/two/page')).text).toBe('run 4 of /page')
  })

  it('that have a cache of their own below one of all', async () => {
    const time = new ManualTime()
    const [outer, inner] = [expressCache({ time, cacheName: 'outer' }), expressCache({ time, cacheName: 'inner' })]
    const shop = make()
    let runs = 0
    shop.get('/page', inner.cached({ ttl: 1_000 }), (_req, res) => void res.send(`run ${++runs}`))
    const server = await listen(
      make()
        .use(outer.cached({ ttl: 10 }), express.Router())
        .use('/shop', shop),
    )
    onTestFinished(() => server.close())
    const get = () => ask(`${server.url}/shop/page`)
    await get()
    expect(cacheStatusOf(await get()).at(-1)).toMatchObject({ cache: 'outer', hit: true })
    time.move(11_000)
    const validated = await get()
    expect([validated.text, cacheStatusOf(validated).at(-1)]).toMatchObject(['run 1', { cache: 'outer', fwd: 'stale' }])
  })
})
