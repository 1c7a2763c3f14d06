import type { RemovalReason } from './entry.ts'
import { Stopwatch } from './latency.ts'
import type { Reason } from './reasons.ts'
import type { BackendStats, CacheEvent, CacheStats, Tally, Trace } from './trace.ts'

// An app-wide `cached()` names routes by path, of which there is no end.
const MOST_ROUTES = 500
// Nor of how long a path may be, and the numbers are sent about.
const LONGEST_ROUTE = 1000
/** The name under which the routes are counted that came after too many others, or have longer names. */
export const OTHER_ROUTES = '(other)'

const OUTCOME_COUNTERS = {
  hit: 'hits',
  stale: 'stale',
  collapsed: 'collapsed',
  miss: 'misses',
  bypass: 'bypasses',
} as const

/** What is counted of one route; times in milliseconds. */
export class RouteCounters {
  hits = 0
  stale = 0
  collapsed = 0
  misses = 0
  bypasses = 0
  stores = 0
  refreshes = 0
  failedRefreshes = 0
  served = 0
  saved = 0
  spent = 0
  readonly #reasons = new Map<Reason, number>()

  /** Counts a request that a fresh response answers, which took the handler so long to make. */
  countHit(cost: number): void {
    this.hits += 1
    this.saved += cost
  }

  countTrace({ outcome, reason, forward, stored, cost = 0 }: Trace): void {
    this[OUTCOME_COUNTERS[outcome]] += 1
    if (reason !== undefined) this.#reasons.set(reason, (this.#reasons.get(reason) ?? 0) + 1)
    if (stored) this.stores += 1
    // What went no further spared the handler a run.
    if (forward === undefined) this.saved += cost
    else this.spent += cost
  }

  countRefresh(stored: boolean, cost: number): void {
    this.refreshes += 1
    this.spent += cost
    if (stored) this.stores += 1
    else this.failedRefreshes += 1
  }

  read(): Tally {
    const { hits, stale, collapsed, misses, bypasses } = this
    return {
      requests: hits + stale + collapsed + misses + bypasses,
      hits,
      stale,
      collapsed,
      misses,
      bypasses,
      reasons: Object.fromEntries(this.#reasons),
      stores: this.stores,
      refreshes: this.refreshes,
      failedRefreshes: this.failedRefreshes,
      servedBytes: this.served,
      savedSeconds: this.saved / 1000,
      spentSeconds: this.spent / 1000,
    }
  }
}

/** What is known only when it is asked for. */
export interface Held {
  readonly entries: number
  readonly bytes: number
  readonly backend: Omit<BackendStats, 'near' | 'faults'>
}

/** Counts what happens. */
export class Counters {
  /** How long answers from the cache took to give, of those that were measured; and those that the handler gave. */
  readonly hitTime = new Stopwatch()
  readonly missTime = new Stopwatch()
  readonly #routes = new Map<string, RouteCounters>()
  readonly #removals: Record<RemovalReason, number> = {
    expired: 0,
    evicted: 0,
    invalidated: 0,
    replaced: 0,
    deleted: 0,
  }
  #invalidations = 0
  #faults = 0
  #near: BackendStats['near']

  constructor(readonly since: number) {}

  /** The counters of a route. */
  ofRoute(name: string): RouteCounters {
    return this.#routes.get(name) ?? this.#addRoute(name)
  }

  #addRoute(name: string): RouteCounters {
    const isOne = this.#routes.size < MOST_ROUTES && name.length <= LONGEST_ROUTE
    if (!isOne && name !== OTHER_ROUTES) return this.ofRoute(OTHER_ROUTES)
    const counters = new RouteCounters()
    this.#routes.set(name, counters)
    return counters
  }

  count(event: CacheEvent): void {
    if (event.type === 'trace') this.#countTrace(event)
    else if (event.type === 'refresh') this.ofRoute(event.route).countRefresh(event.stored, event.cost)
    else if (event.type === 'removal') this.#removals[event.reason] += event.entries
    else if (event.type === 'invalidation' || event.type === 'clear') this.#invalidations += 1
    else if (event.type === 'fault') this.#faults += 1
    else if (event.type === 'backend' && event.state === 'near-lost') this.#near = 'lost'
    else if (event.type === 'backend' && event.state === 'near-trusted') this.#near = 'trusted'
  }

  #countTrace(trace: Trace): void {
    this.ofRoute(trace.route).countTrace(trace)
    if (trace.outcome === 'miss' && trace.cost !== undefined) this.missTime.add(trace.cost)
  }

  read({ backend, ...held }: Held): CacheStats {
    const routes = [...this.#routes].map(([name, counters]) => [name, counters.read()] as const)
    return {
      since: this.since,
      ...sumOf(routes.map(([, tally]) => tally)),
      routes: Object.fromEntries(routes),
      removals: { ...this.#removals },
      invalidations: this.#invalidations,
      faults: this.#faults,
      backend: { ...backend, near: this.#near, faults: this.#faults },
      latency: { hit: this.hitTime.read(), miss: this.missTime.read() },
      ...held,
    }
  }
}

function sumOf(tallies: readonly Tally[]): Tally {
  const { reasons: _, ...nothing } = new RouteCounters().read()
  const sum: Record<string, number> = { ...nothing }
  const reasons: Record<string, number> = {}
  for (const { reasons: own, ...numbers } of tallies) {
    for (const [name, count] of Object.entries(numbers)) sum[name]! += count
    for (const [reason, count] of Object.entries(own)) reasons[reason] = (reasons[reason] ?? 0) + count
  }
  return { ...sum, reasons } as unknown as Tally
}
