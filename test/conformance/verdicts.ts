import type { Family, Kind, Outcome, SuiteTest } from './suite.ts'
import type { Outcomes } from './targets.ts'

/** How the suite reads an outcome. Setup, retry, harness and dependency say that the test has not come to its point. */
export type Verdict =
  | 'pass'
  | 'fail'
  | 'optional fail'
  | 'yes'
  | 'no'
  | 'setup'
  | 'retry'
  | 'harness'
  | 'dependency'
  | 'untested'

export interface Judged {
  readonly id: string
  readonly family: string
  readonly kind: Kind
  readonly verdict: Verdict
  /** What the suite's client has to say about it. */
  readonly detail: string
}

export function passed({ verdict }: Pick<Judged, 'verdict'>): boolean {
  return verdict === 'pass' || verdict === 'yes'
}

/** Reads the outcomes of tests: each is worth something only if those that it builds on have passed, or are not asked. */
export function judgeAll(families: readonly Family[], outcomes: Outcomes, { alone }: { alone: boolean }): Judged[] {
  const tests = new Map(families.flatMap((family) => family.tests.map((test) => [test.id, test] as const)))
  const verdictOf = (test: SuiteTest): Verdict => {
    const outcome = outcomes[test.id]
    if (outcome === undefined) return 'untested'
    return !alone && test.depends_on?.some(isMissing) ? 'dependency' : read(test.kind, outcome)
  }
  const isMissing = (id: string): boolean => {
    const test = tests.get(id)
    return test === undefined || !passed({ verdict: verdictOf(test) })
  }
  return families.flatMap((family) =>
    family.tests.map((test) => ({
      id: test.id,
      family: family.id,
      kind: test.kind ?? 'required',
      verdict: verdictOf(test),
      detail: messageOf(outcomes[test.id]),
    })),
  )
}

function read(kind: Kind | undefined, outcome: Outcome): Verdict {
  if (outcome === true) return kind === 'check' ? 'yes' : 'pass'
  const [name, message] = outcome
  if (name === 'Setup') return message === 'retry' ? 'retry' : 'setup'
  if (name === 'AbortError') return 'harness'
  if (kind === 'check') return 'no'
  return kind === 'optimal' ? 'optional fail' : 'fail'
}

function messageOf(outcome: Outcome | undefined): string {
  if (outcome === undefined || outcome === true) return ''
  const [name, message] = outcome
  return name === 'Assertion' || name === 'Setup' ? message : `${name}: ${message}`
}
