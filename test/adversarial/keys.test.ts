import { createHash } from 'node:crypto'
import http2 from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import Router from '@koa/router'
import express, { type Express, type Request, type Response } from 'express'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tagcache as expressCache } from '../../src/adapters/express.ts'
import { tagcache as koaCache } from '../../src/adapters/koa.ts'
import { tagcache as nodeCache } from '../../src/adapters/node.ts'
import { Flights } from '../../src/core/flights.ts'
import { createCache, keyValue } from '../../src/index.ts'
import { hostPart } from '../../src/node/target.ts'
import type { RouteOptions } from '../../src/options/route.ts'
import { ask, listen } from '../support/http.ts'
import { type Call, EXPRESSES, KOAS, oneRoute, STACKS, site } from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'
import { read, serving } from './support.ts'

/** An application that says which `q` it has read, cached on its route. */
function search(express: () => Express, options: RouteOptions<never> = {}): Express {
  const { cached } = expressCache()
  const app = express()
  app.set('query parser', 'extended')
  app.get(
    '/search',
    cached(options as object),
    (req, res) => void res.send(`results for ${JSON.stringify(req.query.q)}`),
  )
  return app
}

describe.each(EXPRESSES)('a query under $name', ({ express }) => {
  it('that stands behind a number sign does not answer for the one that counts', async () => {
    const { target, get } = await serving(search(express))
    const answer = await target('/search#?q=foo')
    expect(answer).toContain('tagcache; fwd=bypass; detail=fragment')
    expect(answer).toContain('results for undefined')
    expect((await get('/search?q=foo')).text).toBe('results for "foo"')
  })

  it('that the parser cuts off does not answer for the whole one', async () => {
    const served = await serving(search(express))
    const cut = `/search?${'&'.repeat(1000)}q=foo`
    expect(await read(served, cut, '/search?q=foo')).toEqual(['results for undefined', 'results for "foo"'])
  })

  it('whose brackets the parser takes for a chosen name does not answer for that name', async () => {
    const served = await serving(search(express, { query: ['q'] }))
    const paths = ['/search?[q]=evil', '/search', '/search?q=foo&[q]=evil', '/search?q=foo']
    expect(await read(served, ...paths)).toEqual([
      'results for "evil"',
      'results for undefined',
      'results for ["foo","evil"]',
      'results for "foo"',
    ])
  })
})

it('a number sign in the path does not answer for the path before it, under node:http', async () => {
  const cached = nodeCache().cached()
  const { target, get } = await serving(((req, res) => cached(req, res, () => res.end(req.url))) as Parameters<
    typeof listen
  >[0])
  expect(await target('/a#x')).toContain('/a#x')
  expect((await get('/a')).text).toBe('/a')
})

describe.each(STACKS)('under $name', (stack) => {
  it('an encoded path does not answer for the plain one that routes elsewhere', async () => {
    const { get } = await site(stack, {}, (app, { cached }) => {
      app.use(cached())
      app.on('GET', '/about', () => 'about')
      app.on('GET', '/:page', () => 'shell')
    })
    await get('/%61bout')
    expect((await get('/about')).text).toBe('about')
  })

  it.each(['x-original-url', 'x-rewrite-url', 'x-http-method-override', 'x-forwarded-prefix'])(
    '%s counts, whether the host does or not',
    async (name) => {
      for (const host of [true, false]) {
        const { get } = await oneRoute(stack, ({ req }) => `as ${req.headers[name] ?? 'asked'}`, { host })
        expect((await get('/', { [name]: '/evil' })).text).toBe('as /evil')
        expect((await get('/')).text).toBe('as asked')
      }
    },
  )

  it('of Forwarded, host and scheme count, and the client’s address does not', async () => {
    const { get } = await oneRoute(stack, ({ req }) => `by ${req.headers.forwarded ?? 'nobody'}`)
    expect((await get('/', { forwarded: 'host=evil.example' })).text).toBe('by host=evil.example')
    expect((await get('/', { forwarded: 'for=192.0.2.1;proto=https' })).text).toBe('by for=192.0.2.1;proto=https')
    expect((await get('/', { forwarded: 'for=192.0.2.1' })).text).toBe('by for=192.0.2.1')
    expect((await get('/', { forwarded: 'for=192.0.2.2' })).text).toBe('by for=192.0.2.1')
  })

  it('a value that spells the digest of a long one does not answer for that', async () => {
    const handler = ({ req }: Call) => ({ headers: { Vary: 'X-Filter' }, body: `by ${req.headers['x-filter']}` })
    const { get } = await oneRoute(stack, handler)
    const long = 'a'.repeat(300)
    const digest = createHash('sha256').update(long).digest('base64url')
    for (const filter of [digest, long, digest, long])
      expect((await get('/', { 'x-filter': filter })).text).toBe(`by ${filter}`)
  })

  it('of Forwarded nothing counts where the host does not', async () => {
    const { get } = await oneRoute(stack, () => 'x', { host: false })
    await get('/', { forwarded: 'host=a.example' })
    expect((await get('/', { forwarded: 'host=b.example' })).cacheStatus).toContain('hit')
  })
})

