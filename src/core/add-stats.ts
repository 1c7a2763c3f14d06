import { OTHER_ROUTES } from './counters.ts'
import { addUp } from './sums.ts'
import type { CacheStats, Tally } from './trace.ts'

const MOST_ROUTES = 500

/** The numbers of two processes together. Of their routes the 500 of most requests stay; all others are one, `(other)`. */
export function addStats(one: CacheStats, other: CacheStats): CacheStats {
  const sum = addUp(one, other)
  const { [OTHER_ROUTES]: known, ...named } = sum.routes
  const routes = Object.entries(named)
  if (routes.length <= MOST_ROUTES) return sum
  routes.sort(([, a], [, b]) => b.requests - a.requests)
  const rest = routes.slice(MOST_ROUTES).map(([, tally]) => tally)
  const others = (known ? [known, ...rest] : rest).reduce((a: Tally, b) => addUp(a, b))
  return { ...sum, routes: Object.fromEntries([...routes.slice(0, MOST_ROUTES), [OTHER_ROUTES, others]]) }
}
