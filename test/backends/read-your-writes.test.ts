import { createHmac } from 'node:crypto'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import express, { type Request, type Response } from 'express'
import Koa from 'koa'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { tagcache as koaCache } from '../../src/adapters/koa.ts'
import { memory } from '../../src/backends/memory.ts'
import { redis } from '../../src/backends/redis/redis.ts'
import { tiered } from '../../src/backends/tiered.ts'
import { type CacheOptions, createCache, type RouteOptions } from '../../src/index.ts'
import { type Answer, ask, listen, type Question } from '../support/http.ts'
import { type RedisServer, startRedis, until } from '../support/redis.ts'
import { type RedisClient, type RedisLibrary, redisLibraries } from '../support/redis-clients.ts'
import { type Relay, startRelay } from '../support/relay.ts'

const [ioredis] = redisLibraries as [RedisLibrary]
const SECRET = 'a secret of sixteen characters and more'
const NAME = 'tagcache-position'

interface NodeOptions {
  readonly cache?: Partial<CacheOptions<never>>
  readonly route?: RouteOptions<never>
  readonly subscribeAt?: number
  readonly maxStaleness?: string
}

interface Node {
  get(headers?: Question['headers']): Promise<Answer & { readonly tier: string }>
  /** Writes; `how` is the way in which the handler answers. */
  put(how?: string): Promise<Answer>
}

let version = 1

const ANSWERS: Record<string, (req: Request, res: Response) => unknown> = {
  send: (_req, res) => res.send('done'),
  empty: (_req, res) => res.status(204).end(),
  redirect: (_req, res) => res.redirect(303, '/item'),
  cookies: (_req, res) => res.cookie('one', '1').cookie('two', '2').send('done'),
  writeHead: (_req, res) => res.writeHead(200, { 'Set-Cookie': ['one=1', 'two=2'], 'X-Own': 'yes' }).end('done'),
  rawHead: (_req, res) => res.writeHead(200, ['Set-Cookie', 'one=1', 'Set-Cookie', 'two=2']).end('done'),
  stream: (_req, res) => Readable.from(['do', 'ne']).pipe(res),
  write: (_req, res) => {
    res.write('do')
    setTimeout(() => res.end('ne'), 20)
  },
  failing: (_req, res) => res.status(409).send('not done'),
}

/** A process as it were, with a near tier; its handlers read the version, and write it. */
async function nodeAt(port: number, options: NodeOptions = {}): Promise<Node> {
  const { cache: more, route, subscribeAt, maxStaleness = '1h' } = options
  const client = await ioredis.connect(port)
  onTestFinished(() => ioredis.close(client))
  if (subscribeAt !== undefined) subscribeElsewhere(client, subscribeAt)
  const backend = tiered({ near: memory(), far: redis(client), maxStaleness })
  const { cache, cached, invalidates } = tagcache({
    backend,
    // A busy machine is not to pass for one that is away.
    backendTimeout: '1s',
    readYourWrites: { secret: SECRET },
    ...(more as CacheOptions),
  })
  onTestFinished(async () => void (await Promise.race([cache.close(), sleep(1000)])))
  const app = express().set('env', 'test').disable('x-powered-by')
  app.get('/item', cached({ host: false, tags: 'item', ...(route as RouteOptions) }), (req, res) => {
    if (req.query.vary !== undefined) res.vary('Cookie')
    res.send(String(version))
  })
  app.put('/item/:how', invalidates('item'), (req, res) => {
    version += 1
    ANSWERS[req.params.how as string]!(req, res)
  })
  const server = await listen(app)
  onTestFinished(() => server.close())
  let tier: string | undefined
  cache.on('trace', (event) => (tier = event.outcome === 'hit' ? event.tier : event.outcome))
  return {
    async get(headers = {}) {
      const answer = await ask(`${server.url}/item`, { headers })
      return { ...answer, tier: String(tier) }
    },
    put: (how = 'send') => ask(`${server.url}/item/${how}`, { method: 'PUT' }),
  }
}

function subscribeElsewhere(client: RedisClient, port: number): void {
  const { duplicate } = client as unknown as { duplicate(options: object): unknown }
  Object.assign(client, { duplicate: (options: object) => duplicate.call(client, { ...options, port }) })
}

/** What a client would send back of the cookies that it was given. */
function jar({ headers }: Answer): Record<string, string> {
  return Object.fromEntries(
    (headers['set-cookie'] ?? []).map((line) => line.split(';', 1)[0]!.split(/=(.*)/s).slice(0, 2) as [string, string]),
  )
}

