import { type Entry, isSound } from '../core/entry.ts'
import { chain, isPromise, type MaybePromise } from '../core/maybe.ts'
import { inTime, type Time } from '../core/time.ts'
import { TagcacheError } from '../errors.ts'
import type { BackendSize, Lookup, TagBackend } from './backend.ts'

/** Told what goes wrong with the backend. */
export interface GuardEvents {
  fault(operation: string, error: unknown): void
  state(state: 'paused' | 'resumed'): void
}

/** How a guard treats its backend, in milliseconds. */
export interface GuardOptions {
  readonly timeout: number
  readonly pause: number
  readonly time: Time
}

const NOTHING: BackendSize = { entries: 0, bytes: 0 }
const MOST_PENDING_TAGS = 10_000

/**
 * Stands between the cache and a backend that may throw, hang or answer nonsense: every call ends within the deadline,
 * after a fault the backend is left alone for a while, and an invalidation that it did not take is kept and delivered
 * before anything is looked up again. What could not be done answers `undefined`.
 */
export class Guard {
  readonly #backend: TagBackend
  readonly #options: GuardOptions
  readonly #events: GuardEvents
  readonly #pendingTags = new Set<string>()
  #pendingClear = false
  #delivery: Promise<void> | undefined
  #pausedUntil: number | undefined

  constructor(backend: TagBackend, options: GuardOptions, events: GuardEvents) {
    this.#backend = backend
    this.#options = options
    this.#events = events
  }

  /** Whether every call answers at once. */
  get isSync(): boolean {
    return this.#backend.sync
  }

  lookup(key: string): MaybePromise<Lookup | undefined> {
    return chain(
      this.#afterDelivery(() => this.#call('lookup', () => this.#backend.lookup(key), isLookup)),
      (found) => {
        if (found) this.#tellFault('lookup', found)
        return found
      },
    )
  }

  clock(): MaybePromise<number | undefined> {
    return this.#afterDelivery(() => this.#call('clock', () => this.#backend.clock(), isClock))
  }

  /** The latest invalidation of the tags; undefined where it cannot be told, which has to count as later than anything. */
  invalidatedAt(tags: readonly string[]): MaybePromise<number | undefined> {
    return this.#afterDelivery(() => this.#call('invalidatedAt', () => this.#backend.invalidatedAt(tags), isClock))
  }

