import http from 'node:http'
import express, { type Express } from 'express'
import Koa from 'koa'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { tagcache as tagcacheKoa } from '../../src/adapters/koa.ts'
import { tagcache as tagcacheNode } from '../../src/adapters/node.ts'
import { createCache, decodeKey } from '../../src/index.ts'
import { start } from '../peers/support.ts'
import { ask, askRaw } from '../support/http.ts'

/** Echoes the target of the request, cached in four ways. */
function echo(): Express {
  const { cached } = tagcache()
  const { cached: cachedNode } = tagcacheNode()
  const app = express()
  app.get('/routed/:id', cached(), (req, res) => void res.send(req.originalUrl))
  app.get('/selected', cached({ query: { ignore: ['utm_*'] } }), (req, res) => void res.send(req.originalUrl))
  app.use('/used', cached(), (req, res) => void res.send(req.originalUrl))
  app.use('/node', cachedNode(), (req, res) => void res.send(req.originalUrl))
  return app
}

/** The body, or the status line of an answer that is not 200. */
async function rawGet(port: number, target: string | Buffer, headers = ''): Promise<string> {
  const text = await askRaw(
    port,
    Buffer.concat([
      Buffer.from('GET '),
      typeof target === 'string' ? Buffer.from(target, 'latin1') : target,
      Buffer.from(` HTTP/1.1\r\nHost: h\r\nConnection: close\r\n${headers}\r\n`, 'latin1'),
    ]),
  )
  const [head = '', body = ''] = text.split('\r\n\r\n')
  return head.startsWith('HTTP/1.1 200') ? body : head.split('\r\n', 1)[0]!
}

const PLACES = ['/routed/1', '/selected', '/used/x', '/node/x']

describe('a query that cannot be read has a key of its own', () => {
  const QUERIES = [
    'a=%',
    'a=%z',
    'a=%zz',
    'a=%4',
    'a=%25',
    'a=%E0%A4%A',
    'a=%FF',
    'a=%FE',
    'a=%C0%80',
    'a=%ED%A0%80',
    'a=%ED%BF%BF',
    'a=%EF%BF%BD',
    'a=%00',
    '%00=a',
    'a=%0',
    'a%=1',
    '%',
    '%%',
    '%=%',
    'a=+',
    'a=%2B',
    'a=;b',
    'a=|',
    '=',
    '==',
    '[',
    'a[',
    'a[]',
    'a]',
  ]

  it.each(PLACES)('at %s', async (place) => {
    const { url } = await start(echo())
    for (const round of [1, 2])
      for (const query of QUERIES)
        expect((await ask(`${url}${place}?${query}`)).text, `round ${round}`).toBe(`${place}?${query}`)
  })

  it('with bytes that are no ASCII, control characters and quotes, as far as node:http lets them in', async () => {
    const { port } = await start(echo())
    const targets = [
      '\x80',
      '\xff',
      '\xc3\xa9',
      '\xed\xa0\x80',
      '"',
      '<',
      '\\',
      '^',
      '`',
      '{',
      '|',
      '}',
      "'",
      '\x7f',
      '\x01',
      '\0',
    ]
    const answers: string[] = []
    for (const round of [1, 2]) {
      for (const [at, char] of targets.entries()) {
        const answer = await rawGet(port, `/used/x?a=${char}`)
        if (round === 1) answers.push(answer)
        else expect(answer).toBe(answers[at])
      }
    }
    const accepted = answers.filter((answer) => !answer.startsWith('HTTP/1.1 400'))
    expect(new Set(accepted).size).toBe(accepted.length)
    expect(accepted.length).toBeGreaterThanOrEqual(5)
    expect(accepted.every((answer) => answer.startsWith('/used/x?a='))).toBe(true)
  })
})

describe('a path that cannot be read', () => {
  const PATHS = [
    '/%',
    '/%zz',
    '/%E0%A4%A',
    '/%00',
    '/%FF',
    '/%2F',
    '/%2f/x',
    '//',
    '/;a=1',
    '/%ED%A0%80',
    '/a%0Ab',
    '/..%2F',
    '/__proto__',
    '/constructor',
    '/%23',
    '/%3F',
  ]

  it.each(['/used', '/node'])('has a key of its own under %s', async (mount) => {
    const { port } = await start(echo())
    for (const round of [1, 2])
      for (const path of PATHS) expect(await rawGet(port, mount + path), `round ${round}`).toBe(mount + path)
  })

  it('is refused as without the cache where the framework refuses it', async () => {
    const { port } = await start(echo())
    for (const _round of [1, 2]) expect(await rawGet(port, '/routed/%zz')).toBe('HTTP/1.1 400 Bad Request')
    for (const path of ['/routed/%00', '/routed/%EF%BF%BD', '/routed/%EF%BF%BE'])
      for (const _round of [1, 2]) expect(await rawGet(port, path)).toBe(path)
  })

  it('has a key of its own under Koa', async () => {
    const { cached } = tagcacheKoa()
    const app = new Koa().use(cached()).use((ctx) => {
      ctx.body = ctx.originalUrl
    })
    const { port } = await start(app.callback())
    for (const round of [1, 2])
      for (const path of [...PATHS, '/?a=%', '/?a=%25', '/?%00'])
        expect(await rawGet(port, path), `round ${round}`).toBe(path)
  })

  it.each(['*', 'http://other.example/used/x', '/used/x#y', '/used/x?#', '/used/x?a#b=1'])(
    'that is no path at all is answered as without the cache: %s',
    async (target) => {
      const plain = express().use('/used', (req, res) => void res.send(req.originalUrl))
      const [{ port }, { port: plainPort }] = [await start(echo()), await start(plain)]
      const expected = await rawGet(plainPort, target)
      for (const _round of [1, 2]) expect(await rawGet(port, target)).toBe(expected)
    },
  )
})

