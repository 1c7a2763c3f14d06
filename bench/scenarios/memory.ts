import { ask, askForAll } from '../measure/ask.ts'
import type { Server } from '../measure/server.ts'
import { muster } from './fleet.ts'
import { type Context, column, type Outcome, PEERS, type Row, type Scenario } from './scenario.ts'

const BODY = 200

const SUBJECTS = ['Express 5 tagcache route', ...PEERS, 'koa-cash']

/** What entries take, beyond what they are. */
export const memory: Scenario = {
  name: 'memory',
  text: `what an entry of ${BODY} bytes takes of the memory that is alive, all of them asked for over HTTP`,
  columns: [
    column('entries', 'entries'),
    column('bytes each', 'taken'),
    column('head and body', 'content'),
    column('beyond', 'beyond'),
    column('RSS MB', 'rss'),
  ],
  run,
}

async function run(context: Context): Promise<Outcome> {
  const subjects = SUBJECTS.filter((subject) => context.wants(subject))
  const rows: Row[] = []
  const absent = []
  for (const subject of subjects) {
    context.tell(subject)
    const fleet = await muster({ subjects: [subject], work: { size: BODY, maxSize: '4gb' } })
    absent.push(...fleet.absent)
    try {
      for (const server of fleet.servers.values())
        rows.push({ subject, values: await filled(server, context.isQuick ? 10_000 : 100_000) })
    } finally {
      await fleet.stop()
    }
  }
  return { rows, absent }
}

async function filled(server: Server, entries: number): Promise<Row['values']> {
  // What the first requests leave behind is not the entries'.
  await askForAll(server.port, 1000)
  const before = await server.state('alive')
  await askForAll(server.port, 1000 + entries)
  const { alive, rss } = await server.state('alive')
  const { body, headBytes } = await ask({ port: server.port, path: `/items/${entries}` })
  const taken = (alive! - before.alive!) / entries
  const content = body.byteLength + headBytes
  return { entries, taken, content, beyond: taken - content, rss: rss / 1e6 }
}
