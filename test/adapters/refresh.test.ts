import { createReadStream } from 'node:fs'
import { mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import http, { IncomingMessage, ServerResponse } from 'node:http'
import http2 from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Duplex, pipeline, Readable } from 'node:stream'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import Router from '@koa/router'
import compression from 'compression'
import type { NextFunction, Request, RequestHandler, Response } from 'express'
import type { Context, Middleware } from 'koa'
import compress from 'koa-compress'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tagcache as expressCache } from '../../src/adapters/express.ts'
import { tagcache as koaCache } from '../../src/adapters/koa.ts'
import { type NodeHandler, tagcache as nodeCache } from '../../src/adapters/node.ts'
import { keyValue } from '../../src/backends/key-value.ts'
import type { CacheEvent } from '../../src/index.ts'
import { AsyncMap } from '../support/backends.ts'
import { type Answer, ask, gate, listen, type Question } from '../support/http.ts'
import {
  type Call,
  type CallCacheOptions,
  type CallOptions,
  counting,
  EXPRESSES,
  KOAS,
  type Layer,
  type Reply,
  STACKS,
  site,
  turns,
  until,
} from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'

const SECOND = 1_000
const SWR = { ttl: 10, staleWhileRevalidate: '1h' } as const
const VALIDATED = 'tagcache; fwd=stale; fwd-status=304; stored'
const STALE = 'tagcache; hit; ttl=-5; detail=stale-while-revalidate'

/** A folder that is gone after the test. */
async function folder(): Promise<string> {
  const made = await mkdtemp(path.join(tmpdir(), 'tagcache-'))
  onTestFinished(() => rm(made, { recursive: true }))
  return made
}

/** An error that has its own status, as http-errors makes them. */
function createError(status: number, message = http.STATUS_CODES[status]): Error {
  return Object.assign(new Error(message), { status, statusCode: status, expose: status < 500 })
}

/** A body of more than a megabyte. */
function bytes(version: number): Buffer {
  return Buffer.alloc(1_500_000, `version ${version} `)
}

/** Files of the same size, one for each version, each of its own time. */
async function writeVersions(root: string): Promise<void> {
  for (const version of [1, 2]) {
    const file = path.join(root, `${version}.bin`)
    await writeFile(file, bytes(version))
    await utimes(file, 1_000_000_000 + version, 1_000_000_000 + version)
  }
}

async function served(listener: http.RequestListener) {
  const server = await listen(listener)
  onTestFinished(() => server.close())
  const get = (target = '/', headers: Question['headers'] = {}) => ask(server.url + target, { headers })
  return { ...server, get, send: (method: string, target = '/') => ask(server.url + target, { method }) }
}

/** The listener's answer to a request on a socket that belongs to no server. */
async function answerOf(listener: http.RequestListener, url = '/'): Promise<string> {
  const chunks: Buffer[] = []
  const socket = new Duplex({
    read() {},
    write(chunk, _encoding, done) {
      chunks.push(chunk)
      done()
    },
  })
  const req = Object.assign(new IncomingMessage(socket as Socket), { method: 'GET', url, headers: { host: 'a' } })
  req.push(null)
  const res = new ServerResponse(req)
  res.assignSocket(socket as Socket)
  const ended = new Promise((resolve) => res.once('finish', resolve))
  listener(req, res as ServerResponse<IncomingMessage> & { req: IncomingMessage })
  await ended
  return Buffer.concat(chunks).toString('latin1')
}

