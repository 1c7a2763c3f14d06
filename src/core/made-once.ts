import type { Entry, StoredResponse } from './entry.ts'

/** An entry that a backend hands out again and again: what is made of it is kept with it, and leaves with it. */
export class HandedOut implements Entry {
  readonly key: string
  readonly tags: readonly string[]
  readonly stamp: number
  readonly time: number
  readonly cost: number
  readonly lifetime: number
  readonly initialAge: number
  readonly staleWhileRevalidate: number
  readonly staleIfError: number
  readonly mustRevalidate: boolean
  readonly isShared: boolean
  readonly response: StoredResponse
  // A private field: no copy of the entry, with something else in it, takes that along.
  readonly #made: unknown[] = []

  constructor(entry: Entry) {
    this.key = entry.key
    this.tags = entry.tags
    this.stamp = entry.stamp
    this.time = entry.time
    this.cost = entry.cost
    this.lifetime = entry.lifetime
    this.initialAge = entry.initialAge
    this.staleWhileRevalidate = entry.staleWhileRevalidate
    this.staleIfError = entry.staleIfError
    this.mustRevalidate = entry.mustRevalidate
    this.isShared = entry.isShared
    this.response = entry.response
  }

  /** What has been made of the entry; undefined for one that nobody hands out again. */
  static madeOf(entry: Entry): unknown[] | undefined {
    return #made in entry ? entry.#made : undefined
  }
}

let slots = 0

/** The same as `make`, which is asked once only for each entry that is handed out again and again. */
export function madeOnce<T extends object | string | boolean>(make: (entry: Entry) => T): (entry: Entry) => T {
  const slot = slots
  slots += 1
  return (entry) => {
    const made = HandedOut.madeOf(entry)
    if (made === undefined) return make(entry)
    made[slot] ??= make(entry)
    return made[slot] as T
  }
}
