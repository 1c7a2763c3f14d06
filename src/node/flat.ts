import type { IncomingMessage, ServerResponse } from 'node:http'
import type { StoredResponse } from '../core/entry.ts'
import { asText, LARGEST_TEXT, type ReplayFields } from './replay.ts'

/** A stored response as it goes to a response on which nothing is set: its fields in one row, names and values in turn. */
export interface FlatReply {
  readonly fields: readonly (string | readonly string[])[]
  readonly body: string | Uint8Array
  /** The row as it was sent last, with what is said anew each second. */
  row: string[]
  age: number
  cacheStatus: string
}

// Those are said anew with each answer, or go with what a row cannot say.
const OTHER = new Set(['age', 'cache-status', 'trailer', 'transfer-encoding'])

/** The response as a row; undefined where answering with it takes more. */
export function flatReply(response: StoredResponse): FlatReply | undefined {
  const { status, headers, trailers, body } = response
  if (status === 204 || status === 304 || trailers.length > 0) return undefined
  const names = new Set(headers.map(({ name }) => name.toLowerCase()))
  const isPlain = names.size === headers.length && ![...names].some((name) => OTHER.has(name))
  if (!isPlain || !isLengthRight(response)) return undefined
  const length = names.has('content-length') ? [] : ['Content-Length', String(body.byteLength)]
  const fields = [...headers.flatMap(({ name, value }) => [name, value]), ...length]
  return { fields, body: body.byteLength > LARGEST_TEXT ? body : asText(body), row: [], age: -1, cacheStatus: '' }
}

function isLengthRight({ headers, body }: StoredResponse): boolean {
  const field = headers.find(({ name }) => name.toLowerCase() === 'content-length')
  return field === undefined || Number(field.value) === body.byteLength
}

/** Whether nothing is set on the response, and nobody waits for what is written to it. */
export function isUntouched(res: ServerResponse): boolean {
  const isWrapped =
    Object.hasOwn(res, 'end') ||
    Object.hasOwn(res, 'write') ||
    Object.hasOwn(res, 'writeHead') ||
    Object.hasOwn(res, 'setHeader')
  return !isWrapped && res.getHeaderNames().length === 0
}

/** Answers with a stored response in one write. */
export function sendFlat(
  req: IncomingMessage,
  res: ServerResponse,
  { status, statusMessage }: StoredResponse,
  flat: FlatReply,
  { age, cacheStatus }: ReplayFields,
): void {
  // Whoever has changed `writeHead` for all responses may change what it is given.
  const row = rowOf(flat, Math.floor(age / 1000), cacheStatus).slice()
  if (statusMessage === '') res.writeHead(status, row)
  else res.writeHead(status, statusMessage, row)
  if (req.method === 'HEAD') res.end()
  else if (typeof flat.body === 'string') res.end(flat.body, 'latin1')
  else res.end(flat.body)
}

function rowOf(flat: FlatReply, age: number, cacheStatus: string): string[] {
  if (flat.age !== age || flat.cacheStatus !== cacheStatus) {
    flat.row = [...flat.fields, 'Age', String(age), 'Cache-Status', cacheStatus] as string[]
    flat.age = age
    flat.cacheStatus = cacheStatus
  }
  return flat.row
}
