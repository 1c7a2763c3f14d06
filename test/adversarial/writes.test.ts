import net from 'node:net'
import Router from '@koa/router'
import type { Context, Middleware } from 'koa'
import { describe, expect, it } from 'vitest'
import { tagcache as expressCache } from '../../src/adapters/express.ts'
import { tagcache as koaCache } from '../../src/adapters/koa.ts'
import { gate } from '../support/http.ts'
import { EXPRESSES, type Handler, KOAS, STACKS, site, turns, until } from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'
import { read, serving, slowToPurge } from './support.ts'

describe.each(STACKS)('a write under $name', (stack) => {
  it('whose client has gone purges again when its handler is done', async () => {
    let price = 1
    const [begun, gone, release] = [gate(), gate(), gate()]
    const write: Handler = async ({ res }) => {
      res.once('close', () => gone.open())
      begun.open()
      await release.opened
      price = 2
      return 'written'
    }
    const { get, port } = await site(stack, {}, (app, { cached, invalidates }) => {
      app.on('GET', '/p', cached({ tags: 'p' }), () => `price ${price}`)
      app.on('PUT', '/p', invalidates('p'), write)
    })
    expect((await get('/p')).text).toBe('price 1')
    const client = net.connect(port, '127.0.0.1')
    client.write('PUT /p HTTP/1.1\r\nHost: h\r\n\r\n')
    await begun.opened
    client.destroy()
    await gone.opened
    await get('/p')
    expect((await get('/p')).text).toBe('price 1')
    release.open()
    await turns()
    expect((await get('/p')).text).toBe('price 2')
  })

  it('whose first head was refused still purges with the second', async () => {
    let price = 1
    const { get, send } = await site(stack, {}, (app, { cached, invalidates }) => {
      app.on('GET', '/', cached({ tags: 'p' }), () => `price ${price}`)
      app.raw('PUT', '/', invalidates('p'), (_req, res) => {
        price = 2
        try {
          res.writeHead(409, { 'X-Why': 'caf\u{1F600}' })
        } catch {
          res.statusCode = 200
          res.end('written')
        }
      })
    })
    await get('/')
    expect((await send('PUT', '/')).text).toBe('written')
    expect((await get('/')).text).toBe('price 2')
  })

  it('whose tags do not come purges everything when their time is over', async () => {
    const time = new ManualTime()
    let price = 1
    const { get, send, events } = await site(stack, { time }, (app, { cached, invalidates }) => {
      app.on('GET', '/', cached({ tags: 'p' }), () => `price ${price}`)
      const never = invalidates(() => new Promise<never>(() => {}))
      app.on('PUT', '/', never, () => `price is ${++price}`)
    })
    await get('/')
    let isAnswered = false
    const written = send('PUT', '/').finally(() => {
      isAnswered = true
    })
    await until(() => time.pending === 1)
    time.move(9_999)
    await turns()
    expect(isAnswered).toBe(false)
    time.move(1)
    expect((await written).text).toBe('price is 2')
    expect(time.pending).toBe(0)
    expect(events.map((event) => (event.type === 'warning' ? event.code : event.type))).toEqual(
      expect.arrayContaining(['TAGCACHE_PURGE_TAGS_FAILED', 'clear']),
    )
    expect((await get('/')).text).toBe('price 2')
  })
})

describe.each(EXPRESSES)('an answer that a later layer of $name gives', ({ express }) => {
  it('is tagged and purged by the parameters of the route', async () => {
    let price = 1
    const { cached, invalidates, cache } = expressCache()
    const app = express()
    app.get('/p/:id', cached({ tags: (req) => `product:${req.params.id}` }), (_req, res, next) => {
      res.locals.price = price
      next()
    })
    const purging = invalidates((req) => [`product:${req.params.id}`])
    app.put('/p/:id', purging as never, (_req, res, next) => {
      res.locals.price = ++price
      next()
    })
    app.use((_req, res) => void res.json(res.locals.price))
    const purged: unknown[] = []
    cache.on('invalidation', ({ tags }) => purged.push(tags))
    const { get, send } = await serving(app)
    await get('/p/1')
    expect(cache.getByTags('product:1')?.tags).toEqual(['product:1'])
    await send('PUT', '/p/1')
    expect(purged).toEqual([['product:1']])
    expect((await get('/p/1')).text).toBe('2')
  })
})

