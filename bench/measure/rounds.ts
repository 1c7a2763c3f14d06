import { type Spread, spreadOf } from './statistics.ts'

// What else a machine does changes from second to second. So each measurement stands between two of what it is compared
// with, and counts only where these two agree.

/** What one short measurement showed. */
export interface Reading {
  /** Requests per second. */
  readonly rate: number
  /** Requests per second of the CPU time that the process used itself. */
  readonly perCpu: number
  /** Milliseconds. */
  readonly p50: number
  readonly p99: number
  /** Bytes. */
  readonly rss: number
}

/** A measurement and the two of the baseline around it. */
export interface Round {
  readonly before: Reading
  readonly reading: Reading
  readonly after: Reading
}

export interface Plan {
  /** How many rounds have to count. */
  readonly rounds: number
  /** How many are made at most. */
  readonly attempts: number
  /** By how much the two baselines may differ, as a share of the rate. */
  readonly tolerance: number
}

type Value = 'rate' | 'perCpu'

/** Measures subjects in turn, each between two measurements of the baseline, until enough rounds count. */
export async function compare<S>(
  baseline: S,
  subjects: readonly S[],
  plan: Plan,
  measure: (subject: S) => Promise<Reading>,
): Promise<Map<S, Round[]>> {
  const all = new Map(subjects.map((subject): [S, Round[]] => [subject, []]))
  for (let attempt = 0; attempt < plan.attempts; attempt += 1) {
    const open = subjects.filter((subject) => quiet(all.get(subject)!, 'rate', plan.tolerance).length < plan.rounds)
    if (open.length === 0) break
    let before = await measure(baseline)
    for (const subject of open) {
      const reading = await measure(subject)
      const after = await measure(baseline)
      all.get(subject)!.push({ before, reading, after })
      before = after
    }
  }
  return all
}

/** The rounds in which the two baselines agree on a value. */
export function quiet(rounds: readonly Round[], value: Value, tolerance: number): Round[] {
  return rounds.filter(({ before, after }) => {
    const difference = Math.abs(before[value] - after[value])
    return difference <= tolerance * ((before[value] + after[value]) / 2)
  })
}

/** How many times the baseline's value a subject has, round by round. */
export function ratiosOf(rounds: readonly Round[], value: Value): number[] {
  return rounds.map(({ before, reading, after }) => reading[value] / ((before[value] + after[value]) / 2))
}

/** What is reported of a subject. */
export interface Summary {
  readonly ratio: Spread
  readonly cpuRatio: Spread
  readonly reading: Reading
  /** How many rounds counted for the ratio of rates, and how many were made. */
  readonly kept: number
  readonly made: number
  /** Whether no round counted, so that all of them had to. */
  readonly isNoisy: boolean
}

export function summarise(rounds: readonly Round[], tolerance: number): Summary {
  const counted = (value: Value) => {
    const kept = quiet(rounds, value, tolerance)
    return kept.length > 0 ? kept : rounds
  }
  const kept = quiet(rounds, 'rate', tolerance).length
  return {
    ratio: spreadOf(ratiosOf(counted('rate'), 'rate')),
    cpuRatio: spreadOf(ratiosOf(counted('perCpu'), 'perCpu')),
    reading: medianReading(counted('rate').map(({ reading }) => reading)),
    kept,
    made: rounds.length,
    isNoisy: kept === 0,
  }
}

export function medianReading(readings: readonly Reading[]): Reading {
  const median = (value: keyof Reading) => spreadOf(readings.map((reading) => reading[value])).median
  return {
    rate: median('rate'),
    perCpu: median('perCpu'),
    p50: median('p50'),
    p99: median('p99'),
    rss: median('rss'),
  }
}
