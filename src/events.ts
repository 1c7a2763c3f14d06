import { publish, type Source } from './channels.ts'
import type { Log } from './core/log.ts'
import { type CacheEvent, type CacheListener, type CacheStats, Counters } from './core/trace.ts'
import { Surroundings } from './core/work.ts'
import { explainWarning, type WarningCode } from './errors.ts'

// A warning is told once for a route; so many different ones are remembered.
const MOST_WARNED = 1000

/** Tells what happens: to the counters, to listeners and channels, and warnings to the process as well. */
export class Events {
  /** Who stands around what takes time. */
  readonly work = new Surroundings()
  readonly #listeners = new Map<CacheListener, CacheEvent['type'] | undefined>()
  readonly #counters = new Counters()
  readonly #warned = new Set<string>()

  constructor(
    readonly source: Source,
    readonly log?: Log,
  ) {}

  /** Has a listener told every event, or those of one type. Returns the way to end that. */
  listen(listener: CacheListener, type: CacheEvent['type'] | undefined): () => void {
    this.#listeners.set(listener, type)
    return () => this.#listeners.delete(listener)
  }

  emit(event: CacheEvent): void {
    this.#counters.count(event)
    this.log?.tell(event)
    publish(this.source, event)
    for (const [listener, type] of this.#listeners) {
      if (type !== undefined && type !== event.type) continue
      try {
        listener(event)
      } catch (error) {
        this.#listeners.delete(listener)
        this.warn('TAGCACHE_LISTENER_FAILED', undefined, error)
      }
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
  stats(held: { entries: number; bytes: number }): CacheStats {
    return this.#counters.read(held)
  }
}
