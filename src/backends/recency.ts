/** Something in an order of use: its neighbours, which the order sets. */
export interface Used<T> {
  older: T | undefined
  newer: T | undefined
}

/** Which of them was used least recently. Each is in one order at most. */
export class Recency<T extends Used<T>> {
  #oldest: T | undefined
  #newest: T | undefined

  get oldest(): T | undefined {
    return this.#oldest
  }

  /** Adds one that is in no order, as the one used last. */
  add(item: T): void {
    const before = this.#newest
    item.older = before
    item.newer = undefined
    if (before) before.newer = item
    else this.#oldest = item
    this.#newest = item
  }

  /** One that is in this order is now the one used last. */
  use(item: T): void {
    const { older, newer } = item
    if (!newer) return
    newer.older = older
    if (older) older.newer = newer
    else this.#oldest = newer
    this.add(item)
  }

  /** Takes out one that is in this order. */
  remove(item: T): void {
    const { older, newer } = item
    if (older) older.newer = newer
    else this.#oldest = newer
    if (newer) newer.older = older
    else this.#newest = older
    item.older = undefined
    item.newer = undefined
  }
}
