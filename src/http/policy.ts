import { type Directives, directiveSeconds, parseCacheControl, parseSeconds } from './cache-control.ts'
import { parseDate } from './date.ts'
import { combined, type Fields, firstLine, listMembers } from './fields.ts'
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
}

/** Why a response is not stored. */
export type Unstorable =
  | 'status'
  | 'partial'
  | 'not-modified'
  | 'no-store'
  | 'private'
  | 'set-cookie'
  | 'vary'
  | 'connection'
  | 'endless'
  | 'expired'

/** Whether a response is stored: for how long, how old it is already, and on which request fields it depends; or why not. */
export type Storability =
  | {
      readonly storable: true
      readonly lifetime: number
      readonly initialAge: number
      readonly vary: readonly string[]
    }
  | { readonly storable: false; readonly reason: Unstorable }

/** Judges a response by RFC 9111, 3 and the route's policy. */
export function judgeStorage(head: ResponseHead, policy: StoragePolicy, now: number): Storability {
  const { status, fields } = head
  const control = parseCacheControl(combined(fields, 'cache-control'))
  const vary = allVaryNames(head)
  const explicit = explicitLifetime(fields, control, now)
  const reason = forbidden(head, control)
  if (reason) return { storable: false, reason }
  if (vary === '*') return { storable: false, reason: 'vary' }
  const isListed = policy.statuses.has(status)
  if (!isListed && !explicit && !policy.ownTtl) return { storable: false, reason: 'status' }
  const initialAge = (parseSeconds(firstAge(fields)) ?? 0) * 1000
  // The route's lifetime is for its usual answers: an error that gives its own lives no longer than it says.
  const given = policy.ownTtl ?? (isListed ? policy.routeTtl : undefined)
  const lifetime = given ?? (explicit ?? policy.defaultTtl) - initialAge
  if (lifetime <= 0) return { storable: false, reason: 'expired' }
  return { storable: true, lifetime, initialAge, vary }
}

// Layers that answer CORS say Vary: Origin for a field that they set themselves, anew for each visitor.
function allVaryNames({ fields, outerVary }: ResponseHead): readonly string[] | '*' {
  const own = varyNames(combined(fields, 'vary'))
  const outer = varyNames(outerVary)
  if (own === '*' || outer === '*') return '*'
  return mergeNames(
    own,
    outer.filter((name) => name !== 'origin'),
  )
}

// Bodies that are made to go on while the client listens.
const ENDLESS = /^(text\/event-stream|multipart\/x-mixed-replace)/i

function forbidden({ status, fields, outerCacheControl }: ResponseHead, control: Directives): Unstorable | undefined {
  const outer = parseCacheControl(outerCacheControl)
  if (status === 206) return 'partial'
  if (status === 304) return 'not-modified'
  if (status < 200 || status > 599) return 'status'
  if (control.has('no-store') || outer.has('no-store')) return 'no-store'
  if (control.has('private') || outer.has('private')) return 'private'
  if (fields['set-cookie'] !== undefined) return 'set-cookie'
  if (ENDLESS.test(firstLine(fields, 'content-type') ?? '')) return 'endless'
  // RFC 9110, 7.6.1: fields named by Connection speak of this hop alone; a response that stops being HTTP is none to keep.
  if (listMembers(combined(fields, 'connection')?.toLowerCase()).includes('upgrade')) return 'connection'
  return undefined
}

/** The lifetime that the response itself gives, in milliseconds: the first source that is there decides alone (RFC 9111, 4.2.1). */
function explicitLifetime(fields: Fields, control: Directives, now: number): number | undefined {
  if (control.has('no-cache')) return 0
  const seconds = directiveSeconds(control, 's-maxage') ?? directiveSeconds(control, 'max-age')
  if (seconds !== undefined) return seconds * 1000
  if (fields.expires === undefined) return undefined
  const expires = Array.isArray(fields.expires) && fields.expires.length > 1 ? undefined : firstLine(fields, 'expires')
  const date = parseDate(firstLine(fields, 'date'), now) ?? now
  return Math.max(0, (parseDate(expires, now) ?? date) - date)
}

// Only the first member of the first line counts (RFC 9111, 5.1).
function firstAge(fields: Fields): string | undefined {
  return firstLine(fields, 'age')?.split(',', 1)[0]?.trim()
}

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
