import { answers, exceptions, type Floor, floors, type Group, obsolete, type Preset } from './ledger.ts'
import { type Family, idsOf, type State } from './suite.ts'
import { type Judged, passed } from './verdicts.ts'

/** What a run says that the ledger does not. A note does not fail the run. */
export interface Deviation {
  readonly isNote: boolean
  readonly text: string
}

export interface Count {
  readonly passed: number
  readonly total: number
}

export function countOf(judged: readonly Judged[], kind: Judged['kind']): Count {
  const ofKind = judged.filter((test) => test.kind === kind)
  return { passed: ofKind.filter(passed).length, total: ofKind.length }
}

/** Compares what became of each test with the ledger. */
export function auditTests(judged: readonly Judged[], state: State, preset: Preset): Deviation[] {
  const listed = new Set(listedIn(exceptions[state][preset]))
  const scored = judged.filter(({ kind }) => kind !== 'check')
  const hasAnswers = state === 'current' && preset === answers.preset
  const asked = hasAnswers ? judged.filter(({ kind }) => kind === 'check') : []
  return [
    ...failing(scored.filter((test) => !passed(test) && !listed.has(test.id))),
    ...scored.filter((test) => passed(test) && listed.has(test.id)).map(passing),
    ...asked.flatMap(answering),
  ]
}

/** Compares the totals with their floor. */
export function auditTotals(judged: readonly Judged[], state: State, preset: Preset): Deviation[] {
  const floor = floors[state][preset]
  return floor ? (['required', 'optimal'] as const).flatMap((kind) => fallenBelow(floor, kind, judged)) : []
}

/** Finds names in the ledger that the suite does not know. */
export function auditNames(families: readonly Family[], state: State): Deviation[] {
  const known = new Set(idsOf(families))
  const groups = [...Object.values(exceptions[state]).flat(), ...(state === 'registry' ? obsolete : [])]
  return (
    listedIn(groups)
      .filter((id) => !known.has(id))
      // The registry's package stays as it is; a checkout goes on.
      .map((id) => ({ isNote: state === 'current', text: `${id} is in the ledger, but not in the suite` }))
  )
}

export function isObsolete(id: string, state: State): boolean {
  return state === 'registry' && listedIn(obsolete).includes(id)
}

function listedIn(groups: readonly Group[]): string[] {
  return groups.flatMap(({ tests }) => tests)
}

// Those that build on others are told in one breath: they say nothing of their own.
function failing(tests: readonly Judged[]): Deviation[] {
  const dependents = tests.filter(({ verdict }) => verdict === 'dependency').map(({ id }) => id)
  const told = tests
    .filter(({ verdict }) => verdict !== 'dependency')
    .map(({ id, kind, verdict, detail }) => `${kind} ${id}: ${[verdict, detail].filter(Boolean).join(': ')}`)
  if (dependents.length > 0) told.push(`${dependents.length} tests build on others that fail: ${dependents.join(', ')}`)
  return told.map((text) => ({ isNote: false, text }))
}

function passing({ id, kind }: Judged): Deviation {
  return { isNote: false, text: `${kind} ${id}: passes, but the ledger lists it as an exception` }
}

function answering({ id, verdict, detail }: Judged): Deviation[] {
  const expected = (['yes', 'no', 'either', 'option'] as const).find((answer) => answers[answer].includes(id))
  if (expected === verdict || expected === 'either' || expected === 'option') return []
  const told = expected === undefined ? 'the ledger has no answer' : `the ledger says ${expected}`
  return [{ isNote: true, text: `check ${id}: ${[verdict, detail].filter(Boolean).join(': ')}; ${told}` }]
}

function fallenBelow(floor: Floor, kind: 'required' | 'optimal', judged: readonly Judged[]): Deviation[] {
  const { without = [] } = floor
  const count = countOf(
    judged.filter(({ family }) => !without.includes(family)),
    kind,
  )
  if (count.passed >= floor[kind]) return []
  const told = without.length > 0 ? ` without ${without.join(', ')}` : ''
  return [{ isNote: false, text: `${count.passed} ${kind} tests${told} pass: at least ${floor[kind]} have to` }]
}
