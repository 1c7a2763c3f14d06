import zlib from 'node:zlib'
import compression from 'compression'
import fc from 'fast-check'
import compress from 'koa-compress'
import { describe, expect, it } from 'vitest'
import type { Answer } from '../../support/http.ts'
import {
  type CallOptions,
  counting,
  type Handler,
  type Layer,
  type Site,
  type Stack,
  site,
  until,
} from '../../support/stacks.ts'
import { ManualTime } from '../../support/time.ts'

const TEXT = JSON.stringify(Array.from({ length: 300 }, (_, at) => ({ id: at, name: `thing ${at * 7919}` })))
const MODIFIED = 'Wed, 31 Dec 2025 00:00:00 GMT'
const FIELDS = { 'Content-Type': 'application/json', ETag: '"v1"', 'Last-Modified': MODIFIED }
// What stands in tests must not depend on what this version of Node has.
const TWO = { compress: { codings: ['br', 'gzip'] } } as const

const { zstdDecompressSync } = zlib as unknown as { zstdDecompressSync?: (body: Buffer) => Buffer }
const DECODERS: Record<string, ((body: Buffer) => Buffer) | undefined> = {
  identity: (body) => body,
  gzip: (body) => zlib.gunzipSync(body),
  br: (body) => zlib.brotliDecompressSync(body),
  zstd: zstdDecompressSync,
}

const codingOf = ({ headers }: Answer) => (headers['content-encoding'] as string | undefined) ?? 'identity'
const decoded = (answer: Answer) => DECODERS[codingOf(answer)]!(answer.body).toString()
const compressions = ({ events }: Pick<Site, 'events'>) => events.filter(({ type }) => type === 'compression').length
const stored = (found: Pick<Site, 'events'>) => until(() => compressions(found) > 0)

interface Set {
  readonly route?: CallOptions
  readonly handler?: Handler
  readonly above?: readonly Layer[]
  readonly time?: ManualTime
}

async function serve(stack: Stack, { route = {}, handler, above = [], time = new ManualTime() }: Set = {}) {
  const handle = handler ?? counting(() => ({ headers: FIELDS, body: TEXT }))
  const found = await site(stack, { time }, (app, { cached, invalidates }) => {
    for (const layer of above) app.use(layer)
    app.on('GET', '/', cached({ ...TWO, tags: 'things', ...route }), handle)
    app.on('PUT', '/', invalidates('things'), () => 'put')
  })
  return { ...found, time, handle, runs: () => (handle as ReturnType<typeof counting>).runs() }
}

/** A site on which the encodings are stored. */
async function warm(stack: Stack, options?: Set) {
  const found = await serve(stack, options)
  await found.get('/')
  await stored(found)
  return found
}

// A reading of Accept-Encoding that shares no code with the cache (RFC 9110, 12.5.3).
function wantedOf(value: string | undefined): (coding: string) => number {
  const weights = new Map<string, number>()
  for (const member of (value ?? '').split(',').map((part) => part.trim())) {
    const [name = '', weight = 'q=1'] = member.split(';').map((part) => part.trim())
    if (name !== '') weights.set(name, Math.min(Number(weight.slice(2)), weights.get(name) ?? 1))
  }
  return (coding) => weights.get(coding) ?? weights.get('*') ?? (coding === 'identity' ? 0.0001 : 0)
}

const member = fc.tuple(
  fc.constantFrom('br', 'gzip', 'zstd', 'identity', '*', 'deflate'),
  fc.constantFrom('', ';q=1', ';q=0', ';q=0.5', ' ; q=0.001', ';q=1.000'),
)
const accepted = fc.option(
  fc.array(member, { maxLength: 5 }).map((members) => members.map((parts) => parts.join('')).join(', ')),
  { nil: undefined },
)

