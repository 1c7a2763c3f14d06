import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Case, show } from './differential/case.ts'
import { CASES } from './differential/generate.ts'
import { decideBy, LEDGER } from './differential/ledger.ts'
import { decideOurs } from './differential/ours.ts'
import { decidePeer } from './differential/peer.ts'
import { disagreement } from './differential/verdict.ts'

/**
 * Our rules decide as http-cache-semantics does, but for what the ledger lists: with those rules told to it, it has to
 * come to our verdict in every case, and none of them may be told in vain.
 */

const RUNS = Number(process.env.FUZZ_RUNS ?? 24_000)
const SEED = Number(process.env.FUZZ_SEED ?? 9111)
// With fewer the rarest rules may not come up.
const ENOUGH = 20_000

const counts = { cases: 0, storable: 0, keptByBoth: 0, differing: 0, answers: 0 }
const outcomes = new Map<string, number>()
const decisive = new Map<string, number>()

function examine(given: Case): void {
  const ours = decideOurs(given)
  const theirs = decidePeer(given)
  counts.cases++
  if (ours.isKept || theirs.isKept) counts.storable++
  if (ours.isKept && theirs.isKept) counts.keptByBoth++
  for (const { outcome } of ours.answers) {
    counts.answers++
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  }
  const { verdict, inPlay } = decideBy(LEDGER, given)
  const difference = disagreement(ours, verdict)
  if (difference)
    throw new Error(`${difference}\n${show(given)}\nin play: ${inPlay.map(({ name }) => name).join('; ')}`)
  if (!disagreement(ours, theirs)) return
  counts.differing++
  for (const entry of inPlay) {
    const others = LEDGER.filter((other) => other !== entry)
    if (disagreement(ours, decideBy(others, given).verdict)) {
      decisive.set(entry.name, (decisive.get(entry.name) ?? 0) + 1)
    }
  }
}

describe('beside http-cache-semantics', () => {
  it(`decides alike in ${RUNS} cases`, { timeout: 1000 * 60 * 60 }, () => {
    fc.assert(fc.property(CASES, examine), { numRuns: RUNS, seed: SEED })
    console.log(counts, outcomes, decisive)
  })
})
