/** How a task gets its turn. */
export type Turn = (run: () => void) => unknown

// A process that has nothing else left to do ends, whatever waits here.
const inSpareTime: Turn = (run) => setTimeout(run, 0).unref()

/** Tasks that nobody waits for: a few run at once, and no more than so many wait. */
export class Queue {
  readonly #waiting: (() => Promise<unknown>)[] = []
  #taken = 0

  constructor(
    readonly mostAtOnce: number,
    readonly mostWaiting: number,
    readonly turn: Turn = inSpareTime,
  ) {}

  /** Has a task run in its turn. It has to keep its errors to itself. Answers whether there was room. */
  add(task: () => Promise<unknown>): boolean {
    if (this.#waiting.length >= this.mostWaiting) return false
    this.#waiting.push(task)
    this.#proceed()
    return true
  }

  /** Forgets what waits. */
  clear(): void {
    this.#waiting.length = 0
  }

  #proceed(): void {
    if (this.#taken >= this.mostAtOnce || this.#waiting.length === 0) return
    this.#taken += 1
    this.turn(() => void this.#runNext())
  }

  async #runNext(): Promise<void> {
    await this.#waiting.shift()?.()
    this.#taken -= 1
    this.#proceed()
  }
}
