import Router from '@koa/router'
import type { Express, RequestHandler } from 'express'
import type { Context, Next } from 'koa'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tagcache as expressCache } from '../../src/adapters/express.ts'
import { tagcache as koaCache } from '../../src/adapters/koa.ts'
import { ask, listen } from '../support/http.ts'
import { EXPRESSES, KOAS, STACKS } from '../support/stacks.ts'
import { requestText } from '../support/wire.ts'
import { CASES, type Case, type Log } from './transparency/cases.ts'
import { expectSame, watch, watched } from './transparency/compare.ts'
import { EXPRESS_CASES, type ExpressCase, FILES } from './transparency/express-cases.ts'
import { KOA_CASES, type KoaCase } from './transparency/koa-cases.ts'

type Make = Parameters<typeof expectSame>[0]

/** Declares the tests of a framework's own table of answers. */
function answerTheSame<C extends ExpressCase | KoaCase>(cases: readonly C[], make: (example: C) => Make): void {
  it.each(cases)('$name', (example) => {
    const { ask = [], isStored = true, isValidated = false } = example as C & { isValidated?: boolean }
    return expectSame(make(example), { request: requestText(...ask), isStored, isValidated })
  })

  it.each(cases.filter(({ isStored = true, isOtherForHead = false }) => isStored && !isOtherForHead))(
    '$name, to HEAD',
    (example) => {
      const [, path = '/', more] = example.ask ?? []
      return expectSame(make(example), {
        fill: requestText('GET', path, more),
        request: requestText('HEAD', path, more),
        isValidated: (example as C & { isValidated?: boolean }).isValidated ?? false,
      })
    },
  )
}

describe.each(STACKS)('$name answers with a cache as without', (stack) => {
  const make = (run: Case['run']) => (log: Log, isCached: boolean) => {
    const app = stack.app()
    const { cached, cache } = stack.tools()
    app.raw('GET', '/', ...(isCached ? [cached()] : []), watched(log, run))
    return { listener: app.listener(), cache }
  }
  const isStored = ({ stored, isRefusedByExpress }: Case) =>
    stored !== false && !(isRefusedByExpress && stack.kind === 'express')

  it.each(CASES)('$name', (example) => {
    const { run, version = '1.1' } = example
    return expectSame(make(run), { request: requestText('GET', '/', { version }), isStored: isStored(example) })
  })

  const anyForm = CASES.filter(({ needsChunks }) => !needsChunks)

  it.each(anyForm.filter(isStored))('$name, to HEAD', ({ run }) =>
    expectSame(make(run), { fill: requestText(), request: requestText('HEAD') }),
  )

  it.each(anyForm)('$name, to HEAD with nothing stored', ({ run }) =>
    expectSame(make(run), { request: requestText('HEAD'), isStored: false }),
  )

  it.each(anyForm.filter(isStored))('$name, to HTTP/1.0 after HTTP/1.1', ({ run }) =>
    expectSame(make(run), { fill: requestText(), request: requestText('GET', '/', { version: '1.0' }) }),
  )
})

describe.each(EXPRESSES)('$name answers with a cache as without', ({ express }) => {
  const make =
    ({ mount }: ExpressCase) =>
    (log: Log, isCached: boolean) => {
      const { cached, cache } = expressCache()
      const app: Express = express()
      app.set('env', 'test')
      const watcher: RequestHandler = (_req, res, next) => {
        watch(res, log)
        next()
      }
      mount(app, isCached ? [cached()] : [], watcher)
      return { listener: app, cache }
    }

  answerTheSame(EXPRESS_CASES, make)

  it('express.static(), asked for a newer file: 304, and the whole file is stored', async () => {
    const { cached, cache } = expressCache()
    const app = express().use(cached({ ttl: 60 }), express.static(FILES))
    const server = await listen(app)
    onTestFinished(() => server.close())
    const url = `${server.url}/page.html`
    const modified = new Date(1_700_000_000_000).toUTCString()
    expect((await ask(url, { headers: { 'if-modified-since': modified } })).status).toBe(304)
    expect(cache.stats().entries).toBe(1)
    const hit = await ask(url)
    expect([hit.status, hit.text, hit.headers['content-length']]).toEqual([200, '<p>page</p>', '11'])
    expect(hit.cacheStatus).toMatch(/^tagcache; hit/)
  })
})

describe.each(KOAS)('$name answers with a cache as without', ({ Koa }) => {
  const make =
    ({ run, above = [], below = [] }: KoaCase) =>
    (log: Log, isCached: boolean) => {
      const { cached, cache } = koaCache()
      const app = new Koa()
      app.silent = true
      const router = new Router()
      const handler = async (ctx: Context, next: Next) => {
        watch(ctx.res, log)
        await run(ctx, next)
      }
      for (const layer of above) app.use(layer)
      router.get('/', ...(isCached ? [cached() as never] : []), ...(below as never[]), handler as never)
      app.use(router.routes() as never)
      return { listener: app.callback(), cache }
    }

  answerTheSame(KOA_CASES, make)
})
