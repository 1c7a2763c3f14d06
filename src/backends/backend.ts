import type { Entry, Removal } from '../core/entry.ts'
import type { MaybePromise } from '../core/maybe.ts'
import type { WarningCode } from '../errors.ts'

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
  /** What became of the lease that was asked for; undefined where the entry is valid and fresh, or the backend has no leases. */
  readonly lease?: Lease
  /** Where the entry comes from, of a backend in two tiers. */
  readonly tier?: Tier
}

/** In this process, or in the backend that is shared. */
export type Tier = 'near' | 'far'

/** The right to compute what is kept under a key, for all processes that share the backend. */
export type Lease =
  /** It is the asker's, until it ends. */
  | { readonly kind: 'taken'; readonly holder: string }
  /** Somebody else computes, for so many milliseconds more at the most; `since` is for `onEnd`. */
  | { readonly kind: 'held'; readonly left: number; readonly since?: number }

/** What a look-up needs beside the entry. */
export interface LookupNeeds {
  /** Take the lease for so many milliseconds where the entry is missing, outdated or stale. */
  readonly lease?: number
  /** A position that this process has to have caught up with (`TagBackend.position`). */
  readonly position?: string
}

/** How a lease has ended: something is stored; what came of it is of no use to others; or nothing came of it. */
export type LeaseEnd = 'stored' | 'declined' | 'abandoned'

/** Leases, where a backend has them. */
export interface Leases {
  /** Has a lease last for so many milliseconds from now on; `tags` are those whose invalidation ends it. Answers whether it is still held. */
  hold(key: string, holder: string, milliseconds: number, tags?: readonly string[]): MaybePromise<boolean>
  /** Ends it without a store. */
  release(key: string, holder: string, end: 'declined' | 'abandoned'): MaybePromise<void>
  /** Tells how a lease that somebody else holds has ended, if that is heard of, or was since then. Returns the way to stop waiting. */
  onEnd(key: string, listener: (end: LeaseEnd) => void, since?: number): () => void
}

/** What was invalidated or deleted, as those who keep copies are told. */
export interface Changes {
  /** Tags, or what else was named in an invalidation; undefined where it may be anything. */
  readonly tags: readonly string[] | undefined
  readonly keys: readonly string[]
}

/** What a backend offers to a near tier in front of it. */
export interface Feed {
  /** What was invalidated or deleted since a position, and the position now. All of it took effect everywhere before it is told here. */
  changesSince(position: string | undefined): Promise<Changes & { readonly position: string }>
  /** What outdates a copy of an entry: the latest invalidation of its tags, and when it was deleted last, or 0; on the clock of its key. */
  check(key: string, tags: readonly string[]): Promise<{ readonly invalidatedAt: number; readonly deletedAt: number }>
  /** Whether whoever has reached the one position has passed the other. */
  hasPassed(reached: string, other: string): boolean
  /** Has changes told as soon as they are heard of; some may be missed. Returns the way to end that. */
  listen(listener: (changes: Changes) => void): () => void
}

/** What a process has left for the others. */
export interface Notice {
  /** Who has left it. */
  readonly id: string
  readonly text: string
}

/** Where the processes that share a backend leave each other notices. Nothing depends on it. */
export interface Board {
  /** Leaves a text for so many milliseconds, in the place of the last one of the same id. */
  publish(id: string, text: string, milliseconds: number): MaybePromise<void>
  /** What was left and has not run out. */
  read(): MaybePromise<readonly Notice[]>
}

/** What a near tier has to know of the entry that it has a copy of. */
export interface Origin {
  /** Of the entry. */
  readonly stamp: number
  /** The clock of the backend that it came from, when the copy was made. */
  readonly clock: number
}

/** An entry as a near tier keeps it. A backend in front of another one hands it out as it was stored. */
export interface Copy extends Entry {
  readonly origin: Origin
}

/** How much a backend holds. */
export interface BackendSize {
  readonly entries: number
  /** Keys, headers, bodies and bookkeeping, in bytes. */
  readonly bytes: number
}