describe.each(KOAS)('an answer that a later route of $name gives', ({ Koa }) => {
  it('is tagged and purged by the parameters of the route', async () => {
    let price = 1
    const { cached, invalidates, cache } = koaCache()
    const router = new Router()
    const caching = cached({ tags: (ctx) => `product:${ctx.params.id}` })
    const purging = invalidates((ctx) => [`product:${ctx.params.id}`])
    router.get('/p/:id', caching as never, (_ctx, next) => next())
    router.put('/p/:id', purging as never, (_ctx, next) => {
      price += 1
      return next()
    })
    router.all('/:section/:key', (ctx) => {
      ctx.body = `${ctx.params.section} ${ctx.params.key} ${price}`
    })
    const purged: unknown[] = []
    cache.on('invalidation', ({ tags }) => purged.push(tags))
    const served = await serving(new Koa().use(router.routes() as never).callback())
    await served.get('/p/1')
    expect(cache.getByTags('product:1')?.tags).toEqual(['product:1'])
    await served.send('PUT', '/p/1')
    expect(purged).toEqual([['product:1']])
    expect(await read(served, '/p/1')).toEqual(['p 1 2'])
  })
})

describe('an answer that waits for its purge looks sent', () => {
  it.each(EXPRESSES)('to later layers of $name', async ({ express }) => {
    const { invalidates } = expressCache({ backend: slowToPurge() })
    const app = express()
    app.put('/', invalidates('t'), (_req, res, next) => {
      res.json({ ok: true })
      next()
    })
    app.use((_req, res) => {
      if (!res.headersSent) res.status(404).send('not found')
    })
    const { status, text } = await (await serving(app)).send('PUT', '/')
    expect([status, text]).toEqual([200, '{"ok":true}'])
  })

  it.each(STACKS)('to its handler under $name, whose further words are ignored', async (stack) => {
    const seen: unknown[] = []
    const { send } = await site(stack, { backend: slowToPurge() }, (app, { invalidates }) => {
      app.raw('PUT', '/', invalidates('t'), (_req, res) => {
        res.end('written')
        seen.push(res.headersSent, res.writableEnded, res.write(' and more'))
        res.end(' and an end')
      })
    })
    const { status, text } = await send('PUT', '/')
    expect([status, text]).toEqual([200, 'written'])
    expect(seen).toEqual([true, true, false])
  })

  it.each(STACKS)('to its handler under $name, whose later status and fields do not count', async (stack) => {
    let refusal: unknown
    const { send } = await site(stack, { backend: slowToPurge() }, (app, { invalidates }) => {
      app.raw('PUT', '/', invalidates('t'), (_req, res) => {
        res.end('written')
        res.statusCode = 500
        try {
          res.setHeader('X-Late', '1')
        } catch (error) {
          refusal = error
        }
      })
    })
    const { status, text, headers } = await send('PUT', '/')
    expect([status, text, headers['x-late']]).toEqual([200, 'written', undefined])
    expect(refusal).toMatchObject({ code: 'ERR_HTTP_HEADERS_SENT' })
  })

  it.each(KOAS)('to layers above it under $name', async ({ Koa }) => {
    const { invalidates } = koaCache({ backend: slowToPurge() })
    const app = new Koa()
    const direct: Middleware = (ctx: Context) => {
      ctx.respond = false
      ctx.res.statusCode = 200
      ctx.res.end('written')
    }
    app.use(async (ctx, next) => {
      await next()
      if (!ctx.res.headersSent) ctx.res.end('not found')
    })
    app.use(invalidates('t')).use(direct)
    expect((await (await serving(app.callback())).send('PUT', '/')).text).toBe('written')
  })
})
