import { isPromise, type MaybePromise } from '../core/maybe.ts'
import { isOutdated, type TagList } from '../core/tags.ts'
import type { Fields } from '../http/fields.ts'
import { explicitLifetime, sayingsOf } from '../http/freshness.ts'
import { forbidsStoring } from '../http/reuse.ts'
import { admit, type Visit } from '../visit.ts'
import type { Flow } from './flow.ts'
import { purge } from './purge.ts'
import type { Run } from './run.ts'
import { startRun } from './start.ts'
import { collectTags, uriTag } from './tags.ts'

/** A run for the response to a POST that may answer GET requests later (RFC 9110, 9.3.3). Nothing of it is kept unless it is adopted. */
export function startPost(flow: Flow, visit: Visit): Run | undefined {
  const { 'content-length': _, 'transfer-encoding': __, ...headers } = visit.headers
  if (forbidsStoring(visit.headers) || !flow.guard.isSync) return undefined
  const asGet = { ...visit, method: 'GET', headers }
  const admission = admit(asGet, flow.options.namespace, flow.events.warn)
  // Its stamp has to be taken between its own purge and whatever comes next: only a backend in this process can do that.
  const stamp = flow.guard.clock()
  if (!admission.admitted || typeof stamp !== 'number') return undefined
  const { parts } = admission
  const place = flow.locate(asGet, parts)
  if (!place) return undefined
  const waiting = {
    visit: asGet,
    parts,
    place,
    stamp,
    stored: undefined,
    mayReplaceError: false,
    why: 'method',
  } as const
  const run = startRun(flow, waiting, 'method', { isSolo: true })
  run.isSkipped = true
  return run
}

/** Purges what a POST made wrong, and then lets its own response be kept, if nothing that it was made of was purged meanwhile. */
export function adoptPost(
  flow: Flow,
  run: Run,
  fields: Fields,
  purged: { readonly tags: TagList; readonly uris: readonly string[] },
): MaybePromise<boolean> {
  const hasLifetime = explicitLifetime(fields, sayingsOf(fields, run.route.targetedFields), flow.now()) !== undefined
  const isKnown = collectTags(flow, run, fields) === undefined
  const latest = flow.guard.invalidatedAt([...run.tags, uriTag(flow, run.visit, fields)])
  const isCurrent = typeof latest === 'number' && !isOutdated(run.stamp, latest)
  const purging = purge(flow, purged.tags, purged.uris)
  const stamp = flow.guard.clock()
  if (hasLifetime && isKnown && isCurrent && !isPromise(purging) && typeof stamp === 'number') {
    run.stamp = stamp
    for (const tag of run.tags) run.expectedTags.add(tag)
    run.isSkipped = false
  }
  return purging
}