function cookie(cookies: Record<string, string>): { cookie: string } {
  return {
    cookie: Object.entries(cookies)
      .map(([name, value]) => `${name}=${value}`)
      .join('; '),
  }
}

let server: RedisServer
beforeAll(async () => void (server = await startRedis()))
afterAll(() => server.stop())
beforeEach(async () => {
  await server.command('FLUSHALL')
  version = 1
})

/** A node where clients write, and one that hears nothing of it; both have a copy. */
async function twoNodes(options: NodeOptions = {}): Promise<{ a: Node; b: Node; subscriptions: Relay }> {
  const subscriptions = await startRelay(server.ownPort)
  onTestFinished(() => subscriptions.stop())
  const a = await nodeAt(server.port, options)
  const b = await nodeAt(server.port, { ...options, subscribeAt: subscriptions.port })
  for (const node of [a, b]) await until('it has a copy', async () => (await node.get()).tier === 'near')
  subscriptions.freeze()
  return { a, b, subscriptions }
}

describe('a client that writes on one node and reads on another, which has not heard of it', () => {
  it('sees its write, by a cookie; others may get the copy that is there', async () => {
    const { a, b } = await twoNodes()
    const written = await a.put()
    expect(written.headers['set-cookie']).toHaveLength(1)
    expect(written.headers['set-cookie']![0]).toMatch(
      // Copies are trusted for an hour without news.
      /^tagcache-position=\d+\.\d+\.[\w-]{43}; Max-Age=3660; Path=\/; HttpOnly; SameSite=Lax$/,
    )
    expect(await b.get()).toMatchObject({ text: '1', tier: 'near' })
    expect(await b.get(cookie(jar(written)))).toMatchObject({ text: '2', tier: 'miss' })
    await until('it is stored', async () => (await b.get(cookie(jar(written)))).tier === 'far')
    expect(await b.get()).toMatchObject({ text: '2', tier: 'near' })
  })

  it('sees its write, by a header', async () => {
    const { a, b } = await twoNodes({ cache: { readYourWrites: { secret: SECRET, via: 'header' } } })
    const written = await a.put()
    expect(written.headers['set-cookie']).toBeUndefined()
    const position = written.headers[NAME] as string
    expect(position).toMatch(/^\d+\.\d+\.[\w-]{43}$/)
    expect(await b.get()).toMatchObject({ text: '1' })
    expect(await b.get({ [NAME]: position })).toMatchObject({ text: '2' })
  })

  it('sees its write, by a cookie or header of another name', async () => {
    for (const via of ['cookie', 'header'] as const) {
      await server.command('FLUSHALL')
      version = 1
      const { a, b } = await twoNodes({ cache: { readYourWrites: { secret: SECRET, via, name: '__Seen-At' } } })
      const written = await a.put()
      const headers = via === 'cookie' ? cookie(jar(written)) : { '__Seen-At': written.headers['__seen-at'] as string }
      expect(JSON.stringify(headers)).toContain('__Seen-At')
      expect(await b.get()).toMatchObject({ text: '1' })
      expect(await b.get(headers)).toMatchObject({ text: '2' })
    }
  })

  it.each(Object.keys(ANSWERS).filter((how) => how !== 'failing'))(
    'sees its write, however the handler has answered: %s',
    async (how) => {
      const { a, b } = await twoNodes()
      const written = await a.put(how)
      expect(jar(written)).toHaveProperty(NAME)
      expect(await b.get()).toMatchObject({ text: '1' })
      expect(await b.get(cookie(jar(written)))).toMatchObject({ text: '2' })
    },
  )

  it('sees the last of its writes on several nodes', async () => {
    const { a, b } = await twoNodes()
    const c = await nodeAt(server.port)
    await a.put()
    const written = await c.put()
    expect(await b.get()).toMatchObject({ text: '1' })
    expect(await b.get(cookie(jar(written)))).toMatchObject({ text: '3' })
  })

  it('gets the copy again once the node has caught up', async () => {
    const { a, b } = await twoNodes({ maxStaleness: '1s' })
    const written = await a.put()
    await until('it has caught up', async () => (await b.get(cookie(jar(written)))).tier === 'near')
    expect(await b.get(cookie(jar(written)))).toMatchObject({ text: '2' })
  })

  it('sees its write though everything has been lost since', async () => {
    const { a, b } = await twoNodes()
    const written = await a.put()
    await server.command('FLUSHALL')
    expect(await b.get(cookie(jar(written)))).toMatchObject({ text: '2' })
  })

  it('is told nothing where its write has failed', async () => {
    const { a } = await twoNodes()
    expect((await a.put()).headers['set-cookie']).toHaveLength(1)
    expect((await a.put('failing')).headers['set-cookie']).toBeUndefined()
  })

  it('sees its write under Koa', async () => {
    const client = await ioredis.connect(server.port)
    onTestFinished(() => ioredis.close(client))
    const { cache, invalidates } = koaCache({ backend: redis(client), readYourWrites: { secret: SECRET } })
    onTestFinished(() => cache.close())
    const app = new Koa()
    app.use(invalidates('item'))
    app.use((ctx) => {
      version += 1
      ctx.cookies.set('one', '1')
      ctx.body = ctx.path === '/stream' ? Readable.from(['do', 'ne']) : 'done'
    })
    const site = await listen(app.callback())
    onTestFinished(() => site.close())
    const { b } = await twoNodes()
    for (const path of ['/', '/stream']) {
      const written = await ask(site.url + path, { method: 'PUT' })
      expect(jar(written)).toEqual({ one: '1', [NAME]: expect.any(String) })
      expect(await b.get(cookie(jar(written)))).toMatchObject({ text: String(version) })
    }
  })
})

