import { ageOf, type Entry, fieldsOf, fieldValue, freshFor, type HeaderField } from '../core/entry.ts'
import type { MaybePromise } from '../core/maybe.ts'
import { renewedResponse } from '../core/renewal.ts'
import { formatDate } from '../http/date.ts'
import { type Fields, firstLine } from '../http/fields.ts'
import { isFailure, type ResponseHead } from '../http/policy.ts'
import { withoutWeakness } from '../http/validators.ts'
import { routeName } from '../visit.ts'
import { jittered, judgeRun, skipReason } from './decide.ts'
import type { Flow } from './flow.ts'
import { abandon, endRun, entryOf, keep, lodgingOf, negotiable, recordRun, serveWaiters } from './land.ts'
import type { Run, Substitution } from './run.ts'
import { collectTags } from './tags.ts'
import { validatorsOf } from './usable.ts'

/** What the layers below have done to a response, as far as it is judged. */
export interface Below {
  readonly headers: readonly HeaderField[]
  readonly fields: Fields
  readonly outerSayings: Pick<ResponseHead, 'outerCacheControl' | 'outerVary'>
}

/** Whether the client gets something stored instead of an answer with that status. */
export function maySubstitute(flow: Flow, run: Run, status: number): boolean {
  if (!run.stored || run.isOver || run.completion) return false
  return (status === 304 && validatorsOf(run.stored) !== undefined) || (isFailure(status) && mayReplaceError(flow, run))
}

/** Whether what is stored may take the place of an error: still, for the window may have ended while the handler ran. */
export function mayReplaceError(flow: Flow, { stored, ...run }: Run): boolean {
  return (
    run.mayReplaceError && !run.isOver && stored !== undefined && -freshFor(stored, flow.now()) <= stored.staleIfError
  )
}

/** What the client gets instead of the handler's answer: nothing else, or what is stored. */
export function substitute(flow: Flow, run: Run, status: number, below: Below): Substitution | undefined {
  if (!run.stored || !maySubstitute(flow, run, status)) return undefined
  return status === 304 ? renewal(flow, run, run.stored, below) : replacement(flow, run, status)
}

/** What is stored, in the place of an error (RFC 5861, 4); undefined where it must not take it. */
export function replacement(flow: Flow, run: Run, status: number | undefined): Substitution | undefined {
  const { stored: entry, forward } = run
  if (!entry || !mayReplaceError(flow, run)) return undefined
  const now = flow.now()
  const forwardStatus = status === undefined ? {} : { forwardStatus: status }
  const cacheStatus = flow.status({ hit: false, forward, ...forwardStatus, detail: 'stale-if-error' })
  return { entry, now, age: ageOf(entry, now), cacheStatus, fate: { kind: 'leave', status } }
}

// What is stored, with what the handler's 304 says (RFC 9111, 4.3.3 and 4.3.4).
function renewal(flow: Flow, run: Run, stored: Entry, below: Below): Substitution {
  const now = flow.now()
  const hasDate = fieldValue(stored.response.headers, 'date') !== undefined
  const response = renewedResponse(stored.response, below, hasDate ? formatDate(now) : undefined)
  const fields = fieldsOf(response.headers, { own: true })
  for (const tag of stored.tags) run.tags.add(tag)
  const judged = judgeRun(flow, run, { status: response.status, fields, ...below.outerSayings })
  const reason = run.isSkipped ? skipReason(run) : judged.storable ? collectTags(flow, run, fields) : judged.reason
  const isOther = hasOtherTag(stored, below.fields)
  const lodging =
    judged.storable && reason === undefined && !isOther
      ? lodgingOf(flow, run, judged.vary, fieldsOf(response.headers))
      : undefined
  if (judged.storable && lodging) {
    const renewed = negotiable(response, judged.isNegotiated)
    const entry = entryOf(flow, run, lodging.key, jittered(flow, run, judged.terms), renewed)
    const cacheStatus = flow.status({ hit: false, forward: run.forward, forwardStatus: 304, stored: true })
    return { entry, now, age: ageOf(entry, now), cacheStatus, fate: { kind: 'renew', keep: judged.keep } }
  }
  const why = reason ?? (isOther ? 'etag' : 'variants')
  const terms = { ...stored, lifetime: 0, initialAge: 0 }
  const entry = entryOf(flow, run, stored.key, terms, response)
  const cacheStatus = flow.status({ hit: false, forward: run.forward, forwardStatus: 304, detail: why })
  return { entry, now, age: ageOf(entry, now), cacheStatus, fate: { kind: 'drop', reason: why } }
}

// A 304 that names another entity-tag does not speak of what is stored (RFC 9111, 4.3.4).
function hasOtherTag(stored: Entry, fields: Fields): boolean {
  const [ours, theirs] = [validatorsOf(stored)?.etag, firstLine(fields, 'etag')]
  return ours !== undefined && theirs !== undefined && withoutWeakness(ours) !== withoutWeakness(theirs)
}

/** The client has got its substitute, of so many bytes: what that means for the store, and for those who wait. */
export function settle(flow: Flow, run: Run, { entry, fate }: Substitution, bytes = 0): MaybePromise<void> {
  if (run.isOver) return
  if (!run.isRefresh) flow.events.ofRoute(routeName(run.visit)).served += bytes
  if (fate.kind === 'renew') {
    if (run.stored && run.stored.key !== entry.key) void flow.guard.delete(run.stored.key)
    return keep(flow, run, entry, fate.keep, { reason: 'validated' })
  }
  if (fate.kind === 'drop') {
    void flow.guard.delete(entry.key)
    return abandon(flow, run, fate.reason)
  }
  endRun(flow, run)
  flow.backoff.fail(run.key)
  flow.failing.fail(run.key)
  tellFailure(flow, run, fate.status)
  recordRun(flow, run, { outcome: 'stale', stored: false, reason: 'stale-if-error' })
  return serveWaiters(flow, run, entry)
}

function tellFailure(flow: Flow, { visit, thrown }: Run, status: number | undefined): void {
  const answered = status === undefined ? {} : { status }
  flow.events.emit({ type: 'failure', route: routeName(visit), ...answered, ...thrown })
}

/** Whether an error that a handler has thrown means that it has failed: one that speaks of the request, or of another place, is an answer. */
export function meansFailure(error: unknown): boolean {
  const { status, statusCode } = Object(error) as { status?: unknown; statusCode?: unknown }
  const stated = Number(status ?? statusCode ?? 500)
  return Number.isNaN(stated) || isFailure(stated)
}
