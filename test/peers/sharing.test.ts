import express, { type RequestHandler } from 'express'
import { describe, expect, it } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import type { Cache, CacheOptions } from '../../src/index.ts'
import { ask, type Question } from '../support/http.ts'
import { start } from './support.ts'

/** A cached route whose handler counts its runs. */
function site(handler: RequestHandler, options: CacheOptions = {}, outer: RequestHandler[] = []) {
  const { cached, cache } = tagcache(options)
  const app = express().disable('etag')
  let runs = 0
  const counted: RequestHandler = (req, res, next) => {
    runs += 1
    return handler(req, res, next)
  }
  for (const layer of outer) app.use(layer)
  app.all('/page', cached(), counted)
  app.all('/page/:id', cached(), counted)
  return { app, cache, runs: () => runs }
}

async function texts(url: string, questions: readonly Question[]): Promise<string[]> {
  const found: string[] = []
  for (const question of questions) found.push((await ask(url, question)).text)
  return found
}

describe('an answer for one user', () => {
  it.each([
    ['[authorization]', 'authorization', 'Bearer '],
    ['[cookie]', 'cookie', 'session='],
  ])('%s is not replayed to another, nor stored', async (_word, name, prefix) => {
    const { app, cache } = site((req, res) => void res.send(`for ${req.headers[name] ?? 'all'}`))
    const { url } = await start(app)
    const users = ['ann', 'bob', 'ann'].map((user) => ({ headers: { [name]: prefix + user } }))
    expect(await texts(`${url}/page`, [...users, {}])).toEqual([
      `for ${prefix}ann`,
      `for ${prefix}bob`,
      `for ${prefix}ann`,
      'for all',
    ])
    expect((await ask(`${url}/page`, users[0])).cacheStatus).toBe('tagcache; fwd=bypass; detail=credentials')
    expect(cache.stats().stores).toBe(1)
  })

  it.each([
    ['[authorization]', 'authorization'],
    ['[cookie]', 'cookie'],
  ])('%s is not replaced by what is stored for all', async (_word, name) => {
    const { app } = site((req, res) => void res.send(String(req.headers[name])))
    const { url } = await start(app)
    expect(await texts(`${url}/page`, [{}, {}, { headers: { [name]: 'ann' } }])).toEqual([
      'undefined',
      'undefined',
      'ann',
    ])
  })

  it('[cookie] is shared only within the scope that the route names', async () => {
    const scope = (req: { headers: Record<string, unknown> }) => String(req.headers.cookie)
    const { app, runs } = site((req, res) => void res.send(String(req.headers.cookie)), { scope } as CacheOptions)
    const { url } = await start(app)
    const users = ['a=1', 'b=2', 'a=1', 'b=2'].map((cookie) => ({ headers: { cookie } }))
    expect(await texts(`${url}/page`, users)).toEqual(['a=1', 'b=2', 'a=1', 'b=2'])
    expect(runs()).toBe(2)
  })

  it.each([
    ['[private]', { 'Cache-Control': 'private, max-age=60' }],
    ['[private]', { 'cache-control': 'max-age=60, PRIVATE="x"' }],
    ['[no-store]', { 'Cache-Control': 'no-store' }],
    ['[no-store]', { 'Cache-Control': 'max-age=60,No-Store' }],
    ['[vary-star]', { Vary: '*' }],
    ['[vary-star]', { Vary: 'Accept, *' }],
    ['[set-cookie]', { 'Set-Cookie': 'session=ann' }],
  ])('%s is delivered whole and not stored, with %o', async (_word, headers) => {
    const { app, cache, runs } = site((_req, res) => void res.set(headers).send('mine'))
    const { url } = await start(app)
    for (const run of [1, 2]) {
      const answer = await ask(`${url}/page`)
      const [[name, value]] = Object.entries(headers) as [[string, string]]
      expect([answer.headers[name.toLowerCase()]].flat().join(), name).toBe(value)
      expect(runs()).toBe(run)
    }
    expect(cache.stats()).toMatchObject({ stores: 0, hits: 0 })
  })

  it('[private] that is being computed is given to nobody who waits for it', async () => {
    let visitors = 0
    const { app } = site((_req, res) => {
      const mine = String(++visitors)
      setImmediate(() => res.set('Cache-Control', 'private').send(mine))
    })
    const { url } = await start(app)
    const answers = await Promise.all(Array.from({ length: 20 }, () => ask(`${url}/page`)))
    expect(new Set(answers.map(({ text }) => text)).size).toBe(20)
  })

  it('[vary] by a request field goes only to those who sent the same', async () => {
    const { app, runs } = site(
      (req, res) => void res.vary('Accept-Language').send(req.get('accept-language') ?? 'none'),
    )
    const { url } = await start(app)
    const languages = ['de', 'fr', 'de', 'fr', 'de, fr'].map((language) => ({
      headers: { 'Accept-Language': language },
    }))
    const asked = [...languages, {}, {}]
    expect(await texts(`${url}/page`, asked)).toEqual(['de', 'fr', 'de', 'fr', 'de, fr', 'none', 'none'])
    expect(runs()).toBe(4)
  })

  it('[vary] holds for those who wait for the first answer', async () => {
    const { app } = site((req, res) => {
      setImmediate(() => res.vary('Accept-Language').send(req.get('accept-language')))
    })
    const { url } = await start(app)
    const languages = ['de', 'fr', 'it', 'de', 'fr']
    const answers = await Promise.all(
      languages.map((language) => ask(`${url}/page`, { headers: { 'Accept-Language': language } })),
    )
    expect(answers.map(({ text }) => text)).toEqual(languages)
  })
})

