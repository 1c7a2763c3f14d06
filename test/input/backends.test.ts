import express from 'express'
import Koa from 'koa'
import { describe, expect, it } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { tagcache as tagcacheKoa } from '../../src/adapters/koa.ts'
import { type Cache, type Entry, keyValue, memory } from '../../src/index.ts'
import { eventsOf, FAULTS, FaultyBackend, METHODS, type Method, start, turns } from '../peers/support.ts'
import { AsyncMap } from '../support/backends.ts'
import { ask } from '../support/http.ts'

const TIMES = { backendTimeout: '25ms', backendPause: '1ms' } as const

const GARBAGE: Record<string, () => unknown> = {
  'answers null': () => Promise.resolve(null),
  'answers text': () => Promise.resolve('text'),
  'answers NaN': () => Promise.resolve(Number.NaN),
  'answers an empty object': () => Promise.resolve({}),
  'answers a list of nothing': () => Promise.resolve([undefined]),
  'answers at once': () => undefined,
  'throws what is no error': () => {
    throw undefined
  },
}

// What invalidate() and clear() answer does not matter, so they have no garbage to give.
const isVoid = (method: Method) => method === 'invalidate' || method === 'clear'

describe.each(METHODS)('a backend whose %s()', (method: Method) => {
  it.each(Object.entries(isVoid(method) ? FAULTS : { ...FAULTS, ...GARBAGE }))(
    '%s: every request is answered by its handler, in time',
    async (_name, fault) => {
      const backend = new FaultyBackend(memory())
      const { cached, invalidates, cache } = tagcache({ backend, ...TIMES })
      const events = eventsOf(cache)
      let [value, arrived] = ['old', 0]
      const app = express().use((_req, _res, next) => {
        arrived += 1
        next()
      })
      app.get('/row', cached({ tags: ['row'] }), async (_req, res) => {
        const copy = value
        while (arrived < 3) await turns(1)
        await turns(5)
        res.send(copy)
      })
      app.put('/row', invalidates('row'), (_req, res) => void res.send((value = 'new')))
      const { url } = await start(app)
      backend.fail(method, fault)
      const startedAt = performance.now()
      const reads = await Promise.all([1, 2, 3].map(() => ask(`${url}/row`)))
      expect(reads.map(({ text }) => text)).toEqual(['old', 'old', 'old'])
      expect((await ask(`${url}/row`, { method: 'PUT' })).text).toBe('new')
      for (const _read of [1, 2]) expect(await ask(`${url}/row`)).toMatchObject({ status: 200, text: 'new' })
      expect(performance.now() - startedAt).toBeLessThan(1000)
      await programmatic(cache)
      expect(backend.calls).toContain(method)
      expect(events).toContainEqual(expect.objectContaining({ type: 'fault', operation: method }))
      backend.heal()
      await new Promise((resolve) => setTimeout(resolve, 5))
      expect((await ask(`${url}/row`)).text).toBe('new')
      // A delivery that hangs ends with its deadline.
      await expect.poll(async () => (await ask(`${url}/row`)).cacheStatus).toMatch(/; hit/)
    },
  )

  async function programmatic(cache: Cache) {
    const pause = () => new Promise((resolve) => setTimeout(resolve, 2))
    for (const run of [
      () => cache.stamp(),
      () => cache.set('GET /other', {}, ['other'], { body: 'x' }),
      () => cache.getByRequest('GET /other'),
      () => cache.getByTags(['other', 'more']),
      () => cache.delete('GET /other'),
      () => cache.invalidateTags('other'),
      () => cache.clear(),
    ]) {
      await run()
      await pause()
    }
  }
})

