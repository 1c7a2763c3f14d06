/**
 * `npm run demo:operations`: a shop with a dashboard, metrics, a log, a load, and troubles that come one after the other.
 * It runs until Ctrl-C, or with `-- --seconds 30` through all troubles once; then it prints what `cache.stats()` says.
 */
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { pino } from 'pino'
import { Registry } from 'prom-client'
import { memory } from 'tagcache'
import { byToken } from 'tagcache/dashboard'
import { tagcache } from 'tagcache/express'
import { register } from 'tagcache/prometheus'
import { drive } from './load.ts'
import { createShop } from './shop.ts'
import { type Observed, printSummary } from './summary.ts'
import { noTroubles, PHASES, type Phase, unreliable } from './troubles.ts'

const SECONDS_OF_A_PHASE = 20

const { values } = parseArgs({ options: { seconds: { type: 'string' } } })
const seconds = values.seconds === undefined ? undefined : Number(values.seconds)
if (seconds !== undefined && !(seconds > 0)) throw new Error('--seconds takes a number, as in --seconds 30')

const troubles = noTroubles()
const token = process.env.DASHBOARD_TOKEN ?? randomBytes(12).toString('hex')
const registry = new Registry()
const caching = tagcache({
  ttl: '1m',
  // Room for what most visitors look at, and not for everything there is.
  backend: unreliable(memory({ maxEntries: 300 }), troubles),
  backendPause: '500ms',
  logger: pino(pino.destination({ dest: 2, sync: true })),
})
const { cache } = caching
register(cache, { registry })

const app = createShop({ caching, registry, authorize: byToken({ ann: token }), troubles })
const server = app.listen(Number(process.env.PORT ?? 0), '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as AddressInfo
invite(`http://127.0.0.1:${port}`)

const over = new AbortController()
process.once('SIGINT', () => over.abort())
process.once('SIGTERM', () => over.abort())
const stopLoad = drive(port, troubles)
const observed = await passThrough()
await stopLoad()
printSummary(observed, cache.stats())
server.close()
server.closeAllConnections()
await cache.close()

/** Has one phase follow the other. Answers what was seen in each when it came last. */
async function passThrough(): Promise<Observed[]> {
  const seen = new Map<string, Observed>()
  const each = seconds === undefined ? SECONDS_OF_A_PHASE : seconds / PHASES.length
  do {
    for (const phase of PHASES) {
      if (over.signal.aborted) break
      seen.set(phase.name, await observe(phase, each * 1000))
    }
  } while (seconds === undefined && !over.signal.aborted)
  return [...seen.values()]
}

async function observe(phase: Phase, milliseconds: number): Promise<Observed> {
  console.log(`${new Date().toISOString().slice(11, 19)}  ${phase.name}`)
  const before = cache.stats()
  if (phase.trouble) troubles[phase.trouble] = true
  await sleep(milliseconds, undefined, { signal: over.signal }).catch(() => {})
  const after = cache.stats()
  if (phase.trouble) troubles[phase.trouble] = false
  return { phase, before, after }
}

function invite(url: string): void {
  console.log(`The dashboard  ${url}/cache/   any user, password ${token}`)
  console.log(`Metrics        ${url}/metrics`)
  console.log(`The shop       ${url}/products/1   ask twice with curl -i, and look at Cache-Status`)
  console.log(
    'Look at Routes for why requests did not hit (/account: credentials; /search: no-store), at the timeline for who',
  )
  console.log(
    'purged ("hourly import"), at /report for stale answers that are made anew; the log, in JSON, is on stderr.',
  )
  console.log('')
}
