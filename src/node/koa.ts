import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import { pipeline, type Readable, Transform } from 'node:stream'
import type { Cache, Decision, Finding, Run } from '../cache.ts'
import { fieldValue } from '../core/entry.ts'
import { formatDate } from '../http/date.ts'
import { firstLine } from '../http/fields.ts'
import { isNotModified } from '../http/validators.ts'
import { type Beginning, clientFields, joined, storedFields } from './capture.ts'
import { namesSet, textOf } from './head.ts'
import { type InnerFields, innerFields } from './layer.ts'
import { appendTo, replay, replayStatus, setStoredFields } from './replay.ts'
import { type Passage, record } from './serve.ts'

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
export async function captureKoa(
  passage: Passage,
  run: Run,
  ctx: KoaLike,
  next: () => Promise<unknown>,
): Promise<void> {
  const { cache } = passage
  const recording = record(passage, run)
  try {
    await next()
  } catch (error) {
    recording.handOver()
    cache.abandon(run, 'failed')
    throw error
  }
  if (ctx.respond === false || ctx.res.headersSent || run.isOver) return
  new ContextRecorder(cache, run, ctx, recording.handOver()).record()
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

  record(): void {
    const decision = this.#decide()
    appendTo(this.#ctx.res, 'Cache-Status', decision.cacheStatus)
    if (!decision.store) {
      this.#cache.abandon(this.#run, decision.reason)
      return this.#answerCondition()
    }
    const body = bodyOf(this.#ctx.body)
    if (body === undefined) return this.#cache.abandon(this.#run, 'body')
    if (Buffer.isBuffer(body)) return this.#keep(decision, body)
    this.#tell(undefined)
    this.#record(decision, body)
  }

  #decide(): Decision {
    const { fields, outerSayings } = this.#inner
    return this.#cache.decide(this.#run, { status: this.#status, fields, ...outerSayings })
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
    const ownListeners = tap.listeners('error')
    this.#ctx.body = tap
    // Koa 2 listens for errors on every body that it is given: it has the source's error already.
    for (const listener of tap.listeners('error')) {
      if (!ownListeners.includes(listener)) tap.off('error', listener as () => void)
    }
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

/** The body as Koa will write it: bytes, or a stream of them; undefined where that cannot be told. */
function bodyOf(body: unknown): Buffer | Readable | undefined {
  if (body === null) return Buffer.alloc(0)
  if (typeof body === 'string') return joined([Buffer.from(body)], Buffer.byteLength(body))
  if (Buffer.isBuffer(body)) return joined([body], body.byteLength)
  if (typeof (body as Readable | undefined)?.pipe === 'function') return body as Readable
  // Koa 3 streams these, Koa 2 makes JSON of them; and where nothing was set, it writes the status message.
  if (body instanceof Blob || body instanceof ReadableStream || body instanceof Response) return undefined
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
