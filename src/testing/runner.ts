/** Declares one test: `test` or `it` of vitest, node:test, Mocha or Jest. `run` rejects with an `AssertionError` where the test fails. */
export type DeclareTest = (name: string, run: () => Promise<void>) => unknown

/** Groups tests under a name: `describe` or `suite` of the same runners. */
export type GroupTests = (name: string, declare: () => void) => unknown

/** One clause of a contract: what holds, and what shows it. */
export type Clause<Subject> = readonly [name: string, check: (subject: Subject) => Promise<void>]

/** Declares a test for each clause, every one with a subject of its own. */
export function declareClauses<Subject>(
  { test, describe }: { readonly test: DeclareTest; readonly describe?: GroupTests | undefined },
  title: string,
  clauses: readonly Clause<Subject>[],
  withSubject: (check: (subject: Subject) => Promise<void>) => Promise<void>,
): void {
  const declare = (prefix: string) => {
    for (const [name, check] of clauses) test(`${prefix}${name}`, () => withSubject(check))
  }
  if (describe) describe(title, () => declare(''))
  else declare(`${title}: `)
}
