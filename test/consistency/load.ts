import { setTimeout as sleep } from 'node:timers/promises'
import { Client } from './client.ts'
import type { Reply } from './connection.ts'
import type { Row } from './database.ts'
import type { Before, History } from './history.ts'
import { anyRow, isClusterWide } from './paths.ts'
import type { Random } from './random.ts'
import { type Result, type Source, type Spell, tally } from './result.ts'
import type { Target } from './target.ts'

/** What is done to the servers. */
export interface Load {
  readonly targets: readonly Target[]
  readonly random: Random
  readonly history: History
  readonly result: Result
  /** Whether another read is begun, after so many. */
  more(begun: number): boolean
  /** What is the matter at the moment. */
  spell(): Spell
  /** Whether nothing is written there for the time being: a server with a purge to deliver does not answer from its copies. */
  isSpared(target: Target): boolean
  pathToRead(random: Random): string
  /** How many reads there are for each write. */
  readonly readsPerWrite: number
  progress(): void
}

const READERS = 32
const WRITERS = 4
// Writes come in bursts, so that the next one often comes while answers to the last are still being computed.
const BURST = 12
const DEADLINE = 15_000

/** Reads and writes until there is no more to do, and compares what each read shows with what was acknowledged before it was sent. */
export async function attack(load: Load): Promise<void> {
  const { targets, result } = load
  const startedAt = performance.now()
  // With several servers some clients go to any of them, and some always to the same.
  const fixed = targets.length > 1 ? targets : []
  const clientsOf = (count: number) => [
    ...Array.from({ length: count }, () => new Client(targets)),
    ...fixed.map((target) => new Client([target])),
  ]
  const [readers, writers] = [clientsOf(READERS), clientsOf(WRITERS)]
  const counter = { readsBegun: 0, writesBegun: 0, isReading: true }
  const ticker = setInterval(() => {
    result.seconds = (performance.now() - startedAt) / 1000
    for (const client of [...readers, ...writers]) client.expire(performance.now() - DEADLINE)
    load.progress()
  }, 1000)
  try {
    const reading = Promise.all(readers.map((client) => readOn(load, client, counter)))
    const writing = Promise.all(writers.map((client) => writeOn(load, client, counter)))
    await reading.finally(() => {
      counter.isReading = false
    })
    await writing
  } finally {
    clearInterval(ticker)
    for (const client of [...readers, ...writers]) client.close()
  }
  result.seconds = (performance.now() - startedAt) / 1000
  load.progress()
}

interface Counter {
  readsBegun: number
  writesBegun: number
  isReading: boolean
}

async function readOn(load: Load, client: Client, counter: Counter): Promise<void> {
  while (load.more(counter.readsBegun)) {
    const target = client.choose(load.random)
    if (target) {
      counter.readsBegun += 1
      await readOnce(load, client, target)
    } else await client.whenUp()
  }
}

async function writeOn(load: Load, client: Client, counter: Counter): Promise<void> {
  while (counter.isReading) {
    const due = BURST * (1 + Math.floor(load.result.reads / (load.readsPerWrite * BURST)))
    const target = counter.writesBegun < due ? client.choose(load.random, load.isSpared) : undefined
    if (target) {
      counter.writesBegun += 1
      await writeOnce(load, client, target)
    } else await sleep(1)
  }
}

async function readOnce(load: Load, client: Client, target: Target): Promise<void> {
  const { random, history } = load
  const path = load.pathToRead(random)
  const carried = random() < 0.2 ? history.carried : undefined
  const fields = (carried ? `Tagcache-Position: ${carried.position}\r\n` : '') + wishOf(path, random)
  const before = history.before(target, carried)
  const asked = await askWithin(load, client, target, 'GET', path, fields)
  if (!asked) return
  const rows = rowsOf(asked.reply)
  if (rows) judge(load, { target, path, rows, before, ...asked })
  else fail(load, `GET ${path} at ${target.name} was answered ${asked.reply.status} ${asked.reply.text}`)
}

// Chains are asked for anew by some.
function wishOf(path: string, random: Random): string {
  return path.startsWith('/chains') && random() < 0.3 ? 'Cache-Control: no-cache\r\n' : ''
}

