import http from 'node:http'
import { createRequire } from 'node:module'
import express from 'express'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type ExpressCache, tagcache } from '../../src/adapters/express.ts'
import { listen, type TestServer } from '../support/http.ts'

// Express 4 has no types of its own here; those of Express 5 say as much.
const express4 = createRequire(import.meta.url)('express4') as typeof express

const piece = fc.constantFrom(
  'a',
  'A',
  'b',
  '%61',
  '%41',
  '%2F',
  '%2f',
  '%20',
  '+',
  '.',
  '%25',
  '%7E',
  '%C3%A9',
  ':',
  '=',
)
const segment = fc.array(piece, { maxLength: 2 }).map((pieces) => pieces.join(''))
const query = fc.constantFrom('', '', '?a=1', '?id=1', '?id=2&a=1', '?a=1&id=2', '?%3Aid=1', '?a[]=1', '?&')
const target = fc
  .tuple(fc.constantFrom('', '', '/files', '/x', '/X'), fc.array(segment, { minLength: 1, maxLength: 2 }), query)
  .map(([prefix, segments, query]) => `${prefix}/${segments.join('/')}${query}`)

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })

/** What the handler was told; the order of names in it does not count. */
function get(url: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const collect = (response: http.IncomingMessage) => {
      let text = ''
      response.on('data', (chunk) => {
        text += chunk
      })
      response.on('end', () => resolve(JSON.parse(text)))
    }
    http.get(url, { agent }, collect).on('error', reject)
  })
}

type Mount = 'at the routes' | 'in a router' | 'before all routes' | 'nowhere'

/** An application whose answers say all that a handler is told by its framework. */
function makeApp(framework: typeof express, mount: Mount, { cached }: ExpressCache): express.Express {
  const app = framework()
  app.set('query parser', 'extended')
  const router = mount === 'in a router' ? framework.Router() : app
  const layer = mount === 'at the routes' || mount === 'in a router' ? [cached()] : []
  const answer: express.RequestHandler = ({ route, params, query }, res) => void res.json({ ...route, params, query })
  const tell =
    (route: string): express.RequestHandler =>
    (req, res, next) => {
      req.route = { path: route }
      answer(req, res, next)
    }
  if (mount === 'before all routes') app.use(cached())
  router.get('/x/:id', ...layer, tell('/x/:id'))
  router.get(framework === express ? '/files/*path' : '/files/*', ...layer, tell('files'))
  router.get('/a', ...layer, tell('/a'))
  router.get('/:id', ...layer, tell('/:id'))
  router.get('/:a/:id', ...layer, tell('/:a/:id'))
  if (router !== app) app.use(router)
  app.use(tell('everything else'))
  return app
}

describe.each([
  ['Express 5', express],
  ['Express 4', express4],
] as const)('%s tells its handlers the same with the cache and without it', (_, framework) => {
  describe.each(['at the routes', 'in a router', 'before all routes'] as const)('with the cache %s', (mount) => {
    const cache = tagcache()
    let plain: TestServer
    let server: TestServer

    beforeAll(async () => {
      plain = await listen(makeApp(framework, 'nowhere', cache))
      server = await listen(makeApp(framework, mount, cache))
    })
    afterAll(async () => {
      agent.destroy()
      await plain.close()
      await server.close()
    })

    it('whatever was asked before', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(target, { minLength: 2, maxLength: 6 }), async (targets) => {
          cache.cache.clear()
          for (const target of targets) expect(await get(server.url + target)).toEqual(await get(plain.url + target))
        }),
        { numRuns: 25 },
      )
    })

    it.each([
      ['/a', '/%61'],
      ['/%61', '/a'],
      ['/x/A', '/x/%41'],
      ['/x/a%2Fb', '/x/a/b'],
      ['/files/a%2Fb', '/files/a/b'],
      ['/A', '/a'],
      ['/a', '/a/'],
      ['/b?id=1', '/1?id=b'],
      ['/b?%3Aid=1', '/b'],
    ])('%s and then %s', async (first, second) => {
      cache.cache.clear()
      await get(server.url + first)
      expect(await get(server.url + second)).toEqual(await get(plain.url + second))
    })

    it('and does answer from the cache', async () => {
      cache.cache.clear()
      const before = cache.cache.stats().hits
      await get(`${server.url}/x/1?a=1&b=2`)
      await get(`${server.url}/x/1?b=2&a=1`)
      expect(cache.cache.stats().hits).toBe(before + 1)
    })
  })
})