describe('the cookie', () => {
  it.each(['cookies', 'writeHead', 'rawHead'])('leaves those of the answer: %s', async (how) => {
    const { a } = await twoNodes()
    expect(jar(await a.put(how))).toMatchObject({ one: '1', two: '2', [NAME]: expect.any(String) })
  })

  it('is no credential: the request does not bypass the cache for it, but for others', async () => {
    const { a } = await twoNodes()
    const written = jar(await a.put())
    await until('it is stored', async () => (await a.get()).cacheStatus?.startsWith('tagcache; hit') === true)
    expect((await a.get(cookie(written))).cacheStatus).toMatch(/^tagcache; hit/)
    for (const others of [{ ...written, session: '1' }, { session: '1', ...written }, { session: '1' }]) {
      expect((await a.get(cookie(others))).cacheStatus).toContain('credentials')
    }
    for (const near of [`x${NAME}`, `${NAME}x`, NAME.toUpperCase()]) {
      expect((await a.get(cookie({ [near]: written[NAME]! }))).cacheStatus).toContain('credentials')
    }
  })

  it('is not in the key of what varies on cookies; the others are', async () => {
    const { a } = await twoNodes({ route: { scope: 'public', vary: 'cookie' } })
    const written = jar(await a.put())
    await until('it is stored', async () => (await a.get()).cacheStatus?.startsWith('tagcache; hit') === true)
    expect((await a.get(cookie(written))).cacheStatus).toMatch(/^tagcache; hit/)
    expect((await a.get(cookie({ session: '1' }))).cacheStatus).toContain('miss')
    await until(
      'it is stored',
      async () => (await a.get(cookie({ session: '1' }))).cacheStatus?.includes('hit') === true,
    )
    for (const same of [
      { ...written, session: '1' },
      { session: '1', ...written },
    ]) {
      expect((await a.get(cookie(same))).cacheStatus).toMatch(/^tagcache; hit/)
    }
    expect((await a.get(cookie({ ...written, session: '2' }))).cacheStatus).toContain('miss')
  })

  it('reaches the handler as it was sent', async () => {
    const client = await ioredis.connect(server.port)
    onTestFinished(() => ioredis.close(client))
    const { cache, cached } = tagcache({ backend: redis(client), readYourWrites: { secret: SECRET } })
    onTestFinished(() => cache.close())
    const app = express().get('/', cached(), (req, res) => void res.json(req.headers.cookie))
    const site = await listen(app)
    onTestFinished(() => site.close())
    const sent = `${NAME}=1.1.x`
    expect((await ask(site.url, { headers: { cookie: sent } })).text).toBe(JSON.stringify(sent))
  })
})

