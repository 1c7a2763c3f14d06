import { type Directives, directiveSeconds, parseCacheControl, parseSeconds } from './cache-control.ts'
import { combined, type Fields } from './fields.ts'
import type { Terms } from './policy.ts'

/** What a client asks of caches (RFC 9111, 5.2.1). Nothing asked for is an empty map. */
export type Wishes = Directives

const NO_WISHES: Wishes = new Map()

/** Reads what the client asks for; where it says nothing in Cache-Control, Pragma: no-cache counts (RFC 9111, 5.4). */
export function wishesOf(request: Fields): Wishes {
  if (request['cache-control'] !== undefined) return parseCacheControl(combined(request, 'cache-control'))
  if (request.pragma === undefined) return NO_WISHES
  return parseCacheControl(combined(request, 'pragma')).has('no-cache') ? new Map([['no-cache', true]]) : NO_WISHES
}

/** Whether the client forbids storing the response (RFC 9111, 5.2.1.5). */
export function forbidsStoring(request: Fields): boolean {
  if (request['cache-control'] === undefined) return false
  return parseCacheControl(combined(request, 'cache-control')).has('no-store')
}

/** What a stored response means for a request now; times in milliseconds. */
export type Reuse =
  /** It answers the request. */
  | { readonly kind: 'fresh' }
  /** It answers although it is stale, and a new one is made meanwhile if the reason is `stale-while-revalidate`. */
  | { readonly kind: 'stale'; readonly reason: 'stale-while-revalidate' | 'max-stale' }
  /** It answers only if the handler says that it is still good; or, where it may, if the handler fails. */
  | { readonly kind: 'validate'; readonly forward: 'stale' | 'request'; readonly mayReplaceError: boolean }

const FRESH: Reuse = { kind: 'fresh' }

/**
 * Judges a stored response by RFC 9111, 4.2.
 * @param freshFor how much longer it is fresh; zero or less is stale
 * @param age how old it is
 * @param canRefresh whether a new one can be made in the background
 */
export function judgeReuse(
  terms: Terms,
  { freshFor, age }: { readonly freshFor: number; readonly age: number },
  wishes: Wishes | undefined,
  canRefresh: boolean,
): Reuse {
  if (freshFor > 0 && (wishes === undefined || wishes.size === 0)) return FRESH
  const isRefused = wishes !== undefined && refuses(wishes, freshFor, age)
  if (freshFor > 0 && !isRefused) return FRESH
  const forward = freshFor > 0 ? 'request' : 'stale'
  const mayReplaceError = !terms.mustRevalidate && terms.staleIfError > 0 && -freshFor <= terms.staleIfError
  if (isRefused || freshFor > 0) return { kind: 'validate', forward, mayReplaceError }
  if (canRefresh && -freshFor < terms.staleWhileRevalidate) return { kind: 'stale', reason: 'stale-while-revalidate' }
  if (!terms.mustRevalidate && wishes && bearsStale(wishes, -freshFor)) return { kind: 'stale', reason: 'max-stale' }
  return { kind: 'validate', forward, mayReplaceError }
}

// What a fresh response may be too old for (RFC 9111, 5.2.1.1, 5.2.1.3, 5.2.1.4).
function refuses(wishes: Wishes, freshFor: number, age: number): boolean {
  if (wishes.has('no-cache')) return true
  const maxAge = directiveSeconds(wishes, 'max-age')
  if (maxAge !== undefined && age > maxAge * 1000) return true
  const minFresh = directiveSeconds(wishes, 'min-fresh')
  return minFresh !== undefined && freshFor < minFresh * 1000
}

// RFC 9111, 5.2.1.2: without a value, any.
function bearsStale(wishes: Wishes, staleness: number): boolean {
  const value = wishes.get('max-stale')
  if (value === undefined) return false
  return value === true || staleness <= (parseSeconds(value) ?? 0) * 1000
}
