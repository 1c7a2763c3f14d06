import { type Directives, directiveSeconds, parseCacheControl } from './cache-control.ts'
import { mayBeCompressed } from './compression.ts'
import { combined, type Fields, firstLine, listMembers } from './fields.ts'
import {
  explicitLifetime,
  heuristicLifetime,
  initialAge,
  isHeuristicallyCacheable,
  type Lifetime,
  sayingsOf,
} from './freshness.ts'
import { parseContentRange } from './ranges.ts'
import { mergeNames, varyNames } from './vary.ts'

/** A response as far as it is known when its head is complete. */
export interface ResponseHead {
  readonly status: number
  /** What the layers below the cache have set. */
  readonly fields: Fields
  /** The Cache-Control that a layer above has set, which counts where it forbids storing. */
  readonly outerCacheControl?: string
  /** The Vary that a layer above has set, since what lies below may depend on what it has negotiated. */
  readonly outerVary?: string
}

/** What the author of the route says of its responses; times in milliseconds. */
export interface StoragePolicy {
  /** The lifetime that the handler gave this response. */
  readonly ownTtl: number | undefined
  /** The lifetime that the route gives its responses. */
  readonly routeTtl: number | undefined
  /** The lifetime of a response for which nothing else gives one. */
  readonly defaultTtl: number
  /** The statuses that are stored without a lifetime of their own. */
  readonly statuses: ReadonlySet<number>
  /** Names of targeted fields (RFC 9213) that speak to this cache, in lower case. */
  readonly targetedFields: readonly string[]
  /** Whether a lifetime is estimated where nothing is said. */
  readonly heuristic: boolean
  /** What the route says of stale responses, whatever the response says. */
  readonly staleWhileRevalidate: number | undefined
  readonly staleIfError: number | undefined
  /** How long a response with a validator is kept past its lifetime, to be validated. */
  readonly keepStale: number
  readonly storeSetCookie: boolean
  readonly storePartial: boolean
  /** What is made of compressible bodies; undefined for nothing. */
  readonly compress: object | undefined
  /** The request had Authorization, and nobody but the response says who may share it (RFC 9111, 3.5). */
  readonly isAuthorized: boolean
}

/** What may be done with a stored response, decided when it is stored; times in milliseconds. */
export interface Terms {
  /** How long it is fresh. */
  readonly lifetime: number
  /** How old it was already (RFC 9111, 4.2.3). */
  readonly initialAge: number
  /** How long after that it may be served while a new one is made (RFC 5861, 3). */
  readonly staleWhileRevalidate: number
  /** How long after that it may take the place of an error (RFC 5861, 4). */
  readonly staleIfError: number
  /** Never to be served stale (RFC 9111, 4.2.4). */
  readonly mustRevalidate: boolean
  /** May answer requests with Authorization (RFC 9111, 3.5). */
  readonly isShared: boolean
}

/** Why a response is not stored. */
export type Unstorable =
  | 'status'
  | 'partial'
  | 'not-modified'
  | 'no-store'
  | 'private'
  | 'authorization'
  | 'set-cookie'
  | 'vary'
  | 'connection'
  | 'endless'
  | 'no-lifetime'

/** Whether a response is stored: on which terms, how long it is kept, and on which request fields it depends; or why not. */
export type Storability =
  | {
      readonly storable: true
      readonly terms: Terms
      /** Milliseconds for which it is of any use, fresh or stale. */
      readonly keep: number
      readonly vary: readonly string[]
      /** Whether it is sent in content codings as well, which its Vary has to say. */
      readonly isNegotiated: boolean
    }
  | { readonly storable: false; readonly reason: Unstorable }

/** Judges a response by RFC 9111, 3 and the route's policy. */
export function judgeStorage(head: ResponseHead, policy: StoragePolicy, now: number): Storability {
  const { status, fields } = head
  const sayings = sayingsOf(fields, policy.targetedFields)
  const reason = forbidden(head, sayings.control, policy)
  if (reason) return { storable: false, reason }
  const isNegotiated = policy.compress !== undefined && mayBeCompressed(status, fields, head.outerCacheControl)
  const vary = allVaryNames(head, isNegotiated)
  if (vary === '*') return { storable: false, reason: 'vary' }
  const explicit = explicitLifetime(fields, sayings, now)
  const heuristic = policy.heuristic && !explicit ? heuristicLifetime(status, fields, sayings, now) : undefined
  const isListed = policy.statuses.has(status === 206 ? 200 : status)
  const isAllowed = isListed || policy.ownTtl || heuristic !== undefined || mayBeStored(head, sayings.control, explicit)
  if (!isAllowed) return { storable: false, reason: 'status' }
  // The route's lifetime is for its usual answers: an error that gives its own lives no longer than it says.
  const given = policy.ownTtl ?? (isListed ? policy.routeTtl : undefined)
  const age = initialAge(fields, now)
  const own = given ?? explicit?.milliseconds ?? heuristic
  const lifetime = given ?? (own ?? policy.defaultTtl) - age
  // No lifetime at all is a wish not to store; one that the response gives and that is over leaves it to be validated.
  if (given === 0 || (own === undefined && policy.defaultTtl === 0)) return { storable: false, reason: 'no-lifetime' }
  const terms = termsOf(sayings.control, given === undefined ? explicit : undefined, policy, {
    lifetime,
    initialAge: age,
  })
  const keep = usefulFor(fields, terms, policy)
  return keep > 0 ? { storable: true, terms, keep, vary, isNegotiated } : { storable: false, reason: 'no-lifetime' }
}

