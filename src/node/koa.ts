import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import { pipeline, Readable, Transform } from 'node:stream'
import { type Answer, answerTo } from '../core/answer.ts'
import { type Entry, fieldValue, type StoredResponse } from '../core/entry.ts'
import type { Reason } from '../core/reasons.ts'
import { heldTag, represented } from '../core/representation.ts'
import { debugFields, withDebug } from '../flow/debug.ts'
import { decide, decline, declineNewer, statusOf } from '../flow/decide.ts'
import type { Flow } from '../flow/flow.ts'
import { abandon, land } from '../flow/land.ts'
import { meansFailure, replacement, settle, substitute } from '../flow/replace.ts'
import type { Decision, Run, Substitution } from '../flow/run.ts'
import { taggingOf, withheldFields } from '../flow/tags.ts'
import { formatDate } from '../http/date.ts'
import { combined, type Fields, firstLine } from '../http/fields.ts'
import { isNotModified } from '../http/validators.ts'
import { type Beginning, BodyTag, clientFields, joined, negotiatedVary, storedFields } from './capture.ts'
import { onClose } from './close.ts'
import { interceptHead, namesSet, textOf } from './head.ts'
import { addedByDefault, type InnerFields, innerFields, type OuterFields } from './layer.ts'
import {
  acceptsCoding,
  afterOthers,
  appendTo,
  bytesSent,
  mayBeEncoded,
  type ReplayFields,
  replay,
  setStoredFields,
} from './replay.ts'
import { type Passage, record } from './serve.ts'

/** As much of a Koa context as the cache touches. */
export interface KoaLike {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly response: object & { _body?: unknown }
  status: number
  message: string
  body: unknown
  respond?: boolean | undefined
  compress?: unknown
  readonly app?: { emit(event: 'error', error: unknown, ctx: unknown): unknown }
}

/** Answers with a stored response by setting it on the context, so that the layers above see it as any other; gives the bytes of its body. */
export function replayKoa(ctx: KoaLike, entry: Entry, told: ReplayFields): number {
  const { response } = entry
  // A layer above may have encoded the whole under the same tag: what is resumed has to be that again.
  const isPlain = fieldValue(response.headers, 'content-encoding') === undefined
  const mayHaveOther = isPlain && ctx.req.headers['if-range'] !== undefined && acceptsCoding(ctx.req)
  const answer = answerTo(ctx.req, response, told.now, !mayBeEncoded(ctx.req, ctx.res) && !mayHaveOther)
  if (response.trailers.length > 0 || STATUS_CODES[answer.status] === undefined) {
    return replayPastKoa(ctx, entry, told)
  }
  ctx.status = answer.status
  if (answer.status === response.status && response.statusMessage !== '') ctx.message = response.statusMessage
  // Layers above may change the body: they get their own.
  if (answer.status !== 304 && answer.status !== 204) ctx.body = bodyFor(answer, response)
  // A part must not be encoded as if it were the whole; koa-compress keeps to this.
  if (answer.status === 206) ctx.compress = false
  const hasType = !answer.isBodiless && fieldValue(response.headers, 'content-type') !== undefined
  if (!hasType) ctx.res.removeHeader('Content-Type')
  setStoredFields(ctx.res, entry, answer, told)
  return bytesSent(ctx.req, answer)
}

/** Answers with a stored response at node:http, so that the layers above see nothing of it on the context. */
export function replayPastKoa(ctx: KoaLike, entry: Entry, told: ReplayFields): number {
  ctx.respond = false
  return replay(ctx.req, ctx.res, entry, told)
}

/** Tells the client that nothing is stored, and that it wanted nothing else (RFC 9111, 5.2.1.7). */
export function refuseKoa(ctx: KoaLike, cacheStatus: string): void {
  ctx.status = 504
  ctx.body = ''
  appendTo(ctx.res, 'Cache-Status', cacheStatus)
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
  const { flow } = passage
  const recording = record(passage, run)
  try {
    await next()
  } catch (error) {
    return fallBack(flow, run, ctx, recording.handOver(), error)
  }
  if (ctx.respond === false || ctx.res.headersSent || run.isOver) return
  await new ContextRecorder(flow, run, ctx, recording.handOver()).record()
}

