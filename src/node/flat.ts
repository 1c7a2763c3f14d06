import type { IncomingMessage, ServerResponse } from 'node:http'
import type { StoredResponse } from '../core/entry.ts'
import { asText, LARGEST_TEXT, type ReplayFields } from './replay.ts'

/**
 * A stored response as it goes to a response on which nothing is set: its fields in one row, names and values in turn. It ends with those that are said
 * anew with each answer, as yet without values.
 */
export interface FlatReply {
  readonly row: readonly (string | readonly string[])[]
  readonly body: string | Uint8Array
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
  const row = [...headers.flatMap(({ name, value }) => [name, value]), ...length, 'Age', '', 'Cache-Status', '']
  return { row, body: body.byteLength > LARGEST_TEXT ? body : asText(body) }
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
  const row = flat.row.slice() as string[]
  row[row.length - 3] = String(Math.floor(age / 1000))
  row[row.length - 1] = cacheStatus
  if (statusMessage === '') res.writeHead(status, row)
  else res.writeHead(status, statusMessage, row)
  if (req.method === 'HEAD') res.end()
  else if (typeof flat.body === 'string') res.end(flat.body, 'latin1')
  else res.end(flat.body)
}
