import type { CacheStats, Tally } from '../core/trace.ts'
import type { NodeNumbers } from './targets/target.ts'

/** What is counted by the second. */
export type Rates = Readonly<Record<(typeof COUNTED)[number], number>>

const COUNTED = [
  'requests',
  'hits',
  'stale',
  'collapsed',
  'misses',
  'bypasses',
  'savedSeconds',
  'spentSeconds',
  'servedBytes',
] as const

/** Rates of all routes together, and of each. */
export interface AllRates {
  readonly total: Rates
  readonly routes: Readonly<Record<string, Rates>>
}

interface Seen {
  readonly at: number
  readonly stats: CacheStats
  readonly rates: AllRates | undefined
}

/** Makes rates of numbers that only grow. Processes publish theirs now and then: until it does again, a process keeps its last rates. */
export class RateMeter {
  #nodes = new Map<string, Seen>()

  /** Takes in what each process says now; undefined until one has said something twice. */
  take(nodes: readonly NodeNumbers[]): AllRates | undefined {
    this.#nodes = new Map(nodes.map((node) => [node.id, follow(this.#nodes.get(node.id), node)]))
    const known = [...this.#nodes.values()].flatMap(({ rates }) => rates ?? [])
    return known.length === 0 ? undefined : known.reduce(addAll)
  }
}

function follow(before: Seen | undefined, { at, stats }: NodeNumbers): Seen {
  if (before?.at === at) return before
  // It was started anew, and counts from nothing.
  if (!before || before.stats.since !== stats.since) return { at, stats, rates: undefined }
  const seconds = (at - before.at) / 1000
  if (seconds <= 0) return before
  const routes = Object.entries(stats.routes).map(([name, tally]) => {
    const old = Object.hasOwn(before.stats.routes, name) ? before.stats.routes[name] : undefined
    return [name, ratesOf(old, tally, seconds)] as const
  })
  return { at, stats, rates: { total: ratesOf(before.stats, stats, seconds), routes: Object.fromEntries(routes) } }
}

function ratesOf(before: Tally | undefined, now: Tally, seconds: number): Rates {
  return Object.fromEntries(
    COUNTED.map((name) => [name, Math.max(0, now[name] - (before?.[name] ?? 0)) / seconds]),
  ) as Rates
}

function addAll(one: AllRates, other: AllRates): AllRates {
  const names = new Set([...Object.keys(one.routes), ...Object.keys(other.routes)])
  const own = (rates: AllRates, name: string) => (Object.hasOwn(rates.routes, name) ? rates.routes[name] : undefined)
  const routes = [...names].map((name) => [name, add(own(one, name), own(other, name))] as const)
  return { total: add(one.total, other.total), routes: Object.fromEntries(routes) }
}

function add(one: Rates | undefined, other: Rates | undefined): Rates {
  return Object.fromEntries(COUNTED.map((name) => [name, (one?.[name] ?? 0) + (other?.[name] ?? 0)])) as Rates
}
