import type { CacheStats } from '../../core/trace.ts'
import type { PurgeResult } from '../../dashboard/purge.ts'
import type { Happening } from '../../dashboard/timeline.ts'

/** Whose numbers or entries are shown. */
export type Whose =
  | { readonly kind: 'process'; readonly pid: number; readonly host: string; readonly since: number }
  | {
      readonly kind: 'fleet'
      /** Those counted, and when each has last said something, in epoch milliseconds. */
      readonly nodes: readonly { readonly id: string; readonly at: number }[]
      /** How many more have said something that is not counted. */
      readonly unread: number
    }
  /** What is stored, for all processes that share it. */
  | { readonly kind: 'store' }

/** What one process says of itself. */
export interface NodeNumbers {
  readonly id: string
  /** When, in epoch milliseconds. */
  readonly at: number
  readonly stats: CacheStats
}

/** What the cache has done. */
export interface Numbers {
  readonly of: Whose
  readonly stats: CacheStats
  readonly nodes: readonly NodeNumbers[]
  readonly health?: string
  readonly maxBytes?: number
}

/** What a purge is of: one of these. */
export type Purging =
  | { readonly tags: readonly string[] }
  | { readonly route: string }
  | { readonly key: string }
  | { readonly everything: true }

/** A request to be explained. */
export interface Asked {
  readonly url: string
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
}

/** Something that has happened, as far as the target tells. */
export type Seen = Omit<Happening, 'id' | 'count' | 'kind'> & {
  readonly kind: Happening['kind'] | 'node'
  readonly id?: number
  readonly count?: number
  /** The process that it happened to, where one tells of several. */
  readonly node?: string
}

/** What one second of requests came to. */
export type SecondSeen = Readonly<Record<string, number | null>> & { readonly time: number }

/** Told while somebody watches. */
export interface Watcher {
  /** From now on nothing is missed that is told. */
  began(): void
  happened(seen: Seen): void
  second(step: SecondSeen): void
  /** The connection was lost, and is tried again. */
  lost(why: string): void
}

/** A cache that is asked: through a running application, or in the Redis where it is. All methods throw a `Failure`. */
export interface Target {
  /** Where it is, without what is secret. */
  readonly name: string
  /** Whose entries are listed. */
  whose(): Promise<Whose>
  /** @param isOfFleet of all processes that publish theirs, also where one could be asked alone */
  numbers(isOfFleet: boolean): Promise<Numbers>
  /** What the admin route of that path answers. */
  read(path: string, query: Readonly<Record<string, string>>): Promise<unknown>
  explain(request: Asked, other?: Asked): Promise<unknown>
  purge(purging: Purging): Promise<PurgeResult>
  /** What a purge that was not delivered means here. */
  readonly undelivered: string
  /** Watches until it is stopped. */
  watch(watcher: Watcher, stop: AbortSignal): Promise<void>
  close(): Promise<void>
}
