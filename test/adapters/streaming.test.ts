import { once } from 'node:events'
import http from 'node:http'
import { pipeline, Readable } from 'node:stream'
import v8 from 'node:v8'
import vm from 'node:vm'
import Router from '@koa/router'
import type { Context } from 'koa'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tagcache as koaCache } from '../../src/adapters/koa.ts'
import type { Cache } from '../../src/index.ts'
import { ask, gate, listen } from '../support/http.ts'
import { KOAS, STACKS, site, turns, until } from '../support/stacks.ts'

/** A server whose one route, cached up to a megabyte, answers with a stream. */
type Serve = (source: () => Readable) => Promise<{ url: string; cache: Cache }>

const MEGABYTE = 1024 * 1024
const options = { maxBodySize: MEGABYTE }

const servers: [name: string, serve: Serve][] = [
  ...STACKS.map((stack): [string, Serve] => [
    stack.name,
    async (source) => {
      const { server, cache } = await site(stack, {}, (app, { cached }) => {
        app.raw('GET', '/', cached(options), (_req, res) => pipeline(source(), res.setHeader('ETag', '"v1"'), () => {}))
      })
      return { url: server.url, cache }
    },
  ]),
  ...KOAS.map(({ name, Koa }): [string, Serve] => [
    `${name} by ctx.body`,
    async (source) => {
      const { cached, cache } = koaCache()
      const answer = (ctx: Context) => {
        ctx.set('ETag', '"v1"')
        ctx.body = source()
      }
      const router = new Router().get('/', cached(options) as never, answer as never)
      const server = await listen(new Koa().use(router.routes() as never).callback())
      onTestFinished(() => server.close())
      return { url: server.url, cache: cache as never }
    },
  ]),
]

async function open(url: string): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => http.get(url, { agent: false }, resolve).on('error', reject))
}

/** Twenty megabytes in chunks of their own, counted as they are asked for. */
function twentyMegabytes(beforeEnd: () => Promise<void> = async () => {}) {
  let produced = 0
  const source = () =>
    Readable.from(
      (async function* () {
        for (; produced < 20 * MEGABYTE; produced += 65_536) yield Buffer.alloc(65_536, 'x')
        await beforeEnd()
      })(),
      { objectMode: false, highWaterMark: 65_536 },
    )
  return { source, produced: () => produced }
}

v8.setFlagsFromString('--expose-gc')
const collectGarbage = vm.runInNewContext('gc') as () => void

describe.each(servers)('a body that streams through %s', (_, serve) => {
  it('arrives before the handler is done', async () => {
    const held = gate()
    const { url, cache } = await serve(() =>
      Readable.from(
        (async function* () {
          yield 'first '
          await held.opened
          yield 'last'
        })(),
      ),
    )
    const response = await open(url)
    const chunks = response.setEncoding('utf8')[Symbol.asyncIterator]()
    expect((await chunks.next()).value).toBe('first ')
    expect(cache.stats().entries).toBe(0)
    held.open()
    expect((await chunks.next()).value).toBe('last')
    expect((await chunks.next()).done).toBe(true)
    await until(() => cache.stats().entries === 1)
  })

  it('is stored in full although its client had it already', async () => {
    const { url, cache } = await serve(() => Readable.from(['one ', 'two']))
    const answer = await ask(url, { headers: { 'if-none-match': '"v1"' } })
    expect([answer.status, answer.text]).toEqual([304, ''])
    await turns()
    expect(cache.stats().entries).toBe(1)
    const hit = await ask(url)
    expect([hit.status, hit.text]).toEqual([200, 'one two'])
    expect(hit.cacheStatus).toMatch(/^tagcache; hit/)
  })

  it('is not stored where its client leaves before the end', async () => {
    const held = gate()
    const { url, cache } = await serve(() =>
      Readable.from(
        (async function* () {
          yield 'part'
          await held.opened
          yield 'rest'
        })(),
      ),
    )
    const response = await open(url)
    await once(response, 'data')
    response.destroy()
    await until(() => cache.stats().reasons.aborted === 1)
    held.open()
    await turns()
    expect(cache.stats()).toMatchObject({ misses: 1, entries: 0, reasons: { aborted: 1 } })
  })

  it('is asked for only as fast as its client reads', async () => {
    const { source, produced } = twentyMegabytes()
    const { url, cache } = await serve(source)
    const response = await open(url)
    let before = -1
    while (before !== produced()) {
      before = produced()
      await turns(200)
    }
    expect(before).toBeLessThan(19 * MEGABYTE)
    let received = 0
    for await (const chunk of response) received += (chunk as Buffer).byteLength
    expect(received).toBe(20 * MEGABYTE)
    await until(() => cache.stats().reasons['too-large'] === 1)
    expect(cache.stats()).toMatchObject({ misses: 1, entries: 0, stores: 0 })
  })

  it('is not held in memory once it is too large', async () => {
    let received = 0
    let held = Number.NaN
    collectGarbage()
    const start = process.memoryUsage().arrayBuffers
    const { source } = twentyMegabytes(async () => {
      await until(() => received > 19 * MEGABYTE)
      collectGarbage()
      await turns(2)
      collectGarbage()
      held = process.memoryUsage().arrayBuffers - start
    })
    const { url } = await serve(source)
    for await (const chunk of await open(url)) received += (chunk as Buffer).byteLength
    expect(received).toBe(20 * MEGABYTE)
    expect(held).toBeLessThan(6 * MEGABYTE)
  })
})
