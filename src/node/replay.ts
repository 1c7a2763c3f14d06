import type { IncomingMessage, ServerResponse } from 'node:http'
import { type Answer, answerTo, fieldsOfAnswer } from '../core/answer.ts'
import type { Entry, HeaderField } from '../core/entry.ts'
import type { Tagging } from '../flow/run.ts'
import { combined, type Fields } from '../http/fields.ts'
import { parseAcceptEncoding } from '../http/negotiation.ts'
import { withNames } from '../http/vary.ts'
import { addedByDefault } from './layer.ts'

/** What is told to the client beside the stored response. */
export interface ReplayFields {
  /** Epoch milliseconds. */
  readonly now: number
  /** In milliseconds. */
  readonly age: number
  readonly cacheStatus: string
  /** How the tags are told, where they are. */
  readonly tagging: Tagging | undefined
}

/** Answers with a stored response, through the layers above; gives the bytes of its body that are sent. */
export function replay(req: IncomingMessage, res: ServerResponse, entry: Entry, told: ReplayFields): number {
  const { response } = entry
  const answer = answerTo(req, response, told.now, !mayBeEncoded(req, res))
  res.statusCode = answer.status
  // HTTP/2 has no status message, and says so to whoever sets one.
  if (answer.status === response.status && response.statusMessage !== '') res.statusMessage = response.statusMessage
  setStoredFields(res, entry, answer, told)
  if (answer.status === 304 || answer.status === 204) res.end()
  else if (
    answer.body === response.body &&
    response.trailers.length > 0 &&
    req.httpVersion !== '1.0' &&
    req.method !== 'HEAD'
  )
    endWithTrailers(res, entry)
  else endWhole(res, answer.body)
  return bytesSent(req, answer)
}

/** The bytes of a body with which a stored response answers. */
export function bytesSent({ method }: IncomingMessage, { status, body }: Answer): number {
  return method === 'HEAD' || status === 304 || status === 204 ? 0 : body.byteLength
}

/**
 * Whether a layer above could encode what is sent: a part of a body must not look as if it were encoded as a whole
 * (RFC 9110, 14.4). To answer with the whole is always right (14.2).
 */
export function mayBeEncoded(req: IncomingMessage, res: ServerResponse): boolean {
  return req.headers.range !== undefined && isWrapped(res) && acceptsCoding(req)
}

/** Whether the client takes a body that is encoded in any way. */
export function acceptsCoding({ headers }: IncomingMessage): boolean {
  if (headers['accept-encoding'] === undefined) return false
  const { codings } = parseAcceptEncoding(combined(headers, 'accept-encoding'))
  return codings === undefined || codings.size > 0
}

/** Sets the fields of a stored response over those of the layers above. */
export function setStoredFields(res: ServerResponse, { response }: Entry, answer: Answer, told: ReplayFields): void {
  for (const name of response.removed) res.removeHeader(name)
  for (const field of fieldsOfAnswer(answer, response)) setField(res, field)
  res.setHeader('Age', Math.floor(told.age / 1000))
  for (const name of told.tagging?.remove ?? []) res.removeHeader(name)
  for (const [name, value] of told.tagging?.set ?? []) res.setHeader(name, value)
  appendTo(res, 'Cache-Status', told.cacheStatus)
}

/** Tells the client that nothing is stored, and that it wanted nothing else (RFC 9111, 5.2.1.7). */
export function refuse(res: ServerResponse, cacheStatus: string): void {
  res.statusCode = 504
  appendTo(res, 'Cache-Status', cacheStatus)
  res.end()
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
  if (name.toLowerCase() === 'vary' && before !== undefined) res.setHeader(name, withNames(lines(before), lines(value)))
  else if (before === undefined) res.setHeader(name, value as string | string[])
  // Cookies cannot share a line (RFC 9110, 5.3).
  else if (Array.isArray(before) || Array.isArray(value) || name.toLowerCase() === 'set-cookie')
    res.setHeader(name, [before, value].flat().map(String))
  else res.setHeader(name, `${before}, ${value}`)
}

function lines(value: number | string | readonly string[]): string {
  return [value].flat().join(', ')
}

function endWhole(res: ServerResponse, body: Uint8Array): void {
  res.removeHeader('Trailer')
  if (!res.hasHeader('Content-Length')) res.setHeader('Content-Length', body.byteLength)
  // A server may be told to refuse a body where there is none to send.
  if (res.req.method === 'HEAD') res.end()
  else {
    // Where `end` has to make the head too, Node writes a file name beyond ASCII in another encoding.
    res.writeHead(res.statusCode)
    if (isWrapped(res)) res.end(Buffer.from(body))
    else if (body.byteLength > LARGEST_TEXT) res.end(body)
    else res.end(asText(body), 'latin1')
  }
}

function endWithTrailers(res: ServerResponse, { response }: Entry): void {
  res.removeHeader('Content-Length')
  res.write(Buffer.from(response.body))
  res.addTrailers(response.trailers.map(({ name, value }) => [name, value] as [string, string]))
  res.end()
}

/** Whether a layer around the response sees its bytes, and might change them: then it gets its own. */
export function isWrapped(res: ServerResponse): boolean {
  return Object.hasOwn(res, 'end') || Object.hasOwn(res, 'write')
}

// Node sends text together with the head, in one write; bytes take a second one, which for small bodies costs more.
export const LARGEST_TEXT = 4096

/** A body as text of one byte for each character. */
export function asText(body: Uint8Array): string {
  return Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('latin1')
}

/** Cache-Status with this cache's member behind those of the caches before it, the one nearest to the client last (RFC 9211, 2). */
export function afterOthers(fields: Fields, cacheStatus: string): string {
  const others = combined(fields, 'cache-status')
  return others === undefined ? cacheStatus : `${others}, ${cacheStatus}`
}
