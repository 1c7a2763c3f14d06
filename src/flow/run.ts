import type { Lease } from '../backends/backend.ts'
import type { RouteCounters } from '../core/counters.ts'
import type { Entry } from '../core/entry.ts'
import type { Flight } from '../core/flights.ts'
import type { KeyParts } from '../core/key.ts'
import type { Reason } from '../core/reasons.ts'
import type { Trace } from '../core/trace.ts'
import type { Place } from '../core/variants.ts'
import type { Forward } from '../http/cache-status.ts'
import type { Fields } from '../http/fields.ts'
import type { Terms } from '../http/policy.ts'
import type { ResolvedRoute } from '../options/route.ts'
import type { Call, Visit } from '../visit.ts'

/** A request that has looked, and found nothing that answers it as it is. */
export interface Waiting {
  readonly visit: Visit
  readonly parts: KeyParts
  /** Where it has looked. */
  readonly place: Place
  /** The invalidation clock at that time. */
  readonly stamp: number
  /** What is stored and not valid as it is: the handler is asked whether it is still good. */
  readonly stored: Entry | undefined
  /** Whether what is stored may take the place of an error. */
  readonly mayReplaceError: boolean
  /** Why nothing stored answers it as it is. */
  readonly why: Reason
  /** The lease that the look-up has given, or who has it for how long. */
  readonly lease?: Lease | undefined
  /** Until when it waits for another process, in epoch milliseconds. */
  readonly patience?: number
}

/** One run of a handler whose response may be stored. */
export interface Run {
  /** The request: the client's, or the one that was made for a refresh. */
  visit: Visit
  readonly parts: KeyParts
  readonly place: Place
  /** The key that was looked up. */
  readonly key: string
  /** The invalidation clock before the handler ran. */
  stamp: number
  readonly startedAt: number
  readonly forward: Forward
  /** Why nothing stored answered the request. */
  readonly why: Reason
  flight: Flight<Run, Waiting, Entry> | undefined
  /** Tags, as the backend knows them. */
  readonly tags: Set<string>
  /** Tags that the response will probably have, for those who come while it is computed. */
  readonly expectedTags: Set<string>
  /** The options that count: of the request's own layer, refined by inner ones. */
  route: ResolvedRoute
  /** Calls a function among them for the layer in which it stands. */
  call: Call
  /** Whether responses under this key were of no use lately, so that the request is not changed for the sake of storing. */
  readonly isGrounded: boolean
  /** Of no use to others: it asks for a part, or for no body. */
  readonly isSolo: boolean
  readonly stored: Entry | undefined
  /** Whether what is stored may take the place of an error. A purge ends that. */
  mayReplaceError: boolean
  /** Made in the background, for no client. */
  readonly isRefresh: boolean
  /** What a refresh asks for to complete what is stored, and who waits for the whole. */
  readonly completion: { readonly range: string; readonly client: Waiting } | undefined
  /** Done when the head is known, before it is judged. */
  prelude: ((status: number, fields: Fields) => unknown) | undefined
  /** The holder of the lease under which it runs. */
  lease: string | undefined
  ttl: number | undefined
  /** What the handler has thrown, where that is known. */
  thrown: { readonly error: unknown } | undefined
  isSkipped: boolean
  isOver: boolean
  /** Told what a refresh has come to; nothing where another layer took it over. */
  onEnd: ((made?: { readonly stored: boolean; readonly reason?: string }) => void) | undefined
  /** The handler has changed its mind after its answer was stored, or while it is on its way into the store. */
  isRetracted: boolean
}

/** What became of a request's look-up, and what its driver does now. */
export type Finding =
  /** Answer with the entry; and make a new one in the background where there is a `refresh`. */
  | {
      readonly kind: 'hit'
      readonly entry: Entry
      readonly now: number
      readonly age: number
      readonly cacheStatus: string
      readonly tagging: Tagging | undefined
      /** What is counted of its route. */
      readonly counters: RouteCounters
      /** It is the answer to a request that has waited for another's run. */
      readonly hasWaited?: true
      readonly refresh: Run | undefined
    }
  /** Have the handler run, and record its response. */
  | { readonly kind: 'run'; readonly run: Run }
  /** Have the handler run, and record nothing. */
  | { readonly kind: 'pass'; readonly trace: Trace; readonly cacheStatus: string }
  /** Answer 504: the client takes nothing but what is stored (RFC 9111, 5.2.1.7). */
  | { readonly kind: 'refuse'; readonly trace: Trace; readonly cacheStatus: string }
  /** Have the missing part made in the background, and go on with what comes of it. */
  | { readonly kind: 'complete'; readonly refresh: Run; readonly result: Promise<Finding> }
  /** It was made to be explained, and is. */
  | { readonly kind: 'explained' }
  /** Let the request pass without a trace: it is one of ours, on its way to another layer. */
  | { readonly kind: 'ignore' }

/** What clients are told of the tags of a response: fields that are taken away, and then fields that are set. */
export interface Tagging {
  readonly remove: readonly string[]
  readonly set: readonly (readonly [name: string, value: string])[]
}

/** Whether a response whose head is known will be stored, and what Cache-Status says of it. */
export type Decision =
  | {
      readonly store: true
      readonly terms: Terms
      /** For how many milliseconds; 0 where it is only for one who waits. */
      readonly keep: number
      readonly vary: readonly string[]
      /** Whether it is sent in content codings as well. */
      readonly isNegotiated: boolean
      readonly cacheStatus: string
    }
  | { readonly store: false; readonly reason: Reason; readonly cacheStatus: string }

/** What a client gets in the place of the handler's answer: what was stored, renewed by a 304 or instead of an error. */
export interface Substitution {
  readonly entry: Entry
  readonly now: number
  readonly age: number
  readonly cacheStatus: string
  /** What is done about the entry: kept as renewed; dropped, since the 304 forbids keeping it; or left as it is. */
  readonly fate:
    | { readonly kind: 'renew'; readonly keep: number }
    | { readonly kind: 'drop'; readonly reason: Reason }
    | { readonly kind: 'leave'; readonly status: number | undefined }
}
