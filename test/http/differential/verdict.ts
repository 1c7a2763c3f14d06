/** What a stored response is good for, for one later request; times in milliseconds. */
export interface Answer {
  /** The request selects this response. */
  readonly matches: boolean
  readonly outcome: 'fresh' | 'max-stale' | 'stale-while-revalidate' | 'ask'
  /** Where the origin has to be asked since the response is stale: whether it may take the place of the origin's error. */
  readonly replacesError: boolean
  readonly age: number
  /** How much longer it is fresh. */
  readonly left: number
}

/** What a cache makes of a case. */
export interface Verdict {
  /** Whether the response may be stored, and is of any use. */
  readonly isKept: boolean
  /** For how long, without asking the origin or within `keepStale`. */
  readonly keep: number
  readonly answers: readonly Answer[]
}

export const REFUSED: Verdict = { isKept: false, keep: 0, answers: [] }

/** The first thing on which two caches disagree; undefined where they agree. */
export function disagreement(ours: Verdict, theirs: Verdict): string | undefined {
  if (ours.isKept !== theirs.isKept) return `ours ${ours.isKept ? 'keeps' : 'refuses'} it, theirs does not`
  if (!ours.isKept) return undefined
  if (!isNear(ours.keep, theirs.keep, 1)) return `kept for ${ours.keep}, theirs for ${theirs.keep}`
  for (const [index, answer] of ours.answers.entries()) {
    const difference = differenceOf(answer, theirs.answers[index]!)
    if (difference) return `request ${index + 1}: ${difference}`
  }
  return undefined
}

function differenceOf(ours: Answer, theirs: Answer): string | undefined {
  for (const name of ['matches', 'outcome', 'replacesError'] as const) {
    if (ours[name] !== theirs[name]) return `${name} is ${ours[name]}, theirs ${theirs[name]}`
  }
  for (const name of ['age', 'left'] as const) {
    if (!isNear(ours[name], theirs[name], 0.001)) return `${name} is ${ours[name]}, theirs ${theirs[name]}`
  }
  return undefined
}

// Floating point has a last bit, and timeToLive() whole milliseconds.
function isNear(a: number, b: number, tolerance: number): boolean {
  return Math.abs(a - b) <= tolerance
}
