import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

/** What clients have seen. */
export interface Seen {
  reads: number
  writes: number
  /** Reads that showed an older version than one that had been acknowledged before they were sent. */
  stale: number
  /** For how long the newer version had been acknowledged by then, at the most; milliseconds. */
  longest: number
}

const ROWS = 20
const READERS = 8

/** Reads and writes through all servers for so many seconds, and compares. */
export async function drive(ports: readonly number[], seconds: number): Promise<Seen> {
  const agent = new http.Agent({ keepAlive: true })
  const seen: Seen = { reads: 0, writes: 0, stale: 0, longest: 0 }
  // When each version of a row was acknowledged to its writer.
  const acknowledged = Array.from({ length: ROWS }, () => new Map<number, number>())
  const until = performance.now() + seconds * 1000
  const ask = (method: string, row: number) => request(agent, method, pick(ports), `/rows/${row}`)
  const read = async () => {
    while (performance.now() < until) {
      const row = Math.floor(Math.random() * ROWS)
      const sent = performance.now()
      const version = await ask('GET', row)
      seen.reads += 1
      const behind = [...acknowledged[row]!]
        .filter(([newer, at]) => newer > version && at < sent)
        .map(([, at]) => sent - at)
      if (behind.length === 0) continue
      seen.stale += 1
      seen.longest = Math.max(seen.longest, ...behind)
    }
  }
  const write = async () => {
    while (performance.now() < until) {
      await sleep(10)
      const row = Math.floor(Math.random() * ROWS)
      acknowledged[row]!.set(await ask('PUT', row), performance.now())
      seen.writes += 1
    }
  }
  await Promise.all([...Array.from({ length: READERS }, read), write()])
  agent.destroy()
  return seen
}

function pick<V>(values: readonly V[]): V {
  return values[Math.floor(Math.random() * values.length)]!
}

function request(agent: http.Agent, method: string, port: number, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const sent = http.request({ agent, method, host: '127.0.0.1', port, path }, async (answer) => {
      const chunks: Buffer[] = []
      for await (const chunk of answer) chunks.push(chunk)
      resolve(JSON.parse(Buffer.concat(chunks).toString()).version)
    })
    sent.on('error', reject)
    sent.end()
  })
}
