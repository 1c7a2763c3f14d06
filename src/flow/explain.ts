import type { Lookup } from '../backends/backend.ts'
import { ageOf, type Entry, freshFor } from '../core/entry.ts'
import {
  type Decided,
  type ExplainedEntry,
  type ExplainedTag,
  type Explanation,
  showKey,
  withoutCredentials,
} from '../core/explanation.ts'
import { decodeKey, encodeKey } from '../core/key.ts'
import { REASONS, type Reason } from '../core/reasons.ts'
import type { Place } from '../core/variants.ts'
import type { Forward } from '../http/cache-status.ts'
import { forbidsStoring, judgeReuse, wishesOf } from '../http/reuse.ts'
import { explainOptions } from '../options/origins.ts'
import type { RouteOptions } from '../options/route.ts'
import { admit, routeName, type Visit } from '../visit.ts'
import type { Flow } from './flow.ts'
import { forwardOf, missReason } from './look.ts'
import { namesUnknown } from './marker.ts'
import { isValid, usable } from './usable.ts'

/** What the layer that a request has come to says of it. */
export type Found = Omit<Explanation, 'method' | 'url' | 'isReached' | 'status'>

/** What a cache would do with a request now. Runs nothing, stores nothing, counts nothing. `given` are the options of its layer. */
export async function explain(flow: Flow, visit: Visit, given: RouteOptions<never>): Promise<Found> {
  const known = { route: routeName(visit), options: explainOptions(visit.route, given, flow.options) }
  const admission = admit(visit, flow.options.namespace, () => {})
  if (!admission.admitted) return { ...known, decision: pastCache(admission.forward, admission.reason) }
  if (flow.isClosed) return { ...known, decision: pastCache('bypass', 'closed') }
  const { parts } = admission
  const place = flow.locate(visit, parts)
  if (!place) return { ...known, decision: pastCache('bypass', 'option-failed') }
  const looked = await lookUp(flow, visit, place, (names) => flow.relocate(visit, parts, names))
  const declared = parts.vary.map(([name]) => name)
  const key = showKey(decodeKey(looked.place.key), declared)
  const refused = flow.refused.get(looked.place.primary)
  const more = { ...known, key, ...(refused === undefined ? {} : { refused }) }
  const { found } = looked
  if (!found) return { ...more, decision: pastCache('bypass', 'backend') }
  const decision = decide(flow, visit, looked.place, found)
  const isKept = found.entry?.key === looked.place.key
  return isKept ? { ...more, entry: await showEntry(flow, looked.place, found), decision } : { ...more, decision }
}

async function lookUp(
  flow: Flow,
  visit: Visit,
  place: Place,
  relocate: (names: readonly string[]) => Place | undefined,
): Promise<{ place: Place; found: Lookup | undefined }> {
  const needs = visit.position === undefined ? undefined : { position: visit.position }
  const found = await flow.guard.lookup(place.key, needs)
  const unknown = found && flow.guard.hasLeases ? namesUnknown(found, place) : []
  const other = unknown.length > 0 ? relocate(unknown) : undefined
  return other ? { place: other, found: await flow.guard.lookup(other.key, needs) } : { place, found }
}

// ——— What would become of it ———

function decide(flow: Flow, visit: Visit, place: Place, found: Lookup): Decided {
  const now = flow.now()
  const entry = usable(found, place, visit, now)
  if (!entry) {
    const forward = forwardOf(place)
    return compute(flow, visit, place, forward, missReason(flow, place, found, forward), false)
  }
  const left = freshFor(entry, now)
  const wishes = visit.route.requestDirectives ? wishesOf(visit.headers) : undefined
  const canRefresh = left <= 0 && entry.staleWhileRevalidate > 0 && visit.canRefresh()
  const reuse = judgeReuse(entry, { freshFor: left, age: ageOf(entry, now) }, wishes, canRefresh)
  if (reuse.kind === 'fresh') return { outcome: 'hit', text: 'It would hit: a fresh response is stored.' }
  if (reuse.kind === 'stale') return stale(reuse.reason)
  if (reuse.mayReplaceError && flow.failing.isResting(place.key)) return stale('stale-if-error')
  return compute(flow, visit, place, reuse.forward, reuse.forward === 'request' ? 'request' : 'expired', true)
}

function compute(flow: Flow, visit: Visit, { key }: Place, forward: Forward, why: Reason, isStored: boolean): Decided {
  const { route, headers, method } = visit
  if (route.requestDirectives && wishesOf(headers).has('only-if-cached')) {
    return { outcome: 'bypass', reason: 'only-if-cached', text: `It would be refused: ${REASONS['only-if-cached']}` }
  }
  if (forbidsStoring(headers)) return miss(forward, 'request-no-store')
  if (method === 'HEAD' && !isStored) return miss(forward, 'head')
  if (route.maxWait > 0 && flow.flights.find(key)) {
    return { outcome: 'collapsed', forward, text: 'It would wait for a run of the handler that is under way.' }
  }
  return miss(forward, why)
}

function pastCache(forward: Forward, reason: Reason): Decided {
  return { outcome: 'bypass', forward, reason, text: `It would go past the cache: ${REASONS[reason]}` }
}

function miss(forward: Forward, reason: Reason): Decided {
  return { outcome: 'miss', forward, reason, text: `It would miss: ${REASONS[reason]}` }
}

function stale(reason: Reason): Decided {
  return { outcome: 'stale', reason, text: `It would be answered stale: ${REASONS[reason]}` }
}

// ——— What is kept ———

async function showEntry(flow: Flow, place: Place, found: Lookup): Promise<ExplainedEntry> {
  const entry = found.entry!
  const { response, time, stamp } = entry
  const now = flow.now()
  return {
    status: response.status,
    time,
    age: ageOf(entry, now) / 1000,
    lifetime: entry.lifetime / 1000,
    ttl: freshFor(entry, now) / 1000,
    size: response.body.byteLength,
    cost: entry.cost / 1000,
    stamp,
    isInvalidated: !isValid(found, place.key),
    tags: await Promise.all(entry.tags.slice(0, MOST_TAGS).map((tag) => showTag(flow, entry, tag))),
    variants: flow.variants.keptUnder(place.primary).map((key) => encodeKey(withoutCredentials(decodeKey(key)))),
    encodings: (response.encodings ?? []).map(({ coding }) => coding),
    ...(found.tier === undefined ? {} : { tier: found.tier }),
  }
}

// Each is asked for by itself.
const MOST_TAGS = 100

async function showTag(flow: Flow, { key }: Entry, tag: string): Promise<ExplainedTag> {
  const [name] = flow.tagNames([tag])
  const kind = name === undefined ? impliedKind(flow, tag) : 'tag'
  return { name: name ?? tag, kind, invalidatedAt: await flow.guard.invalidatedAt([tag], key) }
}

function impliedKind(flow: Flow, tag: string): ExplainedTag['kind'] {
  if (flow.implicitTags.includes(tag)) return 'everything'
  return tag.startsWith(flow.backendName('route/')) ? 'route' : 'uri'
}
