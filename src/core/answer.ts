import type { Fields } from '../http/fields.ts'
import { boundaryFor, contentRange, isDatedRange, judgeRange, multipartBody, unsatisfiedRange } from '../http/ranges.ts'
import { isConditional, isLeftOutOf304, isNotModified } from '../http/validators.ts'
import { fieldsOf, fieldValue, type HeaderField, type StoredResponse } from './entry.ts'
import { rangeWithin, storedPart } from './partial.ts'

/** A request, as far as it decides how a stored response answers it. */
export interface Question {
  readonly method?: string | undefined
  readonly headers: Fields
}

/** How a stored response answers a request. */
export interface Answer {
  readonly status: number
  readonly body: Uint8Array
  /** Whether the fields that describe the stored body are left out. */
  readonly isBodiless: boolean
  /** Fields of this answer alone, in the place of the stored ones. */
  readonly own: readonly HeaderField[]
}

const NOTHING = new Uint8Array(0)
const NONE: readonly HeaderField[] = []

/**
 * How a stored response answers this request: as a whole, with 304 where the client's copy is still good, or with parts.
 * @param mayDivide whether parts may be sent; not where a layer above could encode them as if they were the whole
 */
export function answerTo(question: Question, response: StoredResponse, now: number, mayDivide = true): Answer {
  const { headers, method } = question
  if (response.status === 200 || response.status === 206) {
    if (isConditional(headers) && isNotModified(headers, validatorsOf(response), now)) return without(304)
  }
  if (response.status === 200) {
    const isDivided = mayDivide && headers.range !== undefined && method === 'GET' && isDivisible(response, headers)
    if (isDivided) return divided(headers, response, now)
  } else if (response.status === 206) {
    return within(headers, response, now)
  }
  return { status: response.status, body: response.body, isBodiless: false, own: NONE }
}

// What is there in several codings is divided in none of them; and a date does not say of which one a client has a part.
function isDivisible({ encodings, headers }: StoredResponse, request: Fields): boolean {
  return !encodings || (fieldValue(headers, 'content-encoding') === undefined && !isDatedRange(request))
}

function validatorsOf({ headers }: StoredResponse): Fields {
  return { etag: fieldValue(headers, 'etag'), 'last-modified': fieldValue(headers, 'last-modified') }
}

function without(status: number, own: readonly HeaderField[] = NONE): Answer {
  return { status, body: NOTHING, isBodiless: true, own }
}

// RFC 9110, 14.2 and 15.3.7.
function divided(request: Fields, response: StoredResponse, now: number): Answer {
  const { body } = response
  const size = body.byteLength
  const fields = fieldsOf(response.headers)
  const finding = judgeRange(request, fields, size, now)
  if (finding.kind === 'unsatisfiable') return without(416, [{ name: 'Content-Range', value: unsatisfiedRange(size) }])
  if (finding.kind === 'whole') return { status: 200, body, isBodiless: false, own: NONE }
  const [part, ...more] = finding.parts
  if (part && more.length === 0) return partial(body.subarray(part.start, part.end + 1), contentRange(part, size))
  const boundary = boundaryFor(finding.parts, body)
  const type = fields['content-type'] === undefined ? undefined : String(fields['content-type'])
  const parts = multipartBody(finding.parts, body, type, boundary)
  const own = [
    { name: 'Content-Type', value: `multipart/byteranges; boundary=${boundary}` },
    { name: 'Content-Length', value: String(parts.byteLength) },
  ]
  return { status: 206, body: parts, isBodiless: false, own }
}

// A stored part answers for what lies within it; who asks for something else is not answered with it.
function within(request: Fields, response: StoredResponse, now: number): Answer {
  const part = storedPart(response)
  const range = rangeWithin(response, request, now)
  if (!part || !range) return { status: 206, body: response.body, isBodiless: false, own: NONE }
  const body = response.body.subarray(range.start - part.start, range.end - part.start + 1)
  return partial(body, contentRange(range, part.size))
}

function partial(body: Uint8Array, range: string): Answer {
  const own = [
    { name: 'Content-Range', value: range },
    { name: 'Content-Length', value: String(body.byteLength) },
  ]
  return { status: 206, body, isBodiless: false, own }
}

/** The stored fields that this answer has, with its own in the place of those of the same name. */
export function fieldsOfAnswer({ isBodiless, own }: Answer, { headers }: StoredResponse): readonly HeaderField[] {
  if (!isBodiless && own.length === 0) return headers
  const kept = headers.filter(({ name }) => {
    const lower = name.toLowerCase()
    return !(isBodiless && isLeftOutOf304(lower)) && !own.some((field) => field.name.toLowerCase() === lower)
  })
  return [...kept, ...own]
}
