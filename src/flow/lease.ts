import type { LeaseEnd, LookupNeeds } from '../backends/backend.ts'
import { forbidsStoring } from '../http/reuse.ts'
import { isByteRange, type Visit } from '../visit.ts'
import type { Flow } from './flow.ts'
import type { Run } from './run.ts'
import { expectTags } from './tags.ts'

// A process that dies keeps others waiting for so long at the most; one that lives says so three times as often.
const LEASE = 1000

/** What a look-up asks for beside the entry: the lease, where its handler would run for other processes too. */
export function needsOf(flow: Flow, visit: Visit, key: string): LookupNeeds | undefined {
  const { position } = visit
  const mayLead = visit.route.isClusterWide && maySpare(flow, visit, key)
  if (!mayLead) return position === undefined ? undefined : { position }
  return position === undefined ? { lease: LEASE } : { lease: LEASE, position }
}

// Whether one run would be of use to others too.
function maySpare({ guard, flights }: Flow, { method, headers }: Visit, key: string): boolean {
  return (
    guard.hasLeases && method === 'GET' && !isByteRange(headers) && !forbidsStoring(headers) && !flights.isGrounded(key)
  )
}

/** Has the lease of a run last as long as the run, and ended by the invalidation of what it will probably carry. */
export function keepLease(flow: Flow, run: Run): void {
  expectTags(flow, run)
  const { lease } = run
  if (lease === undefined) return
  void flow.guard.hold(run.key, lease, LEASE, [...run.expectedTags])
  const renew = () => {
    if (run.lease !== lease) return
    void flow.guard.hold(run.key, lease, LEASE)
    flow.after(LEASE / 3, renew)
  }
  flow.after(LEASE / 3, renew)
}

/** Nothing is stored under the lease of a run: others are told whether waiting is of use. */
export function dropLease(flow: Flow, run: Run, end: Exclude<LeaseEnd, 'stored'>): void {
  const { lease } = run
  if (lease === undefined) return
  run.lease = undefined
  void flow.guard.release(run.key, lease, end)
}

/** The lease of a run, for whoever ends it with a store. */
export function takeLease(run: Run): string | undefined {
  const { lease } = run
  run.lease = undefined
  return lease
}

/** Waits until a lease that another process holds ends, for so many milliseconds at the most: how it has; or that who waits has left; undefined where nothing is heard. */
export function leaseEnd(
  flow: Flow,
  key: string,
  { milliseconds, since }: { readonly milliseconds: number; readonly since: number | undefined },
  onWait: (leave: () => void) => void,
): Promise<LeaseEnd | 'left' | undefined> {
  return new Promise((resolve) => {
    const settle = (end: LeaseEnd | 'left' | undefined) => {
      stop()
      cancel()
      resolve(end)
    }
    const stop = flow.guard.onLeaseEnd(key, settle, since)
    const cancel = flow.after(milliseconds, () => settle(undefined))
    onWait(() => settle('left'))
  })
}
