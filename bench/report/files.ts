import { writeFileSync } from 'node:fs'
import type { Outcome, Row } from '../scenarios/scenario.ts'
import type { Verdict } from '../targets.ts'
import { type Bar, chartOf } from './chart.ts'

/** Everything that a run of the bench has found. */
export interface Results {
  readonly date: string
  readonly machine: string
  readonly isQuick: boolean
  readonly scenarios: readonly ({ readonly name: string } & Outcome)[]
  readonly verdicts: readonly Verdict[]
}

const CHARTED = 'hit 1 KB'

/** Writes the results, and a chart of the hits where they were measured. Says where. */
export function writeResults(out: string, results: Results): string[] {
  const chart = chartFor(results)
  writeFileSync(`${out}.json`, `${JSON.stringify(results, rounded, 2)}\n`)
  if (chart === undefined) return [`${out}.json`]
  writeFileSync(`${out}.svg`, chart)
  return [`${out}.json`, `${out}.svg`]
}

function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' ? Number(value.toPrecision(5)) : value
}

function chartFor({ scenarios, machine }: Results): string | undefined {
  const rows = scenarios.find(({ name }) => name === CHARTED)?.rows ?? []
  if (rows.length === 0) return undefined
  return chartOf('Hits of 1 KB of JSON, per second of CPU time', machine, barsOf(rows))
}

/** A bar for each subject. One that was compared with several others has its bar from the first comparison. */
function barsOf(rows: readonly Row[]): Bar[] {
  const bySubject = new Map<string, Bar>()
  for (const { subject: label, values } of rows)
    if (!bySubject.has(label))
      bySubject.set(label, { label, value: values.perCpu!, isOurs: label.includes('tagcache') })
  return [...bySubject.values()]
}
