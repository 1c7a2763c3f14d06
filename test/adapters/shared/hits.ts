import { expect, it } from 'vitest'
import { keyValue } from '../../../src/index.ts'
import { AsyncMap } from '../../support/backends.ts'
import { gate } from '../../support/http.ts'
import { counting, oneRoute, type Stack, until } from '../../support/stacks.ts'
import { ManualTime } from '../../support/time.ts'
import { exchange, requestText } from '../../support/wire.ts'

export function hits(stack: Stack): void {
  it('answers the second request from the cache', async () => {
    const handler = counting((text) => ({ headers: { 'X-Own': 'kept' }, body: text }))
    const { get } = await oneRoute(stack, handler)
    const miss = await get('/')
    const hit = await get('/')
    expect([miss.text, hit.text]).toEqual(['run 1', 'run 1'])
    expect([hit.status, hit.statusMessage]).toEqual([200, 'OK'])
    expect(hit.headers['x-own']).toBe('kept')
    expect(hit.headers['content-length']).toBe('5')
    expect(hit.headers['content-type']).toBe(miss.headers['content-type'])
    expect(handler.runs()).toBe(1)
  })

  it('runs the handler again when the time is over', async () => {
    const time = new ManualTime()
    const handler = counting()
    const { get } = await oneRoute(stack, handler, { ttl: '10s' }, { time })
    await get('/')
    time.move(9_999)
    expect((await get('/')).text).toBe('run 1')
    time.move(1)
    expect((await get('/')).text).toBe('run 2')
  })

  it.each([
    ['max-age', { 'Cache-Control': 'max-age=20' }, 20],
    ['s-maxage over max-age', { 'Cache-Control': 'max-age=20, s-maxage=5' }, 5],
    ['the default', {}, 60],
  ])('takes the lifetime from %s', async (_, headers, seconds) => {
    const { get } = await oneRoute(
      stack,
      counting((body) => ({ headers, body })),
    )
    await get('/')
    expect((await get('/')).cacheStatus).toBe(`tagcache; hit; ttl=${seconds}`)
  })

  it('keeps bytes as they are', async () => {
    const body = Buffer.from([0, 255, 10, 13, 128, 34])
    const { get } = await oneRoute(stack, () => ({ headers: { 'Content-Type': 'application/x-own' }, body }))
    await get('/')
    const hit = await get('/')
    expect(hit.body).toEqual(body)
    expect(hit.headers['content-type']).toBe('application/x-own')
  })

  it('answers HEAD from GET, without the body', async () => {
    const handler = counting()
    const { get, send } = await oneRoute(stack, handler)
    await get('/')
    const head = await send('HEAD', '/')
    expect([head.status, head.text, head.headers['content-length']]).toEqual([200, '', '5'])
    expect(head.cacheStatus).toBe('tagcache; hit; ttl=60')
    expect(handler.runs()).toBe(1)
  })

  it('does not store what HEAD gave', async () => {
    const { get, send, cache } = await oneRoute(stack, counting())
    expect((await send('HEAD', '/')).cacheStatus).toBe('tagcache; fwd=uri-miss; detail=head')
    expect(cache.stats().entries).toBe(0)
    expect((await get('/')).text).toBe('run 2')
  })

  it('tells the age, and keeps the date of the response', async () => {
    const time = new ManualTime(Date.UTC(2026, 0, 1, 12))
    const { get } = await oneRoute(stack, counting(), {}, { time })
    expect((await get('/')).headers.age).toBeUndefined()
    time.move(30_900)
    const hit = await get('/')
    expect(hit.headers.age).toBe('30')
    expect(hit.headers.date).toBe('Thu, 01 Jan 2026 12:00:00 GMT')
  })

  it("adds to the response's own age, and keeps its own date", async () => {
    const time = new ManualTime()
    const date = 'Wed, 31 Dec 2025 23:59:50 GMT'
    const handler = counting((body) => ({ headers: { Age: '10', Date: date, 'Cache-Control': 'max-age=60' }, body }))
    const { get } = await oneRoute(stack, handler, {}, { time })
    await get('/')
    time.move(5_000)
    const hit = await get('/')
    expect([hit.headers.age, hit.headers.date]).toEqual(['15', date])
    expect(hit.cacheStatus).toBe('tagcache; hit; ttl=45')
  })

  it.each([203, 204, 301, 308])('stores status %i', async (status) => {
    const handler = counting(() => ({ status, headers: { Location: '/there' } }))
    const { get } = await oneRoute(stack, handler)
    await get('/')
    const hit = await get('/')
    expect([hit.status, hit.headers.location, hit.text]).toEqual([status, '/there', ''])
    expect(handler.runs()).toBe(1)
  })

  it('tells each request once', async () => {
    const { get, cache } = await oneRoute(stack, counting())
    await get('/')
    await get('/')
    await get('/', { cookie: 'a=1' })
    expect(cache.stats()).toMatchObject({ requests: 3, hits: 1, misses: 1, bypasses: 1, stores: 1, entries: 1 })
  })

  it('does the same over a backend that answers with promises', async () => {
    const time = new ManualTime()
    const held = gate()
    const handler = counting((text) => held.opened.then(() => text))
    const { get, cache } = await oneRoute(stack, handler, { tags: 'page' }, { time, backend: keyValue(new AsyncMap()) })
    const answers = [get('/'), get('/')]
    await until(() => handler.runs() === 1)
    held.open()
    expect((await Promise.all(answers)).map(({ text }) => text)).toEqual(['run 1', 'run 1'])
    const hit = await get('/')
    expect([hit.text, hit.cacheStatus]).toEqual(['run 1', 'tagcache; hit; ttl=60'])
    await cache.invalidateTags('page')
    expect((await get('/')).text).toBe('run 2')
  })

  it('answers pipelined requests in order', async () => {
    const { get, port } = await oneRoute(stack, counting())
    await get('/', { host: 'a' })
    const text = await exchange(port, `GET / HTTP/1.1\r\nHost: a\r\n\r\n`.repeat(2) + requestText('GET', '/?other'))
    expect(text.match(/run \d$|run \d(?=HTTP)/gm)).toEqual(['run 1', 'run 1', 'run 2'])
    expect(text.match(/^Cache-Status: .*(?=\r)/gm)).toEqual([
      'Cache-Status: tagcache; hit; ttl=60',
      'Cache-Status: tagcache; hit; ttl=60',
      'Cache-Status: tagcache; fwd=uri-miss; stored',
    ])
  })
}