describe.each(EXPRESSES)('$name', ({ express }) => {
  const appWith = (route: Parameters<ReturnType<typeof expressCache>['cached']>[0], handler: RequestHandler) => {
    const time = new ManualTime()
    const { cached, cache } = expressCache({ time })
    const app = express()
    app.set('env', 'test')
    app.get('/', cached(route), handler)
    return { time, cache, app }
  }

  describe('validates with handlers that know nothing of it', () => {
    const writers: [name: string, write: (res: Response, version: number) => unknown][] = [
      ['res.json', (res, version) => res.json({ version })],
      ['res.send of a text', (res, version) => res.send(`version ${version}`)],
      ['res.send of bytes', (res, version) => res.send(Buffer.from(`version ${version}`))],
      ['res.send of an object', (res, version) => res.status(200).send({ version })],
      ['res.jsonp', (res, version) => res.jsonp({ version })],
    ]

    it.each(writers)('%s', async (_, write) => {
      let version = 1
      let runs = 0
      const { app, time } = appWith({ ttl: 60 }, (_req, res) => {
        runs += 1
        res.set('X-Run', String(runs))
        write(res, version)
      })
      const { get } = await served(app)
      const first = await get()
      time.move(70 * SECOND)
      const renewed = await get()
      expect([renewed.status, renewed.cacheStatus, runs]).toEqual([200, VALIDATED, 2])
      expect(renewed.body.equals(first.body)).toBe(true)
      expect(renewed.headers).toMatchObject({
        'content-type': first.headers['content-type'],
        'content-length': first.headers['content-length'],
        etag: first.headers.etag,
        'x-run': '2',
      })
      expect((await get()).cacheStatus).toBe('tagcache; hit; ttl=60')
      time.move(70 * SECOND)
      const own = await get('/', { 'if-none-match': first.headers.etag! })
      expect([own.status, own.text, own.cacheStatus]).toEqual([304, '', VALIDATED])
      time.move(70 * SECOND)
      version = 2
      const changed = await get('/', { 'if-none-match': first.headers.etag! })
      expect([changed.status, changed.cacheStatus]).toEqual([200, 'tagcache; fwd=stale; stored'])
      expect(changed.text).toContain('2')
      expect((await get()).text).toBe(changed.text)
    })

    it('also where a browser reloads', async () => {
      const { app, time } = appWith({ ttl: 60 }, (_req, res) => void res.json({ version: 1 }))
      const { get } = await served(app)
      const { etag } = (await get()).headers
      for (const control of ['no-cache', 'max-age=0']) {
        time.move(70 * SECOND)
        const own = await get('/', { 'if-none-match': etag!, 'cache-control': control })
        expect([own.status, own.text]).toEqual([304, ''])
        expect(await get()).toMatchObject({ text: '{"version":1}', cacheStatus: 'tagcache; hit; ttl=60' })
      }
    })
  })

  describe('express.static', () => {
    const staticSite = async (route: Parameters<ReturnType<typeof expressCache>['cached']>[0] = {}) => {
      const root = await folder()
      const time = new ManualTime()
      const { cached, cache } = expressCache({ time })
      const app = express()
      app.use('/files', cached(route), express.static(root))
      const put = async (body: string | Buffer, second: number) => {
        await writeFile(path.join(root, 'page.txt'), body)
        await utimes(path.join(root, 'page.txt'), second, second)
      }
      await put('first', 1_000_000_000)
      return { ...(await served(app)), time, cache, put }
    }

    it('is validated each time, since it says max-age=0', async () => {
      const { get, send, put } = await staticSite()
      expect((await get('/files/page.txt')).cacheStatus).toBe('tagcache; fwd=uri-miss; stored')
      const renewed = await get('/files/page.txt')
      expect([renewed.status, renewed.text, renewed.cacheStatus]).toEqual([200, 'first', VALIDATED])
      expect(renewed.headers['content-length']).toBe('5')
      expect(renewed.headers['content-type']).toMatch(/^text\/plain; charset=utf-8$/i)
      const part = await get('/files/page.txt', { range: 'bytes=1-2' })
      expect([part.status, part.text, part.headers['content-range']]).toEqual([206, 'ir', 'bytes 1-2/5'])
      const head = await send('HEAD', '/files/page.txt')
      expect([head.status, head.headers['content-length']]).toEqual([200, '5'])
      const modified = await get('/files/page.txt', { 'if-modified-since': renewed.headers['last-modified']! })
      expect([modified.status, modified.text]).toEqual([304, ''])
      await put('the second', 1_000_000_100)
      expect((await get('/files/page.txt')).text).toBe('the second')
      expect(await get('/files/page.txt')).toMatchObject({ text: 'the second', cacheStatus: VALIDATED })
    })

    it('is made anew in the background, however large', async () => {
      const { get, put, time, cache } = await staticSite(SWR)
      const bodies = [Buffer.alloc(2_500_000, 'first'), Buffer.alloc(2_400_000, 'second')]
      await put(bodies[0]!, 1_000_000_200)
      await get('/files/page.txt')
      time.move(15 * SECOND)
      expect((await get('/files/page.txt')).cacheStatus).toBe(STALE)
      await until(() => cache.stats().refreshes === 1)
      expect((await get('/files/page.txt')).cacheStatus).toBe('tagcache; hit; ttl=10')
      await put(bodies[1]!, 1_000_000_300)
      time.move(15 * SECOND)
      expect((await get('/files/page.txt')).body.equals(bodies[0]!)).toBe(true)
      await until(() => cache.stats().refreshes === 2)
      expect((await get('/files/page.txt')).body.equals(bodies[1]!)).toBe(true)
      expect(cache.stats().failedRefreshes).toBe(0)
    })

    it('a file that is gone is gone', async () => {
      const root = await folder()
      const time = new ManualTime()
      const { cached, cache } = expressCache({ time })
      const app = express()
      app.use(cached(SWR), express.static(root))
      await writeFile(path.join(root, 'page.txt'), 'here')
      const { get } = await served(app)
      await get('/page.txt')
      time.move(15 * SECOND)
      await rm(path.join(root, 'page.txt'))
      expect((await get('/page.txt')).text).toBe('here')
      await until(() => cache.stats().refreshes === 1)
      expect((await get('/page.txt')).status).toBe(404)
      expect(cache.stats()).toMatchObject({ entries: 0, failedRefreshes: 1 })
    })
  })

  describe('makes anew in the background what a handler writes with', () => {
    const writers: [name: string, write: (res: Response, version: number, root: string) => unknown][] = [
      ['res.json', (res, version) => res.json({ version })],
      ['res.send', (res, version) => res.send(`version ${version}`)],
      ['res.send of many bytes', (res, version) => res.send(bytes(version))],
      ['res.sendFile', (res, version, root) => res.sendFile(`${version}.bin`, { root })],
      ['res.download', (res, version, root) => res.download(path.join(root, `${version}.bin`))],
      ['pipe of a file', (res, version, root) => createReadStream(path.join(root, `${version}.bin`)).pipe(res)],
      [
        'pipeline of a file',
        (res, version, root) => pipeline(createReadStream(path.join(root, `${version}.bin`)), res, () => {}),
      ],
      ['res.render', (res, version) => res.render('page', { version })],
      ['res.redirect', (res, version) => res.redirect(301, `/versions/${version}`)],
      ['res.format', (res, version) => res.format({ text: () => res.send(`version ${version}`) })],
    ]

    it.each(writers)('%s', async (_, write) => {
      const root = await folder()
      await writeVersions(root)
      await writeFile(path.join(root, 'page.txt'), 'version')
      let version = 1
      const { app, time, cache } = appWith(SWR, (_req, res) => void write(res, version, root))
      app.engine('txt', (_file, options, done) => done(null, `version ${(options as { version?: number }).version}`))
      app.set('view engine', 'txt')
      app.set('views', root)
      const plain = express()
      plain.engine('txt', (_file, options, done) => done(null, `version ${(options as { version?: number }).version}`))
      plain.set('view engine', 'txt')
      plain.set('views', root)
      plain.get('/', (_req, res) => void write(res, version, root))
      const { get } = await served(app)
      const { get: getPlain } = await served(plain)
      const whole = ({ status, body, headers }: Answer) => {
        const {
          date: _date,
          age: _age,
          'cache-status': _said,
          'cache-control': _control,
          'transfer-encoding': _coding,
          'content-length': _length,
          connection: _connection,
          'keep-alive': _alive,
          etag: _tag,
          ...fields
        } = headers
        return { status, body: body.toString('latin1').slice(0, 100), size: body.length, fields }
      }
      const first = await get()
      expect(whole(first)).toEqual(whole(await getPlain()))
      time.move(15 * SECOND)
      version = 2
      const stale = await get()
      expect([stale.cacheStatus, stale.body.equals(first.body)]).toEqual([STALE, true])
      await until(() => cache.stats().refreshes === 1)
      const hit = await get()
      expect(hit.cacheStatus).toBe('tagcache; hit; ttl=10')
      expect(whole(hit)).toEqual(whole(await getPlain()))
      expect(cache.stats().failedRefreshes).toBe(0)
    })
  })

  describe('the request in the background', () => {
    const seenBy = (req: Request) => ({
      ip: req.ip,
      ips: req.ips,
      secure: req.secure,
      protocol: req.protocol,
      hostname: req.hostname,
      originalUrl: req.originalUrl,
      baseUrl: req.baseUrl,
      path: req.path,
      query: { ...req.query },
      params: { ...req.params },
      cookie: req.headers.cookie,
      xhr: req.xhr,
      accepts: req.accepts('html', 'json'),
      rawHeaders: req.get('X-Own'),
    })

    it.each([
      ['directly', undefined, {}],
      ['behind a proxy', true, { 'x-forwarded-for': '192.0.2.7, 10.0.0.1', 'x-forwarded-proto': 'https' }],
    ] as const)('shows the same client, who comes %s', async (_, trust, forwarded) => {
      const time = new ManualTime()
      const { cached, cache } = expressCache({ time })
      const app = express()
      if (trust) app.set('trust proxy', trust)
      const seen: unknown[] = []
      const above: unknown[] = []
      const shop = express.Router()
      app.use((req: Request, _res: Response, next: NextFunction) => {
        above.push(seenBy(req))
        next()
      })
      shop.get('/items/:id', cached({ ...SWR, scope: (req) => req.headers.cookie }), (req, res) => {
        seen.push(seenBy(req))
        res.send(`run ${seen.length}`)
      })
      app.use('/shop', shop)
      const server = await served(app)
      // As a server with TLS has them.
      if (!trust) server.server.on('connection', (socket) => Object.assign(socket, { encrypted: true }))
      const headers = {
        ...forwarded,
        cookie: 'session=ann',
        accept: 'application/json',
        'x-own': 'one, two',
        'x-requested-with': 'XMLHttpRequest',
      }
      const target = '/shop/items/a%2Fb?page=2&sort=%C3%A4'
      await server.get(target, headers)
      time.move(15 * SECOND)
      expect((await server.get(target, headers)).text).toBe('run 1')
      await until(() => cache.stats().refreshes === 1)
      expect(cache.stats().failedRefreshes).toBe(0)
      expect((await server.get(target, headers)).text).toBe('run 2')
      expect(seen[1]).toEqual(seen[0])
      expect(above[2]).toEqual(above[1])
      expect(seen[0]).toMatchObject({ secure: true, ip: trust ? '192.0.2.7' : '127.0.0.1', params: { id: 'a/b' } })
    })

    it('has the same client for what sessions and limits keep of him', async () => {
      const time = new ManualTime()
      const { cached, cache } = expressCache({ time })
      const users = new WeakMap<IncomingMessage, string>()
      const app = express()
      app.use((req: Request, _res: Response, next: NextFunction) => {
        users.set(req, `user of ${req.headers.cookie}`)
        next()
      })
      let runs = 0
      app.get('/', cached({ ...SWR, scope: (req) => users.get(req) }), (req, res) => {
        res.send(`run ${++runs} for ${users.get(req)}`)
      })
      const { get } = await served(app)
      await get('/', { cookie: 'ann' })
      time.move(15 * SECOND)
      await get('/', { cookie: 'ann' })
      await until(() => cache.stats().refreshes === 1)
      expect((await get('/', { cookie: 'ann' })).text).toBe('run 2 for user of ann')
      expect((await get('/', { cookie: 'bob' })).text).toBe('run 3 for user of bob')
    })
  })

  describe('where the application is called without a server', () => {
    it('makes it anew in the outermost application', async () => {
      const time = new ManualTime()
      const { cached, cache } = expressCache({ time })
      const inner = express()
      let runs = 0
      inner.get('/page', cached(SWR), (_req, res) => void res.send(`run ${++runs}`))
      const app = express()
      let visits = 0
      app.use((_req: Request, _res: Response, next: NextFunction) => {
        visits += 1
        next()
      })
      app.use('/inner', inner)
      expect(await answerOf(app, '/inner/page')).toMatch(/run 1$/)
      time.move(15 * SECOND)
      const stale = await answerOf(app, '/inner/page')
      expect(stale).toMatch(/run 1$/)
      expect(stale).toContain(`Cache-Status: ${STALE}`)
      await until(() => cache.stats().refreshes === 1)
      expect([visits, cache.stats().failedRefreshes]).toEqual([3, 0])
      expect(await answerOf(app, '/inner/page')).toMatch(/run 2$/)
    })
  })

  describe('an error', () => {
    const failing = async (fail: (req: Request, res: Response, next: NextFunction) => unknown, isOwn = false) => {
      let isFailing = false
      const { app, time, cache } = appWith({ ttl: 10, staleIfError: 600 }, (req, res, next) =>
        isFailing ? (fail(req, res, next) as undefined) : void res.send('good'),
      )
      if (isOwn) {
        app.use((error: Error, _req: Request, res: Response, _next: NextFunction) => {
          res
            .status((error as { status?: number }).status ?? 500)
            .set('X-Error', 'yes')
            .json({ error: error.message })
        })
      }
      const { get } = await served(app)
      await get()
      time.move(15 * SECOND)
      isFailing = true
      return { get, time, cache }
    }

    const failures: [
      name: string,
      fail: (req: Request, res: Response, next: NextFunction) => unknown,
      status: number,
    ][] = [
      [
        'thrown',
        () => {
          throw new Error('broken')
        },
        500,
      ],
      ['given to next', (_req, _res, next) => next(new Error('broken')), 500],
      ['given to next later', (_req, _res, next) => setImmediate(() => next(new Error('broken'))), 500],
      ['of http-errors: 503', (_req, _res, next) => next(createError(503, 'busy')), 503],
      ['of http-errors: 502', (_req, _res, next) => next(createError(502)), 502],
      [
        'after headers were set',
        (_req, res, next) => {
          res.status(201).set('X-Begun', 'yes').type('html')
          next(new Error('broken'))
        },
        500,
      ],
    ]

    it.each(failures)('%s is replaced by what is stored', async (_, fail, status) => {
      for (const isOwn of [false, true]) {
        const { get } = await failing(fail, isOwn)
        const answer = await get()
        expect([answer.status, answer.text]).toEqual([200, 'good'])
        expect(answer.cacheStatus).toBe(`tagcache; fwd=stale; fwd-status=${status}; detail=stale-if-error`)
        expect(answer.headers).toMatchObject({ 'content-type': 'text/html; charset=utf-8', 'content-length': '4' })
        for (const name of ['x-error', 'x-begun', 'content-security-policy', 'x-content-type-options']) {
          expect(answer.headers).not.toHaveProperty([name])
        }
      }
    })

    it.each([404, 400, 401, 410, 422, 429, 501])(
      'of http-errors that speaks of the request is not: %d',
      async (status) => {
        for (const isOwn of [false, true]) {
          const { get } = await failing((_req, _res, next) => next(createError(status)), isOwn)
          const answer = await get()
          expect([answer.status, answer.text.includes('good')]).toEqual([status, false])
          expect(answer.cacheStatus).toBe('tagcache; fwd=stale; detail=status')
        }
      },
    )

    it('after the first byte is the application’s own', async () => {
      const { get, cache } = await failing((_req, res, next) => {
        res.write('begun, ')
        setImmediate(() => next(new Error('broken')))
      })
      await expect(get()).rejects.toThrow()
      expect(cache.stats().stale).toBe(0)
    })

    it('of res.sendFile is replaced, unless the file is not there', async () => {
      const missing = await failing((_req, res) => res.sendFile('/nowhere/at/all'))
      expect((await missing.get()).status).toBe(404)
    })
  })
})

