import type { Lookup } from '../backends/backend.ts'
import { type Entry, fieldValue } from '../core/entry.ts'
import { madeOnce } from '../core/made-once.ts'
import { missingRange, rangeWithin } from '../core/partial.ts'
import { isOutdated } from '../core/tags.ts'
import type { Place } from '../core/variants.ts'
import { parseDate } from '../http/date.ts'
import { firstLine } from '../http/fields.ts'
import { parseSearchVariance } from '../http/no-vary-search.ts'
import { varyNames } from '../http/vary.ts'
import { isAuthorized, type Visit } from '../visit.ts'

/** As much of a request as decides whether an entry may answer it. */
export type Asker = Pick<Visit, 'method' | 'headers' | 'route'>

/** Whether what was found is the entry of that key, and not purged. */
export function isValid({ entry, invalidatedAt }: Lookup, key: string): boolean {
  return entry !== undefined && entry.key === key && !isOutdated(entry.stamp, invalidatedAt)
}

/** The entry that may be used for this request, fresh or stale. */
export function usable(found: Lookup, place: Place, visit: Asker, now: number): Entry | undefined {
  const { entry } = found
  if (!entry || !isValid(found, place.key) || !mayShare(visit, entry)) return undefined
  if (!isFor(place, entry)) return undefined
  if (entry.response.status === 206 && !isWithin(entry, visit, now)) return undefined
  return entry
}

/** Whether a response is for every request that is looked for in that place. */
export function isFor(place: Place, entry: Entry): boolean {
  // Parts of the query are left out only where the response itself says that they do not count.
  return (!place.variance || agrees(place.variance.text, entry)) && isCovered(place, entry)
}

// What the response varies on has to be in the key, and what was assumed of it has to be so.
function isCovered({ names, assumed }: Place, entry: Entry): boolean {
  const own = varyNamesOf(entry)
  if (own === 'none') return true
  if (own === '*' || !own.every((name) => names.includes(name))) return false
  const { response } = entry
  return assumed.every(({ field, chosen }) => {
    const value = firstLine({ value: fieldValue(response.headers, field) }, 'value')
    return (value?.trim().toLowerCase() ?? 'identity') === chosen
  })
}

const varyNamesOf = madeOnce(({ response }) => {
  const vary = fieldValue(response.headers, 'vary')
  return vary === undefined ? 'none' : varyNames([vary].flat().join(','))
})

function isWithin({ response }: Entry, { method, headers }: Asker, now: number): boolean {
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
export function mayShare(visit: Asker, entry: Entry): boolean {
  return entry.isShared || !isAuthorized(visit)
}

/** The validators that a handler gave, which it can be asked about; what the cache has added itself says nothing to it. */
export function validatorsOf({ response }: Entry): { etag?: string; modified?: string } | undefined {
  const own = response.headers.filter(({ isDefault }) => !isDefault)
  const [etag] = [fieldValue(own, 'etag') ?? []].flat()
  const [modified] = [fieldValue(own, 'last-modified') ?? []].flat()
  const isStrong = modified !== undefined && isStrongDate(modified, firstLine({ d: fieldValue(own, 'date') }, 'd'))
  if (etag === undefined && !isStrong) return undefined
  return { ...(etag === undefined ? {} : { etag }), ...(modified === undefined ? {} : { modified }) }
}

// What has changed within the second of its date may have changed again (RFC 9110, 8.8.2.2): alone it proves nothing.
function isStrongDate(modified: string, date: string | undefined): boolean {
  const [then, now] = [parseDate(modified, Date.now()), parseDate(date, Date.now())]
  return then === undefined || now === undefined || now - then >= 1000
}
