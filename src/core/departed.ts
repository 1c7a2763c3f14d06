import type { Removal, RemovalReason } from './entry.ts'
import { type Bounds, Generations } from './generations.ts'

/** So many keys are remembered, and so many characters of them; of others it is not known that they were there. */
export const REMEMBERED = {
  max: 4_000,
  maxSize: 1_000_000,
  sizeCalculation: (_: unknown, key: string) => key.length + 100,
}

// Each generation: both together remember as much as is said above.
const REASONS: Bounds<RemovalReason> = {
  most: REMEMBERED.max / 2,
  mostSize: REMEMBERED.maxSize / 2,
  sizeOf: REMEMBERED.sizeCalculation,
}

/** Remembers why entries have left, for whoever asks for one of them again. */
export class Departed {
  readonly #reasons = new Generations<RemovalReason>(REASONS)

  note({ key, reason }: Removal): void {
    if (key === undefined) this.#reasons.clear()
    else if (reason !== 'replaced') this.#reasons.set(key, reason)
  }

  /** Why there is no entry under that key any more, where that is known. */
  reasonOf(key: string): Exclude<RemovalReason, 'replaced'> | undefined {
    return this.#reasons.get(key) as Exclude<RemovalReason, 'replaced'> | undefined
  }
}
