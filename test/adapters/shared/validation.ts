import http from 'node:http'
import { describe, expect, it, onTestFinished } from 'vitest'
import { gate, listen } from '../../support/http.ts'
import {
  type Call,
  type CallOptions,
  counting,
  type Handler,
  type RawHandler,
  type Reply,
  type Stack,
  site,
  until,
} from '../../support/stacks.ts'
import { ManualTime } from '../../support/time.ts'

const MODIFIED = 'Mon, 01 Dec 2025 00:00:00 GMT'
const VALIDATED = 'tagcache; fwd=stale; fwd-status=304; stored'

type Headers = Record<string, string | string[]>

/** What a handler was asked. */
interface Asked {
  readonly method: string | undefined
  readonly noneMatch: string | undefined
  readonly since: string | undefined
  readonly range: string | undefined
}

/** A resource that changes when the test says so, and whose handler answers 304 to whoever has its tag. */
class Resource {
  version = 1
  headers: Headers = { 'Cache-Control': 'max-age=60' }
  /** What only a 304 says. */
  on304: Headers = {}
  /** What only a 200 says. */
  on200: Headers = {}
  readonly asked: Asked[] = []

  get etag(): string {
    return `"v${this.version}"`
  }

  get runs(): number {
    return this.asked.length
  }

  handler: Handler = ({ req }) => this.answer(req)

  answer(req: http.IncomingMessage): Exclude<Reply, string> {
    this.asked.push(askedBy(req))
    const headers = { ...this.headers, ETag: this.etag }
    if (req.headers['if-none-match'] === this.etag) return { status: 304, headers: { ...headers, ...this.on304 } }
    return { headers: { ...headers, ...this.on200 }, body: `version ${this.version}` }
  }
}

function askedBy({ method, headers }: http.IncomingMessage): Asked {
  return {
    method,
    noneMatch: headers['if-none-match'],
    since: headers['if-modified-since'],
    range: headers.range,
  }
}

const unasked = { method: 'GET', noneMatch: undefined, since: undefined, range: undefined }

