import { missingRange } from '../core/partial.ts'
import type { Forward } from '../http/cache-status.ts'
import type { Fields } from '../http/fields.ts'
import type { ResolvedRoute } from '../options/route.ts'
import type { Call, Sighting, Target, Visit } from '../visit.ts'
import type { Flow } from './flow.ts'
import { keepLease } from './lease.ts'
import type { Run, Waiting } from './run.ts'
import { expectTags } from './tags.ts'

type Kind = Partial<Pick<Run, 'isSolo' | 'isRefresh' | 'completion'>>

// Made by a class: see docs/decisions/express-shapes.md.
class StartedRun implements Run {
  visit: Run['visit']
  readonly parts: Run['parts']
  readonly place: Run['place']
  readonly key: string
  stamp: number
  readonly startedAt: number
  readonly forward: Forward
  readonly why: Run['why']
  readonly tags: Set<string>
  readonly expectedTags: Set<string>
  readonly isGrounded: boolean
  readonly isSolo: boolean
  readonly stored: Run['stored']
  mayReplaceError: boolean
  readonly isRefresh: boolean
  readonly completion: Run['completion']
  lease: string | undefined
  route: Run['route']
  call: Run['call']
  flight: Run['flight'] = undefined
  prelude: Run['prelude'] = undefined
  onEnd: Run['onEnd'] = undefined
  ttl: number | undefined = undefined
  thrown: Run['thrown'] = undefined
  isSkipped = false
  isOver = false
  isRetracted = false

  constructor(flow: Flow, waiting: Waiting, forward: Forward, kind: Kind) {
    const { visit, place, lease } = waiting
    this.visit = visit
    this.parts = waiting.parts
    this.place = place
    this.key = place.key
    this.stamp = waiting.stamp
    this.startedAt = flow.now()
    this.forward = forward
    this.why = waiting.why
    const implicitTags = [...flow.implicitTags, flow.routeTag(waiting.parts.route)]
    this.tags = new Set(implicitTags)
    this.expectedTags = new Set(implicitTags)
    this.isGrounded = flow.flights.isGrounded(place.key)
    this.isSolo = kind.isSolo ?? false
    this.stored = waiting.stored
    this.mayReplaceError = waiting.mayReplaceError
    this.isRefresh = kind.isRefresh ?? false
    this.completion = kind.completion
    this.lease = lease?.kind === 'taken' ? lease.holder : undefined
    this.route = visit.route
    this.call = visit.call
  }
}

/** Begins a run for nobody but whoever asks. */
export function startRun(flow: Flow, waiting: Waiting, forward: Forward, kind: Kind = {}): Run {
  const run = new StartedRun(flow, waiting, forward, kind)
  if (run.mayReplaceError) flow.replaceable.add(run)
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
  const known = { ...waiting, mayReplaceError: false }
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
  return new SentVisit(visit)
}

class SentVisit implements Visit {
  readonly method: string
  readonly headers: Fields
  readonly position: string | undefined
  readonly target: Target
  readonly route: ResolvedRoute
  readonly call: Call
  readonly canRefresh: () => boolean
  readonly sighting: Sighting | undefined

  constructor(visit: Visit) {
    this.method = visit.method
    this.headers = { ...visit.headers }
    this.position = visit.position
    this.target = visit.target
    this.route = visit.route
    this.call = visit.call
    this.canRefresh = visit.canRefresh
    this.sighting = visit.sighting
  }
}
