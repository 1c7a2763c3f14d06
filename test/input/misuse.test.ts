import express from 'express'
import Koa from 'koa'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { tagcache as tagcacheKoa } from '../../src/adapters/koa.ts'
import { createCache, memory, type WarningCode } from '../../src/index.ts'
import { eventsOf, start, turns } from '../peers/support.ts'
import { ask } from '../support/http.ts'

/** The process warnings of this library, from here to the end of the test. */
function processWarnings(): () => Promise<(string | undefined)[]> {
  const codes: (string | undefined)[] = []
  const listen = (warning: Error & { code?: string }) => {
    if (warning.name === 'TagcacheWarning') codes.push(warning.code)
  }
  process.on('warning', listen)
  onTestFinished(() => void process.off('warning', listen))
  return async () => {
    await turns(2)
    return codes
  }
}

const warning = (code: WarningCode, more: object = {}) => expect.objectContaining({ type: 'warning', code, ...more })

describe('no tags', () => {
  it('on a cached() stores the response untagged', async () => {
    const { cached, cache } = tagcache()
    const app = express()
    app.get('/list', cached({ tags: [] }), (_req, res) => void res.send('x'))
    app.get('/function', cached({ tags: () => [] }), (_req, res) => void res.send('x'))
    const { url } = await start(app)
    for (const path of ['/list', '/function']) {
      await ask(url + path)
      expect((await ask(url + path)).cacheStatus).toMatch(/; hit/)
    }
    cache.clear()
    expect((await ask(`${url}/list`)).cacheStatus).toBe('tagcache; fwd=uri-miss; stored')
  })

  it('on an invalidates() purges nothing, and says so once', async () => {
    const warnings = processWarnings()
    const { cached, invalidates, cache } = tagcache()
    const events = eventsOf(cache)
    const app = express()
    app.get('/', cached({ tags: 'row' }), (_req, res) => void res.send('x'))
    app.put('/rows/1', invalidates([]), (_req, res) => void res.send('changed'))
    const { url } = await start(app)
    await ask(url)
    for (const _write of [1, 2]) expect((await ask(`${url}/rows/1`, { method: 'PUT' })).text).toBe('changed')
    expect((await ask(url)).cacheStatus).toMatch(/; hit/)
    expect(await warnings()).toEqual(['TAGCACHE_INVALIDATES_NOTHING'])
    expect(events.filter(({ type }) => type === 'warning')).toEqual([warning('TAGCACHE_INVALIDATES_NOTHING')])
  })
})

