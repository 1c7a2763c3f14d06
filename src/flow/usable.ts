import type { Lookup } from '../backends/backend.ts'
import { type Entry, fieldValue } from '../core/entry.ts'
import type { KeyParts } from '../core/key.ts'
import { missingRange, rangeWithin } from '../core/partial.ts'
import { isOutdated } from '../core/tags.ts'
import type { Place, Seeker } from '../core/variants.ts'
import { firstLine } from '../http/fields.ts'
import { parseSearchVariance } from '../http/no-vary-search.ts'
import { isAuthorized, type Visit } from '../visit.ts'

/** A request, as far as the choice of a variant needs it. */
export function seekerOf({ headers, route }: Pick<Visit, 'headers' | 'route'>, parts: KeyParts): Seeker {
  return { parts, headers, forms: route.normaliseVary }
}

/** Whether what was found is the entry of that key, and not purged. */
export function isValid({ entry, invalidatedAt }: Lookup, key: string): boolean {
  return entry !== undefined && entry.key === key && !isOutdated(entry.stamp, invalidatedAt)
}

/** The entry that may be used for this request, fresh or stale. */
export function usable(found: Lookup, place: Place, visit: Visit, now: number): Entry | undefined {
  const { entry } = found
  if (!entry || !isValid(found, place.key) || !mayShare(visit, entry)) return undefined
  // Parts of the query are left out only where the response itself says that they do not count.
  if (place.variance && !agrees(place.variance.text, entry)) return undefined
  if (entry.response.status === 206 && !isWithin(entry, visit, now)) return undefined
  return entry
}

function isWithin({ response }: Entry, { method, headers }: Visit, now: number): boolean {
  return method === 'GET' && rangeWithin(response, headers, now) !== undefined
}

/** A stored part that is the beginning of what is asked for as a whole, where the rest can be made in the background. */
export function usableBeginning(found: Lookup, place: Place, visit: Visit): Entry | undefined {
  const { entry } = found
  if (!entry || !isValid(found, place.key) || !mayShare(visit, entry) || place.variance) return undefined
  const isWhole = visit.method === 'GET' && visit.headers.range === undefined
  return isWhole && missingRange(entry.response) !== undefined && visit.canRefresh() ? entry : undefined
}

function agrees(variance: string, { response }: Entry): boolean {
  const stated = firstLine({ stated: fieldValue(response.headers, 'no-vary-search') }, 'stated')
  return parseSearchVariance(stated)?.text === variance
}

/** Whether whoever asks may have that entry (RFC 9111, 3.5). */
export function mayShare(visit: Visit, entry: Entry): boolean {
  return entry.isShared || !isAuthorized(visit)
}

/** The validators that a handler gave, which it can be asked about; what the cache has added itself says nothing to it. */
export function validatorsOf({ response }: Entry): { etag?: string; modified?: string } | undefined {
  const own = response.headers.filter(({ isDefault }) => !isDefault)
  const [etag] = [fieldValue(own, 'etag') ?? []].flat()
  const [modified] = [fieldValue(own, 'last-modified') ?? []].flat()
  if (etag === undefined && modified === undefined) return undefined
  return { ...(etag === undefined ? {} : { etag }), ...(modified === undefined ? {} : { modified }) }
}
