import { expect, it } from 'vitest'
import { cacheStatusOf } from '../../support/cache-status.ts'
import { gate } from '../../support/http.ts'
import { type CallOptions, counting, oneRoute, type Reply, type Stack, site, until } from '../../support/stacks.ts'
import { ManualTime } from '../../support/time.ts'

const UNSTORABLE: [reason: string, reply: Exclude<Reply, string>][] = [
  ['status', { status: 404, body: 'none' }],
  ['status', { status: 500, body: 'broken' }],
  ['status', { status: 302, headers: { Location: '/sign-in' } }],
  ['partial', { status: 206, headers: { 'Content-Range': 'bytes 0-3/9' }, body: 'part' }],
  ['not-modified', { status: 304 }],
  ['no-store', { headers: { 'Cache-Control': 'no-store' }, body: 'secret' }],
  ['private', { headers: { 'Cache-Control': 'private, max-age=60' }, body: 'mine' }],
  ['set-cookie', { headers: { 'Set-Cookie': ['a=1', 'b=2'] }, body: 'hello' }],
  ['vary', { headers: { Vary: '*' }, body: 'any' }],
  ['endless', { headers: { 'Content-Type': 'text/event-stream' }, body: 'data: 1\n\n' }],
  ['no-lifetime', { headers: { 'Cache-Control': 'max-age=0' }, body: 'old' }],
  ['no-lifetime', { headers: { 'Cache-Control': 'no-cache' }, body: 'old' }],
  ['no-lifetime', { headers: { Expires: '0' }, body: 'old' }],
  ['connection', { headers: { Connection: 'upgrade' }, body: 'other' }],
]

const UNSUITED: [reason: string, headers: Record<string, string>, route?: CallOptions][] = [
  ['credentials', { cookie: 'a=1' }],
  ['credentials', { authorization: 'Basic YTpi' }],
  ['range', { range: 'items=0-1' }],
  ['precondition', { 'if-match': '"v1"' }],
  ['precondition', { 'if-unmodified-since': 'Thu, 01 Jan 2026 00:00:00 GMT' }],
  ['body', { 'content-length': '2' }],
  ['disabled', {}, { enabled: false }],
  ['key', {}, { key: () => undefined }],
  ['scope', {}, { scope: () => undefined }],
  ['option-failed', {}, { scope: () => fail() }],
  ['option-failed', {}, { key: () => fail() }],
  ['option-failed', {}, { host: () => fail() }],
  ['option-failed', {}, { enabled: () => fail() }],
]

function fail(): never {
  throw new Error('thrown by an option')
}

