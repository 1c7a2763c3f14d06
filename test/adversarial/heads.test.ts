import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tagcache as expressCache } from '../../src/adapters/express.ts'
import { tagcache as koaCache } from '../../src/adapters/koa.ts'
import { tagcache as nodeCache } from '../../src/adapters/node.ts'
import type { Cache } from '../../src/index.ts'
import { ask, gate } from '../support/http.ts'
import {
  counting,
  EXPRESSES,
  KOAS,
  type RawHandler,
  STACKS,
  type Stack,
  site,
  turns,
  until,
} from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'
import { serving, watchProcess } from './support.ts'

describe.each(STACKS)('a server of $name that refuses bodies where none belong', (stack) => {
  it('is not given one, on hit or miss', async () => {
    const app = stack.app()
    const { cached } = stack.tools({ time: new ManualTime() })
    const handler = counting((body) => ({ headers: { ETag: '"v1"' }, body }))
    app.on('GET', '/', cached(), handler)
    const server = http.createServer({ rejectNonStandardBodyWrites: true }, app.listener()).listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const seen = []
    for (const [method, headers] of [
      ['GET', { 'if-none-match': '"v1"' }],
      ['HEAD', {}],
      ['GET', { 'if-none-match': '"v1"' }],
      ['GET', {}],
    ] as const) {
      const { status, text, headers: fields } = await ask(url, { method, headers })
      seen.push([method, status, text, fields['content-length']])
    }
    expect(seen).toEqual([
      ['GET', 304, '', undefined],
      ['HEAD', 200, '', '5'],
      ['GET', 304, '', undefined],
      ['GET', 200, 'run 1', '5'],
    ])
    expect(handler.runs()).toBe(1)
  })
})

/** A site below a layer that flushes the head for whoever says `X-Early`. */
function flushing(stack: Stack, handler: RawHandler, time = new ManualTime()) {
  return site(stack, { time }, (app, { cached }) => {
    app.use(
      stack.before(({ req, res }) => {
        if (!req.headers['x-early']) return
        res.statusCode = 200
        res.flushHeaders()
      }),
    )
    app.raw('GET', '/', cached(), handler)
  })
}

describe.each(STACKS)('a response whose head was sent above, under $name', (stack) => {
  it('is left to the handler, even where there is a stored one', async () => {
    const { get } = await flushing(stack, (_req, res) => {
      res.write('body')
      res.end()
    })
    expect((await get('/', { 'x-early': '1' })).text).toBe('body')
    await get('/')
    expect((await get('/')).cacheStatus).toContain('hit')
    expect((await get('/', { 'x-early': '1' })).text).toBe('body')
  })

  it('is left to the handler where its request has waited for another’s', async () => {
    const { rejections } = watchProcess()
    const time = new ManualTime()
    const [held, begun] = [gate(), gate()]
    const app = stack.app()
    const { cached } = stack.tools({ time })
    let late: http.ServerResponse | undefined
    app.use(
      stack.before(({ req, res }) => {
        if (req.headers['x-early']) late = res
      }),
    )
    app.raw('GET', '/', cached(), async (_req, res) => {
      begun.open()
      await held.opened
      if (!res.headersSent) res.end('stored')
    })
    const { get } = await serving(app.listener())
    const leader = get('/')
    await begun.opened
    const waiter = get('/', { 'x-early': '1' })
    await until(() => time.pending === 1)
    late!.writeHead(503)
    late!.end('timeout')
    held.open()
    const { status, text } = await waiter
    expect([status, text]).toEqual([503, 'timeout'])
    expect((await leader).text).toBe('stored')
    expect((await get('/')).cacheStatus).toContain('hit')
    await turns()
    expect(rejections).toEqual([])
  })
})

const BAD_HEAD = { Location: '/\u{1F600}', 'X-Other': '1' }

const AFTER_REFUSAL: Record<string, RawHandler> = {
  'in one piece': (_req, res) => {
    res.end('fallback page')
  },
  'in several pieces': (_req, res) => {
    res.write('fallback ')
    res.end('page')
  },
  'with another writeHead': (_req, res) => {
    res.writeHead(200, { 'X-Fallback': 'yes' }).end('fallback page')
  },
}

