import { expect, it } from 'vitest'
import { counting, type Handler, oneRoute, type Stack, site } from '../../support/stacks.ts'

const MODIFIED = 'Thu, 01 Jan 2026 00:00:00 GMT'
const LATER = 'Fri, 02 Jan 2026 00:00:00 GMT'
const EARLIER = 'Wed, 31 Dec 2025 00:00:00 GMT'

const CONDITIONS: [name: string, headers: Record<string, string>, status: number][] = [
  ['If-None-Match with the tag', { 'if-none-match': '"v1"' }, 304],
  ['If-None-Match with the tag, weak', { 'if-none-match': 'W/"v1"' }, 304],
  ['If-None-Match with a list', { 'if-none-match': '"v0", W/"v1" , "v2"' }, 304],
  ['If-None-Match with *', { 'if-none-match': '*' }, 304],
  ['If-None-Match with another tag', { 'if-none-match': '"v2"' }, 200],
  ['If-None-Match with a tag that has a comma', { 'if-none-match': '"v0,"v1""' }, 200],
  ['If-Modified-Since of that time', { 'if-modified-since': MODIFIED }, 304],
  ['If-Modified-Since of a later time', { 'if-modified-since': LATER }, 304],
  ['If-Modified-Since of an earlier time', { 'if-modified-since': EARLIER }, 200],
  ['If-Modified-Since that is no date', { 'if-modified-since': 'yesterday' }, 200],
  ['If-None-Match before If-Modified-Since', { 'if-none-match': '"v2"', 'if-modified-since': LATER }, 200],
]

export function validators(stack: Stack): void {
  const versioned = (): Handler & { runs(): number } =>
    counting((body) => ({ headers: { ETag: '"v1"', 'Last-Modified': MODIFIED, 'X-Own': 'kept' }, body }))

  it.each(CONDITIONS)('on a hit, answers %s', async (_, headers, status) => {
    const handler = versioned()
    const { get } = await oneRoute(stack, handler)
    await get('/')
    const answer = await get('/', headers)
    expect([answer.status, answer.text]).toEqual([status, status === 304 ? '' : 'run 1'])
    expect(answer.headers.etag).toBe('"v1"')
    expect(answer.headers['x-own']).toBe('kept')
    expect(answer.cacheStatus).toBe('tagcache; hit; ttl=60')
    expect(handler.runs()).toBe(1)
  })

  it.each(CONDITIONS)('on a miss, answers %s, and stores the full response', async (_, headers, status) => {
    const handler = versioned()
    const { get } = await oneRoute(stack, handler)
    const answer = await get('/', headers)
    expect([answer.status, answer.text]).toEqual([status, status === 304 ? '' : 'run 1'])
    expect(answer.headers.etag).toBe('"v1"')
    expect(answer.cacheStatus).toBe('tagcache; fwd=uri-miss; stored')
    const full = await get('/')
    expect([full.status, full.text, full.headers['content-length']]).toEqual([200, 'run 1', '5'])
    expect(full.cacheStatus).toBe('tagcache; hit; ttl=60')
    expect(handler.runs()).toBe(1)
  })

  it('describes no body in a 304', async () => {
    const { get } = await oneRoute(stack, versioned())
    for (const answer of [await get('/', { 'if-none-match': '*' }), await get('/', { 'if-none-match': '*' })]) {
      expect([answer.status, answer.statusMessage]).toEqual([304, 'Not Modified'])
      expect(answer.headers['content-length']).toBeUndefined()
      expect(answer.headers['content-type']).toBeUndefined()
      expect(answer.headers['transfer-encoding']).toBeUndefined()
    }
  })

  it('gives a tag to a response that has none, the same one on miss and hit', async () => {
    const { get, cache } = await oneRoute(stack, () => 'the same each time')
    const { etag } = (await get('/')).headers
    expect(etag).toMatch(/^W\/".+"$/)
    expect((await get('/')).headers.etag).toBe(etag)
    expect((await get('/', { 'if-none-match': etag! })).status).toBe(304)
    cache.clear()
    const miss = await get('/', { 'if-none-match': etag! })
    expect([miss.status, miss.cacheStatus]).toEqual([304, 'tagcache; fwd=uri-miss; stored'])
    expect((await get('/')).text).toBe('the same each time')
  })

  it('gives a buffer that its writer uses again the tag of what is in it', async () => {
    const buffer = Buffer.alloc(6)
    const { get, cache } = await site(stack, {}, (app, { cached }) => {
      app.raw('GET', '/', cached(), (_req, res) => {
        buffer.fill(buffer.at(0) === 0 ? 'first.' : 'second')
        res.end(buffer)
      })
    })
    const first = await get('/')
    cache.clear()
    const second = await get('/', { 'if-none-match': first.headers.etag! })
    expect([first.text, second.status, second.text]).toEqual(['first.', 200, 'second'])
  })

  it('answers 304 to HEAD too', async () => {
    const { get, send } = await oneRoute(stack, versioned())
    await get('/')
    const head = await send('HEAD', '/', { headers: { 'if-none-match': '"v1"' } })
    expect([head.status, head.cacheStatus]).toEqual([304, 'tagcache; hit; ttl=60'])
  })

  it('answers 304 only for what would be a 200', async () => {
    const gone: Handler = () => ({ status: 404, headers: { 'Cache-Control': 'max-age=9' }, body: 'gone' })
    const { get } = await oneRoute(stack, gone)
    for (const condition of ['*', '*']) {
      const answer = await get('/', { 'if-none-match': condition })
      expect([answer.status, answer.text]).toEqual([404, 'gone'])
    }
  })

  it('leaves a condition to the handler where the request goes past the cache', async () => {
    const seen: unknown[] = []
    const { get } = await oneRoute(stack, ({ req }) => {
      seen.push(req.headers['if-none-match'])
      return 'fresh'
    })
    await get('/', { 'if-none-match': '"v0"', cookie: 'a=1' })
    await get('/', { 'if-none-match': '"v0"' })
    expect(seen).toEqual(['"v0"', undefined])
  })

  it('shows the condition again to the layers above when the answer is known', async () => {
    const requests: Record<string, unknown>[] = []
    const above = stack.before(({ req }) => void requests.push(req.headers))
    const { get } = await oneRoute({ ...stack, app: () => withLayer(stack, above) }, versioned())
    await get('/', { 'if-none-match': '"v1"' })
    expect(requests[0]!['if-none-match']).toBe('"v1"')
  })
}

function withLayer(stack: Stack, layer: ReturnType<Stack['before']>) {
  const app = stack.app()
  app.use(layer)
  return app
}