describe('where a request came for', () => {
  it('[host] one host does not get the answer of another', async () => {
    const { app } = site((req, res) => void res.send(req.headers.host))
    const { url } = await start(app)
    const hosts = ['a.example', 'b.example', 'a.example', 'a.example:81'].map((host) => ({ headers: { host } }))
    expect(await texts(`${url}/page`, hosts)).toEqual(['a.example', 'b.example', 'a.example', 'a.example:81'])
  })

  it.each(['x-forwarded-host', 'x-forwarded-proto', 'x-forwarded-prefix', 'x-original-url', 'x-host'])(
    '[forwarded-host] a reflected %s does not reach those who did not send it',
    async (name) => {
      const { app } = site((req, res) => void res.send(`go to ${req.headers[name] ?? 'the shop'}`))
      const { url } = await start(app)
      const evil = { headers: { [name]: 'evil.example' } }
      expect(await texts(`${url}/page`, [evil, {}, evil])).toEqual([
        'go to evil.example',
        'go to the shop',
        'go to evil.example',
      ])
    },
  )

  it('[forwarded-host] a trusted one is told apart as a host', async () => {
    const { app, runs } = site((req, res) => void res.send(req.hostname))
    app.set('trust proxy', true)
    const { url } = await start(app)
    const hosts = ['a.example', 'b.example', 'a.example'].map((host) => ({ headers: { 'X-Forwarded-Host': host } }))
    expect(await texts(`${url}/page`, hosts)).toEqual(['a.example', 'b.example', 'a.example'])
    expect(runs()).toBe(2)
  })

  it("[login-redirect] an anonymous visitor's redirect does not reach a signed-in one, nor the other way", async () => {
    const { app } = site((req, res) => {
      if (req.headers.cookie) res.send('your account')
      else res.redirect('/login')
    })
    const { url } = await start(app)
    const statuses: number[] = []
    for (const headers of [{}, { cookie: 'session=1' }, {}, { cookie: 'session=1' }])
      statuses.push((await ask(`${url}/page`, { headers })).status)
    expect(statuses).toEqual([302, 200, 302, 200])
  })
})

