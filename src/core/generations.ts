/** How much is remembered. */
export interface Bounds<V> {
  readonly most: number
  readonly mostSize: number
  sizeOf(value: V, key: string): number
}

/**
 * A bounded Map in two generations: where the young one is full, it takes the place of the old one, which is forgotten but for
 * what was asked for meanwhile. Finding something changes nothing as a rule, which an order of use would with each look-up.
 */
export class Generations<V> {
  readonly #bounds: Bounds<V>
  #young = new Map<string, V>()
  #old = new Map<string, V>()
  #size = 0

  /** @param bounds of each generation */
  constructor(bounds: Bounds<V>) {
    this.#bounds = bounds
  }

  get(key: string): V | undefined {
    const value = this.#young.get(key)
    if (value !== undefined || this.#old.size === 0) return value
    const older = this.#old.get(key)
    if (older !== undefined) this.set(key, older)
    return older
  }

  set(key: string, value: V): void {
    const { most, mostSize, sizeOf } = this.#bounds
    const size = sizeOf(value, key)
    if (size > mostSize) return this.#forget(key)
    if (this.#young.size >= most || this.#size + size > mostSize) this.#grow()
    this.#old.delete(key)
    this.#young.set(key, value)
    this.#size += size
  }

  clear(): void {
    this.#old = new Map()
    this.#young = new Map()
    this.#size = 0
  }

  #forget(key: string): void {
    this.#young.delete(key)
    this.#old.delete(key)
  }

  #grow(): void {
    this.#old = this.#young
    this.#young = new Map()
    this.#size = 0
  }
}
