import type { Time } from '../../src/core/time.ts'

/** Time that stands still until it is moved. */
export class ManualTime implements Time {
  #now: number
  readonly #timers = new Map<object, { at: number; run: () => void }>()

  constructor(now = Date.UTC(2026, 0, 1)) {
    this.#now = now
  }

  now = (): number => this.#now

  after = (milliseconds: number, run: () => void): (() => void) => {
    const timer = {}
    this.#timers.set(timer, { at: this.#now + milliseconds, run })
    return () => void this.#timers.delete(timer)
  }

  /** Moves on, running what is due on the way, in order. */
  move(milliseconds: number): void {
    const until = this.#now + milliseconds
    for (;;) {
      const [next] = [...this.#timers].filter(([, { at }]) => at <= until).sort(([, a], [, b]) => a.at - b.at)
      if (!next) break
      this.#timers.delete(next[0])
      this.#now = Math.max(this.#now, next[1].at)
      next[1].run()
    }
    this.#now = until
  }

  /** How many timers are waiting. */
  get pending(): number {
    return this.#timers.size
  }
}