interface Read {
  readonly target: Target
  readonly path: string
  readonly rows: readonly Row[]
  readonly before: Before
  readonly reply: Reply
  readonly spell: Spell
}

function judge({ result, history }: Load, { target, path, rows, before, reply, spell }: Read): void {
  const source = sourceOf(reply.cacheStatus)
  result.reads += 1
  result[source] += 1
  const kind = tally(result.kinds, target.kind)
  for (const counts of [kind, spell]) {
    counts.reads += 1
    if (source === 'hits') counts.hits += 1
  }
  for (const lag of history.lags(rows, before, target)) {
    const { staleness, since, isViolation } = lag
    if (Number.isFinite(staleness)) {
      kind.staleness = Math.max(kind.staleness, staleness)
      // What was acknowledged before the last fault ended may have suffered from it.
      if (!spell.isFault && since > spell.since) kind.calmStaleness = Math.max(kind.calmStaleness, staleness)
    }
    if (!isViolation) continue
    result.violations += 1
    kind.violations += 1
    spell.violations += 1
    const isNew = !result.examples.some((one) => one.path === path && one.server === target.name)
    if (result.examples.length < 8 && isNew)
      result.examples.push({ ...lag, path, source, server: target.name, spell: spell.name, at: before.at })
  }
}

async function writeOnce(load: Load, client: Client, target: Target): Promise<void> {
  const { random, history, result } = load
  const id = anyRow(random)
  const versions = history.everywhere()
  const asked = await askWithin(load, client, target, 'PUT', `/rows/${id}`)
  if (!asked) return
  const { status, version, text, position } = asked.reply
  if (version === undefined) return fail(load, `PUT /rows/${id} at ${target.name} was answered ${status} ${text}`)
  if (status === 200) {
    history.acknowledge(target, id, version)
    versions[id] = Math.max(versions[id]!, version)
    if (position !== undefined) history.carried = { position, versions }
  } else {
    history.keep(target, id, version)
    result.keptWrites += 1
  }
  result.writes += 1
}

/** Asks; undefined where the server was taken down meanwhile, or where there was no answer, which is counted. */
async function askWithin(
  load: Load,
  client: Client,
  target: Target,
  method: string,
  path: string,
  fields = '',
): Promise<{ reply: Reply; spell: Spell } | undefined> {
  const { port } = target
  const spell = load.spell()
  const sentAt = performance.now()
  try {
    const reply = await client.ask(target, method, path, fields)
    tellTime(load, spell, { took: performance.now() - sentAt, method, path, server: target.name })
    return { reply, spell }
  } catch (error) {
    if (target.port !== port) load.result.lost += 1
    else fail(load, `${method} ${path} at ${target.name} during ${spell.name}: ${(error as Error).message}`)
    return undefined
  }
}

const TOO_SLOW = 3000

interface Taken {
  readonly took: number
  readonly method: string
  readonly path: string
  readonly server: string
}

function tellTime({ result }: Load, spell: Spell, { took, method, path, server }: Taken): void {
  const name = method === 'GET' && isClusterWide(path) ? 'slowestWide' : 'slowest'
  spell[name] = Math.max(spell[name], took)
  if (took <= TOO_SLOW) return
  result.slow += 1
  if (result.complaints.length < 8)
    result.complaints.push(`${method} ${path} at ${server} took ${Math.round(took)} ms (${spell.name})`)
}

function fail({ result }: Load, complaint: string): void {
  result.failures += 1
  if (result.complaints.length < 8) result.complaints.push(complaint)
}

function rowsOf({ text }: Reply): Row[] | undefined {
  try {
    return JSON.parse(text) as Row[]
  } catch {
    return undefined
  }
}

function sourceOf(cacheStatus: string): Source {
  if (/detail=stale/.test(cacheStatus)) return 'stale'
  if (/fwd-status=304/.test(cacheStatus)) return 'validated'
  if (/; hit/.test(cacheStatus)) return 'hits'
  if (/; collapsed/.test(cacheStatus)) return 'collapsed'
  return /fwd=bypass/.test(cacheStatus) ? 'bypassed' : 'misses'
}
