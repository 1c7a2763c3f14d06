import http from 'node:http'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import express, { type Request, type Response } from 'express'
import Koa, { type Context } from 'koa'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { tagcache as koaCache } from '../../src/adapters/koa.ts'
import type { TagBackend } from '../../src/backends/backend.ts'
import { memory } from '../../src/backends/memory.ts'
import { redis } from '../../src/backends/redis/redis.ts'
import { type CacheEvent, type CacheOptions, createCache } from '../../src/index.ts'
import { Overridden } from '../support/backends.ts'
import { type Answer, ask, listen } from '../support/http.ts'
import { type RelayedRedis, startRedis, until } from '../support/redis.ts'
import { type RedisLibrary, redisLibraries } from '../support/redis-clients.ts'
import { exchange, requestText } from '../support/wire.ts'

// Longer than by default, so that a busy machine does not pass for one that is away.
const DEADLINE = 500
// What a machine that others load as well may be late by.
const SLACK = 600
const [ioredis] = redisLibraries as [RedisLibrary]

const TOLD =
  'The write is done, but responses that it made wrong may still be served elsewhere: their purge is not delivered yet.\n'

const OWN = {
  ETag: '"own"',
  'Last-Modified': 'Sat, 01 Jan 2000 00:00:00 GMT',
  Location: '/elsewhere',
  'Content-Language': 'en',
  'Content-Location': '/item',
  'Cache-Control': 'max-age=60',
  'X-Own': 'kept',
}

const ANSWERS: Record<string, (req: Request, res: Response) => unknown> = {
  send: (_req, res) => res.status(201).set(OWN).send('done'),
  json: (_req, res) => res.json({ done: true }),
  end: (_req, res) => res.set({ ...OWN, 'Content-Length': '4' }).end('done'),
  empty: (_req, res) => res.sendStatus(204),
  redirect: (_req, res) => res.redirect(303, '/elsewhere'),
  writeHead: (_req, res) => res.writeHead(200, { ...OWN, 'Content-Length': 4 }).end('done'),
  bareHead: (_req, res) => res.writeHead(204).end(),
  flush: (_req, res) => {
    res.flushHeaders()
    res.end('done')
  },
  write: (_req, res) => {
    res.write('do')
    setTimeout(() => res.end('ne'), 20)
  },
  slow: (_req, res) => {
    res.write('do')
    setTimeout(() => res.write('n'), 300)
    setTimeout(() => res.end('e'), 600)
  },
  pipe: (_req, res) => Readable.from(['do', 'ne']).pipe(res),
  failing: (_req, res) => res.status(409).send('not done'),
}

interface Site {
  readonly port: number
  readonly url: string
  readonly cache: ReturnType<typeof tagcache>['cache']
  readonly events: CacheEvent[]
  put(path: string): Promise<Answer & { readonly took: number }>
  get(path?: string): Promise<Answer>
  states(): string[]
}

async function siteAt(port: number, more: Partial<CacheOptions<never>> = {}): Promise<Site> {
  const client = await ioredis.connect(port)
  onTestFinished(() => ioredis.close(client))
  const { cache, cached, invalidates } = tagcache({
    backend: redis(client),
    backendTimeout: DEADLINE / 1000,
    ...(more as CacheOptions),
  })
  onTestFinished(async () => void (await Promise.race([cache.close(), sleep(1000)])))
  const app = express().set('env', 'test')
  app.get('/item', cached({ host: false, ttl: '1h', tags: 'item' }), (_req, res) => void res.send(String(version)))
  const answer = (req: Request, res: Response) => {
    version += 1
    ANSWERS[req.params.how as string]!(req, res)
  }
  app.put('/fail/:how', invalidates('item', { onError: 'fail' }), answer)
  app.put('/continue/:how', invalidates('item'), answer)
  app.put('/both/:how', invalidates('one', { onError: 'fail' }), invalidates('item', { onError: 'continue' }), answer)
  app.put('/outer/:how', invalidates('one'), invalidates('item', { onError: 'fail' }), answer)
  const server = await listen(app)
  onTestFinished(() => server.close())
  const events: CacheEvent[] = []
  cache.on((event) => events.push(event))
  return {
    port: server.port,
    url: server.url,
    cache,
    events,
    async put(path) {
      const begun = performance.now()
      const asked = await ask(server.url + path, { method: 'PUT' })
      return { ...asked, took: performance.now() - begun }
    },
    get: (path = '/item') => ask(server.url + path),
    states: () => events.flatMap((event) => (event.type === 'backend' ? [event.state] : [])),
  }
}

