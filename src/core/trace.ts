import type { WarningCode } from '../errors.ts'
import type { Forward } from '../http/cache-status.ts'
import type { Removal, RemovalReason } from './entry.ts'
import type { Latency } from './latency.ts'
import type { Reason } from './reasons.ts'

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
  /** The rule that decided: why a request went past the cache or was answered stale, why a response was not kept; of one that was, why nothing stored had answered. */
  readonly reason?: Reason
  /** Whether the response was kept. */
  readonly stored: boolean
  /** How much longer the answer is fresh, in milliseconds; of a hit or a stored response. */
  readonly ttl?: number
  /** How long the handler ran, on a bypass until its answer began; or on a hit had run. In milliseconds. */
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
      readonly reason?: Reason
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
  /** A handler has failed, and its client was given a stale response instead. */
  | {
      readonly type: 'failure'
      readonly route: string
      /** What the client would have been answered, where that had begun. */
      readonly status?: number
      /** What the handler has thrown, where the cache is told: under Koa and node:http. Express makes an answer of it first. */
      readonly error?: unknown
    }
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

/** What requests have come to: of one route, or of all. */
export interface Tally {
  /** Requests that reached a `cached()`: the sum of the five outcomes. */
  readonly requests: number
  readonly hits: number
  /** Requests answered with a stale response: while a new one was made, or because the handler failed. */
  readonly stale: number
  /** Requests answered by the run of another one. */
  readonly collapsed: number
  readonly misses: number
  readonly bypasses: number
  /** Requests by the rule that decided: each one that is stale, a miss or a bypass has one. */
  readonly reasons: Readonly<Partial<Record<Reason, number>>>
  readonly stores: number
  /** Responses made anew in the background, and how many of these came to nothing. */
  readonly refreshes: number
  readonly failedRefreshes: number
  /** Bytes of bodies that were sent from the cache. */
  readonly servedBytes: number
  /** The time that handlers did not have to run, in seconds: of each answer from the cache, the time that it took to make. */
  readonly savedSeconds: number
  /** The time that they did run, in seconds, for clients and in the background. */
  readonly spentSeconds: number
}

/** How the backend does. */
export interface BackendStats {
  /** `'paused'`: it is left alone after a fault. */
  readonly state: 'well' | 'paused'
  /** Whether purges wait for it to take them, while nothing stored is trusted. */
  readonly isBehind: boolean
  /** What waits: so many tags and URIs, or everything. */
  readonly undelivered: number | 'everything'
  /** Whether copies in a near tier are trusted; undefined until that is in doubt. */
  readonly near: 'trusted' | 'lost' | undefined
  readonly faults: number
  /** The calls that took time, by operation; none of a synchronous backend. */
  readonly calls: Readonly<Record<string, Latency>>
}

/** What the cache has done since it was made. */
export interface CacheStats extends Tally {
  /** When that was, in epoch milliseconds. */
  readonly since: number
  /** The same by route; those that came after the first 500, or have names of over 1,000 characters, are one, `(other)`. */
  readonly routes: Readonly<Record<string, Tally>>
  readonly removals: Readonly<Record<RemovalReason, number>>
  readonly invalidations: number
  /** Faults of the backend. */
  readonly faults: number
  readonly backend: BackendStats
  /** How long requests took: to be answered from the cache, of which one in 64 is measured while anybody listens to events, and more while a dashboard is mounted and there are few; and to be answered by the handler. */
  readonly latency: { readonly hit: Latency; readonly miss: Latency }
  /** Entries held now; 0 where the backend cannot tell. */
  readonly entries: number
  /** Bytes held now; 0 where the backend cannot tell. */
  readonly bytes: number
}
