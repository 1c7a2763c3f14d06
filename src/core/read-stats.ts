import { LATENCY_BOUNDS, type Latency, Stopwatch } from './latency.ts'
import type { BackendStats, CacheStats, Tally } from './trace.ts'

// A process counts 500 by their names.
const MOST_ROUTES = 1000
const LONGEST_ROUTE = 1000
// Of reasons, operations, and the like.
const MOST_CODES = 200
const LONGEST_CODE = 100

/**
 * The numbers that a process has told in JSON. Anybody may have written it: nothing is taken over but what numbers are made
 * of. Throws where it is something else, or not all of it.
 */
export function readStats(told: unknown): CacheStats {
  const { since, routes, removals, invalidations, faults, backend, latency, entries, bytes } = recordOf(told)
  const { hit, miss } = recordOf(latency)
  return {
    since: numberOf(since),
    ...tallyOf(told),
    routes: mapOf(routes, MOST_ROUTES, LONGEST_ROUTE, tallyOf),
    removals: codesOf(removals, numberOf) as CacheStats['removals'],
    invalidations: numberOf(invalidations),
    faults: numberOf(faults),
    backend: backendOf(backend),
    latency: { hit: latencyOf(hit), miss: latencyOf(miss) },
    entries: numberOf(entries),
    bytes: numberOf(bytes),
  }
}

function tallyOf(told: unknown): Tally {
  const tally = recordOf(told)
  return {
    requests: numberOf(tally.requests),
    hits: numberOf(tally.hits),
    stale: numberOf(tally.stale),
    collapsed: numberOf(tally.collapsed),
    misses: numberOf(tally.misses),
    bypasses: numberOf(tally.bypasses),
    reasons: codesOf(tally.reasons, numberOf),
    stores: numberOf(tally.stores),
    refreshes: numberOf(tally.refreshes),
    failedRefreshes: numberOf(tally.failedRefreshes),
    servedBytes: numberOf(tally.servedBytes),
    savedSeconds: numberOf(tally.savedSeconds),
    spentSeconds: numberOf(tally.spentSeconds),
  }
}

function backendOf(told: unknown): BackendStats {
  const { state, isBehind, undelivered, near, faults, calls } = recordOf(told)
  return {
    state: state === 'paused' ? 'paused' : 'well',
    isBehind: isBehind === true,
    undelivered: undelivered === 'everything' ? 'everything' : numberOf(undelivered),
    near: near === 'trusted' || near === 'lost' ? near : undefined,
    faults: numberOf(faults),
    calls: codesOf(calls, latencyOf),
  }
}

// Of a process that counts in other classes nothing is known of how long it took.
function latencyOf(told: unknown): Latency {
  const { count, total, longest, bounds, counts } = recordOf(told)
  const isOurs = Array.isArray(counts) && isSame(bounds, LATENCY_BOUNDS) && counts.length === LATENCY_BOUNDS.length + 1
  if (!isOurs) return new Stopwatch().read()
  return {
    count: numberOf(count),
    total: numberOf(total),
    longest: numberOf(longest),
    bounds: LATENCY_BOUNDS,
    counts: counts.map(numberOf),
  }
}

function isSame(told: unknown, bounds: readonly number[]): boolean {
  return Array.isArray(told) && told.length === bounds.length && bounds.every((bound, at) => told[at] === bound)
}

function codesOf<V>(told: unknown, read: (value: unknown) => V): Record<string, V> {
  return mapOf(told, MOST_CODES, LONGEST_CODE, read)
}

function mapOf<V>(told: unknown, most: number, longest: number, read: (value: unknown) => V): Record<string, V> {
  const found = Object.entries(recordOf(told))
  if (found.length > most || found.some(([name]) => name.length > longest)) throw new TypeError('Too much of it.')
  return Object.fromEntries(found.map(([name, value]) => [name, read(value)]))
}

function recordOf(told: unknown): Readonly<Record<string, unknown>> {
  if (typeof told === 'object' && told !== null && !Array.isArray(told)) return told as Record<string, unknown>
  throw new TypeError('It is no record.')
}

// Clocks that were set back make times of less than nothing.
function numberOf(told: unknown): number {
  if (typeof told === 'number' && Math.abs(told) <= Number.MAX_SAFE_INTEGER) return Math.max(0, told)
  throw new TypeError('It is no number.')
}
