import type { IncomingMessage, ServerResponse } from 'node:http'
import etag from 'etag'
import { type Answer, answerTo } from '../core/answer.ts'
import type { HeaderField, StoredResponse } from '../core/entry.ts'
import type { Reason } from '../core/reasons.ts'
import { heldTag, represented } from '../core/representation.ts'
import { debugFields, withDebug } from '../flow/debug.ts'
import { decide, decline, declineNewer } from '../flow/decide.ts'
import type { Flow } from '../flow/flow.ts'
import { abandon, land, release } from '../flow/land.ts'
import { maySubstitute, settle, substitute } from '../flow/replace.ts'
import type { Decision, Run, Substitution } from '../flow/run.ts'
import { taggingOf, withheldFields } from '../flow/tags.ts'
import { mayBeCompressed, varyOnCoding } from '../http/compression.ts'
import { formatDate } from '../http/date.ts'
import { combined, type Fields, firstLine } from '../http/fields.ts'
import { speaksOfCaching, storableField } from '../http/policy.ts'
import { isLeftOutOf304, isNotModified } from '../http/validators.ts'
import type { ResolvedRoute } from '../options/route.ts'
import { onClose } from './close.ts'
import { Conditions } from './conditions.ts'
import { type Head, type HeadChange, interceptHead, textOf } from './head.ts'
import { addedByDefault, type InnerFields, innerFields, type OuterFields, outerFields } from './layer.ts'
import { afterOthers, bytesSent, isWrapped, mayBeEncoded } from './replay.ts'
import { substituteHead } from './substitute.ts'

/** A response being recorded. */
export interface Recording {
  /** Leaves the response to an inner layer: nothing is stored, nothing added. */
  stepBack(): void
  /** Leaves the response to whoever knows it before it is written, with what the recording has begun. */
  handOver(): Beginning
}

/** What a recording has taken down before the layers below ran. */
export interface Beginning {
  readonly outer: OuterFields
  /** The client's conditions, where it asked only for a newer response. */
  readonly conditions: Fields | undefined
}

/**
 * Records the response that the layers below make from here on, while it streams to its client, and stores it with the
 * run when it is complete. The client's own conditions are judged here, so that there is a full response to store.
 */
export function capture(flow: Flow, run: Run, req: IncomingMessage, res: ServerResponse): Recording {
  const recorder = new Recorder(flow, run, req, res)
  recorder.begin()
  return recorder
}

const NONE: readonly HeaderField[] = []

class Recorder implements Recording {
  readonly #flow: Flow
  readonly #run: Run
  readonly #req: IncomingMessage
  readonly #res: ServerResponse
  readonly #outer: OuterFields
  #chunks: Buffer[] | undefined
  #size = 0
  #trailers: readonly HeaderField[] = NONE
  readonly #conditions: Conditions
  readonly #tag = new BodyTag()
  #decision: Decision | undefined
  /** What the client gets instead of what the handler writes. */
  #substitute: { readonly substitution: Substitution; readonly answer: Answer } | undefined
  #head: Head | undefined
  #inner: InnerFields | undefined
  /** The whole body, where it is known before the head is sent: the writer's own until `end` returns. */
  #whole: Buffer | undefined
  /** A layer above that wraps the response might change the bytes that it is given. */
  readonly #isWrapped: boolean
  #isMuted = false
  #isEnding = false
  #isTooLarge = false
  /** Nothing is recorded any more. */
  #isOver = false
  /** Somebody else answers for the response now. */
  #isSilent = false

  constructor(flow: Flow, run: Run, req: IncomingMessage, res: ServerResponse) {
    this.#flow = flow
    this.#run = run
    this.#req = req
    this.#res = res
    this.#outer = outerFields(res)
    this.#isWrapped = isWrapped(res)
    this.#conditions = new Conditions(run, req)
  }