describe('a stored entry that is damaged', () => {
  const response = (changes: object) => (entry: Entry) => ({ ...entry, response: { ...entry.response, ...changes } })
  const entry = (changes: object) => (whole: Entry) => ({ ...whole, ...changes })

  const DAMAGES: [name: string, damage: (entry: Entry) => unknown][] = [
    ['nothing in it', () => ({})],
    ['null instead of it', () => null],
    ['another key', entry({ key: 'another' })],
    ['no response', entry({ response: undefined })],
    ['no tags', entry({ tags: undefined })],
    ['text as its stamp', entry({ stamp: '1' })],
    ['no time', entry({ time: undefined })],
    ['no lifetime', entry({ lifetime: undefined })],
    ['text as its body', response({ body: 'old' })],
    ['no headers', response({ headers: undefined })],
    ['a header that is null', response({ headers: [null] })],
    ['a header without a name', response({ headers: [{ value: 'x' }] })],
    ['a header that cannot be sent', response({ headers: [{ name: 'bad name', value: 'x' }] })],
    ['a header value that cannot be sent', response({ headers: [{ name: 'x', value: 'a\r\nSet-Cookie: evil=1' }] })],
    ['no list of removed headers', response({ removed: undefined })],
    ['no trailers', response({ trailers: undefined })],
    ['no status', response({ status: undefined })],
    ['text as its status', response({ status: 'x' })],
    ['a status that there is not', response({ status: 99_999 })],
    ['an interim status', response({ status: 100 })],
    ['a reason that cannot be sent', response({ statusMessage: 'a\r\nb' })],
    [
      'a header that cannot be sent, and another status and reason',
      response({
        status: 404,
        statusMessage: 'Odd',
        headers: [
          { name: 'X-Odd', value: 'x' },
          { name: ' ', value: 'x' },
        ],
      }),
    ],
  ]

  function expressSite(backend: FaultyBackend) {
    const { cached, cache } = tagcache({ backend, ...TIMES })
    let value = 'old'
    const app = express().get('/', cached({ tags: 'row' }), (_req, res) => {
      const copy = value
      value = 'new'
      res.send(copy)
    })
    return { listener: app, cache }
  }

  function koaSite(backend: FaultyBackend) {
    const { cached, cache } = tagcacheKoa({ backend, ...TIMES })
    let value = 'old'
    const app = new Koa().use(cached({ tags: 'row' })).use((ctx) => {
      ctx.body = value
      value = 'new'
    })
    app.silent = true
    return { listener: app.callback(), cache }
  }

  const cases = DAMAGES.flatMap(([name, damage]) => [
    [name, 'Express', damage, expressSite] as const,
    [name, 'Koa', damage, koaSite] as const,
  ])

  it.each(cases)('with %s, is a miss under %s', async (name, _framework, damage, site) => {
    const inner = memory()
    const backend = new FaultyBackend(inner)
    const { listener, cache } = site(backend)
    const { url } = await start(listener)
    await ask(url)
    await turns(5)
    const [stored] = inner.list('tag/row', 1)
    backend.fail('lookup', async () => ({ entry: damage(stored!.entry!), invalidatedAt: 0, clock: inner.clock() }))
    const events = eventsOf(cache)
    const answer = await ask(url)
    expect(answer).toMatchObject({ status: 200, statusMessage: 'OK', text: 'new' })
    expect(answer.headers).not.toHaveProperty('set-cookie')
    expect(answer.headers).not.toHaveProperty('x-odd')
    if (name !== 'another key') expect(events).toContainEqual(expect.objectContaining({ type: 'fault' }))
  })

  it.each([
    ['nothing', new Uint8Array()],
    ['text', 'text'],
    ['other bytes', Buffer.from('{"json":true}')],
    ['a number', 5],
    ['an object', {}],
  ])('in a key-value store, as %s, is a miss', async (_name, bytes) => {
    const store = new AsyncMap()
    const { cached, cache } = tagcache({ backend: keyValue(store), ...TIMES })
    const events = eventsOf(cache)
    let runs = 0
    const app = express().get('/', cached(), (_req, res) => void res.send(String(++runs)))
    const { url } = await start(app)
    await ask(url)
    for (const key of store.map.keys()) store.map.set(key, bytes as Uint8Array)
    expect(await ask(url)).toMatchObject({ status: 200, text: '2' })
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'fault', error: expect.objectContaining({ code: 'ERR_TAGCACHE_FRAME' }) }),
    )
    expect(events).not.toContainEqual(expect.objectContaining({ type: 'backend' }))
  })

  it('in a key-value store, by any one byte that is wrong, is a miss', async () => {
    const store = new AsyncMap()
    const { cached, cache } = tagcache({ backend: keyValue(store), ...TIMES })
    let runs = 0
    const app = express().get('/', cached(), (_req, res) => void res.send(`run ${++runs}`))
    const { url } = await start(app)
    await ask(url)
    const [[key, whole]] = [...store.map] as [[string, Uint8Array]]
    for (let at = 0; at < whole.byteLength; at += 11) {
      const damaged = Uint8Array.from(whole)
      damaged[at]! ^= 1
      store.map.set(key, damaged)
      const shown = await cache.getByRequest('GET /', { host: url.slice(7) })
      expect(shown, `byte ${at}`).toBeUndefined()
    }
  })
})

describe('a three-method store', () => {
  it.each(['get', 'set', 'delete'] as const)(
    'whose %s() fails in any way costs hits and nothing else',
    async (method) => {
      for (const [, fault] of Object.entries(FAULTS)) {
        const store = new AsyncMap()
        const broken = { get: store.get.bind(store), set: store.set.bind(store), delete: store.delete.bind(store) }
        const { cached, invalidates, cache } = tagcache({ backend: keyValue(broken), ...TIMES })
        let value = 'old'
        const app = express()
        app.get('/', cached({ tags: 'row' }), (_req, res) => void res.send(value))
        app.put('/', invalidates('row'), (_req, res) => void res.send((value = 'new')))
        const { url } = await start(app)
        await ask(url)
        broken[method] = fault as never
        for (const _read of [1, 2]) expect((await ask(url)).text).toBe('old')
        await ask(url, { method: 'PUT' })
        for (const _read of [1, 2]) expect((await ask(url)).text).toBe('new')
        await cache.clear()
        expect((await ask(url)).text).toBe('new')
      }
    },
  )
})
