import type { Lease, Lookup, Tier } from '../backends/backend.ts'
import type { RouteCounters } from '../core/counters.ts'
import { ageOf, type Entry, freshFor } from '../core/entry.ts'
import type { Flight } from '../core/flights.ts'
import type { KeyParts } from '../core/key.ts'
import { chain, type MaybePromise } from '../core/maybe.ts'
import type { Reason } from '../core/reasons.ts'
import { represented } from '../core/representation.ts'
import { isOutdated } from '../core/tags.ts'
import type { Place } from '../core/variants.ts'
import type { Forward } from '../http/cache-status.ts'
import { forbidsStoring, judgeReuse, type Wishes, wishesOf } from '../http/reuse.ts'
import type { ResolvedRoute } from '../options/route.ts'
import { admit, isByteRange, routeName, type Visit } from '../visit.ts'
import { withDebug } from './debug.ts'
import type { Flow } from './flow.ts'
import { leaseEnd, needsOf } from './lease.ts'
import { namesUnknown } from './marker.ts'
import type { Finding, Run, Waiting } from './run.ts'
import { asSent, leadRun, startRefreshRun, startRun } from './start.ts'
import { refine, taggingOf } from './tags.ts'
import { usable, usableBeginning } from './usable.ts'

/** Given the way to stop waiting, when a request begins to wait for another's response. */
export type OnWait = (leave: () => void) => void

/** The first look: is there an answer, is one being computed, or is it for the handler? */
export function look(flow: Flow, visit: Visit, onWait: OnWait): MaybePromise<Finding> {
  const admission = admit(visit, flow.options.namespace, flow.events.warn)
  if (!admission.admitted) return pass(flow, visit, admission.forward, admission.reason)
  if (flow.isClosed) return pass(flow, visit, 'bypass', 'closed')
  const { parts } = admission
  const place = flow.locate(visit, parts)
  if (!place) return pass(flow, visit, 'bypass', 'option-failed')
  return lookUp(flow, { visit, parts, place }, (looked, found) => {
    return found ? judge(flow, looked, found, onWait) : pass(flow, visit, 'bypass', 'backend')
  })
}

type OnFound = (looked: Looked, found: Lookup | undefined) => MaybePromise<Finding>

function lookUp(flow: Flow, looked: Looked, then: OnFound): MaybePromise<Finding> {
  const { visit, place } = looked
  return chain(flow.guard.lookup(place.key, needsOf(flow, visit, place.key)), (found) => {
    const unknown = found && flow.guard.hasLeases ? namesUnknown(found, place) : NOTHING
    return unknown.length > 0 ? lookElsewhere(flow, looked, found, unknown, then) : then(looked, found)
  })
}

const NOTHING: readonly string[] = []

// Another process has found out what the response varies on.
function lookElsewhere(
  flow: Flow,
  looked: Looked,
  first: Lookup | undefined,
  unknown: readonly string[],
  then: OnFound,
): MaybePromise<Finding> {
  const { visit, parts } = looked
  const place = flow.relocate(visit, parts, unknown)
  if (!place || place.key === looked.place.key) return then(looked, first)
  if (first?.lease?.kind === 'taken') void flow.guard.release(looked.place.key, first.lease.holder, 'abandoned')
  return chain(flow.guard.lookup(place.key, needsOf(flow, visit, place.key)), (found) =>
    then({ ...looked, place }, found),
  )
}

/** The look of a request that was made for a refresh: it finds its run, once, at the layer that has started it. */
export function resume(flow: Flow, visit: Visit, run: Run): Finding {
  const admission = admit(visit, flow.options.namespace, flow.events.warn)
  if (!admission.admitted || run.isOver) return { kind: 'ignore' }
  if (flow.locate(visit, admission.parts)?.key !== run.key) return { kind: 'ignore' }
  run.visit = asSent(visit)
  refine(flow, run, visit.route, visit.call)
  return { kind: 'run', run }
}

interface Looked {
  readonly visit: Visit
  readonly parts: KeyParts
  readonly place: Place
}

