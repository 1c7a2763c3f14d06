import { createHash, timingSafeEqual } from 'node:crypto'
import net from 'node:net'
import { gzipSync } from 'node:zlib'
import express from 'express'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { tagcache as expressCache } from '../../src/adapters/express.ts'
import { byToken, dashboard } from '../../src/dashboard/dashboard.ts'
import { type Cache, createCache, memory } from '../../src/index.ts'
import { ask, askRaw, gate, listen } from '../support/http.ts'
import { turns, until } from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'
import { ANN, type Board, board, jsonOf, MOUNTINGS } from './support.ts'

vi.mock('node:crypto', async (original) => {
  const actual = await original<typeof import('node:crypto')>()
  return { ...actual, timingSafeEqual: vi.fn(actual.timingSafeEqual) }
})

const codeOf = (answer: Parameters<typeof jsonOf>[0]) => jsonOf<{ error: { code: string } }>(answer).error.code
const EVIL = 'https://evil.example'

/** Warnings of a cache that something in its dashboard has failed. */
function failuresOf(cache: Cache): string[] {
  const failures: string[] = []
  cache.on('warning', ({ code }) => void failures.push(code))
  return failures
}

describe('a page of another site', () => {
  it('reads nothing where a layer above lets all origins read, and the browser does not say whose page it is', async () => {
    const { cache } = await board()
    const app = express()
    app.use((req, res, next) => {
      res.set({ 'Access-Control-Allow-Origin': req.get('origin') ?? '*', 'Access-Control-Allow-Credentials': 'true' })
      if (req.method === 'OPTIONS') res.sendStatus(204)
      else next()
    })
    app.use('/cache', dashboard(cache, ANN))
    const server = await listen(app)
    onTestFinished(server.close)
    for (const path of ['/api/about', '/api/stats', '/api/entries', '/api/live']) {
      const answer = await ask(`${server.url}/cache${path}`, { headers: { origin: EVIL } })
      expect([answer.status, codeOf(answer)], path).toEqual([403, 'cross-site'])
      const own = { method: 'HEAD', headers: { origin: server.url } }
      expect((await ask(`${server.url}/cache${path}`, own)).status, path).toBe(200)
    }
    const headers = { origin: EVIL, 'content-type': 'application/json', 'x-tagcache': '1', 'content-length': 19 }
    const purged = await ask(`${server.url}/cache/api/purge`, { method: 'POST', headers, body: '{"everything":true}' })
    expect([purged.status, codeOf(purged)]).toEqual([403, 'cross-site'])
  })

  it.each(['[', 'a b', '%', ':', 'a:99999', '[::1', '@', 'a/b?c#d', '..'])(
    'is refused, and nothing fails, under the host "%s"',
    async (host) => {
      const { post, cache } = await board()
      const failures = failuresOf(cache)
      const answer = await post('/api/purge', { everything: true }, { host, origin: EVIL })
      expect([answer.status, codeOf(answer)]).toEqual([403, 'cross-site'])
      expect(failures).toEqual([])
    },
  )
})