const TENANT = /^\/(acme|globex)(\/.*)$/

describe('an address that a layer above has rewritten keeps tenants apart', () => {
  const PATHS = ['/acme/orders', '/globex/orders', '/acme/orders']
  const ORDERS = ['orders of acme', 'orders of globex', 'orders of acme']

  it.each(EXPRESSES.flatMap(({ name, express }) => [true, false].map((onRoute) => ({ name, express, onRoute }))))(
    'under $name, cached on its route: $onRoute',
    async ({ express, onRoute }) => {
      const { cached } = expressCache()
      const app = express()
      app.use((req, res, next) => {
        const [, tenant, rest] = TENANT.exec(req.url) ?? []
        res.locals.tenant = tenant
        req.url = rest ?? req.url
        next()
      })
      if (!onRoute) app.use(cached())
      const handler = (_req: Request, res: Response) => void res.send(`orders of ${res.locals.tenant}`)
      if (onRoute) app.get('/orders', cached(), handler)
      else app.get('/orders', handler)
      expect(await read(await serving(app), ...PATHS)).toEqual(ORDERS)
    },
  )

  it.each(KOAS.flatMap(({ name, Koa }) => [true, false].map((onRoute) => ({ name, Koa, onRoute }))))(
    'under $name, cached on its route: $onRoute',
    async ({ Koa, onRoute }) => {
      const { cached } = koaCache()
      const app = new Koa()
      const router = new Router()
      app.use(async (ctx, next) => {
        const [, tenant, rest] = TENANT.exec(ctx.path) ?? []
        ctx.state.tenant = tenant
        ctx.path = rest ?? ctx.path
        await next()
      })
      if (onRoute) router.use(cached() as never)
      else app.use(cached())
      router.get('/orders', (ctx) => {
        ctx.body = `orders of ${ctx.state.tenant}`
      })
      app.use(router.routes() as never)
      expect(await read(await serving(app.callback()), ...PATHS)).toEqual(ORDERS)
    },
  )

  it('under node:http, where req.originalUrl tells', async () => {
    const { cached } = nodeCache()
    const middleware = cached()
    const served = await serving((req: never, res: never) => {
      const request = req as { url: string; originalUrl?: string }
      const [, tenant, rest] = TENANT.exec(request.url)!
      request.originalUrl = request.url
      request.url = rest!
      middleware(req, res, () => (res as Response).end(`orders of ${tenant}`))
    })
    expect(await read(served, ...PATHS)).toEqual(ORDERS)
  })
})

describe('a query that a layer above has taken away keeps tenants apart', () => {
  const PATHS = ['/orders?tenant=acme', '/orders?tenant=globex']
  const ORDERS = ['orders of acme', 'orders of globex']
  const tenantIn = (url: string) => new URL(url, 'http://h').searchParams.get('tenant')

  it.each(EXPRESSES)('under $name', async ({ express }) => {
    const { cached } = expressCache()
    const app = express()
    app.use((req, res, next) => {
      res.locals.tenant = tenantIn(req.url)
      req.url = '/orders'
      next()
    })
    app.get('/orders', cached(), (_req, res) => void res.send(`orders of ${res.locals.tenant}`))
    expect(await read(await serving(app), ...PATHS)).toEqual(ORDERS)
  })

  it.each(KOAS)('under $name', async ({ Koa }) => {
    const app = new Koa()
    app.use(async (ctx, next) => {
      ctx.state.tenant = tenantIn(ctx.url)
      ctx.querystring = ''
      await next()
    })
    app.use(koaCache().cached())
    app.use((ctx) => {
      ctx.body = `orders of ${ctx.state.tenant}`
    })
    expect(await read(await serving(app.callback()), ...PATHS)).toEqual(ORDERS)
  })

  it('under node:http, where req.originalUrl tells', async () => {
    const cached = nodeCache().cached()
    const served = await serving((req: never, res: never) => {
      const request = req as { url: string; originalUrl?: string }
      const tenant = tenantIn(request.url)
      request.originalUrl = request.url
      request.url = '/orders'
      cached(req, res, () => (res as Response).end(`orders of ${tenant}`))
    })
    expect(await read(served, ...PATHS)).toEqual(ORDERS)
  })
})

