import { LRUCache } from 'lru-cache'
import { CODINGS, tagInCoding, varyOnCoding } from '../http/compression.ts'
import { combined, type Fields } from '../http/fields.ts'
import { type CodingWeights, codingWeights, weightOf } from '../http/negotiation.ts'
import { isDatedRange } from '../http/ranges.ts'
import { isNotModified } from '../http/validators.ts'
import type { Question } from './answer.ts'
import { type Encoding, fieldValue, type HeaderField, type StoredResponse } from './entry.ts'

// A response as it was stored is `identity`; else one of its encodings.
type Choice = Encoding | 'identity'

/**
 * The stored response as this request is to have it: in the coding that it wants most, and of those the smallest; in one that
 * it has already, where that is so; without any for a part, if the client takes that (RFC 9110, 12.5.3, 13.1.2 and 14).
 */
export function represented(response: StoredResponse, question: Question): StoredResponse {
  if (!response.encodings) return response
  return inChoice(response, choose(response, response.encodings, question))
}

function choose(response: StoredResponse, encodings: readonly Encoding[], { headers, method }: Question): Choice {
  const weights = encodings.length === 0 ? undefined : weightsIn(headers)
  if (!weights) return 'identity'
  const isPart = headers.range !== undefined && method === 'GET' && !isDatedRange(headers)
  if (isPart && weightOf('identity', weights) > 0) return 'identity'
  if (headers['if-none-match'] === undefined) return best(encodings, weights)
  return ranked(encodings, weights).find((choice) => isHeld(response, choice, headers)) ?? best(encodings, weights)
}

/**
 * The entity-tag of the encoding that the client has of a response with this tag, if it still accepts it; undefined where it
 * has none of ours.
 */
export function heldTag(etag: string | undefined, client: Fields, { headers }: Question): string | undefined {
  const weights = etag === undefined ? undefined : weightsIn(headers)
  if (etag === undefined || !weights || client['if-none-match'] === undefined) return undefined
  const tags = CODINGS.filter((coding) => weightOf(coding, weights) > 0).map((coding) => tagInCoding(etag, coding))
  return tags.find(
    (tag) => tag !== etag && isNotModified({ 'if-none-match': client['if-none-match'] }, { etag: tag }, 0),
  )
}

// Those that the client accepts, the best first. Equal weights leave the order: encodings from small to large, and no coding last.
function ranked(encodings: readonly Encoding[], weights: CodingWeights): readonly Choice[] {
  const all: readonly Choice[] = [...encodings, 'identity']
  const accepted = all.filter((choice) => weightIn(weights, choice) > 0)
  return accepted.sort((one, other) => weightIn(weights, other) - weightIn(weights, one))
}

// Where nothing that there is may be sent, what the handler would send.
function best(encodings: readonly Encoding[], weights: CodingWeights): Choice {
  let chosen: Choice = 'identity'
  let highest = 0
  for (const encoding of encodings) {
    const weight = weightOf(encoding.coding, weights)
    if (weight > highest) [chosen, highest] = [encoding, weight]
  }
  return weightOf('identity', weights) > highest ? 'identity' : chosen
}

function weightIn(weights: CodingWeights, choice: Choice): number {
  return weightOf(choice === 'identity' ? choice : choice.coding, weights)
}

function isHeld({ headers }: StoredResponse, choice: Choice, request: Fields): boolean {
  const [etag] = [fieldValue(headers, 'etag') ?? []].flat()
  if (etag === undefined) return false
  const tag = choice === 'identity' ? etag : tagInCoding(etag, choice.coding)
  return isNotModified({ 'if-none-match': request['if-none-match'] }, { etag: tag }, 0)
}

// Browsers spell what they accept in a few ways: those are read once.
const read = new LRUCache<string, { readonly weights: CodingWeights | undefined }>({ max: 100 })
const LONGEST_READ = 200

function weightsIn(headers: Fields): CodingWeights | undefined {
  const value = combined(headers, 'accept-encoding')
  if (value === undefined || value.length > LONGEST_READ) return codingWeights(value)
  const known = read.get(value)
  if (known) return known.weights
  const weights = codingWeights(value)
  read.set(value, { weights })
  return weights
}

// What a hit needs is made once for each response and coding, and is gone with the response.
const made = new WeakMap<StoredResponse, Map<string, StoredResponse>>()

function inChoice(response: StoredResponse, choice: Choice): StoredResponse {
  const known = made.get(response) ?? new Map<string, StoredResponse>()
  made.set(response, known)
  const coding = choice === 'identity' ? choice : choice.coding
  const before = known.get(coding)
  if (before) return before
  const representation = choice === 'identity' ? withVary(response) : encoded(response, choice)
  known.set(coding, representation)
  return representation
}

function withVary(response: StoredResponse): StoredResponse {
  const others = response.headers.filter(({ name }) => name.toLowerCase() !== 'vary')
  const stored = response.headers.find(({ name }) => name.toLowerCase() === 'vary')
  const value = varyOnCoding(stored && [stored.value].flat().join(', '))
  return { ...response, headers: [...others, stored ? { ...stored, value } : { name: 'Vary', value, append: true }] }
}

function encoded(response: StoredResponse, { coding, body }: Encoding): StoredResponse {
  const { headers, ...rest } = withVary(response)
  const others = headers.filter(({ name }) => name.toLowerCase() !== 'content-length')
  const own: HeaderField[] = [
    { name: 'Content-Encoding', value: coding },
    { name: 'Content-Length', value: String(body.byteLength) },
  ]
  return { ...rest, headers: [...others.map((field) => tagged(field, coding)), ...own], body }
}

function tagged(field: HeaderField, coding: Encoding['coding']): HeaderField {
  if (field.name.toLowerCase() !== 'etag') return field
  return { ...field, value: tagInCoding([field.value].flat()[0] ?? '', coding) }
}
