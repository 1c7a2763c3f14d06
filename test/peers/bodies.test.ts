import { once } from 'node:events'
import http, { type RequestListener, type ServerResponse } from 'node:http'
import { PassThrough, pipeline, Readable } from 'node:stream'
import { gunzipSync } from 'node:zlib'
import compression from 'compression'
import express, { type RequestHandler } from 'express'
import Koa, { type Context } from 'koa'
import { describe, expect, it } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { tagcache as tagcacheKoa } from '../../src/adapters/koa.ts'
import { tagcache as tagcacheNode } from '../../src/adapters/node.ts'
import { type CacheOptions, type CacheStats, memory } from '../../src/index.ts'
import { ask, gate } from '../support/http.ts'
import { ManualTime } from '../support/time.ts'
import { start } from './support.ts'

type Way = 'an abort' | 'an error mid-stream' | 'a short Content-Length' | 'res.destroy()'
const WAYS: Way[] = ['an abort', 'an error mid-stream', 'a short Content-Length', 'res.destroy()']

interface Site {
  readonly listener: RequestListener
  readonly stats: () => CacheStats
}

// A body that begins and then fails.
function failing(): Readable {
  return Readable.from(
    (async function* () {
      yield 'half'
      await new Promise((resolve) => setImmediate(resolve))
      throw new Error('the source failed')
    })(),
  )
}

function cutResponse(way: Way, res: ServerResponse): void {
  res.setHeader('Content-Type', 'text/plain')
  if (way === 'an error mid-stream') return void pipeline(failing(), res, () => {})
  if (way === 'a short Content-Length') return void res.setHeader('Content-Length', 100).end('half')
  res.write('half', () => way === 'res.destroy()' && res.destroy())
  res.once('close', () => res.end(' and the rest'))
}

function cutContext(way: Way, ctx: Context): void {
  ctx.type = 'text/plain'
  if (way === 'an error mid-stream') {
    ctx.body = failing()
  } else if (way === 'a short Content-Length') {
    ctx.body = Readable.from([Buffer.from('half')])
    ctx.length = 100
  } else {
    const body = new PassThrough()
    body.write('half', () => way === 'res.destroy()' && setImmediate(() => ctx.res.destroy()))
    ctx.res.once('close', () => body.end(' and the rest'))
    ctx.body = body
  }
}

/** Sites whose first answer is cut, and whose others are whole. */
const FRAMEWORKS: Record<string, (way: Way) => Site> = {
  Express(way) {
    const { cached, cache } = tagcache()
    let runs = 0
    const app = express().get('/', cached(), (_req, res) => {
      if (++runs === 1) cutResponse(way, res)
      else res.send('whole')
    })
    return { listener: app, stats: () => cache.stats() }
  },
  Koa(way) {
    const { cached, cache } = tagcacheKoa()
    let runs = 0
    const app = new Koa().use(cached()).use((ctx) => {
      if (++runs === 1) cutContext(way, ctx)
      else ctx.body = 'whole'
    })
    app.silent = true
    return { listener: app.callback(), stats: () => cache.stats() }
  },
  'node:http'(way) {
    const { cached, cache } = tagcacheNode()
    const layer = cached()
    let runs = 0
    const listener: RequestListener = (req, res) =>
      layer(req, res, () => {
        if (++runs === 1) cutResponse(way, res)
        else res.end('whole')
      })
    return { listener, stats: () => cache.stats() }
  },
}

/** Asks for what will be cut, and leaves after the first bytes if nobody else cuts it. */
async function askForCut(url: string, way: Way): Promise<void> {
  const request = http.get(url, { agent: false })
  const [response] = (await once(request, 'response')) as [http.IncomingMessage]
  const closed = new Promise((resolve) => response.on('error', () => {}).on('close', resolve))
  response.once('data', () => way === 'an abort' && request.destroy())
  await closed
  expect(response.complete).toBe(false)
}

