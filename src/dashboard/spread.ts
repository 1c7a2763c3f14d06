// Eight classes from one time to the double of it: each is less than a tenth wider than the one before.
const CLASSES = 8
const SHORTEST = 0.001

/** How long something took, each time, in classes that are narrow enough for a chart. */
export class Spread {
  readonly #counts = new Map<number, number>()

  /** @param milliseconds how long it took this time */
  add(milliseconds: number): void {
    const place = Math.round(Math.log2(Math.max(SHORTEST, milliseconds)) * CLASSES)
    this.#counts.set(place, (this.#counts.get(place) ?? 0) + 1)
  }

  addTo(all: Map<number, number>): void {
    for (const [place, count] of this.#counts) all.set(place, (all.get(place) ?? 0) + count)
  }
}

/** The times, in milliseconds, within which these shares of all were, from 0 to 1; null where there were none. */
export function quantilesOf(spreads: readonly Spread[], shares: readonly number[]): (number | null)[] {
  const all = new Map<number, number>()
  for (const spread of spreads) spread.addTo(all)
  const classes = [...all].sort(([a], [b]) => a - b)
  const total = classes.reduce((sum, [, count]) => sum + count, 0)
  return shares.map((share) => (total === 0 ? null : timeAt(classes, share * total)))
}

function timeAt(classes: readonly (readonly [place: number, count: number])[], rank: number): number {
  let passed = 0
  const found = classes.find(([, count]) => (passed += count) >= rank) ?? classes.at(-1)!
  return Number((2 ** (found[0] / CLASSES)).toPrecision(3))
}
