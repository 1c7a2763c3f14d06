import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { drive, type Seen } from './load.ts'

// Two servers, one Redis, and load on both; prints where the hits came from and how stale an answer ever was:
//   npm run demo:machines            with a redis-server of its own
//   REDIS_URL=redis://… npm run demo:machines

const SECONDS = Number(process.argv[2] ?? 5)

const own = process.env.REDIS_URL === undefined ? await startRedis() : undefined
const servers = await Promise.all([0, 1].map(() => startServer(own?.url ?? process.env.REDIS_URL!)))
try {
  const seen = await drive(
    servers.map(({ port }) => port),
    SECONDS,
  )
  for (const [at, server] of servers.entries()) print(`server ${at + 1}`, await countsOf(server.process))
  report(seen)
} finally {
  for (const server of servers) server.process.kill()
  own?.process.kill()
}

function report({ reads, writes, stale, longest }: Seen): void {
  print('both', { reads, writes, 'reads that showed less than was acknowledged before': stale })
  console.log(`The longest that an answer was behind: ${longest.toFixed(1)} ms; allowed is 1,000 ms.`)
  if (longest > 1000) process.exitCode = 1
}

function print(title: string, counts: Record<string, number>): void {
  console.log(title)
  for (const [name, count] of Object.entries(counts).sort()) {
    console.log(`  ${count.toLocaleString('en').padStart(9)}  ${name}`)
  }
}

async function startServer(url: string): Promise<{ process: ChildProcess; port: number }> {
  const server = fork(fileURLToPath(new URL('./server.ts', import.meta.url)), {
    env: { ...process.env, REDIS_URL: url },
  })
  const [{ port }] = (await once(server, 'message')) as [{ port: number }]
  return { process: server, port }
}

async function countsOf(server: ChildProcess): Promise<Record<string, number>> {
  server.send('counts')
  const [{ counts }] = (await once(server, 'message')) as [{ counts: Record<string, number> }]
  return counts
}

async function startRedis(): Promise<{ process: ChildProcess; url: string }> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as { port: number }
  await new Promise((resolve) => probe.close(resolve))
  const server = spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', ''], {
    stdio: 'ignore',
  })
  server.once('error', () => {
    console.error('There is no redis-server here. Install one (apt-get install redis-server), or say REDIS_URL.')
    process.exit(1)
  })
  await sleep(200)
  return { process: server, url: `redis://127.0.0.1:${port}` }
}