describe.each(EXPRESSES.slice(1))('$name', ({ express }) => {
  it('a handler that rejects is replaced by what is stored', async () => {
    const time = new ManualTime()
    const { cached } = expressCache({ time })
    const app = express()
    app.set('env', 'test')
    let runs = 0
    app.get('/', cached({ ttl: 10, staleIfError: 600 }), async (_req, res) => {
      if (++runs > 1) throw new Error('broken')
      res.send('good')
    })
    const { get } = await served(app)
    await get()
    time.move(15 * SECOND)
    const answer = await get()
    expect([answer.status, answer.text]).toEqual([200, 'good'])
    expect(answer.cacheStatus).toBe('tagcache; fwd=stale; fwd-status=500; detail=stale-if-error')
  })
})

describe.each(KOAS)('$name', ({ Koa }) => {
  const appWith = (route: Parameters<ReturnType<typeof koaCache>['cached']>[0], handler: Middleware) => {
    const time = new ManualTime()
    const { cached, cache } = koaCache({ time })
    const errors: [message: string, path: string][] = []
    const app = new Koa()
    app.on('error', (error: Error, ctx: Context) => errors.push([error.message, ctx.path]))
    const router = new Router()
    router.get('/', cached(route) as never, handler as never)
    return { time, cache, errors, app, listener: () => app.use(router.routes() as never).callback() }
  }

  it('validates with ctx.fresh', async () => {
    let version = 1
    const { listener, time } = appWith({ ttl: 60 }, (ctx) => {
      ctx.set('ETag', `"v${version}"`)
      ctx.status = 200
      if (ctx.fresh) ctx.status = 304
      else ctx.body = { version }
    })
    const { get } = await served(listener())
    await get()
    time.move(70 * SECOND)
    const renewed = await get()
    expect([renewed.status, renewed.text, renewed.cacheStatus]).toEqual([200, '{"version":1}', VALIDATED])
    expect(renewed.headers['content-type']).toBe('application/json; charset=utf-8')
    time.move(70 * SECOND)
    expect((await get('/', { 'if-none-match': '"v1"' })).status).toBe(304)
    time.move(70 * SECOND)
    version = 2
    const changed = await get('/', { 'if-none-match': '"v1"' })
    expect([changed.status, changed.text, changed.cacheStatus]).toEqual([
      200,
      '{"version":2}',
      'tagcache; fwd=stale; stored',
    ])
  })

  it('validates where a layer below compares, as koa-conditional-get does', async () => {
    const { app, listener, time } = appWith({}, (ctx) => {
      ctx.body = 'unused'
    })
    const { cached } = koaCache({ time })
    app.use(cached({ ttl: 60 }) as never)
    app.use(async (ctx, next) => {
      await next()
      if (ctx.fresh) {
        ctx.status = 304
        ctx.body = null
      }
    })
    app.use((ctx) => {
      ctx.set('Last-Modified', 'Mon, 01 Dec 2025 00:00:00 GMT')
      ctx.body = Readable.from(['in ', 'parts'])
    })
    const { get } = await served(listener())
    expect((await get('/other')).text).toBe('in parts')
    time.move(70 * SECOND)
    const renewed = await get('/other')
    expect([renewed.status, renewed.text, renewed.cacheStatus]).toEqual([200, 'in parts', VALIDATED])
    expect((await get('/other')).cacheStatus).toBe('tagcache; hit; ttl=60')
  })

  it('closes a stream in whose place what is stored is sent', async () => {
    const streams: Readable[] = []
    const { listener, time } = appWith({ ttl: 10, staleIfError: 600 }, (ctx) => {
      const stream = Readable.from(['one ', 'two'])
      streams.push(stream)
      ctx.body = stream
      if (streams.length === 2) ctx.status = 503
      if (streams.length === 3) throw new Error('broken')
    })
    const { get } = await served(listener())
    await get()
    for (let run = 2; run <= 3; run++) {
      time.move(15 * SECOND)
      expect((await get()).text).toBe('one two')
      await until(() => streams[run - 1]!.destroyed)
    }
  })

  describe('makes anew in the background', () => {
    const bodies: [name: string, body: (version: number, root: string) => unknown][] = [
      ['a text', (version) => `version ${version}`],
      ['JSON', (version) => ({ version })],
      ['bytes', (version) => bytes(version)],
      ['a stream', (version) => Readable.from([`version `, `${version}`])],
      ['a file', (version, root) => createReadStream(path.join(root, `${version}.bin`))],
    ]

    it.each(bodies)('%s', async (_, bodyOf) => {
      const root = await folder()
      await writeVersions(root)
      let version = 1
      const { listener, time, cache } = appWith(SWR, (ctx) => {
        ctx.body = bodyOf(version, root)
      })
      const { get } = await served(listener())
      const first = await get()
      time.move(15 * SECOND)
      version = 2
      const stale = await get()
      expect([stale.cacheStatus, stale.body.equals(first.body)]).toEqual([STALE, true])
      await until(() => cache.stats().refreshes === 1)
      const hit = await get()
      expect(hit.cacheStatus).toBe('tagcache; hit; ttl=10')
      expect(hit.body.toString().slice(0, 20).replaceAll('2', '1')).toBe(first.body.toString().slice(0, 20))
      expect(hit.body.equals(first.body)).toBe(false)
      expect([hit.body.length, hit.headers['content-type']]).toEqual([first.body.length, first.headers['content-type']])
      expect(cache.stats().failedRefreshes).toBe(0)
    })

    it('for the same client', async () => {
      const seenBy = (ctx: Context) => ({
        ip: ctx.ip,
        secure: ctx.secure,
        host: ctx.host,
        href: ctx.href,
        query: { ...ctx.query },
        session: ctx.cookies.get('session'),
        language: ctx.acceptsLanguages('en', 'de'),
      })
      const seen: unknown[] = []
      const { app, listener, time, cache } = appWith({ ...SWR, scope: (ctx) => ctx.cookies.get('session') }, (ctx) => {
        seen.push(seenBy(ctx as Context))
        ctx.body = `run ${seen.length}`
      })
      app.proxy = true
      const { get } = await served(listener())
      const headers = {
        cookie: 'session=ann',
        'accept-language': 'de',
        'x-forwarded-for': '192.0.2.7',
        'x-forwarded-proto': 'https',
      }
      await get('/?page=2', headers)
      time.move(15 * SECOND)
      expect((await get('/?page=2', headers)).text).toBe('run 1')
      await until(() => cache.stats().refreshes === 1)
      expect((await get('/?page=2', headers)).text).toBe('run 2')
      expect(seen[1]).toEqual(seen[0])
      expect(seen[0]).toMatchObject({ ip: '192.0.2.7', secure: true, session: 'ann', language: 'de' })
    })

    it('where the application is called without a server', async () => {
      let runs = 0
      const { listener, time, cache } = appWith(SWR, (ctx) => {
        ctx.body = `run ${++runs}`
      })
      const callback = listener()
      expect(await answerOf(callback)).toMatch(/run 1$/)
      time.move(15 * SECOND)
      expect(await answerOf(callback)).toMatch(/run 1$/)
      await until(() => cache.stats().refreshes === 1)
      expect(await answerOf(callback)).toMatch(/run 2$/)
      expect(cache.stats().failedRefreshes).toBe(0)
    })
  })

  describe('an error', () => {
    const failing = async (fail: Middleware, above?: Middleware) => {
      let isFailing = false
      const made = appWith({ ttl: 10, staleIfError: 600 }, (ctx, next) => {
        if (isFailing) return fail(ctx, next)
        ctx.body = 'good'
      })
      if (above) made.app.use(above)
      const { get } = await served(made.listener())
      await get()
      made.time.move(15 * SECOND)
      isFailing = true
      return { ...made, get }
    }

    it.each([
      [
        'an error',
        () => {
          throw new Error('broken')
        },
        'broken',
      ],
      ['a rejection', async () => Promise.reject(new Error('broken')), 'broken'],
      ['ctx.throw(503)', (ctx) => ctx.throw(503, 'busy'), 'busy'],
      ['ctx.throw(500)', (ctx) => ctx.throw(500, 'broken'), 'broken'],
    ] as [string, Middleware, string][])(
      'is told to the application, and replaced by what is stored: %s',
      async (_, fail, message) => {
        const { get, errors, cache } = await failing(fail)
        const events: CacheEvent[] = []
        cache.on('failure', (event) => events.push(event))
        const answer = await get()
        expect([answer.status, answer.text]).toEqual([200, 'good'])
        expect(answer.cacheStatus).toMatch(/^tagcache; fwd=stale; (fwd-status=50\d; )?detail=stale-if-error$/)
        expect(errors).toEqual([[message, '/']])
        expect(events).toMatchObject([{ type: 'failure', route: 'GET /', error: { message } }])
      },
    )

    it.each([400, 404, 410, 429, 501])('that speaks of the request is not replaced: ctx.throw(%d)', async (status) => {
      const { get, cache } = await failing((ctx) => ctx.throw(status, 'not you'))
      const answer = await get()
      expect([answer.status, answer.text.includes('good')]).toEqual([status, false])
      expect(answer.cacheStatus).toMatch(/^tagcache; fwd=stale; detail=/)
      expect(cache.stats().stale).toBe(0)
    })

    it('is not seen by the layers above, who see what is stored', async () => {
      const seen: unknown[] = []
      const { get } = await failing(
        () => {
          throw new Error('broken')
        },
        async (ctx, next) => {
          ctx.set('X-Request-Id', '7')
          await next()
          seen.push([ctx.status, String(ctx.body)])
        },
      )
      const answer = await get()
      expect(seen).toEqual([
        [200, 'good'],
        [200, 'good'],
      ])
      expect(answer.headers['x-request-id']).toBe('7')
    })

    it('in the background is told to the application', async () => {
      let runs = 0
      const { listener, time, cache, errors } = appWith(SWR, (ctx) => {
        if (++runs > 1) throw new Error('broken')
        ctx.body = 'good'
      })
      const { get } = await served(listener())
      await get()
      time.move(15 * SECOND)
      expect((await get()).text).toBe('good')
      await until(() => cache.stats().refreshes === 1)
      expect(errors).toEqual([['broken', '/']])
      expect(cache.stats()).toMatchObject({ failedRefreshes: 1, entries: 1 })
    })
  })
})

