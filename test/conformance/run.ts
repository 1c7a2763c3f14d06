import { writeFileSync } from 'node:fs'
import { auditNames, auditTests, auditTotals, isObsolete } from './audit.ts'
import { type Options, readOptions } from './options.ts'
import { details, deviations, type Result, table, totals } from './report.ts'
import { type Family, openSuite, type Suite, serverTests } from './suite.ts'
import { dumpTargets, type Outcomes, runTargets, type Target } from './targets.ts'
import { judgeAll } from './verdicts.ts'

// Runs the public HTTP cache tests against the cache in Express and Koa, and holds what comes of them against the ledger.

async function runAll({ suite: directory, json, ...options }: Options): Promise<boolean> {
  const suite = await openSuite(directory)
  const families = serverTests(suite.families, (id) => !isObsolete(id, suite.state))
  const targets = targetsOf(options)
  const outcomes = await runTargets(suite, families, targets)
  const results = targets.map((target, at) => resultOf(suite, families, target, outcomes[at]!))
  const faults = auditNames(suite.families, suite.state)
  for (const result of results) console.log(`${table(result)}\n`)
  console.log(results.map(totals).join('\n'))
  console.log(
    `\n${[...faults.map(({ text }) => text), ...results.flatMap(deviations)].join('\n') || 'All as in the ledger.'}`,
  )
  if (json) writeFileSync(json, JSON.stringify({ state: suite.state, faults, results }, null, 2))
  return faults.length === 0 && results.every(isAsListed)
}

/** Runs a test alone, so that what it builds on is not asked. */
async function runOne(id: string, { suite: directory, ...options }: Options): Promise<boolean> {
  const suite = await openSuite(directory)
  const families = serverTests(suite.families, (each) => each === id)
  if (families.length === 0) throw new Error(`The suite has no test of servers that is called ${id}`)
  const targets = targetsOf(options)
  const outcomes = await dumpTargets(suite, families, targets)
  const results = targets.map((target, at) => aloneOf(suite, families, target, outcomes[at]!))
  console.log(results.map(details).join('\n'))
  return results.every(isAsListed)
}

function targetsOf({ adapters, presets }: Pick<Options, 'adapters' | 'presets'>): Target[] {
  return adapters.flatMap((adapter) => presets.map((preset) => ({ adapter, preset })))
}

function resultOf({ state }: Suite, families: readonly Family[], target: Target, outcomes: Outcomes): Result {
  const judged = judgeAll(families, outcomes, { alone: false })
  const { preset } = target
  return {
    name: nameOf(target),
    judged,
    deviations: [...auditTests(judged, state, preset), ...auditTotals(judged, state, preset)],
  }
}

function aloneOf({ state }: Suite, families: readonly Family[], target: Target, outcomes: Outcomes): Result {
  const judged = judgeAll(families, outcomes, { alone: true })
  return { name: nameOf(target), judged, deviations: auditTests(judged, state, target.preset) }
}

function nameOf({ adapter, preset }: Target): string {
  return `${adapter} ${preset}`
}

function isAsListed({ deviations }: Result): boolean {
  return deviations.every(({ isNote }) => isNote)
}

const options = readOptions(process.argv.slice(2))
const isFine = await (options.only === undefined ? runAll(options) : runOne(options.only, options))
process.exitCode = isFine ? 0 : 1
