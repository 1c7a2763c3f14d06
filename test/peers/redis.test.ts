import express from 'express'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { redis } from '../../src/backends/redis/redis.ts'
import { type CacheEvent, memory, tiered } from '../../src/index.ts'
import { ask, gate } from '../support/http.ts'
import { type RelayedRedis, startRedis, until } from '../support/redis.ts'
import { redisLibraries } from '../support/redis-clients.ts'
import { start } from './support.ts'

// What other caches get wrong over a Redis that processes share, and when it is away.

let server: RelayedRedis
let namespaces = 0

beforeAll(async () => {
  server = await startRedis({ relay: true })
})

beforeEach(() => server.relay.heal())

afterAll(() => server.stop())

interface Site {
  value: string
  /** How many handlers have read it. */
  reads: number
  /** What a handler waits for after it has read. */
  wait: Promise<void> | undefined
}

/** Processes with a client each, which all read one row. */
async function startShop(count = 2, library = redisLibraries[0]!, isTiered = false) {
  const namespace = `shop-${++namespaces}`
  const site: Site = { value: 'old', reads: 0, wait: undefined }
  const events: CacheEvent[] = []
  const urls: string[] = []
  for (let at = 0; at < count; at++) {
    const client = await library.connect(server.port)
    const far = redis(client, { namespace })
    const { cached, invalidates, cache } = tagcache({
      host: false,
      backend: isTiered ? tiered({ near: memory(), far }) : far,
    })
    cache.on((event) => void events.push(event))
    onTestFinished(async () => {
      await server.relay.heal()
      await cache.close()
      await library.close(client)
    })
    const app = express()
    app.get('/row', cached({ tags: ['row'] }), async (_req, res) => {
      const copy = site.value
      site.reads += 1
      await site.wait
      res.send(copy)
    })
    app.put('/row', invalidates('row'), (_req, res) => void res.send((site.value = 'new')))
    urls.push(`${(await start(app)).url}/row`)
  }
  return { site, events, get: (at: number) => ask(urls[at]!), put: (at: number) => ask(urls[at]!, { method: 'PUT' }) }
}

describe.each(redisLibraries)('over Redis, with $name', (library) => {
  it('[race] an old answer that arrives after another process has purged is served nowhere', async () => {
    const { site, get, put } = await startShop(2, library)
    const slow = gate()
    site.wait = slow.opened
    const early = get(0)
    await until('the handler has read', () => site.reads === 1)
    site.wait = undefined
    await put(1)
    slow.open()
    expect((await early).text).toBe('old')
    expect([(await get(0)).text, (await get(1)).text, (await get(0)).text]).toEqual(['new', 'new', 'new'])
  })

  it('[late-waiter] who comes after the purge of another process does not wait for what began before it', async () => {
    const { site, get, put } = await startShop(2, library)
    const slow = gate()
    site.wait = slow.opened
    const early = get(0)
    await until('the handler has read', () => site.reads === 1)
    site.wait = undefined
    await put(1)
    expect((await get(0)).text).toBe('new')
    slow.open()
    expect((await early).text).toBe('old')
    expect((await get(0)).text).toBe('new')
  })

  it('[lost-bookkeeping] bookkeeping that is lost does not bring a purged entry back', async () => {
    const { get, put } = await startShop(2, library)
    await get(0)
    await put(0)
    await server.command('DEL', `{shop-${namespaces}}:ledger`)
    expect((await get(1)).text).toBe('new')
  })

  it('[frozen] a Redis that is frozen costs one deadline, and then nothing', async () => {
    const { get } = await startShop(1, library)
    await get(0)
    server.relay.freeze()
    const times: number[] = []
    for (let at = 0; at < 5; at++) {
      const begun = performance.now()
      expect((await get(0)).status).toBe(200)
      times.push(performance.now() - begun)
    }
    expect(times.filter((time) => time > 150)).toHaveLength(1)
    expect(Math.max(...times)).toBeLessThan(1000)
  })

  it('[cut] a Redis that is gone costs next to nothing', async () => {
    const { get } = await startShop(1, library)
    await get(0)
    await server.relay.cut()
    const begun = performance.now()
    for (let at = 0; at < 20; at++) expect((await get(0)).status).toBe(200)
    expect(performance.now() - begun).toBeLessThan(1500)
  })

  it('[silent-purge] [heal] a purge while Redis is away holds when it is back, everywhere', async () => {
    const { events, get, put } = await startShop(2, library)
    await get(0)
    await get(1)
    server.relay.freeze()
    expect((await put(0)).status).toBe(200)
    expect(events).toContainEqual(expect.objectContaining({ type: 'invalidation', isDelivered: false }))
    expect((await get(0)).text).toBe('new')
    await server.relay.heal()
    await until('it is delivered', () =>
      events.some(({ type, ...event }) => type === 'backend' && 'state' in event && event.state === 'delivered'),
    )
    for (const at of [0, 1, 0, 1]) expect((await get(at)).text).toBe('new')
  })
})

it('[lost-message] a message that is lost leaves no process stale for longer than a second', async () => {
  const { site, get, put } = await startShop(2, redisLibraries[0]!, true)
  await get(1)
  await until('the copy is near', async () => (await get(1)).cacheStatus?.includes('hit') ?? false)
  await server.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
  await put(0)
  const purged = performance.now()
  await until('it is gone', async () => (await get(1)).text === 'new')
  expect(site.value).toBe('new')
  expect(performance.now() - purged).toBeLessThan(1500)
})
