import { type Count, countOf, type Deviation } from './audit.ts'
import type { Judged } from './verdicts.ts'

/** What became of the tests with one application. */
export interface Result {
  readonly name: string
  readonly judged: readonly Judged[]
  readonly deviations: readonly Deviation[]
}

const kinds = ['required', 'optimal', 'check'] as const

/** A table by family, with a row of totals. */
export function table({ name, judged }: Result): string {
  const families = [...new Set(judged.map(({ family }) => family))]
  return [
    row(name, kinds),
    ...families.map((family) =>
      counts(
        `  ${family}`,
        judged.filter((test) => test.family === family),
      ),
    ),
    counts('  total', judged),
  ].join('\n')
}

export function totals({ name, judged }: Result): string {
  const told = kinds.map((kind) => `${kind} ${show(countOf(judged, kind))}`)
  return `${name.padEnd(22)}${told.join(', ')}`
}

/** What deviates from the ledger: faults first, then notes. */
export function deviations({ name, deviations }: Result): string[] {
  const faults = deviations.filter(({ isNote }) => !isNote)
  const notes = deviations.filter(({ isNote }) => isNote)
  return [...faults.map(({ text }) => `${name}: ${text}`), ...notes.map(({ text }) => `${name}, a note: ${text}`)]
}

/** A single test, in the suite's own words. */
export function details({ name, judged }: Result): string {
  return judged.map(({ id, kind, verdict, detail }) => `${name}: ${kind} ${id}: ${verdict} ${detail}`.trim()).join('\n')
}

function counts(title: string, judged: readonly Judged[]): string {
  return row(
    title,
    kinds.map((kind) => show(countOf(judged, kind))),
  )
}

function show({ passed, total }: Count): string {
  return total === 0 ? '-' : `${passed}/${total}`
}

function row(title: string, cells: readonly string[]): string {
  return title.padEnd(24) + cells.map((cell) => cell.padStart(10)).join('')
}
