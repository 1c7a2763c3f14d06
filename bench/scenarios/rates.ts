import { askForAll } from '../measure/ask.ts'
import type { Expectation } from '../measure/check.ts'
import { type Load, makeLoad } from '../measure/load.ts'
import { compare, type Plan, type Reading, type Summary, summarise } from '../measure/rounds.ts'
import type { Server } from '../measure/server.ts'
import type { Workload } from '../server/workload.ts'
import { type Fleet, muster } from './fleet.ts'
import { type Column, type Context, column, numberOf, type Outcome, type Row, type Scenario } from './scenario.ts'

// Requests per second, each subject between two measurements of what it is compared with

/** A subject under a load. */
export interface Contender {
  readonly subject: string
  /** The scenario's, where nothing else is said. */
  readonly load?: Load
  readonly label?: string
}

export interface Group {
  readonly baseline: Contender
  readonly contenders: readonly Contender[]
}

export interface RateScenario {
  readonly name: string
  readonly text: string
  readonly work: Workload
  readonly load: Load
  readonly expectation?: Expectation
  readonly needsRedis?: boolean
  readonly groups: readonly Group[]
}

/** A group of subjects by name, under the scenario's load. */
export function against(baseline: string, ...subjects: readonly string[]): Group {
  return { baseline: { subject: baseline }, contenders: subjects.map((subject) => ({ subject })) }
}

const FULL = {
  plan: { rounds: 9, attempts: 18, tolerance: 0.05 },
  seconds: 0.5,
  warmUp: { requests: 30_000, seconds: 3 },
}
const QUICK = {
  plan: { rounds: 2, attempts: 3, tolerance: 0.08 },
  seconds: 0.25,
  warmUp: { requests: 6000, seconds: 0.6 },
}

interface Settings {
  readonly plan: Plan
  /** How long a measurement takes. */
  readonly seconds: number
  /** Until when a process is warm: so many requests, and so many seconds of its CPU time. */
  readonly warmUp: { readonly requests: number; readonly seconds: number }
}

export function rateScenario(scenario: RateScenario): Scenario {
  const { name, text } = scenario
  return { name, text, columns: COLUMNS, run: (context) => runRates(scenario, context) }
}

async function runRates(scenario: RateScenario, context: Context): Promise<Outcome> {
  const groups = wantedGroups(scenario, context)
  const settings = context.isQuick ? QUICK : FULL
  const fleet = await startFleet(scenario, groups, context)
  try {
    await warmUp(scenario, groups, fleet, settings, context)
    const rows: Row[] = []
    for (const group of groups) rows.push(...(await compareGroup(scenario, group, fleet, settings, context)))
    return { rows, absent: fleet.absent }
  } finally {
    await fleet.stop()
  }
}

function wantedGroups({ groups }: RateScenario, context: Context): Group[] {
  return groups
    .map(({ baseline, contenders }) => ({
      baseline,
      contenders: contenders.filter((contender) => context.wants(labelOf(contender), labelOf(baseline))),
    }))
    .filter(({ contenders }) => contenders.length > 0)
}

async function startFleet(scenario: RateScenario, groups: readonly Group[], context: Context): Promise<Fleet> {
  const { expectation, load, needsRedis } = scenario
  const { method, headers } = load
  context.tell('starting and checking')
  return muster({
    subjects: contendersOf(groups).map(({ subject }) => subject),
    work: needsRedis ? { ...scenario.work, redisPort: await context.redisPort() } : scenario.work,
    ...(expectation ? { expectation } : {}),
    asked: { ...(method ? { method } : {}), ...(headers ? { headers } : {}) },
  })
}

function contendersOf(groups: readonly Group[]): Contender[] {
  return groups.flatMap(({ baseline, contenders }) => [baseline, ...contenders])
}

/** Has each contender warm, and everything stored that will be asked for. */
async function warmUp(
  { load }: RateScenario,
  groups: readonly Group[],
  { servers }: Fleet,
  { warmUp }: Settings,
  context: Context,
): Promise<void> {
  const all = new Map(contendersOf(groups).map((contender) => [labelOf(contender), contender]))
  for (const contender of all.values()) {
    const server = servers.get(contender.subject)
    if (!server) continue
    const asked = contender.load ?? load
    context.tell(`warming up ${labelOf(contender)}`)
    if (asked.count) await askForAll(server.port, asked.count)
    await warm(server, asked, warmUp)
  }
}

// A busy machine has little compiled after a second: what counts is how often code ran. What is slow gets no more than
// a few times the CPU time.
async function warm(server: Server, load: Load, { requests, seconds }: Settings['warmUp']): Promise<void> {
  const { cpu: start } = await server.state()
  let made = 0
  for (;;) {
    made += (await makeLoad(server.port, load, seconds / 2)).requests
    const used = ((await server.state()).cpu - start) / 1e6
    if ((used >= seconds && made >= requests) || used >= 4 * seconds) return
  }
}

async function compareGroup(
  { load }: RateScenario,
  { baseline, contenders }: Group,
  { servers }: Fleet,
  { plan, seconds }: Settings,
  context: Context,
): Promise<Row[]> {
  const present = contenders.filter(({ subject }) => servers.has(subject))
  if (!servers.has(baseline.subject) || present.length === 0) return []
  const compared = await compare(baseline, present, plan, (contender) => {
    context.tell(`${labelOf(contender)} (against ${labelOf(baseline)})`)
    return read(servers.get(contender.subject)!, contender.load ?? load, seconds)
  })
  return [...compared].map(([contender, rounds]) =>
    rowOf(labelOf(contender), labelOf(baseline), summarise(rounds, plan.tolerance)),
  )
}

async function read(server: Server, load: Load, seconds: number): Promise<Reading> {
  const before = await server.state()
  const { requests, seconds: taken, p50, p99 } = await makeLoad(server.port, load, seconds)
  const { cpu, rss } = await server.state()
  return { rate: requests / taken, perCpu: requests / ((cpu - before.cpu) / 1e6), p50, p99, rss }
}

function labelOf({ label, subject }: Contender): string {
  return label ?? subject
}

// What is reported

function rowOf(subject: string, baseline: string, summary: Summary): Row {
  const { ratio, cpuRatio, reading, kept, made, isNoisy } = summary
  const values = {
    ...{ ratio: ratio.median, ratioLow: ratio.low, ratioHigh: ratio.high },
    ...{ cpuRatio: cpuRatio.median, cpuRatioLow: cpuRatio.low, cpuRatioHigh: cpuRatio.high },
    ...reading,
    ...{ kept, made, isNoisy: Number(isNoisy) },
  }
  return { subject, baseline, values }
}

const COLUMNS: readonly Column[] = [
  { title: 'times', show: ({ ratio, isNoisy }) => numberOf(ratio, 2) + (isNoisy ? '?' : ' ') },
  {
    title: 'range',
    show: ({ ratioLow, ratioHigh }) => `${numberOf(ratioLow, 2)}–${numberOf(ratioHigh, 2)}`,
  },
  column('per CPU', 'cpuRatio', 2),
  column('req/s', 'rate'),
  column('req/CPU s', 'perCpu'),
  column('p50 ms', 'p50', 2),
  column('p99 ms', 'p99', 2),
  { title: 'RSS MB', show: ({ rss }) => numberOf(rss! / 1e6, 0) },
  { title: 'rounds', show: ({ kept, made }) => `${kept}/${made}` },
]
