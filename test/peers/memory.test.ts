import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import express from 'express'
import { describe, expect, it } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { TagIndex } from '../../src/backends/tag-index.ts'
import { type Cache, createCache, keyValue, memory } from '../../src/index.ts'
import { ask } from '../support/http.ts'
import { ManualTime } from '../support/time.ts'
import { start, turns } from './support.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

// Memory of buffers is given back some time after the collection that found them, so it takes two.
async function heldBytes(): Promise<number> {
  for (const _round of [1, 2]) {
    await turns(50)
    collect()
  }
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

async function heapGrowth(run: () => Promise<void>): Promise<number> {
  const before = await heldBytes()
  await run()
  return (await heldBytes()) - before
}

describe('what is held', () => {
  it('[unbounded] stays within maxSize, bodies counted by their bytes', async () => {
    const cache = createCache({ backend: memory({ maxSize: '1mb' }) })
    for (let id = 0; id < 2000; id++)
      cache.set('GET /:id', { params: { id } }, `row:${id}`, { body: Buffer.alloc(4096) })
    const { entries, bytes, removals } = cache.stats()
    expect(bytes).toBeLessThanOrEqual(1_048_576)
    expect(entries).toBeGreaterThan(150)
    expect(entries).toBeLessThan(256)
    expect(removals.evicted).toBe(2000 - entries)
    expect(cache.getByRequest('GET /:id', { params: { id: 1999 } })).toBeDefined()
  })

  it('[unbounded] really takes about what it says', async () => {
    const cache = createCache({ backend: memory({ maxSize: '8mb' }) })
    const grown = await heapGrowth(async () => {
      for (let id = 0; id < 40_000; id++)
        cache.set('GET /:id', { params: { id } }, [`row:${id}`, 'rows'], {
          headers: { 'X-Id': String(id) },
          body: 'x'.repeat(200),
        })
    })
    expect(cache.stats().bytes).toBeGreaterThan(7_000_000)
    expect(grown).toBeLessThan(12_000_000)
  })

  it('[unbounded] stays within maxEntries', () => {
    const cache = createCache({ backend: memory({ maxEntries: 10 }) })
    for (let id = 0; id < 100; id++) cache.set('GET /:id', { params: { id } }, [], { body: 'x' })
    expect(cache.stats()).toMatchObject({ entries: 10, removals: { evicted: 90 } })
  })

  it('[unbounded] a body may not push out everything else', async () => {
    const { cached, cache } = tagcache({ backend: memory({ maxSize: '1mb' }) })
    const app = express().get('/:size', cached(), (req, res) => void res.send(Buffer.alloc(Number(req.params.size))))
    const { url } = await start(app)
    await ask(`${url}/65536`)
    expect((await ask(`${url}/65537`)).cacheStatus).toBe('tagcache; fwd=uri-miss; detail=too-large')
    expect(cache.stats()).toMatchObject({ entries: 1, stores: 1 })
  })
})

describe('tag bookkeeping', () => {
  it('[index-leak] is gone with the entries that it was for', () => {
    const index = new TagIndex<{ stamp: number; links: never[] }>(() => {})
    const members = Array.from({ length: 100 }, () => ({ stamp: index.clock, links: [] }))
    for (const [at, member] of members.entries()) index.attach(member, [`row:${at}`, 'rows'])
    expect(index.tags).toBe(101)
    for (const member of members) index.detach(member)
    expect(index.tags).toBe(0)
  })

  it.each([
    ['memory', () => memory({ maxSize: '1mb' })],
    ['a key-value store', () => keyValue(new Map<string, Uint8Array>(), { maxEntries: 500 })],
  ])('[index-leak] does not grow with the tags that were ever used or purged, over %s', async (_name, make) => {
    const cache = createCache({ backend: make() }) as Cache<string, true>
    const long = '-'.repeat(200)
    const use = async (from: number, to: number) => {
      for (let id = from; id < to; id++) {
        cache.set('GET /:id', { params: { id } }, [`row:${id}${long}`, `list:${id}${long}`, `own:${id}${long}`], {
          body: 'x',
        })
        cache.invalidateTags([`row:${id - 100}${long}`, `unused:${id}${long}`])
        if (id % 1000 === 0) await turns(2)
      }
    }
    await use(0, 11_000)
    expect(await heapGrowth(() => use(11_000, 21_000))).toBeLessThan(3_000_000)
  })
})

describe('what belongs to the caller', () => {
  it('[shared-array] lists of tags are read, not written', async () => {
    const tags = Object.freeze(['b', 'a', 'a'])
    const { cached, invalidates, cache, tag } = tagcache()
    const app = express()
    app.get('/', cached({ tags }), (_req, res) => {
      tag(res, tags, Object.freeze({ type: 'c', id: 1 }))
      res.send('x')
    })
    app.put('/', invalidates(tags), (_req, res) => void res.send('x'))
    const { url } = await start(app)
    await ask(url)
    expect(((await cache.getByTags('c:1'))?.tags ?? []).toSorted()).toEqual(['a', 'b', 'c', 'c:1'])
    expect((await ask(url, { method: 'PUT' })).status).toBe(200)
    expect(await cache.getByTags('c:1')).toBeUndefined()
    expect(tags).toEqual(['b', 'a', 'a'])
  })

  it('[shared-array] what is handed out is a copy', () => {
    const cache = createCache()
    cache.set('r', {}, ['a'], { headers: { link: ['1', '2'] }, body: 'body' })
    const shown = cache.getByRequest('r')!
    ;(shown.tags as string[]).push('b')
    ;(shown.headers.link as string[]).push('3')
    shown.body.fill(0)
    const again = cache.getByRequest('r')!
    expect([again.tags, again.headers.link, String(again.body)]).toEqual([['a'], ['1', '2'], 'body'])
  })

  it('[instances] options of one cache, or of one route, do not reach another', async () => {
    const time = new ManualTime()
    const options = { ttl: 10, cacheName: 'one', time, statuses: [200, 404] }
    const one = tagcache(options)
    options.ttl = 1000
    options.statuses.push(500)
    const two = tagcache({ ttl: 20, cacheName: 'two', time })
    const app = express()
    app.get('/one', one.cached(), (_req, res) => void res.send('1'))
    app.get('/one/short', one.cached({ ttl: 5, query: false, tags: ['own'] }), (_req, res) => void res.send('1'))
    app.get('/two', two.cached(), (_req, res) => void res.send('2'))
    app.get('/status/:status', one.cached(), (req, res) => void res.sendStatus(Number(req.params.status)))
    const { url } = await start(app)
    for (const path of ['/one/short', '/one?a', '/two']) await ask(url + path)
    expect(await statusOf('/one?a')).toBe('one; hit; ttl=10')
    expect(await statusOf('/one?b')).toBe('one; fwd=uri-miss; stored')
    expect(await statusOf('/one/short?b')).toBe('one; hit; ttl=5')
    expect(await statusOf('/two')).toBe('two; hit; ttl=20')
    expect(await statusOf('/status/404')).toBe('one; fwd=uri-miss; stored')
    expect(await statusOf('/status/500')).toBe('one; fwd=uri-miss; detail=status')
    one.cache.clear()
    expect(await statusOf('/two')).toBe('two; hit; ttl=20')
    expect(one.cache.stats().hits).toBe(2)
    expect(two.cache.stats().hits).toBe(2)

    async function statusOf(path: string) {
      return (await ask(url + path)).cacheStatus
    }
  })
})
