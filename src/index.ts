import type { TagBackend } from './backends/backend.ts'
import { Cache } from './cache.ts'
import type { CacheOptions } from './options/cache.ts'

export type {
  BackendSize,
  Board,
  CacheBackend,
  Changes,
  Feed,
  Lease,
  LeaseEnd,
  Leases,
  Lookup,
  LookupNeeds,
  Notice,
  Page,
  Query,
  Reply,
  TagBackend,
  TagRecord,
  Tier,
} from './backends/backend.ts'
export { type IsSync, type KeyValueOptions, keyValue } from './backends/key-value.ts'
export { type MemoryOptions, memory } from './backends/memory.ts'
export { type TieredOptions, tiered } from './backends/tiered.ts'
export type { Answer, Cache, ExplainOptions, ExplainRequest, PurgeOptions } from './cache.ts'
export type { ChannelMessage, Source } from './channels.ts'
export type { Entry, HeaderField, Removal, RemovalReason, StoredResponse } from './core/entry.ts'
export type {
  Comparison,
  Decided,
  Difference,
  ExplainedEntry,
  ExplainedKey,
  ExplainedOption,
  ExplainedTag,
  Explanation,
} from './core/explanation.ts'
export { decodeKey, type KeyParts } from './core/key.ts'
export { type Latency, quantileOf } from './core/latency.ts'
export type { Logger } from './core/log.ts'
export type { MaybePromise } from './core/maybe.ts'
export { explainReason, REASONS, type Reason } from './core/reasons.ts'
export { isOutdated, MAX_TAG_LENGTH, type Tag, type TagList, type TypedTag } from './core/tags.ts'
export type { Time } from './core/time.ts'
export type { BackendStats, CacheEvent, CacheListener, CacheStats, Outcome, Tally, Trace } from './core/trace.ts'
export type { Duration } from './core/values.ts'
export { type ErrorCode, TagcacheError, type WarningCode } from './errors.ts'
export type { FleetStats, NodeStats } from './fleet.ts'
export type { CacheOptions } from './options/cache.ts'
export type { Preset } from './options/presets.ts'
export type { Normalisation, RouteOptions, Selection } from './options/route.ts'
export type { CachedResponse, CacheRequest, ResponseInit } from './programmatic.ts'

/**
 * Makes a cache. Over a synchronous backend (`memory()`, the default) its methods give values, over an asynchronous one promises.
 * Throws `ERR_TAGCACHE_OPTION_VALUE`, `ERR_TAGCACHE_OPTION_UNKNOWN`, `ERR_TAGCACHE_NAMESPACE_TAKEN`.
 * @typeParam T the tags that exist; a misspelt one is then a compile error
 */
export function createCache<T extends string = string>(
  options?: CacheOptions<readonly unknown[], T> & { backend?: TagBackend<true> },
): Cache<T, true>
export function createCache<T extends string = string>(
  options: CacheOptions<readonly unknown[], T> & { backend: TagBackend<false> },
): Cache<T, false>
export function createCache<T extends string = string>(options: CacheOptions<readonly unknown[], T>): Cache<T>
export function createCache<T extends string = string>(options: CacheOptions<readonly unknown[], T> = {}): Cache<T> {
  return new Cache<T>(options as CacheOptions<never>)
}
