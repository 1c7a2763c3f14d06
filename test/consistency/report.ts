import type { Result, Spell, Violation } from './result.ts'
import type { SharedPlan, SharedResult } from './shared.ts'
import type { Plan } from './single.ts'

/** What the one server has come to, and what speaks against it. */
export function reportOne(result: Result, { seed }: Plan, stamps: boolean): { lines: string[]; faults: string[] } {
  const { reads, hits, stale, validated, collapsed, misses, writes, violations, seconds } = result
  const counts = { reads, hits, stale, validated, collapsed, misses, writes, violations }
  const lines = [
    ...pairs({
      stamps: stamps ? 'on' : 'off',
      seed,
      ...counts,
      seconds: seconds.toFixed(1),
      'reads/s': Math.round(reads / seconds),
    }),
    ...result.examples.map(showViolation),
  ]
  return { lines, faults: [...biteOf(result, stamps ? undefined : 'stamps'), ...coverageOf(result)] }
}

/** What several servers have come to, and what speaks against them. */
export function reportShared(result: SharedResult, plan: SharedPlan): { lines: string[]; faults: string[] } {
  const { reads, hits, stale, validated, collapsed, misses, bypassed, seconds } = result
  const { writes, keptWrites, lost, failures, slow, violations } = result
  const sources = { reads, hits, stale, validated, collapsed, misses, bypassed }
  const lines = [
    ...result.servers,
    '',
    ...pairs({
      without: plan.without ?? 'nothing',
      seed: plan.seed,
      ...sources,
      writes,
      'kept for later': keptWrites,
      'lost in crashes': lost,
      failures,
      'over 3 s': slow,
      unsettled: result.unsettled.length,
      violations,
      seconds: seconds.toFixed(1),
      'reads/s': Math.round(reads / seconds),
    }),
    '',
    ...kindTable(result),
    '',
    ...spellTable(result.spells),
    '',
    ...result.examples.map(showViolation),
    ...result.complaints,
    ...result.unsettled.slice(0, 8),
  ]
  return { lines, faults: [...biteOf(result, plan.without), ...soundnessOf(result), ...sharedCoverageOf(result)] }
}

function kindTable({ kinds }: Result): string[] {
  const rows = [...kinds].map(([name, { reads, hits, violations, staleness, calmStaleness }]) => [
    name,
    reads,
    hits,
    violations,
    staleness.toFixed(1),
    calmStaleness.toFixed(1),
  ])
  return columns([['tiers', 'reads', 'hits', 'violations', 'ms stale', 'without fault'], ...rows])
}

function spellTable(spells: readonly Spell[]): string[] {
  const rows = spells.map(({ name, times, milliseconds, reads, hits, violations, slowest, slowestWide }) => [
    name,
    times || '',
    (milliseconds / 1000).toFixed(1),
    reads,
    hits,
    violations,
    Math.round(slowest),
    Math.round(slowestWide),
  ])
  return columns([['fault', 'times', 'seconds', 'reads', 'hits', 'violations', 'slowest ms', 'cluster-wide'], ...rows])
}

function showViolation({ path, server, row, shown, acknowledged, source, staleness, spell, at }: Violation): string {
  const where = server === 'the server' ? '' : ` at ${server}`
  const when =
    server === 'the server' ? '' : `, ${Math.round(staleness)} ms earlier; fault: ${spell}; sent at ${Math.round(at)}`
  return `GET ${path}${where} showed version ${shown} of row ${row}; ${acknowledged} was acknowledged before (${source}${when})`
}

// With everything there, nothing stale is found; without something, the check has to find that.
function biteOf({ violations }: Result, without: string | undefined): string[] {
  return faultsAmong({
    [`${violations} answers were older than what had been acknowledged.`]: without === undefined && violations > 0,
    [`without ${without} nothing stale was found, so the check finds nothing.`]:
      without !== undefined && violations === 0,
  })
}

function coverageOf({ reads, hits, stale, validated, collapsed, writes }: Result): string[] {
  return faultsAmong({
    [`only ${hits} of ${reads} reads were hits, so stored responses were hardly checked.`]: hits < reads / 2,
    [`only ${collapsed} of ${reads} reads were collapsed, so flights were hardly checked.`]: collapsed < reads / 100,
    [`only ${stale} of ${reads} reads were stale, so stale responses were hardly checked.`]: stale < reads / 200,
    [`only ${validated} of ${reads} reads were validated, so renewals were hardly checked.`]: validated < reads / 1000,
    [`only ${writes} writes for ${reads} reads, so purges were hardly checked.`]: writes < reads / 100,
  })
}

function sharedCoverageOf({ reads, stale, validated, collapsed, writes, spells }: SharedResult): string[] {
  const calm = spells.find(({ isFault }) => !isFault)!
  const missing = spells.filter(({ isFault, times }) => isFault && times === 0).map(({ name }) => name)
  return faultsAmong({
    [`only ${calm.hits} of ${calm.reads} reads without a fault were hits, so stored responses were hardly checked.`]:
      calm.hits < 0.3 * calm.reads,
    [`only ${collapsed} of ${reads} reads were collapsed, so flights were hardly checked.`]: collapsed < reads / 100,
    [`only ${stale} of ${reads} reads were stale, so stale responses were hardly checked.`]: stale < reads / 500,
    [`only ${validated} of ${reads} reads were validated, so renewals were hardly checked.`]: validated < reads / 2000,
    [`only ${writes} writes for ${reads} reads, so purges were hardly checked.`]: writes < reads / 100,
    [`these faults never happened: ${missing.join(', ')}.`]: missing.length > 0,
  })
}

function soundnessOf({ failures, slow, unsettled }: SharedResult): string[] {
  return faultsAmong({
    [`${failures} requests failed.`]: failures > 0,
    [`${slow} requests took longer than 3 seconds.`]: slow > 0,
    [`${unsettled.length} old rows were still shown when all was well again: purges were lost.`]: unsettled.length > 0,
  })
}

function faultsAmong(faults: Record<string, boolean>): string[] {
  return Object.keys(faults).filter((fault) => faults[fault])
}

function pairs(rows: Record<string, string | number>): string[] {
  const names = Object.keys(rows)
  const width = Math.max(11, ...names.map((name) => name.length + 1))
  return Object.entries(rows).map(([name, value]) => `${name.padEnd(width)}${value.toLocaleString('en').padStart(9)}`)
}

// Names to the left, numbers to the right.
function columns(rows: readonly (readonly (string | number)[])[]): string[] {
  const texts = rows.map((row) => row.map((cell) => cell.toLocaleString('en')))
  const widths = texts[0]!.map((_, at) => Math.max(...texts.map((row) => row[at]!.length)))
  return texts.map((row) =>
    row.map((cell, at) => (at === 0 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]! + 2))).join(''),
  )
}

/** Tells how far it is: on a terminal in one line that is written over; in a log with one line for every tenth. */
export function progressOf(reads: number): (result: Result) => void {
  let told = 0
  return (result) => {
    const share = Math.floor((100 * result.reads) / reads)
    const line = `${share} % of ${reads.toLocaleString('en')} reads, ${result.writes.toLocaleString('en')} writes, ${result.violations} violations`
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`)
    else if (share >= told + 10 && share < 100) {
      told = share - (share % 10)
      console.error(line)
    }
  }
}
