import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import autocannon from 'autocannon'

/** What a round of load showed. */
export interface Load {
  readonly requestsPerSecond: number
}

const CONNECTIONS = 32
const hasWrk = spawnSync('wrk', ['--version']).error === undefined

/** The program that makes the load. */
export const generator = hasWrk ? 'wrk' : 'autocannon'

/** Asks for the URL again and again, on keep-alive connections. */
export async function load(url: string, seconds: number): Promise<Load> {
  return hasWrk ? loadWithWrk(url, seconds) : loadWithAutocannon(url, seconds)
}

async function loadWithWrk(url: string, seconds: number): Promise<Load> {
  const { stdout } = await promisify(execFile)('wrk', ['-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, url])
  const [, rate] = /Requests\/sec:\s+([\d.]+)/.exec(stdout) ?? []
  if (rate === undefined || /Non-2xx/.test(stdout)) throw new Error(`wrk failed on ${url}:\n${stdout}`)
  return { requestsPerSecond: Number(rate) }
}

async function loadWithAutocannon(url: string, seconds: number): Promise<Load> {
  const result = await autocannon({ url, connections: CONNECTIONS, duration: seconds })
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`autocannon failed on ${url}: ${result.non2xx} non-2xx, ${result.errors} errors`)
  return { requestsPerSecond: result.requests.average }
}
