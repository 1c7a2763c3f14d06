import type { Lag } from './history.ts'

/** How a read came by its answer. */
export type Source = 'hits' | 'stale' | 'validated' | 'collapsed' | 'misses' | 'bypassed'

/** A read that showed something older than what had been acknowledged before it was sent. */
export interface Violation extends Lag {
  readonly server: string
  readonly path: string
  readonly source: Source
  /** What was the matter then. */
  readonly spell: string
  /** When it was sent. */
  readonly at: number
}

interface Counts {
  reads: number
  hits: number
  violations: number
}

/** What came out of the servers of one kind. */
export interface Kind extends Counts {
  /** The worst staleness, in milliseconds, and the worst of what was written and read between two faults. */
  staleness: number
  calmStaleness: number
}

/** A time with one fault, or without any. */
export interface Spell extends Counts {
  readonly name: string
  readonly isFault: boolean
  times: number
  milliseconds: number
  /** When the last one began. */
  since: number
  /** The longest that a request took which was sent then, in milliseconds. */
  slowest: number
  /** The same for reads that may wait for another process. */
  slowestWide: number
}

/** What came out. */
export interface Result extends Record<Source, number> {
  reads: number
  writes: number
  /** Writes whose purge was only kept for later. */
  keptWrites: number
  violations: number
  /** Requests that failed, and those that took too long. */
  failures: number
  slow: number
  /** Requests that were lost with their server. */
  lost: number
  seconds: number
  readonly kinds: Map<string, Kind>
  /** The first few, each of another path or server. */
  readonly examples: Violation[]
  readonly complaints: string[]
}

export function emptyResult(): Result {
  const sources = { hits: 0, stale: 0, validated: 0, collapsed: 0, misses: 0, bypassed: 0 }
  const writes = { writes: 0, keptWrites: 0 }
  const faults = { violations: 0, failures: 0, slow: 0, lost: 0 }
  return { reads: 0, ...sources, ...writes, ...faults, seconds: 0, kinds: new Map(), examples: [], complaints: [] }
}

export function emptySpell(name: string, isFault: boolean): Spell {
  return {
    name,
    isFault,
    times: 0,
    milliseconds: 0,
    since: 0,
    slowest: 0,
    slowestWide: 0,
    reads: 0,
    hits: 0,
    violations: 0,
  }
}

/** The counts of a kind, which begin with its first read. */
export function tally(kinds: Map<string, Kind>, name: string): Kind {
  const known = kinds.get(name)
  if (known) return known
  const kind = { reads: 0, hits: 0, violations: 0, staleness: 0, calmStaleness: 0 }
  kinds.set(name, kind)
  return kind
}
