import type { RedisLink, Subscribed } from './client.ts'

/** One channel, subscribed to when it is first needed. */
export class Subscription {
  readonly #link: RedisLink
  readonly #channel: string
  readonly #onMessage: (message: string) => void
  readonly #onRefusal: (error: unknown) => void
  #subscribed: Subscribed | undefined
  #isOver = false

  constructor(
    link: RedisLink,
    channel: string,
    onMessage: (message: string) => void,
    onRefusal: (error: unknown) => void,
  ) {
    this.#link = link
    this.#channel = channel
    this.#onMessage = onMessage
    this.#onRefusal = onRefusal
  }

  /** Subscribes, once; a subscription that fails is tried again the next time. */
  async begin(): Promise<void> {
    if (this.#isOver) return
    this.#subscribed ??= this.#link.subscribe(this.#channel, this.#onMessage)
    const own = this.#subscribed
    try {
      await own.ready
    } catch (error) {
      if (this.#subscribed === own) {
        this.#subscribed = undefined
        attempt(() => own.end())
      }
      if (/NOPERM/.test(String((error as Error)?.message))) this.#onRefusal(error)
      throw error
    }
  }

  end(): void {
    this.#isOver = true
    const own = this.#subscribed
    this.#subscribed = undefined
    own?.ready.catch(() => {})
    attempt(() => own?.end())
  }
}

// A client that has not got as far as a connection may have nothing to close.
function attempt(act: () => void): void {
  try {
    act()
  } catch {}
}
