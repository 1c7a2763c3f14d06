import type { Encoding, Entry, StoredResponse } from '../core/entry.ts'
import type { Copy, Origin } from './backend.ts'
import { bytesOfOwn, fieldsWith, type Head, type OwnValues, ownValues } from './heads.ts'
import type { Used } from './recency.ts'
import type { Link, Member } from './tag-index.ts'

const NO_LINKS: Link[] = []

/** An entry as the memory keeps it: few objects, and what others have too is kept with them. Nobody outside ever sees it. */
export class Kept implements Member, Used<Kept> {
  readonly key: string
  readonly head: Head
  readonly own: OwnValues
  /** Where it is small, text of one character for each byte. */
  readonly body: string | Uint8Array
  readonly encodings: readonly Encoding[] | undefined
  readonly origin: Origin | undefined
  readonly stamp: number
  readonly time: number
  readonly keepUntil: number
  readonly lifetime: number
  readonly initialAge: number
  readonly cost: number
  /** What it is charged. */
  readonly bytes: number
  links: Link[] = NO_LINKS
  floor = 0
  older: Kept | undefined = undefined
  newer: Kept | undefined = undefined

  constructor(entry: Entry | Copy, head: Head, keepUntil: number) {
    const { response } = entry
    this.key = entry.key
    this.head = head
    this.own = ownValues(head, response.headers)
    this.body = compact(response.body)
    this.encodings = response.encodings
    this.origin = 'origin' in entry ? entry.origin : undefined
    this.stamp = entry.stamp
    this.time = entry.time
    this.keepUntil = keepUntil
    this.lifetime = entry.lifetime
    this.initialAge = entry.initialAge
    this.cost = entry.cost
    this.bytes = bytesOf(this, entry.tags)
  }
}

// Bytes are an object with a buffer, which takes more than a small body does. Larger ones stay outside of the heap, whose size
// is limited.
export const LARGEST_TEXT = 1024

function compact(body: Uint8Array): string | Uint8Array {
  if (body.byteLength > LARGEST_TEXT) return body
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1')
}

/** Whether one is the other with the encodings that have been made of it since. */
export function isWithEncodings(kept: Kept, before: Kept): boolean {
  const isSame = kept.stamp === before.stamp && kept.time === before.time && kept.body === before.body
  return isSame && before.encodings?.length === 0 && kept.encodings !== undefined && kept.encodings.length > 0
}

/** The entry that was kept, made anew: nothing that is done to it reaches what is kept. */
export function entryOf(kept: Kept, tags: readonly string[]): Entry {
  const { key, head, stamp, time, cost, lifetime, initialAge, origin } = kept
  const { staleWhileRevalidate, staleIfError, mustRevalidate, isShared } = head
  const entry: Entry = {
    key,
    tags,
    stamp,
    time,
    cost,
    lifetime,
    initialAge,
    staleWhileRevalidate,
    staleIfError,
    mustRevalidate,
    isShared,
    response: responseOf(kept),
  }
  return origin ? ({ ...entry, origin } as Copy) : entry
}

function responseOf({ head, own, body, encodings }: Kept): StoredResponse {
  const { status, statusMessage, removed, trailers } = head
  const response: StoredResponse = {
    status,
    statusMessage,
    headers: fieldsWith(head, own),
    removed,
    body: typeof body === 'string' ? Buffer.from(body, 'latin1') : body,
    trailers,
  }
  return encodings ? { ...response, encodings } : response
}

// What an entry takes beside its texts, for each tag of it, and for bytes, as `bench/server/charge.ts` measures it, rounded up.
const ENTRY_OVERHEAD = 340
const TAG_OVERHEAD = 112
const BYTES_OVERHEAD = 260
const ORIGIN_OVERHEAD = 48

function bytesOf({ key, own, body, encodings, origin }: Kept, tags: readonly string[]): number {
  let bytes = ENTRY_OVERHEAD + key.length * 2 + bytesOfOwn(own) + bytesOfBody(body) + (origin ? ORIGIN_OVERHEAD : 0)
  for (const tag of tags) bytes += TAG_OVERHEAD + tag.length
  for (const encoding of encodings ?? []) bytes += bytesOfBody(encoding.body) + ENCODING_OVERHEAD
  return bytes
}

const ENCODING_OVERHEAD = 64

function bytesOfBody(body: string | Uint8Array): number {
  return typeof body === 'string' ? body.length : BYTES_OVERHEAD + body.byteLength
}
