import type { Entry, Removal } from '../core/entry.ts'
import type { MaybePromise } from '../core/maybe.ts'

/** The smallest backend: three methods over bytes. `keyValue()` makes a full backend of it. */
export interface CacheBackend {
  /** The bytes last set under the key, or undefined (or null) where there are none. */
  get(key: string): MaybePromise<Uint8Array | undefined | null>
  /** Keeps the bytes under the key, for `ttl` seconds at the most where it is given. */
  set(key: string, value: Uint8Array, ttl?: number): unknown
  /** Forgets the key. */
  delete(key: string): unknown
}

/** What a backend answers to a look-up, all of one moment. */
export interface Lookup {
  /** What is kept under the key. */
  readonly entry: Entry | undefined
  /** The latest invalidation among the entry's tags, on the invalidation clock; 0 without an entry. */
  readonly invalidatedAt: number
  /** The invalidation clock now: the stamp of what is computed from here on. */
  readonly clock: number
  /** Why what is kept there could not be read; it counts as nothing. */
  readonly fault?: unknown
}

/** How much a backend holds. */
export interface BackendSize {
  readonly entries: number
  /** Keys, headers, bodies and bookkeeping, in bytes. */
  readonly bytes: number
}

/** An answer at once from a synchronous backend; from another one, at once or with a promise. */
export type Reply<Sync extends boolean, V> = Sync extends true ? V : MaybePromise<V>

/**
 * What a backend does for a cache. Backends deliver an entry's stamp and the latest invalidation of its tags, of one
 * moment; they do not decide what that means. State that a backend loses may cost hits: of a tag whose invalidations it
 * no longer knows it says the latest that is possible.
 */
export interface TagBackend<Sync extends boolean = boolean> {
  /** Whether every method answers at once; where it is false, the cache's own methods give promises. */
  readonly sync: Sync
  /** The largest body it takes, in bytes. */
  readonly maxBodySize: number
  /** The entry under the key, the latest invalidation of its tags and the clock, in one step. */
  lookup(key: string): Reply<Sync, Lookup>
  /** The clock now. */
  clock(): Reply<Sync, number>
  /** The latest invalidation of any of these tags. */
  invalidatedAt(tags: readonly string[]): Reply<Sync, number>
  /** Keeps the entry for `ttl` milliseconds at the most. Answers whether it is kept; one that is born outdated need not be. */
  store(entry: Entry, ttl: number): Reply<Sync, boolean>
  /** Advances the clock and writes its value as the last invalidation of each tag. Takes time by the number of tags, not of entries. */
  invalidate(tags: readonly string[]): Reply<Sync, void>
  /** Forgets one entry; answers whether there was one. */
  delete(key: string): Reply<Sync, boolean>
  /** Advances the clock, and makes every entry stored or being computed outdated. */
  clear(): Reply<Sync, void>
  /** The entries that carry the tag, newest first; outdated ones may be among them. */
  list(tag: string, limit: number): Reply<Sync, readonly Lookup[]>
  /** How much it holds; undefined where that is not known. */
  size?(): BackendSize
  /** Has every removal told from now on. */
  onRemoval?(listener: (removal: Removal) => void): void
  /** Ends what the backend itself has started. A client that was handed in stays open. */
  close(): Reply<Sync, void>
}
