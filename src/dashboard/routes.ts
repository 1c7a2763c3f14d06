import type { Outcome, Trace } from '../core/trace.ts'

/** What became of a route's requests. */
export interface RouteNumbers {
  readonly route: string
  readonly requests: number
  readonly hits: number
  readonly stale: number
  readonly collapsed: number
  readonly misses: number
  readonly bypasses: number
  readonly stores: number
  /** The share of requests that no handler ran for, from 0 to 1. */
  readonly hitRatio: number
  readonly savedSeconds: number
  readonly spentSeconds: number
  /** How long its handler runs in the mean, in milliseconds; undefined where that is not known. */
  readonly handlerMilliseconds?: number
  /** Why requests were not answered from the cache, the most frequent first. */
  readonly reasons: readonly { readonly reason: string; readonly count: number }[]
}

interface Counted {
  readonly outcomes: Record<Outcome, number>
  readonly reasons: Map<string, number>
  stores: number
  saved: number
  spent: number
  runs: number
}

// Names of routes are paths where the cache stands on none: then there is no end of them.
const MOST_ROUTES = 1000
const LONGEST_NAME = 1000
const OTHERS = 'all others'

/** Counts what became of requests, by route. */
export class Routes {
  readonly #routes = new Map<string, Counted>()

  count(trace: Trace): void {
    const counted = this.#of(trace.route)
    const { outcome, cost = 0 } = trace
    counted.outcomes[outcome] += 1
    if (trace.stored) counted.stores += 1
    if (isAnswered(outcome)) {
      counted.saved += cost
      return
    }
    if (trace.cost !== undefined) {
      counted.spent += cost
      counted.runs += 1
    }
    const reason = trace.reason ?? trace.forward ?? outcome
    counted.reasons.set(reason, (counted.reasons.get(reason) ?? 0) + 1)
  }

  read(): RouteNumbers[] {
    return [...this.#routes].map(([route, counted]) => show(route, counted))
  }

  #of(route: string): Counted {
    const isKept = this.#routes.has(route) || (this.#routes.size < MOST_ROUTES && route.length <= LONGEST_NAME)
    const name = isKept ? route : OTHERS
    const known = this.#routes.get(name)
    if (known) return known
    const outcomes = { hit: 0, stale: 0, collapsed: 0, miss: 0, bypass: 0 }
    const counted = { outcomes, reasons: new Map(), stores: 0, saved: 0, spent: 0, runs: 0 }
    this.#routes.set(name, counted)
    return counted
  }
}

/** Whether no handler ran for the request. */
export function isAnswered(outcome: Outcome): boolean {
  return outcome === 'hit' || outcome === 'stale' || outcome === 'collapsed'
}

function show(route: string, { outcomes, reasons, stores, saved, spent, runs }: Counted): RouteNumbers {
  const { hit, stale, collapsed, miss, bypass } = outcomes
  const requests = hit + stale + collapsed + miss + bypass
  return {
    route,
    requests,
    hits: hit,
    stale,
    collapsed,
    misses: miss,
    bypasses: bypass,
    stores,
    hitRatio: (hit + stale + collapsed) / requests,
    savedSeconds: saved / 1000,
    spentSeconds: spent / 1000,
    ...(runs > 0 ? { handlerMilliseconds: spent / runs } : {}),
    reasons: [...reasons].map(([reason, count]) => ({ reason, count })).sort((a, b) => b.count - a.count),
  }
}
