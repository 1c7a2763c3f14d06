import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import autocannon, { type Request } from 'autocannon'
import { Zipf } from '../sizing/zipf.ts'

/** Which of the paths `/items/1` … are asked for; `new`: none twice. */
export interface Load {
  readonly pick: 'one' | 'uniform' | 'zipf' | 'new'
  readonly count?: number
  readonly method?: 'GET' | 'POST'
  readonly headers?: Readonly<Record<string, string>>
}

/** What a round of load showed: requests, seconds, milliseconds. */
export interface Loaded {
  readonly requests: number
  readonly seconds: number
  readonly p50: number
  readonly p99: number
}

const CONNECTIONS = 32
const SCRIPT = fileURLToPath(new URL('./requests.lua', import.meta.url))
const hasWrk = !process.argv.includes('--autocannon') && spawnSync('wrk', ['--version']).error === undefined

/** The program that makes the load. */
export const generator = hasWrk ? 'wrk' : 'autocannon'

let rounds = 0

/** Asks again and again, on keep-alive connections, for so many seconds. Throws where an answer is no success. */
export function makeLoad(port: number, load: Load, seconds: number): Promise<Loaded> {
  rounds += 1
  const word = `r${process.pid}-${rounds}-`
  return hasWrk ? byWrk(port, load, seconds, word) : byAutocannon(port, load, Math.max(1, seconds), word)
}

// wrk

async function byWrk(port: number, load: Load, seconds: number, word: string): Promise<Loaded> {
  const { pick, count = 1, method = 'GET', headers = {} } = load
  const fields = Object.entries(headers).flatMap(([name, value]) => ['-H', `${name}: ${value}`])
  const wrk = ['-t1', `-c${CONNECTIONS}`, '-d600s', '--latency', '-s', SCRIPT, ...fields, `http://127.0.0.1:${port}`]
  const child = spawn('wrk', [...wrk, '--', pick, String(count), word, String(rounds), method])
  const ended = once(child, 'exit')
  // wrk knows whole seconds only, but says what it has when it is interrupted.
  const timer = setTimeout(() => child.kill('SIGINT'), seconds * 1000)
  const [output, complaint] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  clearTimeout(timer)
  return readWrk(output + complaint)
}

const UNITS: Readonly<Record<string, number>> = { us: 0.001, ms: 1, s: 1000, m: 60_000 }

/** What wrk has printed. */
export function readWrk(output: string): Loaded {
  const [, requests, time = ''] = /(\d+) requests in ([\d.]+\w+)/.exec(output) ?? []
  if (requests === undefined || /Non-2xx|Socket errors/.test(output)) throw new Error(`wrk says:\n${output}`)
  const percentile = (share: number) => millisecondsOf(new RegExp(`${share}%\\s+([\\d.]+\\w+)`).exec(output)?.[1] ?? '')
  return { requests: Number(requests), seconds: millisecondsOf(time) / 1000, p50: percentile(50), p99: percentile(99) }
}

function millisecondsOf(time: string): number {
  const [, value, unit = ''] = /^([\d.]+)([a-z]+)$/.exec(time) ?? []
  return Number(value) * (UNITS[unit] ?? Number.NaN)
}

// autocannon

async function byAutocannon(port: number, load: Load, seconds: number, word: string): Promise<Loaded> {
  const { method = 'GET', headers = {} } = load
  const result = await autocannon({
    url: `http://127.0.0.1:${port}`,
    connections: CONNECTIONS,
    duration: seconds,
    method,
    headers: { ...headers },
    requests: requestsOf(load, word),
  })
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`autocannon saw ${result.non2xx} answers that are no success, and ${result.errors} errors.`)
  const { requests, duration, latency } = result
  return { requests: requests.total, seconds: duration, p50: latency.p50, p99: latency.p99 }
}

function requestsOf(load: Load, word: string): Request[] {
  if (load.pick === 'one') return [{ path: '/items/1' }]
  const next = idsOf(load, word)
  return [{ setupRequest: (request) => ({ ...request, path: `/items/${next()}` }) }]
}

function idsOf({ pick, count = 1 }: Load, word: string): () => string | number {
  let asked = 0
  if (pick === 'new') return () => `${word}${asked++}`
  const law = new Zipf(count, pick === 'zipf' ? 1 : 0)
  return () => law.draw(Math.random)
}
