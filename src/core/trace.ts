import type { WarningCode } from '../errors.ts'
import type { Forward } from '../http/cache-status.ts'
import type { Removal, RemovalReason } from './entry.ts'

/** How a request ended for the cache: answered from it, from it though stale, from another request's run, by the handler, or past the cache. */
export type Outcome = 'hit' | 'stale' | 'collapsed' | 'miss' | 'bypass'

/** What was decided about one request, and why. Cache-Status, events and stats all read this record. */
export interface Trace {
  readonly outcome: Outcome
  readonly route: string
  /** The request key; absent where the request bypassed the cache. */
  readonly key?: string
  /** Why the request went to the handler (RFC 9211, 2.2). */
  readonly forward?: Forward
  /** The rule that decided: `credentials`, `set-cookie`, `too-large`, … */
  readonly reason?: string
  /** Whether the response was kept. */
  readonly stored: boolean
  /** How much longer the answer is fresh, in milliseconds; of a hit or a stored response. */
  readonly ttl?: number
  /** How long the handler ran, or on a hit had run, in milliseconds. */
  readonly cost?: number
  /** Where a hit came from, of a backend in two tiers. */
  readonly tier?: 'near' | 'far'
}

/** What `cache.on` tells. No event carries a body, a header or a credential. */
export type CacheEvent =
  | ({ readonly type: 'trace' } & Trace)
  | ({ readonly type: 'removal' } & Removal)
  /** A response was made anew in the background; no request of a client. `reason` says why it was not kept. */
  | {
      readonly type: 'refresh'
      readonly route: string
      readonly key: string
      readonly stored: boolean
      readonly reason?: string
      /** How long the handler ran, in milliseconds. */
      readonly cost: number
    }
  /** A purge of tags, of a route, or of what is known of a URI after an unsafe request (RFC 9111, 4.4). */
  | {
      readonly type: 'invalidation'
      readonly tags: readonly string[]
      readonly uris: readonly string[]
      /** A whole route. */
      readonly routes?: readonly string[]
      /** One entry, by hand. */
      readonly keys?: readonly string[]
      /** Whether the backend has taken it; else it is kept, and delivered later. */
      readonly isDelivered: boolean
      /** Who asked for it, where that was said. */
      readonly by?: string
    }
  | { readonly type: 'clear'; readonly isDelivered: boolean; readonly by?: string }
  /** A handler has thrown, and its client was given a stale response instead of the error. */
  | { readonly type: 'failure'; readonly route: string; readonly error: unknown }
  /** Encodings were made of a stored response, the smallest first; they are kept unless it was purged or replaced meanwhile. */
  | {
      readonly type: 'compression'
      readonly key: string
      readonly codings: readonly string[]
      readonly isKept: boolean
    }
  | { readonly type: 'fault'; readonly operation: string; readonly error: unknown }
  /**
   * The backend is left alone after a fault, and used again; invalidations wait until it takes them, while nothing stored is
   * trusted, and have all been delivered; copies in a near tier are not trusted, for want of news, and are trusted again.
   */
  | {
      readonly type: 'backend'
      readonly state: 'paused' | 'resumed' | 'behind' | 'delivered' | 'near-lost' | 'near-trusted'
    }
  | {
      readonly type: 'warning'
      readonly code: WarningCode
      readonly message: string
      readonly route?: string
      readonly error?: unknown
    }

/** Told each event as it happens. */
export type CacheListener = (event: CacheEvent) => void

/** What the cache has done since it was made. */
export interface CacheStats {
  /** Requests that reached a `cached()`: the sum of the five outcomes. */
  readonly requests: number
  readonly hits: number
  /** Requests answered with a stale response: while a new one was made, or because the handler failed. */
  readonly stale: number
  /** Requests answered by the run of another one. */
  readonly collapsed: number
  readonly misses: number
  readonly bypasses: number
  /** Requests by the rule that decided, where one did. */
  readonly reasons: Readonly<Record<string, number>>
  readonly stores: number
  /** Responses made anew in the background, and how many of these came to nothing. */
  readonly refreshes: number
  readonly failedRefreshes: number
  readonly removals: Readonly<Record<RemovalReason, number>>
  readonly invalidations: number
  /** Faults of the backend. */
  readonly faults: number
  /** The time that handlers did not have to run, in seconds. */
  readonly savedSeconds: number
  /** Entries held now; 0 where the backend cannot tell. */
  readonly entries: number
  /** Bytes held now; 0 where the backend cannot tell. */
  readonly bytes: number
}

const OUTCOME_COUNTERS = {
  hit: 'hits',
  stale: 'stale',
  collapsed: 'collapsed',
  miss: 'misses',
  bypass: 'bypasses',
} as const

// What spares the handler a run.
const SAVING: ReadonlySet<Outcome> = new Set<Outcome>(['hit', 'stale', 'collapsed'])

/** Counts events. */
export class Counters {
  readonly #outcomes = { hits: 0, stale: 0, collapsed: 0, misses: 0, bypasses: 0 }
  readonly #reasons: Record<string, number> = Object.create(null)
  readonly #removals = { expired: 0, evicted: 0, invalidated: 0, replaced: 0, deleted: 0 }
  #stores = 0
  #refreshes = 0
  #failedRefreshes = 0
  #invalidations = 0
  #faults = 0
  #saved = 0

  count(event: CacheEvent): void {
    if (event.type === 'trace') this.#countTrace(event)
    else if (event.type === 'refresh') this.#countRefresh(event.stored)
    else if (event.type === 'removal') this.#removals[event.reason] += event.entries
    else if (event.type === 'invalidation' || event.type === 'clear') this.#invalidations += 1
    else if (event.type === 'fault') this.#faults += 1
  }

  read(held: { entries: number; bytes: number }): CacheStats {
    const outcomes = this.#outcomes
    return {
      requests: outcomes.hits + outcomes.stale + outcomes.collapsed + outcomes.misses + outcomes.bypasses,
      ...outcomes,
      reasons: { ...this.#reasons },
      stores: this.#stores,
      refreshes: this.#refreshes,
      failedRefreshes: this.#failedRefreshes,
      removals: { ...this.#removals },
      invalidations: this.#invalidations,
      faults: this.#faults,
      savedSeconds: this.#saved / 1000,
      ...held,
    }
  }

  #countRefresh(stored: boolean): void {
    this.#refreshes += 1
    if (stored) this.#stores += 1
    else this.#failedRefreshes += 1
  }

  #countTrace(trace: Trace): void {
    this.#outcomes[OUTCOME_COUNTERS[trace.outcome]] += 1
    if (trace.reason !== undefined) this.#reasons[trace.reason] = (this.#reasons[trace.reason] ?? 0) + 1
    if (trace.stored) this.#stores += 1
    if (SAVING.has(trace.outcome)) this.#saved += trace.cost ?? 0
  }
}
