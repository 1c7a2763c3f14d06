import type { Cache } from '../cache.ts'
import type { CacheStats, Tally } from '../core/trace.ts'
import type { FleetStats, NodeStats } from '../fleet.ts'
import { Refusal } from './reply.ts'
import type { RouteNumbers } from './routes.ts'

/** How a backend is, as a process tells it. */
export type Health = 'well' | 'paused' | 'behind' | 'near-lost'

/** Reads what the processes say of themselves. Throws a `Refusal`. */
export type FleetReading = () => Promise<FleetStats>

// However many ask, and however often.
const KEPT = 1000

/** The numbers of all processes, read once a second at the most. */
export function fleetReading(cache: Cache): FleetReading {
  let reading: Promise<FleetStats> | undefined
  const read = async () => {
    const fleet = await cache.fleetStats()
    cache.flow.after(KEPT, () => {
      reading = undefined
    })
    return fleet
  }
  return async () => {
    if (!cache.flow.guard.hasBoard) throw noBoard()
    reading ??= read()
    const fleet = await reading
    if (fleet.of === 'process') throw new Refusal(503, 'backend-away', 'The backend does not answer.')
    const isAlone = fleet.nodes.length + fleet.unread === 1
    if (isAlone && cache.flow.options.publishEvery === undefined) throw nobodyPublishes()
    return fleet
  }
}

/** What each process has said, its routes only where they are wanted. */
export function showNodes({ nodes }: FleetStats, hasRoutes: boolean): object[] {
  return nodes.map((node, at) => ({
    id: node.id,
    at: node.at,
    // The first is the one that tells of the others.
    isAsked: at === 0,
    health: healthOf(node.stats),
    stats: hasRoutes ? node.stats : withoutRoutes(node),
  }))
}

/** The worst that is said of a backend. */
export function healthOf({ backend: { state, isBehind, near } }: CacheStats): Health {
  if (state === 'paused') return 'paused'
  if (isBehind) return 'behind'
  return near === 'lost' ? 'near-lost' : 'well'
}

/** What became of a route's requests in all processes. */
export function routeOf(route: string, tally: Tally): RouteNumbers {
  const { requests, hits, stale, collapsed, misses, bypasses, stores, savedSeconds, spentSeconds } = tally
  const reasons = Object.entries(tally.reasons).map(([reason, count]) => ({ reason, count }))
  return {
    route,
    requests,
    hits,
    stale,
    collapsed,
    misses,
    bypasses,
    stores,
    hitRatio: requests > 0 ? (hits + stale + collapsed) / requests : 0,
    savedSeconds,
    spentSeconds,
    reasons: reasons.sort((a, b) => b.count - a.count),
  }
}

function withoutRoutes({ stats: { routes: _, ...numbers } }: NodeStats): object {
  return numbers
}

function noBoard(): Refusal {
  const message =
    'The backend of this process is not one over which processes tell each other their numbers: redis() is, and tiered() over it.'
  return new Refusal(501, 'no-board', message)
}

function nobodyPublishes(): Refusal {
  const message = 'No process publishes its numbers. They do with the option `publishStats: true` of the cache.'
  return new Refusal(404, 'no-fleet', message)
}
