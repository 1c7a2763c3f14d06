import { parseArgs } from 'node:util'
import { FAULTS, type FaultName } from './faults.ts'
import { portOf, Server, startProcess } from './fleet.ts'
import { progressOf, reportOne, reportShared } from './report.ts'
import { CLIENTS, LOSSES, type Loss, TIERS } from './setup.ts'
import { check, type SharedPlan } from './shared.ts'
import { checkOne, type Plan } from './single.ts'

// Reads and writes over HTTP, and no read may show less than what was acknowledged before it was sent.
// One server, with everything in its memory:
//   npm run check:consistency -- [--reads 200000] [--seed 1] [--without-stamps]
// Several servers that share Redis, while this and that breaks down:
//   npm run check:consistency -- --redis [--reads 1000000] [--seed 1] [--processes 4] [--tiers none|bounded|strong]
//     [--client ioredis|node-redis] [--faults none|all|cut,freeze,…] [--without epoch|stamps|distrust]

const { values } = parseArgs({
  options: {
    redis: { type: 'boolean', default: false },
    reads: { type: 'string' },
    seed: { type: 'string', default: '1' },
    'without-stamps': { type: 'boolean', default: false },
    processes: { type: 'string', default: '4' },
    tiers: { type: 'string' },
    client: { type: 'string' },
    faults: { type: 'string' },
    without: { type: 'string' },
  },
})

// What each loss is found out by.
const FOUND_BY: Record<Loss, readonly FaultName[]> = {
  epoch: ['rollback', 'failover'],
  stamps: [],
  distrust: ['freeze', 'cut'],
}

const { lines, faults, verdict } = await (values.redis ? checkShared(sharedPlan()) : checkMemory(memoryPlan()))
if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
console.log(lines.join('\n'))
for (const fault of faults) console.error(`FAILED: ${fault}`)
console.log(faults.length > 0 ? '' : verdict)
// Left to itself, Node 20 may turn round and round for ever in cleaning up what it held of servers that were killed.
process.exit(faults.length > 0 ? 1 : 0)

async function checkMemory(plan: Plan) {
  const stamps = !values['without-stamps']
  const server = startProcess({ stamps, seed: plan.seed })
  const result = await portOf(server)
    .then((port) => checkOne(port, plan, progressOf(plan.reads)))
    .finally(() => server.kill())
  const verdict = stamps ? 'No stale answer.' : 'As expected: without stamps there are stale answers.'
  return { ...reportOne(result, plan, stamps), verdict }
}

async function checkShared(plan: SharedPlan) {
  const { without } = plan
  const result = await check(plan, (setup, table) => new Server(setup, table), progressOf(plan.reads))
  const verdict = without
    ? `As expected: without ${without} there are stale answers.`
    : 'No stale answer, no failed request.'
  return { ...reportShared(result, plan), verdict }
}

function memoryPlan(): Plan {
  return { reads: countOf('reads', values.reads ?? '200000'), seed: seedOf() }
}

function sharedPlan(): SharedPlan {
  const without = chosen('without', values.without, LOSSES, [])[0]
  const usual = without ? FOUND_BY[without] : FAULTS
  return {
    reads: countOf('reads', values.reads ?? (without ? '100000' : '1000000')),
    seed: seedOf(),
    processes: countOf('processes', values.processes),
    tiers: chosen('tiers', values.tiers, TIERS, without === 'distrust' ? ['bounded'] : TIERS),
    clients: chosen('client', values.client, CLIENTS, CLIENTS),
    faults: values.faults === 'none' ? [] : chosen('faults', values.faults, FAULTS, usual),
    without,
  }
}

function countOf(name: string, text: string): number {
  if (Number.isSafeInteger(Number(text)) && Number(text) > 0) return Number(text)
  return refuse(`--${name} takes a positive number.`)
}

function seedOf(): number {
  const seed = Number(values.seed)
  return Number.isSafeInteger(seed) ? seed : refuse('--seed takes a whole number.')
}

/** What a list names; `all` is all of it. */
function chosen<V extends string>(
  name: string,
  text: string | undefined,
  known: readonly V[],
  usual: readonly V[],
): readonly V[] {
  if (text === undefined) return usual
  if (text === 'all') return known
  const given = text.split(',')
  const unknown = given.find((one) => !known.includes(one as V))
  return unknown === undefined ? (given as V[]) : refuse(`--${name} takes ${known.join(', ')}; not ${unknown}.`)
}

function refuse(why: string): never {
  console.error(why)
  process.exit(2)
}
