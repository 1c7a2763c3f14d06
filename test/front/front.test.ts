import { describe, expect, it, onTestFinished } from 'vitest'
import { keyValue } from '../../src/index.ts'
import { AsyncMap } from '../support/backends.ts'
import { ask, gate, listen } from '../support/http.ts'
import {
  type App,
  type Call,
  type CallCacheOptions,
  type CallOptions,
  counting,
  fronted,
  type Handler,
  type Site,
  STACKS,
  type Stack,
  site,
  type Tools,
} from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'
import { exchange } from '../support/wire.ts'

interface Watched extends Site {
  /** How many requests have reached the application. */
  inside(): number
}

/** A site with a layer above its routes that counts the requests, and whatever else `above` does. */
async function watched(
  stack: Stack,
  build: (app: App, tools: Tools) => void,
  { options = {}, above = () => {} }: { options?: CallCacheOptions; above?: Parameters<Stack['before']>[0] } = {},
): Promise<Watched> {
  let inside = 0
  const made = await site(stack, { time: new ManualTime(), ...options }, (app, tools) => {
    app.use(
      stack.before((call) => {
        inside += 1
        return above(call)
      }),
    )
    build(app, tools)
  })
  // What goes wrong in front would look as if it were left to the application.
  onTestFinished(() => expect(made.events.filter(({ type }) => type === 'fault')).toEqual([]))
  return { ...made, inside: () => inside }
}

function oneRoute(
  stack: Stack,
  handler: Handler,
  route: CallOptions = {},
  more: Parameters<typeof watched>[2] = {},
): Promise<Watched> {
  return watched(stack, (app, { cached }) => app.on('GET', '/a', cached(route), handler), more)
}

