import { Agent } from 'node:http'
import { type Answer, ask } from '../measure/ask.ts'
import type { Server } from '../measure/server.ts'
import { percentile, spreadOf } from '../measure/statistics.ts'
import { muster } from './fleet.ts'
import { type Context, column, type Outcome, PEERS, type Row, type Scenario } from './scenario.ts'

const CROWD = 200
const DELAY = 100

const SUBJECTS = [
  'Express 5 tagcache route',
  'Express 5 tagcache front',
  'Koa 3 tagcache app.use',
  'node tagcache',
  'Express 5 no cache',
  ...PEERS,
  'koa-cash',
]

/** Many ask at once for what takes long, and is not there yet. */
export const stampede: Scenario = {
  name: 'stampede',
  text: `${CROWD} requests at once for an answer that takes its handler ${DELAY} ms`,
  columns: [
    column('handler runs', 'runs'),
    column('p50 ms', 'p50', 1),
    column('p99 ms', 'p99', 1),
    column("of handler's time", 'p99OfDelay', 2),
  ],
  run,
}

async function run(context: Context): Promise<Outcome> {
  context.tell('starting and checking')
  const subjects = SUBJECTS.filter((subject) => context.wants(subject))
  const fleet = await muster({ subjects, work: { size: 1024, delay: DELAY } })
  const rows: Row[] = []
  const absent = [...fleet.absent]
  try {
    for (const [subject, server] of fleet.servers) {
      context.tell(subject)
      const found = await crowdAt(server, context.isQuick ? 3 : 15)
      if (typeof found === 'string') absent.push({ subject, kind: 'failed', reason: found })
      else rows.push({ subject, values: found })
    }
  } finally {
    await fleet.stop()
  }
  return { rows, absent }
}

/** What several crowds met, each at a new path; or what is wrong with the answers. */
async function crowdAt(server: Server, times: number): Promise<Row['values'] | string> {
  const agent = new Agent({ keepAlive: true, maxSockets: CROWD })
  const [runs, p50, p99]: number[][] = [[], [], []]
  try {
    // The first ones open the connections, and warm both sides up.
    for (let time = -2; time < times; time += 1) {
      const before = await server.state()
      const answers = await crowd(server.port, `/items/crowd${time}`, agent)
      const after = await server.state()
      if (!answers.every(({ status, body }) => status === 200 && body.equals(answers[0]!.body)))
        return 'answers differ, or are no success'
      if (time < 0) continue
      const waits = answers.map((answer) => answer.time)
      runs!.push(after.runs - before.runs)
      p50!.push(percentile(waits, 50))
      p99!.push(percentile(waits, 99))
    }
  } finally {
    agent.destroy()
  }
  const slowest = spreadOf(p99!).median
  return { runs: Math.max(...runs!), p50: spreadOf(p50!).median, p99: slowest, p99OfDelay: slowest / DELAY }
}

function crowd(port: number, path: string, agent: Agent): Promise<Answer[]> {
  return Promise.all(Array.from({ length: CROWD }, () => ask({ port, path, agent })))
}