let version = 1
let server: RelayedRedis
beforeEach(async () => {
  version = 1
  server = await startRedis({ relay: true })
  return () => server.stop()
})

const WHOLE = ['send', 'json', 'end', 'empty', 'redirect'] as const
const BEGUN = ['writeHead', 'bareHead', 'flush', 'write', 'slow', 'pipe'] as const

describe.each(['cut', 'freeze'] as const)("onError: 'fail', while Redis is away (%s)", (fault) => {
  it.each(WHOLE)('tells the writer, and nothing of what the handler said of its answer: %s', async (how) => {
    const site = await siteAt(server.port)
    expect((await site.put(`/fail/${how}`)).status).toBeLessThan(400)
    await server.relay[fault]()
    const { status, statusMessage, text, headers, took } = await site.put(`/fail/${how}`)
    expect([status, statusMessage, text]).toEqual([503, 'Service Unavailable', TOLD])
    expect(took).toBeLessThan(DEADLINE + SLACK)
    expect(headers).toMatchObject({ 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store' })
    const left = Object.keys(headers).filter((name) =>
      /^(?:content-(?!type|length)|etag|last-mod|location|trailer)/.test(name),
    )
    expect(left).toEqual([])
    expect(Number(headers['content-length'] ?? TOLD.length)).toBe(TOLD.length)
    if (how === 'send') expect(headers['x-own']).toBe('kept')
    // The write has happened.
    expect(version).toBe(3)
  })

  it.each(BEGUN)(
    'closes the connection of an answer that has begun, before anything of it is seen: %s',
    async (how) => {
      const site = await siteAt(server.port)
      expect((await site.put(`/fail/${how}`)).status).toBeLessThan(400)
      await server.relay[fault]()
      expect(await exchange(site.port, requestText('PUT', `/fail/${how}`))).toBe('')
      expect(version).toBe(3)
    },
  )

  it('leaves the answer to a write that did not happen', async () => {
    const site = await siteAt(server.port)
    await server.relay[fault]()
    expect(await site.put('/fail/failing')).toMatchObject({ status: 409, text: 'not done' })
    expect(site.events.filter(({ type }) => type === 'invalidation')).toEqual([])
  })

  it('counts where any of several purges asks for it', async () => {
    const site = await siteAt(server.port)
    await server.relay[fault]()
    for (const path of ['/both/send', '/outer/send']) {
      expect(await site.put(path)).toMatchObject({ status: 503, text: TOLD })
    }
  })

  it('leaves the connection of a client usable after an answer that was whole', async () => {
    const site = await siteAt(server.port)
    await server.relay[fault]()
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    onTestFinished(() => agent.destroy())
    const statuses: unknown[] = []
    for (const path of ['/fail/send', '/continue/send', '/fail/json']) {
      statuses.push(
        await new Promise((resolve, reject) => {
          const request = http.request(site.url + path, { method: 'PUT', agent }, (response) => {
            response.resume().on('end', () => resolve([response.statusCode, request.reusedSocket]))
          })
          request.on('error', reject).end()
        }),
      )
    }
    expect(statuses).toEqual([
      [503, false],
      [201, true],
      [503, true],
    ])
  })

  it('is kept for Koa as well', async () => {
    const client = await ioredis.connect(server.port)
    onTestFinished(() => ioredis.close(client))
    const { cache, invalidates } = koaCache({ backend: redis(client), backendTimeout: DEADLINE / 1000 })
    onTestFinished(async () => void (await Promise.race([cache.close(), sleep(1000)])))
    const app = new Koa()
    app.silent = true
    app.use(async (ctx, next) => {
      ctx.set('X-Outer', 'kept')
      await next()
    })
    app.use(invalidates('item', { onError: 'fail' }))
    app.use((ctx: Context) => {
      version += 1
      if (ctx.path === '/raw') {
        ctx.respond = false
        ctx.res.writeHead(200)
        return void ctx.res.end('done')
      }
      ctx.set(OWN)
      ctx.body = ctx.path === '/stream' ? Readable.from(['do', 'ne']) : { done: true }
      ctx.status = 201
    })
    const site = await listen(app.callback())
    onTestFinished(() => site.close())
    expect((await ask(`${site.url}/`, { method: 'PUT' })).status).toBe(201)
    await server.relay[fault]()
    for (const path of ['/', '/stream']) {
      const { status, text, headers } = await ask(site.url + path, { method: 'PUT' })
      expect([status, text]).toEqual([503, TOLD])
      for (const name of ['etag', 'last-modified', 'location', 'content-language', 'content-location'])
        expect([name, headers[name]]).toEqual([name, undefined])
      expect(headers['cache-control']).toBe('no-store')
      expect(Number(headers['content-length'] ?? TOLD.length)).toBe(TOLD.length)
    }
    expect(await exchange(site.port, requestText('PUT', '/raw'))).toBe('')
    expect(version).toBe(5)
  })
})

describe("onError: 'continue', which is the default", () => {
  it('answers what the handler said, and tells that the purge is not delivered', async () => {
    for (const fault of ['cut', 'freeze'] as const) {
      const site = await siteAt(server.port)
      await server.relay[fault]()
      const { status, text, headers, took } = await site.put('/continue/send')
      expect([status, text, headers.etag]).toEqual([201, 'done', '"own"'])
      expect(took).toBeLessThan(DEADLINE + SLACK)
      expect(site.events).toContainEqual({
        type: 'invalidation',
        tags: ['item'],
        uris: expect.anything(),
        isDelivered: false,
      })
      expect((await site.put('/continue/write')).text).toBe('done')
      expect((await site.put('/continue/writeHead')).text).toBe('done')
      await server.relay.heal()
    }
  })

  it('is followed by a delivery that nobody has to ask for, and events tell of all of it in order', async () => {
    const site = await siteAt(server.port, { backendPause: '200ms' })
    const other = await siteAt(server.ownPort)
    await site.get()
    expect(await other.get()).toMatchObject({ text: '1' })
    server.relay.freeze()
    await site.put('/continue/send')
    await sleep(1000)
    expect(await other.get()).toMatchObject({ text: '1' })
    expect(site.states()).toEqual(['paused', 'behind'])
    await server.relay.heal()
    await until('the other process is right', async () => (await other.get()).text === '2', 3000)
    await until('it is told', () => site.states().includes('delivered'))
    expect(site.states()).toEqual(['paused', 'behind', 'resumed', 'delivered'])
  })

  it('trusts nothing that was stored before until it is delivered', async () => {
    const site = await siteAt(server.port, { backendPause: '200ms' })
    await until('it is stored', async () => (await site.get()).cacheStatus?.startsWith('tagcache; hit') === true)
    // Only what goes out is lost: whatever is asked for would be answered.
    server.relay.freeze('toClient')
    await site.put('/continue/send')
    const begun = performance.now()
    while (performance.now() - begun < 1500) {
      const { text, cacheStatus } = await site.get()
      expect([text, cacheStatus]).toEqual(['2', 'tagcache; fwd=bypass; detail=backend'])
    }
    await server.relay.heal()
    await until('it is used again', async () => {
      const { text, cacheStatus } = await site.get()
      expect(text).toBe('2')
      return cacheStatus?.startsWith('tagcache; hit') === true
    })
  })

  it('keeps writers waiting for about one deadline in each pause', async () => {
    const site = await siteAt(server.port)
    server.relay.freeze()
    const begun = performance.now()
    let slow = 0
    let waited = 0
    while (performance.now() - begun < 4000) {
      const { status, took } = await site.put('/continue/send')
      expect(status).toBe(201)
      if (took > DEADLINE / 2) {
        slow += 1
        waited += took
      }
    }
    const periods = Math.ceil((performance.now() - begun) / 1000) + 1
    expect(slow).toBeLessThanOrEqual(periods)
    expect(waited).toBeLessThan(periods * DEADLINE + SLACK)
  })

  it('keeps writers who come together waiting for one deadline', async () => {
    const site = await siteAt(server.port)
    server.relay.freeze()
    const answers = await Promise.all(Array.from({ length: 50 }, () => site.put('/continue/send')))
    for (const { status, took } of answers) {
      expect(status).toBe(201)
      expect(took).toBeLessThan(DEADLINE + SLACK)
    }
  })

  it('delivers all that was purged meanwhile, though deliveries fail again and again', async () => {
    const site = await siteAt(server.port, { backendPause: '50ms' })
    const other = await siteAt(server.ownPort)
    const store = (name: string) => other.cache.set(`GET /${name}`, {}, name, { body: 'old' }, '1h')
    const names = Array.from({ length: 300 }, (_, at) => `tag${at}`)
    await Promise.all(names.map(store))
    for (const [at, name] of names.entries()) {
      if (at % 60 === 0) server.relay.freeze()
      if (at % 60 === 30) await server.relay.heal()
      await site.cache.invalidateTags(name)
    }
    await server.relay.heal()
    await until('everything is delivered', async () => {
      const left = await Promise.all(names.map((name) => other.cache.getByRequest(`GET /${name}`, {})))
      return left.every((entry) => entry === undefined)
    })
  })
})

describe('purges that wait', () => {
  it('become one of everything where they are too many', async () => {
    const calls: string[] = []
    let isDown = true
    const inner = memory()
    const take = (name: string, act: () => void) => {
      if (isDown) throw new Error('down')
      calls.push(name)
      act()
    }
    const backend: TagBackend = new Overridden(inner, {
      invalidate: (tags) => take(`invalidate ${tags.length}`, () => inner.invalidate(tags)),
      clear: () => take('clear', () => inner.clear()),
    })
    const cache = createCache({ backend, backendPause: '50ms' })
    onTestFinished(() => void cache.close())
    cache.set('GET /', {}, 'tag 1', { body: 'old' })
    for (let at = 0; at < 50_000; at++) expect(cache.invalidateTags(`tag ${at}`)).toBe(false)
    isDown = false
    await until('it is delivered', () => calls.length > 0)
    expect(calls).toEqual(['clear'])
    expect(cache.getByRequest('GET /', {})).toBeUndefined()
  })

  it('take no more memory for that', async () => {
    const site = await siteAt(server.port)
    await server.relay.cut()
    const purge = async (from: number, to: number) => {
      for (let at = from; at < to; at++) expect(await site.cache.invalidateTags(`${at} ${'x'.repeat(200)}`)).toBe(false)
      // What listeners keep is theirs.
      site.events.length = 0
    }
    await purge(0, 11_000)
    const before = heapUsed()
    for (let at = 11_000; at < 50_000; at += 3000) await purge(at, Math.min(at + 3000, 50_000))
    // Kept, they would take more than 10 megabytes.
    expect(heapUsed() - before).toBeLessThan(4_000_000)
    await server.relay.heal()
    await until('it is delivered', () => site.states().includes('delivered'))
    // Nothing but what the ledger says of itself.
    expect(await server.command('ZCARD', '{tagcache}:ledger')).toBe(7)
  })
})

function heapUsed(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed
}

describe('options', () => {
  it.each([['ignore'], [true], [null], [42]])('onError that cannot be used is refused: %j', (onError) => {
    const { invalidates } = tagcache()
    expect(() => invalidates('item', { onError: onError as never })).toThrow(
      expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_VALUE', message: expect.stringContaining('"onError"') }),
    )
  })
})
