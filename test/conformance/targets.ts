import type { Adapter } from './applications.ts'
import { type Child, start } from './children.ts'
import type { Preset } from './ledger.ts'
import { type Family, idsOf, type Outcome, type Suite } from './suite.ts'
import type { Job } from './target.ts'

/** An application to test. */
export interface Target {
  readonly adapter: Adapter
  readonly preset: Preset
}

export type Outcomes = Readonly<Record<string, Outcome>>

/** Runs the tests against each target at the same time, with one origin: that keeps what it knows by a test's run. */
export async function runTargets(suite: Suite, families: readonly Family[], targets: readonly Target[]) {
  return withOrigin(suite, 'quiet', (origin, children) =>
    Promise.all(targets.map((target) => begin(children, 'quiet', jobOf(suite, families, target, origin)))),
  )
}

/** Runs one target after the other, and prints what client and origin exchange. */
export async function dumpTargets(suite: Suite, families: readonly Family[], targets: readonly Target[]) {
  return withOrigin(suite, 'printing', async (origin, children) => {
    const all: Outcomes[] = []
    for (const target of targets) {
      all.push(await begin(children, 'printing', { ...jobOf(suite, families, target, origin), isDumped: true }))
    }
    return all
  })
}

type Voice = 'quiet' | 'printing'

async function withOrigin<T>(
  suite: Suite,
  voice: Voice,
  run: (port: number, children: Child<unknown>[]) => Promise<T>,
): Promise<T> {
  const origin = start<number>('./origin.ts', suite.engine, voice === 'printing')
  const children: Child<unknown>[] = [origin]
  try {
    return await Promise.race([run(await origin.told, children), origin.ended])
  } finally {
    for (const child of children) child.stop()
  }
}

function begin(children: Child<unknown>[], voice: Voice, job: Job): Promise<Outcomes> {
  const child = start<Outcomes>('./target.ts', JSON.stringify(job), voice === 'printing')
  children.push(child)
  return child.told
}

function jobOf({ root }: Suite, families: readonly Family[], target: Target, origin: number): Job {
  return { ...target, origin, suite: root, tests: idsOf(families), isDumped: false }
}
