import zlib, { brotliDecompressSync, gunzipSync } from 'node:zlib'
import express from 'express'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { memory } from '../../src/backends/memory.ts'
import type { Entry, Removal } from '../../src/core/entry.ts'
import { Queue } from '../../src/core/queue.ts'
import type { CacheEvent, CacheOptions, TagBackend } from '../../src/index.ts'
import { Overridden } from '../support/backends.ts'
import { ask, gate, listen } from '../support/http.ts'
import { until } from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'

const TEXT = 'all work and no play makes a dull page. '.repeat(100)

/** A site whose backend tells what is stored, and for how long; `before` is called before encodings are. */
async function setUp({ before = () => {}, inner, isConstant = false, ...options }: Setting = {}) {
  const time = new ManualTime()
  const backend = inner ?? memory({ time })
  const stores: { readonly entry: Entry; readonly ttl: number }[] = []
  const store: TagBackend['store'] = (entry, ttl) => {
    if (entry.response.encodings?.length) before(backend, time)
    stores.push({ entry, ttl })
    return backend.store(entry, ttl)
  }
  const watched = new Overridden(backend, { store })
  const removals: Removal[] = []
  backend.onRemoval?.((removal) => removals.push(removal))
  const { cached, cache } = tagcache({ time, backend: watched, compress: { codings: ['br', 'gzip'] }, ...options })
  onTestFinished(() => void cache.close())
  const events: CacheEvent[] = []
  cache.on((event) => events.push(event))
  const app = express()
  let runs = 0
  app.get(
    '/',
    cached({ tags: 'page', ttl: 60 }),
    (_req, res) => void res.type('txt').send(`${isConstant ? '' : `${++runs}: `}${TEXT}`),
  )
  const { url } = await listen(app)
  const get = (accepted = 'br') => ask(url, { headers: { 'accept-encoding': accepted } })
  const told = () => events.filter((event) => event.type === 'compression')
  return { time, backend, cache, stores, removals, events, told, get, runs: () => runs }
}

interface Setting extends CacheOptions {
  readonly before?: (backend: TagBackend, time: ManualTime) => void
  readonly inner?: TagBackend
  /** The handler always gives the same body. */
  readonly isConstant?: boolean
}

