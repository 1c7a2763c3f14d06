import type { Absent, Column, Outcome, Row, Scenario } from '../scenarios/scenario.ts'
import { numberOf } from '../scenarios/scenario.ts'
import type { Target, Verdict } from '../targets.ts'

// Results as text

/** A scenario's results: by what was compared with what, the fastest first. */
export function tableOf(scenario: Scenario, { rows, absent }: Outcome): string {
  const title = `${scenario.name}: ${scenario.text}`
  const tables = baselinesOf(rows).map((baseline) =>
    groupTable(
      scenario.columns,
      baseline,
      rows.filter((row) => row.baseline === baseline),
    ),
  )
  return [title, ...tables, ...linesOf(absent)].join('\n')
}

function baselinesOf(rows: readonly Row[]): (string | undefined)[] {
  return [...new Set(rows.map(({ baseline }) => baseline))]
}

function groupTable(columns: readonly Column[], baseline: string | undefined, rows: readonly Row[]): string {
  const head = [baseline === undefined ? '' : `against ${baseline}`, ...columns.map(({ title }) => title)]
  const ordered = baseline === undefined ? rows : [...rows].sort((a, b) => b.values.ratio! - a.values.ratio!)
  return grid([head, ...ordered.map(({ subject, values }) => [subject, ...columns.map(({ show }) => show(values))])])
}

function linesOf(absent: readonly Absent[]): string[] {
  return absent.map(
    ({ subject, kind, reason }) =>
      `  ${subject} ${kind === 'skipped' ? 'is skipped' : 'FAILED'}: ${reason.split('\n', 1)[0]}`,
  )
}

/** The targets of what was measured, and how they stand. */
export function targetTable(verdicts: readonly Verdict[]): string {
  const rows = verdicts.map(({ target, state, isNoisy, subject, value }) => [
    target.scenario,
    subject ?? target.subjects.join(' or '),
    isNoisy ? `${state}?` : state,
    numberOf(value, 2),
    limitOf(target),
  ])
  return grid([['targets', '', '', 'found', 'wanted'], ...rows], [0, 1, 2, 4])
}

const UNITS: Readonly<Record<string, string>> = {
  ratio: 'times',
  cpuRatio: 'per CPU second times',
  runs: 'handler runs',
  p99OfDelay: "times the handler's time at p99",
  purge: 'ms to purge',
  block: 'ms of the longest block',
  beyond: 'bytes beyond head and body',
}

function limitOf({ value, baseline, atLeast, atMost }: Target): string {
  const limit = atLeast === undefined ? `≤ ${atMost}` : `≥ ${atLeast}`
  return `${limit} ${UNITS[value] ?? value}${baseline === undefined ? '' : ` ${baseline}`}`
}

/** Rows of cells in columns: some to the left, the others to the right. */
export function grid(rows: readonly (readonly string[])[], left: readonly number[] = [0]): string {
  const widths = rows[0]!.map((_, at) => Math.max(...rows.map((row) => row[at]!.length)))
  const padded = (cell: string, at: number) =>
    left.includes(at) ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!)
  return rows.map((row) => `  ${row.map(padded).join('  ')}`.trimEnd()).join('\n')
}
