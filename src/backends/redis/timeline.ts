// A stamp of an epoch that is further back is refused.
const MOST_EPOCHS = 64

/**
 * One row of numbers out of the clocks of epoch after epoch, as this process has seen them: whatever was said in an earlier
 * epoch is earlier. Every ledger begins with a clock of its own; nothing says how those of two epochs relate, but that
 * nothing stamped in the earlier one can be trusted in the later.
 */
export class Timeline {
  readonly #epochs: { readonly epoch: string; readonly base: number; end: number }[] = []

  /** The number of a clock's value: more than any of an earlier epoch. */
  at(epoch: string, clock: number): number {
    const newest = this.#epochs.at(-1)
    if (newest?.epoch === epoch) return this.#extend(newest, clock)
    const known = this.#epochs.find((one) => one.epoch === epoch)
    // What is said of an epoch that is over counts as no later than its end.
    if (known) return Math.min(known.base + clock, known.end)
    const base = newest ? newest.end + 1 : 0
    const begun = { epoch, base, end: base }
    this.#epochs.push(begun)
    if (this.#epochs.length > MOST_EPOCHS) this.#epochs.shift()
    return this.#extend(begun, clock)
  }

  /** Which value of which clock has that number; undefined where that is not known, or the epoch is over. */
  of(number: number): { readonly epoch: string; readonly clock: number } | undefined {
    const newest = this.#epochs.at(-1)
    if (!newest || number <= newest.base) return undefined
    return { epoch: newest.epoch, clock: number - newest.base }
  }

  #extend(newest: { readonly base: number; end: number }, clock: number): number {
    const number = newest.base + clock
    newest.end = Math.max(newest.end, number)
    return number
  }
}
