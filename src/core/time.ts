/** Where the cache gets its time from; hand in another one to test without waiting. */
export interface Time {
  /** Milliseconds since the epoch. */
  now(): number
  /** Calls `run` once, `milliseconds` from now; the function that it returns calls that off. */
  after(milliseconds: number, run: () => void): () => void
}

// Node's timers go off at once where they are asked for more.
const LONGEST_TIMER = 2 ** 31 - 1

/** The machine's own time. Its timers never keep a process alive. */
export const systemTime: Time = {
  now: Date.now,
  after(milliseconds, run) {
    const timer = setTimeout(run, Math.min(milliseconds, LONGEST_TIMER))
    timer.unref()
    return () => clearTimeout(timer)
  },
}

/** For how long ago something was, not for when: a clock that never goes back, and goes on while the process stands still. */
export const monotonicTime: Time = { now: () => performance.now(), after: systemTime.after }

/** The promise's outcome, or `late()` as a rejection where it takes longer than that. */
export function inTime<V>(
  time: Pick<Time, 'after'>,
  milliseconds: number,
  promise: Promise<V>,
  late: () => Error,
): Promise<V> {
  return new Promise((resolve, reject) => {
    const cancel = time.after(milliseconds, () => reject(late()))
    promise.then(resolve, reject).finally(cancel)
  })
}
