import { missingRange } from '../core/partial.ts'
import type { Forward } from '../http/cache-status.ts'
import type { Visit } from '../visit.ts'
import type { Flow } from './flow.ts'
import { keepLease } from './lease.ts'
import type { Run, Waiting } from './run.ts'
import { expectTags } from './tags.ts'

type Kind = Partial<Pick<Run, 'isSolo' | 'isRefresh' | 'completion'>>

/** Begins a run for nobody but whoever asks. */
export function startRun(
  flow: Flow,
  { visit, parts, place, stamp, stored, mayReplaceError, lease }: Waiting,
  forward: Forward,
  { isSolo = false, isRefresh = false, completion }: Kind = {},
): Run {
  const implicitTags = [...flow.implicitTags, flow.routeTag(parts.route)]
  const run: Run = {
    visit,
    parts,
    place,
    key: place.key,
    stamp,
    startedAt: flow.now(),
    forward,
    tags: new Set(implicitTags),
    expectedTags: new Set(implicitTags),
    flight: undefined,
    isGrounded: flow.flights.isGrounded(place.key),
    isSolo,
    stored,
    mayReplaceError,
    isRefresh,
    completion,
    prelude: undefined,
    lease: lease?.kind === 'taken' ? lease.holder : undefined,
    route: visit.route,
    call: visit.call,
    ttl: undefined,
    isSkipped: false,
    isOver: false,
    isRetracted: false,
  }
  if (mayReplaceError) flow.replaceable.add(run)
  if (run.lease !== undefined) keepLease(flow, run)
  return run
}

/** Begins a run that others may wait for. */
export function leadRun(flow: Flow, waiting: Waiting, forward: Forward): Run {
  const run = startRun(flow, waiting, forward)
  if (waiting.visit.route.maxWait > 0) takeOff(flow, run)
  return run
}

/** Begins a run in the background: one for each key, and none while the last ones failed. */
export function startRefreshRun(flow: Flow, waiting: Waiting, client?: Waiting): Run | undefined {
  const { key } = waiting.place
  if (flow.backoff.isResting(key) || flow.flights.find(key) || flow.flights.isGrounded(key)) return undefined
  const range = client && waiting.stored && missingRange(waiting.stored.response)
  const completion = client && range !== undefined ? { range, client } : undefined
  const known = { ...waiting, visit: asSent(waiting.visit), mayReplaceError: false }
  const run = startRun(flow, known, 'stale', { isRefresh: true, completion })
  takeOff(flow, run)
  return run
}

function takeOff(flow: Flow, run: Run): void {
  run.flight = flow.flights.start(run.key, run)
  if (run.flight && run.lease === undefined) expectTags(flow, run)
}

/** The request as it is now: layers below may change its fields, and what varies is what the client has sent. */
export function asSent(visit: Visit): Visit {
  return { ...visit, headers: { ...visit.headers } }
}