  /** Whether the backend kept it. */
  store(entry: Entry, ttl: number): MaybePromise<boolean> {
    return isTrue(this.#call('store', () => this.#backend.store(entry, ttl), isBoolean))
  }

  list(tag: string, limit: number): MaybePromise<readonly Lookup[] | undefined> {
    return chain(
      this.#afterDelivery(() => this.#call('list', () => this.#backend.list(tag, limit), isLookups)),
      (found) => {
        for (const lookup of found ?? []) this.#tellFault('list', lookup)
        return found
      },
    )
  }

  /** Whether there was one. */
  delete(key: string): MaybePromise<boolean> {
    return isTrue(this.#call('delete', () => this.#backend.delete(key), isBoolean))
  }

  /** How much it holds; nothing where it cannot tell. */
  size(): BackendSize {
    try {
      return this.#backend.size?.() ?? NOTHING
    } catch (error) {
      this.#events.fault('size', error)
      return NOTHING
    }
  }

  /** Answers once the backend has taken it, or once it is kept for later. */
  invalidate(tags: readonly string[]): MaybePromise<void> {
    return chain(
      this.#take('invalidate', () => this.#backend.invalidate(tags)),
      (taken) => {
        if (!taken) this.#keep(tags)
      },
    )
  }

  /** The same for everything. */
  clear(): MaybePromise<void> {
    return chain(
      this.#take('clear', () => this.#backend.clear()),
      (taken) => {
        if (!taken) this.#keepClear()
      },
    )
  }

  /** Whether invalidations wait for the backend to take them. */
  get isBehind(): boolean {
    return this.#pendingClear || this.#pendingTags.size > 0 || this.#delivery !== undefined
  }

  #keep(tags: readonly string[]): void {
    if (this.#pendingClear) return
    for (const tag of tags) this.#pendingTags.add(tag)
    if (this.#pendingTags.size > MOST_PENDING_TAGS) this.#keepClear()
  }

  #keepClear(): void {
    this.#pendingClear = true
    this.#pendingTags.clear()
  }

  // Nothing stored before an invalidation is trusted until the backend has it.
  #afterDelivery<T>(next: () => MaybePromise<T | undefined>): MaybePromise<T | undefined> {
    if (!this.isBehind) return next()
    if (this.#isResting()) return undefined
    return chain(this.#delivery ?? this.#deliver(), () => (this.isBehind ? undefined : next()))
  }

  // What is invalidated while a delivery is under way is not covered by it, so the kept tags are taken out first.
  #deliver(): MaybePromise<void> {
    const tags = [...this.#pendingTags]
    const everything = this.#pendingClear
    this.#pendingTags.clear()
    this.#pendingClear = false
    const taken = everything
      ? this.#take('clear', () => this.#backend.clear())
      : this.#take('invalidate', () => this.#backend.invalidate(tags))
    const done = chain(taken, (isTaken) => {
      this.#delivery = undefined
      if (isTaken) return
      if (everything) this.#keepClear()
      else this.#keep(tags)
    })
    if (isPromise(done)) this.#delivery = done
    return done
  }

  #tellFault(operation: string, { fault }: Lookup): void {
    if (fault !== undefined) this.#events.fault(operation, fault)
  }

  #take(operation: string, run: () => MaybePromise<void>): MaybePromise<boolean> {
    return isTrue(this.#call(operation, () => chain(run(), () => true), isBoolean))
  }

  #call<T>(
    operation: string,
    run: () => MaybePromise<T>,
    isValid: (answer: T) => boolean,
  ): MaybePromise<T | undefined> {
    if (this.#isPaused()) return undefined
    try {
      const answer = run()
      if (!isPromise(answer)) return this.#accept(operation, answer, isValid)
      return this.#withinTimeout(operation, answer).then(
        (value) => this.#accept(operation, value, isValid),
        (error) => this.#fail(operation, error),
      )
    } catch (error) {
      return this.#fail(operation, error)
    }
  }

  #accept<T>(operation: string, answer: T, isValid: (answer: T) => boolean): T | undefined {
    if (!isValid(answer)) {
      const message = `The backend's ${operation}() answered ${typeof answer}, which its contract does not allow.`
      return this.#fail(operation, new TagcacheError('ERR_TAGCACHE_BACKEND_ANSWER', message))
    }
    if (this.#pausedUntil !== undefined) {
      this.#pausedUntil = undefined
      this.#events.state('resumed')
    }
    return answer
  }

  #fail(operation: string, error: unknown): undefined {
    this.#pauseBackend()
    this.#events.fault(operation, error)
  }

  #pauseBackend(): void {
    if (this.#pausedUntil === undefined) this.#events.state('paused')
    this.#pausedUntil = this.#options.time.now() + this.#options.pause
  }

  #isResting(): boolean {
    return this.#pausedUntil !== undefined && this.#options.time.now() < this.#pausedUntil
  }

  // When the pause is over one call goes through; the others wait for what it shows.
  #isPaused(): boolean {
    if (this.#pausedUntil === undefined) return false
    if (this.#isResting()) return true
    this.#pausedUntil = this.#options.time.now() + this.#options.pause
    return false
  }

  #withinTimeout<T>(operation: string, answer: Promise<T>): Promise<T> {
    const { time, timeout } = this.#options
    const late = () => {
      const message = `The backend's ${operation}() did not answer within ${timeout} ms.`
      return new TagcacheError('ERR_TAGCACHE_BACKEND_TIMEOUT', message)
    }
    return inTime(time, timeout, answer, late)
  }
}

function isTrue(answer: MaybePromise<boolean | undefined>): MaybePromise<boolean> {
  return chain(answer, (value) => value === true)
}

function isBoolean(answer: unknown): boolean {
  return typeof answer === 'boolean'
}

function isClock(answer: unknown): boolean {
  return typeof answer === 'number' && !Number.isNaN(answer)
}

// Looked at once: a backend that keeps entries in memory hands out the same ones again and again.
const sound = new WeakSet<Entry>()

function isLookup(answer: unknown): boolean {
  if (answer === null || typeof answer !== 'object') return false
  const { entry, invalidatedAt, clock } = answer as Partial<Lookup>
  return isClock(invalidatedAt) && isClock(clock) && (entry === undefined || sound.has(entry) || isSoundAnew(entry))
}

function isSoundAnew(entry: Entry): boolean {
  if (!isSound(entry)) return false
  sound.add(entry)
  return true
}

function isLookups(answer: unknown): boolean {
  return Array.isArray(answer) && answer.every(isLookup)
}