describe('a body that was cut', () => {
  const cases = Object.keys(FRAMEWORKS).flatMap((framework) => WAYS.map((way) => [way, framework] as const))

  it.each(cases)('[cut] by %s is not stored, and the key works again at once, under %s', async (way, framework) => {
    const { listener, stats } = FRAMEWORKS[framework]!(way)
    const { url } = await start(listener)
    await askForCut(url, way)
    expect(await ask(url)).toMatchObject({ status: 200, text: 'whole', cacheStatus: 'tagcache; fwd=uri-miss; stored' })
    expect((await ask(url)).cacheStatus).toMatch(/; hit/)
    expect(stats()).toMatchObject({ stores: 1, misses: 2 })
  })

  it.each(WAYS)('[hang] by %s lets those who waited for it run for themselves', async (way) => {
    const { cached } = tagcache()
    const waiting = gate()
    let runs = 0
    const app = express().get('/', cached(), async (_req, res) => {
      if (++runs > 1) return void res.send('whole')
      await waiting.opened
      cutResponse(way, res)
    })
    const { url } = await start(app)
    const leader = askForCut(url, way)
    while (runs === 0) await ask(`${url}/nowhere`)
    const waiters = Array.from({ length: 20 }, () => ask(url))
    await ask(`${url}/nowhere`)
    await ask(`${url}/nowhere`)
    waiting.open()
    await leader
    for (const { status, text } of await Promise.all(waiters)) expect([status, text]).toEqual([200, 'whole'])
  })

  it('[hang] runs those who waited beside each other, not one after another', async () => {
    const { cached } = tagcache()
    const [failure, together] = [gate(), gate()]
    let runs = 0
    const app = express().get('/', cached(), async (_req, res) => {
      if (++runs === 1) return void failure.opened.then(() => res.destroy())
      if (runs === 11) together.open()
      await together.opened
      res.send('whole')
    })
    const { url } = await start(app)
    const leader = ask(url).catch(() => 'cut')
    while (runs === 0) await ask(`${url}/nowhere`)
    const waiters = Array.from({ length: 10 }, () => ask(url))
    await ask(`${url}/nowhere`)
    await ask(`${url}/nowhere`)
    failure.open()
    expect(await leader).toBe('cut')
    expect((await Promise.all(waiters)).map(({ text }) => text)).toEqual(Array(10).fill('whole'))
  })

  it('[hang] a handler that never answers holds others no longer than maxWait', async () => {
    const time = new ManualTime()
    const { cached } = tagcache({ time, coalesce: { maxWait: '3s' } })
    let runs = 0
    const app = express().get('/', cached(), (_req, res) => {
      if (++runs > 1) res.send('whole')
    })
    const { url } = await start(app)
    const hanging = http.get(url, { agent: false }).on('error', () => {})
    while (runs === 0) await ask(`${url}/nowhere`)
    const waiter = ask(url)
    while (time.pending === 0) await ask(`${url}/nowhere`)
    time.move(3000)
    expect((await waiter).text).toBe('whole')
    expect((await ask(url)).text).toBe('whole')
    hanging.destroy()
  })

  it('[hang] a Koa body that cannot be read leaves nothing for others to wait for', async () => {
    const time = new ManualTime()
    const { cached } = tagcacheKoa({ time })
    const used = new Response('x')
    await used.text()
    let runs = 0
    const app = new Koa().use(cached()).use((ctx) => {
      ctx.body = ++runs === 1 ? used : 'whole'
    })
    app.silent = true
    const { url } = await start(app.callback())
    expect((await ask(url)).status).toBe(500)
    const second = ask(url)
    const settled = await Promise.race([
      second.then(() => true),
      new Promise((resolve) => setTimeout(resolve, 1000, false)),
    ])
    expect(settled).toBe(true)
    expect((await second).text).toBe('whole')
  })

  it('[hang] a handler that throws leaves nothing for others to wait for', async () => {
    const { cached } = tagcache()
    let runs = 0
    const app = express().get('/', cached(), async (_req, res) => {
      if (++runs === 1) throw new Error('no')
      res.send('whole')
    })
    app.use(((_error, _req, res, _next) => void res.status(500).send('failed')) as express.ErrorRequestHandler)
    const { url } = await start(app)
    expect(await ask(url)).toMatchObject({ status: 500, text: 'failed' })
    expect(await ask(url)).toMatchObject({ status: 200, text: 'whole' })
  })
})

