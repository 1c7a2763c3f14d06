import type { Sizing } from '../assumptions.ts'
import type { Outcome, Solution } from '../model.ts'
import { bytesOfEntry } from '../shards.ts'
import { type Check, checksOf, type Sized, scarcitiesOf } from '../size.ts'
import { gigabytes, list, percent, rough, seconds, table, whole } from './table.ts'

/** Where requests are answered. */
export function ratios(sized: Sized): string {
  return `${answers(sized)}\n\n${tiers(sized)}`
}

function answers({ sizing, solution: { total } }: Sized): string {
  const row = (name: string, rate: number) => {
    return [name, whole(rate), percent(rate / sizing.requests), rough(rate / sizing.nodes)]
  }
  return table(
    ['requests', 'a second', 'of all', 'at each node'],
    [
      row('near hits', total.near),
      row('far hits', total.far),
      row('misses', total.misses),
      row('all', total.near + total.far + total.misses),
    ],
  )
}

function tiers({ sizing, traffic, solution }: Sized): string {
  const { total, nearTime, farTime, classes, outcomes } = solution
  const expired = total.copies > 0 ? 1 - total.liveCopies / total.copies : 0
  const popular = classes[0]!.rate
  return list([
    ['far hits of all look-ups in Redis', percent(total.far / (total.far + total.misses))],
    ['fit into a near tier', whole(traffic.nearEntries), 'entries'],
    ['are in it', whole(total.copies), `entries, of which ${percent(expired)} expired`],
    ['leave it without a request for', seconds(nearTime)],
    ['leave Redis without a look-up for', seconds(farTime), farTime < sizing.ttl ? '' : 'before they expire'],
    ['ask for the most popular entry', whole(popular), `a second; ${percent(outcomes[0]!.near / popular)} near hits`],
    [
      'ask while an entry is being made',
      rough(waiting(sizing, solution)),
      'other nodes/s, which wait for it or make it too',
    ],
  ])
}

function waiting(sizing: Sizing, { classes, outcomes }: Solution): number {
  return classes.reduce((sum, { count, rate }, at) => sum + count * waitingFor(sizing, rate, outcomes[at]!), 0)
}

// Of the other nodes, those with a request before the entry is there.
function waitingFor({ nodes, originMs }: Sizing, rate: number, { misses }: Outcome): number {
  return misses * (nodes - 1) * -Math.expm1((-rate / nodes) * (originMs / 1000))
}

const FEWEST_ENTRIES = 100

/** How far the formulas are from what LRUs do. */
export function checks(sized: Sized): string {
  const all = checksOf(sized)
  const { grain, counts } = all[0]!
  const { nodes } = sized.sizing
  const entries = sized.traffic.nearEntries / grain
  const says = [
    `  A model of 1 : ${whole(grain)}: ${whole(nodes)} nodes, each with an LRU of ${rough(entries)} entries, and one LRU for Redis;`,
    `  ${whole(counts.requests)} requests counted, after the tiers have filled.`,
  ]
  if (entries > 0 && entries < FEWEST_ENTRIES)
    says.push('  So few entries say little about large near tiers; a larger --sample does.')
  const head = ['', 'formula', 'LRUs', 'difference']
  const parts = all.map((check) => table([check.says, ...head.slice(1)], checkRows(check, nodes)))
  return [says.join('\n'), ...parts].join('\n\n')
}

function checkRows({ formula: { total }, counts }: Check, nodes: number): string[][] {
  const all = total.near + total.far + total.misses
  const row = (name: string, formula: number, counted: number, show: (value: number) => string) => {
    return [name, show(formula), show(counted), percent(formula === 0 ? 0 : counted / formula - 1)]
  }
  return [
    row('near hits', total.near / all, counts.near / counts.requests, percent),
    row('far hits', total.far / all, counts.far / counts.requests, percent),
    row('misses', total.misses / all, counts.misses / counts.requests, percent),
    row('live entries in Redis', total.live, counts.live, whole),
    row('entries in a near tier', total.copies, counts.copies / nodes, rough),
  ]
}

/** What less memory in Redis costs. */
export function scarcity(sizing: Sizing): string {
  const rows = scarcitiesOf(sizing).map(({ share, farEntries, solution: { total, farTime } }) => [
    percent(share),
    whole(farEntries),
    gigabytes(farEntries * bytesOfEntry(sizing)),
    seconds(farTime),
    percent(total.far / (total.far + total.misses)),
    whole(total.misses),
  ])
  return table(['of the live entries', 'entries', 'memory', 'leave unasked for', 'found in Redis', 'misses/s'], rows)
}
