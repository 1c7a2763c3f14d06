import { LRUCache } from 'lru-cache'
import type { Time } from './time.ts'

/** Somebody who waits for what a flight brings. */
interface Waiter<V, R> {
  readonly visitor: V
  readonly settle: (result: R | undefined) => void
}

/** A computation in progress for a key, which others may wait for. */
export class Flight<L, V, R> {
  readonly key: string
  readonly leader: L
  readonly waiters = new Set<Waiter<V, R>>()

  constructor(key: string, leader: L) {
    this.key = key
    this.leader = leader
  }
}

// How long a key stays uncoalesced after its response turned out to be of no use to others.
const GROUNDED_FOR = 10_000
const GROUNDED_KEYS = {
  max: 10_000,
  maxSize: 2_000_000,
  sizeCalculation: (_: unknown, key: string) => key.length + 100,
}

/**
 * One computation per key, and those who wait for it. Knows nothing of what is computed.
 * @typeParam L what is known of the one that computes
 * @typeParam V what is known of a waiter
 * @typeParam R what a waiter gets; undefined: compute it yourself
 */
export class Flights<L, V, R> {
  readonly #flights = new Map<string, Flight<L, V, R>>()
  readonly #grounded = new LRUCache<string, number>(GROUNDED_KEYS)
  readonly #time: Time

  constructor(time: Time) {
    this.#time = time
  }

  /** The flight that a newcomer may join. */
  find(key: string): Flight<L, V, R> | undefined {
    return this.#flights.get(key)
  }

  /** Starts a flight that newcomers find from now on in place of an earlier one; undefined where the key is grounded. */
  start(key: string, leader: L): Flight<L, V, R> | undefined {
    if (this.isGrounded(key)) return undefined
    const flight = new Flight<L, V, R>(key, leader)
    this.#flights.set(key, flight)
    return flight
  }

  /**
   * Waits for the flight's result. After `maxWait` milliseconds the flight counts as hanging, and lets all its waiters go.
   * `onLeave` is given the way to leave early.
   */
  wait(
    flight: Flight<L, V, R>,
    visitor: V,
    maxWait: number,
    onLeave: (leave: () => void) => void,
  ): Promise<R | undefined> {
    return new Promise((resolve) => {
      const settle = (result: R | undefined) => {
        flight.waiters.delete(waiter)
        cancel()
        resolve(result)
      }
      const waiter = { visitor, settle }
      const cancel = this.#time.after(maxWait, () => this.land(flight, () => undefined))
      flight.waiters.add(waiter)
      onLeave(() => settle(undefined))
    })
  }

  /** Ends the flight: each waiter gets what `serve` has for it, and runs for itself where that is undefined. */
  land(flight: Flight<L, V, R>, serve: (visitor: V) => R | undefined): void {
    if (this.#flights.get(flight.key) === flight) this.#flights.delete(flight.key)
    for (const { visitor, settle } of [...flight.waiters]) settle(attempt(serve, visitor))
  }

  /** Has the key run uncoalesced for a while: its responses are of no use to others. */
  ground(key: string): void {
    this.#grounded.set(key, this.#time.now() + GROUNDED_FOR)
  }

  /** Lets the key be coalesced again. */
  clear(key: string): void {
    this.#grounded.delete(key)
  }

  isGrounded(key: string): boolean {
    const until = this.#grounded.get(key)
    return until !== undefined && until > this.#time.now()
  }

  /** How many are under way. */
  get size(): number {
    return this.#flights.size
  }
}

// Whoever cannot be served computes for himself; the others are not kept waiting for that.
function attempt<V, R>(serve: (visitor: V) => R | undefined, visitor: V): R | undefined {
  try {
    return serve(visitor)
  } catch {
    return undefined
  }
}