/** Which part of what a backend holds is asked for. */
export interface Query {
  /** What the name begins with. Default: anything. */
  readonly prefix?: string
  /** What the page before gave as `next`. Default: from the beginning. */
  readonly after?: string
  /** The most that a page holds. */
  readonly limit: number
}

/** Some of many. One that came or went meanwhile may be missing, or there twice. */
export interface Page<V> {
  /** Fewer than asked for, or none, does not mean that there are no more. */
  readonly items: readonly V[]
  /** Where the next page begins; undefined after the last one. */
  readonly next?: string
}

/** What a backend knows of a tag. */
export interface TagRecord {
  readonly tag: string
  /** How many entries carry it; those that were purged or are past their time may be among them. */
  readonly entries: number
  /** There are that many, and more were not counted. */
  readonly isAtLeast?: boolean
  /** When it was invalidated last, in epoch milliseconds, where the backend can tell. */
  readonly invalidatedTime?: number
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
  /** How much it holds at the most, as `size()` counts, where there is such a bound. */
  readonly maxBytes?: number
  /** The entry under the key, the latest invalidation of its tags and the clock, in one step. */
  lookup(key: string, needs?: LookupNeeds): Reply<Sync, Lookup>
  /** What it can answer at once without asking anybody, of a backend that keeps copies; a look-up does more. */
  glance?(key: string, needs?: LookupNeeds): Lookup | undefined
  /** The clock now: the one that counts for the key, where there are several. */
  clock(key?: string): Reply<Sync, number>
  /** The latest invalidation of any of these tags, on the clock that counts for the key. */
  invalidatedAt(tags: readonly string[], key?: string): Reply<Sync, number>
  /**
   * Keeps the entry for `ttl` milliseconds at the most, and ends the lease of that holder. Answers whether it is kept; one
   * that is born outdated need not be.
   */
  store(entry: Entry, ttl: number, holder?: string): Reply<Sync, boolean>
  /** Advances the clock and writes its value as the last invalidation of each tag. Takes time by the number of tags, not of entries. */
  invalidate(tags: readonly string[]): Reply<Sync, void>
  /** Forgets one entry; answers whether there was one. */
  delete(key: string): Reply<Sync, boolean>
  /** Advances the clock, and makes every entry stored or being computed outdated. */
  clear(): Reply<Sync, void>
  /** The entries that carry the tag, newest first; outdated ones may be among them. */
  list(tag: string, limit: number): Reply<Sync, readonly Lookup[]>
  /** Tags that entries carry, in any order; for those who operate it. It may take many pages, and holds nothing up. */
  tags?(query: Query): MaybePromise<Page<TagRecord>>
  /** Entries by what their keys begin with, in any order; outdated ones may be among them. */
  entries?(query: Query): MaybePromise<Page<Lookup>>
  /** Which clock counts for a key; stamps are of use only for keys of one clock. Without it there is one clock for all keys. */
  clockOf?(key: string): number
  /** One run for each key among all processes that share the backend. */
  readonly leases?: Leases
  /** For a near tier. */
  readonly feed?: Feed
  /** For what the processes that share it tell each other of themselves. */
  readonly board?: Board
  /** Where the last invalidation of this process stands, for others to catch up with. */
  position?(): string | undefined
  /** For how many milliseconds at the most what was invalidated elsewhere may still be handed out. Default: none. */
  readonly maxStaleness?: number
  /** How much it holds; undefined where that is not known. */
  size?(): BackendSize
  /** Has it told when copies in this process are not trusted any more, for want of news, and when they are again. */
  onTrust?(listener: (isTrusted: boolean) => void): void
  /** Has what is wrong with the set-up told, now and later. */
  onWarning?(listener: (code: WarningCode, error?: unknown) => void): void
  /** Has every removal told from now on. */
  onRemoval?(listener: (removal: Removal) => void): void
  /** Ends what the backend itself has started. A client that was handed in stays open. */
  close(): Reply<Sync, void>
}