describe('a long query', () => {
  it('of 100 kB has a key of its own', async () => {
    const server = http.createServer({ maxHeaderSize: 1 << 20 }, echo())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    onTestFinished(() => void server.close())
    const { port } = server.address() as { port: number }
    const long = 'x'.repeat(100_000)
    const many = Array.from({ length: 20_000 }, (_, at) => `a${at % 7}=${at}`).join('&')
    const nested = `a${'[b]'.repeat(30_000)}=1`
    const targets = [
      long,
      `${long}y`,
      many,
      `${many}&b=1`,
      nested,
      `${nested}2`,
      '%'.repeat(100_000),
      '&'.repeat(100_000),
    ]
    for (const place of PLACES)
      for (const round of [1, 2])
        for (const query of targets)
          expect((await rawGet(port, `${place}?${query}`)) === `${place}?${query}`, `round ${round}`).toBe(true)
  }, 20_000)

  it('takes time in proportion to its length', () => {
    const cache = createCache()
    const timeOf = (query: string) => {
      const startedAt = performance.now()
      cache.keyFromRequest('GET /x', { query })
      return performance.now() - startedAt
    }
    const attacks = ['%', '&', '=', '[', 'a[', '%41', '+', '%ff&', 'a=1&', '*'].map((piece) =>
      piece.repeat(100_000 / piece.length),
    )
    for (const attack of attacks) expect(timeOf(attack), attack.slice(0, 8)).toBeLessThan(1000)
  })
})

describe('header fields that somebody made up', () => {
  it.each(['constructor', 'toString', 'hasOwnProperty'])('do not mix answers that vary on %s', async (name) => {
    const { cached } = tagcache()
    const app = express().get('/', cached(), (req, res) => {
      const at = req.rawHeaders.findIndex((header) => header.toLowerCase() === name.toLowerCase())
      const sent = at === -1 ? 'none' : req.rawHeaders[at + 1]
      res.set('Vary', name).send(`sent ${sent}`)
    })
    const { port } = await start(app)
    const values = [undefined, 'a', 'b', String(Object)]
    for (const round of [1, 2]) {
      for (const value of values) {
        const header = value === undefined ? '' : `${name}: ${value}\r\n`
        expect(await rawGet(port, '/', header), `round ${round}`).toBe(`sent ${value ?? 'none'}`)
      }
    }
  })

  it('of bytes that are no ASCII are told apart', async () => {
    const { cached } = tagcache({ vary: 'x-name', host: true })
    const app = express().get(
      '/',
      cached(),
      (req, res) => void res.send(Buffer.from(String(req.get('x-name')), 'latin1')),
    )
    const { port } = await start(app)
    for (const _round of [1, 2])
      for (const value of ['\x80', '\xff', 'a\tb', 'a%09b', 'a, b', 'a|b', '%'])
        expect(await rawGet(port, '/', `X-Name: ${value}\r\n`)).toBe(value)
  })

  it.each(['', 'a b', '%', '|', '#scope=x', 'h/../', '[::1', '\xff'])(
    'a Host of %j has a key of its own',
    async (host) => {
      const { cached } = tagcache()
      const app = express().get('/', cached(), (req, res) => void res.send(JSON.stringify(req.headers.host)))
      const { port } = await start(app)
      const get = (name: string) =>
        askRaw(port, Buffer.from(`GET / HTTP/1.1\r\nHost: ${name}\r\nConnection: close\r\n\r\n`, 'latin1'))
      await get('plain')
      for (const _round of [1, 2]) expect(await get(host)).toMatch(/^HTTP\/1.1 (200|400)/)
      expect(await get('plain')).toContain('\r\n\r\n"plain"')
    },
  )

  it('a NUL in a header field is refused by node:http', async () => {
    const { port } = await start(echo())
    expect(await rawGet(port, '/used/x', 'X-Forwarded-Host: a\0b\r\n')).toBe('HTTP/1.1 400 Bad Request')
  })
})

describe('a programmatic request', () => {
  const VALUES = [
    '\ud800',
    '\udfff',
    '\ufffd',
    '\0',
    '%',
    '%u',
    '%uD800',
    '%00',
    '',
    '🙂',
    '\ud83d',
    '\ude42',
    'constructor',
    '__proto__',
  ]

  it('of lone surrogates, NUL and the like has a key that can be read back', () => {
    const cache = createCache()
    const keys = VALUES.flatMap((value) => [
      cache.keyFromRequest('GET /:id', { params: { id: value } }),
      cache.keyFromRequest('GET /:id', { scope: `scope ${value}` }),
      cache.keyFromRequest('GET /:id', { key: value }),
      cache.keyFromRequest('GET /:id', { host: value }),
      cache.keyFromRequest('GET /:id', { headers: { x: value }, vary: ['x'] }),
      cache.keyFromRequest(`GET /${value}x`),
    ])
    expect(new Set(keys).size).toBe(keys.length)
    for (const [at, value] of VALUES.entries())
      expect(decodeKey(keys[at * 6]!)).toMatchObject({ route: 'GET /:id', params: [['id', value]] })
    expect(keys.every((key) => key.isWellFormed() && !key.includes('\0'))).toBe(true)
  })

  it('without a route is an error that says so', () => {
    expect(() => createCache().keyFromRequest('')).toThrow(expect.objectContaining({ code: 'ERR_TAGCACHE_REQUEST' }))
  })
})
