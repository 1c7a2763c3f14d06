import { LRUCache } from 'lru-cache'
import type { LeaseEnd } from '../backend.ts'
import type { RedisLink } from './client.ts'
import { Subscription } from './subscription.ts'

type Listener = (end: LeaseEnd) => void

/** Hears how the leases have ended for which this process waits. */
export class LeaseEnds {
  readonly #listeners = new Map<string, Set<Listener>>()
  // An end may be heard of before the answer to the look-up that it is the end of: they come by different connections.
  readonly #heard = new LRUCache<string, { readonly end: LeaseEnd; readonly at: number }>({ max: 1000 })
  readonly #subscription: Subscription
  #count = 0

  constructor(link: RedisLink, channel: string, onRefusal: (error: unknown) => void) {
    this.#subscription = new Subscription(link, channel, (message) => this.#hear(message), onRefusal)
  }

  /** Gets ready to hear of ends. Answers since when. */
  async ready(): Promise<number> {
    await this.#subscription.begin()
    return this.#count
  }

  /** @param since what `ready` has answered before the look-up */
  listen(key: string, listener: Listener, since = this.#count): () => void {
    const heard = this.#heard.get(key)
    if (heard && heard.at > since) {
      queueMicrotask(() => listener(heard.end))
      return () => {}
    }
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
    this.#heard.set(key, { end: end as LeaseEnd, at: ++this.#count })
    const listeners = this.#listeners.get(key)
    this.#listeners.delete(key)
    for (const listener of listeners ?? []) listener(end as LeaseEnd)
  }
}