describe('a part of a body', () => {
  it('[206] that a handler gave for a Range is not served to others', async () => {
    const { cached } = tagcache()
    const app = express().get('/', cached(), (_req, res) => {
      res.sendFile(new URL('../../LICENSE', import.meta.url).pathname, { cacheControl: false })
    })
    const { url } = await start(app)
    const part = await ask(url, { headers: { Range: 'bytes=0-9' } })
    expect([part.status, part.body.byteLength]).toEqual([206, 10])
    const whole = await ask(url)
    expect([whole.status, whole.body.byteLength]).toEqual([200, Number(whole.headers['content-length'])])
    expect(whole.body.byteLength).toBeGreaterThan(1000)
    expect((await ask(url)).body.equals(whole.body)).toBe(true)
    expect((await ask(url, { headers: { Range: 'bytes=0-9' } })).body.byteLength).toBe(10)
  })

  it('[206] that nobody asked for is not stored', async () => {
    const { cached, cache } = tagcache({ statuses: [200, 206] })
    const app = express().get('/', cached({ ttl: 60 }), (_req, res) => {
      res.status(206).set('Content-Range', 'bytes 0-1/5').send('he')
    })
    const { url } = await start(app)
    await ask(url)
    expect((await ask(url)).status).toBe(206)
    expect(cache.stats()).toMatchObject({ stores: 0, hits: 0 })
  })
})

function oneAnswer(handler: RequestHandler, options: CacheOptions = {}) {
  const { cached, cache } = tagcache(options)
  const app = express().disable('etag')
  app.get('/', cached(), handler)
  return { app, cache }
}