describe('an outer cached() that shares everything with everybody', () => {
  it.each(['/', '/main.js', '/api/stats', '/api/entries', '/api/live', '/nothing'])(
    'gives nobody what somebody else may see: %s',
    async (path) => {
      const asked: string[] = []
      const { opened, open } = gate()
      const authorize = async ({ headers }: { headers: { 'x-user'?: string } }) => {
        asked.push(headers['x-user'] ?? '')
        if (headers['x-user'] === 'ann') await opened
        return headers['x-user'] === 'ann' && { name: 'ann' }
      }
      const { url, cache } = await board(MOUNTINGS[0], { authorize: authorize as never })
      const method = path === '/api/live' ? 'HEAD' : 'GET'
      const ann = ask(url + path, { method, headers: { 'x-user': 'ann' } })
      await until(() => asked.length === 1)
      const others = ['', 'bob'].map((user) => ask(url + path, { method, headers: { 'x-user': user } }))
      await turns(20)
      open()
      expect((await ann).status).toBe(path === '/nothing' ? 404 : 200)
      for (const other of await Promise.all(others)) expect(other.status).toBe(403)
      expect((await ask(url + path, { method })).status).toBe(403)
      expect(cache.stats()).toMatchObject({ entries: 0, hits: 0, stale: 0 })
    },
  )

  it('gives nobody what a front door would', async () => {
    const { cached, cache, front } = expressCache({ ttl: 60, host: false })
    const app = express()
    app.use(
      '/cache',
      cached({ scope: 'public', front: true }),
      dashboard(cache, { authorize: byToken({ ann: TOKEN }) }),
    )
    const server = await listen(front(app))
    onTestFinished(server.close)
    const headers = { authorization: `Bearer ${TOKEN}` }
    for (const _ of [1, 2]) expect((await ask(`${server.url}/cache/api/stats`, { headers })).status).toBe(200)
    expect((await ask(`${server.url}/cache/api/stats`)).status).toBe(401)
  })
})

const TOKEN = 'correct-horse-battery'

describe('whoever may not see it', () => {
  it('cannot tell what there is, nor why not', async () => {
    const secret = 'the database of users is away'
    const { url } = await board(MOUNTINGS[0], { authorize: () => Promise.reject(new Error(secret)) })
    const told = new Set<string>()
    for (const method of ['GET', 'POST', 'PUT', 'OPTIONS', 'PATCH'])
      for (const path of ['/', '/main.js', '/api/stats', '/api/purge', '/nothing', '/api/entry?key=a', '/%00'])
        told.add((({ status, text }) => `${status} ${text}`)(await ask(url + path, { method })))
    expect([...told]).toEqual(['403 {"error":{"code":"forbidden","message":"You may not see this."}}\n'])
  })

  it('learns nothing of a token by time: each is compared, as a digest, whatever is said', async () => {
    const names = { ann: TOKEN, bob: 'another-long-token', deploy: 'x'.repeat(500) }
    const authorize = byToken(names)
    const digests = Object.values(names).map((token) => createHash('sha256').update(token).digest('hex'))
    const said = [
      '',
      'Bearer',
      `Bearer ${TOKEN}`,
      `Bearer ${TOKEN.slice(0, -1)}`,
      `Basic ${'A'.repeat(8000)}`,
      'Bearer é',
    ]
    for (const authorization of said) {
      vi.mocked(timingSafeEqual).mockClear()
      await authorize({ headers: { authorization } } as never, undefined)
      const compared = vi.mocked(timingSafeEqual).mock.calls
      expect(compared.map(([known]) => Buffer.from(known as Uint8Array).toString('hex'))).toEqual(digests)
      expect(compared.every(([, given]) => given.byteLength === 32)).toBe(true)
    }
  })

  it('holds nothing up by headers that are hard to read', async () => {
    const { server } = await board(MOUNTINGS[0], { authorize: byToken({ ann: TOKEN }) })
    vi.stubEnv('NODE_ENV', 'development')
    const { server: local } = await board(MOUNTINGS[0], {})
    vi.unstubAllEnvs()
    const long = 14_000
    const hard = [
      `Authorization: Bearer ${'x'.repeat(long / 2)}${' '.repeat(long / 2)}x`,
      `Authorization: Basic${' '.repeat(long)}x y`,
      `Host: ${'a.'.repeat(long / 2)}!`,
      `Host: ${'a-'.repeat(long / 2)}.localhost!`,
      `Content-Type: application/json${' '.repeat(long)}x`,
      `Accept-Encoding: ${'gzip;q=0,'.repeat(long / 9)}`,
      `Origin: http://${'a.'.repeat(long / 2)}`,
    ]
    for (const { port } of [server, local]) {
      for (const header of hard) {
        const host = header.startsWith('Host') ? '' : 'Host: localhost\r\n'
        const took: number[] = []
        for (let attempt = 0; attempt < 3; attempt++) {
          const begun = performance.now()
          await askRaw(port, `GET /cache/api/stats HTTP/1.1\r\n${host}${header}\r\nConnection: close\r\n\r\n`)
          took.push(performance.now() - begun)
        }
        // The machine may have had other things to do.
        expect(Math.min(...took), header.slice(0, 30)).toBeLessThan(300)
      }
    }
  })
})

