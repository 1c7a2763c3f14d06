import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { Profiler } from './profiler.ts'
import type { Profile, Question, Start, Started, State } from './protocol.ts'
import { Unavailable } from './subject.ts'
import { subjects } from './subjects.ts'
import { Origin } from './workload.ts'

// The process of one subject: serves it until the bench is gone, and says what it costs.

const { subject, work } = JSON.parse(process.argv[2] ?? '{}') as Start
const origin = new Origin(work)
const profiler = new Profiler()

function say(message: Started | State | Profile): void {
  process.send?.(message)
}

function stateAt(question: Question): State {
  if (question === 'alive') globalThis.gc?.()
  const { user, system } = process.cpuUsage()
  const { rss, heapUsed, external } = process.memoryUsage()
  return { cpu: user + system, rss, runs: origin.runs, ...(question === 'alive' ? { alive: heapUsed + external } : {}) }
}

process.on('disconnect', () => process.exit())
process.on('message', async (question: Question) => {
  say(question === 'state' || question === 'alive' ? stateAt(question) : await profiler.profile(question))
})

try {
  const make = subjects[subject]
  if (!make) throw new Error(`There is no subject ${subject}.`)
  const server = http.createServer(await make(origin))
  server.listen(0, '127.0.0.1', () => say({ port: (server.address() as AddressInfo).port }))
} catch (error) {
  say(error instanceof Unavailable ? { unavailable: error.message } : { error: String((error as Error).stack) })
}
