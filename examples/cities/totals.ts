/** The same traffic without and with the cache, and what the cache made of it. */
import type { CacheStats } from 'tagcache'
import { type Answer, isHit } from './client.ts'
import type { Database } from './database.ts'
import { claim, formatCount, formatMs, percentile, print, printFact, printHeading } from './report.ts'
import type { Stage } from './story.ts'
import { compareAnswers, planTraffic, type Step, sendTraffic } from './traffic.ts'

interface Run {
  reads: Answer[]
  writes: Answer[]
  queries: number
}

const length = 1_500

/** `readStats` gives the count that the cache keeps itself. */
export async function showTotals({ database, plain, cached }: Stage, readStats: () => CacheStats): Promise<void> {
  printHeading(`Totals: ${formatCount(length)} requests, one after the other, the cache empty at the start`)
  const without = await measure(database, plain, planTraffic(length, database.places, 1_000_000))
  const steps = planTraffic(length, database.places, 2_000_000)
  const statsBefore = readStats()
  const withCache = await measure(database, cached, steps)
  const stats = readStats()
  const hits = withCache.reads.filter(isHit).length

  printTable(without, withCache)
  printFact('hits', `${formatCount(hits)} of ${formatCount(withCache.reads.length)} reads`)
  printFact('memory', `${formatCount(stats.entries)} answers in ${formatCount(Math.ceil(stats.bytes / 1024))} KB`)
  claim('all requests succeeded in both runs', [without, withCache].every(succeeded))
  claim(
    `${formatCount(without.queries - withCache.queries)} of ${formatCount(without.queries)} queries saved`,
    withCache.queries < without.queries,
  )
  claim('the median is lower with the cache', medianOf(withCache) < medianOf(without))
  claim('the cache counts as many hits as its clients saw', stats.hits - statsBefore.hits === hits)
  await claimNothingStale({ database, plain, cached }, steps)
}

async function claimNothingStale({ plain, cached }: Stage, steps: Step[]): Promise<void> {
  const paths = [...new Set(steps.filter(({ change }) => !change).map(({ path }) => path))]
  const { fromCache, differing } = await compareAnswers(cached, plain, paths)
  for (const path of differing) printFact('differs', `GET ${path}`)
  claim(
    `none of ${formatCount(paths.length)} pages, ${formatCount(fromCache)} from the cache, differs from the database`,
    differing.length === 0 && fromCache > 0,
  )
}

async function measure(database: Database, client: Stage['plain'], steps: Step[]): Promise<Run> {
  const before = database.queries
  const traffic = await sendTraffic(client, steps)
  return { ...traffic, queries: database.queries - before }
}

function succeeded({ reads, writes }: Run): boolean {
  return [...reads, ...writes].every(({ status }) => status === 200)
}

function medianOf(run: Run): number {
  return percentileOf(run, 0.5)
}

function percentileOf({ reads }: Run, share: number): number {
  return percentile(
    reads.map(({ ms }) => ms),
    share,
  )
}

function printTable(without: Run, withCache: Run): void {
  const row = (...cells: string[]) => print(`  ${cells.map((cell) => cell.padStart(16)).join('')}`)
  row('', 'queries', 'median read', 'p99 read')
  for (const [name, run] of [
    ['without cache', without],
    ['with cache', withCache],
  ] as const) {
    row(name, formatCount(run.queries), formatMs(medianOf(run)), formatMs(percentileOf(run, 0.99)))
  }
}