describe('a purge by hand', () => {
  it('does not reach what another cache of the same backend holds', async () => {
    const backend = memory()
    const other = createCache({ backend, namespace: 'other' })
    other.set('GET /a', {}, ['t'], { body: 'one' })
    for (const namespace of [undefined, 'own']) {
      const { post } = await board(MOUNTINGS[0], ANN, { backend, ...(namespace ? { namespace } : {}) })
      const key = other.keyFromRequest('GET /a')
      for (const given of [{ key }, { key: 'no key at all' }])
        expect(jsonOf(await post('/api/purge', given))).toMatchObject({ isPurged: false })
      for (const given of [{ tags: ['t'] }, { tags: ['../other/t', 'other/tag/t'] }, { route: 'GET /a' }])
        expect((await post('/api/purge', given)).status).toBe(200)
      expect(other.getByRequest('GET /a')).toBeDefined()
    }
    await other.close()
  })

  it('leaves no trace in prototypes, and none is taken for an order', async () => {
    const { post, cache } = await board()
    cache.set('GET /a', {}, ['t'], { body: 'one' })
    const bodies = [
      '{"__proto__":{"everything":true,"polluted":1}}',
      '{"constructor":{"prototype":{"polluted":1}},"tags":["other"]}',
      '{"tags":["__proto__","constructor","toString"]}',
      '{"route":"__proto__"}',
      '{"key":"__proto__"}',
    ]
    for (const body of bodies) await post('/api/purge', body)
    await post('/api/explain', '{"request":{"url":"/a","headers":{"__proto__":"x","constructor":"y"}}}')
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
    expect(cache.getByRequest('GET /a')).toBeDefined()
  })

  it.each([
    ['nested without end', `{"tags":${'['.repeat(60_000)}`],
    ['nested to the bound', `${'{"a":'.repeat(10_000)}1${'}'.repeat(10_000)}`],
    ['of many names', `{${Array.from({ length: 5000 }, (_, at) => `"k${at}":1`).join()}}`],
    ['with one name said twice', '{"everything":true,"everything":false}'],
    ['of too many tags', `{"tags":[${Array.from({ length: 2000 }, (_, at) => `"${at}"`).join()}]}`],
    ['with line breaks in a tag', '{"tags":["a\\r\\nX-Evil: 1"]}'],
    ['with a tag that no header may have', '{"tags":["\\u0007"]}'],
    ['after a mark of byte order', '\ufeff[1]'],
  ])('is refused with a body %s', async (_name, body) => {
    const { post, cache } = await board(MOUNTINGS[4])
    const failures = failuresOf(cache)
    cache.set('GET /a', {}, ['t'], { body: 'one' })
    expect((await post('/api/purge', body)).status).toBe(400)
    expect([cache.getByRequest('GET /a') !== undefined, failures]).toEqual([true, []])
  })

  it('is refused where the body is encoded, cut off, or never comes', async () => {
    const { url, server, cache } = await board(MOUNTINGS[4])
    const failures = failuresOf(cache)
    const headers = { 'content-type': 'application/json', 'x-tagcache': '1' }
    const zipped = gzipSync('{"everything":true}').toString('latin1')
    const encoded = { ...headers, 'content-encoding': 'gzip', 'content-length': Buffer.byteLength(zipped) }
    expect((await ask(`${url}/api/purge`, { method: 'POST', headers: encoded, body: zipped })).status).toBe(400)
    expect((await ask(`${url}/api/purge`, { method: 'POST', headers })).status).toBe(400)
    const socket = net.connect(server.port, '127.0.0.1')
    socket.write(
      'POST /cache/api/purge HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nX-Tagcache: 1\r\nContent-Length: 50\r\n\r\n{"every',
    )
    await turns(20)
    socket.destroy()
    await turns(20)
    expect((await ask(`${url}/api/about`)).status).toBe(200)
    expect(failures).toEqual([])
  })
})

