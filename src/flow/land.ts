import { type Entry, fieldsOf, freshFor, type StoredResponse } from '../core/entry.ts'
import { chain, type MaybePromise } from '../core/maybe.ts'
import { completedResponse, storedPart } from '../core/partial.ts'
import type { Reason } from '../core/reasons.ts'
import { isOutdated } from '../core/tags.ts'
import type { Trace } from '../core/trace.ts'
import type { Fields } from '../http/fields.ts'
import type { Terms } from '../http/policy.ts'
import { routeName } from '../visit.ts'
import { declineNewer, letGo, skipReason } from './decide.ts'
import { encodeLater } from './encode.ts'
import type { Flow } from './flow.ts'
import { dropLease, takeLease } from './lease.ts'
import { markerOf } from './marker.ts'
import type { Decision, Run, Waiting } from './run.ts'
import { uriTag } from './tags.ts'
import { mayShare } from './usable.ts'

/** The response is complete: store it, and answer those who waited for it. */
export function land(
  flow: Flow,
  run: Run,
  decision: Decision & { store: true },
  response: StoredResponse,
): MaybePromise<void> {
  if (run.isOver) return
  if (run.isSkipped) {
    declineNewer(flow, run, response.status, skipReason(run))
    return abandon(flow, run, skipReason(run))
  }
  const whole = wholeOf(run, response)
  if (!whole) return abandon(flow, run, 'partial')
  if (run.completion && run.stored && response.status === 206) for (const tag of run.stored.tags) run.tags.add(tag)
  // What a POST was made of cannot be checked where it is told after its own purge.
  if (run.forward === 'method' && [...run.tags].some((tag) => !run.expectedTags.has(tag))) {
    return abandon(flow, run, 'late-tag')
  }
  const fields = fieldsOf(whole.headers)
  const lodging = lodgingOf(flow, run, decision.vary, fields)
  if (!lodging) return abandon(flow, run, 'variants')
  run.tags.add(uriTag(flow, run.visit, fields))
  const entry = entryOf(flow, run, lodging.key, decision.terms, negotiable(whole, decision.isNegotiated))
  if (lodging.key !== run.key && run.key === run.place.primary && flow.guard.hasLeases && decision.keep > 0) {
    void flow.guard.store(markerOf(run, entry, lodging.names), decision.keep)
  }
  teachFront(flow, run, lodging.names)
  if (decision.keep > 0) return keep(flow, run, entry, decision.keep)
  endRun(flow, run)
  recordRun(flow, run, { stored: false, reason: 'unstorable' })
  return serveWaiters(flow, run, entry)
}

// The next one may be answered before the application has it.
function teachFront({ front }: Flow, { visit, parts, route }: Run, names: readonly string[]): void {
  if (front && visit.sighting) front.learn(visit.sighting, { visit, parts, route, names }, true)
}

/** A response with the encodings that it has, or none yet, where it is sent in content codings as well. */
export function negotiable(response: StoredResponse, isNegotiated: boolean): StoredResponse {
  if (isNegotiated) return response.encodings ? response : { ...response, encodings: [] }
  const { encodings: _, ...one } = response
  return one
}

// A part is kept only where it is what it says; one that was asked for to complete another, only as the whole.
function wholeOf({ stored, completion }: Run, response: StoredResponse): StoredResponse | undefined {
  if (response.status !== 206) return response
  if (!storedPart(response)) return undefined
  return completion && stored ? completedResponse(stored.response, response) : response
}

/** Where what a run has made is kept; undefined where its stamp says nothing of that place. */
export function lodgingOf(flow: Flow, run: Run, vary: readonly string[], response: Fields) {
  const lodging = flow.lodge(run.parts, run.visit.headers, vary, response, run.route)
  return lodging && flow.guard.haveOneClock(run.key, lodging.key) ? lodging : undefined
}

/** An entry of what a run has made, on those terms. */
export function entryOf(flow: Flow, run: Run, key: string, terms: Terms, response: StoredResponse): Entry {
  const time = flow.now()
  const { lifetime, initialAge, staleWhileRevalidate, staleIfError, mustRevalidate, isShared } = terms
  return {
    key,
    tags: [...run.tags],
    stamp: run.stamp,
    time,
    cost: time - run.startedAt,
    lifetime,
    initialAge,
    staleWhileRevalidate,
    staleIfError,
    mustRevalidate,
    isShared,
    response,
  }
}

