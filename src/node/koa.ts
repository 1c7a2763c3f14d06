import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import { pipeline, Readable, Transform } from 'node:stream'
import type { ReadableStream as WebStream } from 'node:stream/web'
import type { Cache, Decision, Finding, Run } from '../cache.ts'
import { fieldValue } from '../core/entry.ts'
import { formatDate } from '../http/date.ts'
import { firstLine } from '../http/fields.ts'
import { isNotModified } from '../http/validators.ts'
import { type Beginning, capture, clientFields, joined, storedFields } from './capture.ts'
import { namesSet, textOf } from './head.ts'
import { type InnerFields, innerFields } from './layer.ts'
import { appendTo, replay, replayStatus, setStoredFields } from './replay.ts'
import { setLayer } from './serve.ts'

/** As much of a Koa context as the cache touches. */
export interface KoaLike {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  status: number
  message: string
  body: unknown
  respond?: boolean | undefined
}

/** Answers with a stored response by setting it on the context, so that the layers above see it as any other. */
export function replayKoa(ctx: KoaLike, { entry, ...told }: Finding & { kind: 'hit' }): void {
  const { response } = entry
  const status = replayStatus(ctx.req, entry, told.now)
  if (response.trailers.length > 0 || STATUS_CODES[status] === undefined) {
    ctx.respond = false
    return replay(ctx.req, ctx.res, entry, told)
  }
  ctx.status = status
  if (status === response.status && response.statusMessage !== '') ctx.message = response.statusMessage
  // Layers above may change the body: they get their own.
  if (status !== 304 && status !== 204) ctx.body = Buffer.from(response.body)
  if (fieldValue(response.headers, 'content-type') === undefined) ctx.res.removeHeader('Content-Type')
  setStoredFields(ctx.res, entry, status, told)
}

/**
 * Runs the layers below and stores the response that they have set on the context when they are done: what the layers
 * above do to it afterwards is not part of it. What is written past Koa is recorded where it is written.
 */
export async function captureKoa(cache: Cache, run: Run, ctx: KoaLike, next: () => Promise<unknown>): Promise<void> {
  const recording = capture(cache, run, ctx.req, ctx.res)
  setLayer(cache, ctx.res, { run, recording, isSilent: false })
  try {
    await next()
  } catch (error) {
    recording.handOver()
    cache.abandon(run, 'failed')
    throw error
  }
  if (ctx.respond === false || ctx.res.headersSent || run.isOver) return
  await new ContextRecorder(cache, run, ctx, recording.handOver()).record()
}

class ContextRecorder {
  readonly #cache: Cache
  readonly #run: Run
  readonly #ctx: KoaLike
  readonly #conditions: Beginning['conditions']
  readonly #inner: InnerFields
  readonly #status: number
  readonly #statusMessage: string

  constructor(cache: Cache, run: Run, ctx: KoaLike, { outer, conditions }: Beginning) {
    this.#cache = cache
    this.#run = run
    this.#ctx = ctx
    this.#conditions = conditions
    this.#status = ctx.status
    this.#statusMessage = ctx.res.statusMessage ?? ''
    this.#inner = innerFields(outer, headersOf(ctx.res))
  }

