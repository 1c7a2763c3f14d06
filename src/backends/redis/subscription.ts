import type { RedisLink } from './client.ts'

/** One channel, subscribed to when it is first needed. */
export class Subscription {
  readonly #link: RedisLink
  readonly #channel: string
  readonly #onMessage: (message: string) => void
  #begun: Promise<(() => Promise<void>) | undefined> | undefined

  constructor(link: RedisLink, channel: string, onMessage: (message: string) => void) {
    this.#link = link
    this.#channel = channel
    this.#onMessage = onMessage
  }

  /** Subscribes, once; a subscription that fails is tried again the next time. */
  async begin(): Promise<void> {
    this.#begun ??= this.#link.subscribe(this.#channel, this.#onMessage)
    try {
      await this.#begun
    } catch (error) {
      this.#begun = undefined
      throw error
    }
  }

  async end(): Promise<void> {
    const begun = this.#begun
    this.#begun = Promise.resolve(undefined)
    const end = await begun?.catch(() => undefined)
    await end?.().catch(() => undefined)
  }
}