/** Ends the run with an entry that is kept for so many milliseconds, and serves those who waited for it. */
export function keep(
  flow: Flow,
  run: Run,
  entry: Entry,
  milliseconds: number,
  how: { reason?: Reason } = {},
): MaybePromise<void> {
  if (entry.lifetime > 0) flow.flights.clear(run.key)
  const lease = takeLease(run)
  // A lease is for the key that was looked up; whoever waits there looks again, and learns of the other.
  const isElsewhere = lease !== undefined && entry.key !== run.key
  if (isElsewhere) void flow.guard.release(run.key, lease, 'abandoned')
  endRun(flow, run)
  flow.backoff.succeed(run.key)
  flow.failing.succeed(run.key)
  return chain(flow.guard.store(entry, milliseconds, isElsewhere ? undefined : lease), (stored) => {
    if (run.isRetracted) void flow.guard.delete(entry.key)
    if (stored) encodeLater(flow, entry, milliseconds, run.route)
    if (stored) recordRun(flow, run, { stored, cost: entry.cost, ttl: entry.lifetime, reason: run.why, ...how })
    else void chain(whyNotKept(flow, entry), (reason) => recordRun(flow, run, { stored, reason }))
    return serveWaiters(flow, run, entry)
  })
}

function whyNotKept(flow: Flow, entry: Entry): MaybePromise<'backend' | 'outdated' | 'not-kept'> {
  return chain(flow.guard.invalidatedAt(entry.tags, entry.key), (latest) => {
    if (latest === undefined) return 'backend'
    return isOutdated(entry.stamp, latest) ? 'outdated' : 'not-kept'
  })
}

/** Has those who waited for the run get its entry, as far as it may answer them; the others run for themselves. */
export function serveWaiters(flow: Flow, run: Run, entry: Entry): MaybePromise<void> {
  const { flight } = run
  if (!flight) return
  if (flight.waiters.size === 0) return flow.flights.land(flight, () => undefined)
  return chain(flow.guard.invalidatedAt(entry.tags, entry.key), (latest) => {
    const isCurrent = latest !== undefined && !isOutdated(entry.stamp, latest)
    flow.flights.land(flight, (waiting) => (maySettle(flow, run, waiting, entry, isCurrent) ? entry : undefined))
  })
}

// A waiter that saw the leader's clock is served in any case; a later one only if no tag was invalidated in between. A stale
// entry serves nobody once it is purged.
function maySettle(flow: Flow, run: Run, waiting: Waiting, entry: Entry, isCurrent: boolean): boolean {
  if (waiting === run.completion?.client) return true
  const { visit, parts, stamp } = waiting
  if (flow.locate(visit, parts)?.key !== entry.key || !mayShare(visit, entry)) return false
  if (freshFor(entry, flow.now()) > 0) return isCurrent || stamp === run.stamp
  return entry === run.stored && isCurrent && waiting.mayReplaceError
}

// Reasons for which a refresh comes to nothing although its handler may be well.
const NOT_THE_HANDLER: ReadonlySet<Reason> = new Set<Reason>([
  'unreached',
  'aborted',
  'too-large',
  'partial',
  'variants',
])

/** The run gave nothing to keep: those who wait for it run for themselves. */
export function abandon(flow: Flow, run: Run, reason: Reason): void {
  if (run.isOver) return
  endRun(flow, run)
  if (run.isRefresh) flow.backoff.fail(run.key)
  if (run.isRefresh && !NOT_THE_HANDLER.has(reason)) flow.failing.fail(run.key)
  if (run.flight) flow.flights.land(run.flight, () => undefined)
  recordRun(flow, run, { stored: false, reason })
}

/** An inner layer takes the request over: the run leaves no record, and its key does not gather requests any more. */
export function release(flow: Flow, run: Run): void {
  if (run.isOver) return
  endRun(flow, run)
  letGo(flow, run)
  run.onEnd?.()
}

/** What the handler says of its response came too late: nothing of the run is kept. */
export function retract(flow: Flow, run: Run): void {
  run.isRetracted = true
  void flow.guard.delete(flow.locate(run.visit, run.parts)?.key ?? run.key)
}

/** Nothing more comes of the run. */
export function endRun(flow: Flow, run: Run): void {
  run.isOver = true
  flow.replaceable.delete(run)
  dropLease(flow, run, 'abandoned')
}

/** What a run has come to. */
type Outcome = Pick<Trace, 'stored' | 'reason' | 'ttl' | 'cost'> & { readonly outcome?: Trace['outcome'] }

/** Leaves the record of a run: of a client's request, or of a refresh. */
export function recordRun(flow: Flow, run: Run, made: Outcome): void {
  const { visit, forward, place, startedAt } = run
  const { stored, reason } = made
  const route = routeName(visit)
  const cost = flow.now() - startedAt
  if (stored) flow.refused.delete(place.primary)
  else if (reason !== undefined) flow.refused.set(place.primary, reason)
  if (run.isRefresh) {
    const why = stored || reason === undefined ? {} : { reason }
    flow.events.emit({ type: 'refresh', route, key: place.primary, stored, cost, ...why })
    run.onEnd?.({ stored, ...why })
  } else if (forward === 'method' && !stored) {
    flow.record({ outcome: 'bypass', route, forward, stored, reason: reason ?? 'method', cost })
  } else flow.record({ outcome: 'miss', route, key: place.primary, forward, cost, ...made })
}
