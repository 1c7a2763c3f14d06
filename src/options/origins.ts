import type { ExplainedOption } from '../core/explanation.ts'
import type { ResolvedCache } from './cache.ts'
import { type ResolvedRoute, ROUTE_OPTIONS, type RouteOptions } from './route.ts'

type Name = (typeof ROUTE_OPTIONS)[number]

/** The options that count for a route, as they are written, and who has said so. */
export function explainOptions(
  route: ResolvedRoute,
  given: RouteOptions<never>,
  cache: ResolvedCache,
): Record<string, ExplainedOption> {
  const options = ROUTE_OPTIONS.map((name) => {
    return [name, { value: writtenOf(name, route, cache), from: originOf(name, given, cache) }] as const
  })
  return Object.fromEntries(options)
}

function originOf(name: Name, given: RouteOptions<never>, { origins }: ResolvedCache): ExplainedOption['from'] {
  return given[name] === undefined ? (origins.get(name) ?? 'default') : 'route'
}

function writtenOf(name: Name, route: ResolvedRoute, { defaultTtl }: ResolvedCache): unknown {
  if (name === 'ttl') return (route.ttl ?? defaultTtl) / 1000
  if (name === 'coalesce') {
    const { maxWait, isClusterWide } = route
    return maxWait > 0 && { maxWait: maxWait / 1000, within: isClusterWide ? 'cluster' : 'process' }
  }
  if (name === 'normaliseVary') return shown(Object.fromEntries(route.normaliseVary))
  // Of each layer there is a list, or a function.
  if (name === 'tags') return shown(route.tags.flat())
  const value = route[name]
  return DURATIONS.has(name) && typeof value === 'number' ? value / 1000 : shown(value)
}

const DURATIONS: ReadonlySet<Name> = new Set<Name>(['staleWhileRevalidate', 'staleIfError', 'keepStale'])

// As it can be printed, or sent as JSON.
function shown(value: unknown): unknown {
  if (typeof value === 'function') return '(function)'
  if (value instanceof Set) return [...value]
  if (Array.isArray(value)) return value.map(shown)
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, shown(one)]))
}