describe('what layers above have set', () => {
  it('[outer-headers] belongs to its visitor and is not replayed to another', async () => {
    let requests = 0
    const outer: RequestHandler = (req, res, next) => {
      res.set('X-Request-Id', String(++requests))
      res.set('Access-Control-Allow-Origin', req.get('origin') ?? 'none')
      if (requests === 1) res.set('X-First-Only', 'yes')
      res.cookie('visit', requests)
      next()
    }
    const { app, runs } = site((_req, res) => void res.set('X-Own', 'kept').send('x'), {}, [outer])
    const { url } = await start(app)
    await ask(`${url}/page`, { headers: { Origin: 'http://a' } })
    const { headers } = await ask(`${url}/page`, { headers: { Origin: 'http://b' } })
    expect(runs()).toBe(1)
    expect(headers).toMatchObject({
      'x-request-id': '2',
      'access-control-allow-origin': 'http://b',
      'x-own': 'kept',
      'set-cookie': ['visit=2; Path=/'],
    })
    expect(headers).not.toHaveProperty('x-first-only')
  })
})

describe('the kind of request', () => {
  it('[method] a stored GET answers GET and HEAD and nothing else, and nothing else is stored', async () => {
    const { app, runs } = site((req, res) => {
      if (req.get('x-fail') === 'yes') res.status(409)
      res.send(`${req.method} ${runs()}`)
    })
    const { url } = await start(app)
    const methods = ['POST', 'GET', 'POST', 'DELETE', 'PUT', 'PATCH', 'OPTIONS', 'GET', 'DELETE']
    // A write has to have failed to leave what is stored as it is.
    const answers = await texts(
      `${url}/page`,
      methods.map((method) => ({ method, headers: { 'X-Fail': method === 'GET' ? 'no' : 'yes' } })),
    )
    expect(answers).toEqual([
      'POST 1',
      'GET 2',
      'POST 3',
      'DELETE 4',
      'PUT 5',
      'PATCH 6',
      'OPTIONS 7',
      'GET 2',
      'DELETE 8',
    ])
    const head = await ask(`${url}/page`, { method: 'HEAD' })
    expect([head.headers['content-length'], head.text, runs()]).toEqual(['5', '', 8])
  })

  it('[method] a POST is cached only under a key of its own, apart from the GET', async () => {
    const { cached } = tagcache()
    const app = express().use(express.text())
    const handler: RequestHandler = (req, res) => void res.send(`${req.method} ${req.body ?? ''}`)
    const methods = ['GET', 'POST']
    app.all('/search', cached({ methods, key: (req) => String(req.body ?? '') }), handler)
    const { url } = await start(app)
    const post = (body: string) => ({ method: 'POST', body, headers: { 'Content-Type': 'text/plain' } })
    const asked = [post('a'), post('b'), post('a'), {}]
    expect(await texts(`${url}/search`, asked)).toEqual(['POST a', 'POST b', 'POST a', 'GET '])
    expect((await ask(`${url}/search`, post('b'))).cacheStatus).toMatch(/; hit/)
  })

  it.each([400, 401, 403, 404, 429, 500, 503])('[status] %i is not stored', async (status) => {
    const { app, runs } = site((_req, res) => void res.status(status).send('no'))
    const { url } = await start(app)
    for (const run of [1, 2]) {
      expect((await ask(`${url}/page`)).status).toBe(status)
      expect(runs()).toBe(run)
    }
  })

  it('[status] is replayed as it was, with its reason', async () => {
    const { app, runs } = site((_req, res) => {
      res.statusMessage = 'Gone Fishing'
      res.status(404).set('Cache-Control', 'max-age=60').send('no')
    })
    const { url } = await start(app)
    await ask(`${url}/page`)
    expect(await ask(`${url}/page`)).toMatchObject({ status: 404, statusMessage: 'Gone Fishing', text: 'no' })
    expect(runs()).toBe(1)
  })

  it.each([
    { 'cache-control': 'no-cache' },
    { 'cache-control': 'no-store' },
    { 'cache-control': 'max-age=0' },
    { 'cache-control': 'only-if-cached, max-stale' },
    { pragma: 'no-cache' },
    { 'x-apicache-bypass': 'true' },
    { 'x-no-cache': '1' },
  ])('[skip-header] a visitor who sends %o is answered from the cache like the others', async (headers) => {
    const { app, runs } = site((_req, res) => void res.send('x'))
    const { url } = await start(app)
    await ask(`${url}/page`)
    expect((await ask(`${url}/page`, { headers })).cacheStatus).toMatch(/; hit/)
    expect(runs()).toBe(1)
  })
})

