import { CODINGS, type Coding } from '../http/compression.ts'
import type { Fields } from '../http/fields.ts'
import type { Terms } from '../http/policy.ts'

/** One header field as it was sent; several lines of one name are a list. */
export interface HeaderField {
  readonly name: string
  readonly value: string | readonly string[]
  /** The value comes after what an outer layer has set under this name, instead of taking its place. */
  readonly append?: boolean
  /** The cache itself has added it; what an outer layer says instead goes before. */
  readonly isDefault?: boolean
}

/** A complete response, as the layers below the cache made it. */
export interface StoredResponse {
  readonly status: number
  readonly statusMessage: string
  readonly headers: readonly HeaderField[]
  /** Names of fields that an outer layer had set and the handler took away. */
  readonly removed: readonly string[]
  readonly body: Uint8Array
  readonly trailers: readonly HeaderField[]
  /** What the cache has made of the body, the smallest first; absent where the response is one for all, whatever codings they accept. */
  readonly encodings?: readonly Encoding[]
}

/** The body in a content coding (RFC 9110, 8.4). */
export interface Encoding {
  readonly coding: Coding
  readonly body: Uint8Array
}

/** What a backend keeps under a key. Its lifetime and its use when stale count from `time` on. */
export interface Entry extends Terms {
  readonly key: string
  /** The tags as the backend knows them (`cache.keyFromTag`). */
  readonly tags: readonly string[]
  /** The invalidation clock before the response was computed. */
  readonly stamp: number
  /** When the response was made, in epoch milliseconds. */
  readonly time: number
  /** How long the handler ran to make it, in milliseconds. */
  readonly cost: number
  readonly response: StoredResponse
}

/** Why an entry left the backend. */
export type RemovalReason = 'expired' | 'evicted' | 'invalidated' | 'replaced' | 'deleted'

/** Entries that left the backend. */
export interface Removal {
  readonly reason: RemovalReason
  /** How many. */
  readonly entries: number
  /** Which one; absent where everything left at once. */
  readonly key?: string
}

/** The values of a field, or undefined where there is no such field. Names are compared without case. */
export function fieldValue(fields: readonly HeaderField[], name: string): string | readonly string[] | undefined {
  return fields.find((field) => field.name.length === name.length && field.name.toLowerCase() === name)?.value
}

/** The fields by lower-case name, for judging. `own` leaves out what the cache itself has added. */
export function fieldsOf(headers: readonly HeaderField[], { own = false } = {}): Fields {
  const fields: Record<string, HeaderField['value']> = {}
  for (const { name, value, isDefault } of headers) if (!(own && isDefault)) setOwn(fields, name.toLowerCase(), value)
  return fields
}

// A field may have any name, that of the prototype too.
function setOwn(fields: Record<string, HeaderField['value']>, name: string, value: HeaderField['value']): void {
  if (name !== '__proto__') fields[name] = value
  else Object.defineProperty(fields, name, { value, enumerable: true, configurable: true, writable: true })
}

/** The age of an entry at a time, in milliseconds (RFC 9111, 4.2.3). */
export function ageOf(entry: Entry, now: number): number {
  return entry.initialAge + Math.max(0, now - entry.time)
}

/** How much longer an entry is fresh, in milliseconds; zero or less is stale (RFC 9111, 4.2). */
export function freshFor(entry: Entry, now: number): number {
  return entry.lifetime - Math.max(0, now - entry.time)
}

/** Whether this is an entry that can be answered with; a backend may have handed out anything. */
export function isSound(entry: unknown): entry is Entry {
  if (!isObject(entry)) return false
  const { key, tags, stamp, time, cost, response } = entry
  return (
    typeof key === 'string' &&
    isTexts(tags) &&
    [stamp, time, cost].every(isNumber) &&
    isSoundTerms(entry) &&
    isSoundResponse(response)
  )
}

function isSoundTerms(terms: Record<string, unknown>): boolean {
  const { lifetime, initialAge, staleWhileRevalidate, staleIfError, mustRevalidate, isShared } = terms
  return (
    [lifetime, initialAge, staleWhileRevalidate, staleIfError].every(isNumber) &&
    typeof mustRevalidate === 'boolean' &&
    typeof isShared === 'boolean'
  )
}

function isSoundResponse(response: unknown): boolean {
  if (!isObject(response)) return false
  const { status, statusMessage, headers, removed, body, trailers, encodings = [] } = response
  const isFinal = Number.isInteger(status) && Number(status) >= 200 && Number(status) <= 999
  const isText = typeof statusMessage === 'string' && FIELD_VALUE.test(statusMessage)
  const isWhole = body instanceof Uint8Array && isEncodings(encodings)
  return isFinal && isText && isFields(headers) && isTexts(removed) && isFields(trailers) && isWhole
}

function isEncodings(encodings: unknown): boolean {
  return Array.isArray(encodings) && encodings.every(isEncoding)
}

function isEncoding(encoding: unknown): boolean {
  if (!isObject(encoding)) return false
  return CODINGS.includes(encoding.coding as Coding) && encoding.body instanceof Uint8Array
}

// RFC 9110, 5.1 and 5.5.
const FIELD_NAME = /^[\w!#$%&'*+\-.^`|~]+$/
const FIELD_VALUE = /^[\t\x20-\x7e\x80-\xff]*$/

function isFields(fields: unknown): boolean {
  return Array.isArray(fields) && fields.every(isField)
}

function isField(field: unknown): boolean {
  if (!isObject(field) || typeof field.name !== 'string' || !FIELD_NAME.test(field.name)) return false
  const lines = Array.isArray(field.value) ? field.value : [field.value]
  return lines.every((line) => typeof line === 'string' && FIELD_VALUE.test(line))
}

function isTexts(values: unknown): boolean {
  return Array.isArray(values) && values.every((value) => typeof value === 'string')
}

function isNumber(value: unknown): boolean {
  return typeof value === 'number' && !Number.isNaN(value)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object'
}
