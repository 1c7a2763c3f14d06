import { expect, it } from 'vitest'
import { type CallOptions, counting, oneRoute, type Stack } from '../../support/stacks.ts'

const CREDENTIALS = [{ authorization: 'Bearer a' }, { cookie: 'session=a' }]

export function credentials(stack: Stack): void {
  it.each(CREDENTIALS)('%o goes past the cache in both directions', async (headers) => {
    const { get } = await oneRoute(stack, counting())
    expect((await get('/', headers)).text).toBe('run 1')
    expect((await get('/')).text).toBe('run 2')
    expect((await get('/', headers)).text).toBe('run 3')
    expect((await get('/')).text).toBe('run 2')
  })

  it.each(CREDENTIALS)("scope 'public' shares with %o", async (headers) => {
    const { get } = await oneRoute(stack, counting(), { scope: 'public' })
    expect((await get('/', headers)).text).toBe('run 1')
    expect((await get('/')).cacheStatus).toBe('tagcache; hit; ttl=60')
    expect((await get('/', headers)).text).toBe('run 1')
  })

  const perUser: CallOptions = { scope: ({ req }) => req.headers['x-user'] as string | undefined }

  it('a scope function keeps principals apart', async () => {
    const { get, cache } = await oneRoute(stack, counting(), perUser)
    const ask = async (user: string) => (await get('/', { 'x-user': user, cookie: `session=${user}` })).text
    expect([await ask('ann'), await ask('bob'), await ask('ann'), await ask('bob')]).toEqual([
      'run 1',
      'run 2',
      'run 1',
      'run 2',
    ])
    expect(cache.stats().entries).toBe(2)
  })

  it('a number is a principal, zero too', async () => {
    const { get } = await oneRoute(stack, counting(), { scope: ({ req }) => Number(req.headers['x-user']) })
    await get('/', { 'x-user': '0' })
    expect((await get('/', { 'x-user': '0' })).cacheStatus).toBe('tagcache; hit; ttl=60')
    expect((await get('/', { 'x-user': 'none' })).cacheStatus).toBe('tagcache; fwd=bypass; detail=scope')
  })

  it('a scope function that gives nobody makes a bypass and a warning', async () => {
    const { get, cache, events } = await oneRoute(stack, counting(), perUser)
    expect((await get('/')).cacheStatus).toBe('tagcache; fwd=bypass; detail=scope')
    expect((await get('/', { 'x-user': '' })).text).toBe('run 2')
    expect(cache.stats().entries).toBe(0)
    const codes = events.flatMap((event) => (event.type === 'warning' ? [event.code] : []))
    expect(codes).toEqual(['TAGCACHE_SCOPE_UNDEFINED', 'TAGCACHE_SCOPE_UNDEFINED'])
  })
}
