import { ageOf, type Entry, freshFor, type HeaderField, type StoredResponse } from './core/entry.ts'
import { type KeyParts, normaliseQuery } from './core/key.ts'
import { TagcacheError } from './errors.ts'
import { combined, type Fields } from './http/fields.ts'
import { varyNames, varyValues } from './http/vary.ts'
import { selectParams } from './visit.ts'

type Value = string | number | boolean | bigint

/** A request, as far as a key needs it, for use without a framework. */
export interface CacheRequest {
  /** Route parameters. */
  params?: Readonly<Record<string, Value | readonly Value[] | null | undefined>>
  /** The query: raw (`'page=2'`), or its parameters by name; undefined ones are left out. */
  query?: string | URLSearchParams | Readonly<Record<string, Value | readonly Value[] | null | undefined>>
  /** The host, where it belongs to the key, as the adapters put it there: `'example.com'`, or `'https://example.com'`. */
  host?: string
  /** Who the response is for, where it is not for everybody. */
  scope?: string
  /** What the route's `key` option gives. */
  key?: string
  /** Request fields by lower-case name; those that the responses vary on are looked at. */
  headers?: Fields
  /** Names of the request fields that belong to the key, in lower case: the route's `vary` option. */
  vary?: readonly string[]
}

/** A response to be stored. */
export interface ResponseInit {
  /** Default 200. */
  status?: number
  statusMessage?: string
  /** Fields by name; a list is several lines. */
  headers?: Readonly<Record<string, string | readonly string[]>>
  /** Text is stored as UTF-8. Default: empty. */
  body?: string | Uint8Array
}

/** A stored response. */
export interface CachedResponse {
  readonly key: string
  readonly status: number
  readonly statusMessage: string
  /** Fields by lower-case name; a list is several lines. */
  readonly headers: Readonly<Record<string, string | readonly string[]>>
  /** A copy of the body. */
  readonly body: Uint8Array
  readonly tags: readonly string[]
  /** When it was made, in epoch milliseconds. */
  readonly time: number
  /** Seconds since it was made (RFC 9111, 4.2.3). */
  readonly age: number
  /** Seconds for which it is still fresh. */
  readonly ttl: number
}

/** The key parts of a request that no framework has seen. Throws `ERR_TAGCACHE_REQUEST`. */
export function partsOfRequest(route: string, request: CacheRequest, namespace: string | undefined): KeyParts {
  if (typeof route !== 'string' || route === '') {
    throw new TagcacheError('ERR_TAGCACHE_REQUEST', 'A request key needs a route name, such as "GET /products/:id".')
  }
  const { host, scope, key: custom } = request
  return {
    ...(namespace === undefined ? {} : { namespace }),
    route,
    params: selectParams(request.params ?? {}, true),
    query: queryParts(request.query),
    ...(host === undefined ? {} : { host }),
    ...(custom === undefined ? {} : { custom }),
    ...(scope === undefined ? {} : { scope }),
    vary: varyValues(request.vary ?? [], request.headers ?? {}),
  }
}

function queryParts(query: CacheRequest['query']): readonly string[] {
  if (query === undefined) return []
  if (typeof query === 'string') return normaliseQuery(query.startsWith('?') ? query.slice(1) : query)
  if (query instanceof URLSearchParams) return normaliseQuery(query.toString())
  const parts = Object.entries(query).flatMap(([name, value]) => {
    const values = Array.isArray(value) ? value : value === undefined || value === null ? [] : [value]
    return values.map((item) => `${encode(name)}=${encode(String(item))}`)
  })
  return normaliseQuery(parts.join('&'))
}

function encode(text: string): string {
  return encodeURIComponent(text.toWellFormed())
}

/** A response as it is stored, and the request fields that it depends on. Throws `ERR_TAGCACHE_RESPONSE`. */
export function makeResponse(init: ResponseInit): { stored: StoredResponse; vary: readonly string[] } {
  const { status = 200, statusMessage = '', headers = {}, body = '' } = init
  if (!Number.isInteger(status) || status < 200 || status > 599) throw refuse(`status ${status} is no final status`)
  if (typeof body !== 'string' && !(body instanceof Uint8Array)) throw refuse('the body is neither text nor bytes')
  const fields: HeaderField[] = Object.entries(headers).map(([name, value]) => ({
    name,
    value: Array.isArray(value) ? value.map(String) : String(value),
  }))
  const lowerCase = Object.fromEntries(fields.map(({ name, value }) => [name.toLowerCase(), value]))
  const vary = varyNames(combined(lowerCase, 'vary'))
  if (vary === '*') throw refuse('it varies on everything (Vary: *), so it answers no other request')
  const stored = { status, statusMessage, headers: fields, removed: [], trailers: [], body: copyOf(body) }
  return { stored, vary }
}

function copyOf(body: string | Uint8Array): Uint8Array {
  const copy = Buffer.allocUnsafeSlow(Buffer.byteLength(body))
  if (typeof body === 'string') copy.write(body)
  else copy.set(body)
  return copy
}

function refuse(why: string): TagcacheError {
  return new TagcacheError('ERR_TAGCACHE_RESPONSE', `The response cannot be stored: ${why}.`)
}

/** An entry as users see it. */
export function showEntry(entry: Entry, now: number): CachedResponse {
  const { status, statusMessage, headers, body } = entry.response
  return {
    key: entry.key,
    status,
    statusMessage,
    headers: Object.fromEntries(
      headers.map(({ name, value }) => [name.toLowerCase(), typeof value === 'string' ? value : [...value]]),
    ),
    body: copyOf(body),
    tags: entry.tags.flatMap((tag) => /^(?:[\w.-]+\|)?tag\/(.*)$/s.exec(tag)?.[1] ?? []),
    time: entry.time,
    age: Math.floor(ageOf(entry, now) / 1000),
    ttl: Math.floor(freshFor(entry, now) / 1000),
  }
}
