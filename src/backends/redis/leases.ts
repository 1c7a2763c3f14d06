import { LRUCache } from 'lru-cache'
import type { LeaseEnd } from '../backend.ts'
import type { RedisLink } from './client.ts'
import { Subscription } from './subscription.ts'

type Listener = (end: LeaseEnd) => void

/** Hears how the leases have ended for which this process waits. */
export class LeaseEnds {
  readonly #listeners = new Map<string, Set<Listener>>()
  // An end may be heard of before the answer to the look-up that it is the end of.
  readonly #early = new LRUCache<string, LeaseEnd>({ max: 1000 })
  readonly #subscription: Subscription

  constructor(link: RedisLink, channel: string) {
    this.#subscription = new Subscription(link, channel, (message) => this.#hear(message))
  }

  /** Gets ready to hear of a lease of that key. */
  async expect(key: string): Promise<void> {
    await this.#subscription.begin()
    if (!this.#listeners.has(key)) this.#early.delete(key)
  }

  listen(key: string, listener: Listener): () => void {
    const early = this.#early.get(key)
    if (early) queueMicrotask(() => listener(early))
    const listeners = this.#listeners.get(key) ?? new Set()
    this.#listeners.set(key, listeners.add(listener))
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0 && this.#listeners.get(key) === listeners) this.#listeners.delete(key)
    }
  }

  close(): void {
    this.#subscription.end()
  }

  #hear(message: string): void {
    const [, end, key] = /^(stored|declined|abandoned) (.*)$/s.exec(message) ?? []
    if (end === undefined || key === undefined) return
    const listeners = this.#listeners.get(key)
    this.#listeners.delete(key)
    if (!listeners) this.#early.set(key, end as LeaseEnd)
    for (const listener of listeners ?? []) listener(end as LeaseEnd)
  }
}
