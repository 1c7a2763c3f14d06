import { readFileSync } from 'node:fs'
import { expect, it, vi } from 'vitest'
import { memory } from '../../src/backends/memory.ts'
import { explainReason, REASONS, type Reason } from '../../src/core/reasons.ts'
import { Overridden } from '../support/backends.ts'
import { askRaw, gate } from '../support/http.ts'
import {
  type CallCacheOptions,
  type CallOptions,
  counting,
  type Handler,
  oneRoute,
  type Reply,
  type Site,
  STACKS,
  site,
  until,
} from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'

const [express, koa, node] = [STACKS[1]!, STACKS[3]!, STACKS[4]!]
const SHARED = { cookie: 'a=1' }
const GENTLE = { 'cache-control': 'max-stale' }

/** Does what is said with a site of one route, and leaves its events to be looked at. */
type Scenario = () => Promise<Pick<Site, 'events'>>

const asked =
  (headers: Record<string, string> = {}, route: CallOptions = {}, options?: CallCacheOptions): Scenario =>
  async () => {
    const served = await oneRoute(express, counting(), route, options)
    await served.send('GET', '/', headers['content-length'] ? { headers, body: '{}' } : { headers })
    return served
  }

const answered =
  (reply: Reply, { stack = koa, route = {} as CallOptions } = {}): Scenario =>
  async () => {
    const served = await oneRoute(stack, () => reply, route)
    await served.get('/')
    return served
  }

/** A response of ten seconds whose time is over by five; `then` is what the handler answers from then on. */
const stale =
  (route: CallOptions, then: Handler, { headers = {}, method = 'GET', first = {} as Exclude<Reply, string> } = {}) =>
  async () => {
    const time = new ManualTime()
    let handler: Handler = () => ({ body: 'first', ...first })
    const options = { ttl: 10, requestDirectives: true, ...route }
    const served = await oneRoute(express, (call) => handler(call), options, { time })
    await served.get('/')
    time.move(15_000)
    handler = then
    await served.send(method, '/', { headers })
    return { ...served, time }
  }

const left =
  (
    leave: (served: Site, time: ManualTime) => unknown,
    options: CallCacheOptions = {},
    keep: CallOptions = {},
  ): Scenario =>
  async () => {
    const time = new ManualTime()
    const served = await site(koa, { time, ...options }, (app, { cached }) => {
      app.on('GET', '/', cached({ tags: 'page', ...keep }), counting())
      app.on('GET', '/other', cached(), counting())
    })
    await served.get('/')
    await leave(served, time)
    await served.get('/')
    return served
  }

const fail = (): never => {
  throw new Error('thrown in a test')
}

const down = () => ({ backend: new Overridden(memory(), { lookup: fail }), time: new ManualTime() })

/** Writes a page with a POST whose answer is the page. */
async function posted(): Promise<Site> {
  const served = await site(node, { time: new ManualTime() }, (app, { cached, tag }) => {
    app.use(cached({ storePost: true }))
    app.raw('POST', '/', (req, res) => {
      res.writeHead(200, { 'Content-Location': '/', 'Cache-Control': 'max-age=60' })
      res.write('writ')
      tag({ req, res, params: {}, handle: res }, 'late')
      res.end('ten')
    })
  })
  await served.send('POST', '/')
  return served
}

/** Stores the beginning of a page, and then asks for the whole, which says that it is not to be kept. */
async function completed(): Promise<Site> {
  const served = await oneRoute(
    express,
    ({ req }) =>
      req.headers.range === 'bytes=0-3'
        ? { status: 206, headers: { ETag: '"1"', 'Content-Range': 'bytes 0-3/8' }, body: 'begi' }
        : { headers: { ETag: '"1"', 'Cache-Control': 'no-store' }, body: 'beginend' },
    { storePartial: true, ttl: 60 },
  )
  await served.get('/', { range: 'bytes=0-3' })
  await served.get('/')
  return served
}

