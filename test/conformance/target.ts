import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Adapter, applications } from './applications.ts'
import type { Preset } from './ledger.ts'
import { dump, openSuite, runClient, serverTests } from './suite.ts'

/** What one process does: the application of an adapter and a preset, and the suite's client before it. */
export interface Job {
  readonly adapter: Adapter
  readonly preset: Preset
  readonly origin: number
  readonly suite: string
  readonly tests: readonly string[]
  readonly isDumped: boolean
}

function serve({ adapter, preset, origin }: Job): Promise<string> {
  // Connections stay open: a client must not meet one that is just being closed.
  const server = createServer({ keepAliveTimeout: 0 }, applications[adapter](preset, origin))
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
  })
}

async function run(job: Job): Promise<void> {
  const suite = await openSuite(job.suite)
  const wanted = new Set(job.tests)
  const families = serverTests(suite.families, (id) => wanted.has(id))
  if (job.isDumped) for (const test of families.flatMap(({ tests }) => tests)) dump(test)
  process.send?.(await runClient(suite, families, await serve(job)))
}

process.on('disconnect', () => process.exit())
await run(JSON.parse(process.argv[2]!) as Job)
