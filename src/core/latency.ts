/** How long something took, each time since the cache was made; times in seconds. */
export interface Latency {
  readonly count: number
  readonly total: number
  readonly longest: number
  /** The upper ends of the classes, `LATENCY_BOUNDS`; the last class has none. */
  readonly bounds: readonly number[]
  /** How often it was in each class, one more than there are bounds. */
  readonly counts: readonly number[]
}

/** Asks how long answers from the cache take. */
export interface Meter {
  /** Has one of so many answers measured: a power of two, 64 at the most. */
  measureOneIn(power: number): void
  end(): void
}

// From a quarter of a millisecond on, each class twice as wide as the one before.
const FIRST = 0.25
const CLASSES = 18

/** The upper ends of the classes in which times are counted, in seconds: from a quarter of a millisecond to half a minute. */
export const LATENCY_BOUNDS: readonly number[] = Array.from(
  { length: CLASSES - 1 },
  (_, at) => (FIRST * 2 ** at) / 1000,
)

/** Counts times in classes of fixed width. */
export class Stopwatch {
  readonly #counts: number[] = new Array(CLASSES).fill(0)
  #count = 0
  #total = 0
  #longest = 0

  add(milliseconds: number): void {
    const time = Math.max(0, milliseconds)
    const at = time <= FIRST ? 0 : Math.min(CLASSES - 1, Math.ceil(Math.log2(time / FIRST)))
    this.#counts[at]! += 1
    this.#count += 1
    this.#total += time
    this.#longest = Math.max(this.#longest, time)
  }

  read(): Latency {
    return {
      count: this.#count,
      total: this.#total / 1000,
      longest: this.#longest / 1000,
      bounds: LATENCY_BOUNDS,
      counts: [...this.#counts],
    }
  }
}

/** The time within which a share of all times were, from 0 to 1, in seconds: between the bounds of its class by proportion. 0 where there were none. */
export function quantileOf({ count, longest, bounds, counts }: Latency, share: number): number {
  let left = share * count
  for (const [at, inClass] of counts.entries()) {
    if (left > inClass) left -= inClass
    else if (inClass > 0) {
      const from = at === 0 ? 0 : bounds[at - 1]!
      const to = Math.min(bounds[at] ?? longest, longest)
      return from + (Math.max(to, from) - from) * (left / inClass)
    }
  }
  return longest
}
