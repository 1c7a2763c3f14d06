import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Case, show } from './differential/case.ts'
import { CASES } from './differential/generate.ts'
import { decideBy, LEDGER } from './differential/ledger.ts'
import { decideOurs } from './differential/ours.ts'
import { decidePeer } from './differential/peer.ts'
import { type Answer, disagreement } from './differential/verdict.ts'

/**
 * Our rules decide as http-cache-semantics does, but for what the ledger lists: with those rules told to it, it has to
 * come to our verdict in every case, and none of them may be told in vain.
 */

const RUNS = Number(process.env.FUZZ_RUNS ?? 24_000)
const SEED = Number(process.env.FUZZ_SEED ?? 9111)
// With fewer the rarest rules may not come up.
const ENOUGH = 20_000

const counts = { cases: 0, storable: 0, keptByBoth: 0, answers: 0, mismatches: 0, replacements: 0 }
const outcomes: Record<Answer['outcome'], number> = { fresh: 0, 'max-stale': 0, 'stale-while-revalidate': 0, ask: 0 }
/** How often a disagreement was one by an entry of the ledger: without it, it would have stayed unexplained. */
const decisive = new Map(LEDGER.map(({ name }) => [name, 0]))

function examine(given: Case): void {
  const ours = decideOurs(given)
  const theirs = decidePeer(given)
  const { verdict, inPlay } = decideBy(LEDGER, given)
  const unexplained = disagreement(ours, verdict)
  if (unexplained) {
    throw new Error(`${unexplained}\n${show(given)}\nIn play: ${inPlay.map(({ name }) => name).join('; ')}`)
  }
  counts.cases++
  if (ours.isKept || theirs.isKept) counts.storable++
  if (ours.isKept && theirs.isKept) counts.keptByBoth++
  ours.answers.forEach(countAnswer)
  if (!disagreement(ours, theirs)) return
  for (const entry of inPlay) {
    const others = LEDGER.filter((other) => other !== entry)
    const isDecisive = disagreement(ours, decideBy(others, given).verdict) !== undefined
    if (isDecisive) decisive.set(entry.name, decisive.get(entry.name)! + 1)
  }
}

function countAnswer({ outcome, matches, replacesError }: Answer): void {
  counts.answers++
  outcomes[outcome]++
  if (!matches) counts.mismatches++
  if (replacesError) counts.replacements++
}

describe('beside http-cache-semantics', () => {
  it(`our rules decide alike in ${RUNS} cases, but for the ledger`, { timeout: 60 * 60 * 1000 }, () => {
    fc.assert(fc.property(CASES, examine), { numRuns: RUNS, seed: SEED })
  })

  it('the cases say something', () => {
    const { cases, storable, keptByBoth, answers, mismatches, replacements } = counts
    expect(storable / cases).toBeGreaterThan(0.6)
    expect(keptByBoth / cases).toBeGreaterThan(0.3)
    expect(answers / cases).toBeGreaterThan(1)
    const rarest = Math.min(...Object.values(outcomes), mismatches, replacements)
    expect(rarest / answers).toBeGreaterThan(0.015)
  })

  it.runIf(RUNS >= ENOUGH)('every entry of the ledger is needed', () => {
    expect([...decisive].filter(([, times]) => times === 0).map(([name]) => name)).toEqual([])
  })
})
