/** `npm run demo`: a cities API without and with tagcache. `npm run demo -- --serve` leaves it running afterwards. */
import { tagcache } from 'tagcache/express'
import { type Caching, createApp } from './app.ts'
import type { Client } from './client.ts'
import { Database } from './database.ts'
import { attribution, caveat } from './dataset.ts'
import { createProgress } from './progress.ts'
import { claim, countClaims, formatCount, print, printFact, printHeading } from './report.ts'
import { serve } from './server.ts'
import { type Stage, tellStory } from './story.ts'
import { showTotals } from './totals.ts'

const startTime = performance.now()
const staysRunning = process.argv.includes('--serve')
const passOn = (_req: unknown, _res: unknown, next: () => void) => next()
const withoutCache: Caching = { cached: () => passOn, invalidates: () => passOn, tag: () => {} }

const database = await openDatabase()
const caching = tagcache({ ttl: 60 })
const stage: Stage = {
  database,
  plain: await serve(createApp(database, withoutCache)),
  cached: await serve(createApp(database, caching), staysRunning ? Number(process.env.PORT ?? 0) : 0),
}
await tellStory(stage)
await caching.cache.clear()
await showTotals(stage, () => caching.cache.stats())
printVerdict()
stage.plain.close()
if (staysRunning) inviteVisitors(stage.cached)
else await stop()

async function openDatabase(): Promise<Database> {
  printHeading('A cities API on PostgreSQL (PGlite), with tagcache')
  printFact('data', attribution)
  printFact('note', caveat)
  print()
  const progress = createProgress()
  const opened = await Database.start(progress.show)
  progress.stop()
  const [row] = await opened.query<{ count: number }>('SELECT count(*)::int AS count FROM cities')
  claim(`the database holds ${formatCount(opened.places)} real places`, row?.count === opened.places)
  return opened
}

function printVerdict(): void {
  const { claims, failedClaims } = countClaims()
  const seconds = ((performance.now() - startTime) / 1000).toFixed(1)
  print()
  print(
    failedClaims === 0
      ? `All ${claims} claims held, in ${seconds} s.`
      : `${failedClaims} of ${claims} claims did not hold.`,
  )
  process.exitCode = failedClaims === 0 ? 0 : 1
}

function inviteVisitors({ origin }: Client): void {
  printHeading('Still running; Ctrl-C ends it. Ask twice, and look at Cache-Status:')
  print(`  curl -i '${origin}/cities/nearest?lat=48.85&lng=2.35&limit=5'`)
  print(`  curl -i '${origin}/countries/IT/cities?q=san&page=2'`)
  print(`  curl -i '${origin}/cities/42'`)
  print(`  curl -i -X PATCH '${origin}/cities/42' -H 'content-type: application/json' -d '{"name":"New name"}'`)
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
}

async function stop(): Promise<void> {
  stage.cached.close()
  await database.stop()
}
