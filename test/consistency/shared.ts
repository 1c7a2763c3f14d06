import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Connection } from './connection.ts'
import { ALL, type Row, Table } from './database.ts'
import { type FaultName, type Mortal, Weather } from './faults.ts'
import { History } from './history.ts'
import { attack } from './load.ts'
import { pathOfMany } from './paths.ts'
import { generator } from './random.ts'
import { emptyResult, type Result, type Spell } from './result.ts'
import type { ClientName, Loss, Setup, Tiers } from './setup.ts'
import { startStage } from './stage.ts'
import type { Target } from './target.ts'

/** What is checked of several servers that share Redis. */
export interface SharedPlan {
  readonly reads: number
  readonly seed: number
  readonly processes: number
  /** What the servers are like, in turn. */
  readonly tiers: readonly Tiers[]
  readonly clients: readonly ClientName[]
  readonly faults: readonly FaultName[]
  readonly without?: Loss | undefined
}

/** What came out of it. */
export interface SharedResult extends Result {
  readonly spells: readonly Spell[]
  readonly servers: readonly string[]
  /** Rows that some server still showed an old version of, long after all was well again. */
  readonly unsettled: readonly string[]
}

/** A server that is made for a setup. */
export type SharedServer = Target & Mortal & { readonly fate?: string | undefined }

/** Runs servers, reads, writes and faults until all of the plan has happened. */
export async function check(
  plan: SharedPlan,
  serverOf: (setup: Setup, table: Table) => SharedServer,
  progress: (result: Result) => void = () => {},
): Promise<SharedResult> {
  const home = await mkdtemp(join(tmpdir(), 'tagcache-check-'))
  const stage = await startStage(plan.processes)
  const table = new Table()
  const ports = stage.relays.map(({ port }) => port)
  const servers = setupsOf(plan, ports, home).map((setup) => serverOf(setup, table))
  try {
    await Promise.all(servers.map((server) => server.start()))
    const weather = new Weather({ stage, servers, random: generator(plan.seed + 1) }, plan.faults)
    return await run(plan, servers, weather, progress)
  } finally {
    await Promise.all(servers.map((server) => server.kill()))
    await stage.stop()
    await rm(home, { recursive: true, force: true })
  }
}

async function run(
  { reads, seed, without }: SharedPlan,
  servers: readonly SharedServer[],
  weather: Weather,
  progress: (result: Result) => void,
): Promise<SharedResult> {
  const [history, result] = [new History(), emptyResult()]
  const attacking = attack({
    targets: servers,
    random: generator(seed),
    history,
    result,
    more: (begun) => begun - result.lost - result.failures < reads || !weather.isComplete,
    spell: () => weather.spell,
    isSpared: (target) => weather.isSpared(target as SharedServer),
    pathToRead: pathOfMany,
    readsPerWrite: 40,
    progress: () => progress(result),
  }).finally(() => weather.end())
  await Promise.all([attacking, weather.run()])
  const unsettled = without ? [] : await unsettledOf(servers, history)
  for (const { fate } of servers) if (fate) result.complaints.push(fate)
  result.failures += servers.filter(({ fate }) => fate).length
  return { ...result, spells: weather.spells, servers: servers.map(({ name }) => name), unsettled }
}

function setupsOf(plan: SharedPlan, ports: readonly number[], home: string): Setup[] {
  const { tiers, clients, seed, without } = plan
  return ports.map((redisPort, at) => ({
    name: `server ${at + 1}`,
    tiers: tiers[(at + seed) % tiers.length]!,
    // Shifted by one with each turn of two, or each kind would always have the same client.
    client: clients[(at + seed + (tiers.length === 2 ? Math.floor(at / 2) : 0)) % clients.length]!,
    without,
    redisPort,
    journal: join(home, `journal-${at}`),
    seed: ~seed + at,
  }))
}

const SETTLED_WITHIN = 5000

/** Rows whose last acknowledged version is not shown by all servers soon after all is well: a purge was lost. */
async function unsettledOf(servers: readonly SharedServer[], history: History): Promise<string[]> {
  const due = history.answered()
  const deadline = performance.now() + SETTLED_WITHIN
  for (;;) {
    const behind = (await Promise.all(servers.map((server) => behindAt(server, due)))).flat()
    if (behind.length === 0 || performance.now() > deadline) return behind
    await sleep(50)
  }
}

async function behindAt({ name, port }: SharedServer, due: Int32Array): Promise<string[]> {
  if (port === undefined) return [`${name} is down.`]
  const connection = new Connection(port)
  try {
    const behind: string[] = []
    const paths = ALL.flatMap((id) => [`/rows/${id}`, `/chains/${id}`, `/groups/${id % 4}`])
    for (const path of ['/rows', ...paths]) {
      const rows = JSON.parse((await connection.ask('GET', path)).text) as Row[]
      for (const { id, version } of rows) {
        if (version < due[id]!)
          behind.push(`GET ${path} at ${name} still shows version ${version} of row ${id}, not ${due[id]}`)
      }
    }
    return behind
  } finally {
    connection.close()
  }
}
