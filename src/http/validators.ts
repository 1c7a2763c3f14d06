import { parseDate } from './date.ts'
import { combined, type Fields, firstLine } from './fields.ts'

/** The fields by which a client asks whether its own copy is still good (RFC 9110, 13.1). */
export const CONDITIONS = ['if-none-match', 'if-modified-since'] as const

/** Whether the request asks for the response only if its own copy is outdated. */
export function isConditional(request: Fields): boolean {
  return request['if-none-match'] !== undefined || request['if-modified-since'] !== undefined
}

/**
 * Whether the client's copy is still good, so that the answer is 304: If-None-Match compared weakly, and only without
 * it If-Modified-Since (RFC 9110, 13.2.2).
 */
export function isNotModified(request: Fields, response: Fields, now: number): boolean {
  const noneMatch = combined(request, 'if-none-match')
  if (noneMatch !== undefined) return matchesAny(noneMatch, firstLine(response, 'etag'))
  const since = parseDate(firstLine(request, 'if-modified-since'), now)
  const modified = parseDate(firstLine(response, 'last-modified'), now)
  return since !== undefined && modified !== undefined && modified <= since
}

// An entity-tag is opaque text between quotes, commas included (RFC 9110, 8.8.3).
const ENTITY_TAG = /(?:W\/)?"[^"]*"|[^\s,][^,]*/g

function matchesAny(list: string, etag: string | undefined): boolean {
  if (list.trim() === '*') return true
  if (etag === undefined) return false
  const own = withoutWeakness(etag.trim())
  return (list.match(ENTITY_TAG) ?? []).some((candidate) => withoutWeakness(candidate.trim()) === own)
}

/** The opaque part of an entity-tag, by which tags are compared weakly (RFC 9110, 8.8.3.2). */
export function withoutWeakness(etag: string): string {
  return etag.startsWith('W/') ? etag.slice(2) : etag
}

/** The fields of a 200 that its 304 does not repeat: they describe a body that is not sent (RFC 9110, 15.4.5). */
export function isLeftOutOf304(name: string): boolean {
  return (
    name === 'content-length' ||
    name === 'content-type' ||
    name === 'content-encoding' ||
    name === 'content-range' ||
    name === 'transfer-encoding' ||
    name === 'trailer'
  )
}
