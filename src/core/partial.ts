import { type Fields, firstLine } from '../http/fields.ts'
import { type ByteRange, judgeRange, parseContentRange } from '../http/ranges.ts'
import { fieldsOf, fieldValue, type StoredResponse } from './entry.ts'

/** The part of a representation that a stored 206 is. */
export interface StoredPart extends ByteRange {
  /** Of the whole. */
  readonly size: number
}

/** Which part it is; undefined where that is not said, or where the body is not as long as it says (RFC 9110, 14.4). */
export function storedPart({ status, headers, body }: StoredResponse): StoredPart | undefined {
  if (status !== 206) return undefined
  const range = parseContentRange(textOf(fieldValue(headers, 'content-range')))
  if (range?.size === undefined || range.end - range.start + 1 !== body.byteLength) return undefined
  return { start: range.start, end: range.end, size: range.size }
}

/** The one range that the request asks for, where it lies within the stored part (RFC 9111, 3.3). */
export function rangeWithin(response: StoredResponse, request: Fields, now: number): ByteRange | undefined {
  const part = storedPart(response)
  if (!part || request.range === undefined) return undefined
  const finding = judgeRange(request, fieldsOf(response.headers), part.size, now)
  const [range, ...more] = finding.kind === 'parts' ? finding.parts : []
  return range && more.length === 0 && range.start >= part.start && range.end <= part.end ? range : undefined
}

/** What a request asks for that completes a stored beginning; undefined for a part from the middle. */
export function missingRange(response: StoredResponse): string | undefined {
  const part = storedPart(response)
  return part && part.start === 0 && part.end < part.size - 1 ? `bytes=${part.end + 1}-` : undefined
}

/** The whole of a stored beginning and the rest; undefined where they are not of one strong validator (RFC 9110, 15.3.7.3). */
export function completedResponse(beginning: StoredResponse, rest: StoredResponse): StoredResponse | undefined {
  const [first, last] = [storedPart(beginning), storedPart(rest)]
  if (!first || !last || first.size !== last.size || !haveOneStrongTag(beginning, rest)) return undefined
  if (first.start !== 0 || last.start !== first.end + 1 || last.end !== last.size - 1) return undefined
  const newer = new Set(rest.headers.map(({ name }) => name.toLowerCase()))
  const headers = [...beginning.headers.filter(({ name }) => !newer.has(name.toLowerCase())), ...rest.headers]
  return {
    ...rest,
    status: 200,
    statusMessage: '',
    headers: headers.filter(({ name }) => !/^content-(range|length)$/i.test(name)),
    body: Buffer.concat([beginning.body, rest.body]),
  }
}

function haveOneStrongTag(one: StoredResponse, other: StoredResponse): boolean {
  const tag = textOf(fieldValue(one.headers, 'etag'))
  return tag?.startsWith('"') === true && tag === textOf(fieldValue(other.headers, 'etag'))
}

function textOf(value: string | readonly string[] | undefined): string | undefined {
  return firstLine({ field: value }, 'field')
}
