import { chain, type MaybePromise } from '../core/maybe.ts'
import { namesPurged, type TagList } from '../core/tags.ts'
import type { Flow } from './flow.ts'

/** What is told of a purge beside what it purges. */
export interface PurgeOptions {
  /** Who asks for it, told with the event. Default: nobody in particular. */
  by?: string
}

/**
 * Purges everything that carries one of those tags, or answers for one of those URIs (named as `core/uri` does). A closed
 * cache has nothing left to purge. Answers false where the backend has not taken it yet. Throws `ERR_TAGCACHE_TAG`.
 */
export function purge(
  flow: Flow,
  tags: TagList,
  uris: readonly string[] = [],
  { by }: PurgeOptions = {},
): MaybePromise<boolean> {
  const names = namesPurged(tags)
  const purged = [...names.map((name) => flow.tagKey(name)), ...uris.map((uri) => flow.backendName(uri))]
  return invalidate(flow, purged, { tags: names, uris, ...nameOf(by) })
}

/** Purges every response of a route, stored or still being computed. */
export function purgeRoute(flow: Flow, route: string, { by }: PurgeOptions = {}): MaybePromise<boolean> {
  return invalidate(flow, [flow.routeTag(route)], { tags: [], uris: [], routes: [route], ...nameOf(by) })
}

/** Purges everything. Others that share the backend keep what is theirs. */
export function purgeEverything(flow: Flow, { by }: PurgeOptions = {}): MaybePromise<boolean> {
  if (flow.isOver) return true
  forbidReplacing(flow, () => true)
  const { guard, implicitTags } = flow
  const cleared = implicitTags.length > 0 ? guard.invalidate(implicitTags) : guard.clear()
  return chain(cleared, (isDelivered) => {
    flow.events.emit({ type: 'clear', isDelivered, ...nameOf(by) })
    return isDelivered
  })
}

/** Forgets one entry; answers whether there was one. A computation of it goes on, and may be stored. */
export function purgeEntry(flow: Flow, key: string, { by }: PurgeOptions = {}): MaybePromise<boolean> {
  if (flow.isOver) return false
  return chain(flow.guard.delete(key), (isDeleted) => {
    if (isDeleted) {
      flow.events.emit({ type: 'invalidation', tags: [], uris: [], keys: [key], isDelivered: true, ...nameOf(by) })
    }
    return isDeleted
  })
}

/** What was purged, as the event says it. */
interface Purged {
  readonly tags: readonly string[]
  readonly uris: readonly string[]
  readonly routes?: readonly string[]
  readonly by?: string
}

function invalidate(flow: Flow, names: readonly string[], purged: Purged): MaybePromise<boolean> {
  if (flow.isOver || names.length === 0) return true
  forbidReplacing(flow, (tag) => names.includes(tag))
  return chain(flow.guard.invalidate(names), (isDelivered) => {
    flow.events.emit({ type: 'invalidation', ...purged, isDelivered })
    return isDelivered
  })
}

function nameOf(by: string | undefined): { by?: string } {
  return by === undefined ? {} : { by }
}

// A purged response is never served stale, also not to those who found it before.
function forbidReplacing(flow: Flow, isPurged: (tag: string) => boolean): void {
  for (const run of flow.replaceable) {
    if (!run.stored || (run.stored.tags.length > 0 && !run.stored.tags.some(isPurged))) continue
    run.mayReplaceError = false
    flow.replaceable.delete(run)
  }
}