// What is stored takes the place of an error, where it may; the application is told of the error all the same.
function fallBack(flow: Flow, run: Run, ctx: KoaLike, { outer }: Beginning, error: unknown): void {
  const substitution = meansFailure(error) && !ctx.res.headersSent ? replacement(flow, run, undefined) : undefined
  if (!substitution) {
    tell(ctx.res, statusOf(flow, run, 'failed'))
    abandon(flow, run, 'failed')
    throw error
  }
  run.thrown = { error }
  ctx.app?.emit('error', error, ctx)
  substituteKoa(flow, run, ctx, outer, substitution)
}

function substituteKoa(flow: Flow, run: Run, ctx: KoaLike, outer: OuterFields, substitution: Substitution): void {
  const { res } = ctx
  for (const name of res.getHeaderNames()) if (!outer.has(name)) res.removeHeader(name)
  for (const { name, value } of outer.values()) res.setHeader(name, value as string | string[])
  const { entry } = substitution
  const bytes = replayKoa(
    ctx,
    { ...entry, response: represented(entry.response, ctx.req) },
    {
      ...substitution,
      tagging: withDebug(flow, entry.key, taggingOf(flow, run.route, entry.tags)),
    },
  )
  void settle(flow, run, substitution, bytes)
}

// Told once more when the head is sent, since an error handler of Koa takes away what was set before.
function tell(res: ServerResponse, cacheStatus: string): void {
  appendTo(res, 'Cache-Status', cacheStatus)
  interceptHead(res, {
    change: ({ fields }) => {
      if (combined(fields, 'cache-status')?.includes(cacheStatus)) return undefined
      return { set: [['Cache-Status', afterOthers(fields, cacheStatus)]], remove: [] }
    },
  })
}

type Storing = Decision & { store: true }

class ContextRecorder {
  readonly #flow: Flow
  readonly #run: Run
  readonly #ctx: KoaLike
  readonly #outer: OuterFields
  readonly #conditions: Fields | undefined
  readonly #inner: InnerFields
  readonly #status: number
  readonly #statusMessage: string
  readonly #tag = new BodyTag()

  constructor(flow: Flow, run: Run, ctx: KoaLike, { outer, conditions }: Beginning) {
    this.#flow = flow
    this.#run = run
    this.#ctx = ctx
    this.#outer = outer
    this.#conditions = conditions
    this.#status = ctx.status
    this.#statusMessage = ctx.res.statusMessage ?? ''
    this.#inner = innerFields(ctx.res, outer, headersOf(ctx.res))
  }