function judge(flow: Flow, looked: Looked, lookup: Lookup, onWait: OnWait): MaybePromise<Finding> {
  return settleLease(flow, looked.place.key, lookup, judgeEntry(flow, looked, lookup, onWait))
}

// A lease that was taken is given back where nothing runs under it.
function settleLease(
  flow: Flow,
  key: string,
  { lease }: Lookup,
  finding: MaybePromise<Finding>,
): MaybePromise<Finding> {
  if (lease?.kind !== 'taken') return finding
  return chain(finding, (found) => {
    const run = found.kind === 'run' ? found.run : found.kind === 'hit' ? found.refresh : undefined
    if (run?.lease !== lease.holder) void flow.guard.release(key, lease.holder, 'abandoned')
    return found
  })
}

function judgeEntry(flow: Flow, looked: Looked, lookup: Lookup, onWait: OnWait): MaybePromise<Finding> {
  const { visit, place } = looked
  const now = flow.now()
  const entry = usable(lookup, place, visit, now)
  const wishes = visit.route.requestDirectives ? wishesOf(visit.headers) : undefined
  if (!entry) return miss(flow, looked, lookup, wishes, onWait)
  const left = freshFor(entry, now)
  const canRefresh = left <= 0 && entry.staleWhileRevalidate > 0 && visit.canRefresh()
  const reuse = judgeReuse(entry, { freshFor: left, age: ageOf(entry, now) }, wishes, canRefresh)
  if (reuse.kind === 'fresh') {
    learn(flow, looked)
    return hit(flow, visit, entry, now, early(flow, looked, lookup, left), lookup.tier)
  }
  if (reuse.kind === 'stale') {
    const isWhile = reuse.reason === 'stale-while-revalidate'
    const isElsewhere = lookup.lease?.kind === 'held'
    const refresh =
      isWhile && !isElsewhere ? startRefreshRun(flow, waitingWith(looked, lookup, 'expired', entry)) : undefined
    return stale(flow, visit, entry, now, reuse.reason, refresh)
  }
  const { mayReplaceError, forward } = reuse
  // While the handler fails, not everybody has to find that out anew.
  if (mayReplaceError && flow.failing.isResting(place.key)) {
    return stale(flow, visit, entry, now, 'stale-if-error')
  }
  const why = forward === 'request' ? 'request' : 'expired'
  return compute(flow, { ...waitingWith(looked, lookup, why, entry), mayReplaceError }, forward, wishes, onWait)
}

// The next one may be answered before the application has it.
function learn(flow: Flow, { visit, parts, place }: Looked): void {
  const { front } = flow
  if (!front || !visit.sighting) return
  front.learn(visit.sighting, { visit, parts, route: visit.route, names: place.names }, !flow.hasExceptions)
}

function waitingWith(looked: Looked, { clock, lease }: Lookup, why: Reason, stored?: Entry): Waiting {
  return new Seeking(looked, clock, lease, why, stored)
}

// Made by a class: see docs/decisions/express-shapes.md.
class Seeking implements Waiting {
  readonly visit: Visit
  readonly parts: KeyParts
  readonly place: Place
  readonly stamp: number
  readonly stored: Entry | undefined
  readonly mayReplaceError = false
  readonly why: Reason
  readonly lease: Lease | undefined

  constructor(looked: Looked, stamp: number, lease: Lease | undefined, why: Reason, stored: Entry | undefined) {
    // The request as it is now: layers below may change its fields.
    this.visit = asSent(looked.visit)
    this.parts = looked.parts
    this.place = looked.place
    this.stamp = stamp
    this.stored = stored
    this.why = why
    this.lease = lease
  }
}

// By chance this is passed in one of twenty thousand times.
const HARDLY_EVER = 10

/** Whether a response could be due to be made anew, which is not for whoever stands in front to do. */
export function mayBeDue({ earlyRefresh }: ResolvedRoute, { cost }: Entry, left: number): boolean {
  return earlyRefresh > 0 && cost * earlyRefresh * HARDLY_EVER >= left
}

