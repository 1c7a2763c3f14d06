import { createHash } from 'node:crypto'
import parseRange from 'range-parser'
import { parseDate } from './date.ts'
import { combined, type Fields, listMembers } from './fields.ts'

/** Bytes of a representation, counted from 0; `end` is the last of them. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** What a range request gets of a complete representation: all of it (200), none of it (416), or these parts in ascending order (206). */
export type RangeFinding =
  | { readonly kind: 'whole' }
  | { readonly kind: 'unsatisfiable' }
  | { readonly kind: 'parts'; readonly parts: readonly ByteRange[] }

const WHOLE: RangeFinding = { kind: 'whole' }
const UNSATISFIABLE: RangeFinding = { kind: 'unsatisfiable' }

/**
 * Judges a GET with Range and If-Range for a complete representation of `size` bytes (RFC 9110, 14.2 and 13.1.5). What is
 * malformed, of another unit or wasteful gets the whole; of an empty representation no range can be satisfied.
 * @param response the fields etag, last-modified and date of the representation
 * @param now epoch milliseconds, by which two-digit years are understood
 */
export function judgeRange(request: Fields, response: Fields, size: number, now: number): RangeFinding {
  const specs = readSpecs(combined(request, 'range'))
  if (!specs || !isUnchanged(combined(request, 'if-range'), response, now)) return WHOLE
  return findParts(`bytes=${specs.map((spec) => cutSuffix(spec, size)).join(',')}`, size)
}

// Unit names are case-insensitive (RFC 9110, 14.1); a list may have empty members (5.6.1).
function readSpecs(range: string | undefined): string[] | undefined {
  const [, set] = /^bytes=(.*)$/i.exec(range ?? '') ?? []
  const specs = listMembers(set)
  return specs.length > 0 && specs.every(isValid) ? specs : undefined
}

// One invalid range makes the whole set invalid (RFC 9110, 14.1.1), which range-parser would pass over.
function isValid(spec: string): boolean {
  const [, start, end] = /^(\d+)-(\d*)$/.exec(spec) ?? []
  if (start === undefined) return /^-\d+$/.test(spec)
  return end === '' || Number(end) >= Number(start)
}

// A suffix longer than the representation is all of it (RFC 9110, 14.1.2); range-parser to 1.3 takes it as unsatisfiable.
function cutSuffix(spec: string, size: number): string {
  return spec.startsWith('-') ? `-${Math.min(Number(spec.slice(1)), size)}` : spec
}

// More parts than anybody reads by are an attack (RFC 9110, 17.15).
const MOST_PARTS = 50

function findParts(range: string, size: number): RangeFinding {
  const asked = parseRange(size, range)
  const parts = parseRange(size, range, { combine: true })
  if (asked === -1) return UNSATISFIABLE
  if (typeof asked === 'number' || typeof parts === 'number') return WHOLE
  const total = asked.reduce((sum, { start, end }) => sum + end - start + 1, 0)
  if (total > size || parts.length > MOST_PARTS) return WHOLE
  return { kind: 'parts', parts: [...parts].sort((a, b) => a.start - b.start) }
}

const STRONG_TAG = /^"[\x21\x23-\x7e\x80-\xff]*"$/

// Parts of what has changed would be put beside parts of what was before (RFC 9110, 13.1.5), so a weak validator matches nothing.
function isUnchanged(ifRange: string | undefined, response: Fields, now: number): boolean {
  if (ifRange === undefined) return true
  if (STRONG_TAG.test(ifRange)) return ifRange === combined(response, 'etag')
  const modified = strongDate(response, now)
  return modified !== undefined && parseDate(ifRange, now) === modified
}

// What was modified in the second it was sent in may be modified in it again (RFC 9110, 8.8.2.2).
function strongDate(response: Fields, now: number): number | undefined {
  const modified = parseDate(combined(response, 'last-modified'), now)
  const date = parseDate(combined(response, 'date'), now)
  if (modified === undefined || date === undefined) return undefined
  return date - modified >= 1000 ? modified : undefined
}

/** Content-Range of a part (RFC 9110, 14.4). */
export function contentRange(part: ByteRange, size: number): string {
  return `bytes ${part.start}-${part.end}/${size}`
}

/** Content-Range of a 416 (RFC 9110, 15.5.17). */
export function unsatisfiedRange(size: number): string {
  return `bytes */${size}`
}

/** What a Content-Range says; `size` is undefined where the sender did not know it. */
export interface StatedRange extends ByteRange {
  readonly size: number | undefined
}

/** Reads Content-Range of a part. Undefined for anything else, and for what cannot be (RFC 9110, 14.4). */
export function parseContentRange(value: string | undefined): StatedRange | undefined {
  const [, first, last, length] = /^bytes (\d+)-(\d+)\/(\d+|\*)$/i.exec(value ?? '') ?? []
  if (length === undefined) return undefined
  const [start, end, size] = [Number(first), Number(last), length === '*' ? undefined : Number(length)]
  // Beyond the safe integers neighbours are equal, and nothing could be said of the order.
  if (!Number.isSafeInteger(end) || !Number.isSafeInteger(size ?? 0)) return undefined
  return start <= end && end < (size ?? Number.POSITIVE_INFINITY) ? { start, end, size } : undefined
}

/** The parts as the content of multipart/byteranges (RFC 9110, 14.6), whose Content-Type names the same boundary. */
export function multipartBody(
  parts: readonly ByteRange[],
  body: Uint8Array,
  contentType: string | undefined,
  boundary: string,
): Buffer {
  const pieces = parts.flatMap((part) => [
    // Fields are written as Latin-1, as node:http does.
    Buffer.from(partHead(part, body.length, contentType, boundary), 'latin1'),
    bytesOf(part, body),
    Buffer.from('\r\n'),
  ])
  return Buffer.concat([...pieces, Buffer.from(`--${boundary}--\r\n`)])
}

function partHead(part: ByteRange, size: number, contentType: string | undefined, boundary: string): string {
  const type = contentType === undefined ? '' : `Content-Type: ${contentType}\r\n`
  return `--${boundary}\r\n${type}Content-Range: ${contentRange(part, size)}\r\n\r\n`
}

function bytesOf(part: ByteRange, body: Uint8Array): Buffer {
  return Buffer.from(body.buffer, body.byteOffset + part.start, part.end - part.start + 1)
}

/** A boundary that occurs in none of the parts (RFC 2046, 5.1.1); the same parts always get the same. */
export function boundaryFor(parts: readonly ByteRange[], body: Uint8Array): string {
  const sent = parts.map((part) => bytesOf(part, body))
  for (let attempt = 0; ; attempt++) {
    const boundary = digestOf(sent, attempt)
    if (!sent.some((bytes) => bytes.includes(boundary))) return boundary
  }
}

// Only what is sent is hashed: two bytes of a large body must not cost a reading of all of it.
function digestOf(sent: readonly Buffer[], attempt: number): string {
  const hash = createHash('sha256').update(`${attempt}`)
  for (const bytes of sent) hash.update(bytes)
  return hash.digest('hex').slice(0, 32)
}

/** Whether the part that is asked for is to go with what has a date, which all codings of a response have in common. */
export function isDatedRange(request: Fields): boolean {
  const validator = combined(request, 'if-range')
  return validator !== undefined && !validator.includes('"')
}
