interface Segment {
  readonly epoch: string
  readonly base: number
  end: number
}

/**
 * One row of numbers out of the clocks of epoch after epoch, as this process hears of them: whatever was said before another
 * epoch was heard of is earlier. Every ledger begins with a clock of its own; nothing says how those of two epochs relate, but
 * that nothing stamped in the one can be trusted in the other.
 */
export class Timeline {
  #now: Segment | undefined

  /** The number of a clock's value: more than any that was given of another epoch. */
  at(epoch: string, clock: number): number {
    if (this.#now?.epoch !== epoch) {
      const base = this.#now ? this.#now.end + 1 : 0
      // An epoch that was heard of before may come back, when answers overtake each other: then its earlier stamps are lost.
      this.#now = { epoch, base, end: base }
    }
    const number = this.#now.base + clock
    this.#now.end = Math.max(this.#now.end, number)
    // Beyond that numbers are not told apart: nothing is comparable then, and nothing valid.
    return Number.isSafeInteger(number) ? number : Number.NaN
  }

  /** Which value of which clock has that number; undefined where another epoch was heard of since. */
  of(number: number): { readonly epoch: string; readonly clock: number } | undefined {
    if (!this.#now || number <= this.#now.base) return undefined
    return { epoch: this.#now.epoch, clock: number - this.#now.base }
  }
}