function termsOf(
  control: Directives,
  deciding: Lifetime | undefined,
  policy: StoragePolicy,
  { lifetime, initialAge }: Pick<Terms, 'lifetime' | 'initialAge'>,
): Terms {
  const mustRevalidate =
    control.has('must-revalidate') ||
    control.has('proxy-revalidate') ||
    deciding?.source === 'no-cache' ||
    // RFC 9111, 5.2.2.10: s-maxage means proxy-revalidate too; but not where the route's own lifetime goes before it.
    deciding?.source === 's-maxage'
  const stale = (given: number | undefined, directive: string) =>
    mustRevalidate ? 0 : (given ?? (directiveSeconds(control, directive) ?? 0) * 1000)
  return {
    lifetime,
    initialAge,
    staleWhileRevalidate: stale(policy.staleWhileRevalidate, 'stale-while-revalidate'),
    staleIfError: stale(policy.staleIfError, 'stale-if-error'),
    mustRevalidate,
    isShared: isExplicitlyShared(control),
  }
}

// What the response itself says that lets a status be stored that is not listed (RFC 9111, 3); no-cache alone does so for the usual ones.
function mayBeStored({ status, fields }: ResponseHead, control: Directives, explicit: Lifetime | undefined): boolean {
  if (explicit?.source !== 'no-cache') return explicit !== undefined
  if (isHeuristicallyCacheable(status) || fields.expires !== undefined) return true
  return ['public', 'max-age', 's-maxage'].some((name) => control.has(name))
}

// How long a response is of use: fresh, served stale, or to be validated with what the handler gave for that.
function usefulFor(fields: Fields, terms: Terms, { keepStale }: StoragePolicy): number {
  const { lifetime, staleWhileRevalidate, staleIfError } = terms
  const hasValidator = fields.etag !== undefined || fields['last-modified'] !== undefined
  const served = lifetime + Math.max(staleWhileRevalidate, staleIfError)
  return hasValidator ? Math.max(served, Math.max(0, lifetime) + keepStale) : served
}

// RFC 9111, 3.5.
function isExplicitlyShared(control: Directives): boolean {
  return control.has('public') || control.has('must-revalidate') || control.has('s-maxage')
}

// Layers that answer CORS say Vary: Origin for a field that they set themselves, anew for each visitor; those that compress,
// Accept-Encoding for what they do to a response without a coding.
function allVaryNames({ fields, outerVary }: ResponseHead, isNegotiated: boolean): readonly string[] | '*' {
  const own = varyNames(combined(fields, 'vary'))
  const outer = varyNames(outerVary)
  if (own === '*' || outer === '*') return '*'
  return mergeNames(
    own,
    outer.filter((name) => name !== 'origin' && !(isNegotiated && name === 'accept-encoding')),
  )
}

// Bodies that are made to go on while the client listens.
const ENDLESS = /^(text\/event-stream|multipart\/x-mixed-replace)/i

function forbidden(
  { status, fields, outerCacheControl }: ResponseHead,
  control: Directives,
  { storeSetCookie, storePartial, isAuthorized }: StoragePolicy,
): Unstorable | undefined {
  const outer = parseCacheControl(outerCacheControl)
  if (status === 206 && !(storePartial && parseContentRange(combined(fields, 'content-range')))) return 'partial'
  if (status === 304) return 'not-modified'
  if (status < 200 || status > 599 || NEVER_STORED.has(status)) return 'status'
  const mustUnderstand = control.has('must-understand')
  if (mustUnderstand && !UNDERSTOOD_STATUSES.has(status)) return 'status'
  if ((control.has('no-store') && !mustUnderstand) || outer.has('no-store')) return 'no-store'
  if (control.has('private') || outer.has('private')) return 'private'
  if (isAuthorized && !isExplicitlyShared(control)) return 'authorization'
  if (!storeSetCookie && fields['set-cookie'] !== undefined) return 'set-cookie'
  if (ENDLESS.test(firstLine(fields, 'content-type') ?? '')) return 'endless'
  // RFC 9110, 7.6.1: fields named by Connection speak of this hop alone; a response that stops being HTTP is none to keep.
  if (listMembers(combined(fields, 'connection')?.toLowerCase()).includes('upgrade')) return 'connection'
  return undefined
}

// RFC 6585, 3 to 6.
const NEVER_STORED = new Set([428, 429, 431, 511])

// RFC 9110, 15: those whose rules for caches are kept here (RFC 9111, 5.2.2.3).
const UNDERSTOOD_STATUSES = new Set([
  200, 201, 202, 203, 204, 205, 206, 300, 301, 302, 303, 307, 308, 400, 401, 402, 403, 404, 405, 406, 407, 408, 409,
  410, 411, 412, 413, 414, 415, 416, 417, 421, 422, 426, 500, 501, 502, 503, 504, 505,
])

/** Fields that speak of one connection, not of the response (RFC 9110, 7.6.1; RFC 9111, 3.1). */
const CONNECTION_FIELDS = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authentication-info',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'transfer-encoding',
  'upgrade',
])

/** Whether a field of this response is kept with it. */
export function storableField(name: string, fields: Fields): boolean {
  if (CONNECTION_FIELDS.has(name)) return false
  return !listMembers(combined(fields, 'connection')?.toLowerCase()).includes(name)
}

/** Whether the response says anything itself about how caches should treat it. */
export function speaksOfCaching(fields: Fields): boolean {
  return fields['cache-control'] !== undefined || fields.expires !== undefined || fields.pragma !== undefined
}

const FAILURES = new Set([500, 502, 503, 504])

/** Whether a handler that answers with this status has failed (RFC 5861, 4). */
export function isFailure(status: number): boolean {
  return FAILURES.has(status)
}