export function validation(stack: Stack): void {
  /** A site with a resource, and a stored response that has been stale for ten seconds. */
  const stale = async (change: (resource: Resource) => void = () => {}, route: CallOptions = {}) => {
    const time = new ManualTime()
    const resource = new Resource()
    change(resource)
    const served = await site(stack, { time }, (app, { cached, invalidates }) => {
      app.on('GET', '/', cached(route), (call) => resource.handler(call))
      app.on('POST', '/', invalidates('something else'), () => 'written')
    })
    await served.get('/')
    time.move(70_000)
    return { ...served, time, resource }
  }

  describe('asks the handler', () => {
    const validators: [name: string, headers: Headers, noneMatch: string | undefined, since: string | undefined][] = [
      ['an entity-tag', { ETag: '"v1"' }, '"v1"', undefined],
      ['a weak one', { ETag: 'W/"v1"' }, 'W/"v1"', undefined],
      ['one with a comma', { ETag: '"a,b"' }, '"a,b"', undefined],
      ['one without quotes', { ETag: 'v1' }, 'v1', undefined],
      ['a date', { 'Last-Modified': MODIFIED }, undefined, MODIFIED],
      [
        'a date in an old form',
        { 'Last-Modified': 'Monday, 01-Dec-25 00:00:00 GMT' },
        undefined,
        'Monday, 01-Dec-25 00:00:00 GMT',
      ],
      ['both', { ETag: '"v1"', 'Last-Modified': MODIFIED }, '"v1"', MODIFIED],
    ]
    const lifetimes: [string, string][] = [
      ['a stale response', 'max-age=60'],
      ['a response that says no-cache', 'no-cache, max-age=60'],
    ]
    const cases = lifetimes.flatMap(([kind, control]) =>
      validators.map(([name, ...rest]) => [`${kind} with ${name}`, control, ...rest] as const),
    )

    it.each(cases)('of %s, exactly as it was stored', async (_, control, headers, noneMatch, since) => {
      const time = new ManualTime()
      const asked: Asked[] = []
      const writing: RawHandler = (req, res) => {
        asked.push(askedBy(req))
        res.writeHead(asked.length === 1 ? 200 : 304, { 'Cache-Control': control, ...headers })
        res.end(asked.length === 1 ? 'hello' : undefined)
      }
      const { get } = await site(stack, { time }, (app, { cached }) => app.raw('GET', '/', cached(), writing))
      expect((await get('/')).cacheStatus).toBe('tagcache; fwd=uri-miss; stored')
      time.move(70_000)
      const answer = await get('/')
      expect(asked).toEqual([unasked, { ...unasked, noneMatch, since }])
      expect([answer.status, answer.text, answer.cacheStatus]).toEqual([200, 'hello', VALIDATED])
    })

    it('in the place of what the client asks', async () => {
      const { get, resource } = await stale()
      await get('/', { 'if-none-match': '"mine"', 'if-modified-since': MODIFIED })
      expect(resource.asked[1]).toEqual({ ...unasked, noneMatch: '"v1"' })
    })

    it('nothing where only the cache has given the response a tag', async () => {
      const time = new ManualTime()
      const asked: Asked[] = []
      const writing: RawHandler = (req, res) => {
        asked.push(askedBy(req))
        res.end('hello')
      }
      const { get } = await site(stack, { time }, (app, { cached }) =>
        app.raw('GET', '/', cached({ ttl: 60, staleIfError: 600 }), writing),
      )
      const { etag } = (await get('/')).headers
      time.move(70_000)
      const answer = await get('/', { 'if-none-match': etag! })
      expect(asked).toEqual([unasked, unasked])
      expect([answer.status, answer.cacheStatus]).toEqual([304, 'tagcache; fwd=stale; stored'])
    })

    it('nothing where the entry was purged', async () => {
      const { get, cache, resource } = await stale(undefined, { tags: 'page' })
      cache.invalidateTags('page')
      const answer = await get('/')
      expect([answer.text, answer.cacheStatus]).toEqual([
        'version 1',
        'tagcache; fwd=uri-miss; stored; detail=invalidated',
      ])
      expect(resource.asked[1]).toEqual(unasked)
    })

    it('no longer than keepStale', async () => {
      const { get, time, resource } = await stale(undefined, { keepStale: 100 })
      time.move(89_000)
      expect((await get('/')).cacheStatus).toBe(VALIDATED)
      time.move(161_000)
      expect((await get('/')).cacheStatus).toBe('tagcache; fwd=uri-miss; stored; detail=expired')
      expect(resource.asked.map(({ noneMatch }) => noneMatch)).toEqual([undefined, '"v1"', undefined])
    })
  })

  describe('where the handler says 304', () => {
    it('answers the stored response, renewed', async () => {
      const { get, time, cache } = await stale((resource) => {
        resource.on200 = { 'X-Own': 'old', 'X-Kept': 'as it was', 'Content-Language': 'en' }
        resource.on304 = { 'X-Own': 'new', 'X-More': ['a', 'b'], 'Cache-Control': 'max-age=30' }
      })
      const answer = await get('/')
      expect([answer.status, answer.statusMessage, answer.text]).toEqual([200, 'OK', 'version 1'])
      expect(answer.cacheStatus).toBe(VALIDATED)
      const fields = {
        'x-own': 'new',
        'x-more': 'a, b',
        'x-kept': 'as it was',
        'content-language': 'en',
        'content-length': '9',
        'cache-control': 'max-age=30',
        etag: '"v1"',
        date: 'Thu, 01 Jan 2026 00:01:10 GMT',
      }
      expect(answer.headers).toMatchObject({ ...fields, age: '0' })
      time.move(12_000)
      const hit = await get('/')
      expect([hit.status, hit.text, hit.cacheStatus]).toEqual([200, 'version 1', 'tagcache; hit; ttl=18'])
      expect(hit.headers).toMatchObject({ ...fields, age: '12' })
      expect(cache.stats()).toMatchObject({ misses: 2, hits: 1, stores: 2, entries: 1, reasons: { validated: 1 } })
    })

    it('never takes its Content-Length', async () => {
      const { get } = await stale((resource) => {
        resource.on304 = { 'Content-Length': '1000' }
      })
      for (const answer of [await get('/'), await get('/')]) {
        expect([answer.text, answer.headers['content-length']]).toEqual(['version 1', '9'])
      }
    })

    it('takes its Date and Age', async () => {
      const { get } = await stale((resource) => {
        resource.on304 = { Date: 'Thu, 01 Jan 2026 00:01:08 GMT', Age: '20' }
      })
      for (const answer of [await get('/'), await get('/')]) {
        expect(answer.headers).toMatchObject({ date: 'Thu, 01 Jan 2026 00:01:08 GMT', age: '20' })
      }
      expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=40')
    })

    it('forgets the Age that the old response came with', async () => {
      const { get } = await stale((resource) => {
        resource.on200 = { Age: '50' }
      })
      expect((await get('/')).headers.age).toBe('0')
      expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=60')
    })

    it("keeps to the route's ttl anew", async () => {
      const { get } = await stale(
        (resource) => {
          resource.headers = {}
        },
        { ttl: 40 },
      )
      await get('/')
      expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=40')
    })

    it('asks again each time where the response says no-cache', async () => {
      const { get, resource } = await stale((resource) => {
        resource.headers = { 'Cache-Control': 'no-cache' }
      })
      for (let time = 0; time < 3; time++) {
        const answer = await get('/')
        expect([answer.status, answer.text, answer.cacheStatus]).toEqual([200, 'version 1', VALIDATED])
      }
      expect(resource.asked.map(({ noneMatch }) => noneMatch)).toEqual([undefined, '"v1"', '"v1"', '"v1"'])
    })

    it('keeps the tags that only the full response had, and those that the 304 adds', async () => {
      for (const purged of ['on 200', 'on 304', 'declared']) {
        const time = new ManualTime()
        const resource = new Resource()
        const { get, cache } = await site(stack, { time }, (app, { cached, tag }) => {
          app.on('GET', '/', cached({ tags: 'declared' }), (call) => {
            const reply = resource.answer(call.req)
            tag(call, reply.status === 304 ? 'on 304' : 'on 200')
            return reply
          })
        })
        await get('/')
        time.move(70_000)
        expect((await get('/')).cacheStatus).toBe(VALIDATED)
        cache.invalidateTags(purged)
        expect((await get('/')).cacheStatus).toBe('tagcache; fwd=uri-miss; stored; detail=invalidated')
      }
    })

    it.each([
      ['no-store', { 'Cache-Control': 'no-store' }],
      ['private', { 'Cache-Control': 'private, max-age=60' }],
      ['set-cookie', { 'Set-Cookie': ['a=1'] }],
      ['vary', { Vary: '*' }],
    ] as [string, Headers][])('drops what is stored where that says %s', async (reason, on304) => {
      const { get, cache, resource } = await stale((resource) => {
        resource.on304 = on304
      })
      const answer = await get('/')
      expect([answer.status, answer.text]).toEqual([200, 'version 1'])
      expect(answer.cacheStatus).toBe(`tagcache; fwd=stale; fwd-status=304; detail=${reason}`)
      for (const [name, value] of Object.entries(on304)) expect(answer.headers[name.toLowerCase()]).toEqual(value)
      expect(cache.stats()).toMatchObject({ entries: 0, reasons: { [reason]: 1 } })
      expect((await get('/')).cacheStatus).toBe('tagcache; fwd=uri-miss; stored; detail=deleted')
      expect(resource.asked[2]).toEqual(unasked)
    })

    it('drops what is stored where the handler says skip', async () => {
      const time = new ManualTime()
      const resource = new Resource()
      const { get, cache } = await site(stack, { time }, (app, { cached, skip }) => {
        app.on('GET', '/', cached(), (call) => {
          const reply = resource.answer(call.req)
          if (reply.status === 304) skip(call)
          return reply
        })
      })
      await get('/')
      time.move(70_000)
      const answer = await get('/')
      expect([answer.status, answer.text]).toEqual([200, 'version 1'])
      expect(answer.cacheStatus).toBe('tagcache; fwd=stale; fwd-status=304; detail=skip')
      expect(cache.stats().entries).toBe(0)
    })

    it.each([
      ['writeHead', (res) => res.writeHead(304, { 'X-Own': 'new' }).end()],
      ['writeHead with a list', (res) => res.writeHead(304, ['X-Own', 'new']).end()],
      ['writeHead after setHeader', (res) => res.setHeader('X-Own', 'new').writeHead(304).end()],
      ['writeHead with a message', (res) => res.writeHead(304, 'Still The Same', { 'X-Own': 'new' }).end()],
      [
        'statusCode and end',
        (res) => {
          res.statusCode = 304
          res.setHeader('X-Own', 'new').end()
        },
      ],
      [
        'statusCode, flushHeaders and end',
        (res) => {
          res.statusCode = 304
          res.setHeader('X-Own', 'new').flushHeaders()
          setImmediate(() => res.end())
        },
      ],
      [
        'statusCode and end with a callback',
        (res) => {
          res.statusCode = 304
          res.setHeader('X-Own', 'new').end(() => {})
        },
      ],
    ] as [string, (res: http.ServerResponse) => unknown][])('by %s', async (_, say304) => {
      const time = new ManualTime()
      const writing: RawHandler = ({ headers }, res) => {
        if (headers['if-none-match'] === '"v1"') return say304(res)
        return res.writeHead(200, 'Fine', { ETag: '"v1"', 'X-Own': 'old' }).end('hello')
      }
      const { get } = await site(stack, { time }, (app, { cached }) => app.raw('GET', '/', cached(), writing))
      await get('/')
      time.move(70_000)
      const answer = await get('/')
      expect([answer.status, answer.statusMessage, answer.text]).toEqual([200, 'Fine', 'hello'])
      expect(answer.headers).toMatchObject({ 'x-own': 'new', 'content-length': '5', age: '0' })
      expect(answer.cacheStatus).toBe(VALIDATED)
      const hit = await get('/')
      expect([hit.text, hit.headers['x-own'], hit.cacheStatus]).toEqual(['hello', 'new', 'tagcache; hit; ttl=60'])
    })

    it('keeps what layers above have set, and does not store it', async () => {
      const time = new ManualTime()
      const resource = new Resource()
      let visits = 0
      const { get, cache } = await site(stack, { time }, (app, { cached }) => {
        app.use(
          stack.before(({ req, res }) => {
            res.setHeader('Access-Control-Allow-Origin', req.headers.origin ?? 'nobody')
            res.setHeader('X-Request-Id', `request ${++visits}`)
            res.setHeader('Vary', 'Origin')
            res.setHeader('Set-Cookie', [`visit=${visits}`])
          }),
        )
        app.on('GET', '/', cached({ tags: 'page' }), resource.handler)
      })
      const origins = ['http://a.example', 'http://b.example', 'http://c.example']
      for (const [at, origin] of origins.entries()) {
        const { status, headers, text, cacheStatus } = await get('/', { origin })
        expect([status, text]).toEqual([200, 'version 1'])
        expect(cacheStatus).toBe(at === 0 ? 'tagcache; fwd=uri-miss; stored' : VALIDATED)
        expect(headers).toMatchObject({
          'access-control-allow-origin': origin,
          'x-request-id': `request ${at + 1}`,
          'set-cookie': [`visit=${at + 1}`],
          vary: 'Origin',
        })
        if (at < 2) time.move(70_000)
      }
      const stored = (await cache.getByTags(['page']))!.headers
      for (const name of ['access-control-allow-origin', 'x-request-id', 'set-cookie']) {
        expect(stored).not.toHaveProperty([name])
      }
    })
  })

  describe("the client's own conditions", () => {
    it.each([
      ['its tag', { 'if-none-match': '"v1"' }, 304],
      ['its tag, weak', { 'if-none-match': 'W/"v1"' }, 304],
      ['its tag in a list', { 'if-none-match': '"v0", "v1", "v2"' }, 304],
      ['any tag', { 'if-none-match': '*' }, 304],
      ['another tag', { 'if-none-match': '"v0"' }, 200],
      ['its date', { 'if-modified-since': MODIFIED }, 304],
      ['a later date', { 'if-modified-since': 'Tue, 02 Dec 2025 00:00:00 GMT' }, 304],
      ['an earlier date', { 'if-modified-since': 'Sun, 30 Nov 2025 00:00:00 GMT' }, 200],
      ['another tag and its date', { 'if-none-match': '"v0"', 'if-modified-since': MODIFIED }, 200],
    ] as [string, Record<string, string>, number][])(
      'are judged against what a 304 has renewed: %s',
      async (_, asked, status) => {
        const { get } = await stale((resource) => {
          resource.headers = {
            'Cache-Control': 'max-age=60',
            'Last-Modified': MODIFIED,
            'Content-Type': 'text/html; charset=utf-8',
          }
        })
        const answer = await get('/', asked)
        expect([answer.status, answer.text]).toEqual([status, status === 304 ? '' : 'version 1'])
        expect([answer.cacheStatus, answer.headers.etag]).toEqual([VALIDATED, '"v1"'])
        expect(answer.headers['content-type']).toBe(status === 304 ? undefined : 'text/html; charset=utf-8')
        expect(answer.headers['content-length']).toBe(status === 304 ? undefined : '9')
        const hit = await get('/')
        expect([hit.status, hit.text, hit.cacheStatus]).toEqual([200, 'version 1', 'tagcache; hit; ttl=60'])
      },
    )

    it('are judged against the date that the 304 has brought', async () => {
      const renew = (resource: Resource) => {
        resource.on304 = { 'Last-Modified': MODIFIED }
      }
      const same = await stale(renew)
      expect((await same.get('/', { 'if-modified-since': MODIFIED })).status).toBe(304)
      const older = await stale(renew)
      expect((await older.get('/', { 'if-modified-since': 'Sun, 30 Nov 2025 00:00:00 GMT' })).status).toBe(200)
    })

    it('are judged against the tag that the 304 has made weak', async () => {
      const { get } = await stale((resource) => {
        resource.on304 = { ETag: 'W/"v1"' }
      })
      const answer = await get('/', { 'if-none-match': '"v1"' })
      expect([answer.status, answer.headers.etag, answer.cacheStatus]).toEqual([304, 'W/"v1"', VALIDATED])
    })

    it.each([
      ['"v1"', 200],
      ['"v2"', 304],
      ['"v1", W/"v2"', 304],
    ])('are judged against a new response: %s', async (noneMatch, status) => {
      const { get, resource } = await stale()
      resource.version = 2
      const answer = await get('/', { 'if-none-match': noneMatch })
      expect([answer.status, answer.text]).toEqual([status, status === 304 ? '' : 'version 2'])
      const hit = await get('/')
      expect([hit.status, hit.text, hit.cacheStatus]).toEqual([200, 'version 2', 'tagcache; hit; ttl=60'])
    })

    it.each([
      ['a 304', 1],
      ['a new response', 2],
    ])('are back in the request after %s', async (_, version) => {
      const time = new ManualTime()
      const resource = new Resource()
      const requests: http.IncomingMessage[] = []
      const { get } = await site(stack, { time }, (app, { cached }) => {
        app.use(stack.before(({ req }) => void requests.push(req)))
        app.on('GET', '/', cached(), resource.handler)
      })
      await get('/')
      time.move(70_000)
      resource.version = version
      await get('/', { 'if-none-match': '"mine"', 'if-modified-since': MODIFIED })
      time.move(70_000)
      await get('/')
      expect(requests.map(askedBy)).toEqual([unasked, { ...unasked, noneMatch: '"mine"', since: MODIFIED }, unasked])
    })

    it('are back in the request after a handler that fails', async () => {
      const time = new ManualTime()
      const requests: http.IncomingMessage[] = []
      const handler = counting((body) => {
        if (body === 'run 2') throw new Error('thrown by the handler')
        return { headers: { ETag: '"v1"' }, body }
      })
      const { get } = await site(stack, { time }, (app, { cached }) => {
        app.use(stack.before(({ req }) => void requests.push(req)))
        app.on('GET', '/', cached(), handler)
      })
      await get('/')
      time.move(70_000)
      expect((await get('/', { 'if-none-match': '"mine"' })).status).toBe(500)
      expect(requests.map(askedBy)[1]).toEqual({ ...unasked, noneMatch: '"mine"' })
    })
  })

  describe('where the handler says something else', () => {
    it('a 200 replaces what is stored', async () => {
      const { get, resource, cache } = await stale((resource) => {
        resource.on200 = { 'X-First': 'yes' }
      })
      resource.version = 2
      resource.headers = { 'Cache-Control': 'max-age=20' }
      resource.on200 = { 'X-Second': 'yes' }
      const answer = await get('/')
      expect([answer.status, answer.text, answer.cacheStatus]).toEqual([
        200,
        'version 2',
        'tagcache; fwd=stale; stored',
      ])
      const hit = await get('/')
      expect([hit.text, hit.cacheStatus]).toEqual(['version 2', 'tagcache; hit; ttl=20'])
      expect(hit.headers['x-first']).toBeUndefined()
      expect(hit.headers).toMatchObject({ 'x-second': 'yes', etag: '"v2"', age: '0' })
      expect(cache.stats().entries).toBe(1)
    })

    it.each([
      ['no-store', { headers: { 'Cache-Control': 'no-store' }, body: 'mine' }],
      ['set-cookie', { headers: { 'Set-Cookie': 'a=1' }, body: 'mine' }],
      ['status', { status: 404, body: 'gone' }],
    ] as [string, Exclude<Reply, string>][])(
      'one that is not stored ends what is stored: %s',
      async (reason, reply) => {
        const { get, resource, cache } = await stale()
        const { handler } = resource
        resource.handler = () => reply
        const answer = await get('/')
        expect([answer.status, answer.text]).toEqual([reply.status ?? 200, reply.body])
        expect(answer.cacheStatus).toBe(`tagcache; fwd=stale; detail=${reason}`)
        expect(cache.stats().entries).toBe(0)
        resource.handler = handler
        expect((await get('/')).cacheStatus).toBe('tagcache; fwd=uri-miss; stored; detail=deleted')
        expect(resource.asked[1]).toEqual(unasked)
      },
    )

    it('a failure leaves what is stored for the next one to ask about', async () => {
      const { get, resource } = await stale()
      const { handler } = resource
      resource.handler = () => ({ status: 503, body: 'busy' })
      const answer = await get('/')
      expect([answer.status, answer.text, answer.cacheStatus]).toEqual([
        503,
        'busy',
        'tagcache; fwd=stale; detail=status',
      ])
      resource.handler = handler
      expect((await get('/')).cacheStatus).toBe(VALIDATED)
    })

    it('a 304 that nobody asked for goes to the client', async () => {
      const time = new ManualTime()
      const writing: RawHandler = (_, res) => (time.now() > start ? res.writeHead(304).end() : res.end('hello'))
      const start = time.now()
      const { get } = await site(stack, { time }, (app, { cached }) =>
        app.raw('GET', '/', cached({ ttl: 60, staleIfError: 600 }), writing),
      )
      await get('/')
      time.move(70_000)
      const answer = await get('/')
      expect([answer.status, answer.text]).toEqual([304, ''])
      expect(answer.cacheStatus).toBe('tagcache; fwd=stale; detail=not-modified')
    })
  })

  describe('a HEAD request', () => {
    it('has what is stored validated, and is answered without a body', async () => {
      const { send, get, resource } = await stale((resource) => {
        resource.on304 = { 'X-Own': 'new' }
      })
      const head = await send('HEAD', '/')
      expect(resource.asked[1]).toEqual({ ...unasked, method: 'HEAD', noneMatch: '"v1"' })
      expect([head.status, head.text, head.headers['content-length']]).toEqual([200, '', '9'])
      expect(head.headers).toMatchObject({ 'x-own': 'new', etag: '"v1"' })
      const answer = await get('/')
      expect([answer.status, answer.text]).toEqual([200, 'version 1'])
    })

    it('with a condition gets 304', async () => {
      const { send, get } = await stale()
      const head = await send('HEAD', '/', { headers: { 'if-none-match': '"v1"' } })
      expect([head.status, head.headers.etag]).toEqual([304, '"v1"'])
      expect((await get('/')).text).toBe('version 1')
    })

    it('stores no empty body in the place of a new one', async () => {
      const { send, get, resource } = await stale()
      resource.version = 2
      const head = await send('HEAD', '/')
      expect([head.status, head.headers.etag, head.text]).toEqual([200, '"v2"', ''])
      const answer = await get('/')
      expect([answer.status, answer.text, answer.headers['content-length']]).toEqual([200, 'version 2', '9'])
      expect((await get('/')).text).toBe('version 2')
    })
  })

  describe('a Range request', () => {
    it('gets its part of what was validated', async () => {
      const { get } = await stale()
      const part = await get('/', { range: 'bytes=0-3' })
      expect([part.status, part.text]).toEqual([206, 'vers'])
      expect(part.headers).toMatchObject({ 'content-range': 'bytes 0-3/9', 'content-length': '4', etag: '"v1"' })
      const whole = await get('/')
      expect([whole.status, whole.text]).toEqual([200, 'version 1'])
    })

    it('with If-Range gets a part, or the whole', async () => {
      const same = await stale()
      expect((await same.get('/', { range: 'bytes=-1', 'if-range': '"v1"' })).text).toBe('1')
      const other = await stale()
      const whole = await other.get('/', { range: 'bytes=-1', 'if-range': '"v0"' })
      expect([whole.status, whole.text]).toEqual([200, 'version 1'])
    })

    it('that cannot be met gets 416', async () => {
      const { get } = await stale()
      const none = await get('/', { range: 'bytes=100-' })
      expect([none.status, none.headers['content-range']]).toEqual([416, 'bytes */9'])
      expect((await get('/')).text).toBe('version 1')
    })

    it('does not have the part of a new response kept as the whole', async () => {
      const { get, resource } = await stale()
      const { handler } = resource
      resource.version = 2
      resource.handler = () => ({
        status: 206,
        headers: { ETag: '"v2"', 'Content-Range': 'bytes 0-3/9' },
        body: 'VERS',
      })
      const part = await get('/', { range: 'bytes=0-3' })
      expect([part.status, part.text, part.headers['content-range']]).toEqual([206, 'VERS', 'bytes 0-3/9'])
      resource.handler = handler
      for (const answer of [await get('/'), await get('/')]) {
        expect([answer.status, answer.text]).toEqual([200, 'version 2'])
      }
    })
  })

  describe('several clients', () => {
    const held = async (route: CallOptions = {}) => {
      const lead = gate()
      const served = await stale(undefined, route)
      const { resource, time } = served
      const { handler } = resource
      resource.handler = async (call: Call) => {
        const reply = await handler(call)
        await lead.opened
        return reply
      }
      const pending = time.pending
      const waiting = (count: number) => until(() => time.pending - pending === count)
      return { ...served, lead, waiting, running: (count: number) => until(() => resource.runs === count) }
    }

    it('have one of them ask for all', async () => {
      const { get, lead, waiting, resource, cache } = await held()
      const answers = [...Array.from({ length: 5 }, () => get('/')), get('/', { 'if-none-match': '"v1"' })]
      await waiting(5)
      lead.open()
      const settled = await Promise.all(answers)
      expect(settled.map(({ status, text }) => `${status} ${text}`).sort()).toEqual([
        ...Array.from({ length: 5 }, () => '200 version 1'),
        '304 ',
      ])
      expect(settled.filter(({ cacheStatus }) => cacheStatus === VALIDATED)).toHaveLength(1)
      expect(settled.filter(({ cacheStatus }) => cacheStatus === 'tagcache; fwd=stale; collapsed')).toHaveLength(5)
      expect(resource.runs).toBe(2)
      expect(cache.stats()).toMatchObject({ misses: 2, collapsed: 5 })
    })

    it('all get a new response', async () => {
      const { get, lead, waiting, resource } = await held()
      resource.version = 2
      const answers = [get('/'), get('/'), get('/')]
      await waiting(2)
      lead.open()
      expect((await Promise.all(answers)).map(({ text }) => text)).toEqual(['version 2', 'version 2', 'version 2'])
      expect(resource.runs).toBe(2)
    })

    it('are not served by a validation that began before a purge', async () => {
      const { get, lead, running, resource, cache } = await held({ tags: 'page' })
      const early = get('/')
      await running(2)
      cache.invalidateTags('page')
      resource.version = 2
      const late = get('/')
      await running(3)
      lead.open()
      expect((await early).text).toBe('version 1')
      expect((await late).text).toBe('version 2')
      expect(resource.asked[2]).toEqual(unasked)
      expect((await get('/')).text).toBe('version 2')
    })

    it.each(['tag', 'everything', 'URI'])(
      'do not find later what was purged while it was validated: %s',
      async (how) => {
        const { get, lead, running, resource, cache, send } = await held({ tags: 'page' })
        const early = get('/')
        await running(2)
        if (how === 'tag') cache.invalidateTags('page')
        else if (how === 'everything') cache.clear()
        else await send('POST', '/')
        resource.version = 2
        lead.open()
        expect((await early).text).toBe('version 1')
        const later = await get('/')
        expect(later.text).toBe('version 2')
        expect(later.cacheStatus).toMatch(/^tagcache; fwd=uri-miss; stored(; detail=invalidated)?$/)
        expect(resource.asked.at(-1)).toEqual(unasked)
      },
    )

    it('each ask for themselves where the 304 forbids keeping', async () => {
      const { get, lead, waiting, resource } = await held()
      resource.on304 = { 'Cache-Control': 'no-store' }
      const answers = [get('/'), get('/'), get('/')]
      await waiting(2)
      lead.open()
      expect((await Promise.all(answers)).map(({ text }) => text)).toEqual(['version 1', 'version 1', 'version 1'])
    })
  })

  it('asks through a proxying handler', async () => {
    const time = new ManualTime()
    const resource = new Resource()
    const upstream = await listen((req, res) => {
      const { status = 200, headers = {}, body } = resource.answer(req)
      res.writeHead(status, headers).end(body)
    })
    onTestFinished(() => upstream.close())
    const proxying: RawHandler = (req, res) => {
      const { method, headers, url } = req
      http
        .request(upstream.url + url, { method, headers, agent: false } as http.RequestOptions, (answer) => {
          res.writeHead(answer.statusCode ?? 502, answer.headers)
          answer.pipe(res)
        })
        .end()
    }
    const { get } = await site(stack, { time }, (app, { cached }) => app.raw('GET', '/', cached(), proxying))
    await get('/')
    time.move(70_000)
    resource.on304 = { 'X-Own': 'new' }
    const answer = await get('/')
    expect([answer.status, answer.text, answer.headers['x-own']]).toEqual([200, 'version 1', 'new'])
    expect(answer.cacheStatus).toBe(VALIDATED)
    expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=60')
    time.move(70_000)
    resource.version = 2
    const client = await get('/', { 'if-none-match': '"v1"' })
    expect([client.status, client.text]).toEqual([200, 'version 2'])
    expect(resource.asked.map(({ noneMatch }) => noneMatch)).toEqual([undefined, '"v1"', '"v1"'])
  })
}