// Popular responses are made anew before they become stale, by one of those who ask, each with a chance that grows with the
// time that the handler takes (Vattani and others, "Optimal probabilistic cache stampede prevention", 2015).
function early(flow: Flow, looked: Looked, lookup: Lookup, left: number): Run | undefined {
  const { earlyRefresh } = looked.visit.route
  if (earlyRefresh === 0 || !lookup.entry) return undefined
  const isDue = lookup.entry.cost * earlyRefresh * -Math.log(flow.options.random()) >= left
  return isDue && looked.visit.canRefresh()
    ? startRefreshRun(flow, waitingWith(looked, lookup, 'expired', lookup.entry))
    : undefined
}

function hit(flow: Flow, visit: Visit, entry: Entry, now: number, refresh: Run | undefined, tier?: Tier): Finding {
  const counters = recordHit(flow, routeName(visit), { entry, now, tier })
  return found(flow, visit, entry, now, hitStatus(flow, entry, now), counters, refresh)
}

/** Leaves the record of a request that a fresh entry answers; gives the counters of its route. */
export function recordHit({ events }: Flow, route: string, { entry, now, tier }: HitRecord): RouteCounters {
  const { key, cost } = entry
  const counters = events.ofRoute(route)
  counters.countHit(cost)
  if (events.isTraced) {
    const trace = { type: 'trace', outcome: 'hit', route, key, stored: false, ttl: freshFor(entry, now), cost } as const
    events.tell(tier === undefined ? trace : { ...trace, tier })
  }
  return counters
}

interface HitRecord {
  readonly entry: Entry
  readonly now: number
  readonly tier?: Tier | undefined
}

/** What Cache-Status says of it. */
export function hitStatus(flow: Flow, entry: Entry, now: number): string {
  return flow.hitStatuses.of(Math.floor(freshFor(entry, now) / 1000))
}

function stale(flow: Flow, visit: Visit, entry: Entry, now: number, reason: Reason, refresh?: Run): Finding {
  const ttl = freshFor(entry, now)
  const { key, cost } = entry
  const route = routeName(visit)
  flow.record({ outcome: 'stale', route, key, reason, stored: false, ttl, cost })
  const cacheStatus = flow.status({ hit: true, ttl: Math.floor(ttl / 1000), detail: reason })
  return found(flow, visit, entry, now, cacheStatus, flow.events.ofRoute(route), refresh)
}

// The answer to a request that has waited for another's run; it may be what was stored, in the place of that run's error.
function collapsed(flow: Flow, { visit, stored }: Waiting, entry: Entry, forward: Forward): Finding {
  const now = flow.now()
  const ttl = freshFor(entry, now)
  const { key, cost } = entry
  // A backend that reads entries anew gives each request an object of its own.
  const isStale = ttl <= 0 && stored?.key === entry.key && stored.time === entry.time
  const reason: Reason | undefined = isStale ? 'stale-if-error' : undefined
  const outcome = isStale ? 'stale' : 'collapsed'
  const route = routeName(visit)
  const told = { outcome, route, key, stored: false, ttl, cost } as const
  flow.record(reason === undefined ? told : { ...told, reason })
  const detail: { detail?: Reason } = reason === undefined ? {} : { detail: reason }
  const cacheStatus = flow.status({ hit: false, forward, collapsed: true, ...detail })
  return { ...found(flow, visit, entry, now, cacheStatus, flow.events.ofRoute(route), undefined), hasWaited: true }
}

function found(
  flow: Flow,
  { route, method, headers }: Visit,
  entry: Entry,
  now: number,
  cacheStatus: string,
  counters: RouteCounters,
  refresh: Run | undefined,
): Finding & { kind: 'hit' } {
  const tagging = route.tagField === undefined ? undefined : taggingOf(flow, route, entry.tags)
  const told = flow.options.isDebugged ? withDebug(flow, entry.key, tagging) : tagging
  const response = represented(entry.response, { method, headers })
  const asked = response === entry.response ? entry : { ...entry, response }
  return { kind: 'hit', entry: asked, now, age: ageOf(entry, now), cacheStatus, tagging: told, counters, refresh }
}

