import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Entry, fieldValue, type HeaderField } from '../core/entry.ts'
import { combined, type Fields } from '../http/fields.ts'
import { isConditional, isLeftOutOf304, isNotModified } from '../http/validators.ts'
import { addedByDefault } from './layer.ts'

/** What is told to the client beside the stored response. */
export interface ReplayFields {
  /** Epoch milliseconds. */
  readonly now: number
  /** In milliseconds. */
  readonly age: number
  readonly cacheStatus: string
}

/** The status that a stored response has for this request: its own, or 304 where the client's copy is still good. */
export function replayStatus(req: IncomingMessage, { response }: Entry, now: number): number {
  if (response.status !== 200 || !isConditional(req.headers)) return response.status
  const validators = {
    etag: fieldValue(response.headers, 'etag'),
    'last-modified': fieldValue(response.headers, 'last-modified'),
  }
  return isNotModified(req.headers, validators, now) ? 304 : 200
}

/** Answers with a stored response, through the layers above. */
export function replay(req: IncomingMessage, res: ServerResponse, entry: Entry, told: ReplayFields): void {
  const { response } = entry
  const status = replayStatus(req, entry, told.now)
  res.statusCode = status
  // HTTP/2 has no status message, and says so to whoever sets one.
  if (status === response.status && response.statusMessage !== '') res.statusMessage = response.statusMessage
  setStoredFields(res, entry, status, told)
  if (status === 304 || status === 204) res.end()
  else if (response.trailers.length > 0 && req.httpVersion !== '1.0' && req.method !== 'HEAD')
    endWithTrailers(res, entry)
  else endWhole(res, entry)
}

/** Sets the fields of a stored response over those of the layers above. */
export function setStoredFields(res: ServerResponse, { response }: Entry, status: number, told: ReplayFields): void {
  for (const name of response.removed) res.removeHeader(name)
  for (const field of response.headers) {
    if (status !== 304 || !isLeftOutOf304(field.name.toLowerCase())) setField(res, field)
  }
  res.setHeader('Age', Math.floor(told.age / 1000))
  appendTo(res, 'Cache-Status', told.cacheStatus)
}

function setField(res: ServerResponse, { name, value, append, isDefault }: HeaderField): void {
  if (isDefault && res.hasHeader(name)) return
  if (isDefault) addedByDefault(res, name)
  if (append && res.hasHeader(name)) appendTo(res, name, value)
  else res.setHeader(name, value as string | string[])
}

/** Adds to what a field says already. */
export function appendTo(res: ServerResponse, name: string, value: string | readonly string[]): void {
  const before = res.getHeader(name)
  if (before === undefined) res.setHeader(name, value as string | string[])
  else if (Array.isArray(before) || Array.isArray(value)) res.setHeader(name, [before, value].flat().map(String))
  else res.setHeader(name, `${before}, ${value}`)
}

function endWhole(res: ServerResponse, { response }: Entry): void {
  res.removeHeader('Trailer')
  if (!res.hasHeader('Content-Length')) res.setHeader('Content-Length', response.body.byteLength)
  // A server may be told to refuse a body where there is none to send.
  if (res.req.method === 'HEAD') res.end()
  else {
    // Where `end` has to make the head too, Node writes a file name beyond ASCII in another encoding.
    res.writeHead(res.statusCode)
    if (isWrapped(res)) res.end(Buffer.from(response.body))
    else if (response.body.byteLength > LARGEST_TEXT) res.end(response.body)
    else res.end(asText(response.body), 'latin1')
  }
}

function endWithTrailers(res: ServerResponse, { response }: Entry): void {
  res.removeHeader('Content-Length')
  res.write(Buffer.from(response.body))
  res.addTrailers(response.trailers.map(({ name, value }) => [name, value] as [string, string]))
  res.end()
}

// A layer above that wraps the response sees the bytes and might change them: it gets its own.
function isWrapped(res: ServerResponse): boolean {
  return Object.hasOwn(res, 'end') || Object.hasOwn(res, 'write')
}

// Node sends text together with the head, in one write; bytes take a second one, which for small bodies costs more.
const LARGEST_TEXT = 4096

function asText(body: Uint8Array): string {
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1')
}

/** Cache-Status with this cache's member behind those of the caches before it, the one nearest to the client last (RFC 9211, 2). */
export function afterOthers(fields: Fields, cacheStatus: string): string {
  const others = combined(fields, 'cache-status')
  return others === undefined ? cacheStatus : `${others}, ${cacheStatus}`
}
