import { afterEach, describe, expect, it, vi } from 'vitest'
import { byToken, dashboard } from '../../src/dashboard/dashboard.ts'
import { createCache } from '../../src/index.ts'
import { ask, askRaw } from '../support/http.ts'
import { ANN, board, jsonOf, MOUNTINGS } from './support.ts'

afterEach(() => vi.unstubAllEnvs())

describe('mounting a dashboard', () => {
  it.each(['production', 'test', ''])('is refused without authorize where NODE_ENV is "%s"', (environment) => {
    vi.stubEnv('NODE_ENV', environment)
    expect(() => dashboard(createCache())).toThrow(expect.objectContaining({ code: 'ERR_TAGCACHE_DASHBOARD_OPEN' }))
  })

  it.each([
    [{ authorize: 'ann' }, 'ERR_TAGCACHE_OPTION_VALUE'],
    [{ ...ANN, path: 'cache' }, 'ERR_TAGCACHE_OPTION_VALUE'],
    [{ ...ANN, path: '/a/../b' }, 'ERR_TAGCACHE_OPTION_VALUE'],
    [{ ...ANN, origins: ['example.com'] }, 'ERR_TAGCACHE_OPTION_VALUE'],
    [{ ...ANN, maxStreams: 0 }, 'ERR_TAGCACHE_OPTION_VALUE'],
    [{ ...ANN, readonly: true }, 'ERR_TAGCACHE_OPTION_UNKNOWN'],
  ])('refuses %j', (options, code) => {
    expect(() => dashboard(createCache(), options as never)).toThrow(expect.objectContaining({ code }))
  })

  it('records nothing before it is there, nor after it is closed', () => {
    const cache = createCache()
    const listen = vi.spyOn(cache.flow.events, 'listen')
    expect(listen).not.toHaveBeenCalled()
    const end = vi.fn()
    listen.mockReturnValueOnce(end)
    dashboard(cache, ANN).close()
    expect(end).toHaveBeenCalledOnce()
    expect(cache.flow.onClose.size).toBe(0)
  })
})

describe.each(MOUNTINGS)('$name', (mounting) => {
  it('has the page, with and without a slash, and leaves what is beside it alone', async () => {
    const { get, server, url } = await board(mounting)
    const page = await get('/')
    expect([page.status, page.headers['content-type']]).toEqual([200, 'text/html; charset=utf-8'])
    const bare = await get('')
    expect([bare.status, bare.headers.location]).toEqual([308, './cache/'])
    expect(new URL(bare.headers.location!, url).pathname).toBe('/cache/')
    for (const path of ['/', '/other', '/cacheable', '/other/cache/api/stats'])
      expect((await ask(server.url + path)).text).toBe('application')
  })

  it('shows nothing at all to whoever may not see it', async () => {
    const { get, post } = await board(mounting, { authorize: () => false })
    for (const path of ['', '/', '/main.js', '/api/stats', '/api/live', '/nothing'])
      expect((await get(path)).status, path).toBe(403)
    expect((await post('/api/purge', { everything: true })).status).toBe(403)
  })

  it('answers with headers that let nothing in, and are stored by nobody', async () => {
    const { get, cache } = await board(mounting)
    for (const path of ['/', '/uPlot.iife.min.js', '/api/stats', '/nothing']) {
      for (const _ of [1, 2]) {
        const { headers } = await get(path)
        expect(headers['cache-control']).toBe('no-store, no-transform')
        expect(headers['cache-status']).not.toContain('hit')
        expect(headers['content-security-policy']).toMatch(
          /default-src 'none'.*base-uri 'none'.*frame-ancestors 'none'/,
        )
        expect(headers['x-content-type-options']).toBe('nosniff')
        expect(headers['access-control-allow-origin']).toBeUndefined()
      }
    }
    expect(cache.stats().entries).toBe(0)
  })

  it('purges by hand as a route does, in the name of who asked', async () => {
    const { post, cache } = await board(mounting)
    const told: unknown[] = []
    // The layer above sees a POST, and purges what is known of its URI.
    cache.on('invalidation', (event) => event.uris.length > 0 || told.push(event))
    cache.on('clear', (event) => told.push(event))
    const key = cache.keyFromRequest('GET /a')
    for (const given of [{ tags: ['t'] }, { route: 'GET /a' }, { key }, { everything: true }]) {
      cache.set('GET /a', {}, ['t'], { body: 'one' })
      expect(jsonOf(await post('/api/purge', given))).toEqual({ isPurged: true, isDelivered: true })
      expect(cache.getByRequest('GET /a'), JSON.stringify(given)).toBeUndefined()
    }
    expect(told).toEqual([
      { type: 'invalidation', tags: ['t'], uris: [], isDelivered: true, by: 'ann' },
      { type: 'invalidation', tags: [], uris: [], routes: ['GET /a'], isDelivered: true, by: 'ann' },
      { type: 'invalidation', tags: [], uris: [], keys: [key], isDelivered: true, by: 'ann' },
      { type: 'clear', isDelivered: true, by: 'ann' },
    ])
  })

  it('purges nothing where it is only to be read', async () => {
    const { post, get, cache } = await board(mounting, { ...ANN, readOnly: true })
    cache.set('GET /a', {}, ['t'], { body: 'one' })
    for (const given of [{ tags: ['t'] }, { everything: true }]) {
      const answer = await post('/api/purge', given)
      expect([answer.status, jsonOf(answer)]).toEqual([
        403,
        { error: { code: 'read-only', message: expect.any(String) } },
      ])
    }
    expect(cache.getByRequest('GET /a')).toBeDefined()
    expect(jsonOf(await get('/api/about'))).toMatchObject({ can: { purge: false } })
    expect((await post('/api/explain', { request: { url: '/a' } })).status).not.toBe(403)
  })

  it('tells whoever watches once a second', async () => {
    const { url, cache } = await board(mounting)
    const stream = await fetch(`${url}/api/live`)
    expect(stream.headers.get('content-type')).toBe('text/event-stream; charset=utf-8')
    cache.invalidateTags('seen', { by: 'bob' })
    const reader = stream.body!.pipeThrough(new TextDecoderStream()).getReader()
    let text = ''
    while (!text.includes('"seen"')) text += (await reader.read()).value
    const [, data] = /^data: (.*"seen".*)$/m.exec(text)!
    expect(JSON.parse(data!)).toMatchObject({ events: [{ kind: 'purge', tags: ['seen'], by: 'bob' }], health: 'well' })
    await cache.close()
    while (!(await reader.read()).done);
  })
})

