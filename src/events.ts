import { isFollowed, publish, type Source } from './channels.ts'
import { Counters, type Held, type RouteCounters } from './core/counters.ts'
import type { Meter } from './core/latency.ts'
import type { Log } from './core/log.ts'
import type { Reason } from './core/reasons.ts'
import type { CacheEvent, CacheListener, CacheStats } from './core/trace.ts'
import { Surroundings } from './core/work.ts'
import { explainWarning, type WarningCode } from './errors.ts'

// A warning is told once for a route; so many different ones are remembered.
const MOST_WARNED = 1000
// Of so many answers from the cache one is measured, where nobody asks for more.
const SAMPLE = 64

/** Tells what happens: to the counters, to listeners and channels, and warnings to the process as well. */
export class Events {
  /** Who stands around what takes time. */
  readonly work = new Surroundings()
  /** Told why a request goes to its handler, when it does: its record is left when all is over. */
  readonly forwards = new Set<(why: Reason) => void>()
  readonly #listeners = new Map<CacheListener, CacheEvent['type'] | undefined>()
  readonly #counters: Counters
  readonly #warned = new Set<string>()
  readonly #meters = new Set<(milliseconds: number) => void>()
  // A mask: so many answers from the cache are not measured, before one is.
  #unmeasured = SAMPLE - 1
  #asked = 0
  #isTraced = false

  constructor(
    readonly source: Source,
    since: number,
    readonly log?: Log,
  ) {
    this.#counters = new Counters(since)
  }

  /** Has a listener told every event, or those of one type. Returns the way to end that. */
  listen(listener: CacheListener, type: CacheEvent['type'] | undefined): () => void {
    this.#listeners.set(listener, type)
    this.#tune()
    return () => this.#forget(listener)
  }

  emit(event: CacheEvent): void {
    this.#counters.count(event)
    this.log?.tell(event)
    this.tell(event)
  }

  /** Tells listeners and channels what has been counted. */
  tell(event: CacheEvent): void {
    publish(this.source, event)
    for (const [listener, type] of this.#listeners) {
      if (type !== undefined && type !== event.type) continue
      try {
        listener(event)
      } catch (error) {
        this.#forget(listener)
        this.warn('TAGCACHE_LISTENER_FAILED', undefined, error)
      }
    }
  }

  /** Whether anybody follows traces; where nobody does, none has to be put together for a hit. */
  get isTraced(): boolean {
    return this.#isTraced || isFollowed('trace')
  }

  #forget(listener: CacheListener): void {
    this.#listeners.delete(listener)
    this.#tune()
  }

  #tune(): void {
    this.#isTraced = [...this.#listeners.values()].some((type) => type === undefined || type === 'trace')
  }

  /** What is counted of a route. */
  ofRoute(name: string): RouteCounters {
    return this.#counters.ofRoute(name)
  }

  /** When the answer to a request is asked for, if it is one of those that are measured; by the clock of `performance`. */
  beginAnswer(): number | undefined {
    if (this.#listeners.size === 0) return undefined
    this.#asked = (this.#asked + 1) & this.#unmeasured
    return this.#asked === 0 ? performance.now() : undefined
  }

  /** An answer from the cache was given to a request that began then. */
  endAnswer(began: number | undefined): void {
    if (began === undefined) return
    const took = performance.now() - began
    this.#counters.hitTime.add(took)
    for (const tell of this.#meters) tell(took)
  }

  /**
   * Has `tell` told how long answers from the cache take, in milliseconds, of those that are measured; where there are few of them,
   * more than one in 64 can be. Ending it has as many measured as before.
   */
  meter(tell: (milliseconds: number) => void): Meter {
    this.#meters.add(tell)
    return {
      measureOneIn: (power) => {
        this.#unmeasured = Math.min(SAMPLE, power) - 1
      },
      end: () => {
        this.#meters.delete(tell)
        if (this.#meters.size === 0) this.#unmeasured = SAMPLE - 1
      },
    }
  }

  readonly warn = (code: WarningCode, route?: string, error?: unknown): void => {
    const message = explainWarning(code)
    this.emit({
      type: 'warning',
      code,
      message,
      ...(route === undefined ? {} : { route }),
      ...(error === undefined ? {} : { error }),
    })
    const once = `${code} ${route}`
    if (this.#warned.has(once) || this.#warned.size > MOST_WARNED) return
    this.#warned.add(once)
    process.emitWarning(`${message}${route === undefined ? '' : ` Route: ${route}.`}`, {
      type: 'TagcacheWarning',
      code,
    })
  }

  /** What has been counted so far. */
  stats(held: Held): CacheStats {
    return this.#counters.read(held)
  }
}