describe('misuse that can be seen', () => {
  it('cached() on a POST route', async () => {
    const warnings = processWarnings()
    const { cached, cache } = tagcache()
    const events = eventsOf(cache)
    const app = express().post('/search', cached(), (_req, res) => void res.send('x'))
    const { url } = await start(app)
    for (const _post of [1, 2]) expect((await ask(`${url}/search`, { method: 'POST' })).status).toBe(200)
    expect(await warnings()).toEqual(['TAGCACHE_UNSAFE_ROUTE'])
    expect(events).toContainEqual(warning('TAGCACHE_UNSAFE_ROUTE', { route: 'POST /search' }))
  })

  it('is not seen in a POST to a route that answers GET too', async () => {
    const { cached, cache } = tagcache()
    const events = eventsOf(cache)
    const app = express()
    app
      .route('/page')
      .get(cached(), (_req, res) => void res.send('x'))
      .post((_req, res) => void res.send('x'))
    app.all('/all', cached(), (_req, res) => void res.send('x'))
    app.use('/used', cached(), (_req, res) => void res.send('x'))
    const { url } = await start(app)
    for (const path of ['/page', '/all', '/used']) await ask(url + path, { method: 'POST' })
    expect(events.filter(({ type }) => type === 'warning')).toEqual([])
  })

  it.each(['Express', 'Koa'])(
    'invalidates() after the answer has begun, under %s, purges all the same',
    async (framework) => {
      const warnings = processWarnings()
      const onExpress = tagcache()
      const onKoa = tagcacheKoa()
      const { cache } = framework === 'Express' ? onExpress : onKoa
      const events = eventsOf(cache)
      const purgeExpress = onExpress.invalidates('row')
      const app = express().put(
        '/',
        (_req, res, next) => {
          res.send('changed')
          next()
        },
        purgeExpress,
      )
      const purgeKoa = onKoa.invalidates('row')
      const koa = new Koa()
        .use(async (ctx, next) => {
          ctx.respond = false
          ctx.res.statusCode = 200
          ctx.res.end('changed')
          await next()
        })
        .use(purgeKoa)
      const { url } = await start(framework === 'Express' ? app : koa.callback())
      cache.set('r', {}, 'row', { body: 'old' })
      expect((await ask(url, { method: 'PUT' })).text).toBe('changed')
      expect(await warnings()).toEqual(['TAGCACHE_INVALIDATES_TOO_LATE'])
      expect(events).toContainEqual(warning('TAGCACHE_INVALIDATES_TOO_LATE'))
      expect(await cache.getByRequest('r')).toBeUndefined()
    },
  )

  it('two caches with one namespace on one backend', () => {
    const backend = memory()
    const first = createCache({ backend, namespace: 'shop' })
    const taken = expect.objectContaining({ code: 'ERR_TAGCACHE_NAMESPACE_TAKEN' })
    expect(() => createCache({ backend, namespace: 'shop' })).toThrow(taken)
    expect(() => tagcache({ backend, namespace: 'shop' })).toThrow(/namespace "shop"/)
    createCache({ backend })
    expect(() => tagcacheKoa({ backend })).toThrow(taken)
    createCache({ backend, namespace: 'other' })
    createCache({ backend: memory(), namespace: 'shop' })
    first.close()
    createCache({ backend, namespace: 'shop' })
  })

  it('two caches with different namespaces on one backend do not see each other', () => {
    const backend = memory()
    const [one, two] = [createCache({ backend, namespace: 'one' }), createCache({ backend, namespace: 'two' })]
    one.set('r', {}, 'row', { body: '1' })
    two.set('r', {}, 'row', { body: '2' })
    expect([one, two].map((cache) => String(cache.getByRequest('r')?.body))).toEqual(['1', '2'])
    one.invalidateTags('row')
    expect(one.getByRequest('r')).toBeUndefined()
    expect(String(two.getByTags('row')?.body)).toBe('2')
  })
})

