import { describe, expect, it } from 'vitest'
import { createCache } from '../../src/index.ts'
import { gate } from '../support/http.ts'
import { counting, oneRoute, STACKS, turns } from '../support/stacks.ts'

describe.each(STACKS)('$name: a purge of a route', (stack) => {
  it('reaches what is stored for it, and nothing of others', async () => {
    const handler = counting()
    const { get, cache } = await oneRoute(stack, handler)
    await get('/')
    await cache.invalidateRoute('GET /other')
    expect((await get('/')).text).toBe('run 1')
    await cache.invalidateRoute('GET /')
    expect((await get('/')).text).toBe('run 2')
  })

  it('reaches what is still being computed', async () => {
    const held = gate()
    const handler = counting(async (text) => {
      if (text === 'run 1') await held.opened
      return text
    })
    const { get, cache } = await oneRoute(stack, handler)
    const first = get('/')
    while (handler.runs() === 0) await turns(1)
    await cache.invalidateRoute('GET /')
    const second = get('/')
    await turns()
    held.open()
    expect([(await first).text, (await second).text]).toEqual(['run 1', 'run 2'])
    expect((await get('/')).text).toBe('run 2')
  })
})

describe('cache.invalidateRoute()', () => {
  it('reaches what was set, under names of any length, in its own namespace only', () => {
    const cache = createCache({ namespace: 'shop' })
    const routes = ['GET /a', `GET /${'long'.repeat(100)}`, '__proto__']
    for (const route of routes) cache.set(route, {}, [], { body: route })
    for (const route of routes) {
      expect(cache.getByRequest(route)).toBeDefined()
      expect(cache.invalidateRoute(route)).toBe(true)
      expect(cache.getByRequest(route)).toBeUndefined()
    }
  })

  it('refuses what is no route name', () => {
    expect(() => createCache().invalidateRoute('')).toThrow(expect.objectContaining({ code: 'ERR_TAGCACHE_REQUEST' }))
  })
})

describe('the event of a purge', () => {
  it('names who asked for it, where that was said', () => {
    const cache = createCache()
    const told: unknown[] = []
    cache.on((event) => told.push(event))
    cache.invalidateTags('a', { by: 'ann' })
    cache.invalidateRoute('GET /', { by: 'bob' })
    cache.clear({ by: 'cyd' })
    cache.invalidateTags('a')
    expect(told).toEqual([
      { type: 'invalidation', tags: ['a'], uris: [], isDelivered: true, by: 'ann' },
      { type: 'invalidation', tags: [], uris: [], routes: ['GET /'], isDelivered: true, by: 'bob' },
      { type: 'clear', isDelivered: true, by: 'cyd' },
      { type: 'invalidation', tags: ['a'], uris: [], isDelivered: true },
    ])
  })
})
