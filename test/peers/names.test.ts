import Router from '@koa/router'
import express from 'express'
import Koa from 'koa'
import { describe, expect, it } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { tagcache as tagcacheKoa } from '../../src/adapters/koa.ts'
import { createCache } from '../../src/index.ts'
import { ask } from '../support/http.ts'
import { ManualTime } from '../support/time.ts'
import { start } from './support.ts'

const NAMES = ['constructor', '__proto__', 'prototype', 'toString', 'hasOwnProperty']

describe('names that every object knows', () => {
  it.each(NAMES)('[prototype] a route parameter called %s is a parameter like others', async (name) => {
    const { cached } = tagcache({ scope: 'public' })
    const app = express()
    app.get(`/items/:${name}`, cached(), (req, res) => void res.send(req.originalUrl))
    const { url } = await start(app)
    for (const round of [1, 2])
      for (const value of ['1', '2', 'constructor', '__proto__'])
        expect((await ask(`${url}/items/${value}`)).text, `round ${round}`).toBe(`/items/${value}`)
    expect((await ask(`${url}/items/1`)).cacheStatus).toMatch(/; hit/)
  })

  it.each(NAMES)('[prototype] a Koa route parameter called %s, too', async (name) => {
    const { cached } = tagcacheKoa()
    const router = new Router().get(`/items/:${name}`, cached(), (ctx) => {
      ctx.body = ctx.path
    })
    const { url } = await start(new Koa().use(router.routes()).callback())
    for (const value of ['1', '2', '1', '2']) expect((await ask(`${url}/items/${value}`)).text).toBe(`/items/${value}`)
  })

  it.each(NAMES)('[prototype] a query parameter or route called %s has a key of its own', async (name) => {
    const { cached } = tagcache()
    const app = express()
    app.get('/items', cached(), (req, res) => void res.send(req.originalUrl))
    app.get('/named', cached({ name }), (_req, res) => void res.send('named'))
    const { url } = await start(app)
    const paths = ['/items', `/items?${name}`, `/items?${name}=1`, `/items?${name}=2`, `/items?${name}[x]=1`]
    for (const path of [...paths, ...paths]) expect((await ask(url + path)).text).toBe(path)
    await ask(`${url}/named`)
    expect((await ask(`${url}/named`)).cacheStatus).toMatch(/; hit/)
  })

  it.each(NAMES)('[prototype] a tag, a scope or a namespace called %s is one', (name) => {
    const cache = createCache({ namespace: name })
    cache.set('r', { scope: name }, [name, { type: name, id: name }], { body: 'x', headers: { [`x-${name}`]: name } })
    expect(cache.getByRequest('r', { scope: name })).toBeDefined()
    expect(cache.getByRequest('r')).toBeUndefined()
    cache.invalidateTags(`${name}:${name}`)
    expect(cache.getByRequest('r', { scope: name })).toBeUndefined()
  })
})

describe('a time to live', () => {
  it.each([
    ['5m', 300],
    ['250ms', 0.25],
    ['30 days', 30 * 86_400],
    ['1h', 3600],
    ['90s', 90],
    [90, 90],
    [0.5, 0.5],
    ['10 years', 10 * 365.25 * 86_400],
  ])('[duration] %s is %d seconds', async (ttl, seconds) => {
    const time = new ManualTime()
    const { cached } = tagcache({ time })
    let runs = 0
    const app = express().get('/', cached({ ttl }), (_req, res) => void res.send(String(++runs)))
    const { url } = await start(app)
    await ask(url)
    time.move(seconds * 1000 - 1)
    expect((await ask(url)).text).toBe('1')
    time.move(1)
    expect((await ask(url)).text).toBe('2')
  })
})