function pass(flow: Flow, visit: Visit, forward: Forward, reason: Reason): Finding {
  const outcome = forward === 'bypass' || forward === 'method' ? 'bypass' : 'miss'
  const trace = { outcome, route: routeName(visit), forward, reason, stored: false } as const
  return { kind: 'pass', trace, cacheStatus: flow.status({ hit: false, forward, detail: reason }) }
}

function refuse(flow: Flow, visit: Visit): Finding {
  const reason = 'only-if-cached'
  const trace = { outcome: 'bypass', route: routeName(visit), reason, stored: false } as const
  return { kind: 'refuse', trace, cacheStatus: flow.status({ hit: false, forward: undefined, detail: reason }) }
}

function miss(
  flow: Flow,
  looked: Looked,
  lookup: Lookup,
  wishes: Wishes | undefined,
  onWait: OnWait,
): MaybePromise<Finding> {
  const { visit, place } = looked
  const beginning = visit.route.storePartial ? usableBeginning(lookup, place, visit) : undefined
  const forward = forwardOf(place)
  return (
    (beginning && complete(flow, waitingWith(looked, lookup, 'uri-miss', beginning), onWait)) ??
    compute(flow, waitingWith(looked, lookup, missReason(flow, place, lookup, forward)), forward, wishes, onWait)
  )
}

/** Why a request that nothing stored answers goes to the handler. */
export function forwardOf({ key, primary }: Place): 'uri-miss' | 'vary-miss' {
  return key === primary ? 'uri-miss' : 'vary-miss'
}

/** Why nothing stored answers a request: as far as it is known what was there. */
export function missReason(flow: Flow, { key }: Place, found: Lookup, forward: 'uri-miss' | 'vary-miss'): Reason {
  if (found.entry?.key === key) return isOutdated(found.entry.stamp, found.invalidatedAt) ? 'invalidated' : forward
  return flow.departed.reasonOf(key) ?? forward
}

// What is stored is the beginning of what is asked for: the rest is made in the background, and who asks waits for the whole.
function complete(flow: Flow, waiting: Waiting, onWait: OnWait): Finding | undefined {
  const client = { ...waiting, stored: undefined }
  const refresh = startRefreshRun(flow, waiting, client)
  if (!refresh?.flight) return undefined
  return { kind: 'complete', refresh, result: wait(flow, refresh.flight, client, 'uri-miss', onWait) }
}

function compute(
  flow: Flow,
  waiting: Waiting,
  forward: Forward,
  wishes: Wishes | undefined,
  onWait: OnWait,
): MaybePromise<Finding> {
  const { visit, stored } = waiting
  if (wishes?.has('only-if-cached')) return refuse(flow, visit)
  // What the client forbids to store must not keep others waiting either.
  if (forbidsStoring(visit.headers)) return pass(flow, visit, forward, 'request-no-store')
  if (visit.method === 'HEAD' && !stored) return pass(flow, visit, forward, 'head')
  if (isSolo(visit)) return { kind: 'run', run: startRun(flow, waiting, forward, { isSolo: true }) }
  return joinOrLead(flow, waiting, forward, onWait)
}

function joinOrLead(flow: Flow, waiting: Waiting, forward: Forward, onWait: OnWait): MaybePromise<Finding> {
  const { key } = waiting.place
  const flight = waiting.visit.route.maxWait > 0 ? flow.flights.find(key) : undefined
  if (!flight) return lead(flow, waiting, forward, onWait)
  return chain(mayJoin(flow, flight, waiting), (isWelcome) => {
    // Over a backend that is asked, the flight may have landed meanwhile, or somebody may have begun anew.
    const now = flow.flights.find(key)
    if (now === flight)
      return isWelcome ? wait(flow, flight, waiting, forward, onWait) : lead(flow, waiting, forward, onWait)
    return now ? joinOrLead(flow, waiting, forward, onWait) : lookOnceMore(flow, waiting, forward, onWait)
  })
}