describe('a hit', () => {
  it('[lost-headers] has the headers of the miss, spelt alike and as often', async () => {
    const { app } = oneAnswer((_req, res) => {
      res.setHeader('ETag', '"one"')
      res.setHeader('Last-Modified', 'Mon, 05 Jan 2026 00:00:00 GMT')
      res.setHeader('Link', ['</a>; rel=a', '</b>; rel=b'])
      res.setHeader('X-cUsToM', 'ü')
      res.writeHead(203, 'As It Were', { 'Content-Disposition': 'attachment', 'Content-Type': 'text/x-own' })
      res.end('body')
    })
    const { url } = await start(app)
    const [miss, hit] = [await ask(url), await ask(url)]
    expect(hit.cacheStatus).toMatch(/; hit/)
    expect([hit.status, hit.statusMessage, hit.text]).toEqual([203, 'As It Were', 'body'])
    expect(linesOf(hit.rawHeaders)).toEqual(linesOf(miss.rawHeaders))
    expect(linesOf(hit.rawHeaders)).toContain('X-cUsToM: ü')
  })

  // Framing, Age and Cache-Status are each answer's own.
  function linesOf(raw: readonly string[]): string[] {
    const own = /^(age|cache-status|connection|content-length|transfer-encoding|keep-alive)$/i
    return raw.flatMap((name, at) => (at % 2 === 0 && !own.test(name) ? [`${name}: ${raw[at + 1]}`] : [])).sort()
  }

  const CONDITIONS: [condition: string, status: number][] = [
    ['"a"', 304],
    ['W/"a"', 304],
    ['"x", W/"a"', 304],
    ['"x","a","y"', 304],
    ['*', 304],
    ['"b"', 200],
    ['a', 200],
  ]

  it.each(CONDITIONS)('[if-none-match] answers If-None-Match: %s with %i', async (condition, status) => {
    const { app } = oneAnswer((_req, res) => void res.set('ETag', '"a"').send('body'))
    const { url } = await start(app)
    await ask(url)
    const answer = await ask(url, { headers: { 'If-None-Match': condition } })
    expect([answer.status, answer.text]).toEqual([status, status === 304 ? '' : 'body'])
    expect(answer.headers.etag).toBe('"a"')
    expect(answer.cacheStatus).toMatch(/; hit/)
  })

  it('[if-none-match] on a miss is answered, and stores the whole answer for others', async () => {
    const { app } = oneAnswer((_req, res) => void res.set('ETag', '"a"').send('body'))
    const { url } = await start(app)
    expect(await ask(url, { headers: { 'If-None-Match': '"a"' } })).toMatchObject({ status: 304, text: '' })
    expect(await ask(url)).toMatchObject({ status: 200, text: 'body' })
    expect((await ask(url)).cacheStatus).toMatch(/; hit/)
  })

  it('[if-none-match] of a body that is too large to be stored is answered as without the cache', async () => {
    const { cached } = tagcache({ maxBodySize: 10 })
    const app = express()
    const handler: RequestHandler = (_req, res) => void res.send('more than ten bytes')
    app.get('/plain', handler)
    app.get('/cached', cached(), handler)
    const { url } = await start(app)
    const { etag } = (await ask(`${url}/plain`)).headers
    const headers = { 'If-None-Match': etag! }
    expect((await ask(`${url}/plain`, { headers })).status).toBe(304)
    expect((await ask(`${url}/cached`, { headers })).status).toBe(304)
  })

  it('[if-none-match] the tag of one URL says nothing of another', async () => {
    const { cached } = tagcache()
    const app = express().get('/:id', cached(), (req, res) => void res.send(`page ${req.params.id}`))
    const { url } = await start(app)
    const etag = (await ask(`${url}/1`)).headers.etag!
    await ask(`${url}/2`)
    const headers = { 'If-None-Match': etag }
    expect((await ask(`${url}/1`, { headers })).status).toBe(304)
    expect(await ask(`${url}/2`, { headers })).toMatchObject({ status: 200, text: 'page 2' })
  })

  const LONG = 'compressible '.repeat(500)

  it.each(['above', 'below'])(
    '[encoding] sends gzip only to those who accept it, with compression %s the cache',
    async (place) => {
      const { cached } = tagcache()
      const app = express()
      let runs = 0
      if (place === 'above') app.use(compression())
      app.get('/', cached(), ...(place === 'below' ? [compression()] : []), (_req, res) => {
        runs += 1
        res.type('text').send(LONG)
      })
      const { url } = await start(app)
      for (const encoding of ['gzip', undefined, 'gzip', undefined, 'identity']) {
        const answer = await ask(url, { headers: encoding ? { 'Accept-Encoding': encoding } : {} })
        expect(answer.headers['content-encoding']).toBe(encoding === 'gzip' ? 'gzip' : undefined)
        expect((encoding === 'gzip' ? gunzipSync(answer.body) : answer.body).toString() === LONG).toBe(true)
      }
      expect(runs).toBe(place === 'above' ? 1 : 3)
    },
  )

  it('[binary] has the bytes of the miss', async () => {
    const bytes = Buffer.from(Array.from({ length: 512 }, (_, at) => at % 256))
    const { app } = oneAnswer((_req, res) => {
      res.type('bin')
      res.write(bytes.subarray(0, 100))
      res.write(bytes.toString('latin1', 100, 200), 'latin1')
      res.write(bytes.toString('hex', 200, 300), 'hex')
      res.end(new Uint8Array(bytes.subarray(300)))
    })
    const { url } = await start(app)
    const [miss, hit] = [await ask(url), await ask(url)]
    expect(miss.body.equals(bytes)).toBe(true)
    expect(hit.body.equals(bytes)).toBe(true)
    expect(hit.headers['content-type']).toBe('application/octet-stream')
  })

  it('[binary] has them under Koa, and what the writer does to its buffer later does not change them', async () => {
    const bytes = Buffer.from([0, 255, 128, 10])
    const { cached } = tagcacheKoa()
    const app = new Koa().use(cached()).use((ctx) => {
      ctx.body = bytes
    })
    const { url } = await start(app.callback())
    await ask(url)
    bytes.fill(7)
    const hit = await ask(url)
    expect(hit.cacheStatus).toMatch(/; hit/)
    expect([...hit.body]).toEqual([0, 255, 128, 10])
  })
})

