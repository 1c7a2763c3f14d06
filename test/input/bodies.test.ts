import { once } from 'node:events'
import http, { type RequestListener, type ServerResponse } from 'node:http'
import net from 'node:net'
import { PassThrough, Readable } from 'node:stream'
import express from 'express'
import Koa, { type Context } from 'koa'
import { describe, expect, it } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { tagcache as tagcacheKoa } from '../../src/adapters/koa.ts'
import { tagcache as tagcacheNode } from '../../src/adapters/node.ts'
import { start } from '../peers/support.ts'
import { ask, askRaw } from '../support/http.ts'

/** A body in pieces; an error ends it early. */
function pieces(...list: (string | Error)[]): Readable {
  return Readable.from(
    (async function* () {
      for (const piece of list) {
        await new Promise((resolve) => setImmediate(resolve))
        if (piece instanceof Error) throw piece
        yield Buffer.from(piece)
      }
    })(),
  )
}

/** How a first answer goes wrong; those after it are whole. */
const RESPONSES: Record<string, (res: ServerResponse) => unknown> = {
  'fewer bytes than its Content-Length': (res) => res.setHeader('Content-Length', 10).end('half'),
  'fewer bytes than its Content-Length, in pieces': (res) => {
    res.writeHead(200, { 'Content-Length': '10' })
    res.write('ha')
    setImmediate(() => res.end('lf'))
  },
  'more bytes than its Content-Length': (res) => res.setHeader('Content-Length', 3).end('half'),
  'more bytes than its Content-Length, in pieces': (res) => {
    res.writeHead(200, ['Content-Length', '3'])
    res.write('ha')
    setImmediate(() => res.end('lf'))
  },
  'an error in the middle': (res) => {
    pieces('half', new Error('no'))
      .on('error', (error) => res.destroy(error))
      .pipe(res)
  },
  'res.destroy() in the middle': (res) => res.write('half', () => res.destroy()),
  'res.destroy() before the first byte': (res) => res.destroy(),
  'the socket destroyed': (res) => res.write('half', () => res.socket?.destroy()),
}

const CONTEXTS: Record<string, (ctx: Context) => unknown> = {
  'fewer bytes than its Content-Length': (ctx) => Object.assign(ctx, { body: pieces('ha', 'lf'), length: 10 }),
  'more bytes than its Content-Length': (ctx) => Object.assign(ctx, { body: pieces('ha', 'lf'), length: 3 }),
  'a buffer longer than its Content-Length': (ctx) => Object.assign(ctx, { body: Buffer.from('half'), length: 3 }),
  'an error in the middle': (ctx) => Object.assign(ctx, { body: pieces('half', new Error('no')) }),
  'an error before the first byte': (ctx) => Object.assign(ctx, { body: pieces(new Error('no')) }),
  'res.destroy() in the middle': (ctx) => {
    const body = new PassThrough()
    body.write('half', () => setImmediate(() => setImmediate(() => ctx.res.destroy())))
    ctx.body = body
  },
}

type Make = (isCached: boolean) => RequestListener

const expressSite =
  (answer: (res: ServerResponse) => unknown): Make =>
  (isCached) => {
    let runs = 0
    const { cached } = tagcache()
    return express().get('/', ...(isCached ? [cached()] : []), (_req, res) => {
      if (++runs === 1) answer(res.type('text'))
      else res.send('whole')
    })
  }

const nodeSite =
  (answer: (res: ServerResponse) => unknown): Make =>
  (isCached) => {
    let runs = 0
    const layer = tagcacheNode().cached()
    const handler: RequestListener = (_req, res) => {
      if (++runs === 1) answer(res)
      else res.end('whole')
    }
    return isCached ? (req, res) => layer(req, res, () => handler(req, res)) : handler
  }

const koaSite =
  (answer: (ctx: Context) => unknown): Make =>
  (isCached) => {
    let runs = 0
    const app = new Koa()
    app.silent = true
    if (isCached) app.use(tagcacheKoa().cached())
    app.use((ctx) => {
      if (++runs === 1) answer(ctx)
      else ctx.body = 'whole'
    })
    return app.callback()
  }

