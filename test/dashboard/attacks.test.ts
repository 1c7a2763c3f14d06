import net from 'node:net'
import { describe, expect, it, onTestFinished } from 'vitest'
import { ask, askRaw } from '../support/http.ts'
import { turns, until } from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'
import { ANN, type Board, board, jsonOf, MOUNTINGS } from './support.ts'

const codeOf = (answer: Parameters<typeof jsonOf>[0]) => jsonOf<{ error: { code: string } }>(answer).error.code

describe('a write from another site', () => {
  const forged: [string, Record<string, string | undefined>][] = [
    ['a form', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['a form of text that looks like JSON', { 'content-type': 'text/plain' }],
    ['a form of parts', { 'content-type': 'multipart/form-data; boundary=x' }],
    ['no type', { 'content-type': undefined }],
    ['a type that begins like JSON', { 'content-type': 'application/jsonp' }],
    ['no field of its own', { 'x-tagcache': undefined }],
    ['another origin', { origin: 'https://evil.example' }],
    ['an origin of another port', { origin: 'http://127.0.0.1:1' }],
    ['an origin that ends like this one', { origin: 'http://evil.example.127.0.0.1' }],
    ['an opaque origin', { origin: 'null' }],
    ['an origin that is none', { origin: 'file://' }],
    ['what the browser calls another site', { 'sec-fetch-site': 'cross-site', origin: undefined }],
    ['what the browser calls a sibling', { 'sec-fetch-site': 'same-site' }],
  ]
  it.each(forged)('is refused: %s', async (_name, headers) => {
    const { post, cache } = await board()
    cache.set('GET /a', {}, ['t'], { body: 'one' })
    const answer = await post('/api/purge', { everything: true }, headers)
    expect([answer.status, codeOf(answer)]).toEqual([403, 'cross-site'])
    expect(cache.getByRequest('GET /a')).toBeDefined()
  })

  it('is not allowed when a browser asks before', async () => {
    const { url } = await board()
    const headers = { origin: 'https://evil.example', 'access-control-request-method': 'POST' }
    const { status, headers: said } = await ask(`${url}/api/purge`, { method: 'OPTIONS', headers })
    expect(status).toBe(405)
    expect(Object.keys(said).filter((name) => name.startsWith('access-control'))).toEqual([])
  })

  it('is none by GET, or by a method that is only said', async () => {
    const { get, url } = await board()
    expect((await get('/api/purge?everything=true')).status).toBe(405)
    const headers = { 'x-http-method-override': 'POST', 'content-type': 'application/json', 'x-tagcache': '1' }
    expect((await get('/api/purge', headers)).status).toBe(405)
    for (const method of ['PUT', 'DELETE', 'PATCH'])
      expect((await ask(`${url}/api/purge`, { method })).status).toBe(405)
  })

  it('is taken where the browser says it is its own, from the command line, and from origins that are named', async () => {
    const { post } = await board(MOUNTINGS[0], { ...ANN, origins: ['https://admin.example/'] })
    const accepted = [
      { 'sec-fetch-site': 'same-origin' },
      { origin: undefined },
      { origin: 'https://admin.example', 'sec-fetch-site': 'same-origin' },
      { 'content-type': 'application/json; charset=utf-8' },
    ]
    for (const headers of accepted) expect((await post('/api/purge', { tags: ['t'] }, headers)).status).toBe(200)
  })

  it('reads nothing either', async () => {
    const { get } = await board()
    for (const path of ['/api/stats', '/api/live', '/api/entry?key=a'])
      for (const site of ['cross-site', 'same-site']) {
        expect((await get(path, { 'sec-fetch-site': site })).status, path).toBe(403)
      }
    // A link to the page is followed.
    expect((await get('/', { 'sec-fetch-site': 'cross-site' })).status).toBe(200)
  })
})

describe.each(MOUNTINGS)('$name: tricks with paths', (mounting) => {
  it('lead nowhere', async () => {
    const { server } = await board(mounting)
    const tricks = [
      '/cache/../package.json',
      '/cache/..%2fpackage.json',
      '/cache/%2e%2e/package.json',
      '/cache/page/../../errors.js',
      '/cache//main.js',
      '/cache//api/stats',
      '/cache/./api/stats',
      '/cache/api/%73tats',
      '/cache/API/stats',
      '/cache/api/stats/',
      '/cache/api/stats%00',
      '/cache/api%2fstats',
      '/cache/api\\stats',
      '/cache/index.html%00.js',
      '/cache/__proto__',
      '/cache/api/constructor',
      '/cache/toString',
      '/cache/;/api/stats',
    ]
    // To a router of Express 4 two slashes after its mount point are one.
    for (const path of tricks.filter((one) => mounting.name !== 'Express 4' || !one.includes('//'))) {
      const answer = await askRaw(server.port, `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
      expect(answer, path).toMatch(/^HTTP\/1.1 (?:404|400)|\r\n\r\n(?:b\r\n)?application/)
      expect(answer, path).not.toContain('"stats"')
    }
  })

  it('do not go around authorize', async () => {
    const { server } = await board(mounting, { authorize: () => false })
    for (const path of [
      '/cache/api/stats',
      '/cache//api/stats',
      'http://a/cache/api/stats',
      '/cache/api/stats?/../',
      '/CACHE/api/stats',
    ]) {
      const answer = await askRaw(server.port, `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
      expect(answer, path).toMatch(/^HTTP\/1.1 403|\r\n\r\n(?:b\r\n)?application/)
    }
  })

  it('do not send a browser to another site', async () => {
    const { server } = await board(mounting)
    for (const path of ['//evil.example/cache', '/cache?//evil.example', '//evil.example/%2f..%2fcache']) {
      const answer = await askRaw(server.port, `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
      const [, location = './cache/'] = /^location: (.*)\r$/im.exec(answer) ?? []
      expect(location).toBe('./cache/')
    }
  })

  it('answers HEAD as GET without a body, and other methods not at all', async () => {
    const { url } = await board(mounting)
    for (const path of ['/', '/api/about', '/api/live']) {
      const head = await ask(url + path, { method: 'HEAD' })
      expect([head.status, head.text], path).toEqual([200, ''])
      const other = await ask(url + path, { method: 'OPTIONS' })
      expect([other.status, other.headers.allow], path).toEqual([405, 'GET, HEAD'])
    }
  })
})

describe('what is asked for', () => {
  it('may be anything, and breaks nothing', async () => {
    const { get, cache } = await board()
    cache.set('GET /a', {}, ['__proto__', 'constructor'], { body: 'one' })
    const huge = 'x'.repeat(12_000)
    const queries = [
      '/api/tags?prefix=__proto__',
      '/api/tags?kind=constructor',
      '/api/tags?limit=1e9',
      '/api/tags?limit=-1',
      '/api/tags?limit=1&limit=2',
      '/api/tags?after=%00%ff',
      `/api/tags?prefix=${huge}`,
      '/api/entries?tag=__proto__',
      '/api/entries?tag=a&after=1e308',
      '/api/entries?tag=a&after=-5',
      '/api/entries?route=hasOwnProperty',
      '/api/entries?route=%F0%9F%98%80%00',
      '/api/entry',
      '/api/entry?key=',
      '/api/entry?key=%',
      '/api/entry?key=|||',
      `/api/entry?key=${huge}`,
    ]
    for (const path of queries) expect([200, 400, 404]).toContain((await get(path)).status)
    const tags = jsonOf<{ tags: { name: string }[] }>(await get('/api/tags'))
    expect(tags.tags.map(({ name }) => name)).toEqual(['__proto__', 'constructor'])
    expect((await get('/api/about')).status).toBe(200)
  })

  const nonsense = [
    '',
    'null',
    '[]',
    '"text"',
    '{',
    '{}',
    '{"tags":"t"}',
    '{"tags":[]}',
    '{"tags":[1]}',
    '{"tags":[""]}',
    '{"tags":["\\u0000"]}',
    '{"tags":["t"],"everything":true}',
    '{"everything":false}',
    '{"everything":"true"}',
    '{"everything":1}',
    '{"__proto__":{"everything":true}}',
    '{"route":""}',
    '{"route":{"toString":1}}',
    '{"key":["a"]}',
    `{"tags":["${'x'.repeat(300)}"]}`,
  ]
  it.each(nonsense)('to be purged is refused as %s', async (body) => {
    const { post, cache } = await board()
    cache.set('GET /a', {}, ['t'], { body: 'one' })
    expect((await post('/api/purge', body)).status).toBe(400)
    expect(cache.getByRequest('GET /a')).toBeDefined()
  })

  it.each(MOUNTINGS.filter(({ name }) => !name.startsWith('Express')))(
    'is not read without end: $name',
    async (mounting) => {
      const { post } = await board(mounting)
      const answer = await post('/api/purge', `{"tags":["${'x'.repeat(100_000)}"]}`)
      expect([answer.status, codeOf(answer)]).toEqual([413, 'too-large'])
    },
  )

  it('is not what another cache of the same backend holds', async () => {
    const { memory, createCache } = await import('../../src/index.ts')
    const backend = memory()
    const other = createCache({ backend, namespace: 'other' })
    other.set('GET /secret', {}, ['secret'], { body: 'secret' })
    for (const namespace of [undefined, 'own']) {
      const { get } = await board(MOUNTINGS[0], ANN, { backend, ...(namespace ? { namespace } : {}) })
      expect(jsonOf(await get('/api/entries'))).toEqual({ entries: [] })
      expect(jsonOf(await get('/api/tags'))).toEqual({ tags: [] })
      const key = encodeURIComponent(other.keyFromRequest('GET /secret'))
      expect((await get(`/api/entry?key=${key}`)).status).toBe(404)
    }
  })
})

describe('those who watch', () => {
  const watch = async ({ server }: Board) => {
    const socket = net.connect(server.port, '127.0.0.1')
    onTestFinished(() => void socket.destroy())
    socket.on('error', () => {})
    socket.write('GET /cache/api/live HTTP/1.1\r\nHost: a\r\n\r\n')
    let text = ''
    socket.on('data', (chunk) => {
      text += chunk
    })
    await until(() => text.includes('\r\n\r\n'))
    return { socket, read: () => text }
  }

  it('are so many at the most, and make room when they go', async () => {
    const own = await board(MOUNTINGS[0], { ...ANN, maxStreams: 2 })
    const [first, second] = [await watch(own), await watch(own)]
    const refused = await own.get('/api/live')
    expect([refused.status, codeOf(refused), refused.headers['retry-after']]).toEqual([503, 'too-many-streams', '10'])
    expect((await own.get('/api/stats')).status).toBe(200)
    first.socket.destroy()
    await until(() => own.server.server.listening)
    await expect.poll(async () => (await ask(`${own.url}/api/live`, { method: 'HEAD' })).status).toBe(200)
    expect((await watch(own)).read()).toMatch(/^HTTP\/1.1 200/)
    expect(second.read()).toMatch(/^HTTP\/1.1 200/)
  })

  it('do not hold more than a bound where they read slowly, and are left in the end', async () => {
    const time = new ManualTime()
    const own = await board(MOUNTINGS[0], ANN, { time })
    const slow = await watch(own)
    const fast = await watch(own)
    slow.socket.pause()
    const responses = await new Promise<number[]>((resolve) => {
      const waiting: number[] = []
      const go = async () => {
        for (let second = 0; second < 400 && !slow.socket.destroyed; second++) {
          for (let at = 0; at < 40; at++) own.cache.invalidateTags(`${second}/${at} ${'x'.repeat(240)}`)
          time.move(1000)
          await turns(2)
          own.server.server.getConnections((_error, count) => waiting.push(count))
        }
        resolve(waiting)
      }
      void go()
    })
    // Of the two one is left.
    expect(Math.min(...responses.slice(-5))).toBe(1)
    expect(fast.read().length).toBeGreaterThan(400 * 40 * 240)
  })

  it('are sent away when the cache is closed, and none comes after', async () => {
    const own = await board()
    const one = await watch(own)
    own.cache.close()
    await until(() => one.read().endsWith('0\r\n\r\n'))
    expect((await own.get('/api/live')).status).toBe(503)
  })
})
