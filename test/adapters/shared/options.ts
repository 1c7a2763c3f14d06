import { expect, it } from 'vitest'
import { gate } from '../../support/http.ts'
import { type CallOptions, counting, oneRoute, type Stack, site, until } from '../../support/stacks.ts'
import { ManualTime } from '../../support/time.ts'

export function options(stack: Stack): void {
  it('methods: one that is not listed goes to the handler', async () => {
    const { get, send } = await oneRoute(stack, counting(), { methods: ['GET'] })
    await get('/')
    expect((await send('HEAD', '/')).cacheStatus).toBe('tagcache; fwd=method; detail=method')
    expect((await get('/')).text).toBe('run 1')
  })

  it('methods: POST is cached under its key', async () => {
    const { send } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
      const key: CallOptions['key'] = ({ req }) => req.headers['x-query'] as string
      app.on('POST', '/search', cached({ methods: ['POST'], key }), counting())
    })
    const search = (query: string) => send('POST', '/search', { headers: { 'x-query': query }, body: query })
    expect((await search('a')).text).toBe('run 1')
    expect((await search('b')).text).toBe('run 2')
    const again = await search('a')
    expect([again.text, again.cacheStatus]).toEqual(['run 1', 'tagcache; hit; ttl=60'])
  })

  it('statuses: those listed are stored', async () => {
    const handler = counting((body) => ({ status: 404, body }))
    const { get } = await oneRoute(stack, handler, { statuses: [404] })
    await get('/')
    const hit = await get('/')
    expect([hit.status, hit.text, hit.cacheStatus]).toEqual([404, 'run 1', 'tagcache; hit; ttl=60'])
  })

  it('statuses: one that is not listed is stored where the response gives a lifetime', async () => {
    const handler = counting((body) => ({ status: 404, headers: { 'Cache-Control': 'max-age=9' }, body }))
    const { get } = await oneRoute(stack, handler)
    await get('/')
    expect((await get('/')).text).toBe('run 1')
  })

  it('maxBodySize: what is larger is answered, not stored', async () => {
    const { get } = await oneRoute(
      stack,
      counting((text, { req }) => text.padEnd(Number(req.headers['x-size']), '.')),
      { maxBodySize: 100 },
    )
    expect((await get('/', { 'x-size': '101' })).body.byteLength).toBe(101)
    expect((await get('/', { 'x-size': '100' })).text).toBe('run 2'.padEnd(100, '.'))
    expect((await get('/', { 'x-size': '101' })).text).toBe('run 2'.padEnd(100, '.'))
  })

  it('enabled: false leaves everything to the handler', async () => {
    const { get } = await oneRoute(stack, counting(), { enabled: false })
    await get('/')
    expect((await get('/')).text).toBe('run 2')
  })

  it('enabled: a function decides for each request', async () => {
    const { get } = await oneRoute(stack, counting(), { enabled: ({ req }) => req.headers['x-preview'] === undefined })
    await get('/')
    expect((await get('/', { 'x-preview': '1' })).text).toBe('run 2')
    expect((await get('/')).text).toBe('run 1')
  })

  it('clientCacheControl: clients are told to ask each time', async () => {
    const { get } = await oneRoute(stack, counting())
    for (const answer of [await get('/'), await get('/')]) {
      expect(answer.headers['cache-control']).toBe('no-cache')
      expect(answer.headers.etag).toMatch(/^W\/"/)
    }
  })

  it("clientCacheControl: the handler's own word is passed on", async () => {
    const { get } = await oneRoute(
      stack,
      counting((body) => ({ headers: { 'Cache-Control': 'public, max-age=30', ETag: '"own"' }, body })),
    )
    for (const answer of [await get('/'), await get('/')]) {
      expect(answer.headers['cache-control']).toBe('public, max-age=30')
      expect(answer.headers.etag).toBe('"own"')
    }
  })

  it('clientCacheControl: false adds nothing', async () => {
    const { get } = await oneRoute(stack, counting(), { clientCacheControl: false })
    for (const answer of [await get('/'), await get('/')]) {
      expect(answer.headers['cache-control']).toBeUndefined()
      if (stack.kind !== 'express') expect(answer.headers.etag).toBeUndefined()
    }
  })

  it('coalesce: false has each request run', async () => {
    const held = gate()
    const handler = counting((text) => held.opened.then(() => text))
    const { get } = await oneRoute(stack, handler, { coalesce: false })
    const answers = [get('/'), get('/'), get('/')]
    await until(() => handler.runs() === 3)
    held.open()
    const texts = (await Promise.all(answers)).map(({ text }) => text)
    expect(texts.sort()).toEqual(['run 1', 'run 2', 'run 3'])
  })

  it('ttl: 0 stores nothing', async () => {
    const { get } = await oneRoute(stack, counting(), { ttl: 0 })
    expect((await get('/')).cacheStatus).toBe('tagcache; fwd=uri-miss; detail=no-lifetime')
    expect((await get('/')).text).toBe('run 2')
  })

  it("ttl: the route's goes before what the response says", async () => {
    const { get } = await oneRoute(
      stack,
      counting((body) => ({ headers: { 'Cache-Control': 'max-age=9' }, body })),
      { ttl: '5m' },
    )
    await get('/')
    expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=300')
  })

  it('options of the cache are the defaults of its routes', async () => {
    const { get } = await oneRoute(
      stack,
      counting(),
      {},
      { time: new ManualTime(), ttl: '2m', query: ['q'], scope: 'public' },
    )
    await get('/?q=1&x=1')
    expect((await get('/?q=1&x=2', { cookie: 'a=1' })).cacheStatus).toBe('tagcache; hit; ttl=120')
  })
}
