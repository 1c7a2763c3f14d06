import { createHash } from 'node:crypto'
import { Client } from 'memjs'
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest'
import { type CacheBackend, createCache, keyValue } from '../../src/index.ts'
import { backendContract, cacheBackendContract } from '../../src/testing/index.ts'
import { type MemcachedServer, startMemcached } from '../support/memcached.ts'

let server: MemcachedServer
let client: Client

beforeAll(async () => {
  server = await startMemcached()
  client = Client.create(`127.0.0.1:${server.port}`, { timeout: 1, retries: 0 })
})

afterAll(async () => {
  client.quit()
  await server.stop()
})

let instances = 0

/** Memcached takes keys of 250 bytes without spaces, and whole seconds. */
function memcached(): CacheBackend {
  const prefix = `${++instances}/`
  const name = (key: string) => prefix + createHash('sha256').update(key).digest('base64url')
  return {
    get: async (key) => (await client.get(name(key))).value,
    set: (key, value, ttl) => client.set(name(key), Buffer.from(value), { expires: Math.ceil(ttl ?? 0) }),
    delete: (key) => client.delete(name(key)),
  }
}

cacheBackendContract({ test, describe, name: 'Memcached', create: memcached })

backendContract({
  test,
  describe,
  name: 'keyValue() over Memcached',
  create: () => keyValue(memcached(), { maxBodySize: '500kb' }),
})

describe('a cache over Memcached', () => {
  it('serves nothing that was purged, and loses what Memcached loses', async () => {
    const cache = createCache({ backend: keyValue(memcached()) })
    const set = () => cache.set('GET /products/:id', { params: { id: 1 } }, ['product:1'], { body: 'tea' })
    const get = async () =>
      Buffer.from((await cache.getByRequest('GET /products/:id', { params: { id: 1 } }))?.body ?? '')
    await set()
    expect((await get()).toString()).toBe('tea')
    await cache.invalidateTags('product:1')
    expect((await get()).toString()).toBe('')
    await set()
    await client.flush()
    expect((await get()).toString()).toBe('')
  })

  it('goes on without it while it is frozen, and has no old answer afterwards', async () => {
    const cache = createCache({ backend: keyValue(memcached()), backendPause: '50ms' })
    await cache.set('GET /', {}, ['t'], { body: 'old' })
    server.freeze()
    const begun = performance.now()
    expect(await cache.getByRequest('GET /')).toBeUndefined()
    expect(performance.now() - begun).toBeLessThan(1000)
    await cache.invalidateTags('t')
    server.thaw()
    await expect.poll(() => cache.set('GET /other', {}, [], { body: 'x' })).toBe(true)
    expect(await cache.getByRequest('GET /')).toBeUndefined()
  })
})