describe('a list by tag', () => {
  it.each(['-100', '0.5', '1e3', 'NaN', '-Infinity', '0x10', ' 7 ', '99999999999999999999'])(
    'is asked of the backend in whole numbers, from the beginning on: after=%s',
    async (after) => {
      const { get, cache } = await board()
      cache.set('GET /a', {}, ['t'], { body: 'one' })
      const list = vi.spyOn(cache.flow.guard, 'list')
      expect((await get(`/api/entries?tag=t&limit=1&after=${encodeURIComponent(after)}`)).status).toBe(200)
      const [[, most = 0] = []] = list.mock.calls
      expect([Number.isInteger(most), most >= 1, most <= 1501]).toEqual([true, true, true])
    },
  )
})

describe('what is told', () => {
  const SECRET = 'redis://:hunter2@10.0.0.1:6379/?password=hunter2'

  it('has no credentials out of texts of errors', async () => {
    const backend = memory()
    const { get, cache } = await board(MOUNTINGS[0], ANN, { backend })
    vi.spyOn(backend, 'invalidate').mockImplementation(() => {
      throw new Error(`connect ECONNREFUSED ${SECRET}`)
    })
    cache.invalidateTags('t')
    cache.flow.warn('TAGCACHE_OPTION_FAILED', 'GET /a', new Error(SECRET))
    const { text } = await get('/api/events')
    expect(text).toContain('ECONNREFUSED')
    expect(text).not.toContain('hunter2')
  })

  it('cannot be made to say something else by what is in it', async () => {
    const time = new ManualTime()
    const own = await board(MOUNTINGS[0], ANN, { time })
    const { read } = await watch(own)
    const break_ = '\n\nevent: tick\ndata: {"evil":1}\n\n\r\r\u2028\u2029'
    own.cache.flow.events.emit({
      type: 'invalidation',
      tags: [`tag${break_}`],
      uris: [`uri${break_}`],
      routes: [`route${break_}`],
      keys: [`key${break_}`],
      isDelivered: true,
      by: `by${break_}`,
    })
    own.cache.flow.events.emit({ type: 'fault', operation: `op${break_}`, error: new Error(`error${break_}`) })
    time.move(1000)
    await until(() => read().includes('evil'))
    const lines = read().split(/\r\n|\r|\n/)
    expect(lines.filter((line) => line.startsWith('data:'))).toHaveLength(1)
    expect(lines.filter((line) => line.startsWith('event:'))).toHaveLength(1)
  })
})