describe('requests that differ', () => {
  it.each([
    ['/page/1-2', '/page/12', '/page/1.2', '/page/1%2D2x', '/page/1_2'],
    ['/page?a=1&b=2', '/page?a=1%26b=2', '/page?a=1%26b%3D2', '/page?a=1'],
    ['/page/1?id=2', '/page/2?id=1', '/page/1?id=1', '/page/1%3Fid=2', '/page/1'],
    ['/page/a%2Fb', '/page/a%252Fb', '/page/a'],
    ['/page?x={%22id%22:1}', '/page?x=%22{%5C%22id%5C%22:1}%22', '/page?x[id]=1', '/page?x={id:1}'],
    ['/page?a=1&a=2', '/page?a=2&a=1', '/page?a=1,2', '/page?a[]=1&a[]=2'],
    ['/page?a', '/page?a=', '/page?a=undefined', '/page', '/page?=a', '/page?b'],
    ['/page?a=%00', '/page?a=', '/page?a=%2500', '/page?a=%EF%BF%BD', '/page?a=%ED%A0%80', '/page?a=%FF'],
    ['/page/%7C', '/page/%23', '/page/%26', '/page/%3D', '/page/~', '/page/:id', '/page/%253Aid'],
  ])('[collision] %s … are told apart', async (...paths) => {
    const { app } = site((req, res) => void res.send(req.originalUrl))
    const { url } = await start(app)
    for (const round of [1, 2])
      for (const path of paths) expect((await ask(url + path)).text, `${path}, round ${round}`).toBe(path)
  })

  it('[collision] ten thousand keys are ten thousand keys', async () => {
    const { cache } = tagcache()
    const keys = new Set<string>()
    for (let id = 0; id < 100; id++)
      for (let page = 0; page < 100; page++)
        keys.add(cache.keyFromRequest('GET /:id', { params: { id }, query: { page } }))
    expect(keys.size).toBe(10_000)
  })

  it('[collision] a scope, a host or a tag cannot be smuggled in by another part', async () => {
    const { cache } = tagcache() as { cache: Cache }
    const keys = [
      cache.keyFromRequest('r', { scope: 'ann' }),
      cache.keyFromRequest('r#scope=ann'),
      cache.keyFromRequest('r', { query: '#scope=ann' }),
      cache.keyFromRequest('r', { params: { x: '#scope=ann' } }),
      cache.keyFromRequest('r', { host: 'h&scope=ann' }),
      cache.keyFromRequest('r', { host: 'h', scope: 'ann' }),
      cache.keyFromRequest('r', { key: 'k&scope=ann' }),
      cache.keyFromRequest('r', { key: 'k', scope: 'ann' }),
    ]
    expect(new Set(keys).size).toBe(keys.length)
  })

  it('[query-order] the same parameters in another order are the same request', async () => {
    const { app, runs } = site((req, res) => void res.json(req.query))
    const { url } = await start(app)
    await ask(`${url}/page?a=1&b=2&c=3`)
    for (const query of ['b=2&a=1&c=3', 'c=3&b=2&a=1', 'c=3&&a=%31&b=2&'])
      expect((await ask(`${url}/page?${query}`)).cacheStatus).toMatch(/; hit/)
    expect(runs()).toBe(1)
  })

  it('[query-order] the values of one name keep theirs', async () => {
    const { app, runs } = site((req, res) => void res.json(req.query))
    const { url } = await start(app)
    expect(await texts(`${url}/page?a=1&a=2`, [{}])).toEqual(['{"a":["1","2"]}'])
    expect(await texts(`${url}/page?a=2&a=1`, [{}])).toEqual(['{"a":["2","1"]}'])
    expect(runs()).toBe(2)
  })
})