describe('node:http', () => {
  const wrapped = (options: Parameters<ReturnType<typeof nodeCache>['cached']>[0], handler: http.RequestListener) => {
    const time = new ManualTime()
    const { cached, cache } = nodeCache({ time })
    const layer: NodeHandler = cached(options)
    const events: CacheEvent[] = []
    cache.on('failure', (event) => events.push(event))
    const listener = (req: IncomingMessage, res: ServerResponse) => layer(req, res, () => handler(req, res as never))
    return { time, cache, events, listener: listener as http.RequestListener }
  }

  it('a request on a socket of no server is never answered with what is stale', async () => {
    let runs = 0
    const { listener, time, cache } = wrapped(SWR, (_req, res) => res.end(`run ${++runs}`))
    expect(await answerOf(listener)).toMatch(/run 1$/)
    time.move(15 * SECOND)
    expect(await answerOf(listener)).toMatch(/run 2$/)
    expect(cache.stats()).toMatchObject({ refreshes: 0, stale: 0 })
  })

  const failures: [name: string, fail: () => unknown][] = [
    [
      'throws',
      () => {
        throw new Error('broken')
      },
    ],
    ['rejects', () => Promise.reject(new Error('broken'))],
  ]

  it.each(failures)('a handler that %s is replaced by what is stored', async (_, fail) => {
    let runs = 0
    const { listener, time, events } = wrapped({ ttl: 10, staleIfError: 600 }, (_req, res) => {
      if (++runs > 1) return fail() as undefined
      res.end('good')
    })
    const { get } = await served(listener)
    await get()
    time.move(15 * SECOND)
    const answer = await get()
    expect([answer.status, answer.text]).toEqual([200, 'good'])
    expect(answer.cacheStatus).toMatch(/^tagcache; fwd=stale; (fwd-status=500; )?detail=stale-if-error$/)
    expect(events).toMatchObject([{ type: 'failure', error: { message: 'broken' } }])
  })

  it('what a handler throws where nothing is stored is thrown on', () => {
    const { cached } = nodeCache({ time: new ManualTime() })
    const layer = cached({ staleIfError: 600 })
    const req = Object.assign(new IncomingMessage(new Duplex() as Socket), { method: 'GET', url: '/', headers: {} })
    const error = new Error('broken')
    const fail = () => {
      throw error
    }
    expect(() => layer(req, new ServerResponse(req), fail)).toThrow(error)
  })

  it('serves stale and makes anew over HTTP/2', async () => {
    const time = new ManualTime()
    const { cached, cache } = nodeCache({ time })
    const layer = cached(SWR) as unknown as (req: unknown, res: unknown, next: () => void) => void
    let runs = 0
    const hosts: unknown[] = []
    const server = http2.createServer((req, res) => {
      layer(req, res, () => {
        hosts.push(req.headers[':authority'])
        res.end(`run ${++runs}`)
      })
    })
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
    const client = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    onTestFinished(() => {
      client.destroy()
      server.close()
    })
    const get = () =>
      new Promise<string>((resolve, reject) => {
        const stream = client.request({ ':path': '/' })
        let text = ''
        stream.setEncoding('utf8')
        stream.on('data', (chunk) => {
          text += chunk
        })
        stream.on('end', () => resolve(text))
        stream.on('error', reject)
      })
    expect(await get()).toBe('run 1')
    time.move(15 * SECOND)
    expect(await get()).toBe('run 1')
    await until(() => cache.stats().refreshes === 1)
    expect(cache.stats().failedRefreshes).toBe(0)
    expect(await get()).toBe('run 2')
    expect(hosts[1]).toBe(hosts[0])
  })
})

