import type { Reason } from '../core/reasons.ts'
import { isFailure, judgeStorage, type ResponseHead, type Storability, type Terms } from '../http/policy.ts'
import { isAuthorized } from '../visit.ts'
import type { Flow } from './flow.ts'
import { dropLease } from './lease.ts'
import type { Decision, Run } from './run.ts'
import { collectTags } from './tags.ts'

/** Judges a run's response when its head is known. What is of no use to others lets them go at once. */
export function decide(flow: Flow, run: Run, head: ResponseHead): Decision {
  run.prelude?.(head.status, head.fields)
  const judged = judgeRun(flow, run, head)
  const reason = reasonAgainst(flow, run, head, judged)
  if (reason !== undefined || !judged.storable) return refuseToStore(flow, run, head, reason ?? 'skip')
  if (judged.terms.lifetime <= 0) letGo(flow, run)
  const { terms, keep, vary, isNegotiated } = judged
  const cacheStatus = flow.status({ hit: false, forward: run.forward, stored: true, ...whyForwarded(run) })
  return { store: true, terms: jittered(flow, run, terms), keep, vary, isNegotiated, cacheStatus }
}

/** Whether a response of that head could be stored, by what it says and what its route says. */
export function judgeRun(flow: Flow, { route, ttl, visit }: Run, head: ResponseHead): Storability {
  // Named one by one: an object with all that a route says besides costs more than judging does.
  const { statuses, targetedFields, heuristic, staleWhileRevalidate, staleIfError } = route
  const { keepStale, storeSetCookie, storePartial, compress } = route
  const policy = {
    ownTtl: ttl,
    routeTtl: route.ttl,
    defaultTtl: flow.options.defaultTtl,
    statuses,
    targetedFields,
    heuristic,
    staleWhileRevalidate,
    staleIfError,
    keepStale,
    storeSetCookie,
    storePartial,
    compress,
    isAuthorized: isAuthorized(visit),
  }
  return judgeStorage(head, policy, flow.now())
}

function reasonAgainst(flow: Flow, run: Run, head: ResponseHead, judged: Storability): Reason | undefined {
  if (run.isSkipped) return skipReason(run)
  if (!judged.storable) return judged.reason
  if (run.visit.method === 'HEAD') return 'head'
  return collectTags(flow, run, head.fields)
}

/** The reason of a run that is skipped: the response to a POST is, unless it says that it may be kept. */
export function skipReason({ forward }: Run): Reason {
  return forward === 'method' ? 'method' : 'skip'
}

// A response that is recorded for one who waits for it, and not kept.
const UNKEPT = {
  store: true,
  keep: 0,
  vary: [],
  isNegotiated: false,
  terms: {
    lifetime: 0,
    initialAge: 0,
    staleWhileRevalidate: 0,
    staleIfError: 0,
    mustRevalidate: true,
    isShared: false,
  },
} as const

function refuseToStore(flow: Flow, run: Run, { status }: ResponseHead, reason: Reason): Decision {
  // Who waits for the whole gets it, though nobody else does.
  if (run.completion && status === 200) return { ...UNKEPT, cacheStatus: statusOf(flow, run, reason) }
  // What is one visitor's own says nothing of what the others get.
  if (reason !== 'authorization') return declineNewer(flow, run, status, reason)
  supersede(flow, run, status)
  if (run.flight) flow.flights.land(run.flight, () => undefined)
  return { store: false, reason, cacheStatus: statusOf(flow, run, reason) }
}

/** Declines a response of that status, and drops what is stored: that is older, though the new one is not to be kept. */
export function declineNewer(flow: Flow, run: Run, status: number, reason: Reason): Decision {
  supersede(flow, run, status)
  return decline(flow, run, reason)
}

function supersede(flow: Flow, run: Run, status: number): void {
  // A run that was given up comes too late to say anything of what was stored since.
  if (run.isOver || run.isSolo || !run.stored || isFailure(status)) return
  void flow.guard.delete(run.stored.key)
}

/** The terms with a lifetime shortened by chance, where the route says so. */
export function jittered(flow: Flow, { route }: Run, terms: Terms): Terms {
  if (route.jitter === 0 || terms.lifetime <= 0) return terms
  return { ...terms, lifetime: terms.lifetime * (1 - route.jitter * flow.options.random()) }
}

/** A response of no use to others: those who wait run for themselves, and the next ones do not wait at all. */
export function decline(flow: Flow, run: Run, reason: Reason): Decision {
  letGo(flow, run)
  return { store: false, reason, cacheStatus: statusOf(flow, run, reason) }
}

/** Has nobody wait for the run, and for the next ones of its key for a while. */
export function letGo(flow: Flow, run: Run): void {
  const { flight, isRefresh } = run
  dropLease(flow, run, 'declined')
  if (!flight) return
  // A refresh that comes to nothing backs off in a way of its own.
  if (!isRefresh) flow.flights.ground(flight.key)
  flow.flights.land(flight, () => undefined)
}

/** What Cache-Status says of why nothing stored answered, beside `fwd`, where that says more. */
export function whyForwarded({ forward, why }: Pick<Run, 'forward' | 'why'>): { detail?: Reason } {
  const isSaid = why === forward || (forward === 'stale' && why === 'expired')
  return isSaid ? {} : { detail: why }
}

/** What Cache-Status says of a run whose response is not stored for that reason. */
export function statusOf(flow: Flow, run: Run, reason: Reason): string {
  return flow.status({ hit: false, forward: run.forward, detail: reason })
}
