// Checked by the compiler; nothing here runs.
import express, { type Request, type RequestHandler, type Response } from 'express'
import { expectTypeOf, test } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { type Cache, createCache, keyValue } from '../../src/index.ts'
import { AsyncMap } from '../support/backends.ts'

type Shop = 'products' | `product:${number}`

const app = express()
const router = express.Router({ mergeParams: true })
const { cached, invalidates, tag, skip, ttl } = tagcache({ ttl: 60 })
const handler: RequestHandler = (_req, res) => void res.end()

test('app.route infers the parameters', () => {
  app
    .route('/products/:id')
    .get(
      cached({
        ttl: '5m',
        tags: (req) => {
          expectTypeOf(req.params).toEqualTypeOf<{ id: string }>()
          return [`product:${req.params.id}`]
        },
        scope: (req, res) => {
          expectTypeOf(req.params.id).toEqualTypeOf<string>()
          expectTypeOf(res).toEqualTypeOf<Response>()
          return 'me'
        },
      }),
      handler,
    )
    .put(
      invalidates((req) => {
        expectTypeOf(req.params).toEqualTypeOf<{ id: string }>()
        return ['products', `product:${req.params.id}`]
      }),
      handler,
    )
})

test('app.get takes it, and nothing in it is any', () => {
  app.get(
    '/products/:id',
    cached({
      tags: (req) => {
        expectTypeOf(req).not.toBeAny()
        expectTypeOf(req.params).not.toBeAny()
        expectTypeOf(req.params.id).not.toBeAny()
        expectTypeOf(req.params.id).toExtend<string | string[] | undefined>()
        return `product:${req.params.id}`
      },
    }),
    (req, res) => {
      expectTypeOf(req).not.toBeAny()
      res.json({ id: req.params.id })
    },
  )
  app.put(
    '/products/:id',
    invalidates((req) => ['products', `product:${req.params.id}`], { when: (_req, res) => res.statusCode < 300 }),
    (req, res) => void res.json({ id: req.params.id }),
  )
  router.get('/:id', cached({ tags: (req) => [`product:${req.params.id}`] }), handler)
})

test('the handler after it keeps the parameters of its path', () => {
  app.get('/products/:id', cached(), (req, res) => {
    expectTypeOf(req.params.id).toEqualTypeOf<string>()
    res.end()
  })
  app.get('/products/:id', cached({ tags: 'products' }), (req, res) => {
    expectTypeOf(req.params.id).toEqualTypeOf<string>()
    res.end()
  })
})

test('it stands wherever a middleware does', () => {
  app.use(cached())
  app.use('/products', cached({ tags: 'products' }))
  app.use(cached({ enabled: (req) => req.method === 'GET' }), invalidates('products'))
  router.use(cached({ key: (req) => req.path }))
  app.all(/regular/, cached(), handler)
  app.get(['/a', '/b'], cached(), handler)
  app.get('/many', [cached(), handler])
  expectTypeOf(cached()).toExtend<RequestHandler>()
})

test('the path may be given as a type', () => {
  app.get(
    '/shops/:shop/products/:id',
    cached<'/shops/:shop/products/:id'>({
      tags: (req) => {
        expectTypeOf(req.params).toEqualTypeOf<{ shop: string } & { id: string }>()
        // @ts-expect-error there is no such parameter
        req.params.other
        return []
      },
    }),
    handler,
  )
  invalidates<'/products/:id'>((req) => {
    expectTypeOf(req.params.id).toEqualTypeOf<string>()
    return `product:${req.params.id}`
  })
  cached<{ id: string }>({ tags: (req) => req.params.id })
  cached({ tags: (req: Request<{ id: string }>) => req.params.id })
})

test('a misspelt tag does not compile', () => {
  const { cached, invalidates, tag, cache } = tagcache<Shop>({ ttl: 60 })
  cached({ tags: ['products', 'product:42', { type: 'product', id: 42 }] })
  cached({ tags: (req) => [`product:${Number(req.params.id)}`] })
  invalidates('products')
  invalidates(async () => ['products', `product:${42}`])
  tag({} as Response, 'products', ['product:1', { type: 'product', id: 2 }])
  // @ts-expect-error misspelt
  cached({ tags: ['prodcuts'] })
  // @ts-expect-error misspelt type
  cached({ tags: { type: 'prodcut', id: 42 } })
  // @ts-expect-error misspelt in a function
  cached({ tags: () => ['prodcuts'] })
  // @ts-expect-error misspelt
  invalidates('prodcuts')
  // @ts-expect-error misspelt in a function
  invalidates(() => ['prodcuts'])
  // @ts-expect-error misspelt
  tag({} as Response, 'prodcuts')
  // @ts-expect-error misspelt
  cache.invalidateTags('prodcuts')
})

test('an unknown option does not compile', () => {
  // @ts-expect-error misspelt
  cached({ tag: ['a'] })
  // @ts-expect-error a cache's option
  cached({ backend: keyValue(new AsyncMap()) })
  // @ts-expect-error misspelt
  invalidates('a', { wenn: () => true })
  // @ts-expect-error misspelt
  tagcache({ tll: 5 })
  // @ts-expect-error no duration
  cached({ ttl: true })
  // @ts-expect-error not a list of tags
  cached({ tags: () => 42 })
})

test('a cache may be handed in, and says whether it is synchronous', () => {
  expectTypeOf(tagcache(createCache()).cache).toEqualTypeOf<Cache<string, true>>()
  expectTypeOf(tagcache(createCache<Shop>({ backend: keyValue(new AsyncMap()) })).cache).toEqualTypeOf<
    Cache<Shop, false>
  >()
  expectTypeOf(tagcache().cache.stamp()).not.toBeAny()
})

test('a cache made from options says whether it is synchronous', () => {
  expectTypeOf(tagcache().cache).toEqualTypeOf<Cache<string, true>>()
  expectTypeOf(tagcache({ ttl: 5 }).cache).toEqualTypeOf<Cache<string, true>>()
  expectTypeOf(tagcache({ backend: keyValue(new AsyncMap()) }).cache).toEqualTypeOf<Cache<string, false>>()
})

test('handlers say things of their own response', () => {
  app.get('/', cached(), (_req, res) => {
    tag(res, 'a', ['b', { type: 'c', id: 1 }])
    skip(res)
    ttl(res, '5m')
    // @ts-expect-error the response, not the request
    tag(_req, 'a')
  })
})