  begin(): void {
    interceptHead(this.#res, {
      change: (head) => (this.#isSilent ? undefined : this.#meetHead(head)),
      refused: () => this.#forgetHead(),
    })
    this.#interceptWrite()
    this.#interceptEnd()
    this.#interceptTrailers()
    onClose(this.#res, () => this.#giveUp('aborted'))
  }

  stepBack(): void {
    this.#fallSilent()
    release(this.#flow, this.#run)
  }

  handOver(): Beginning {
    this.#fallSilent()
    return { outer: this.#outer, conditions: this.#conditions.client }
  }

  #fallSilent(): void {
    this.#isSilent = true
    this.#isOver = true
    this.#conditions.restore()
  }

  // ——— The head ———

  #meetHead(head: Head): HeadChange {
    const inner = innerFields(this.#res, this.#outer, head.headers)
    this.#head = head
    this.#inner = inner
    this.#conditions.restore()
    const substitution = substitute(this.#flow, this.#run, head.status, inner)
    if (substitution) return this.#substituteHead(head, inner, substitution)
    this.#decision = this.#decide(head, inner)
    return this.#changeHead(head)
  }

  #substituteHead(head: Head, inner: InnerFields, substitution: Substitution): HeadChange {
    const { entry, now } = substitution
    const response = represented(entry.response, this.#req)
    const answer = answerTo(this.#req, response, now, !mayBeEncoded(this.#req, this.#res))
    this.#substitute = { substitution, answer }
    this.#isMuted = true
    const tagging = withDebug(this.#flow, entry.key, taggingOf(this.#flow, this.#run.route, entry.tags))
    return substituteHead(
      answer,
      { ...substitution, entry: { ...entry, response } },
      { head, inner, outer: this.#outer, tagging },
    )
  }

  // Node has refused the head; whatever answers now, an error handler mostly, begins anew.
  #forgetHead(): void {
    this.#decision = undefined
    this.#substitute = undefined
    this.#isMuted = false
    this.#whole = undefined
    this.#chunks = undefined
    this.#size = 0
  }

  #decide(head: Head, { fields, outerSayings }: InnerFields): Decision {
    if (this.#isTooLarge) return decline(this.#flow, this.#run, 'too-large')
    const decision = decide(this.#flow, this.#run, { status: head.status, fields, ...outerSayings })
    const isTooLarge = Number(firstLine(head.fields, 'content-length')) > this.#run.route.maxBodySize
    if (!decision.store || !isTooLarge) return decision
    return declineNewer(this.#flow, this.#run, head.status, 'too-large')
  }

  #changeHead(head: Head): HeadChange {
    const set: (readonly [string, string])[] = [
      ['Cache-Status', afterOthers(head.fields, this.#decision?.cacheStatus ?? '')],
    ]
    set.push(...debugFields(this.#flow, this.#run.key))
    const vary = this.#inner && negotiatedVary(this.#run.route, head, this.#inner)
    if (vary !== undefined) set.push(['Vary', vary])
    if (this.#decision?.store && this.#run.route.clientCacheControl) {
      const added = clientFields(head.fields, head.status, this.#tag, this.#whole)
      for (const [name] of added) addedByDefault(this.#res, name)
      set.push(...added)
    }
    const tagging = this.#decision?.store ? taggingOf(this.#flow, this.#run.route, this.#run.tags) : undefined
    if (tagging) set.push(...tagging.set)
    const remove = tagging?.remove ?? withheldFields(this.#run.route)
    const { client } = this.#conditions
    if (!client) return { set, remove }
    const held = vary === undefined ? undefined : heldTag(firstLine(head.fields, 'etag'), client, this.#req)
    if (held !== undefined) set.push(['ETag', held])
    const fields = { ...head.fields, ...Object.fromEntries(set.map(([name, value]) => [name.toLowerCase(), value])) }
    if (head.status !== 200 || !isNotModified(client, fields, this.#flow.now())) return { set, remove }
    this.#isMuted = true
    return { status: 304, set, remove: [...remove, ...Object.keys(fields).filter(isLeftOutOf304)] }
  }

  // ——— The body ———

  #interceptWrite(): void {
    const res = this.#res
    const original = res.write
    res.write = ((...args: unknown[]): boolean => {
      if (this.#isSilent || this.#isEnding) return Reflect.apply(original, res, args)
      // Whether the client gets this body at all is known with the head.
      const isOpen = this.#conditions.client !== undefined || this.#run.stored !== undefined
      if (isOpen && !res.headersSent && !res.destroyed) res.writeHead(res.statusCode)
      if (!res.writableEnded) this.#record(args[0], args[1])
      if (!this.#isMuted) return Reflect.apply(original, res, args)
      const callback = args.find((arg) => typeof arg === 'function')
      if (callback) process.nextTick(callback as () => void)
      return true
    }) as typeof res.write
  }

  #interceptEnd(): void {
    const res = this.#res
    const original = res.end
    res.end = ((...args: unknown[]): ServerResponse => {
      if (this.#isSilent || this.#isEnding || res.writableEnded) return Reflect.apply(original, res, args)
      this.#isEnding = true
      const isCut = res.destroyed || res.socket?.destroyed === true
      // Node would take the length of what the handler writes for that of what the client gets.
      const isReplaced = !res.headersSent && maySubstitute(this.#flow, this.#run, res.statusCode)
      if (isReplaced && !isCut) this.#beginHead()
      if (typeof args[0] !== 'function') this.#recordLast(args[0], args[1])
      this.#finish(original, args)
      if (isCut) this.#giveUp('aborted')
      else this.#land()
      return res
    }) as typeof res.end
  }

  #beginHead(): void {
    try {
      this.#res.writeHead(this.#res.statusCode)
    } catch (error) {
      this.#isEnding = false
      throw error
    }
  }

  // What the handler itself has said of the body is not for the client where that gets something else.
  #lastArguments(args: unknown[]): unknown[] {
    if (!this.#isMuted) return args
    const callbacks = args.filter((arg) => typeof arg === 'function')
    const body = this.#substitute?.answer.body
    if (!body?.byteLength || this.#req.method === 'HEAD') return callbacks
    return [Buffer.from(body), ...callbacks]
  }

  #finish(end: ServerResponse['end'], args: unknown[]): void {
    try {
      Reflect.apply(end, this.#res, this.#lastArguments(args))
    } catch (error) {
      const isOurs = this.#isMuted && (error as NodeJS.ErrnoException).code === 'ERR_HTTP_BODY_NOT_ALLOWED'
      if (!isOurs) {
        this.#isEnding = false
        this.#whole = undefined
        throw error
      }
      Reflect.apply(end, this.#res, [])
    }
  }

  // What comes alone and at once is copied when it is known that it will be stored.
  #recordLast(chunk: unknown, encoding: unknown): void {
    if (chunk === undefined || chunk === null) return
    const isAlone = !this.#res.headersSent && this.#chunks === undefined
    if (!isAlone) return this.#record(chunk, encoding)
    const bytes = this.#accept(chunk, encoding)
    if (bytes) this.#whole = this.#isWrapped ? joined([bytes], bytes.byteLength) : bytes
  }

  // Copied, since the writer may use its buffer again.
  #record(chunk: unknown, encoding: unknown): void {
    const bytes = this.#accept(chunk, encoding)
    if (!bytes) return
    this.#chunks ??= []
    this.#chunks.push(typeof chunk === 'string' ? bytes : Buffer.from(bytes))
  }

  #accept(chunk: unknown, encoding: unknown): Buffer | undefined {
    if (this.#isOver || this.#substitute || (this.#decision && !this.#decision.store)) return undefined
    const bytes = bytesOf(chunk, encoding)
    if (!bytes) return undefined
    this.#size += bytes.byteLength
    if (this.#size <= this.#run.route.maxBodySize) return bytes
    this.#isTooLarge = true
    declineNewer(this.#flow, this.#run, this.#head?.status ?? this.#res.statusCode, 'too-large')
    this.#giveUp('too-large')
    return undefined
  }

  #interceptTrailers(): void {
    const res = this.#res
    const original = res.addTrailers
    res.addTrailers = ((trailers: object) => {
      Reflect.apply(original, res, [trailers])
      const pairs = Array.isArray(trailers) ? (trailers as [string, unknown][]) : Object.entries(trailers)
      this.#trailers = pairs.map(([name, value]) => ({ name, value: textOf(value) }))
    }) as typeof res.addTrailers
  }

  // ——— The end ———

  #land(): void {
    if (this.#substitute && !this.#isOver) {
      this.#isOver = true
      const { substitution, answer } = this.#substitute
      return void settle(this.#flow, this.#run, substitution, bytesSent(this.#req, answer))
    }
    if (!this.#decision || !this.#head || !this.#inner) return this.#giveUp('aborted')
    if (!this.#decision.store) return this.#giveUp(this.#decision.reason)
    const declared = firstLine(this.#inner.fields, 'content-length')
    const hasBody = this.#head.status !== 204
    if (hasBody && declared !== undefined && Number(declared) !== this.#size) return this.#giveUp('length-mismatch')
    if (this.#isOver) return
    this.#isOver = true
    void land(this.#flow, this.#run, this.#decision, this.#response(this.#head, this.#inner, hasBody))
  }

  #response(head: Head, inner: InnerFields, hasBody: boolean): StoredResponse {
    const body = hasBody ? (this.#whole ?? joined(this.#chunks ?? [], this.#size)) : Buffer.alloc(0)
    return {
      status: head.status,
      statusMessage: head.statusMessage ?? '',
      headers: storedFields(inner, body, {
        status: head.status,
        isOurs: this.#run.route.clientCacheControl,
        tag: this.#tag,
        date: this.#res.sendDate ? formatDate(this.#flow.now()) : undefined,
      }),
      removed: inner.removed,
      body: this.#keep(body),
      trailers: this.#trailers,
    }
  }

  // What is still the writer's own is copied.
  #keep(body: Buffer): Buffer {
    return body === this.#whole && !this.#isWrapped ? joined([body], this.#size) : body
  }

  #giveUp(reason: Reason): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#chunks = undefined
    this.#conditions.restore()
    abandon(this.#flow, this.#run, reason)
  }
}

/** Vary for a response that is, or will be, sent in content codings as well; undefined for any other. */
export function negotiatedVary(
  { compress }: Pick<ResolvedRoute, 'compress'>,
  { status, fields }: Pick<Head, 'status' | 'fields'>,
  { outerSayings, fields: own }: Pick<InnerFields, 'outerSayings' | 'fields'>,
): string | undefined {
  const isNegotiated = compress && mayBeCompressed(status, own, outerSayings.outerCacheControl)
  return isNegotiated ? varyOnCoding(combined(fields, 'vary')) : undefined
}

/** Browsers cannot be purged, so they are to ask each time; the tag, where the body is known, makes asking cheap. */
export function clientFields(
  fields: Fields,
  status: number,
  tag: BodyTag,
  body: Buffer | undefined,
): [name: string, value: string][] {
  const added: [string, string][] = []
  if (!speaksOfCaching(fields)) added.push(['Cache-Control', 'no-cache'])
  if (body && status === 200 && fields.etag === undefined) added.push(['ETag', tag.of(body)])
  return added
}

/** The fields that are kept with a response, and those that the cache adds for its clients. */
export function storedFields(
  { headers, fields }: Pick<InnerFields, 'headers' | 'fields'>,
  body: Buffer,
  { status, isOurs, date, tag }: { status: number; isOurs: boolean; date: string | undefined; tag: BodyTag },
): HeaderField[] {
  const kept = headers.filter(({ name }) => storableField(name.toLowerCase(), fields))
  if (date !== undefined && fields.date === undefined) kept.push({ name: 'Date', value: date })
  const added = isOurs ? clientFields(fields, status, tag, body) : []
  return [...kept, ...added.map(([name, value]) => ({ name, value, isDefault: true }))]
}

/**
 * The entity-tag of one response's body, which is asked for twice: for its client, and for the store. Weak, since a layer above may
 * encode the body (RFC 9110, 8.8.1).
 */
export class BodyTag {
  #body: Buffer | undefined
  #tag = ''

  of(body: Buffer): string {
    if (this.#body !== body) {
      this.#tag = etag(body, { weak: true })
      this.#body = body
    }
    return this.#tag
  }
}

function bytesOf(chunk: unknown, encoding: unknown): Buffer | undefined {
  if (typeof chunk === 'string')
    return Buffer.from(chunk, typeof encoding === 'string' ? (encoding as BufferEncoding) : 'utf8')
  if (Buffer.isBuffer(chunk)) return chunk
  return chunk instanceof Uint8Array ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength) : undefined
}

/** The chunks as one buffer of its own memory: slices of a pool would keep the whole pool. */
export function joined(chunks: readonly Uint8Array[], size: number): Buffer {
  const body = Buffer.allocUnsafeSlow(size)
  let at = 0
  for (const chunk of chunks) {
    body.set(chunk, at)
    at += chunk.byteLength
  }
  return body
}