// What was waited for may be stored by now. Whoever has the lease does not look again: it would wait for itself.
function lookOnceMore(flow: Flow, waiting: Waiting, forward: Forward, onWait: OnWait): MaybePromise<Finding> {
  if (waiting.lease?.kind === 'taken') return lead(flow, waiting, forward, onWait)
  return lookUp(flow, waiting, (looked, found) => {
    return found ? judge(flow, looked, found, onWait) : lead(flow, waiting, forward, onWait)
  })
}

function lead(flow: Flow, waiting: Waiting, forward: Forward, onWait: OnWait): MaybePromise<Finding> {
  if (waiting.lease?.kind === 'held') return waitElsewhere(flow, waiting, waiting.lease, forward, onWait)
  return { kind: 'run', run: leadRun(flow, waiting, forward) }
}

function isSolo({ method, headers }: Visit): boolean {
  return method === 'HEAD' || (method === 'GET' && isByteRange(headers))
}

// Whoever comes after an invalidation does not wait for what was begun before it.
function mayJoin(flow: Flow, flight: Flight<Run, Waiting, Entry>, { stamp }: Waiting): MaybePromise<boolean> {
  const { leader } = flight
  if (leader.stamp === stamp) return true
  return chain(flow.guard.invalidatedAt([...leader.expectedTags, ...leader.tags], leader.key), (latest) => {
    return latest !== undefined && !isOutdated(leader.stamp, latest) && flow.flights.find(flight.key) === flight
  })
}

// What was stored when the request came may have been purged while it waited.
function asStillStored(flow: Flow, waiting: Waiting): MaybePromise<Waiting> {
  const { stored } = waiting
  if (!stored) return waiting
  return chain(flow.guard.invalidatedAt(stored.tags, stored.key), (latest) => {
    const isValid = latest !== undefined && !isOutdated(stored.stamp, latest)
    return isValid ? waiting : { ...waiting, stored: undefined, mayReplaceError: false }
  })
}

// Another process computes what is asked for: wait for it, and look again.
async function waitElsewhere(
  flow: Flow,
  waiting: Waiting,
  { left, since }: Lease & { kind: 'held' },
  forward: Forward,
  onWait: OnWait,
): Promise<Finding> {
  const { visit, parts, place } = waiting
  const patience = waiting.patience ?? flow.now() + visit.route.maxWait
  const milliseconds = Math.min(left + 1, patience - flow.now())
  const end = await leaseEnd(flow, place.key, { milliseconds, since }, onWait)
  if (end === 'declined') flow.flights.ground(place.key)
  const alone = async (): Promise<Finding> => ({ kind: 'run', run: await runAlone(flow, waiting, forward) })
  if (end === 'left') return alone()
  // What it varies on may be known by now.
  const now = flow.locate(visit, parts) ?? place
  return lookUp(flow, { visit, parts, place: now }, ({ place }, found) => {
    if (!found) return alone()
    const entry = usable(found, place, visit, flow.now())
    if (entry && freshFor(entry, flow.now()) > 0) return collapsed(flow, waiting, entry, forward)
    const again = { ...waiting, place, stamp: found.clock, lease: found.lease, patience }
    const isOut = flow.now() >= patience
    return settleLease(flow, place.key, found, isOut ? alone() : compute(flow, again, forward, undefined, onWait))
  })
}

async function runAlone(flow: Flow, waiting: Waiting, forward: Forward): Promise<Run> {
  return startRun(flow, { ...(await asStillStored(flow, waiting)), lease: undefined }, forward)
}

async function wait(
  flow: Flow,
  flight: Flight<Run, Waiting, Entry>,
  waiting: Waiting,
  forward: Forward,
  onWait: OnWait,
): Promise<Finding> {
  const entry = await flow.flights.wait(flight, waiting, waiting.visit.route.maxWait, onWait)
  if (!entry) return { kind: 'run', run: await runAlone(flow, waiting, forward) }
  return collapsed(flow, waiting, entry, forward)
}
