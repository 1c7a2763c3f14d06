// Checked by the compiler; nothing here runs.
import http, { type IncomingMessage, type ServerResponse } from 'node:http'
import { expectTypeOf, test } from 'vitest'
import { tagcache } from '../../src/adapters/node.ts'
import { type Cache, createCache, keyValue } from '../../src/index.ts'
import { AsyncMap } from '../support/backends.ts'

type Shop = 'products' | `product:${number}`

const { cached, invalidates, tag } = tagcache({ ttl: 60 })

test('it stands before a handler of node:http', () => {
  const read = cached({
    tags: (req, res) => {
      expectTypeOf(req).toEqualTypeOf<IncomingMessage>()
      expectTypeOf(res).toEqualTypeOf<ServerResponse>()
      return 'products'
    },
  })
  const write = invalidates((req) => {
    expectTypeOf(req).toEqualTypeOf<IncomingMessage>()
    return ['products']
  })
  http.createServer((req, res) => {
    read(req, res, () => write(req, res, () => res.end()))
    read(req, res, async () => res.end())
    tag(res, 'a', ['b'])
  })
})

test('it knows requests of other frameworks', () => {
  interface Routed extends IncomingMessage {
    params: { id: string }
  }
  const read = cached<Routed>({ tags: (req) => `product:${req.params.id}` })
  expectTypeOf(read).parameter(0).toEqualTypeOf<Routed>()
  cached({ tags: (req: Routed) => req.params.id })
  invalidates((req: Routed) => req.params.id)
})

test('a misspelt tag or option does not compile', () => {
  const { cached, invalidates } = tagcache<Shop>()
  cached({ tags: ['products', `product:${1}`] })
  // @ts-expect-error misspelt
  cached({ tags: 'prodcuts' })
  // @ts-expect-error misspelt type
  invalidates({ type: 'prodcut' })
  // @ts-expect-error misspelt option
  cached({ tag: 'products' })
  // @ts-expect-error misspelt
  tagcache<Shop>().tag({} as ServerResponse, 'prodcuts')
})

test('a cache says whether it is synchronous', () => {
  expectTypeOf(tagcache(createCache()).cache).toEqualTypeOf<Cache<string, true>>()
  expectTypeOf(tagcache().cache).toEqualTypeOf<Cache<string, true>>()
  expectTypeOf(tagcache({ backend: keyValue(new AsyncMap()) }).cache).toEqualTypeOf<Cache<string, false>>()
})
