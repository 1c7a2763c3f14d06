import { describe, expect, it } from 'vitest'
import { type CallOptions, counting, oneRoute, type Stack, site } from '../../support/stacks.ts'
import { ManualTime } from '../../support/time.ts'

const QUERIES: [name: string, query: CallOptions['query'], one: string, other: string, shared: boolean][] = [
  ['all of it counts', true, '?a=1', '?a=2', false],
  ['the order of names does not count', true, '?a=1&b=2', '?b=2&a=1', true],
  ['the order of values counts', true, '?a=1&a=2', '?a=2&a=1', false],
  ['spelling does not count', true, '?q=%41+b', '?q=A%20b', true],
  ['an empty value is not an absent one', true, '?a', '?a=', false],
  ['a list: others do not count', ['q'], '?q=1&page=1', '?q=1&page=2', true],
  ['a list: those count', ['q', 'page'], '?q=1&page=1', '?q=1&page=2', false],
  ['ignored names do not count', { ignore: ['utm_*', 'fbclid'] }, '?utm_source=a&fbclid=1', '?utm_medium=b', true],
  ['what is not ignored counts', { ignore: ['utm_*'] }, '?utm_source=a&q=1', '?utm_source=a&q=2', false],
  ['nothing counts', false, '?a=1', '?b=2', true],
]

export function keys(stack: Stack): void {
  it('have the host', async () => {
    const { get } = await oneRoute(stack, counting())
    expect((await get('/', { host: 'one.example' })).text).toBe('run 1')
    expect((await get('/', { host: 'two.example' })).text).toBe('run 2')
    expect((await get('/', { host: 'ONE.example' })).text).toBe('run 1')
    expect((await get('/', { host: 'one.example:8080' })).text).toBe('run 3')
  })

  it.each([
    ['false', false],
    ['a function', () => 'any'],
  ] as [string, CallOptions['host'] & {}][])('have no host with `host`: %s', async (_, host) => {
    const { get } = await oneRoute(stack, counting(), { host })
    await get('/', { host: 'one.example' })
    expect((await get('/', { host: 'two.example' })).text).toBe('run 1')
  })

  describe('have the query', () => {
    it.each(QUERIES)('%s', async (_, query, one, other, shared) => {
      const { get } = await oneRoute(stack, counting(), query === undefined ? {} : { query })
      expect((await get(`/${one}`)).text).toBe('run 1')
      expect((await get(`/${other}`)).text).toBe(shared ? 'run 1' : 'run 2')
    })
  })

  const products = (options: CallOptions) =>
    site(stack, { time: new ManualTime() }, (app, { cached }) => {
      app.on('GET', '/products/:id/:slug', cached(options), counting())
    })

  it('have the route parameters', async () => {
    const { get } = await products({})
    expect((await get('/products/1/a')).text).toBe('run 1')
    expect((await get('/products/1/b')).text).toBe('run 2')
    expect((await get('/products/1/a')).text).toBe('run 1')
  })

  if (stack.hasPatterns)
    it('have those parameters alone that `params` lists', async () => {
      const { get } = await products({ params: ['id'] })
      await get('/products/1/a')
      expect((await get('/products/1/b')).text).toBe('run 1')
      expect((await get('/products/2/a')).text).toBe('run 2')
    })

  it('begin with the route', async () => {
    const { get, events } = await products({})
    await get('/products/1/a?page=2')
    const [trace] = events.filter((event) => event.type === 'trace')
    expect(trace).toMatchObject(
      stack.hasPatterns
        ? {
            route: 'GET /products/:id/:slug',
            key: expect.stringMatching(/^GET \/products\/:id\/:slug\?id=1&slug=a&page=2#host=/),
          }
        : { route: 'GET /products/1/a', key: expect.stringMatching(/^GET \/products\/1\/a\?page=2#host=/) },
    )
  })

  it('keep apart paths that one pattern matches', async () => {
    const { get } = await products({})
    await get('/products/1/a')
    expect((await get('/products/1/%61')).text).toBe(stack.hasPatterns ? 'run 1' : 'run 2')
    expect((await get('/products/1%2F2/a')).text).toBe(stack.hasPatterns ? 'run 2' : 'run 3')
    expect((await get('/products/1/a')).text).toBe('run 1')
  })

  it('begin with the name that the route was given', async () => {
    const { get, events } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
      app.on(
        'GET',
        '/old',
        cached({ name: 'shop' }),
        counting((text) => `old ${text}`),
      )
      app.on(
        'GET',
        '/new',
        cached({ name: 'shop' }),
        counting((text) => `new ${text}`),
      )
    })
    await get('/old')
    expect((await get('/new')).text).toBe(stack.hasPatterns ? 'old run 1' : 'new run 1')
    expect(events.flatMap((event) => (event.type === 'trace' ? [event.route] : []))).toEqual(['shop', 'shop'])
  })

  it('are what `key` gives, in place of parameters and query', async () => {
    const { get } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
      const key: CallOptions['key'] = ({ req }) => req.headers['x-key'] as string | undefined
      app.on('GET', '/', cached({ key }), counting())
    })
    expect((await get('/?a=1', { 'x-key': 'k' })).text).toBe('run 1')
    expect((await get('/?a=2', { 'x-key': 'k' })).text).toBe('run 1')
    expect((await get('/?a=1', { 'x-key': 'l' })).text).toBe('run 2')
    expect((await get('/?a=1')).cacheStatus).toBe('tagcache; fwd=bypass; detail=key')
  })

  it('have the mount point', async () => {
    const { get, events } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
      const handler = counting()
      for (const prefix of ['/shop', '/other']) {
        app.mount(prefix, (inner) => inner.on('GET', '/items/:id', cached(), handler))
      }
    })
    expect((await get('/shop/items/1')).text).toBe('run 1')
    expect((await get('/other/items/1')).text).toBe('run 2')
    expect((await get('/shop/items/1')).text).toBe('run 1')
    const routes = events.flatMap((event) => (event.type === 'trace' ? [event.route] : []))
    const name = stack.hasPatterns ? ':id' : '1'
    expect(routes).toEqual([`GET /shop/items/${name}`, `GET /other/items/${name}`, `GET /shop/items/${name}`])
  })
}