describe('bytes that are changed while they are stored', () => {
  const BYTES = Buffer.from([0, 255, 128, 10])

  it('[binary] stay as they were sent where the writer uses its buffer again', async () => {
    const { app } = oneAnswer((_req, res) => {
      const bytes = Buffer.from(BYTES)
      res.type('bin').end(bytes)
      bytes.fill(7)
    })
    const { url } = await start(app)
    await ask(url)
    expect((await ask(url)).body.equals(BYTES)).toBe(true)
  })

  it('[binary] stay as the handler gave them where a layer above changes them on their way', async () => {
    const { cached, cache } = tagcache()
    const app = express().disable('etag')
    app.use((_req, res, next) => {
      const { end } = res
      res.end = ((bytes: Buffer) => Reflect.apply(end, res, [bytes.fill(7)])) as typeof res.end
      next()
    })
    app.get('/', cached({ tags: 'page' }), (_req, res) => res.type('bin').end(Buffer.from(BYTES)))
    const { url } = await start(app)
    expect([...(await ask(url)).body]).toEqual([7, 7, 7, 7])
    expect([...(await ask(url)).body]).toEqual([7, 7, 7, 7])
    expect([...cache.getByTags(['page'])!.body]).toEqual([...BYTES])
  })
})

describe('a body of 50 MB in chunks of 64 kB', () => {
  const CHUNK = Buffer.alloc(65_536, 'x')
  const CHUNKS = 800

  function writeAll(res: ServerResponse): void {
    let left = CHUNKS
    const some = () => {
      while (left-- > 0) if (!res.write(CHUNK)) return void res.once('drain', some)
      res.end()
    }
    some()
  }

  /** Milliseconds until the first byte and the last, and the most memory in buffers on the way. */
  async function download(url: string) {
    const before = process.memoryUsage().arrayBuffers
    const startedAt = performance.now()
    const request = http.get(url, { agent: false })
    const [response] = (await once(request, 'response')) as [http.IncomingMessage]
    let [first, size, peak, chunks] = [0, 0, 0, 0]
    for await (const chunk of response) {
      first ||= performance.now() - startedAt
      size += (chunk as Buffer).byteLength
      if (chunks++ % 50 === 0) peak = Math.max(peak, process.memoryUsage().arrayBuffers - before)
    }
    return { first, total: performance.now() - startedAt, size, peak, cacheStatus: response.headers['cache-status'] }
  }

  async function site(options: CacheOptions) {
    const { cached, cache } = tagcache(options)
    const app = express()
    app.get('/plain', (_req, res) => writeAll(res))
    app.get('/cached', cached(), (_req, res) => writeAll(res))
    const { url } = await start(app)
    return { url, cache }
  }

  it('[big-body] streams past a cache that is too small for it', async () => {
    const { url, cache } = await site({})
    const plain = await download(`${url}/plain`)
    const streamed = await download(`${url}/cached`)
    expect(streamed.size).toBe(CHUNKS * CHUNK.byteLength)
    expect(streamed.first).toBeLessThan(streamed.total / 2)
    expect(streamed.total).toBeLessThan(Math.min(5000, plain.total * 5 + 500))
    expect(streamed.peak).toBeLessThan(plain.peak + 40e6)
    expect(cache.stats()).toMatchObject({ stores: 0, bytes: 0, reasons: { 'too-large': 1 } })
  })

  it('[big-body] is stored where there is room, without waiting for its end, and replayed as fast', async () => {
    const { url, cache } = await site({ backend: memory({ maxSize: '1gb' }) })
    const plain = await download(`${url}/plain`)
    const miss = await download(`${url}/cached`)
    const hit = await download(`${url}/cached`)
    expect([miss.size, hit.size]).toEqual([CHUNKS * CHUNK.byteLength, CHUNKS * CHUNK.byteLength])
    expect(miss.first).toBeLessThan(miss.total / 2)
    expect(Math.max(miss.total, hit.total)).toBeLessThan(Math.min(5000, plain.total * 5 + 500))
    expect(hit.cacheStatus).toMatch(/; hit/)
    expect(cache.stats().bytes).toBeLessThan(CHUNKS * CHUNK.byteLength + 10_000)
  })
})
