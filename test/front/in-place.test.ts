import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import http, { type RequestListener, type Server } from 'node:http'
import http2 from 'node:http2'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import express5, { type RequestHandler } from 'express'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tagcache as expressCache } from '../../src/adapters/express.ts'
import { tagcache as koaCache } from '../../src/adapters/koa.ts'
import { tagcache as nodeCache } from '../../src/adapters/node.ts'
import { ask } from '../support/http.ts'
import { EXPRESSES, KOAS } from '../support/stacks.ts'

async function urlOf(server: Server): Promise<string> {
  if (!server.listening) await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe.each(EXPRESSES)('$name', ({ express }) => {
  function anApp() {
    const { front, cached } = expressCache()
    let inside = 0
    const app = express()
    app.use((_req, _res, next) => {
      inside += 1
      next()
    })
    app.get('/a', cached({ front: true }), (_req, res) => void res.send('a'))
    return { front, app, inside: () => inside }
  }

  it('is changed in place, so that it listens as before', async () => {
    const { front, app, inside } = anApp()
    app.set('own', 'kept')
    expect(front(app)).toBe(app)
    expect(app.get('own')).toBe('kept')
    const url = await urlOf(app.listen(0))
    expect([(await ask(`${url}/a`)).text, (await ask(`${url}/a`)).text, inside()]).toEqual(['a', 'a', 1])
    expect((await ask(`${url}/none`)).status).toBe(404)
  })

  it('listens with a server of its own', async () => {
    const { front, app, inside } = anApp()
    const url = await urlOf(http.createServer(front(app)).listen(0))
    await ask(`${url}/a`)
    const hit = await ask(`${url}/a`)
    expect([hit.text, hit.headers['x-powered-by'], inside()]).toEqual(['a', undefined, 1])
  })

  it('is stood in front of once', async () => {
    const { front, app } = anApp()
    const { handle } = front(app) as unknown as { handle: unknown }
    expect((front(app) as unknown as { handle: unknown }).handle).toBe(handle)
  })

  it('takes routes that are added later', async () => {
    const { front, app } = anApp()
    front(app)
    app.get('/late', (_req, res) => void res.send('late'))
    const url = await urlOf(app.listen(0))
    expect((await ask(`${url}/late`)).text).toBe('late')
  })

  it('leaves its requests to the application that it is mounted in', async () => {
    const { front, app, inside } = anApp()
    const outer = express()
    outer.use('/inner', front(app))
    const url = await urlOf(outer.listen(0))
    await ask(`${url}/inner/a`)
    expect([(await ask(`${url}/inner/a`)).text, inside()]).toEqual(['a', 2])
  })

  it('answers mounted routes by the whole path', async () => {
    const { front, cached } = expressCache()
    const app = express()
    let runs = 0
    const router = express.Router()
    router.get(
      '/:id',
      cached({ front: true }),
      (req, res) => void res.send(`${req.baseUrl} ${req.params.id} ${++runs}`),
    )
    app.use('/one', router)
    app.use('/two', router)
    const url = await urlOf(front(app).listen(0))
    for (const _ of [1, 2]) {
      expect((await ask(`${url}/one/x`)).text).toBe('/one x 1')
      expect((await ask(`${url}/two/x`)).text).toBe('/two x 2')
    }
  })

  it('believes a proxy about the host, each for itself', async () => {
    const { front, cached } = expressCache()
    const app = express()
    app.set('trust proxy', true)
    let inside = 0
    app.get('/a', cached({ front: true }), (req, res) => {
      inside += 1
      res.send(req.hostname)
    })
    const url = await urlOf(front(app).listen(0))
    for (const host of ['one.test', 'two.test', 'one.test', 'two.test']) {
      expect((await ask(`${url}/a`, { headers: { 'X-Forwarded-Host': host } })).text).toBe(host)
    }
    expect(inside).toBe(2)
  })
})

describe.each(KOAS)('$name', ({ Koa }) => {
  function anApp() {
    const { front, cached } = koaCache()
    let inside = 0
    const app = new Koa()
    app.use((_ctx, next) => {
      inside += 1
      return next()
    })
    const add = () => {
      app.use(cached({ front: true }))
      app.use((ctx) => {
        ctx.body = ctx.path
      })
    }
    return { front, app, add, inside: () => inside }
  }

  it('is changed in place, so that it listens as before', async () => {
    const { front, app, add, inside } = anApp()
    front(app)
    add()
    const url = await urlOf(app.listen(0))
    expect([(await ask(`${url}/a`)).text, (await ask(`${url}/a`)).text, inside()]).toEqual(['/a', '/a', 1])
  })

  it.each([1, 2])('gives what a server takes, asked %i times', async (times) => {
    const { front, app, add, inside } = anApp()
    let listener: RequestListener = front(app)
    for (let at = 1; at < times; at += 1) listener = front(app)
    add()
    const url = await urlOf(http.createServer(front(listener)).listen(0))
    expect([(await ask(`${url}/a`)).text, (await ask(`${url}/a`)).text, inside()]).toEqual(['/a', '/a', 1])
  })

  it('leaves it to the application who hears of errors', async () => {
    const { front, app } = anApp()
    front(app)
    expect(app.listenerCount('error')).toBe(0)
  })
})

describe('a listener that another application has in several places', () => {
  it('is left its requests there, and the way on', async () => {
    const { front, cached } = nodeCache()
    const handle = cached({ front: true })
    const listener = front(((req, res, next) => {
      if (req.url === '/none') return next()
      handle(req, res, () => res.end(`answer to ${req.originalUrl}`))
    }) as RequestHandler as RequestListener)
    const outer = express5()
    for (const place of ['/a', '/b', '/:tenant']) outer.use(place, listener)
    outer.use((_req, res) => void res.end('after all'))
    const url = await urlOf(outer.listen(0))
    for (const path of ['/a/x', '/a/x', '/b/x', '/c/x', '/d/x', '/a/x'])
      expect((await ask(url + path)).text).toBe(`answer to ${path}`)
    expect((await ask(`${url}/a/none`)).text).toBe('after all')
  })

  it('is in front where it is given the whole URL', async () => {
    const { front, cached } = nodeCache()
    const handle = cached({ front: true })
    let inside = 0
    const listener = front((req, res) => {
      inside += 1
      handle(req, res, () => res.end('answer'))
    })
    const url = await urlOf(express5().use(listener).listen(0))
    for (const _ of [1, 2]) expect((await ask(`${url}/a`)).text).toBe('answer')
    expect(inside).toBe(1)
  })
})

describe('https', () => {
  it('is told apart from http', async () => {
    const { front, cached } = nodeCache()
    const handle = cached({ front: true })
    let inside = 0
    const listener = front((req, res) => {
      inside += 1
      handle(req, res, () => res.end('encrypted' in req.socket ? 'https' : 'http'))
    })
    const plain = await urlOf(http.createServer(listener).listen(0))
    const secure = https.createServer(certificate(), listener).listen(0)
    await urlOf(secure as unknown as Server)
    const { port } = secure.address() as AddressInfo
    const askSecurely = () =>
      new Promise<string>((resolve, reject) => {
        const options = { port, path: '/a', headers: { host: 'one' }, rejectUnauthorized: false, agent: false }
        https
          .get({ host: '127.0.0.1', ...options }, (response) => {
            response.setEncoding('utf8').on('data', resolve)
          })
          .on('error', reject)
      })
    const askPlainly = async () => (await ask(`${plain}/a`, { headers: { host: 'one' } })).text
    expect([await askPlainly(), await askSecurely(), await askPlainly(), await askSecurely()]).toEqual([
      'http',
      'https',
      'http',
      'https',
    ])
    expect(inside).toBe(2)
  })
})

describe('HTTP/2', () => {
  it('goes to the application, which answers as ever', async () => {
    const { front, cached } = nodeCache()
    const handle = cached({ front: true })
    let inside = 0
    const listener = front((req, res) => {
      inside += 1
      handle(req, res, () => res.end('answer'))
    })
    const server = http2.createServer(listener as never).listen(0)
    await once(server, 'listening')
    const client = http2.connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    onTestFinished(() => {
      client.destroy()
      server.close()
    })
    for (const status of ['fwd=uri-miss', 'hit']) {
      const stream = client.request({ ':path': '/a', host: 'one' })
      const [headers] = (await once(stream, 'response')) as [http2.IncomingHttpHeaders]
      expect(headers['cache-status']).toContain(status)
      expect(String(await once(stream, 'data'))).toBe('answer')
    }
    expect(inside).toBe(2)
  })
})

function certificate(): { key: Buffer; cert: Buffer } {
  const folder = mkdtempSync(join(tmpdir(), 'tagcache-'))
  try {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const request = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=localhost']
    execFileSync('openssl', [...request, '-keyout', key, '-out', cert], { stdio: 'ignore' })
    return { key: readFileSync(key), cert: readFileSync(cert) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}
