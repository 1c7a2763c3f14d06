import express, { type Express } from 'express'
import Koa from 'koa'
import { describe, expect, it } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { tagcache as tagcacheKoa } from '../../src/adapters/koa.ts'
import { keyValue, memory } from '../../src/index.ts'
import { AsyncMap } from '../support/backends.ts'
import { type Answer, ask } from '../support/http.ts'
import { ManualTime } from '../support/time.ts'
import { eventsOf, FAULTS, FaultyBackend, start, turns } from './support.ts'

const refused = () => Promise.reject(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }))
const frozen = FAULTS['never answers']!

function shop() {
  const backend = new FaultyBackend(memory())
  const time = new ManualTime()
  const { cached, invalidates, cache } = tagcache({ backend, time })
  let [value, runs] = ['old', 0]
  const app = express()
  app.get('/row', cached({ tags: ['row'] }), (_req, res) => {
    runs += 1
    res.send(value)
  })
  app.put('/row', invalidates('row'), (_req, res) => {
    value = 'new'
    res.send('changed')
  })
  return { app, backend, time, cache, events: eventsOf(cache), runs: () => runs }
}

/** Lets an answer come by moving on as far as the backend's deadline, and no further. */
async function afterDeadline(time: ManualTime, answer: Promise<Answer>, milliseconds = 250): Promise<Answer> {
  while (time.pending === 0) await turns(1)
  time.move(milliseconds - 1)
  expect(await Promise.race([answer, turns(50)])).toBeUndefined()
  time.move(1)
  return answer
}

describe('a backend whose connections are open and pass nothing', () => {
  it('[frozen] holds a read until its deadline, and the next ones not at all', async () => {
    const { app, backend, time, events, runs } = shop()
    const { url } = await start(app)
    backend.failAll(frozen)
    const first = await afterDeadline(time, ask(`${url}/row`))
    expect(first).toMatchObject({ status: 200, text: 'old', cacheStatus: 'tagcache; fwd=bypass; detail=backend' })
    const others = await Promise.all(Array.from({ length: 10 }, () => ask(`${url}/row`)))
    expect(others.map(({ text }) => text)).toEqual(Array(10).fill('old'))
    expect([runs(), backend.calls]).toEqual([11, ['lookup']])
    expect(events).toContainEqual({ type: 'backend', state: 'paused' })
    expect(events).toContainEqual(
      expect.objectContaining({
        type: 'fault',
        error: expect.objectContaining({ code: 'ERR_TAGCACHE_BACKEND_TIMEOUT' }),
      }),
    )
  })

  it('[frozen] holds a write until its deadline', async () => {
    const { app, backend, time } = shop()
    const { url } = await start(app)
    backend.failAll(frozen)
    const written = await afterDeadline(time, ask(`${url}/row`, { method: 'PUT' }))
    expect([written.status, written.text]).toEqual([200, 'changed'])
    expect((await ask(`${url}/row`)).text).toBe('new')
  })

  it('[frozen] while it should store, holds nobody who has his answer', async () => {
    const { app, backend } = shop()
    const { url } = await start(app)
    backend.fail('store', frozen)
    expect((await ask(`${url}/row`)).text).toBe('old')
  })

  it('[frozen] holds a Koa read until its deadline', async () => {
    const backend = new FaultyBackend(memory())
    const time = new ManualTime()
    const { cached } = tagcacheKoa({ backend, time, backendTimeout: '100ms' })
    const app = new Koa().use(cached()).use((ctx) => {
      ctx.body = 'x'
    })
    const { url } = await start(app.callback())
    backend.failAll(frozen)
    expect((await afterDeadline(time, ask(url), 100)).text).toBe('x')
    expect((await ask(url)).text).toBe('x')
  })

  it('[frozen] is left alone on the real clock too', async () => {
    const { cached } = tagcache({
      backend: keyValue({ get: () => new Promise<undefined>(() => {}), set: async () => {}, delete: async () => {} }),
      backendTimeout: '30ms',
    })
    const app = express().get('/', cached(), (_req, res) => void res.send('x'))
    const { url } = await start(app)
    const startedAt = performance.now()
    for (let request = 0; request < 10; request++) expect((await ask(url)).text).toBe('x')
    expect(performance.now() - startedAt).toBeLessThan(1000)
  })
})