const CASES: [way: string, framework: string, make: Make][] = [
  ...Object.entries(RESPONSES).map(([way, answer]): [string, string, Make] => [way, 'Express', expressSite(answer)]),
  ...Object.entries(RESPONSES).map(([way, answer]): [string, string, Make] => [way, 'node:http', nodeSite(answer)]),
  ...Object.entries(CONTEXTS).map(([way, answer]): [string, string, Make] => [way, 'Koa', koaSite(answer)]),
]

// What the cache may add, and what depends on the time.
const ADDED = /^(cache-status|cache-control|etag|date): .*\r\n/gim
const get = (port: number) => `GET / HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nConnection: close\r\n\r\n`

async function rawAnswer(listener: RequestListener): Promise<{ text: string; url: string }> {
  const { port, url } = await start(listener)
  const text = await askRaw(port, get(port)).catch((error: NodeJS.ErrnoException) => `socket error ${error.code}`)
  return { text: text.replace(ADDED, ''), url }
}

describe('a body that is not what was announced', () => {
  it.each(CASES)(
    'with %s, under %s: is delivered as without the cache, never stored, and the key works at once',
    async (_way, _framework, make) => {
      const plain = await rawAnswer(make(false))
      const cached = await rawAnswer(make(true))
      expect(cached.text).toBe(plain.text)
      expect(await ask(cached.url)).toMatchObject({
        status: 200,
        text: 'whole',
        cacheStatus: 'tagcache; fwd=uri-miss; stored',
      })
      expect(await ask(cached.url)).toMatchObject({
        text: 'whole',
        cacheStatus: expect.stringMatching(/^tagcache; hit/),
      })
    },
  )

  it.each(['Express', 'Koa'])(
    'because its client left, under %s: the handler is told as without the cache',
    async (framework) => {
      let runs = 0
      const closed: string[] = []
      const answer = (res: ServerResponse, body: PassThrough) => {
        body.on('close', () => closed.push('body'))
        res.on('close', () => closed.push('response'))
        body.write('half')
      }
      const { cached } = tagcache()
      const koa = tagcacheKoa()
      const app = express().get('/', cached(), (_req, res) => {
        if (++runs > 1) return void res.send('whole')
        const body = new PassThrough()
        res.on('close', () => body.destroy())
        answer(res, body)
        body.pipe(res)
      })
      const koaApp = new Koa().use(koa.cached()).use((ctx) => {
        if (++runs > 1) ctx.body = 'whole'
        else answer(ctx.res, (ctx.body = new PassThrough()))
      })
      koaApp.silent = true
      const { url } = await start(framework === 'Express' ? app : koaApp.callback())
      const request = http.get(url, { agent: false }).on('error', () => {})
      const [response] = (await once(request, 'response')) as [http.IncomingMessage]
      response.on('error', () => {})
      await once(response, 'data')
      request.destroy()
      while (closed.length < 2) await new Promise((resolve) => setImmediate(resolve))
      expect(closed.toSorted()).toEqual(['body', 'response'])
      expect(await ask(url)).toMatchObject({ text: 'whole', cacheStatus: 'tagcache; fwd=uri-miss; stored' })
    },
  )

  it('because its client left before the handler answered: nothing is stored, nobody waits', async () => {
    const { cached, cache } = tagcache()
    let [runs, left] = [0, false]
    const app = express().get('/', cached(), (_req, res) => {
      if (++runs > 1) return void res.send('whole')
      res.once('close', () => {
        left = true
        res.send('to nobody')
      })
    })
    const { url, port } = await start(app)
    const socket = net.connect(port, '127.0.0.1')
    socket.write(get(port))
    while (runs === 0) await ask(`${url}/nowhere`)
    const waiter = ask(url)
    await ask(`${url}/nowhere`)
    socket.destroy()
    expect((await waiter).text).toBe('whole')
    expect([left, cache.stats().stores]).toEqual([true, 1])
    expect((await ask(url)).text).toBe('whole')
  })
})