describe.each(STACKS)('after node:http has refused a head under $name', (stack) => {
  it.each(Object.entries(AFTER_REFUSAL))('the answer is stored whole, %s', async (_how, answer) => {
    const handler: RawHandler = (req, res) => {
      try {
        res.writeHead(302, BAD_HEAD)
      } catch {
        res.statusCode = 200
        answer(req, res)
      }
    }
    const { get } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
      app.raw('GET', '/plain', handler)
      app.raw('GET', '/', cached(), handler)
    })
    const OWN = ['age', 'cache-control', 'cache-status', 'content-length', 'date', 'etag', 'transfer-encoding']
    const namesOf = ({ headers }: { headers: object }) => Object.keys(headers).filter((name) => !OWN.includes(name))
    const plain = await get('/plain')
    const [miss, hit] = [await get('/'), await get('/')]
    expect(plain.text).toBe('fallback page')
    expect([miss.status, miss.text, miss.cacheStatus]).toEqual([200, 'fallback page', 'tagcache; fwd=uri-miss; stored'])
    expect([hit.status, hit.text, hit.cacheStatus]).toEqual([200, 'fallback page', 'tagcache; hit; ttl=60'])
    expect(namesOf(miss)).toEqual(namesOf(plain))
    expect(namesOf(hit).sort()).toEqual(namesOf(plain).sort())
  })
})

describe.each(STACKS)('a status that is not stored by itself, under $name', (stack) => {
  it.each([
    [500, 'max-age=1'],
    [500, 'public, max-age=1'],
    [302, 'max-age=1'],
  ])('%d with %s lives no longer than it says, whatever the route’s ttl', async (status, control) => {
    const time = new ManualTime()
    const handler = counting((body) => ({ status, headers: { 'Cache-Control': control }, body }))
    const { get } = await site(stack, { time }, (app, { cached }) => app.on('GET', '/', cached({ ttl: '1h' }), handler))
    await get('/')
    expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=1')
    time.move(1_001)
    expect((await get('/')).text).toBe('run 2')
  })

  it.each(['no-cache', 'max-age=0'])('500 with %s is not stored', async (control) => {
    const handler = counting((body) => ({ status: 500, headers: { 'Cache-Control': control }, body }))
    const { get } = await site(stack, {}, (app, { cached }) => app.on('GET', '/', cached({ ttl: '1h' }), handler))
    await get('/')
    expect((await get('/')).text).toBe('run 2')
  })
})

/** What a cache warns of. */
function warningsOf(cache: Cache): string[] {
  const codes: string[] = []
  cache.on('warning', ({ code }) => codes.push(code))
  return codes
}

type LateCall = {
  tag(handle: never, tag: string): void
  skip(handle: never): void
  ttl(handle: never, ttl: number): void
}

describe('what is said of a response after it was answered keeps it from being kept', () => {
  const LATE: [string, (tools: LateCall, handle: never) => void][] = [
    ['tag', ({ tag }, handle) => tag(handle, 'p')],
    ['skip', ({ skip }, handle) => skip(handle)],
    ['ttl', ({ ttl }, handle) => ttl(handle, 1)],
  ]

  it.each(EXPRESSES.flatMap((version) => LATE.map(([control, call]) => ({ ...version, control, call }))))(
    '$control() under $name',
    async ({ express, call }) => {
      const tools = expressCache()
      const warnings = warningsOf(tools.cache as Cache)
      const app = express()
      const handler = counting()
      app.get('/', tools.cached(), async (_req, res) => {
        res.json(await handler({} as never))
        call(tools as LateCall, res as never)
      })
      const { get } = await serving(app)
      expect([(await get('/')).text, (await get('/')).text]).toEqual(['"run 1"', '"run 2"'])
      expect(warnings).toEqual(['TAGCACHE_CONTROL_TOO_LATE', 'TAGCACHE_CONTROL_TOO_LATE'])
    },
  )

  it.each(KOAS.flatMap((version) => LATE.map(([control, call]) => ({ ...version, control, call }))))(
    '$control() under $name, in a layer above',
    async ({ Koa, call }) => {
      const tools = koaCache()
      const warnings = warningsOf(tools.cache as Cache)
      const app = new Koa()
      let runs = 0
      app.use(async (ctx, next) => {
        await next()
        call(tools as LateCall, ctx as never)
      })
      app.use(tools.cached())
      app.use((ctx) => {
        ctx.body = `run ${++runs}`
      })
      const { get } = await serving(app.callback())
      expect([(await get('/')).text, (await get('/')).text]).toEqual(['run 1', 'run 2'])
      expect(warnings).toEqual(['TAGCACHE_CONTROL_TOO_LATE', 'TAGCACHE_CONTROL_TOO_LATE'])
    },
  )

  it.each(LATE)('%s() under node:http', async (_control, call) => {
    const tools = nodeCache()
    const warnings = warningsOf(tools.cache as Cache)
    const cached = tools.cached()
    let runs = 0
    const listener: http.RequestListener = (req, res) =>
      cached(req, res, () => {
        res.end(`run ${++runs}`)
        call(tools as LateCall, res as never)
      })
    const { get } = await serving(listener)
    expect([(await get('/')).text, (await get('/')).text]).toEqual(['run 1', 'run 2'])
    expect(warnings).toEqual(['TAGCACHE_CONTROL_TOO_LATE', 'TAGCACHE_CONTROL_TOO_LATE'])
  })
})
