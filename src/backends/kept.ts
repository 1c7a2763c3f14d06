import type { Encoding, Entry, StoredResponse } from '../core/entry.ts'
import { HandedOut } from '../core/made-once.ts'
import type { Copy, Origin } from './backend.ts'
import { bytesOfOwn, fieldsWith, type Head, type OwnValues, ownValues } from './heads.ts'
import type { Used } from './recency.ts'
import { type Link, type Member, NO_LINKS, tagOf } from './tag-index.ts'

/** What few entries have. */
interface More {
  readonly encodings: readonly Encoding[] | undefined
  readonly origin: Origin | undefined
  readonly initialAge: number
  /** Where it cannot be told from its head's. */
  readonly time: number | undefined
}

/** An entry as the memory keeps it: few objects, and what others have too is kept with them. Nobody outside ever sees it. */
export class Kept implements Member, Used<Kept> {
  readonly key: string
  readonly head: Head
  readonly own: OwnValues
  /** Where it is small, text of one character for each byte. */
  readonly body: string | Uint8Array
  readonly more: More | undefined
  readonly stamp: number
  /** How long after its head's time it was made: a small number takes less than a point in time. */
  readonly after: number
  /** How long after its time it is gone. */
  readonly keptFor: number
  readonly lifetime: number
  readonly cost: number
  links: Link[] = NO_LINKS
  older: Kept | undefined = undefined
  newer: Kept | undefined = undefined

  constructor(entry: Entry, head: Head, keepUntil: number) {
    const { response } = entry
    this.key = entry.key
    this.head = head
    this.own = ownValues(head, response.headers)
    this.body = compact(response.body)
    this.more = moreOf(entry, head)
    this.stamp = entry.stamp
    this.after = entry.time - head.time
    this.keptFor = keepUntil - entry.time
    this.lifetime = entry.lifetime
    this.cost = entry.cost
  }

  get time(): number {
    return this.more?.time ?? this.head.time + this.after
  }
}

const NONE_YET: readonly Encoding[] = Object.freeze([])
const TO_ENCODE: More = { encodings: NONE_YET, origin: undefined, initialAge: 0, time: undefined }

function moreOf(entry: Entry | Copy, head: Head): More | undefined {
  const { initialAge, response } = entry
  const { encodings } = response
  const origin = 'origin' in entry ? entry.origin : undefined
  const time = head.time + (entry.time - head.time) === entry.time ? undefined : entry.time
  const isRare = origin || initialAge !== 0 || time !== undefined || (encodings && encodings.length > 0)
  if (isRare) return { encodings, origin, initialAge, time }
  return encodings && TO_ENCODE
}

// Bytes are an object with a buffer, which takes more than a small body does. Larger ones stay outside of the heap, whose size
// is limited.
const LARGEST_TEXT = 1024

function compact(body: Uint8Array): string | Uint8Array {
  if (body.byteLength > LARGEST_TEXT) return body
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1')
}

/** Whether one is the other with the encodings that have been made of it since. */
export function isWithEncodings(kept: Kept, before: Kept): boolean {
  const isSame = kept.stamp === before.stamp && kept.time === before.time && kept.body === before.body
  return isSame && before.more?.encodings?.length === 0 && (kept.more?.encodings?.length ?? 0) > 0
}

class HandedOutCopy extends HandedOut implements Copy {
  readonly origin: Origin

  constructor(entry: Entry, origin: Origin) {
    super(entry)
    this.origin = origin
  }
}

/** The entry that was kept, made anew: nothing that is done to it reaches what is kept. */
export function entryOf(kept: Kept, tags: readonly string[]): Entry {
  const { key, head, stamp, time, cost, lifetime, more } = kept
  const { staleWhileRevalidate, staleIfError, mustRevalidate, isShared } = head
  const entry = {
    key,
    tags,
    stamp,
    time,
    cost,
    lifetime,
    initialAge: more ? more.initialAge : 0,
    staleWhileRevalidate,
    staleIfError,
    mustRevalidate,
    isShared,
    response: responseOf(kept),
  }
  return more?.origin ? new HandedOutCopy(entry, more.origin) : new HandedOut(entry)
}

function responseOf({ head, own, body, more }: Kept): StoredResponse {
  const { status, statusMessage, removed, trailers } = head
  const response: StoredResponse = {
    status,
    statusMessage,
    headers: fieldsWith(head, own),
    removed,
    body: typeof body === 'string' ? Buffer.from(body, 'latin1') : body,
    trailers,
  }
  return more?.encodings ? { ...response, encodings: more.encodings } : response
}

// What an entry takes beside its texts, for each tag of it, and for bytes, as `bench/server/charge.ts` measures it, rounded up.
const ENTRY_OVERHEAD = 240
const TAG_OVERHEAD = 112
const MORE_OVERHEAD = 96
const BYTES_OVERHEAD = 260
const ENCODING_OVERHEAD = 64

/** What an entry takes that carries its tags, in bytes. */
export function bytesOf({ key, own, body, more, links }: Kept): number {
  let bytes = ENTRY_OVERHEAD + key.length * 2 + bytesOfOwn(own) + bytesOfBody(body)
  for (const link of links) bytes += TAG_OVERHEAD + tagOf(link).length
  if (more === undefined || more === TO_ENCODE) return bytes
  bytes += MORE_OVERHEAD
  for (const encoding of more.encodings ?? NONE_YET) bytes += ENCODING_OVERHEAD + bytesOfBody(encoding.body)
  return bytes
}

function bytesOfBody(body: string | Uint8Array): number {
  return typeof body === 'string' ? body.length : BYTES_OVERHEAD + body.byteLength
}