  async record(): Promise<void> {
    const substitution = substitute(this.#flow, this.#run, this.#status, this.#inner)
    if (substitution) return this.#replace(substitution)
    const body = bodyOf(this.#ctx.body)
    const decision = this.#decide(body)
    this.#addVary()
    tell(this.#ctx.res, decision.cacheStatus)
    for (const [name, value] of debugFields(this.#flow, this.#run.key)) this.#ctx.res.setHeader(name, value)
    for (const name of withheldFields(this.#run.route)) this.#ctx.res.removeHeader(name)
    if (!decision.store || body === undefined) {
      abandon(this.#flow, this.#run, decision.store ? 'unreadable' : decision.reason)
    } else if (Buffer.isBuffer(body)) {
      this.#addClientFields(body)
      this.#land(decision, body)
    } else {
      this.#addClientFields(undefined)
      await this.#recordStream(decision, body)
    }
    if (this.#isNotModified()) this.#ctx.status = 304
  }

  // A stream that nobody reads any more would stay open.
  #replace(substitution: Substitution): void {
    const { body } = this.#ctx
    if (body instanceof Readable) body.destroy()
    this.#ctx.body = undefined
    substituteKoa(this.#flow, this.#run, this.#ctx, this.#outer, substitution)
  }

  #decide(body: Buffer | Readable | undefined): Decision {
    const { fields, outerSayings } = this.#inner
    const decision = decide(this.#flow, this.#run, { status: this.#status, fields, ...outerSayings })
    if (!decision.store) return decision
    if (body === undefined) return decline(this.#flow, this.#run, 'unreadable')
    const length = Buffer.isBuffer(body) ? body.byteLength : Number(firstLine(fields, 'content-length'))
    if (!(length > this.#run.route.maxBodySize)) return decision
    return declineNewer(this.#flow, this.#run, this.#status, 'too-large')
  }

  #land(decision: Storing, body: Buffer): void {
    const declared = firstLine(this.#inner.fields, 'content-length')
    if (declared !== undefined && Number(declared) !== body.byteLength) {
      return abandon(this.#flow, this.#run, 'length-mismatch')
    }
    const kept = {
      status: this.#status,
      isOurs: this.#run.route.clientCacheControl,
      tag: this.#tag,
      date: this.#date(),
    }
    void land(this.#flow, this.#run, decision, {
      status: this.#status,
      statusMessage: this.#statusMessage,
      headers: storedFields(this.#inner, body, kept),
      removed: this.#inner.removed,
      body,
      trailers: [],
    })
  }

  #addVary(): void {
    const head = { status: this.#status, fields: this.#fields() }
    const vary = negotiatedVary(this.#run.route, head, this.#inner)
    if (vary === undefined) return
    this.#ctx.res.setHeader('Vary', vary)
    const held = heldTag(firstLine(head.fields, 'etag'), this.#conditions ?? {}, this.#ctx.req)
    if (held !== undefined) this.#ctx.res.setHeader('ETag', held)
  }

  #addClientFields(body: Buffer | undefined): void {
    const tagging = taggingOf(this.#flow, this.#run.route, this.#run.tags)
    for (const name of tagging?.remove ?? []) this.#ctx.res.removeHeader(name)
    for (const [name, value] of tagging?.set ?? []) this.#ctx.res.setHeader(name, value)
    if (!this.#run.route.clientCacheControl) return
    for (const [name, value] of clientFields(this.#fields(), this.#status, this.#tag, body)) {
      addedByDefault(this.#ctx.res, name)
      this.#ctx.res.setHeader(name, value)
    }
  }

  #isNotModified(): boolean {
    if (this.#status !== 200 || this.#conditions === undefined) return false
    return isNotModified(this.#conditions, this.#fields(), this.#flow.now())
  }

  #date(): string | undefined {
    return this.#ctx.res.sendDate ? formatDate(this.#flow.now()) : undefined
  }

  #fields(): Record<string, string | readonly string[]> {
    return Object.fromEntries(headersOf(this.#ctx.res).map(({ name, value }) => [name.toLowerCase(), value]))
  }

  #recordStream(decision: Storing, source: Readable): Promise<void> | void {
    const recorder = new ChunkRecorder(
      this.#run.route.maxBodySize,
      (body) => this.#land(decision, body),
      (reason) => {
        if (reason === 'too-large') declineNewer(this.#flow, this.#run, this.#status, reason)
        abandon(this.#flow, this.#run, reason)
      },
    )
    // A client that has the body already gets none, and Koa ends a stream that it does not send.
    return this.#isNotModified() ? recorder.drain(source) : this.#tap(source, recorder)
  }

  // A body that streams is recorded on its way to whatever the layers above make of it. It takes the place of the source
  // behind the setter's back, which would change header fields and listen for errors that the source has told already.
  #tap(source: Readable, recorder: ChunkRecorder): void {
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
    onClose(this.#ctx.res, () => recorder.giveUp('aborted'))
    this.#ctx.response._body = tap
  }
}

class ChunkRecorder {
  readonly #chunks: Buffer[] = []
  #size = 0
  #isOver = false

  constructor(
    readonly limit: number,
    readonly land: (body: Buffer) => unknown,
    readonly abandon: (reason: Reason) => void,
  ) {}

  // Copied, since the source may use its buffer again.
  add(chunk: Buffer): void {
    if (this.#isOver) return
    this.#size += chunk.byteLength
    if (this.#size > this.limit) this.giveUp('too-large')
    else this.#chunks.push(Buffer.from(chunk))
  }

  /** Reads the source to its end, or as far as there is a point in it. */
  async drain(source: Readable): Promise<void> {
    try {
      for await (const chunk of source) {
        this.add(Buffer.from(chunk))
        if (this.#isOver) return
      }
      this.end()
    } catch (error) {
      this.giveUp('failed')
      throw error
    }
  }

  end(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.land(joined(this.#chunks, this.#size))
  }

  giveUp(reason: Reason): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#chunks.length = 0
    this.abandon(reason)
  }
}

// Node writes fields beyond ASCII in another encoding where a body is handed to `end`, as Koa does with bytes.
function bodyFor({ body }: Answer, { headers }: StoredResponse): Buffer | Readable {
  const copy = Buffer.from(body)
  return headers.some(({ value }) => /[^\0-\x7f]/.test(String(value))) ? Readable.from([copy]) : copy
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