describe('a token', () => {
  const sign = (position: string, secret = SECRET) =>
    `${position}.${createHmac('sha256', secret).update(position).digest('base64url')}`

  it.each(['cookie', 'header'] as const)('that is forged, foreign or garbage says nothing (%s)', async (via) => {
    const { a, b } = await twoNodes({ cache: { readYourWrites: { secret: SECRET, via } } })
    const written = await a.put()
    const good = via === 'cookie' ? jar(written)[NAME]! : (written.headers[NAME] as string)
    const [epoch = '', clock = '', signature = ''] = good.split('.')
    const later = `${epoch}.${Number(clock) + 1}`
    const forged = [
      `${later}.${signature}`,
      sign(later, 'another secret of sixteen characters'),
      sign(later, ''),
      `${later}.`,
      later,
      '',
      '.',
      '..',
      'x'.repeat(10_000),
      `${'9'.repeat(400)}.1.${signature}`,
      sign('1.-1'),
      sign('a.b'),
      sign('1'),
      `${good} `.repeat(2).trim(),
      `"${good}"`,
      encodeURIComponent(`${later}.${signature}`),
      `${later}.${'_'.repeat(43)}`,
      `${later}.${'é'.repeat(43)}`,
    ]
    for (const token of forged) {
      const value = Buffer.from(token).toString('latin1')
      const headers = via === 'cookie' ? { cookie: `${NAME}=${value}` } : { [NAME]: value }
      expect([token.slice(0, 100), await b.get(headers)]).toEqual([
        token.slice(0, 100),
        expect.objectContaining({ status: 200, text: '1', tier: 'near' }),
      ])
    }
  })

  it('of a write that the node has heard of long ago says nothing', async () => {
    const { a, b } = await twoNodes({ maxStaleness: '1s' })
    const old = jar(await a.put())
    // It hears of the write twice: the second time, a moment later, costs the copy that it has made meanwhile.
    await until('it has caught up', async () => {
      for (let reads = 0; reads < 20; reads += 1) if ((await b.get(cookie(old))).tier !== 'near') return false
      return true
    })
    expect(await b.get(cookie(old))).toMatchObject({ tier: 'near' })
  })

  it('of another state of the far tier costs the copy, and nothing else', async () => {
    const { b } = await twoNodes()
    for (const position of ['1.1', `1.${'9'.repeat(20)}`, `${'9'.repeat(20)}.1`]) {
      expect(await b.get(cookie({ [NAME]: sign(position) }))).toMatchObject({ status: 200, text: '1', tier: 'far' })
    }
  })

  it('counts though a forged one stands before it', async () => {
    const { a, b } = await twoNodes()
    const good = jar(await a.put())[NAME]!
    expect(await b.get({ cookie: `${NAME}=forged; ${NAME}=${good}` })).toMatchObject({ text: '2' })
  })
})

describe('options', () => {
  it.each([
    [{ secret: 'too short' }, 'readYourWrites.secret'],
    [{ secret: '' }, 'readYourWrites.secret'],
    [{}, 'readYourWrites.secret'],
    [{ secret: 42 }, 'readYourWrites.secret'],
    [{ secret: SECRET, via: 'query' }, 'readYourWrites.via'],
    [{ secret: SECRET, via: null }, 'readYourWrites.via'],
    [{ secret: SECRET, name: 'a b' }, 'readYourWrites.name'],
    [{ secret: SECRET, name: 'a=b' }, 'readYourWrites.name'],
    [{ secret: SECRET, name: 'a;b' }, 'readYourWrites.name'],
    [{ secret: SECRET, name: '' }, 'readYourWrites.name'],
    [{ secret: SECRET, name: 'a\r\nb' }, 'readYourWrites.name'],
    [{ secret: SECRET, name: 42 }, 'readYourWrites.name'],
  ])('that cannot be used are refused: %j', (readYourWrites, option) => {
    const make = () => createCache({ readYourWrites: readYourWrites as never })
    expect(make).toThrow(
      expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_VALUE', message: expect.stringContaining(option) }),
    )
    const { secret } = readYourWrites as { secret?: unknown }
    if (typeof secret === 'string' && secret !== '')
      expect(make).not.toThrow(expect.objectContaining({ message: expect.stringContaining(secret) }))
  })

  it.each([[null], [true], [SECRET], [[]]])('that are no object are refused: %j', (readYourWrites) => {
    expect(() => createCache({ readYourWrites: readYourWrites as never })).toThrow(
      expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_VALUE' }),
    )
  })

  it('of another name are refused', () => {
    expect(() => createCache({ readYourWrites: { secret: SECRET, cookie: 'x' } as never })).toThrow(
      expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_UNKNOWN' }),
    )
  })

  it('are of no effect over a backend that tells no positions', async () => {
    const { cached, invalidates } = tagcache({ readYourWrites: { secret: SECRET } })
    const app = express()
    app.get('/', cached({ tags: 'item' }), (_req, res) => void res.send('fine'))
    app.put('/', invalidates('item'), (_req, res) => void res.send('done'))
    app.put(
      '/late',
      invalidates(async () => 'item'),
      (_req, res) => void res.writeHead(200).end('done'),
    )
    const site = await listen(app)
    onTestFinished(() => site.close())
    for (const path of ['/', '/late'])
      expect((await ask(site.url + path, { method: 'PUT' })).headers['set-cookie']).toBeUndefined()
    expect((await ask(site.url)).text).toBe('fine')
  })
})