describe('a function among the options that fails', () => {
  const failing: [name: string, tags: () => never][] = [
    [
      'throws',
      () => {
        throw new Error('no tags')
      },
    ],
    ['gives undefined', () => undefined as never],
    ['gives no tag', () => [5] as never],
    ['gives a promise', () => Promise.resolve(['row']) as never],
  ]

  it.each(failing)('tags: %s — the request works, uncached, and an event says so', async (_name, tags) => {
    const warnings = processWarnings()
    const { cached, cache } = tagcache()
    const events = eventsOf(cache)
    let runs = 0
    const app = express().get('/', cached({ tags }), (_req, res) => void res.send(String(++runs)))
    const { url } = await start(app)
    for (const text of ['1', '2'])
      expect(await ask(url)).toMatchObject({
        status: 200,
        text,
        cacheStatus: 'tagcache; fwd=uri-miss; detail=tags-failed',
      })
    expect(cache.stats().stores).toBe(0)
    expect(await warnings()).toEqual(['TAGCACHE_TAGS_FAILED'])
    expect(events).toContainEqual(warning('TAGCACHE_TAGS_FAILED', { route: 'GET /', error: expect.any(Error) }))
  })

  it.each([undefined, null, '', Number.NaN, {}, true])(
    'scope: gives %j — a bypass, never shared',
    async (principal) => {
      const warnings = processWarnings()
      const { cached, cache } = tagcache()
      const events = eventsOf(cache)
      let runs = 0
      const app = express().get(
        '/',
        cached({ scope: () => principal as string }),
        (_req, res) => void res.send(String(++runs)),
      )
      const { url } = await start(app)
      for (const text of ['1', '2'])
        expect(await ask(url)).toMatchObject({ status: 200, text, cacheStatus: 'tagcache; fwd=bypass; detail=scope' })
      expect(cache.stats().stores).toBe(0)
      expect(await warnings()).toEqual(['TAGCACHE_SCOPE_UNDEFINED'])
      expect(events).toContainEqual(warning('TAGCACHE_SCOPE_UNDEFINED', { route: 'GET /' }))
    },
  )

  it('scope: a promise is no principal', async () => {
    const { cached } = tagcache()
    let runs = 0
    const scope = () => Promise.resolve('ann') as never
    const app = express().get('/', cached({ scope }), (_req, res) => void res.send(String(++runs)))
    const { url } = await start(app)
    for (const text of ['1', '2']) expect((await ask(url)).text).toBe(text)
  })

  const throwing = (): never => {
    throw new Error('no')
  }

  it.each([
    ['scope', { scope: throwing }],
    ['key', { key: throwing }],
    ['host', { host: throwing }],
    ['enabled', { enabled: throwing }],
  ])('%s: throws — a bypass, and an event says so', async (_option, options) => {
    const { cached, cache } = tagcache()
    const events = eventsOf(cache)
    let runs = 0
    const app = express().get('/', cached(options), (_req, res) => void res.send(String(++runs)))
    const { url } = await start(app)
    for (const text of ['1', '2'])
      expect(await ask(url)).toMatchObject({ text, cacheStatus: 'tagcache; fwd=bypass; detail=option-failed' })
    expect(events).toContainEqual(warning('TAGCACHE_OPTION_FAILED', { error: expect.any(Error) }))
  })

  it.each<[string, () => never]>([
    ...failing.filter(([name]) => name !== 'gives a promise'),
    ['gives a promise that rejects', () => Promise.reject(new Error('no')) as never],
  ])('the tags of an invalidates(): %s — everything is purged', async (_name, tags) => {
    const warnings = processWarnings()
    const { invalidates, cache } = tagcache()
    const events = eventsOf(cache)
    const app = express().put('/', invalidates(tags), (_req, res) => void res.send('changed'))
    const { url } = await start(app)
    cache.set('tagged', {}, 'row', { body: 'old' })
    cache.set('untagged', {}, [], { body: 'old' })
    expect(await ask(url, { method: 'PUT' })).toMatchObject({ status: 200, text: 'changed' })
    expect([await cache.getByRequest('tagged'), await cache.getByRequest('untagged')]).toEqual([undefined, undefined])
    expect(await warnings()).toEqual(['TAGCACHE_PURGE_TAGS_FAILED'])
    expect(events).toContainEqual(warning('TAGCACHE_PURGE_TAGS_FAILED', { error: expect.anything() }))
  })

  it('a listener — the request is not affected', async () => {
    const { cached, cache } = tagcache()
    cache.on(() => {
      throw new Error('no')
    })
    const events = eventsOf(cache)
    const app = express().get('/', cached(), (_req, res) => void res.send('x'))
    const { url } = await start(app)
    expect((await ask(url)).status).toBe(200)
    expect((await ask(url)).cacheStatus).toMatch(/; hit/)
    expect(events).toContainEqual(warning('TAGCACHE_LISTENER_FAILED'))
  })
})

describe('a cache that was closed', () => {
  it('leaves reads and writes to their handlers', async () => {
    const { cached, invalidates, cache } = tagcache()
    const app = express()
    app.get('/', cached(), (_req, res) => void res.send('read'))
    app.put('/', invalidates('row'), (_req, res) => void res.send('changed'))
    const { url } = await start(app)
    await ask(url)
    cache.close()
    expect(await ask(url)).toMatchObject({
      status: 200,
      text: 'read',
      cacheStatus: 'tagcache; fwd=bypass; detail=closed',
    })
    expect(await ask(url, { method: 'PUT' })).toMatchObject({ status: 200, text: 'changed' })
  })

  it('leaves writes to their handlers under Koa', async () => {
    const { invalidates, cache } = tagcacheKoa()
    const app = new Koa().use(invalidates('row')).use((ctx) => {
      ctx.body = 'changed'
    })
    app.silent = true
    const { url } = await start(app.callback())
    cache.close()
    expect(await ask(url, { method: 'PUT' })).toMatchObject({ status: 200, text: 'changed' })
  })

  it('tells everybody else', () => {
    const cache = createCache()
    cache.close()
    const closed = expect.objectContaining({ code: 'ERR_TAGCACHE_CLOSED' })
    expect(() => cache.getByRequest('r')).toThrow(closed)
    expect(() => cache.invalidateTags('row')).toThrow(closed)
    expect(() => cache.set('r', {}, [], { body: '' })).toThrow(closed)
  })
})
