import { type Directives, directiveSeconds, parseCacheControl, parseSeconds } from './cache-control.ts'
import { parseDate } from './date.ts'
import { combined, type Fields, firstLine } from './fields.ts'
import { targetedDirectives } from './targeted.ts'

/** What a response says of caching, to this cache. */
export interface Sayings {
  readonly control: Directives
  /** A targeted field said it: then it is the only source, over Cache-Control and Expires (RFC 9213, 2.2). */
  readonly isTargeted: boolean
}

/** Reads what a response says, by the first source that counts. `targets` are names of targeted fields in lower case. */
export function sayingsOf(fields: Fields, targets: readonly string[]): Sayings {
  const targeted = targets.length > 0 ? targetedDirectives(fields, targets) : undefined
  if (targeted) return { control: targeted, isTargeted: true }
  return { control: parseCacheControl(combined(fields, 'cache-control')), isTargeted: false }
}

/** Where a lifetime comes from, and how long it is, in milliseconds. */
export interface Lifetime {
  readonly source: 'no-cache' | 's-maxage' | 'max-age' | 'expires'
  readonly milliseconds: number
}

/** The lifetime that the response itself gives a shared cache: the first source that is there decides alone (RFC 9111, 4.2.1). */
export function explicitLifetime(fields: Fields, { control, isTargeted }: Sayings, now: number): Lifetime | undefined {
  if (control.has('no-cache')) return { source: 'no-cache', milliseconds: 0 }
  for (const source of ['s-maxage', 'max-age'] as const) {
    const seconds = directiveSeconds(control, source)
    if (seconds !== undefined) return { source, milliseconds: seconds * 1000 }
  }
  if (isTargeted || fields.expires === undefined) return undefined
  const expires = Array.isArray(fields.expires) && fields.expires.length > 1 ? undefined : firstLine(fields, 'expires')
  const date = parseDate(firstLine(fields, 'date'), now) ?? now
  return { source: 'expires', milliseconds: Math.max(0, (parseDate(expires, now) ?? date) - date) }
}

// The statuses that RFC 9110, 15.1 calls heuristically cacheable.
const HEURISTIC_STATUSES = new Set([200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501])
/** Whether a response of that status may be stored although it gives no lifetime (RFC 9111, 3). */
export function isHeuristicallyCacheable(status: number): boolean {
  return HEURISTIC_STATUSES.has(status)
}

const HEURISTIC_SHARE = 0.1
const LONGEST_HEURISTIC = 24 * 60 * 60 * 1000

/** A tenth of the time for which the response has not changed, a day at the most (RFC 9111, 4.2.2); undefined where that is not known. */
export function heuristicLifetime(
  status: number,
  fields: Fields,
  { control }: Sayings,
  now: number,
): number | undefined {
  if (!HEURISTIC_STATUSES.has(status) && !control.has('public')) return undefined
  const modified = parseDate(firstLine(fields, 'last-modified'), now)
  if (modified === undefined) return undefined
  const date = parseDate(firstLine(fields, 'date'), now) ?? now
  return Math.min(LONGEST_HEURISTIC, Math.max(0, date - modified) * HEURISTIC_SHARE)
}

/**
 * How old the response is already, in milliseconds: what its Age says, of which the first member of the first line counts
 * (RFC 9111, 5.1), or what its Date says, whichever is more (4.2.3).
 */
export function initialAge(fields: Fields, now: number): number {
  const stated = (parseSeconds(firstLine(fields, 'age')?.split(',', 1)[0]?.trim()) ?? 0) * 1000
  const date = parseDate(firstLine(fields, 'date'), now)
  // A Date has whole seconds, so it is compared with those of the clock.
  const apparent = date === undefined ? 0 : Math.floor(now / 1000) * 1000 - date
  return Math.max(0, stated, apparent)
}
