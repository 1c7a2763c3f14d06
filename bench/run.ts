import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type RedisServer, startRedis } from '../test/support/redis.ts'
import { installPeers } from './install.ts'
import { generator } from './measure/load.ts'
import { describeMachine, describePinning, stepAside } from './measure/machine.ts'
import { type Options, optionsFrom, USAGE, wants } from './options.ts'
import { type Results, writeResults } from './report/files.ts'
import { tableOf, targetTable } from './report/table.ts'
import { answerScenarios } from './scenarios/answers.ts'
import { invalidation } from './scenarios/invalidation.ts'
import { memory } from './scenarios/memory.ts'
import type { Context, Outcome, Scenario } from './scenarios/scenario.ts'
import { stampede } from './scenarios/stampede.ts'
import { judge, targets, type Verdict } from './targets.ts'

// What hits, misses and purges cost, here and elsewhere: npm run bench -- --help

const scenarios: readonly Scenario[] = [...answerScenarios, stampede, invalidation, memory]

async function main(options: Options): Promise<void> {
  installPeers(dirname(fileURLToPath(import.meta.url)))
  stepAside()
  const machine = `${describeMachine()}, ${generator}`
  console.log(`${machine}; ${describePinning()}\n`)
  const outcomes = await runAll(options)
  const results: Results = {
    date: new Date().toISOString(),
    machine,
    isQuick: options.isQuick,
    scenarios: outcomes,
    verdicts: outcomes.flatMap((outcome) => verdictsOf(outcome, options)),
  }
  if (results.verdicts.length > 0) console.log(`${targetTable(results.verdicts)}\n`)
  console.log(`${writeResults(options.out, results).join(', ')}`)
}

/** How the targets of a scenario stand; those that were left out by a pattern do not count. */
function verdictsOf({ name, rows }: { name: string } & Outcome, { only }: Options): Verdict[] {
  const verdicts = targets.filter(({ scenario }) => scenario === name).map((target) => judge(target, rows))
  return verdicts.filter(({ state }) => only.length === 0 || state !== 'not measured')
}

async function runAll(options: Options): Promise<({ name: string } & Outcome)[]> {
  const outcomes: ({ name: string } & Outcome)[] = []
  let redis: Promise<RedisServer> | undefined
  const redisPort = async () => (await (redis ??= startRedis())).port
  try {
    for (const scenario of scenarios) {
      const outcome = await outcomeOf(scenario, contextFor(scenario, options, redisPort))
      if (outcome.rows.length + outcome.absent.length === 0) continue
      outcomes.push({ name: scenario.name, ...outcome })
      console.log(`${tableOf(scenario, outcome)}\n`)
    }
  } finally {
    await (await redis?.catch(() => undefined))?.stop()
  }
  return outcomes
}

/** What a scenario has shown. One that breaks does not take the others with it. */
async function outcomeOf(scenario: Scenario, context: Context): Promise<Outcome> {
  try {
    return await scenario.run(context)
  } catch (error) {
    const reason = String((error as Error).message)
    return { rows: [], absent: [{ subject: scenario.name, kind: 'failed', reason }] }
  } finally {
    context.tell('')
  }
}

function contextFor({ name }: Scenario, options: Options, redisPort: () => Promise<number>): Context {
  return {
    isQuick: options.isQuick,
    wants: (subject, baseline) => wants(options, { scenario: name, subject, baseline }),
    redisPort,
    tell: (doing) => tell(doing && `${name}: ${doing}`),
  }
}

function tell(doing: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${doing}`)
}

const options = optionsFrom(process.argv.slice(2))
if (options) await main(options)
else console.log(USAGE)
