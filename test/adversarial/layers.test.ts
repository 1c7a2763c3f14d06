import type { Request, Response } from 'express'
import { describe, expect, it } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import type { CallOptions } from '../support/stacks.ts'
import { counting, EXPRESSES, type Handler, STACKS, type Stack, site } from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'
import { read, serving } from './support.ts'

/** A site with a cached() for everything, and another one on its route. */
function nested(stack: Stack, outer: CallOptions, inner: CallOptions, handler: Handler) {
  return site(stack, { time: new ManualTime() }, (app, { cached }) => {
    app.use(cached(outer))
    app.on('GET', '/', cached(inner), handler)
  })
}

const WITH_COOKIE = { cookie: 'session=1' }

describe.each(STACKS)('under $name, an outer cached() that lets a request pass', (stack) => {
  it('still has its tags on what the inner one stores', async () => {
    const { get, cache } = await nested(stack, { tags: ['site'] }, { scope: 'public', tags: ['page'] }, counting())
    await get('/', WITH_COOKIE)
    expect((await get('/', WITH_COOKIE)).text).toBe('run 1')
    expect((await cache.getByTags('page'))?.tags).toEqual(['site', 'page'])
    await cache.invalidateTags('site')
    expect((await get('/', WITH_COOKIE)).text).toBe('run 2')
  })

  it('still says how long a response is fresh', async () => {
    const { get } = await nested(stack, { ttl: '1h' }, { scope: 'public' }, counting())
    await get('/', WITH_COOKIE)
    expect((await get('/', WITH_COOKIE)).cacheStatus).toBe('tagcache; hit; ttl=3600')
  })

  it('still keeps out whom it is not enabled for', async () => {
    const enabled: CallOptions['enabled'] = ({ req }) => req.headers['x-admin'] === undefined
    const handler: Handler = ({ req }) => (req.headers['x-admin'] ? 'admin page' : 'public page')
    const { get } = await nested(stack, { enabled }, { ttl: '5m' }, handler)
    for (const _ of [1, 2]) {
      const { text, cacheStatus } = await get('/', { 'x-admin': '1' })
      expect([text, cacheStatus]).toEqual(['admin page', 'tagcache; fwd=bypass; detail=disabled'])
    }
    expect((await get('/')).text).toBe('public page')
    expect((await get('/', { 'x-admin': '1' })).text).toBe('admin page')
  })

  it('still keeps apart those for whom its scope names nobody', async () => {
    const scope: CallOptions['scope'] = ({ req }) => req.headers['x-user'] as string | undefined
    const handler: Handler = ({ req }) => `for ${req.headers['x-user'] ?? req.headers['x-guest']}`
    const { get } = await nested(stack, { scope }, { ttl: '5m' }, handler)
    for (const guest of ['one', 'two']) expect((await get('/', { 'x-guest': guest })).text).toBe(`for ${guest}`)
    for (const user of ['ann', 'bob', 'ann']) expect((await get('/', { 'x-user': user })).text).toBe(`for ${user}`)
  })

  it('leaves one member in Cache-Status and one record', async () => {
    const { get, events } = await nested(stack, {}, { scope: 'public' }, counting())
    expect((await get('/', WITH_COOKIE)).cacheStatus).toBe('tagcache; fwd=uri-miss; stored')
    expect((await get('/', WITH_COOKIE)).cacheStatus).toBe('tagcache; hit; ttl=60')
    const traces = events.filter((event) => event.type === 'trace')
    expect(traces.map(({ outcome }) => outcome)).toEqual(['miss', 'hit'])
  })
})

describe.each(EXPRESSES)(
  'under $name, the functions of an outer cached() see the parameters where it stands',
  ({ express }) => {
    /** A router for each tenant that keeps the tenant's name to itself. */
    function tenants(
      outer: (tools: ReturnType<typeof tagcache>) => unknown,
      inner: { scope?: 'public'; name?: string },
    ) {
      const tools = tagcache({ time: new ManualTime() })
      const app = express()
      const router = express.Router()
      router.get('/p/:id', tools.cached(inner) as never, (req: Request, res: Response) => {
        res.send(`${res.locals.tenant} ${req.params.id}`)
      })
      const enter = (req: Request, res: Response, next: () => void) => {
        res.locals.tenant = req.params.tenant
        next()
      }
      app.use('/:tenant', enter as never, outer(tools) as never, router)
      return { app, cache: tools.cache }
    }

    const tagOf = (req: Request) => `tenant:${req.params.tenant}`

    it('for tags, where it lets a request pass', async () => {
      const { app, cache } = tenants(({ cached }) => cached({ tags: tagOf as never }), { scope: 'public' })
      const { get } = await serving(app)
      await get('/acme/p/1', WITH_COOKIE)
      expect(cache.getByTags('tenant:acme')?.tags).toEqual(['tenant:acme'])
    })

    it('for tags, where an inner one keeps responses under another key', async () => {
      const { app, cache } = tenants(({ cached }) => cached({ tags: tagOf as never }), { name: 'product' })
      const { get } = await serving(app)
      await get('/acme/p/1')
      expect(cache.getByTags('tenant:acme')?.tags).toEqual(['tenant:acme'])
    })

    it('for scope, where an inner one keeps responses under another key', async () => {
      const { app } = tenants(({ cached }) => cached({ scope: ((req: Request) => req.params.tenant) as never }), {
        name: 'product',
      })
      const served = await serving(app)
      await read(served, '/acme/p/1', '/globex/p/1')
      expect((await served.get('/acme/p/1')).cacheStatus).toBe('tagcache; hit; ttl=60')
    })

    it('for enabled, where it lets a request pass', async () => {
      const enabled = ((req: Request) => req.params.tenant !== 'acme') as never
      const { app } = tenants(({ cached }) => cached({ enabled }), { scope: 'public' })
      const { get } = await serving(app)
      expect((await get('/acme/p/1')).cacheStatus).toBe('tagcache; fwd=bypass; detail=disabled')
      expect((await get('/globex/p/1')).cacheStatus).toBe('tagcache; fwd=uri-miss; stored')
    })
  },
)

describe.each(EXPRESSES)('an application of $name that keeps something of its own as `req.app`', ({ express }) => {
  it.each(['shop', { id: 1 }, null, undefined])('answers as without the cache: %j', async (own) => {
    const { cached, invalidates, cache } = tagcache()
    const faults: unknown[] = []
    cache.on('fault', ({ operation }) => faults.push(operation))
    const app = express()
    app.use((req, _res, next) => {
      Reflect.set(req, 'app', own)
      next()
    })
    app.get('/', cached(), (req, res) => void res.json(req.app))
    app.put('/', invalidates('a'), (_req, res) => void res.json('written'))
    const { get, send } = await serving(app)
    for (const _ of [1, 2]) expect(await get('/')).toMatchObject({ status: 200, text: JSON.stringify(own) ?? '' })
    expect((await send('PUT', '/')).text).toBe('"written"')
    expect(faults).toEqual(['look', 'look', 'purge'])
  })
})
