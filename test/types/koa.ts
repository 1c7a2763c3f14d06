// Checked by the compiler; nothing here runs.
import Router from '@koa/router'
import Koa, { type Middleware } from 'koa'
import { expectTypeOf, test } from 'vitest'
import { tagcache } from '../../src/adapters/koa.ts'
import { type Cache, createCache, keyValue } from '../../src/index.ts'
import { AsyncMap } from '../support/backends.ts'

type Shop = 'products' | `product:${number}`

const app = new Koa()
const router = new Router()
const { cached, invalidates, tag, skip, ttl } = tagcache({ ttl: '5m' })

test('it stands wherever a middleware does', () => {
  app.use(cached())
  app.use(cached({ scope: (ctx) => ctx.get('x-user') }))
  app.use(invalidates('products'))
  router.use(cached({ tags: 'products' }))
  router.use('/products', cached(), invalidates('a'))
  router.get('/products', cached({ tags: ['products'] }), async (ctx) => {
    ctx.body = 'x'
  })
  router.get('/products/:id', cached({ tags: (ctx) => `product:${ctx.params.id}` }), (ctx) => {
    expectTypeOf(ctx.params.id).toExtend<string | undefined>()
    ctx.body = ctx.params.id
  })
  router.put(
    '/products/:id',
    invalidates((ctx) => ['products', `product:${ctx.params.id}`]),
    (ctx) => {
      ctx.status = 204
    },
  )
  expectTypeOf(cached()).toExtend<Middleware>()
})

test('nothing in it is any', () => {
  cached({
    tags: (ctx) => {
      expectTypeOf(ctx).not.toBeAny()
      expectTypeOf(ctx.params).toEqualTypeOf<Record<string, string>>()
      expectTypeOf(ctx.params.id).not.toBeAny()
      expectTypeOf(ctx.query).not.toBeAny()
      expectTypeOf(ctx.status).toEqualTypeOf<number>()
      expectTypeOf(ctx.get('x')).toEqualTypeOf<string>()
      return []
    },
    enabled: (ctx) => ctx.method === 'GET',
  })
  invalidates(
    (ctx) => {
      expectTypeOf(ctx.params).not.toBeAny()
      return []
    },
    { when: (ctx) => ctx.status < 300 },
  )
})

test('the path may be given as a type', () => {
  router.get(
    '/shops/:shop/products/:id',
    cached<'/shops/:shop/products/:id'>({
      tags: (ctx) => {
        expectTypeOf(ctx.params).toEqualTypeOf<{ shop: string; id: string }>()
        // @ts-expect-error there is no such parameter
        ctx.params.other
        return `product:${ctx.params.id}`
      },
    }),
    async () => {},
  )
  invalidates<'/products/:id.json'>((ctx) => {
    expectTypeOf(ctx.params).toEqualTypeOf<{ id: string }>()
    return []
  })
  cached<'/products'>({
    tags: (ctx) => {
      // @ts-expect-error there are no parameters
      ctx.params.id
      return []
    },
  })
})

test('a misspelt tag or option does not compile', () => {
  const { cached, invalidates, tag } = tagcache<Shop>()
  cached({ tags: ['products', { type: 'product', id: 1 }] })
  cached({ tags: (ctx) => `product:${Number(ctx.params.id)}` })
  // @ts-expect-error misspelt
  cached({ tags: 'prodcuts' })
  // @ts-expect-error misspelt in a function
  cached({ tags: () => ['prodcuts'] })
  // @ts-expect-error misspelt type
  invalidates({ type: 'prodcut', id: 1 })
  // @ts-expect-error misspelt in a function
  invalidates(async () => 'prodcuts')
  // @ts-expect-error misspelt option
  cached({ tag: ['products'] })
  app.use((ctx) => {
    tag(ctx, 'products', 'product:1')
    // @ts-expect-error misspelt
    tag(ctx, 'prodcuts')
  })
})

test('handlers say things of their own response', () => {
  app.use((ctx) => {
    tag(ctx, 'a', ['b'])
    skip(ctx)
    ttl(ctx, 5)
  })
  router.get('/', cached(), (ctx) => {
    tag(ctx, 'a')
    // @ts-expect-error no duration
    ttl(ctx, null)
  })
})

test('contexts with state of their own are taken', () => {
  interface State {
    user: { id: string }
  }
  const typed = new Koa<State>()
  typed.use(cached())
  const typedRouter = new Router<State>()
  typedRouter.get('/', cached({ tags: 'a' }), (ctx) => {
    expectTypeOf(ctx.state.user.id).toEqualTypeOf<string>()
  })
})

test('a cache says whether it is synchronous', () => {
  expectTypeOf(tagcache(createCache()).cache).toEqualTypeOf<Cache<string, true>>()
  expectTypeOf(tagcache().cache).toEqualTypeOf<Cache<string, true>>()
  expectTypeOf(tagcache({ backend: keyValue(new AsyncMap()) }).cache).toEqualTypeOf<Cache<string, false>>()
})