describe.each(EXPRESSES)('routes of $name', ({ name, express }) => {
  const everything = name === 'Express 4' ? '*' : '/*splat'

  it('that passed a request on are not those of the cache behind them', async () => {
    const { cached } = expressCache()
    const app = express()
    app.all(everything, (_req, _res, next) => next())
    app.use(cached({ name: 'pages' }))
    app.get('/:page', (req, res) => void res.send(`page ${req.params.page}`))
    expect(await read(await serving(app), '/a', '/b')).toEqual(['page a', 'page b'])
  })

  it('that passed a request on do not lend their parameters to the cache behind them', async () => {
    const { cached } = expressCache()
    const app = express()
    app.get('/items/:id', (_req, _res, next) => next())
    app.use(cached({ params: { ignore: ['utm'] } }))
    app.get('/items/:id', (req, res) => void res.send(`item ${req.params.id}`))
    expect(await read(await serving(app), '/items/1', '/items/2')).toEqual(['item 1', 'item 2'])
  })

  it('with a name stay apart by where their router is mounted', async () => {
    const { cached } = expressCache()
    const app = express()
    const router = express.Router()
    router.get('/p/:id', cached({ name: 'product' }), (req, res) => {
      res.send(`${res.locals.tenant} ${req.params.id}`)
    })
    const enter = (req: Request, res: Response, next: () => void) => {
      res.locals.tenant = req.params.tenant
      next()
    }
    app.use('/:tenant', enter as never, router)
    const paths = ['/acme/p/1', '/globex/p/1', '/acme/p/1']
    expect(await read(await serving(app), ...paths)).toEqual(['acme 1', 'globex 1', 'acme 1'])
  })

  it('of several paths stay apart where not all parameters count', async () => {
    const { cached } = expressCache()
    const app = express()
    app.get(['/a/:id/:slug', '/b/:id/:slug'], cached({ params: ['id'] }) as never, (req: Request, res: Response) => {
      res.send(req.path)
    })
    expect(await read(await serving(app), '/a/1/x', '/b/1/x')).toEqual(['/a/1/x', '/b/1/x'])
  })
})

describe.each(KOAS)('routes of $name', ({ Koa }) => {
  it('that passed a request on are not those of the cache behind them', async () => {
    const app = new Koa()
    const router = new Router()
    router.all('/{*any}', (_ctx, next) => next())
    app.use(router.routes() as never)
    app.use(koaCache().cached({ name: 'pages' }))
    app.use((ctx) => {
      ctx.body = ctx.path
    })
    expect(await read(await serving(app.callback()), '/a', '/b')).toEqual(['/a', '/b'])
  })

  it('stay apart under a named cache for the whole router', async () => {
    const app = new Koa()
    const router = new Router()
    router.use(koaCache().cached({ name: 'pages' }) as never)
    for (const path of ['/a', '/b']) {
      router.get(path, (ctx) => {
        ctx.body = path
      })
    }
    app.use(router.routes() as never)
    expect(await read(await serving(app.callback()), '/a', '/b')).toEqual(['/a', '/b'])
  })

  it.each(['//a@b#x', "//A%5B@#%5B*'", '//[#', '//u:p@h/x#y'])('answer %s as they do uncached', async (target) => {
    const answers: string[] = []
    for (const layers of [[], [koaCache().cached()]]) {
      const app = new Koa()
      app.silent = true
      for (const layer of layers) app.use(layer)
      app.use((ctx) => {
        ctx.body = 'ok'
      })
      const served = await serving(app.callback())
      answers.push((await served.target(target)).split('\r\n', 1)[0]!)
    }
    expect(answers).toEqual(['HTTP/1.1 200 OK', 'HTTP/1.1 200 OK'])
  })
})

