import { LRUCache } from 'lru-cache'
import type { Time } from './time.ts'

const FIRST = 1_000
const LONGEST = 60_000
const KEYS = { max: 10_000, maxSize: 2_000_000, sizeCalculation: (_: unknown, key: string) => key.length + 100 }

/** Which keys failed lately, and until when they are left alone: a second, then twice as long each time, a minute at the most. */
export class Backoff {
  readonly #failed = new LRUCache<string, { readonly until: number; readonly pause: number }>(KEYS)
  readonly #time: Pick<Time, 'now'>

  constructor(time: Pick<Time, 'now'>) {
    this.#time = time
  }

  /** The key has failed, once more perhaps. */
  fail(key: string): void {
    const now = this.#time.now()
    const last = this.#failed.get(key)
    // What has been well for a while begins anew.
    const before = last && now - last.until <= LONGEST ? last.pause : FIRST / 2
    const pause = Math.min(LONGEST, before * 2)
    this.#failed.set(key, { until: now + pause, pause })
  }

  /** The key has succeeded. */
  succeed(key: string): void {
    this.#failed.delete(key)
  }

  /** Whether the key is left alone now. */
  isResting(key: string): boolean {
    const failure = this.#failed.get(key)
    return failure !== undefined && this.#time.now() < failure.until
  }
}