describe('who may see it', () => {
  it.each([undefined, null, false, 0, '', 'ann', 1, {}, { name: 1 }, [], { user: 'ann' }])(
    'is not %j',
    async (given) => {
      const { get } = await board(MOUNTINGS[0], { authorize: () => given as never })
      expect((await get('/api/stats')).status).toBe(403)
    },
  )

  it('is nobody where authorize throws, rejects, or answers false later', async () => {
    const failures = [
      () => {
        throw new Error('broken')
      },
      () => Promise.reject(new Error('broken')),
      async () => false,
    ]
    for (const authorize of failures) {
      const { get } = await board(MOUNTINGS[0], { authorize })
      expect((await get('/api/stats')).status).toBe(403)
    }
  })

  it('is told by name', async () => {
    const { get } = await board(MOUNTINGS[0], { authorize: async () => ({ name: `an\u0000n${'n'.repeat(200)}` }) })
    expect(jsonOf<{ visitor: { name: string } }>(await get('/api/about')).visitor.name).toMatch(/^an nn{96}$/)
    const { get: asSomebody } = await board(MOUNTINGS[0], { authorize: () => true })
    expect(jsonOf(await asSomebody('/api/about'))).toMatchObject({ visitor: { name: 'somebody' } })
  })

  it('is asked with the framework’s own request, and with the context of Koa', async () => {
    const seen: unknown[] = []
    const authorize = (req: object, context: unknown) => {
      seen.push('get' in req && typeof req.get === 'function', Object(context).state !== undefined)
      return true
    }
    for (const name of ['Express 5', 'Koa 3']) {
      const { get } = await board(
        MOUNTINGS.find((one) => one.name === name),
        { authorize },
      )
      await get('/api/about')
    }
    expect(seen).toEqual([true, false, false, true])
  })
})

describe('byToken()', () => {
  const token = 'correct horse battery'
  const basic = (password: string) => `Basic ${Buffer.from(`any:${password}`).toString('base64')}`

  it('lets in who has the token, and asks the others for it', async () => {
    const { get } = await board(MOUNTINGS[0], {
      authorize: byToken({ deploy: 'another long token', ann: 'correcthorsebattery' }),
    })
    const enter = async (authorization?: string) =>
      (await get('/api/about', authorization ? { authorization } : {})).status
    expect(await enter('Bearer correcthorsebattery')).toBe(200)
    expect(await enter(basic('correcthorsebattery'))).toBe(200)
    for (const wrong of [
      undefined,
      'Bearer',
      'Bearer ',
      'Bearer x',
      'bearer correcthorsebatter',
      basic(''),
      basic('x'),
      'Basic %%%',
      'correcthorsebattery',
    ])
      expect(await enter(wrong), wrong).toBe(401)
    expect((await get('/')).headers['www-authenticate']).toBe('Basic realm="tagcache", charset="UTF-8"')
    expect(jsonOf(await get('/api/about', { authorization: basic('another long token') }))).toMatchObject({
      visitor: { name: 'deploy' },
    })
  })

  it.each([undefined, '', 'short'])('refuses %j as a token', (short) => {
    expect(() => byToken({ ann: short })).toThrow(expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_VALUE' }))
    expect(() => byToken({ ann: token })).not.toThrow()
  })
})

describe('in development, without authorize', () => {
  const local = async () => {
    vi.stubEnv('NODE_ENV', 'development')
    return board(MOUNTINGS[0], {})
  }

  it('is for this machine alone, under its own names', async () => {
    const { get, server } = await local()
    for (const host of [
      `127.0.0.1:${server.port}`,
      'localhost',
      `LOCALHOST:${server.port}`,
      '[::1]',
      'app.localhost:3000',
    ])
      expect((await get('/api/about', { host })).status, host).toBe(200)
    for (const host of [
      'evil.example',
      'localhost.evil.example',
      '127.0.0.1.evil.example',
      'evil.example:80',
      '0.0.0.0',
      'localhost@evil.example',
    ])
      expect((await get('/api/about', { host })).status, host).toBe(403)
  })

  it('is for nobody behind a proxy', async () => {
    const { get } = await local()
    for (const name of ['x-forwarded-for', 'forwarded', 'via', 'x-real-ip'])
      expect((await get('/api/about', { [name]: '127.0.0.1' })).status, name).toBe(403)
  })

  it('is for nobody who names no host', async () => {
    const { server } = await local()
    expect(await askRaw(server.port, 'GET /cache/api/about HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1.1 403/)
  })
})