describe('a host', () => {
  it('that is written with a scheme is not the host that is asked with that scheme', () => {
    const parts = [
      hostPart('http', 'shop.example'),
      hostPart('https', 'shop.example'),
      hostPart('http', 'https://shop.example'),
      hostPart('http', 'http://shop.example'),
      hostPart('https', 'http://shop.example'),
      hostPart('https', 'https://shop.example'),
      hostPart('http', 'http://http://shop.example'),
    ]
    expect(new Set(parts).size).toBe(parts.length)
  })

  it.each(EXPRESSES)('with a scheme in it does not answer for encrypted visitors, under $name', async ({ express }) => {
    const { cached } = expressCache()
    const app = express()
    app.use(cached())
    app.use((req, res) => {
      if (req.secure) res.send('the shop')
      else res.redirect(301, `https://${req.headers.host}${req.url}`)
    })
    const plain = await listen(app)
    const encrypted = await listen(app)
    onTestFinished(() => Promise.all([plain.close(), encrypted.close()]).then(() => {}))
    // What a terminated TLS connection looks like to Express.
    encrypted.server.on('connection', (socket: Socket) => Object.assign(socket, { encrypted: true }))
    expect((await ask(plain.url, { headers: { host: 'https://shop.example' } })).status).toBe(301)
    expect((await ask(encrypted.url, { headers: { host: 'shop.example' } })).text).toBe('the shop')
  })

  it('is the authority under HTTP/2', async () => {
    const cached = nodeCache().cached()
    const server = http2.createServer((req, res) =>
      cached(req as never, res as never, () => res.end(`for ${req.authority}`)),
    )
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const client = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    onTestFinished(() => {
      client.close()
      server.close()
    })
    const seen: string[] = []
    for (const authority of ['a.example', 'b.example', 'a.example']) {
      const stream = client.request({ ':path': '/', ':authority': authority })
      let text = ''
      for await (const chunk of stream.setEncoding('utf8')) text += chunk
      seen.push(text)
    }
    expect(seen).toEqual(['for a.example', 'for b.example', 'for a.example'])
  })
})

describe.each(KOAS)('an application of $name', ({ Koa }) => {
  it('that Express has mounted for each tenant answers each with its own', async () => {
    const { cached } = koaCache()
    const inner = new Koa()
    inner.use(cached())
    inner.use((ctx) => {
      ctx.body = `${ctx.url} of ${(ctx.req as Request).params.tenant}`
    })
    const app = express()
    app.use('/:tenant', (req, res) => inner.callback()(req, res))
    const served = await serving(app)
    expect(await read(served, '/acme/orders', '/globex/orders', '/acme/orders')).toEqual([
      '/orders of acme',
      '/orders of globex',
      '/orders of acme',
    ])
    expect((await served.get('/acme/orders')).cacheStatus).toContain('hit')
  })
})

describe('long keys do not fill the memory', () => {
  const long = (index: number) => `i=${index}&${'x'.repeat(12_000)}`
  const indices = Array.from({ length: 1000 }, (_, index) => index)

  it('where they are remembered as of no use to others', () => {
    const flights = new Flights(new ManualTime())
    for (const index of indices) flights.ground(long(index))
    const kept = indices.filter((index) => flights.isGrounded(long(index)))
    expect(kept.length * 12_000).toBeLessThanOrEqual(2_000_000)
    expect(kept).toContain(999)
  })

  it('where short ones are all remembered', () => {
    const flights = new Flights(new ManualTime())
    for (const index of indices) flights.ground(`key ${index}`)
    expect(indices.every((index) => flights.isGrounded(`key ${index}`))).toBe(true)
  })

  it('where they are remembered with what their responses vary by', () => {
    const cache = createCache({ time: new ManualTime() })
    const keyOf = (index: number) => cache.keyFromRequest('GET /', { query: long(index), headers: { accept: 'a/b' } })
    for (const index of indices)
      cache.set('GET /', { query: long(index) }, [], { headers: { Vary: 'Accept' }, body: '' }, 60)
    const kept = indices.filter((index) => keyOf(index).includes('~accept'))
    expect(kept.length * 12_000).toBeLessThanOrEqual(2_000_000)
    expect(kept).toContain(999)
  })

  it('where only bodies go to a backend of three methods', () => {
    const bytes = new Map<string, Uint8Array>()
    const cache = createCache({ backend: keyValue(bytes, { maxEntries: 1000 }), time: new ManualTime() })
    for (const index of indices) cache.set('GET /', { query: long(index) }, [], { body: '' }, 60)
    expect(bytes.size).toBeLessThanOrEqual(50)
    expect(bytes.size).toBeGreaterThan(0)
  })
})