  async record(): Promise<void> {
    const decision = this.#decide()
    appendTo(this.#ctx.res, 'Cache-Status', decision.cacheStatus)
    if (!decision.store) {
      this.#cache.abandon(this.#run, decision.reason)
      return this.#answerCondition()
    }
    const body = await bodyOf(this.#ctx).catch(() => undefined)
    if (body === undefined) return this.#cache.abandon(this.#run, 'body')
    if (Buffer.isBuffer(body)) return this.#keep(decision, body)
    this.#tell(undefined)
    this.#record(decision, body)
  }

  #decide(): Decision {
    const { fields, outerCacheControl } = this.#inner
    return this.#cache.decide(this.#run, {
      status: this.#status,
      fields,
      ...(outerCacheControl === undefined ? {} : { outerCacheControl }),
    })
  }

  #keep(decision: Decision & { store: true }, body: Buffer): void {
    if (body.byteLength > this.#run.route.maxBodySize) return this.#refuse('too-large')
    this.#tell(body)
    void this.#land(decision, body)
    this.#answerCondition()
  }

  #land(decision: Decision & { store: true }, body: Buffer): unknown {
    const declared = firstLine(this.#inner.fields, 'content-length')
    if (declared !== undefined && Number(declared) !== body.byteLength)
      return this.#cache.abandon(this.#run, 'length-mismatch')
    const { route } = this.#run
    const kept = { status: this.#status, isOurs: route.clientCacheControl, date: this.#date() }
    return this.#cache.land(this.#run, decision, {
      status: this.#status,
      statusMessage: this.#statusMessage,
      headers: storedFields(this.#inner, body, kept),
      removed: this.#inner.removed,
      body,
      trailers: [],
    })
  }

  #tell(body: Buffer | undefined): void {
    if (!this.#run.route.clientCacheControl) return
    for (const [name, value] of clientFields(this.#fields(), this.#status, body)) this.#ctx.res.setHeader(name, value)
  }

  #answerCondition(): void {
    if (
      this.#status !== 200 ||
      !this.#conditions ||
      !isNotModified(this.#conditions, this.#fields(), this.#cache.now())
    )
      return
    this.#ctx.status = 304
  }

  #refuse(reason: string): void {
    this.#cache.decline(this.#run, reason)
    this.#cache.abandon(this.#run, reason)
  }

  #date(): string | undefined {
    return this.#ctx.res.sendDate ? formatDate(this.#cache.now()) : undefined
  }

  #fields(): Record<string, string | readonly string[]> {
    return Object.fromEntries(headersOf(this.#ctx.res).map(({ name, value }) => [name.toLowerCase(), value]))
  }

  // A body that streams is recorded on its way to whatever the layers above make of it.
  #record(decision: Decision & { store: true }, source: Readable): void {
    if (this.#conditions && isNotModified(this.#conditions, this.#fields(), this.#cache.now())) {
      this.#cache.abandon(this.#run, 'not-modified')
      return this.#answerCondition()
    }
    const recorder = new ChunkRecorder(
      this.#run.route.maxBodySize,
      (body) => this.#land(decision, body),
      (reason) => (reason === 'too-large' ? this.#refuse(reason) : this.#cache.abandon(this.#run, reason)),
    )
    const length = this.#ctx.res.getHeader('Content-Length')
    const tap = new Transform({
      transform: (chunk: Buffer, _encoding, done) => {
        recorder.add(chunk)
        done(null, chunk)
      },
      flush: (done) => {
        recorder.end()
        done()
      },
    })
    pipeline(source, tap, (error) => error && recorder.giveUp('aborted'))
    this.#ctx.body = tap
    if (length !== undefined) this.#ctx.res.setHeader('Content-Length', length)
  }
}

class ChunkRecorder {
  readonly #chunks: Buffer[] = []
  #size = 0
  #isOver = false

  constructor(
    readonly limit: number,
    readonly land: (body: Buffer) => unknown,
    readonly abandon: (reason: string) => void,
  ) {}

  // Copied, since the source may use its buffer again.
  add(chunk: Buffer): void {
    if (this.#isOver) return
    this.#size += chunk.byteLength
    if (this.#size > this.limit) this.giveUp('too-large')
    else this.#chunks.push(Buffer.from(chunk))
  }

  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.land(joined(this.#chunks, this.#size))
  }

  giveUp(reason: string): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#chunks.length = 0
    this.abandon(reason)
  }
}

function headersOf(res: ServerResponse): { name: string; value: string | string[] }[] {
  return namesSet(res).map((name) => ({ name, value: textOf(res.getHeader(name)) }))
}

/** The body as Koa will write it: bytes, or a stream of them; undefined where that cannot be told. Rejects where it cannot be read. */
async function bodyOf(ctx: KoaLike): Promise<Buffer | Readable | undefined> {
  const { body } = ctx
  if (body === null) return Buffer.alloc(0)
  // Koa writes the status message where nothing was set; a layer above may still set something.
  if (body === undefined) return undefined
  if (typeof body === 'string') return joined([Buffer.from(body)], Buffer.byteLength(body))
  if (Buffer.isBuffer(body)) return joined([body], body.byteLength)
  if (typeof (body as Readable).pipe === 'function') return body as Readable
  if (body instanceof Blob) return Buffer.from(await body.arrayBuffer())
  if (body instanceof ReadableStream) return Readable.fromWeb(body as WebStream)
  if (body instanceof Response) return body.body ? Readable.fromWeb(body.body as WebStream) : Buffer.alloc(0)
  return json(body)
}

// What JSON cannot say makes Koa fail when it answers; that is for it to tell.
function json(body: unknown): Buffer | undefined {
  try {
    const text = JSON.stringify(body)
    return text === undefined ? undefined : joined([Buffer.from(text)], Buffer.byteLength(text))
  } catch {
    return undefined
  }
}