describe.each(STACKS.map(fronted))('in front of $name', (stack) => {
  describe('a hit', () => {
    it('reaches neither the layers above the route nor the handler', async () => {
      const handler = counting((body) => ({ headers: { 'X-Own': 'kept', 'Content-Type': 'text/x-own' }, body }))
      const { get, inside, events } = await oneRoute(stack, handler)
      const miss = await get('/a')
      const hit = await get('/a')
      expect([miss.text, hit.text, handler.runs(), inside()]).toEqual(['run 1', 'run 1', 1, 1])
      expect(hit.cacheStatus).toBe('tagcache; hit; ttl=60')
      expect(hit.headers).toMatchObject({ 'x-own': 'kept', 'content-length': '5', age: '0' })
      expect(hit.headers['content-type']).toBe(miss.headers['content-type'])
      expect(hit.headers.etag).toBe(miss.headers.etag)
      const [first, second] = events.filter(({ type }) => type === 'trace')
      expect([first, second]).toMatchObject([{ outcome: 'miss' }, { outcome: 'hit', stored: false }])
      expect(second).toMatchObject({ route: (first as { route: string }).route, key: (first as { key: string }).key })
    })

    it.each([1, 4096, 4097, 300_000])('has its body of %i bytes as it is', async (size) => {
      const body = Buffer.alloc(size, Buffer.from([0, 255, 10, 13, 128, 195]))
      const { get, inside } = await oneRoute(stack, () => ({ headers: { 'Content-Type': 'application/x-own' }, body }))
      await get('/a')
      expect((await get('/a')).body).toEqual(body)
      expect(inside()).toBe(1)
    })

    it('has repeated fields, a status and its message', async () => {
      const { get, inside } = await watched(stack, (app, { cached }) =>
        app.raw('GET', '/a', cached({ ttl: 60 }), (_req, res) => {
          res.writeHead(203, 'Own Words', { Link: ['<a>; rel=x', '<b>; rel=y'], 'X-Latin': 'caf\u00e9' })
          res.end('body')
        }),
      )
      const miss = await get('/a')
      const hit = await get('/a')
      expect([hit.status, hit.statusMessage, hit.text]).toEqual([203, 'Own Words', 'body'])
      expect(hit.headers.link).toBe(miss.headers.link)
      expect(hit.headers['x-latin']).toBe(miss.headers['x-latin'])
      expect(inside()).toBe(1)
    })

    it('is given for HEAD, for a condition and for a range', async () => {
      const { get, send, inside } = await oneRoute(stack, counting())
      const { etag } = (await get('/a')).headers
      for (const _ of [1, 2]) {
        const head = await send('HEAD', '/a')
        expect([head.status, head.text, head.headers['content-length']]).toEqual([200, '', '5'])
      }
      const known = await get('/a', { 'If-None-Match': etag! })
      expect([known.status, known.text, known.headers.etag]).toEqual([304, '', etag])
      const part = await get('/a', { Range: 'bytes=4-' })
      expect([part.status, part.text]).toEqual([206, '1'])
      // Where a HEAD goes is learned for itself.
      expect(inside()).toBe(2)
    })

    // Polka has one list of handlers for a path.
    it.skipIf(stack.name.startsWith('Polka'))(
      'is not given for a HEAD that the application answers in its own way',
      async () => {
        const { get, send } = await watched(stack, (app, { cached }) => {
          app.on('HEAD', '/b', () => ({ status: 410 }))
          app.on('GET', '/b', cached({ front: true }), counting())
        })
        for (const _ of [1, 2]) await get('/b')
        expect((await send('HEAD', '/b')).status).toBe(410)
      },
    )

    it('ends with its time', async () => {
      const time = new ManualTime()
      const { get, inside } = await oneRoute(stack, counting(), { ttl: 10 }, { options: { time } })
      await get('/a')
      time.move(9_999)
      expect((await get('/a')).headers.age).toBe('9')
      time.move(1)
      expect((await get('/a')).text).toBe('run 2')
      expect(inside()).toBe(2)
    })

    it('comes from a backend that is asked, too', async () => {
      const backend = keyValue(new AsyncMap())
      const { get, inside } = await oneRoute(stack, counting(), {}, { options: { backend } })
      await get('/a')
      await get('/a')
      expect([(await get('/a')).text, inside()]).toEqual(['run 1', 1])
    })

    it('is learned from a hit inside, where the response was stored by somebody else', async () => {
      const plain = STACKS.find(({ name }) => name === stack.name)!
      const build = (app: App, { cached }: Tools) => app.on('GET', '/a', cached({ host: false }), counting())
      const other = await site(plain, {}, build)
      await other.get('/a')
      let inside = 0
      const { get } = await site(stack, other.cache, (app, tools) => {
        app.use(
          stack.before(() => {
            inside += 1
          }),
        )
        build(app, tools)
      })
      for (const _ of [1, 2, 3]) expect((await get('/a')).text).toBe('run 1')
      expect(inside).toBe(1)
    })
  })

  describe('a purge', () => {
    it('is heard in the same step', async () => {
      const { get, cache, inside } = await oneRoute(stack, counting(), { tags: 'a' })
      await get('/a')
      expect((await get('/a')).text).toBe('run 1')
      cache.invalidateTags(['a'])
      expect((await get('/a')).text).toBe('run 2')
      expect(inside()).toBe(2)
    })

    it('is not undone by a handler that ran meanwhile', async () => {
      const time = new ManualTime()
      const [started, go] = [gate(), gate()]
      let runs = 0
      const handler = async () => {
        runs += 1
        if (runs !== 2) return `run ${runs}`
        started.open()
        await go.opened
        return 'old'
      }
      const { get, cache } = await oneRoute(stack, handler, { tags: 'a', ttl: 10 }, { options: { time } })
      await get('/a')
      time.move(10_000)
      const old = get('/a')
      await started.opened
      cache.invalidateTags(['a'])
      go.open()
      expect((await old).text).toBe('old')
      expect((await get('/a')).text).toBe('run 3')
      expect((await get('/a')).text).toBe('run 3')
    })

    it('by a write of the site is heard before its answer', async () => {
      const { get, send } = await watched(stack, (app, { cached, invalidates }) => {
        app.on('GET', '/a', cached({ tags: 'a' }), counting())
        app.on('PUT', '/a', invalidates('a'), () => 'written')
      })
      await get('/a')
      await get('/a')
      await send('PUT', '/a')
      expect((await get('/a')).text).toBe('run 2')
    })
  })

  describe('who asks', () => {
    it.each([
      ['Authorization', 'Bearer x'],
      ['Cookie', 'a=b'],
    ])('with %s is answered inside', async (name, value) => {
      const { get, inside } = await oneRoute(stack, counting())
      await get('/a')
      expect((await get('/a', { [name]: value })).text).toBe('run 2')
      expect((await get('/a')).text).toBe('run 1')
      expect(inside()).toBe(2)
    })

    it('does not matter where the route is for everybody', async () => {
      const { get, inside } = await oneRoute(stack, counting(), { scope: 'public' })
      await get('/a', { Cookie: 'a=b' })
      expect((await get('/a', { Authorization: 'Bearer x' })).text).toBe('run 1')
      expect(inside()).toBe(1)
    })

    it.each(['explicit', 'rfc9111'] as const)(
      'with credentials is answered inside where the scope is %s',
      async (scope) => {
        const headers = { 'Cache-Control': 'public, max-age=60' }
        const { get, inside } = await oneRoute(
          stack,
          counting((body) => ({ headers, body })),
          { scope: scope as never },
        )
        await get('/a')
        await get('/a')
        expect(inside()).toBe(1)
        await get('/a', { Authorization: 'Bearer x' })
        expect(inside()).toBe(2)
      },
    )

    it('is answered inside where he carries the place of his last write', async () => {
      const readYourWrites = { secret: '0123456789abcdef', via: 'header' as const }
      const { get, inside } = await oneRoute(stack, counting(), {}, { options: { readYourWrites } })
      await get('/a')
      await get('/a', { 'Tagcache-Position': '1.1.x' })
      expect(inside()).toBe(2)
    })
  })

  describe('variants', () => {
    it('by language are told apart', async () => {
      const handler: Handler = ({ req }) => ({
        headers: { Vary: 'Accept-Language' },
        body: String(req.headers['accept-language']),
      })
      const { get, inside } = await oneRoute(stack, handler)
      for (const language of ['de', 'fr', 'de', 'fr']) {
        expect((await get('/a', { 'Accept-Language': language })).text).toBe(language)
      }
      expect(inside()).toBe(2)
    })

    it('by coding are told apart, and shared where they mean the same', async () => {
      const handler: Handler = ({ req }) => {
        const isSmall = /x-own/.test(String(req.headers['accept-encoding']))
        return { headers: { Vary: 'Accept-Encoding', 'Content-Encoding': isSmall ? 'x-own' : 'identity' }, body: 'x' }
      }
      const { get, inside } = await oneRoute(stack, handler)
      const form = async (codings: string) =>
        (await get('/a', { 'Accept-Encoding': codings })).headers['content-encoding']
      const asked = ['x-own', 'identity', 'x-own', 'identity']
      for (const coding of asked) expect(await form(coding)).toBe(coding)
      expect(inside()).toBe(2)
    })

    it('by a declared field are told apart', async () => {
      const { get, inside } = await oneRoute(stack, ({ req }) => String(req.headers['x-kind']), { vary: 'X-Kind' })
      for (const kind of ['one', 'two', 'one', 'two']) expect((await get('/a', { 'X-Kind': kind })).text).toBe(kind)
      expect(inside()).toBe(2)
    })

    it('by a field that a layer above writes are left to the application', async () => {
      let country = 0
      const { get, inside } = await oneRoute(
        stack,
        ({ req }) => String(req.headers['x-country']),
        { vary: 'X-Country' },
        {
          above: ({ req }) => {
            req.headers['x-country'] = `c${++country}`
          },
        },
      )
      expect([(await get('/a')).text, (await get('/a')).text, (await get('/a')).text]).toEqual(['c1', 'c2', 'c3'])
      expect(inside()).toBe(3)
    })
  })

  describe('what is asked', () => {
    it.each([
      ['Range', 'lines=1-2'],
      ['If-Match', '"x"'],
      ['If-Range', '"x"'],
      ['If-Unmodified-Since', 'Thu, 01 Jan 2026 00:00:00 GMT'],
      ['X-Original-URL', '/b'],
      ['X-Rewrite-URL', '/b'],
      ['X-HTTP-Method-Override', 'DELETE'],
      ['X-Method-Override', 'DELETE'],
    ])('with %s goes to the application', async (name, value) => {
      const { get, inside } = await oneRoute(stack, counting())
      await get('/a')
      await get('/a', { [name]: value })
      await get('/a', { [name]: value })
      expect(inside()).toBe(3)
    })

    it('with a body goes to the application', async () => {
      const { get, send, inside } = await oneRoute(stack, counting())
      await get('/a')
      await send('GET', '/a', { headers: { 'Content-Length': '1' }, body: 'x' })
      expect(inside()).toBe(2)
    })

    it.each(['X-Forwarded-Host', 'X-Forwarded-Proto', 'Forwarded', 'X-Forwarded-Prefix'])(
      'with %s is answered by what was answered to the same',
      async (name) => {
        const { get, inside } = await oneRoute(stack, counting())
        const value = name === 'Forwarded' ? 'host=evil' : 'evil'
        expect((await get('/a')).text).toBe('run 1')
        expect((await get('/a', { [name]: value })).text).toBe('run 2')
        expect((await get('/a')).text).toBe('run 1')
        expect((await get('/a', { [name]: value })).text).toBe('run 2')
        expect((await get('/a', { [name]: `${value}2` })).text).toBe('run 3')
        expect(inside()).toBe(3)
      },
    )

    it('of another host is another thing', async () => {
      const { get, inside } = await oneRoute(stack, ({ req }) => String(req.headers.host))
      for (const host of ['one.test', 'two.test', 'one.test', 'two.test', 'constructor', 'constructor']) {
        expect((await get('/a', { Host: host })).text).toBe(host)
      }
      expect(inside()).toBe(3)
    })

    it('in absolute form goes to the application', async () => {
      const { get, port, inside } = await oneRoute(stack, counting())
      await get('/a', { Host: 'x' })
      const request = 'GET http://x/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
      await exchange(port, request)
      await exchange(port, request)
      expect(inside()).toBe(3)
    })

    it('with a number sign, or without a host, goes to the application', async () => {
      const { port, inside } = await oneRoute(stack, counting())
      for (const request of ['GET /a#b HTTP/1.1\r\nHost: x\r\nConnection: close', 'GET /a HTTP/1.0'])
        for (const _ of [1, 2]) await exchange(port, `${request}\r\n\r\n`)
      expect(inside()).toBe(4)
    })

    it('of two hosts is of the first, as inside', async () => {
      const { port, get } = await oneRoute(stack, ({ req }) => String(req.headers.host))
      await get('/a', { Host: 'one' })
      await get('/a', { Host: 'two' })
      const text = await exchange(port, 'GET /a HTTP/1.1\r\nHost: one\r\nHost: two\r\nConnection: close\r\n\r\n')
      expect(text).toMatch(/one$/)
    })

    it('under a very long URL is answered, by the application', async () => {
      const { get, inside } = await oneRoute(stack, counting())
      const url = `/a?q=${'x'.repeat(5000)}`
      await get(url)
      expect((await get(url)).text).toBe('run 1')
      expect(inside()).toBe(2)
    })

    it.each(['/__proto__', '/constructor', '/a?__proto__=1&constructor[prototype]=2', '/%zz', '//a/b'])(
      'under %s is answered as inside',
      async (url) => {
        const build = (app: App, { cached }: Tools) => app.use(cached({ front: true }), stack.before(answerUrl))
        const answers = await Promise.all(
          [stack, { ...stack, ...STACKS.find(({ name }) => name === stack.name)! }].map(async (each) => {
            const { get } = await watched(each, build)
            return [await get(url), await get(url), await get(url)].map(({ status, text }) => [status, text])
          }),
        )
        expect(answers[0]).toEqual(answers[1])
      },
    )
  })

  describe('what is left to the application', () => {
    it('routes that do not say so', async () => {
      const { get, inside } = await oneRoute(stack, counting(), { front: false })
      await get('/a')
      await get('/a')
      expect((await get('/a')).text).toBe('run 1')
      expect(inside()).toBe(3)
    })

    it.skipIf(stack.kind === 'node')('URLs that a layer has rewritten', async () => {
      const { get, inside } = await watched(stack, (app, { cached }) => app.on('GET', '/a', cached(), counting()), {
        above: ({ req, handle }) => rewrite(stack, req, handle, '/a'),
      })
      await get('/b')
      await get('/b')
      expect((await get('/b')).text).toBe('run 1')
      expect(inside()).toBe(3)
    })

    it.skipIf(stack.kind === 'node')('URLs that turn out to lead to several places', async () => {
      const time = new ManualTime()
      let isMoved = false
      const { get, inside } = await watched(
        stack,
        (app, { cached }) => {
          app.on('GET', '/a', cached({ ttl: 10 }), () => 'a')
          app.on('GET', '/b', cached({ ttl: 10 }), () => 'b')
        },
        { options: { time }, above: ({ req, handle }) => (isMoved ? rewrite(stack, req, handle, '/b') : undefined) },
      )
      await get('/a')
      expect([(await get('/a')).text, inside()]).toEqual(['a', 1])
      isMoved = true
      time.move(10_000)
      expect((await get('/a')).text).toBe('b')
      isMoved = false
      expect((await get('/a')).text).toBe('a')
      expect((await get('/a')).text).toBe('a')
      expect(inside()).toBe(4)
    })

    it('URLs that somebody before the framework leads elsewhere', async () => {
      const time = new ManualTime()
      const tools = STACKS.find(({ name }) => name === stack.name)!.tools({ time })
      const app = STACKS.find(({ name }) => name === stack.name)!.app()
      for (const name of ['a', 'b']) app.on('GET', `/${name}`, tools.cached({ front: true, ttl: 10 }), () => name)
      const listener = app.listener()
      let to = '/a'
      let inside = 0
      const server = await listen(
        tools.front((req, res) => {
          inside += 1
          req.url = to
          listener(req, res)
        }),
      )
      onTestFinished(() => server.close())
      const text = async () => (await ask(`${server.url}/x`)).text
      expect([await text(), await text(), inside]).toEqual(['a', 'a', 1])
      to = '/b'
      time.move(10_000)
      expect([await text(), await text(), inside]).toEqual(['b', 'b', 3])
      to = '/a'
      expect([await text(), inside]).toEqual(['a', 4])
    })

    it('fields that go on where those of a layer above have ended', async () => {
      const handler: Handler = () => ({ headers: { 'X-List': ['outer', 'inner'] }, body: 'x' })
      const { get, inside } = await oneRoute(
        stack,
        handler,
        {},
        { above: ({ res }) => void res.setHeader('X-List', 'outer') },
      )
      for (const _ of [1, 2, 3]) expect((await get('/a')).headers['x-list']).toBe('outer, inner')
      expect(inside()).toBe(3)
    })

    it('what an inner layer takes back', async () => {
      const { get, inside } = await watched(stack, (app, { cached }) => {
        app.use(cached({ front: true }))
        app.on('GET', '/open', counting())
        app.on('GET', '/closed', cached({ front: false }), counting())
      })
      for (const path of ['/open', '/open', '/closed', '/closed', '/closed']) await get(path)
      expect(inside()).toBe(4)
    })

    it('everything once the cache is closed', async () => {
      const { get, cache, inside } = await oneRoute(stack, counting())
      await get('/a')
      await cache.close()
      expect([(await get('/a')).text, inside()]).toEqual(['run 2', 2])
    })

    it('what could be due to be made anew', async () => {
      const time = new ManualTime()
      const handler = async () => {
        time.move(1000)
        return 'x'
      }
      const { get, inside } = await oneRoute(stack, handler, { ttl: 60, earlyRefresh: true }, { options: { time } })
      await get('/a')
      await get('/a')
      expect(inside()).toBe(1)
      time.move(51_000)
      await get('/a')
      expect(inside()).toBeGreaterThan(1)
    })

    it('clients that ask for fresher responses, where they may', async () => {
      const { get, inside } = await oneRoute(stack, counting(), { requestDirectives: true })
      await get('/a')
      expect((await get('/a', { 'Cache-Control': 'no-cache' })).text).toBe('run 2')
      expect(inside()).toBe(2)
    })
  })

  describe('what goes wrong', () => {
    it('in front is told, and the application answers', async () => {
      const tools = stack.tools({})
      const app = stack.app()
      const handler = counting()
      app.on('GET', '/a', tools.cached(), handler)
      const inner = app.listener()
      let isBroken = false
      const server = await listen((req, res) => {
        if (isBroken) {
          res.getHeaderNames = () => {
            Reflect.deleteProperty(res, 'getHeaderNames')
            throw new Error('broken')
          }
        }
        inner(req, res)
      })
      onTestFinished(() => server.close())
      const faults: unknown[] = []
      tools.cache.on('fault', ({ operation }) => faults.push(operation))
      await ask(`${server.url}/a`)
      isBroken = true
      expect((await ask(`${server.url}/a`)).text).toBe('run 1')
      expect(faults).toEqual(['front'])
    })

    it('in a function that compares fields leaves the request to the application', async () => {
      let isBroken = false
      const form = (value: string) => {
        if (isBroken) throw new Error('broken')
        return value
      }
      const route = { vary: 'X-Kind', normaliseVary: { 'X-Kind': form } }
      const { get } = await oneRoute(stack, counting(), route)
      await get('/a', { 'X-Kind': 'one' })
      isBroken = true
      expect((await get('/a', { 'X-Kind': 'one' })).text).toBe('run 2')
    })
  })

  it('goes through what stands around it', async () => {
    const tools = stack.tools({})
    const app = stack.app()
    app.on('GET', '/a', tools.cached(), counting())
    const inner = app.listener()
    let ends = 0
    const server = await listen((req, res) => {
      res.setHeader('X-Outer', 'set')
      const { end } = res
      res.end = ((...args: unknown[]) => {
        ends += 1
        return Reflect.apply(end, res, args)
      }) as never
      inner(req, res)
    })
    onTestFinished(() => server.close())
    await ask(`${server.url}/a`)
    const hit = await ask(`${server.url}/a`)
    expect([hit.text, hit.headers['x-outer'], ends]).toEqual(['run 1', 'set', 2])
  })
})

