/** One header field as it was sent; several lines of one name are a list. */
export interface HeaderField {
  readonly name: string
  readonly value: string | readonly string[]
  /** The value comes after what an outer layer has set under this name, instead of taking its place. */
  readonly append?: boolean
  /** The cache itself has added it; what an outer layer says instead goes before. */
  readonly isDefault?: boolean
}

/** A complete response, as the layers below the cache made it. */
export interface StoredResponse {
  readonly status: number
  readonly statusMessage: string
  readonly headers: readonly HeaderField[]
  /** Names of fields that an outer layer had set and the handler took away. */
  readonly removed: readonly string[]
  readonly body: Uint8Array
  readonly trailers: readonly HeaderField[]
}

/** What a backend keeps under a key. */
export interface Entry {
  readonly key: string
  /** The tags as the backend knows them (`cache.keyFromTag`). */
  readonly tags: readonly string[]
  /** The invalidation clock before the response was computed. */
  readonly stamp: number
  /** When the response was made, in epoch milliseconds. */
  readonly time: number
  /** How old the response already was at `time`, in milliseconds (RFC 9111, 4.2.3). */
  readonly initialAge: number
  /** How long it is fresh from `time` on, in milliseconds. */
  readonly lifetime: number
  /** How long the handler ran to make it, in milliseconds. */
  readonly cost: number
  readonly response: StoredResponse
}

/** Why an entry left the backend. */
export type RemovalReason = 'expired' | 'evicted' | 'invalidated' | 'replaced' | 'deleted'

/** Entries that left the backend. */
export interface Removal {
  readonly reason: RemovalReason
  /** How many. */
  readonly entries: number
  /** Which one; absent where everything left at once. */
  readonly key?: string
}

/** The values of a field, or undefined where there is no such field. Names are compared without case. */
export function fieldValue(fields: readonly HeaderField[], name: string): string | readonly string[] | undefined {
  return fields.find((field) => field.name.length === name.length && field.name.toLowerCase() === name)?.value
}

/** The age of an entry at a time, in milliseconds (RFC 9111, 4.2.3). */
export function ageOf(entry: Entry, now: number): number {
  return entry.initialAge + Math.max(0, now - entry.time)
}

/** How much longer an entry is fresh, in milliseconds; zero or less is stale (RFC 9111, 4.2). */
export function freshFor(entry: Entry, now: number): number {
  return entry.lifetime - Math.max(0, now - entry.time)
}