/** A site whose layer above lets a request through twice, and no more. */
async function refused(): Promise<Site> {
  const time = new ManualTime()
  let visits = 0
  const served = await site(express, { time }, (app, { cached }) => {
    app.use(express.before(() => (++visits > 2 ? fail() : undefined)))
    app.on('GET', '/', cached({ ttl: 10, staleWhileRevalidate: 100 }), counting())
  })
  await served.get('/')
  time.move(15_000)
  await served.get('/')
  return served
}

/** Begins an answer of that length, and writes five bytes. */
const written =
  (length: number, isCut: boolean): Scenario =>
  async () => {
    const served = await site(node, {}, (app, { cached }) =>
      app.raw('GET', '/', cached(), (_req, res) => {
        res.writeHead(200, { 'Content-Length': length })
        res.write('short')
        if (isCut) res.destroy()
        else res.end()
      }),
    )
    await askRaw(served.port, 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n').catch(() => {})
    return served
  }

const SCENARIOS: Record<Reason, Scenario> = {
  method: async () => {
    const served = await site(express, {}, (app, { cached }) => app.on('POST', '/', cached(), counting()))
    await served.send('POST', '/')
    return served
  },
  disabled: asked({}, { enabled: false }),
  credentials: asked(SHARED),
  scope: asked(SHARED, { scope: () => undefined }),
  key: asked({}, { key: () => undefined }),
  range: asked({ range: 'items=0-1' }),
  precondition: asked({ 'if-match': '"v1"' }),
  body: asked({ 'content-length': '2' }),
  fragment: async () => {
    const served = await oneRoute(node, counting())
    await askRaw(served.port, 'GET /?a#b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    return served
  },
  'option-failed': asked({}, { key: fail }),
  closed: async () => {
    const served = await oneRoute(express, counting())
    served.cache.close()
    await served.get('/')
    return served
  },
  backend: asked({}, {}, down()),
  'only-if-cached': asked({ 'cache-control': 'only-if-cached' }, { requestDirectives: true }),
  'uri-miss': asked(),
  'vary-miss': async () => {
    const served = await oneRoute(express, () => ({ headers: { Vary: 'X-Own' }, body: 'a' }))
    for (const own of ['1', '2']) await served.get('/', { 'x-own': own })
    return served
  },
  expired: stale({}, () => 'second', { first: { headers: { ETag: '"1"' } } }),
  invalidated: left(({ cache }) => cache.invalidateTags('page')),
  evicted: left(({ get }) => get('/other'), { backend: memory({ maxEntries: 1 }) }),
  deleted: left(({ cache, events }) => {
    const [first] = events
    cache.flow.guard.delete((first?.type === 'trace' && first.key) || '')
  }),
  request: async () => {
    const served = await oneRoute(express, counting(), { requestDirectives: true })
    for (const headers of [{}, { 'cache-control': 'no-cache' }]) await served.get('/', headers)
    return served
  },
  'stale-while-revalidate': stale({ staleWhileRevalidate: 60 }, () => 'second'),
  'stale-if-error': stale({ staleIfError: 60 }, () => ({ status: 503 })),
  'max-stale': stale({}, () => 'second', { headers: GENTLE, first: { headers: { ETag: '"1"' } } }),
  validated: stale({}, () => ({ status: 304 }), { first: { headers: { ETag: '"1"' } } }),
  'request-no-store': asked({ 'cache-control': 'no-store' }),
  head: async () => {
    const served = await oneRoute(node, counting())
    await served.send('HEAD', '/')
    return served
  },
  skip: async () => {
    const served = await site(express, {}, (app, { cached, skip }) =>
      app.on('GET', '/', cached(), (call) => {
        skip(call)
        return 'a'
      }),
    )
    await served.get('/')
    return served
  },
  status: answered({ status: 404, body: 'none' }),
  partial: answered({ status: 206, headers: { 'Content-Range': 'bytes 0-3/9' }, body: 'part' }),
  'not-modified': answered({ status: 304 }),
  'no-store': answered({ headers: { 'Cache-Control': 'no-store' }, body: 'a' }),
  private: answered({ headers: { 'Cache-Control': 'private' }, body: 'a' }),
  authorization: async () => {
    const served = await oneRoute(express, counting(), { scope: 'explicit' as never })
    await served.get('/', { authorization: 'Basic YTpi' })
    return served
  },
  'set-cookie': answered({ headers: { 'Set-Cookie': 'a=1' }, body: 'a' }),
  vary: answered({ headers: { Vary: '*' }, body: 'a' }),
  connection: answered({ headers: { Connection: 'upgrade' }, body: 'a' }),
  endless: answered({ headers: { 'Content-Type': 'text/event-stream' }, body: 'data: 1\n\n' }),
  'no-lifetime': answered({ headers: { 'Cache-Control': 'max-age=0' }, body: 'a' }),
  etag: stale({}, () => ({ status: 304, headers: { ETag: '"2"' } }), { first: { headers: { ETag: '"1"' } } }),
  'too-large': answered('x'.repeat(11), { route: { maxBodySize: 10 } }),
  'tags-failed': asked({}, { tags: fail }),
  'late-tag': posted,
  aborted: written(10, true),
  'length-mismatch': written(10, false),
  failed: async () => {
    const served = await oneRoute(koa, fail)
    await served.get('/')
    return served
  },
  unreadable: answered({ body: new Blob(['a']) as never }),
  variants: async () => {
    const reply: Reply = { headers: { Vary: 'X-Own' }, body: 'a' }
    const served = await oneRoute(express, () => reply, { normaliseVary: { 'x-own': fail } })
    await served.get('/', { 'x-own': '1' })
    return served
  },
  outdated: async () => {
    const held = gate()
    const served = await oneRoute(express, () => held.opened.then(() => 'a'), { tags: 'page' }, {})
    const answer = served.get('/')
    await until(() => served.cache.flow.flights.size === 1)
    served.cache.invalidateTags('page')
    held.open()
    await answer
    return served
  },
  'not-kept': asked({}, {}, { backend: memory({ maxSize: 700 }) }),
  unstorable: completed,
  unreached: refused,
  timeout: async () => {
    const served = await stale({ staleWhileRevalidate: 3_600 }, () => new Promise<Reply>(() => {}))()
    await until(() => served.time.pending > 0)
    served.time.move(60_000)
    return served
  },
  unasked: async () => {
    const served = await oneRoute(express, counting(), { methods: ['POST'], key: () => 'a' })
    await served.get('/')
    const { decision } = await served.cache.explain({ method: 'POST', url: '/' })
    return { events: [{ type: 'trace', route: 'GET /', stored: false, ...decision, outcome: 'bypass' }] }
  },
}

it.each(Object.entries(SCENARIOS) as [Reason, Scenario][])('%s is reached by a request', async (reason, reach) => {
  const { events } = await reach()
  const told = () => events.flatMap((event) => ('reason' in event && event.type !== 'removal' ? event.reason : []))
  await vi.waitFor(() => expect(told()).toContain(reason), { timeout: 5_000 })
})

it('docs/reasons.md has each code, and what the code itself says', () => {
  const page = readFileSync(new URL('../../docs/reasons.md', import.meta.url), 'utf8')
  const sections = page.split(/^### /m).slice(1)
  const told = sections.map((text) => /^`([\w-]+)`\n\n(.*)$/m.exec(text)!.slice(1) as [Reason, string])
  expect(told.map(([code]) => code).sort()).toEqual(Object.keys(REASONS).sort())
  for (const [code, text] of told) {
    expect(text.startsWith(`${explainReason(code)} `), code).toBe(true)
    expect(text.length, `${code} says what to do`).toBeGreaterThan(explainReason(code).length + 7)
  }
})
