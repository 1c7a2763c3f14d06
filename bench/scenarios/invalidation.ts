import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { onAllCores } from '../measure/machine.ts'
import { spreadOf } from '../measure/statistics.ts'
import { type Context, column, type Outcome, type Row, type Scenario, type Values } from './scenario.ts'

const PURGE = fileURLToPath(new URL('../server/purge.ts', import.meta.url))

/** What it takes to invalidate a tag. */
export const invalidation: Scenario = {
  name: 'invalidation',
  text: 'invalidation of a tag that all entries carry, and the time until their memory is free',
  columns: [
    column('purge ms', 'purge', 3),
    column('longest block ms', 'block', 1),
    column('longest GC ms', 'collection', 1),
    column('all free ms', 'free'),
    column('bytes each', 'taken'),
    column('look-up ns', 'lookup'),
  ],
  run,
}

async function run(context: Context): Promise<Outcome> {
  const rows: Row[] = []
  for (const count of context.isQuick ? [100, 10_000, 1_000_000] : [100, 1000, 10_000, 100_000, 1_000_000]) {
    const subject = `tagcache, ${count.toLocaleString('en')} entries`
    if (!context.wants(subject)) continue
    context.tell(subject)
    rows.push({ subject, values: await purgedOften(count, context.isQuick ? 1 : 5) })
  }
  return { rows, absent: [] }
}

async function purgedOften(count: number, times: number): Promise<Values> {
  const all: Values[] = []
  for (let time = 0; time < times; time += 1) all.push(await purged(count))
  const median = (name: string) => spreadOf(all.map((values) => values[name]!)).median
  return Object.fromEntries(Object.keys(all[0]!).map((name) => [name, median(name)]))
}

async function purged(count: number): Promise<Values> {
  const heap = ['--expose-gc', '--max-old-space-size=6000']
  // On all cores: on one, the threads that compile and collect for V8 would take turns with the event loop.
  const [file, ...args] = onAllCores([process.execPath, ...heap, '--import', 'tsx', PURGE, String(count)])
  return JSON.parse((await promisify(execFile)(file, args)).stdout) as Values
}
