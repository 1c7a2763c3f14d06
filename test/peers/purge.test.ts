import type { RequestListener } from 'node:http'
import express from 'express'
import Koa from 'koa'
import { describe, expect, it } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { tagcache as tagcacheKoa } from '../../src/adapters/koa.ts'
import { TagIndex } from '../../src/backends/tag-index.ts'
import { type Cache, keyValue, memory, type TagBackend, type TagList } from '../../src/index.ts'
import { AsyncMap } from '../support/backends.ts'
import { ask, gate } from '../support/http.ts'
import { ManualTime } from '../support/time.ts'
import { eventsOf, FAULTS, FaultyBackend, start } from './support.ts'

const BACKENDS: [name: string, make: () => TagBackend][] = [
  ['memory', () => memory()],
  ['a Map', () => keyValue(new Map<string, Uint8Array>())],
  ['a Map that answers with promises', () => keyValue(new AsyncMap())],
]

/** One row; the first handler to read it is held after it has made its copy, until `finish` is opened. */
class HeldRow {
  readonly began = gate()
  readonly finish = gate()
  value = 'old'
  #reads = 0

  async read(): Promise<string> {
    const copy = this.value
    if (++this.#reads > 1) return copy
    this.began.open()
    await this.finish.opened
    return copy
  }

  get reads(): number {
    return this.#reads
  }
}

function heldShop(options: { backend?: TagBackend; tags?: TagList | (() => TagList); own?: string } = {}) {
  const { backend, tags, own } = options
  const row = new HeldRow()
  const { cached, invalidates, tag, cache } = tagcache({ coalesce: { maxWait: '1h' }, ...(backend ? { backend } : {}) })
  const app = express()
  app.get('/row', cached(tags === undefined ? {} : { tags }), async (_req, res) => {
    const copy = await row.read()
    if (own) tag(res, own)
    res.send(copy)
  })
  app.put('/row', invalidates('row'), (_req, res) => {
    row.value = 'new'
    res.send('changed')
  })
  return { app, row, cache }
}

async function raceOn(app: RequestListener, row: HeldRow) {
  const { url } = await start(app)
  const early = ask(`${url}/row`)
  await row.began.opened
  await ask(`${url}/row`, { method: 'PUT' })
  row.finish.open()
  return { url, early: (await early).text, later: await ask(`${url}/row`) }
}

describe('a handler that read its row before the row was changed and purged', () => {
  it.each(BACKENDS)('[race] leaves no old answer behind over %s', async (_name, make) => {
    const { app, row } = heldShop({ backend: make(), tags: ['row'] })
    const { url, early, later } = await raceOn(app, row)
    expect(early).toBe('old')
    expect(later.text).toBe('new')
    expect((await ask(`${url}/row`)).cacheStatus).toMatch(/; hit;/)
  })

  it('[race] leaves none whose tag was declared by the handler, after the purge', async () => {
    const { app, row } = heldShop({ own: 'row' })
    expect((await raceOn(app, row)).later.text).toBe('new')
  })

  it('[race] leaves none under Koa', async () => {
    const row = new HeldRow()
    const { cached, cache } = tagcacheKoa()
    const app = new Koa().use(cached({ tags: ['row'] })).use(async (ctx) => {
      ctx.body = await row.read()
    })
    const { url } = await start(app.callback())
    const early = ask(url)
    await row.began.opened
    row.value = 'new'
    cache.invalidateTags('row')
    row.finish.open()
    expect((await early).text).toBe('old')
    expect((await ask(url)).text).toBe('new')
  })

  const PURGES: [name: string, purge: (cache: Cache) => unknown][] = [
    ['clear()', (cache) => cache.clear()],
    ['all tags', (cache) => cache.invalidateTags(['other', 'row'])],
  ]

  it.each(PURGES)('[race] leaves none after %s, with a tag', async (_name, purge) => {
    const { app, row, cache } = heldShop({ tags: 'row' })
    expect(await raceWith(app, row, () => purge(cache))).toBe('new')
  })

  it.each(BACKENDS)('[race] leaves none after clear(), without a tag, over %s', async (_name, make) => {
    const { app, row, cache } = heldShop({ backend: make() })
    expect(await raceWith(app, row, () => cache.clear())).toBe('new')
  })

  async function raceWith(app: RequestListener, row: HeldRow, purge: () => unknown): Promise<string> {
    const { url } = await start(app)
    const early = ask(`${url}/row`)
    await row.began.opened
    row.value = 'new'
    await purge()
    row.finish.open()
    await early
    return (await ask(`${url}/row`)).text
  }
})

describe('a request that arrives after the purge', () => {
  const TAGGINGS: [name: string, options: { tags?: TagList | (() => TagList); own?: string }][] = [
    ['static tags', { tags: ['row'] }],
    ['a tag function', { tags: () => ['row'] }],
  ]

  it.each(TAGGINGS)(
    '[late-waiter] does not wait for what began before it, with %s',
    async (_name, options) => {
      const { app, row } = heldShop(options)
      const { url } = await start(app)
      const early = ask(`${url}/row`)
      await row.began.opened
      await ask(`${url}/row`, { method: 'PUT' })
      expect((await ask(`${url}/row`)).text).toBe('new')
      row.finish.open()
      expect((await early).text).toBe('old')
      expect((await ask(`${url}/row`)).text).toBe('new')
    },
    5000,
  )

  it('[late-waiter] is not served what it waited for, if the handler tagged it only at its end', async () => {
    const { app, row } = heldShop({ own: 'row' })
    const { url } = await start(app)
    const early = ask(`${url}/row`)
    await row.began.opened
    await ask(`${url}/row`, { method: 'PUT' })
    const late = ask(`${url}/row`)
    await reached(url)
    row.finish.open()
    expect((await early).text).toBe('old')
    expect((await late).text).toBe('new')
  })

  it('[late-waiter] does not wait for an untagged answer that began before clear()', async () => {
    const { app, row, cache } = heldShop()
    const { url } = await start(app)
    const early = ask(`${url}/row`)
    await row.began.opened
    row.value = 'new'
    cache.clear()
    const late = ask(`${url}/row`)
    await reached(url)
    row.finish.open()
    expect((await early).text).toBe('old')
    expect((await late).text).toBe('new')
  })

  // Requests on loopback are taken up in the order in which they were sent: once a later one has its answer, the earlier one waits.
  async function reached(url: string): Promise<void> {
    for (let round = 0; round < 5; round++) await ask(`${url}/nowhere`)
  }
})

it('[tag-lookup] a look-up under way during a purge does not undo it', async () => {
  const store = new AsyncMap()
  const [asked, answer] = [gate(), gate()]
  let isSlow = false
  const slow = {
    get: async (key: string) => {
      const bytes = await store.get(key)
      if (isSlow) {
        asked.open()
        await answer.opened
      }
      return bytes
    },
    set: (key: string, value: Uint8Array) => store.set(key, value),
    delete: (key: string) => store.delete(key),
  }
  const { app, row } = heldShop({ backend: keyValue(slow), tags: 'row' })
  row.finish.open()
  const { url } = await start(app)
  await ask(`${url}/row`)
  isSlow = true
  const during = ask(`${url}/row`)
  await asked.opened
  isSlow = false
  await ask(`${url}/row`, { method: 'PUT' })
  answer.open()
  await during
  expect((await ask(`${url}/row`)).text).toBe('new')
})

describe('bookkeeping that is lost', () => {
  async function storedAndPurged(store: AsyncMap) {
    const { app, row, cache } = heldShop({ backend: keyValue(store, { maxEntries: 2 }), tags: 'row' })
    row.finish.open()
    const { url } = await start(app)
    await ask(`${url}/row`)
    const before = new Map(store.map)
    expect(before.size).toBe(1)
    await ask(`${url}/row`, { method: 'PUT' })
    return { url, before, cache, row }
  }

  it('[lost-bookkeeping] a store that comes back from an old copy brings no purged answer back', async () => {
    const store = new AsyncMap()
    const { url, before } = await storedAndPurged(store)
    for (const [key, bytes] of before) store.map.set(key, bytes)
    expect((await ask(`${url}/row`)).text).toBe('new')
    for (const [key, bytes] of before) store.map.set(key, bytes)
    expect((await ask(`${url}/row`)).text).toBe('new')
  })

  it('[lost-bookkeeping] a store that was flushed costs the hit and nothing else', async () => {
    const store = new AsyncMap()
    const { url } = await storedAndPurged(store)
    await ask(`${url}/row`)
    store.map.clear()
    const { text, cacheStatus } = await ask(`${url}/row`)
    expect([text, cacheStatus]).toEqual(['new', 'tagcache; fwd=uri-miss; stored; detail=evicted'])
  })

  it('[lost-bookkeeping] an entry whose bookkeeping was pushed out is a miss', async () => {
    const store = new AsyncMap()
    const { cache } = await storedAndPurged(store)
    for (const id of [1, 2, 3]) await cache.set('GET /other', { params: { id } }, 'other', { body: 'x' })
    expect(await cache.getByRequest('GET /other', { params: { id: 1 } })).toBeUndefined()
    expect(await cache.getByRequest('GET /other', { params: { id: 3 } })).toBeDefined()
  })

  it('[lost-bookkeeping] an answer computed before a purge that is no longer remembered counts as outdated', () => {
    const { cache } = tagcache()
    const stamp = (cache as Cache<string, true>).stamp()
    cache.invalidateTags('row')
    for (let id = 0; id < 20_000; id++) cache.invalidateTags(`other:${id}`)
    expect(cache.set('GET /row', {}, 'row', { body: 'old' }, 60, stamp)).toBe(false)
    expect(cache.getByRequest('GET /row')).toBeUndefined()
  })

  it('[lost-bookkeeping] forgetting old purges never makes an entry outlive a purge of its own tag', () => {
    const index = new TagIndex<{ stamp: number; links: never[] }>(() => {})
    const stamp = index.clock
    index.invalidate(['row'])
    for (let id = 0; id < 20_000; id++) index.invalidate([`other:${id}`])
    expect(index.tags).toBeLessThanOrEqual(10_000)
    expect(index.invalidatedAt(['row'])).toBeGreaterThan(stamp)
    expect(index.invalidatedAt(['never seen'])).toBeLessThanOrEqual(index.clock)
  })
})

describe('a purge that the backend did not take', () => {
  function failingShop(fault: () => unknown) {
    const backend = new FaultyBackend(memory())
    const time = new ManualTime()
    const { cached, invalidates, cache } = tagcache({ backend, time, backendTimeout: '50ms', backendPause: '1s' })
    let value = 'old'
    const app = express()
    app.get('/row', cached({ tags: ['row'] }), (_req, res) => void res.send(value))
    app.put('/row', invalidates('row'), (_req, res) => {
      value = 'new'
      res.send('changed')
    })
    const fail = () => backend.fail('invalidate', fault)
    return { app, backend, time, cache, fail, events: eventsOf(cache) }
  }

  it.each(Object.entries(FAULTS))(
    '[silent-purge] is kept and delivered when the backend heals, if it %s',
    async (_name, fault) => {
      const { app, backend, time, events, fail } = failingShop(fault)
      const { url } = await start(app)
      await ask(`${url}/row`)
      expect((await ask(`${url}/row`)).cacheStatus).toMatch(/; hit/)
      fail()
      const writing = ask(`${url}/row`, { method: 'PUT' })
      while (!backend.calls.includes('invalidate')) await new Promise((resolve) => setImmediate(resolve))
      time.move(50)
      expect((await writing).status).toBe(200)
      expect(events).toContainEqual(expect.objectContaining({ type: 'fault', operation: 'invalidate' }))
      expect(await textAndStatus(url)).toEqual(['new', 'tagcache; fwd=bypass; detail=backend'])
      backend.heal()
      // In two steps: what is tried on the way has its own deadline.
      for (const step of [960, 40]) {
        time.move(step)
        await new Promise((resolve) => setImmediate(resolve))
      }
      expect(await textAndStatus(url)).toEqual(['new', 'tagcache; fwd=uri-miss; stored'])
      expect((await textAndStatus(url))[0]).toBe('new')
    },
  )

  it('[silent-purge] serves nothing stored before it while look-ups work and purges do not', async () => {
    const { app, time, fail } = failingShop(FAULTS.rejects!)
    const { url } = await start(app)
    await ask(`${url}/row`)
    fail()
    await ask(`${url}/row`, { method: 'PUT' })
    for (let round = 0; round < 3; round++) {
      time.move(1000)
      expect((await textAndStatus(url))[0]).toBe('new')
    }
  })

  async function textAndStatus(url: string) {
    const { text, cacheStatus } = await ask(`${url}/row`)
    return [text, cacheStatus]
  }
})

describe('a tag', () => {
  function shelf() {
    const { cached, cache } = tagcache()
    const app = express()
    const tags = (req: { params: Record<string, string> }) => [
      { type: 'product', id: req.params.id! },
      `shelf:${Number(req.params.id) % 2}`,
    ]
    app.get('/products/:id', cached({ tags }), (req, res) => void res.send(req.params.id))
    return { app, cache }
  }

  async function filled(count: number) {
    const { app, cache } = shelf()
    const { url } = await start(app)
    for (let id = 0; id < count; id++) await ask(`${url}/products/${id}`)
    const hits = async () => {
      const found: number[] = []
      for (let id = 0; id < count; id++)
        if (await cache.getByRequest('GET /products/:id', { params: { id }, host: url.slice(7) })) found.push(id)
      return found
    }
    expect((await hits()).length).toBe(count)
    return { cache, hits }
  }

  it('[one-key-tag] reaches every response that carries it', async () => {
    const { cache, hits } = await filled(10)
    cache.invalidateTags('shelf:0')
    expect(await hits()).toEqual([1, 3, 5, 7, 9])
  })

  it('[one-key-tag] is followed when it is not the first of several', async () => {
    const { cache, hits } = await filled(4)
    cache.invalidateTags(['nothing', 'product:1', 'product:2'])
    expect(await hits()).toEqual([0, 3])
  })

  it('[type-wide] of a whole type reaches all its ids, and of one id only that one', async () => {
    const { cache, hits } = await filled(4)
    cache.invalidateTags({ type: 'product', id: 3 })
    expect(await hits()).toEqual([0, 1, 2])
    cache.invalidateTags({ type: 'product' })
    expect(await hits()).toEqual([])
  })

  it('[string-tag] given as a plain string is one tag', async () => {
    const { cache } = tagcache()
    cache.set('a', {}, 'row', { body: 'a' })
    cache.set('b', {}, 'r', { body: 'b' })
    cache.invalidateTags('row')
    expect(await cache.getByRequest('a')).toBeUndefined()
    expect(await cache.getByRequest('b')).toBeDefined()
    expect((await cache.getByTags('r'))?.tags).toEqual(['r'])
  })
})
