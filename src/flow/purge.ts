import { chain, type MaybePromise } from '../core/maybe.ts'
import { namesPurged, type TagList } from '../core/tags.ts'
import type { Flow } from './flow.ts'

/**
 * Purges everything that carries one of those tags, or answers for one of those URIs (named as `core/uri` does). A closed
 * cache has nothing left to purge. Answers false where the backend has not taken it yet. Throws `ERR_TAGCACHE_TAG`.
 */
export function purge(flow: Flow, tags: TagList, uris: readonly string[] = []): MaybePromise<boolean> {
  const names = namesPurged(tags)
  if (flow.isOver || names.length + uris.length === 0) return true
  const purged = [...names.map((name) => flow.tagKey(name)), ...uris.map((uri) => flow.backendName(uri))]
  forbidReplacing(flow, (tag) => purged.includes(tag))
  return chain(flow.guard.invalidate(purged), (isDelivered) => {
    flow.events.emit({ type: 'invalidation', tags: names, uris, isDelivered })
    return isDelivered
  })
}

/** Purges everything. Others that share the backend keep what is theirs. */
export function purgeEverything(flow: Flow): MaybePromise<boolean> {
  if (flow.isOver) return true
  forbidReplacing(flow, () => true)
  const { guard, implicitTags } = flow
  const cleared = implicitTags.length > 0 ? guard.invalidate(implicitTags) : guard.clear()
  return chain(cleared, (isDelivered) => {
    flow.events.emit({ type: 'clear', isDelivered })
    return isDelivered
  })
}

// A purged response is never served stale, also not to those who found it before.
function forbidReplacing(flow: Flow, isPurged: (tag: string) => boolean): void {
  for (const run of flow.replaceable) {
    if (!run.stored || (run.stored.tags.length > 0 && !run.stored.tags.some(isPurged))) continue
    run.mayReplaceError = false
    flow.replaceable.delete(run)
  }
}