export function compressing(stack: Stack): void {
  it('answers the first without a coding, and the next ones in the one that they accept', async () => {
    const { get, runs, ...found } = await serve(stack)
    const first = await get('/', { 'accept-encoding': 'gzip, br' })
    expect([codingOf(first), first.text, first.headers.vary]).toEqual(['identity', TEXT, 'Accept-Encoding'])
    await stored(found)
    for (const [asked, coding] of [
      ['gzip, br', 'br'],
      ['gzip', 'gzip'],
      ['x-gzip', 'gzip'],
      ['br;q=0.5, gzip', 'gzip'],
      ['identity, br;q=0.5', 'identity'],
      ['*', 'br'],
      ['br;q=0, *', 'gzip'],
      ['', 'identity'],
      ['deflate', 'identity'],
      ['gzip;q=2', 'identity'],
    ] as const) {
      const answer = await get('/', { 'accept-encoding': asked })
      expect([asked, codingOf(answer)]).toEqual([asked, coding])
      expect(decoded(answer)).toBe(TEXT)
      expect(answer.headers['content-length']).toBe(String(answer.body.byteLength))
      expect(answer.headers.vary).toBe('Accept-Encoding')
      expect(answer.headers.etag).toBe(coding === 'identity' ? '"v1"' : `"v1-${coding}"`)
      expect(answer.headers['content-type']).toMatch(/^application\/json/)
      expect(answer.cacheStatus).toContain('; hit')
    }
    expect(runs()).toBe(1)
  })

  it('sends every client the handler’s body, in a coding that it accepts most', async () => {
    const { get, send } = await warm(stack)
    await fc.assert(
      fc.asyncProperty(accepted, fc.boolean(), async (asked, isHead) => {
        const headers = asked === undefined ? {} : { 'accept-encoding': asked }
        const answer = await get('/', headers)
        const wanted = wantedOf(asked)
        const best = Math.max(wanted('br'), wanted('gzip'), wanted('identity'))
        expect(decoded(answer)).toBe(TEXT)
        if (best > 0) expect(wanted(codingOf(answer))).toBe(best)
        if (!isHead) return
        const head = await send('HEAD', '/', { headers })
        const fieldsOf = ({ headers: { date, connection, 'keep-alive': _, ...rest } }: Answer) => rest
        expect([head.status, head.body.byteLength, fieldsOf(head)]).toEqual([200, 0, fieldsOf(answer)])
      }),
      { numRuns: 60 },
    )
  })

  it('answers 304 to whoever has the representation that it would get, or another that it accepts', async () => {
    const { get } = await warm(stack)
    for (const [tag, asked, status, etag] of [
      ['"v1-br"', 'br, gzip', 304, '"v1-br"'],
      ['"v1-gzip"', 'br, gzip', 304, '"v1-gzip"'],
      ['"v1"', 'br, gzip', 304, '"v1"'],
      ['W/"v1-br"', 'br', 304, '"v1-br"'],
      ['*', 'br', 304, '"v1-br"'],
      ['"v1-br"', 'gzip', 200, '"v1-gzip"'],
      ['"v1-br"', 'identity', 200, '"v1"'],
      ['"v1"', 'br, identity;q=0', 200, '"v1-br"'],
      ['"other", "v1-gzip"', 'gzip', 304, '"v1-gzip"'],
      ['"v2"', 'br', 200, '"v1-br"'],
    ] as const) {
      const answer = await get('/', { 'if-none-match': tag, 'accept-encoding': asked })
      expect([tag, asked, answer.status, answer.headers.etag]).toEqual([tag, asked, status, etag])
      expect(answer.headers.vary).toBe('Accept-Encoding')
      if (status === 304) expect(answer.headers).not.toHaveProperty('content-encoding')
    }
    const since = await get('/', { 'if-modified-since': MODIFIED, 'accept-encoding': 'br' })
    expect([since.status, since.headers.etag]).toEqual([304, '"v1-br"'])
  })

  it('keeps a weak tag for all codings', async () => {
    const { get } = await warm(stack, { handler: () => ({ headers: { 'Content-Type': 'text/html' }, body: TEXT }) })
    const plain = await get('/')
    const small = await get('/', { 'accept-encoding': 'br' })
    expect(small.headers.etag).toMatch(/^W\//)
    expect([codingOf(small), small.headers.etag]).toEqual(['br', plain.headers.etag])
    const again = await get('/', { 'accept-encoding': 'gzip', 'if-none-match': String(plain.headers.etag) })
    expect(again.status).toBe(304)
  })

  it('knows the copy of a client by its tag also when the handler runs anew', async () => {
    const { get, send, runs, handle: _, ...found } = await warm(stack)
    await send('PUT', '/')
    const asked = { 'if-none-match': '"v1-br"', 'accept-encoding': 'br' }
    const answer = await get('/', asked)
    expect([answer.status, answer.headers.etag, answer.headers.vary]).toEqual([304, '"v1-br"', 'Accept-Encoding'])
    expect(runs()).toBe(2)
    await until(() => compressions(found) === 2)
    await send('PUT', '/')
    const other = await get('/', { 'if-none-match': '"v1-br"', 'accept-encoding': 'gzip' })
    expect([other.status, other.headers.etag]).toEqual([200, '"v1"'])
  })

  it('takes parts from what has no coding, by its own tag, and never by a date', async () => {
    const { get } = await warm(stack)
    const part = { range: 'bytes=10-19', 'accept-encoding': 'br, gzip' }
    const answer = await get('/', part)
    expect([answer.status, codingOf(answer), answer.text]).toEqual([206, 'identity', TEXT.slice(10, 20)])
    expect([answer.headers.etag, answer.headers.vary]).toEqual(['"v1"', 'Accept-Encoding'])
    expect(answer.headers['content-range']).toBe(`bytes 10-19/${TEXT.length}`)
    for (const validator of ['"v1-br"', MODIFIED]) {
      const whole = await get('/', { ...part, 'if-range': validator })
      expect([validator, whole.status, decoded(whole)]).toEqual([validator, 200, TEXT])
    }
    const whole = await get('/', { ...part, 'accept-encoding': 'br, identity;q=0' })
    expect([whole.status, codingOf(whole), decoded(whole)]).toEqual([200, 'br', TEXT])
  })

  it('asks the handler with its own tag, and keeps the encodings where that is still good', async () => {
    const asked: unknown[] = []
    const handler: Handler = ({ req }) => {
      asked.push(req.headers['if-none-match'])
      return req.headers['if-none-match'] === '"v1"'
        ? { status: 304, headers: { ETag: '"v1"', 'Cache-Control': 'max-age=10' } }
        : { headers: { ...FIELDS, 'Cache-Control': 'max-age=10' }, body: TEXT }
    }
    const { get, time, ...found } = await warm(stack, { handler })
    time.move(11_000)
    const answer = await get('/', { 'if-none-match': '"other"', 'accept-encoding': 'br' })
    expect(asked).toEqual([undefined, '"v1"'])
    expect([answer.status, codingOf(answer), answer.headers.etag]).toEqual([200, 'br', '"v1-br"'])
    expect(answer.headers.vary).toBe('Accept-Encoding')
    expect(decoded(answer)).toBe(TEXT)
    const hit = await get('/', { 'accept-encoding': 'gzip' })
    expect([codingOf(hit), decoded(hit)]).toEqual(['gzip', TEXT])
    expect(hit.cacheStatus).toContain('; hit')
    expect(compressions(found)).toBe(1)
  })

  it('answers with the encodings of what is stale, where the handler fails', async () => {
    let isDown = false
    const handler: Handler = () =>
      isDown
        ? { status: 503 }
        : { headers: { ...FIELDS, 'Cache-Control': 'max-age=10, stale-if-error=60' }, body: TEXT }
    const { get, time } = await warm(stack, { handler })
    isDown = true
    time.move(11_000)
    for (let turn = 0; turn < 2; turn++) {
      const answer = await get('/', { 'accept-encoding': 'br' })
      expect([answer.status, codingOf(answer), decoded(answer)]).toEqual([200, 'br', TEXT])
      expect([answer.headers.etag, answer.headers.vary]).toEqual(['"v1-br"', 'Accept-Encoding'])
    }
  })

  it.each<[why: string, headers: Record<string, string>, body?: string]>([
    ['is of a type that does not compress', { 'Content-Type': 'image/png' }],
    ['forbids it', { ...FIELDS, 'Cache-Control': 'max-age=60, no-transform' }],
    ['has a digest of its bytes', { ...FIELDS, 'Repr-Digest': 'sha-256=:AAAA:' }],
    ['depends on Accept-Encoding itself', { ...FIELDS, Vary: 'accept-encoding' }],
  ])('leaves alone what %s', async (_why, headers) => {
    const { get, ...found } = await serve(stack, { handler: () => ({ headers, body: TEXT }) })
    const [, answer] = [await get('/', { 'accept-encoding': 'br' }), await get('/', { 'accept-encoding': 'br' })]
    expect([codingOf(answer), answer.text]).toEqual(['identity', TEXT])
    expect(answer.headers.vary).toBe(headers.Vary)
    expect(answer.headers.etag).toBe(headers.ETag ?? answer.headers.etag)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(compressions(found)).toBe(0)
  })

  it('leaves alone what is encoded already', async () => {
    const body = zlib.gzipSync(TEXT)
    const handler: Handler = () => ({
      headers: { ...FIELDS, 'Content-Encoding': 'gzip', Vary: 'Accept-Encoding' },
      body,
    })
    const { get } = await serve(stack, { handler })
    await get('/', { 'accept-encoding': 'gzip, br' })
    const answer = await get('/', { 'accept-encoding': 'gzip, br' })
    expect([codingOf(answer), answer.headers.etag, answer.headers.vary]).toEqual(['gzip', '"v1"', 'Accept-Encoding'])
    expect(decoded(answer)).toBe(TEXT)
  })

  it('keeps no encoding that is not smaller, nor any of a small body, and says Vary all the same', async () => {
    for (const body of ['short', zlib.deflateRawSync(Buffer.from(TEXT)).toString('latin1').slice(0, 1500)]) {
      const handler: Handler = () => ({
        headers: { 'Content-Type': 'text/plain; charset=latin1' },
        body: Buffer.from(body, 'latin1'),
      })
      const { get } = await serve(stack, { handler })
      await get('/')
      await new Promise((resolve) => setTimeout(resolve, 30))
      const answer = await get('/', { 'accept-encoding': 'br, gzip' })
      expect([codingOf(answer), answer.headers.vary]).toEqual(['identity', 'Accept-Encoding'])
      expect(answer.body.toString('latin1')).toBe(body)
    }
  })

  it('adds to what the handler says in Vary, and does not store one response for each client', async () => {
    const handler = counting(() => ({ headers: { ...FIELDS, Vary: 'X-Taste' }, body: TEXT }))
    const { get } = await warm(stack, { handler })
    for (const asked of ['br', 'gzip', 'br, gzip;q=0.3', 'deflate', '']) {
      const answer = await get('/', { 'accept-encoding': asked })
      expect(answer.headers.vary).toBe('X-Taste, Accept-Encoding')
    }
    expect(handler.runs()).toBe(1)
    await get('/', { 'accept-encoding': 'br', 'x-taste': 'sour' })
    expect(handler.runs()).toBe(2)
  })

  it('does not touch a route without the option', async () => {
    const { get } = await serve(stack, { route: { compress: false } })
    await get('/')
    const answer = await get('/', { 'accept-encoding': 'br' })
    expect([codingOf(answer), answer.headers.vary, answer.headers.etag]).toEqual(['identity', undefined, '"v1"'])
  })

  it('says Vary for what goes past the cache, too', async () => {
    const { get, send } = await serve(stack)
    const head = await send('HEAD', '/')
    const past = await get('/', { cookie: 'a=b' })
    expect([head.headers.vary, past.headers.vary]).toEqual(['Accept-Encoding', 'Accept-Encoding'])
  })

  it('answers with nothing that was purged while it was compressed', async () => {
    let text = TEXT
    const { get, send, ...found } = await serve(stack, { handler: () => ({ headers: FIELDS, body: text }) })
    await get('/')
    text = TEXT.replaceAll('thing', 'other')
    await send('PUT', '/')
    await get('/')
    await until(() => compressions(found) >= 1)
    await new Promise((resolve) => setTimeout(resolve, 30))
    const answer = await get('/', { 'accept-encoding': 'br' })
    expect(decoded(answer)).toBe(text)
  })

  describe.runIf(stack.kind !== 'node')('under a layer that compresses', () => {
    const layer = (stack.kind === 'koa'
      ? compress({ threshold: 1 })
      : compression({ threshold: 1 })) as unknown as Layer

    it('is encoded once: by that layer before there are encodings, as stored from then on', async () => {
      const handler = counting(() => ({ headers: FIELDS, body: TEXT }))
      const { get, ...found } = await serve(stack, { handler, above: [layer] })
      const first = await get('/', { 'accept-encoding': 'gzip' })
      expect([codingOf(first), decoded(first)]).toEqual(['gzip', TEXT])
      await stored(found)
      for (const asked of ['br', 'gzip', 'identity', 'br;q=0.1, gzip', 'deflate']) {
        const answer = await get('/', { 'accept-encoding': asked })
        const coding = codingOf(answer)
        const body = coding === 'deflate' ? zlib.inflateSync(answer.body).toString() : decoded(answer)
        expect([asked, body]).toEqual([asked, TEXT])
        expect(answer.headers.vary).toBe('Accept-Encoding')
        if (coding === 'br' || coding === 'gzip') expect(answer.headers.etag).toBe(`"v1-${coding}"`)
      }
      expect(handler.runs()).toBe(1)
    })
  })
}