describe.each(STACKS)('$name', (stack) => {
  it('over a backend that answers with promises: validates, replaces errors, purges', async () => {
    const time = new ManualTime()
    const options = { time, backend: keyValue(new AsyncMap(), { time }) } as CallCacheOptions
    let version = 1
    let isFailing = false
    let runs = 0
    const { get, cache } = await site(stack, options, (app, { cached }) => {
      app.on('GET', '/', cached({ ttl: 10, staleIfError: 600, tags: 'page' }), ({ req }) => {
        runs += 1
        if (isFailing) return { status: 503, body: 'busy' }
        const headers = { ETag: `"v${version}"` }
        if (req.headers['if-none-match'] === headers.ETag) return { status: 304, headers }
        return { headers, body: `version ${version}` }
      })
    })
    await get('/')
    time.move(15 * SECOND)
    expect(await get('/')).toMatchObject({ text: 'version 1', cacheStatus: VALIDATED })
    expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=10')
    time.move(15 * SECOND)
    isFailing = true
    expect(await get('/')).toMatchObject({ status: 200, text: 'version 1' })
    expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=-5; detail=stale-if-error')
    expect(runs).toBe(3)
    version = 2
    await cache.invalidateTags('page')
    expect((await get('/')).status).toBe(503)
    isFailing = false
    expect((await get('/')).text).toBe('version 2')
  })

  it.each(['its tag', 'everything'])(
    'over a backend that answers with promises, keeps no refresh that was purged meanwhile: %s',
    async (what) => {
      const time = new ManualTime()
      const options = { time, backend: keyValue(new AsyncMap(), { time }) } as CallCacheOptions
      const held = gate()
      const handler = counting(async (text) => {
        if (text === 'run 2') await held.opened
        return text
      })
      const { get, cache } = await site(stack, options, (app, { cached }) =>
        app.on('GET', '/', cached({ ...SWR, tags: 'page' }), handler),
      )
      await get('/')
      time.move(15 * SECOND)
      expect((await get('/')).cacheStatus).toBe(STALE)
      await until(() => handler.runs() === 2)
      await (what === 'everything' ? cache.clear() : cache.invalidateTags('page'))
      held.open()
      await until(() => cache.stats().refreshes === 1)
      expect(cache.stats().failedRefreshes).toBe(1)
      expect((await get('/')).text).toBe('run 3')
    },
  )

  it('makes one refresh also where nobody waits for others', async () => {
    const time = new ManualTime()
    const held = gate()
    const handler = counting(async (text) => {
      if (text !== 'run 1') await held.opened
      return text
    })
    const { get, cache } = await site(stack, { time }, (app, { cached }) =>
      app.on('GET', '/', cached({ ...SWR, coalesce: false }), handler),
    )
    await get('/')
    time.move(15 * SECOND)
    await Promise.all(Array.from({ length: 20 }, () => get('/')))
    held.open()
    await until(() => cache.stats().refreshes === 1)
    await turns()
    expect(handler.runs()).toBe(2)
  })

  it('keeps to what the new response varies on', async () => {
    const time = new ManualTime()
    const handler = counting((body, { req }) =>
      body === 'run 1'
        ? body
        : { headers: { Vary: 'Accept-Language' }, body: `${body} in ${req.headers['accept-language']}` },
    )
    const { get, cache } = await site(stack, { time }, (app, { cached }) => app.on('GET', '/', cached(SWR), handler))
    await get('/')
    time.move(15 * SECOND)
    expect((await get('/', { 'accept-language': 'en' })).text).toBe('run 1')
    await until(() => cache.stats().refreshes === 1)
    expect((await get('/', { 'accept-language': 'en' })).text).toBe('run 2 in en')
    expect((await get('/', { 'accept-language': 'de' })).text).toBe('run 3 in de')
  })

  it('passes what rewrites the URL as the client’s request did', async () => {
    const time = new ManualTime()
    const { cached, cache } = stack.tools({ time })
    const rewrite = (req: IncomingMessage & { originalUrl?: string }) => {
      req.originalUrl ??= req.url!
      req.url = req.url!.replace(/^\/cut/, '')
    }
    const app = stack.app()
    // Frameworks with routes of their own find these when the layers before have run; the others at once.
    if (stack.hasPatterns) app.use(stack.before(({ req }) => rewrite(req)))
    app.on('GET', '/cut/page', cached(SWR), counting())
    app.on('GET', '/page', () => 'another page')
    const inner = app.listener()
    const { get } = await served((req, res) => {
      if (!stack.hasPatterns) rewrite(req)
      inner(req, res)
    })
    expect((await get('/cut/cut/page')).text).toBe('run 1')
    time.move(15 * SECOND)
    expect((await get('/cut/cut/page')).text).toBe('run 1')
    await until(() => cache.stats().refreshes === 1)
    expect((await get('/cut/cut/page')).text).toBe('run 2')
    expect(cache.stats().failedRefreshes).toBe(0)
  })

  it('of two caches in one chain, the outer one gets what is new from the inner one', async () => {
    const time = new ManualTime()
    const inner = stack.tools({ time, cacheName: 'inner' })
    const handler = counting()
    const { get, cache: outer } = await site(stack, { time, cacheName: 'outer' }, (app, { cached }) => {
      app.on('GET', '/', cached(SWR), inner.cached(SWR), handler)
    })
    await get('/')
    time.move(15 * SECOND)
    expect((await get('/')).text).toBe('run 1')
    await until(() => outer.stats().refreshes === 1)
    expect(outer.stats().failedRefreshes).toBe(0)
    expect((await get('/')).text).toBe('run 2')
    expect([handler.runs(), inner.cache.stats().refreshes]).toEqual([2, 0])
    // Purged in the outer one alone, the inner one answers.
    outer.clear()
    expect((await get('/')).text).toBe('run 2')
  })

  it('an inner cache is made anew through an outer one', async () => {
    const time = new ManualTime()
    const inner = stack.tools({ time, cacheName: 'inner' })
    const handler = counting()
    const { get, cache: outer } = await site(stack, { time, cacheName: 'outer' }, (app, { cached }) => {
      app.on('GET', '/', cached({ ttl: 1 }), inner.cached(SWR), handler)
    })
    await get('/')
    time.move(15 * SECOND)
    expect((await get('/')).text).toBe('run 1')
    await until(() => inner.cache.stats().refreshes === 1)
    expect(inner.cache.stats().failedRefreshes).toBe(0)
    time.move(2 * SECOND)
    expect((await get('/')).text).toBe('run 2')
    expect([handler.runs(), outer.stats().refreshes]).toEqual([2, 0])
  })

  describe.each(['above', 'below'])('with compression %s the cache', (place) => {
    const packed = (stack.kind === 'koa'
      ? compress({ threshold: 0 })
      : compression({ threshold: 0 })) as unknown as Layer
    const text = (version: number) => `version ${version} `.repeat(200)
    const unpacked = ({ body, headers }: Answer) => {
      const coding = headers['content-encoding']
      if (coding === 'br') return brotliDecompressSync(body).toString()
      return coding === 'gzip' ? gunzipSync(body).toString() : body.toString()
    }

    const packedSite = async (route: CallOptions, handler: (call: Call) => Reply) => {
      const time = new ManualTime()
      const made = await site(stack, { time }, (app, { cached }) => {
        if (place === 'above') app.use(packed)
        app.on('GET', '/', cached(route), ...(place === 'below' ? [packed] : []), handler)
      })
      const read = async (coding: string) => {
        const answer = await made.get('/', { 'accept-encoding': coding })
        return [answer.status, unpacked(answer), answer.headers['content-encoding']]
      }
      return { ...made, time, read }
    }

    it('what is validated, or takes the place of an error, is what it says', async () => {
      let isFailing = false
      const { read, time } = await packedSite({ ttl: 10, staleIfError: 600 }, ({ req }) => {
        if (isFailing) return { status: 503, headers: { 'Content-Type': 'text/plain' }, body: 'busy '.repeat(500) }
        const headers = { ETag: '"v1"', 'Content-Type': 'text/plain' }
        return req.headers['if-none-match'] === '"v1"' ? { status: 304, headers } : { headers, body: text(1) }
      })
      const codings = [
        ['gzip', 'gzip'],
        ['identity', undefined],
      ] as const
      for (const [accepted, coding] of codings) expect(await read(accepted)).toEqual([200, text(1), coding])
      for (const isBroken of [false, true]) {
        isFailing = isBroken
        time.move(15 * SECOND)
        for (const [accepted, coding] of codings) expect(await read(accepted)).toEqual([200, text(1), coding])
      }
    })

    it('what is made anew in the background is what it says', async () => {
      let version = 1
      const { read, time, cache } = await packedSite(SWR, () => ({
        headers: { 'Content-Type': 'text/plain' },
        body: text(version),
      }))
      await read('gzip')
      time.move(15 * SECOND)
      version = 2
      expect(await read('gzip')).toEqual([200, text(1), 'gzip'])
      await until(() => cache.stats().refreshes === 1)
      expect(cache.stats().failedRefreshes).toBe(0)
      expect(await read('gzip')).toEqual([200, text(2), 'gzip'])
      expect(await read('identity')).toEqual([200, text(2), undefined])
    })
  })

  it('is finished although its client has gone', async () => {
    const time = new ManualTime()
    const held = gate()
    const handler = counting(async (text) => {
      if (text === 'run 2') await held.opened
      return text
    })
    const { get, cache, server } = await site(stack, { time }, (app, { cached }) =>
      app.on('GET', '/', cached(SWR), handler),
    )
    await get('/')
    time.move(15 * SECOND)
    const request = http.get(server.url, { agent: false }).on('error', () => {})
    await until(() => handler.runs() === 2)
    request.destroy()
    server.server.closeAllConnections()
    await turns()
    held.open()
    await until(() => cache.stats().refreshes === 1)
    expect(cache.stats().failedRefreshes).toBe(0)
    expect((await get('/')).text).toBe('run 2')
  })

  it('a validation whose client has gone leaves what is stored for those who wait', async () => {
    const time = new ManualTime()
    const held = gate()
    let runs = 0
    const asked: unknown[] = []
    const { get, server } = await site(stack, { time }, (app, { cached }) =>
      app.on('GET', '/', cached({ ttl: 10 }), async ({ req }) => {
        asked.push(req.headers['if-none-match'])
        if (++runs === 2) await held.opened
        const headers = { ETag: '"v1"' }
        return asked.at(-1) === '"v1"' ? { status: 304, headers } : { headers, body: 'hello' }
      }),
    )
    await get('/')
    time.move(15 * SECOND)
    const request = http.get(server.url, { agent: false }).on('error', () => {})
    await until(() => runs === 2)
    const timers = time.pending
    const waiting = [get('/'), get('/')]
    await until(() => time.pending === timers + 2)
    request.destroy()
    for (const answer of await Promise.all(waiting)) expect([answer.status, answer.text]).toEqual([200, 'hello'])
    expect(asked.slice(1)).toEqual(['"v1"', '"v1"', '"v1"'])
    expect(await get('/')).toMatchObject({ text: 'hello', cacheStatus: 'tagcache; hit; ttl=10' })
    // What is answered to nobody comes too late to say anything of what was stored since.
    held.open()
    await turns()
    expect(await get('/')).toMatchObject({ text: 'hello', cacheStatus: 'tagcache; hit; ttl=10' })
  })

  it('a handler that stops midway is given up after a minute', async () => {
    const time = new ManualTime()
    let runs = 0
    const closed: number[] = []
    const { get, cache, events } = await site(stack, { time }, (app, { cached }) => {
      app.raw('GET', '/', cached(SWR), (_req, res) => {
        const run = ++runs
        res.on('close', () => closed.push(run))
        res.write(`run ${run}`)
        if (run !== 2) res.end()
      })
    })
    await get('/')
    time.move(15 * SECOND)
    expect((await get('/')).text).toBe('run 1')
    await until(() => runs === 2)
    time.move(60 * SECOND)
    await until(() => cache.stats().refreshes === 1)
    expect(events.filter(({ type }) => type === 'refresh')).toMatchObject([{ stored: false, reason: 'timeout' }])
    await turns()
    expect(closed.filter((run) => run === 2)).toEqual([2])
    time.move(SECOND)
    expect((await get('/')).text).toBe('run 1')
    await until(() => cache.stats().refreshes === 2)
    expect((await get('/')).text).toBe('run 3')
  })

  it('tells a handler once of the end of its response, and nothing piles up', async () => {
    const time = new ManualTime()
    const told: string[] = []
    const { get, cache } = await site(stack, { time }, (app, { cached }) => {
      app.raw('GET', '/', cached(SWR), (req, res) => {
        for (const event of ['finish', 'close', 'error']) res.on(event, () => told.push(`response ${event}`))
        req.on('error', () => told.push('request error'))
        res.end('done', () => told.push('callback'))
      })
    })
    await get('/')
    await turns()
    const first = told.splice(0)
    time.move(15 * SECOND)
    await get('/')
    await until(() => cache.stats().refreshes === 1)
    await turns()
    expect([...told].sort()).toEqual([...first].sort())
    expect(time.pending).toBe(0)
  })

  it('that was given up says nothing of what was stored since', async () => {
    const time = new ManualTime()
    const held = gate()
    const handler = counting(async (text) => {
      if (text !== 'run 2') return text
      await held.opened
      return { status: 404, body: 'gone' }
    })
    const { get, cache } = await site(stack, { time }, (app, { cached }) => app.on('GET', '/', cached(SWR), handler))
    await get('/')
    time.move(15 * SECOND)
    await get('/')
    await until(() => handler.runs() === 2)
    time.move(60 * SECOND)
    await until(() => cache.stats().refreshes === 1)
    time.move(SECOND)
    await get('/')
    await until(() => cache.stats().refreshes === 2)
    held.open()
    await turns()
    expect(await get('/')).toMatchObject({ text: 'run 3', cacheStatus: 'tagcache; hit; ttl=10' })
  })

  it('of a cache that was closed meanwhile nothing is kept', async () => {
    const time = new ManualTime()
    const held = gate()
    const handler = counting(async (text) => {
      if (text === 'run 2') await held.opened
      return text
    })
    const { get, cache, events } = await site(stack, { time }, (app, { cached }) =>
      app.on('GET', '/', cached(SWR), handler),
    )
    await get('/')
    time.move(15 * SECOND)
    await get('/')
    await until(() => handler.runs() === 2)
    await cache.close()
    held.open()
    await turns()
    expect(await get('/')).toMatchObject({ text: 'run 3', cacheStatus: 'tagcache; fwd=bypass; detail=closed' })
    expect(cache.stats().entries).toBe(0)
    expect(events.filter(({ type }) => type === 'fault')).toEqual([])
  })
})
