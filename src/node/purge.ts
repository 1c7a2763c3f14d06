import type { ServerResponse } from 'node:http'
import type { Cache } from '../cache.ts'
import { chain, isPromise, type MaybePromise } from '../core/maybe.ts'
import { namesPurged, type TagList } from '../core/tags.ts'
import { checkOptions } from '../core/values.ts'
import { interceptHead } from './head.ts'

/** When an `invalidates()` purges. */
export interface InvalidatesOptions<Args extends readonly unknown[] = readonly unknown[]> {
  /** Whether the answer means that the write happened. Default: its status is below 400. */
  when?: (...args: Args) => boolean
}

/** Tags, or what gives them once the write has succeeded; a promise of them is waited for. */
export type PurgeTags<Args extends readonly unknown[], T extends string = string> =
  | TagList<T>
  | ((...args: Args) => MaybePromise<TagList<T>>)

/** What one `invalidates()` does when its write has succeeded. */
export interface Purge {
  readonly isDue: (args: readonly unknown[], status: number) => boolean
  readonly run: (args: readonly unknown[]) => MaybePromise<void>
}

/** Checks what `invalidates()` was given, when it is mounted. Throws `ERR_TAGCACHE_TAG` or `ERR_TAGCACHE_OPTION_UNKNOWN`. */
export function preparePurge(cache: Cache, tags: PurgeTags<never>, options: InvalidatesOptions<never> = {}): Purge {
  checkOptions('invalidates()', options, ['when'])
  if (typeof tags !== 'function' && namesPurged(tags).length === 0) cache.warn('TAGCACHE_INVALIDATES_NOTHING')
  const { when } = options
  return {
    isDue: (args, status) => (when ? isWanted(cache, when, args) : status < 400),
    run: (args) => purge(cache, tags, args),
  }
}

// Where it cannot be told whether the write happened, or what it wrote, everything may be wrong.
function isWanted(cache: Cache, when: (...args: never) => boolean, args: readonly unknown[]): boolean {
  try {
    return when(...(args as never))
  } catch (error) {
    cache.warn('TAGCACHE_PURGE_TAGS_FAILED', undefined, error)
    return true
  }
}

function purge(cache: Cache, tags: PurgeTags<never>, args: readonly unknown[]): MaybePromise<void> {
  const everything = (error: unknown) => {
    cache.warn('TAGCACHE_PURGE_TAGS_FAILED', undefined, error)
    return cache.purge('everything')
  }
  try {
    const given = typeof tags === 'function' ? tags(...(args as never)) : tags
    if (!isPromise(given)) return cache.purge(given)
    return given.then((list) => cache.purge(list)).catch(everything)
  } catch (error) {
    return everything(error)
  }
}

/**
 * Purges when the answer begins, before its first byte leaves, and again before the last one of a streamed answer.
 * @returns purges at once for an answer of that status, so that its beginning does not have to
 */
export function purgeOnAnswer(
  cache: Cache,
  purge: Purge,
  res: ServerResponse,
  args: readonly unknown[],
): (status: number) => MaybePromise<void> {
  const isLate = res.headersSent
  if (isLate) cache.warn('TAGCACHE_INVALIDATES_TOO_LATE')
  let pending: MaybePromise<void> | undefined
  let hasBegun = isLate
  const settle = (status: number) => {
    hasBegun = true
    if (!isLate) res.statusCode = status
    if (purge.isDue(args, status)) pending = chain(pending, () => purge.run(args))
    return pending
  }
  interceptHead(res, ({ status }) => {
    if (hasBegun) return undefined
    const purging = settle(status)
    if (isPromise(purging)) holdBack(res, purging)
    return undefined
  })
  holdEnd(res, () => (hasBegun && !res.headersSent ? pending : settle(res.statusCode)))
  // The write may have happened although nobody is left to be told.
  res.once('close', () => {
    if (!hasBegun || isLate) void settle(res.statusCode)
  })
  return settle
}

// Bytes wait in the socket; node:http notices nothing. A pipelined response gets its socket later.
function holdBack(res: ServerResponse, until: Promise<void>): void {
  const hold = () => {
    const { socket } = res
    socket?.cork()
    void until.finally(() => socket?.uncork())
  }
  if (res.socket) hold()
  else res.once('socket', hold)
}

// `end` lets everything go that the socket holds, so it has to wait itself.
function holdEnd(res: ServerResponse, settled: () => MaybePromise<void>): void {
  const original = res.end
  let isHeld = false
  res.end = ((...args: unknown[]): ServerResponse => {
    if (res.writableEnded || isHeld) return Reflect.apply(original, res, args)
    isHeld = true
    const waiting = settled()
    if (isPromise(waiting)) void waiting.finally(() => Reflect.apply(original, res, args))
    else Reflect.apply(original, res, args)
    return res
  }) as typeof res.end
}
