import type { Lookup, Tier } from '../backends/backend.ts'
import { ageOf, type Entry, freshFor, type StoredResponse } from '../core/entry.ts'
import { isPromise, type MaybePromise } from '../core/maybe.ts'
import { represented } from '../core/representation.ts'
import type { Place } from '../core/variants.ts'
import type { Fields } from '../http/fields.ts'
import type { Carrier } from '../http/position.ts'
import { hasCredentials, unanswerable, varyPart } from '../visit.ts'
import { withDebug } from './debug.ts'
import type { Flow } from './flow.ts'
import type { Known } from './front.ts'
import { hitStatus, mayBeDue } from './look.ts'
import type { Tagging } from './run.ts'
import { taggingOf } from './tags.ts'
import { usable } from './usable.ts'

/** A fresh response for a request that no layer has to see. */
export interface PlainHit {
  readonly entry: Entry
  /** What of the entry is for this client: in the content coding that it wants. */
  readonly response: StoredResponse
  readonly now: number
  readonly age: number
  readonly cacheStatus: string
  readonly tagging: Tagging | undefined
  readonly tier: Tier | undefined
}

/** The look of a request before the application has it; undefined for whatever is not plainly a fresh hit. */
export function lookFromFront(
  flow: Flow,
  known: Known,
  method: string,
  headers: Fields,
): MaybePromise<PlainHit | undefined> {
  const place = isForAnybody(flow, known, method, headers) ? placeOf(flow, known, headers) : undefined
  if (!place) return undefined
  const found = flow.guard.lookup(place.key)
  if (!isPromise(found)) return plainHit(flow, known, place, method, headers, found)
  return found.then((lookup) => plainHit(flow, known, place, method, headers, lookup))
}

function isForAnybody(flow: Flow, { route }: Known, method: string, headers: Fields): boolean {
  if (!route.methods.has(method)) return false
  if (route.scope !== 'public' && hasCredentials(headers)) return false
  if (unanswerable(method, headers, true) !== undefined) return false
  if (route.requestDirectives && (headers['cache-control'] ?? headers.pragma) !== undefined) return false
  return !isCarrying(flow.options.carrier, headers)
}

// Where the client's last write stands may be later than what is near.
function isCarrying(carrier: Carrier | undefined, headers: Fields): boolean {
  if (!carrier) return false
  if (carrier.via === 'header') return headers[carrier.name.toLowerCase()] !== undefined
  return headers.cookie !== undefined && String(headers.cookie).includes(`${carrier.name}=`)
}

// Where nothing varies, the key of a URL that was seen before is known.
function placeOf(flow: Flow, known: Known, headers: Fields): Place | undefined {
  const { parts, route } = known
  if (!known.isBare) return placeAmong(flow, known, headers)
  if (known.place && flow.variants.isStill(known.place, parts)) return known.place
  known.place = flow.locate({ headers, route }, parts)
  return known.place
}

// A function among the options may fail; the layer inside will tell of it.
function placeAmong(flow: Flow, { parts, route }: Known, headers: Fields): Place | undefined {
  try {
    return flow.locate({ headers, route }, { ...parts, vary: varyPart(route, headers) })
  } catch {
    return undefined
  }
}

function plainHit(
  flow: Flow,
  known: Known,
  place: Place,
  method: string,
  headers: Fields,
  found: Lookup | undefined,
): PlainHit | undefined {
  const { route } = known
  const now = flow.now()
  const entry = found && usable(found, place, { method, headers, route }, now)
  if (!entry) return undefined
  const left = freshFor(entry, now)
  if (left <= 0 || mayBeDue(route, entry, left)) return undefined
  const tagging = withDebug(flow, entry.key, taggingOf(flow, route, entry.tags))
  const cacheStatus = hitStatus(flow, entry, now)
  const response = represented(entry.response, { method, headers })
  return { entry, response, now, age: ageOf(entry, now), cacheStatus, tagging, tier: found.tier }
}