export function cacheStatus(stack: Stack): void {
  it('says miss and hit', async () => {
    const time = new ManualTime()
    const { get } = await oneRoute(stack, counting(), {}, { time })
    const miss = await get('/')
    expect(miss.cacheStatus).toBe('tagcache; fwd=uri-miss; stored')
    expect(cacheStatusOf(miss)).toEqual([{ cache: 'tagcache', fwd: 'uri-miss', stored: true }])
    time.move(2_500)
    const hit = await get('/')
    expect(hit.cacheStatus).toBe('tagcache; hit; ttl=57')
    expect(cacheStatusOf(hit)).toEqual([{ cache: 'tagcache', hit: true, ttl: 57 }])
  })

  it('says collapsed', async () => {
    const time = new ManualTime()
    const held = gate()
    const { get } = await oneRoute(stack, () => held.opened.then(() => 'shared'), {}, { time })
    const answers = [get('/'), get('/')]
    await until(() => time.pending === 1)
    held.open()
    const statuses = (await Promise.all(answers)).map((answer) => answer.cacheStatus).sort()
    expect(statuses).toEqual(['tagcache; fwd=uri-miss; collapsed', 'tagcache; fwd=uri-miss; stored'])
  })

  it('says vary-miss', async () => {
    const { get } = await oneRoute(
      stack,
      counting((body) => ({ headers: { Vary: 'Accept-Language' }, body })),
    )
    await get('/', { 'accept-language': 'en' })
    const other = await get('/', { 'accept-language': 'de' })
    expect(other.cacheStatus).toBe('tagcache; fwd=vary-miss; stored')
    expect(cacheStatusOf(other)).toEqual([{ cache: 'tagcache', fwd: 'vary-miss', stored: true }])
  })

  it('says that a method is not cached', async () => {
    const { send } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
      app.use(cached())
      app.on('POST', '/', counting())
    })
    const answer = await send('POST', '/')
    expect([answer.text, answer.cacheStatus]).toEqual(['run 1', 'tagcache; fwd=method; detail=method'])
    expect(cacheStatusOf(answer)).toEqual([{ cache: 'tagcache', fwd: 'method', detail: 'method' }])
  })

  it.each(UNSUITED)('says that the request bypasses: %s %o', async (reason, headers, route = {}) => {
    const { send, cache } = await oneRoute(stack, counting(), route)
    const body = headers['content-length'] === undefined ? undefined : '{}'
    const answer = await send('GET', '/', { headers, ...(body === undefined ? {} : { body }) })
    expect([answer.status, answer.text]).toEqual([200, 'run 1'])
    expect(answer.cacheStatus).toBe(`tagcache; fwd=bypass; detail=${reason}`)
    expect(cacheStatusOf(answer)).toEqual([{ cache: 'tagcache', fwd: 'bypass', detail: reason }])
    expect(cache.stats()).toMatchObject({ bypasses: 1, entries: 0, reasons: { [reason]: 1 } })
  })

  // Express adds an ETag, by which a response that is stale at once can be validated.
  const unstorable = UNSTORABLE.filter(([reason]) => stack.kind !== 'express' || reason !== 'no-lifetime')
  it.each(unstorable)('says that the response is not stored: %s %o', async (reason, reply) => {
    const handler = counting(() => reply)
    const { get, cache } = await oneRoute(stack, handler)
    const answer = await get('/')
    expect(answer.status).toBe(reply.status ?? 200)
    expect(answer.text).toBe(reply.status === 304 ? '' : (reply.body ?? ''))
    expect(answer.cacheStatus).toBe(`tagcache; fwd=uri-miss; detail=${reason}`)
    expect(cacheStatusOf(answer)).toEqual([{ cache: 'tagcache', fwd: 'uri-miss', detail: reason }])
    expect(cache.stats()).toMatchObject({ misses: 1, entries: 0, reasons: { [reason]: 1 } })
    await get('/')
    expect(handler.runs()).toBe(2)
  })

  it('does not store a response to a request that forbids it, but answers from the cache', async () => {
    const { get } = await oneRoute(stack, counting())
    const forbidding = { 'cache-control': 'no-store' }
    expect((await get('/', forbidding)).cacheStatus).toBe('tagcache; fwd=uri-miss; detail=request-no-store')
    expect((await get('/')).text).toBe('run 2')
    expect((await get('/', forbidding)).text).toBe('run 2')
  })

  it('says that a body is too large', async () => {
    const { get, cache } = await oneRoute(stack, () => 'x'.repeat(11), { maxBodySize: 10 })
    expect((await get('/')).cacheStatus).toBe('tagcache; fwd=uri-miss; detail=too-large')
    expect(cache.stats().entries).toBe(0)
  })

  it('says that tags failed', async () => {
    const { get, events } = await oneRoute(stack, counting(), { tags: () => fail() })
    const answer = await get('/')
    expect([answer.text, answer.cacheStatus]).toEqual(['run 1', 'tagcache; fwd=uri-miss; detail=tags-failed'])
    expect(events.map((event) => event.type === 'warning' && event.code)).toContain('TAGCACHE_TAGS_FAILED')
  })

  it('says that the cache was closed', async () => {
    const { get, cache } = await oneRoute(stack, counting())
    await get('/')
    cache.close()
    const answer = await get('/')
    expect([answer.text, answer.cacheStatus]).toEqual(['run 2', 'tagcache; fwd=bypass; detail=closed'])
  })

  it('has the name that the cache was given', async () => {
    const { get } = await oneRoute(stack, counting(), {}, { time: new ManualTime(), cacheName: 'my "own" cache' })
    const answer = await get('/')
    expect(answer.cacheStatus).toBe('"my \\"own\\" cache"; fwd=uri-miss; stored')
    expect(cacheStatusOf(answer)[0]!.cache).toBe('my "own" cache')
  })

  it("comes after the handler's own", async () => {
    const { get } = await oneRoute(
      stack,
      counting((body) => ({ headers: { 'Cache-Status': 'origin; hit' }, body })),
    )
    expect((await get('/')).cacheStatus).toBe('origin; hit, tagcache; fwd=uri-miss; stored')
    expect((await get('/')).cacheStatus).toBe('origin; hit, tagcache; hit; ttl=60')
  })
}
