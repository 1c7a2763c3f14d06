import type { Lookup } from '../backends/backend.ts'
import { ageOf, freshFor, type HeaderField } from '../core/entry.ts'
import { decodeKey, encodeKey, type KeyParts } from '../core/key.ts'
import { isOutdated } from '../core/tags.ts'
import type { Flow } from '../flow/flow.ts'
import { type ShownTag, showTag } from './names.ts'
import { type Preview, previewOf } from './preview.ts'

/** How an entry stands: it answers; it may answer though its lifetime is over; it was purged. */
export type EntryState = 'fresh' | 'stale' | 'purged'

/** An entry, as a list shows it. */
export interface EntrySummary {
  readonly key: string
  readonly route: string
  readonly status: number
  readonly state: EntryState
  /** In seconds, as are the others. */
  readonly age: number
  readonly ttl: number
  /** Bytes of the body. */
  readonly size: number
  /** How long the handler ran, in milliseconds. */
  readonly cost: number
  readonly tags: readonly ShownTag[]
}

/** An entry with all that is known of it. */
export interface EntryDetails extends EntrySummary {
  readonly parts: KeyParts
  readonly statusMessage: string
  /** When it was made, in epoch milliseconds. */
  readonly time: number
  readonly staleWhileRevalidate: number
  readonly staleIfError: number
  /** Name and lines of each field. */
  readonly headers: readonly (readonly [name: string, lines: readonly string[]])[]
  readonly trailers: readonly (readonly [name: string, lines: readonly string[]])[]
  readonly encodings: readonly { readonly coding: string; readonly size: number }[]
  readonly body: Preview
}

/** An entry for a list; undefined where nothing is there, or another cache's. */
export function summarise(flow: Flow, { entry, invalidatedAt }: Lookup): EntrySummary | undefined {
  const parts = entry && partsOf(flow, entry.key)
  if (!entry || !parts) return undefined
  const now = flow.now()
  const left = freshFor(entry, now)
  return {
    key: entry.key,
    route: parts.route,
    status: entry.response.status,
    state: isOutdated(entry.stamp, invalidatedAt) ? 'purged' : left > 0 ? 'fresh' : 'stale',
    age: seconds(ageOf(entry, now)),
    ttl: seconds(left),
    size: entry.response.body.byteLength,
    cost: entry.cost,
    tags: entry.tags.flatMap((tag) => showTag(flow, tag) ?? []),
  }
}

/** An entry for looking at it. */
export function detail(flow: Flow, found: Lookup): EntryDetails | undefined {
  const summary = summarise(flow, found)
  if (!summary || !found.entry) return undefined
  const { response, time, staleWhileRevalidate, staleIfError } = found.entry
  return {
    ...summary,
    parts: decodeKey(summary.key),
    statusMessage: response.statusMessage,
    time,
    staleWhileRevalidate: seconds(staleWhileRevalidate),
    staleIfError: seconds(staleIfError),
    headers: linesOf(response.headers),
    trailers: linesOf(response.trailers),
    encodings: (response.encodings ?? []).map(({ coding, body }) => ({ coding, size: body.byteLength })),
    body: previewOf(response),
  }
}

/** What the keys of a route's entries begin with; those of others may, too. */
export function keyPrefix({ options: { namespace } }: Flow, route: string): string {
  return encodeKey({ ...(namespace === undefined ? {} : { namespace }), route, params: [], query: [], vary: [] })
}

/** What the keys of a response's variants begin with: the key without what varies. */
export function variantPrefix(key: string): string {
  return encodeKey({ ...decodeKey(key), vary: [] })
}

/** The parts of a key of this cache. */
export function partsOf({ options: { namespace } }: Flow, key: string): KeyParts | undefined {
  try {
    const parts = decodeKey(key)
    return parts.namespace === namespace ? parts : undefined
  } catch {
    return undefined
  }
}

function linesOf(fields: readonly HeaderField[]): (readonly [string, readonly string[]])[] {
  return fields.map(({ name, value }) => [name, [value].flat()])
}

function seconds(milliseconds: number): number {
  return Math.round(milliseconds / 100) / 10
}