async function watch({ server }: Board, times = 1) {
  const socket = net.connect(server.port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => {})
  socket.write('GET /cache/api/live HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(times))
  let text = ''
  socket.on('data', (chunk) => {
    text += chunk
  })
  await until(() => text.includes('retry:'))
  return { socket, read: () => text }
}

describe('those who watch, and nobody', () => {
  it('has what happens forgotten while nobody watches', async () => {
    const time = new ManualTime()
    const own = await board(MOUNTINGS[0], ANN, { time })
    for (let at = 0; at < 3000; at++) own.cache.invalidateTags(`t${at}`)
    time.move(1000)
    const { read } = await watch(own)
    own.cache.invalidateTags('news')
    time.move(1000)
    await until(() => read().includes('"news"'))
    expect(read().length).toBeLessThan(20_000)
  })

  it('are told no more of one second than the timeline keeps', async () => {
    const time = new ManualTime()
    const own = await board(MOUNTINGS[0], ANN, { time })
    const { read } = await watch(own)
    for (let at = 0; at < 3000; at++) own.cache.invalidateTags(`t${at}`)
    time.move(1000)
    await until(() => /"t2999".*\n\n/.test(read()))
    const [, data] = /^data: (.*)$/m.exec(read())!
    expect(JSON.parse(data!).events).toHaveLength(300)
  })

  it('are not sent whatever paths strangers have asked for, each second', async () => {
    const time = new ManualTime()
    const own = await board(MOUNTINGS[0], ANN, { time })
    for (let at = 0; at < 30; at++) await ask(`${own.server.url}/${at}${'x'.repeat(12_000)}`)
    const { read } = await watch(own)
    own.cache.flow.events.emit({ type: 'failure', route: `/${'x'.repeat(12_000)}`, error: new Error('broken') })
    time.move(1000)
    await until(() => /"broken".*\n\n/.test(read()))
    expect(read().length).toBeLessThan(10_000)
    const { routes } = jsonOf<{ routes: { route: string; requests: number }[] }>(await own.get('/api/routes'))
    expect(routes).toEqual([expect.objectContaining({ route: 'all others', requests: 30 })])
  })

  it('make room when they ask for more on one connection than they read', async () => {
    const time = new ManualTime()
    const own = await board(MOUNTINGS[0], { ...ANN, maxStreams: 3 }, { time })
    await watch(own, 3)
    await expect.poll(async () => (await own.get('/api/live')).status).toBe(503)
    for (let second = 0; second < 200; second++) {
      for (let at = 0; at < 40; at++) own.cache.invalidateTags(`${second}/${at} ${'x'.repeat(240)}`)
      time.move(1000)
      await turns(2)
    }
    expect((await ask(`${own.url}/api/live`, { method: 'HEAD' })).status).toBe(200)
  })

  it('are not what an explanation of the dashboard itself leaves behind', async () => {
    const { cached, cache } = expressCache()
    const app = express()
    app.use('/cache', dashboard(cache, { ...ANN, maxStreams: 1 }))
    app.get('/a', cached(), (_req, res) => void res.send('a'))
    const server = await listen(app)
    onTestFinished(server.close)
    await ask(`${server.url}/a`)
    const explained = await cache.explain('/cache/api/live')
    expect(explained).toMatchObject({ isReached: false, status: 403 })
    expect((await ask(`${server.url}/cache/api/live`, { method: 'HEAD' })).status).toBe(200)
  })
})

describe('a request to be explained', () => {
  it.each([
    ['with a line break in a value', { headers: { 'x-a': 'b\r\nx-c: d' } }],
    ['with a value that is none', { headers: { 'x-a': '\u0000' } }],
    ['with a name that is none', { headers: { 'x a': 'b' } }],
    ['with values that are lists', { headers: { 'x-a': ['b'] } }],
    ['with a line break in its URL', { url: '/a\r\nx: y' }],
    ['with a blank in its URL', { url: '/a b HTTP/1.1' }],
    ['for a file', { url: 'file:///etc/passwd' }],
    ['for a script', { url: 'javascript:alert(1)' }],
    ['by a method that is none', { method: 'GET / HTTP/1.1\r\n' }],
    ['from this machine', { headers: { 'X-Forwarded-For': '127.0.0.1' } }],
    ['from another address', { headers: { 'x-real-ip': '10.0.0.1' } }],
    ['from another address, in the standard way', { headers: { forwarded: 'host=a; For=10.0.0.1' } }],
  ])('is refused %s', async (_name, more) => {
    const { post, get } = await board()
    await get('/api/about')
    const answer = await post('/api/explain', { request: { url: '/a', ...more } })
    expect([answer.status, codeOf(answer)]).toEqual([400, 'bad-value'])
  })
})