describe('a backend that refuses', () => {
  it('[cut-backend] costs a read milliseconds, and is asked once per pause', async () => {
    const { app, backend, time } = shop()
    const { url } = await start(app)
    backend.failAll(refused)
    const startedAt = performance.now()
    for (let request = 0; request < 20; request++) expect((await ask(`${url}/row`)).text).toBe('old')
    expect(performance.now() - startedAt).toBeLessThan(1000)
    expect(backend.calls).toEqual(['lookup'])
    time.move(1000)
    await Promise.all(Array.from({ length: 5 }, () => ask(`${url}/row`)))
    expect(backend.calls).toEqual(['lookup', 'lookup'])
  })

  it('[cut-backend] costs a write milliseconds, and the write is not lost', async () => {
    const { app, backend } = shop()
    const { url } = await start(app)
    backend.failAll(refused)
    expect((await ask(`${url}/row`, { method: 'PUT' })).text).toBe('changed')
    expect((await ask(`${url}/row`)).text).toBe('new')
  })
})

describe('a backend that is there again', () => {
  async function heal(url: string, { backend, time }: Pick<ReturnType<typeof shop>, 'backend' | 'time'>) {
    backend.heal()
    // In two steps: what is tried on the way has its own deadline.
    time.move(800)
    await turns(3)
    time.move(200)
    await turns(3)
    return ask(`${url}/row`)
  }

  it.each([
    ['refused', refused],
    ['froze', frozen],
  ])('[heal] has no old answer, after it %s', async (_name, fault) => {
    const site = shop()
    const { url } = await start(site.app as Express)
    await ask(`${url}/row`)
    site.backend.failAll(fault)
    const writing = ask(`${url}/row`, { method: 'PUT' })
    while (!site.backend.calls.includes('invalidate')) await turns(1)
    site.time.move(250)
    await writing
    expect(await heal(url, site)).toMatchObject({ text: 'new', cacheStatus: 'tagcache; fwd=uri-miss; stored' })
    expect((await ask(`${url}/row`)).cacheStatus).toMatch(/; hit/)
    expect(site.events).toContainEqual({ type: 'backend', state: 'resumed' })
  })

  it('[heal] has no answer from before a clear() that it did not take', async () => {
    const site = shop()
    const { url } = await start(site.app as Express)
    await ask(`${url}/row`)
    site.backend.failAll(refused)
    await site.cache.clear()
    expect((await heal(url, site)).cacheStatus).toBe('tagcache; fwd=uri-miss; stored')
  })

  it('[heal] keeps the answers that nothing was written to', async () => {
    const site = shop()
    const { url } = await start(site.app as Express)
    await ask(`${url}/row`)
    site.backend.failAll(refused)
    expect((await ask(`${url}/row`)).cacheStatus).toBe('tagcache; fwd=bypass; detail=backend')
    expect((await heal(url, site)).cacheStatus).toMatch(/; hit/)
  })

  it('[heal] serves nothing that a store held back during the outage', async () => {
    const store = new AsyncMap()
    let isDown = false
    const flaky = {
      get: (key: string) => (isDown ? refused() : store.get(key)),
      set: (key: string, value: Uint8Array) => (isDown ? refused() : store.set(key, value)),
      delete: (key: string) => (isDown ? refused() : store.delete(key)),
    }
    const time = new ManualTime()
    const { cached, invalidates } = tagcache({ backend: keyValue(flaky), time })
    let value = 'old'
    const app = express()
    app.get('/row', cached({ tags: ['row'] }), (_req, res) => void res.send(value))
    app.put('/row', invalidates('row'), (_req, res) => void res.send((value = 'new')))
    const { url } = await start(app)
    await ask(`${url}/row`)
    isDown = true
    await ask(`${url}/row`, { method: 'PUT' })
    isDown = false
    time.move(1000)
    expect((await ask(`${url}/row`)).text).toBe('new')
    expect((await ask(`${url}/row`)).text).toBe('new')
  })
})
