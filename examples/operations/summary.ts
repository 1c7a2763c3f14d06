import type { CacheStats, Tally } from 'tagcache'
import type { Phase } from './troubles.ts'

/** What `cache.stats()` said when a phase began and when it ended. */
export interface Observed {
  readonly phase: Phase
  readonly before: CacheStats
  readonly after: CacheStats
}

type Row = readonly [name: string, ...values: string[]]

/** Prints what the run has come to: by route, and by phase, as one would look at it. */
export function printSummary(observed: readonly Observed[], stats: CacheStats): void {
  printTable([
    ['route', 'requests', 'from cache', 'time saved', 'mostly not, because'],
    ...Object.entries(stats.routes).map(([name, tally]) => routeRow(name, tally)),
    routeRow('all', stats),
  ])
  printTable([
    ['', ...observed.map(({ phase }) => phase.name)],
    ...SIGNALS.map((signal) => signalRow(signal, observed)),
  ])
  print(`Responses stored less removed: ${stats.stores - sum(stats.removals)}; held: ${stats.entries}.`)
}

function routeRow(name: string, tally: Tally): Row {
  const reasons = Object.entries(tally.reasons).sort(([, a], [, b]) => b - a)
  return [
    name,
    String(tally.requests),
    percent(answered(tally), tally.requests),
    percent(tally.savedSeconds, tally.savedSeconds + tally.spentSeconds),
    reasons
      .slice(0, 3)
      .map(([reason, count]) => `${reason} ${count}`)
      .join(', '),
  ]
}

/** What one would have an alarm for. */
interface Signal {
  readonly name: string
  read(before: CacheStats, after: CacheStats): string
}

const SIGNALS: readonly Signal[] = [
  { name: 'requests', read: (before, after) => String(after.requests - before.requests) },
  { name: 'from cache', read: (before, after) => percent(grown(answered, before, after), requests(before, after)) },
  {
    name: 'ms saved a request',
    read: (before, after) => thousandths(after.savedSeconds - before.savedSeconds, requests(before, after)),
  },
  { name: 'handlers ran, seconds', read: (before, after) => (after.spentSeconds - before.spentSeconds).toFixed(1) },
  { name: 'search: ms a run', read: (before, after) => runTime(searchOf(before), searchOf(after)) },
  {
    name: 'search: credentials',
    read: (before, after) => reasonShare('credentials', searchOf(before), searchOf(after)),
  },
  { name: 'instead of an error', read: (before, after) => reasonShare('stale-if-error', before, after) },
  {
    name: 'made anew in vain',
    read: (before, after) =>
      percent(after.failedRefreshes - before.failedRefreshes, after.refreshes - before.refreshes),
  },
  {
    name: 'evicted, of stored',
    read: (before, after) => percent(after.removals.evicted - before.removals.evicted, after.stores - before.stores),
  },
  { name: 'faults', read: (before, after) => String(after.faults - before.faults) },
  { name: 'backend', read: (_before, after) => after.backend.state },
  { name: 'purges that wait', read: (_before, after) => String(after.backend.undelivered) },
]

function signalRow({ name, read }: Signal, observed: readonly Observed[]): Row {
  return [name, ...observed.map(({ before, after }) => read(before, after))]
}

function grown(read: (tally: Tally) => number, before: Tally, after: Tally): number {
  return read(after) - read(before)
}

function requests(before: Tally, after: Tally): number {
  return after.requests - before.requests
}

function runTime(before: Tally, after: Tally): string {
  const runs = ({ misses, bypasses, refreshes }: Tally) => misses + bypasses + refreshes
  return thousandths(after.spentSeconds - before.spentSeconds, grown(runs, before, after))
}

function reasonShare(reason: 'credentials' | 'stale-if-error', before: Tally, after: Tally): string {
  return percent(
    grown(({ reasons }) => reasons[reason] ?? 0, before, after),
    requests(before, after),
  )
}

const NOTHING = {
  requests: 0,
  hits: 0,
  stale: 0,
  collapsed: 0,
  misses: 0,
  bypasses: 0,
  reasons: {},
  stores: 0,
  refreshes: 0,
  failedRefreshes: 0,
  servedBytes: 0,
  savedSeconds: 0,
  spentSeconds: 0,
} satisfies Tally

function searchOf({ routes }: CacheStats): Tally {
  return routes['GET /search'] ?? NOTHING
}

function answered({ hits, stale, collapsed }: Tally): number {
  return hits + stale + collapsed
}

function percent(part: number, whole: number): string {
  return whole > 0 ? `${Math.round((100 * part) / whole)} %` : '-'
}

function thousandths(part: number, whole: number): string {
  return whole > 0 ? ((1000 * part) / whole).toFixed(1) : '-'
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0)
}

function printTable(rows: readonly Row[]): void {
  const widths = rows[0]!.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)))
  for (const row of rows) print(row.map((cell, at) => cell.padEnd(widths[at]!)).join('  '))
  print('')
}

function print(text: string): void {
  console.log(text.trimEnd())
}