describe.each(STACKS)('$name', (stack) => {
  it.each([
    ['scope', { scope: () => 'a' }],
    ['host', { host: () => 'a' }],
    ['key', { key: () => 'a' }],
    ['enabled', { enabled: () => true }],
  ])('refuses front with a function as %s when the route is made', (name, options) => {
    const { cached } = stack.tools({})
    expect(() => cached({ ...options, front: true })).toThrow(
      expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_VALUE', message: expect.stringContaining(`\`${name}\``) }),
    )
    expect(() => cached({ ...options, front: false })).not.toThrow()
  })

  it('refuses it where the cache has such a function for all routes', () => {
    const { cached } = stack.tools({ scope: () => 'a' })
    expect(() => cached({ front: true })).toThrow(expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_VALUE' }))
    expect(() => cached({ front: true, scope: 'public' })).not.toThrow()
  })

  it('is told of each route, not of the cache', () => {
    expect(() => stack.tools({ front: true } as never)).toThrow(
      expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_UNKNOWN' }),
    )
    expect(() => stack.tools({}).cached({ front: 'yes' as never })).toThrow(
      expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_VALUE' }),
    )
  })

  it('is in front once, however often it is asked', () => {
    const { front } = stack.tools({})
    const listener = front(() => {})
    expect(front(listener)).toBe(listener)
  })

  it('knows of each application for itself', async () => {
    const { cached, front } = stack.tools({})
    const [open, closed] = [stack.app(), stack.app()]
    open.on('GET', '/a', cached({ front: true }), () => 'open')
    closed.on('GET', '/a', () => 'closed')
    const headers = { Host: 'one' }
    for (const [app, text] of [
      [open, 'open'],
      [closed, 'closed'],
    ] as const) {
      const server = await listen(front(app.listener()))
      onTestFinished(() => server.close())
      for (const _ of [1, 2]) expect((await ask(`${server.url}/a`, { headers })).text).toBe(text)
    }
  })

  it('may have another cache in front of it', async () => {
    const time = new ManualTime()
    const [one, other] = [stack.tools({ cacheName: 'one', time }), stack.tools({ cacheName: 'other', time })]
    let inside = 0
    const app = stack.app()
    app.use(
      stack.before(() => {
        inside += 1
      }),
    )
    app.on('GET', '/one', one.cached({ front: true }), counting())
    app.on('GET', '/other', other.cached({ front: true }), counting())
    const server = await listen(other.front(one.front(app.listener())))
    onTestFinished(() => server.close())
    for (const name of ['one', 'other']) {
      await ask(`${server.url}/${name}`)
      expect((await ask(`${server.url}/${name}`)).cacheStatus).toBe(`${name}; hit; ttl=60`)
    }
    expect(inside).toBe(2)
  })
})

function answerUrl({ req, res }: Call): void {
  res.end(`answer to ${req.url}`)
}

function rewrite(stack: Stack, req: Call['req'], handle: unknown, url: string): void {
  if (stack.kind === 'koa') (handle as { url: string }).url = url
  else req.url = url
}
