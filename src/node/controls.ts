import type { ServerResponse } from 'node:http'
import type { TagList } from '../core/tags.ts'
import { type Duration, durationOf } from '../core/values.ts'
import type { Flow } from '../flow/flow.ts'
import { retract } from '../flow/land.ts'
import type { Run } from '../flow/run.ts'
import { addTags } from '../flow/tags.ts'
import { layerOf } from './serve.ts'

/** What a handler can say of its own response. All do nothing where no `cached()` is at work. */
export interface Controls<Handle, T extends string = string> {
  /** Adds tags to the response. Something that is no tag keeps the response from being stored, and is told as a warning. */
  tag(handle: Handle, ...tags: readonly TagList<T>[]): void
  /** Keeps the response from being stored. */
  skip(handle: Handle): void
  /** How long the response is fresh: seconds, or text with a unit; 0 stores nothing. Goes before the route's own `ttl`. */
  ttl(handle: Handle, duration: Duration): void
}

/** The controls of a cache for handlers that know their response by `responseOf`. */
export function controlsOf<Handle, T extends string>(
  flow: Flow,
  responseOf: (handle: Handle) => ServerResponse,
): Controls<Handle, T> {
  const withRun = (handle: Handle, act: (run: Run) => void) => {
    const run = layerOf(flow, responseOf(handle))?.run
    if (!run) return
    if (run.isOver) {
      retract(flow, run)
      return flow.warn('TAGCACHE_CONTROL_TOO_LATE', run.visit.target.pattern)
    }
    try {
      act(run)
    } catch (error) {
      run.isSkipped = true
      flow.warn('TAGCACHE_CONTROL_FAILED', run.visit.target.pattern, error)
    }
  }
  return {
    tag: (handle, ...tags) =>
      withRun(handle, (run) => {
        for (const list of tags) addTags(flow, run, list as TagList)
      }),
    skip: (handle) =>
      withRun(handle, (run) => {
        run.isSkipped = true
      }),
    ttl: (handle, duration) =>
      withRun(handle, (run) => {
        run.ttl = durationOf('ttl', duration, 'ERR_TAGCACHE_TTL')
      }),
  }
}