describe('the encodings of a stored response', () => {
  it('are stored with it: its stamp, its tags, and what is left of its life', async () => {
    const { time, stores, get, told } = await setUp()
    await get()
    time.move(10_000)
    await until(() => told().length > 0)
    const [first, second] = stores
    expect(stores).toHaveLength(2)
    expect(second!.ttl).toBe(first!.ttl - 10_000)
    const { response, ...rest } = second!.entry
    const { response: before, ...others } = first!.entry
    expect(rest).toEqual(others)
    expect(response).toEqual({ ...before, encodings: response.encodings })
    expect(before.encodings).toEqual([])
    const [br, gzip] = response.encodings!
    expect([br!.coding, gzip!.coding]).toEqual(['br', 'gzip'])
    expect(brotliDecompressSync(br!.body)).toEqual(before.body)
    expect(gunzipSync(gzip!.body)).toEqual(before.body)
    expect(br!.body.buffer.byteLength).toBe(br!.body.byteLength)
  })

  it('are zstd too, where Node has it', async () => {
    const { zstdDecompressSync } = zlib as unknown as { zstdDecompressSync?: typeof gunzipSync }
    const { get, told } = await setUp({ compress: true })
    await get()
    await until(() => told().length > 0)
    const made = told().flatMap((event) => ('codings' in event ? event.codings : []))
    expect([...made].sort()).toEqual(zstdDecompressSync ? ['br', 'gzip', 'zstd'] : ['br', 'gzip'])
    const answer = await get('zstd')
    expect(answer.headers['content-encoding']).toBe(zstdDecompressSync ? 'zstd' : undefined)
    expect((zstdDecompressSync?.(answer.body) ?? answer.body).toString()).toBe(`1: ${TEXT}`)
  })

  it('are no removal of what they are added to, and are charged for', async () => {
    const { backend, removals, stores, get, told } = await setUp()
    await get()
    const before = backend.size!().bytes
    await until(() => told().length > 0)
    const added = stores[1]!.entry.response.encodings!.reduce((sum, { body }) => sum + body.byteLength, 0)
    expect(removals).toEqual([])
    expect(backend.size!().entries).toBe(1)
    expect(backend.size!().bytes).toBeGreaterThan(before + added)
  })

  it('are not stored where it was purged meanwhile', async () => {
    const { stores, cache, get, told } = await setUp()
    await get()
    await cache.invalidateTags(['page'])
    await until(() => told().length > 0)
    expect(told()).toMatchObject([{ isKept: false, codings: ['br', 'gzip'] }])
    expect(stores).toHaveLength(1)
  })

  it.each<[what: string, act: (backend: TagBackend) => unknown]>([
    ['purged', (backend) => backend.invalidate(['tag/page'])],
    ['cleared', (backend) => backend.clear()],
  ])('are harmless where it is %s in the moment before', async (_what, before) => {
    const { get, told, runs } = await setUp({ before })
    await get()
    await until(() => told().length > 0)
    const answer = await get('gzip')
    expect([answer.headers['content-encoding'], runs()]).toEqual([undefined, 2])
    expect(answer.text).toBe(`2: ${TEXT}`)
  })

  it('are not stored for one that was deleted, or for another', async () => {
    const { stores, cache, get, told, time } = await setUp()
    await get()
    const { key } = stores[0]!.entry
    expect(await cache.getByTags(['page'])).toMatchObject({ key })
    await cache.clear()
    time.move(1)
    await get()
    await until(() => told().length === 2)
    expect(told()).toMatchObject([{ isKept: false }, { isKept: true }])
    const answer = await get('br')
    expect(brotliDecompressSync(answer.body).toString()).toBe(`2: ${TEXT}`)
  })

  it('are not stored, for what was left of its life, with one of the same body that was made since', async () => {
    const { stores, cache, get, told, time } = await setUp({ isConstant: true })
    await get()
    await cache.clear()
    time.move(10_000)
    await get()
    await until(() => told().length === 2)
    expect(told()).toMatchObject([{ isKept: false }, { isKept: true }])
    expect(stores.map(({ ttl }) => ttl)).toEqual(stores.map(() => stores[0]!.ttl))
  })

  it('are not stored once its life is over', async () => {
    const { stores, get, told, time } = await setUp()
    await get()
    time.move(2 * 60 * 60_000)
    await until(() => told().length > 0)
    expect(told()).toMatchObject([{ isKept: false }])
    expect(stores).toHaveLength(1)
  })

  it('are left out as far as the backend has no room for them beside it', async () => {
    const inner = memory()
    const small = new Overridden(inner, { maxBodySize: TEXT.length + 90 })
    const { stores, get, told } = await setUp({ inner: small })
    await get()
    await until(() => told().length > 0)
    const { encodings = [], body } = stores[1]!.entry.response
    expect(encodings).toHaveLength(1)
    expect(encodings[0]!.body.byteLength + body.byteLength).toBeLessThanOrEqual(small.maxBodySize)
  })

  it('are not made once the cache is closed', async () => {
    const { stores, cache, get, told } = await setUp()
    await get()
    cache.close()
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect([stores.length, told()]).toEqual([1, []])
  })

  it('that cannot be stored are a fault, and change nothing', async () => {
    const before = () => {
      throw new Error('full')
    }
    const { get, events, runs } = await setUp({ before })
    await get()
    await until(() => events.some(({ type }) => type === 'fault'))
    expect((await get()).status).toBe(200)
    expect(runs()).toBeLessThanOrEqual(2)
  })

  it('are none of what the cache’s own methods give and take', async () => {
    const { cache, get, told } = await setUp()
    await get()
    await until(() => told().length > 0)
    const found = await cache.getByTags(['page'])
    expect(Buffer.from(found!.body).toString()).toBe(`1: ${TEXT}`)
    expect(found!.headers).not.toHaveProperty('content-encoding')
    expect(found!.headers).not.toHaveProperty('vary')
    await cache.set('GET /set', {}, ['set'], { headers: { 'content-type': 'text/plain' }, body: TEXT })
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(told()).toHaveLength(1)
  })
})

describe('a Queue', () => {
  it('runs so many tasks at once, and the others in their turn', async () => {
    const queue = new Queue(2, 10, (run) => run())
    const gates = [gate(), gate(), gate()]
    const begun: number[] = []
    for (const [at, { opened }] of gates.entries()) {
      queue.add(async () => {
        begun.push(at)
        await opened
      })
    }
    expect(begun).toEqual([0, 1])
    gates[1]!.open()
    await until(() => begun.length === 3)
    expect(begun).toEqual([0, 1, 2])
  })

  it('refuses more than it has room for, and forgets what waits', async () => {
    const turns: (() => void)[] = []
    const queue = new Queue(1, 2, (run) => turns.push(run))
    let runs = 0
    const task = async () => void (runs += 1)
    expect([queue.add(task), queue.add(task), queue.add(task)]).toEqual([true, true, false])
    queue.clear()
    for (const turn of turns) turn()
    await new Promise((resolve) => setImmediate(resolve))
    expect(runs).toBe(0)
    expect(queue.add(task)).toBe(true)
  })
})
