import { type Entry, isSound } from '../core/entry.ts'
import { type Latency, Stopwatch } from '../core/latency.ts'
import { madeOnce } from '../core/made-once.ts'
import { chain, isPromise, type MaybePromise } from '../core/maybe.ts'
import { inTime, type Time } from '../core/time.ts'
import type { Surroundings } from '../core/work.ts'
import { TagcacheError } from '../errors.ts'
import type {
  BackendSize,
  LeaseEnd,
  Lookup,
  LookupNeeds,
  Notice,
  Page,
  Query,
  TagBackend,
  TagRecord,
} from './backend.ts'
import { type Journal, Undelivered } from './undelivered.ts'

/** Told what goes wrong with the backend. */
export interface GuardEvents {
  fault(operation: string, error: unknown): void
  state(state: 'paused' | 'resumed' | 'behind' | 'delivered'): void
}

/** How a backend does, as its guard knows. */
export interface Health {
  readonly state: 'well' | 'paused'
  readonly isBehind: boolean
  /** Invalidations that it has not taken: so many names, or everything. */
  readonly undelivered: number | 'everything'
  readonly calls: Readonly<Record<string, Latency>>
}

/** How a guard treats its backend, in milliseconds. */
export interface GuardOptions {
  readonly timeout: number
  readonly pause: number
  readonly time: Time
  readonly journal?: Journal | undefined
  /** What all carries that is stored through it, where others may use the backend as well. Default: nothing, and the backend is cleared. */
  readonly everything?: readonly string[] | undefined
  /** Who stands around calls of a backend that does not answer at once. */
  readonly work?: Surroundings
}

// Nobody's request waits for it.
const BOARD_TIMEOUT = 2000
const LONGEST_ASIDE = 5000
const NOTHING: BackendSize = { entries: 0, bytes: 0 }
// So many tags go into one call, that it can end within its deadline.
const TAGS_PER_CALL = 1000

/**
 * Stands between the cache and a backend that may throw, hang or answer nonsense: every call ends within the deadline,
 * after a fault the backend is left alone for a while, and an invalidation that it did not take is kept and delivered
 * before anything is looked up again. What could not be done answers `undefined`.
 */
export class Guard {
  readonly #backend: TagBackend
  readonly #options: GuardOptions
  readonly #events: GuardEvents
  readonly #undelivered: Undelivered
  #delivery: Promise<void> | undefined
  #retry: (() => void) | undefined
  #isBehindTold = false
  #pausedUntil: number | undefined
  /** How long calls took for which a promise was given, by operation. */
  readonly #calls = new Map<string, Stopwatch>()

  constructor(backend: TagBackend, options: GuardOptions, events: GuardEvents) {
    this.#backend = backend
    this.#options = options
    this.#events = events
    this.#undelivered = new Undelivered(options.journal, (error) => events.fault('journal', error))
    if (this.isBehind) this.#fallBehind()
  }

  /** Whether every call answers at once. */
  get isSync(): boolean {
    return this.#backend.sync
  }

  lookup(key: string, needs?: LookupNeeds): MaybePromise<Lookup | undefined> {
    // What is kept in this process says nothing of whether the backend answers.
    const near = this.#glance(key, needs)
    if (near) return near
    if (this.#backend.sync && this.#pausedUntil === undefined && !this.isBehind) return this.#lookUpAtOnce(key, needs)
    return chain(
      this.#afterDelivery(() => this.#call('lookup', () => this.#lookUp(key, needs), isLookup)),
      (found) => {
        if (found) this.#tellFault('lookup', found)
        return found
      },
    )
  }

  // As below, for a backend that is well and answers at once.
  #lookUpAtOnce(key: string, needs: LookupNeeds | undefined): MaybePromise<Lookup | undefined> {
    try {
      const answer: MaybePromise<Lookup> = this.#backend.lookup(key, needs)
      if (!isPromise(answer)) {
        if (isLookup(answer) && answer.fault === undefined) return answer
        const accepted = this.#accept('lookup', answer, isLookup)
        if (accepted) this.#tellFault('lookup', accepted)
        return accepted
      }
      return this.#settle('lookup', answer, isLookup)
    } catch (error) {
      return this.#fail('lookup', error)
    }
  }

  // A lease that comes with an answer for which nobody waits any more is given back.
  #lookUp(key: string, needs: LookupNeeds | undefined): MaybePromise<Lookup> {
    const answer = this.#backend.lookup(key, needs)
    if (needs?.lease === undefined || !isPromise(answer)) return answer
    let isLate = false
    const cancel = this.#options.time.after(this.#options.timeout, () => {
      isLate = true
    })
    answer.then(
      ({ lease }) => {
        cancel()
        // The backend has answered, though it is left alone for having been late.
        if (isLate && lease?.kind === 'taken') this.#giveBack(key, lease.holder)
      },
      () => cancel(),
    )
    return answer
  }

  #giveBack(key: string, holder: string): void {
    const given = this.#backend.leases?.release(key, holder, 'abandoned')
    if (given && isPromise(given)) given.catch((error) => this.#events.fault('release', error))
  }

  #glance(key: string, needs: LookupNeeds | undefined): Lookup | undefined {
    if (!this.#backend.glance || this.isBehind) return undefined
    try {
      return this.#backend.glance(key, needs)
    } catch (error) {
      this.#events.fault('glance', error)
      return undefined
    }
  }

  clock(key?: string): MaybePromise<number | undefined> {
    return this.#afterDelivery(() => this.#call('clock', () => this.#backend.clock(key), isClock))
  }

  /** The latest invalidation of the tags; undefined where it cannot be told, which has to count as later than anything. */
  invalidatedAt(tags: readonly string[], key?: string): MaybePromise<number | undefined> {
    return this.#afterDelivery(() => this.#call('invalidatedAt', () => this.#backend.invalidatedAt(tags, key), isClock))
  }

  /** Whether stamps for the one key are of use for the other. */
  haveOneClock(one: string, other: string): boolean {
    const { clockOf } = this.#backend
    return one === other || !clockOf || clockOf.call(this.#backend, one) === clockOf.call(this.#backend, other)
  }

  /** Whether the backend kept it. Ends the lease of that holder. */
  store(entry: Entry, ttl: number, holder?: string): MaybePromise<boolean> {
    return isTrue(this.#call('store', () => this.#backend.store(entry, ttl, holder), isBoolean))
  }

  /** The largest body that the backend takes, in bytes. */
  get maxBodySize(): number {
    return this.#backend.maxBodySize
  }

  /** How much it holds at the most, as `size()` counts; undefined where it does not tell. */
  get maxBytes(): number | undefined {
    return this.#backend.maxBytes
  }

  /** Whether the backend has leases. */
  get hasLeases(): boolean {
    return this.#backend.leases !== undefined
  }

  /** Has a lease last. Whether it is still held. */
  hold(key: string, holder: string, milliseconds: number, tags?: readonly string[]): MaybePromise<boolean> {
    const { leases } = this.#backend
    return isTrue(leases && this.#call('hold', () => leases.hold(key, holder, milliseconds, tags), isBoolean))
  }

  /** Ends a lease without a store. */
  release(key: string, holder: string, end: 'declined' | 'abandoned'): MaybePromise<void> {
    const { leases } = this.#backend
    return chain(leases && this.#take('release', () => leases.release(key, holder, end)), () => {})
  }

  /** Has it told how a lease that somebody else holds ends. Returns the way to end that. */
  onLeaseEnd(key: string, listener: (end: LeaseEnd) => void, since?: number): () => void {
    return this.#backend.leases?.onEnd(key, listener, since) ?? (() => {})
  }

  /** Whether the backend tells where invalidations stand. */
  get hasPositions(): boolean {
    return this.#backend.position !== undefined
  }

  /** For how many milliseconds at the most another process may hand out what was invalidated here. */
  get maxStaleness(): number {
    return this.#backend.maxStaleness ?? 0
  }

  /** Where the last invalidation of this process stands, where the backend tells. */
  position(): string | undefined {
    return this.#backend.position?.()
  }

  /** Whether processes that share the backend can leave each other notices. */
  get hasBoard(): boolean {
    return this.#backend.board !== undefined
  }

  /** Leaves a notice for the other processes, if that can be done. */
  async publish(id: string, text: string, milliseconds: number): Promise<void> {
    const { board } = this.#backend
    if (board) await this.#aside('publish', async () => board.publish(id, text, milliseconds))
  }

  /** What the processes have left for each other; undefined where that cannot be told. */
  async readBoard(): Promise<readonly Notice[] | undefined> {
    const { board } = this.#backend
    return board && this.#aside('read', async () => board.read())
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

  /** What the backend can list, for those who operate it. */
  get lists(): { readonly tags: boolean; readonly entries: boolean } {
    return { tags: this.#backend.tags !== undefined, entries: this.#backend.entries !== undefined }
  }

  /** Some of the tags that entries carry; undefined where the backend cannot tell, or not now. */
  tags(query: Query): Promise<Page<TagRecord> | undefined> {
    return this.#askAside('tags', () => this.#backend.tags?.(query), isTagRecord)
  }

  /** Some of the entries; undefined where the backend cannot tell, or not now. */
  entries(query: Query): Promise<Page<Lookup> | undefined> {
    return this.#askAside('entries', () => this.#backend.entries?.(query), isLookup)
  }

  // What no request waits for has more time, and a fault of it is no reason to leave the backend alone.
  async #askAside<V>(
    operation: string,
    run: () => MaybePromise<Page<V>> | undefined,
    isItem: (item: V) => boolean,
  ): Promise<Page<V> | undefined> {
    if (this.#isResting()) return undefined
    const { time } = this.#options
    const late = () => new TagcacheError('ERR_TAGCACHE_BACKEND_TIMEOUT', `The backend's ${operation}() took too long.`)
    try {
      const page = await inTime(time, LONGEST_ASIDE, Promise.resolve(run()), late)
      return page && { ...page, items: page.items.filter(isItem) }
    } catch (error) {
      this.#events.fault(operation, error)
      return undefined
    }
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

  /** How it does. */
  health(): Health {
    return {
      state: this.#pausedUntil === undefined ? 'well' : 'paused',
      isBehind: this.isBehind,
      undelivered: this.#undelivered.size,
      calls: Object.fromEntries([...this.#calls].map(([operation, times]) => [operation, times.read()])),
    }
  }

  /** Answers once the backend has taken it, or once it is kept for later: then false. */
  invalidate(tags: readonly string[]): MaybePromise<boolean> {
    return this.#takeTags(tags)
  }

  /** The same for everything. */
  clear(): MaybePromise<boolean> {
    return chain(
      this.#take('clear', () => this.#backend.clear()),
      (taken) => taken || this.#keep(undefined),
    )
  }

  /** Whether invalidations wait for the backend to take them. */
  get isBehind(): boolean {
    return !this.#undelivered.isEmpty || this.#delivery !== undefined
  }

  /** Tries once more to deliver what waits, and no more after that. */
  close(): MaybePromise<void> {
    if (this.#pausedUntil !== undefined) this.#pausedUntil = this.#options.time.now()
    const last = this.#undelivered.isEmpty ? undefined : (this.#delivery ?? this.#deliver())
    return chain(last, () => this.#retry?.())
  }

  #takeTags(tags: readonly string[]): MaybePromise<boolean> {
    const some = tags.length > TAGS_PER_CALL ? tags.slice(0, TAGS_PER_CALL) : tags
    const rest = tags.slice(some.length)
    return chain(
      this.#take('invalidate', () => this.#backend.invalidate(some)),
      (taken) => {
        if (!taken) return this.#keep(tags)
        return rest.length === 0 || this.#takeTags(rest)
      },
    )
  }

  #keep(tags: readonly string[] | undefined): false {
    this.#undelivered.add(tags)
    this.#fallBehind()
    return false
  }

  // Others serve what was purged until they are told, so that does not wait for the next request.
  #fallBehind(): void {
    if (!this.#isBehindTold) this.#events.state('behind')
    this.#isBehindTold = true
    this.#retryLater()
  }

  #retryLater(): void {
    this.#retry ??= this.#options.time.after(this.#options.pause, () => {
      this.#retry = undefined
      if (!this.isBehind) return
      void chain(this.#delivery ?? this.#deliver(), () => (this.isBehind ? this.#retryLater() : undefined))
    })
  }

  // Nothing stored before an invalidation is trusted until the backend has it.
  #afterDelivery<T>(next: () => MaybePromise<T | undefined>): MaybePromise<T | undefined> {
    if (!this.isBehind) return next()
    if (this.#isResting()) return undefined
    return chain(this.#delivery ?? this.#deliver(), () => (this.isBehind ? undefined : next()))
  }

  // What is invalidated while a delivery is under way is not covered by it, so what is kept is taken out first.
  #deliver(): MaybePromise<void> {
    const tags = this.#undelivered.takeOut() ?? this.#options.everything
    const taken = tags === undefined ? this.clear() : this.#takeTags(tags)
    const done: MaybePromise<void> = chain(taken, (isTaken) => {
      this.#delivery = undefined
      if (!isTaken) return
      if (!this.#undelivered.isEmpty) return this.#deliver()
      this.#undelivered.settle()
      this.#isBehindTold = false
      this.#events.state('delivered')
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
      const answer = this.#begin(operation, run)
      if (!isPromise(answer)) return this.#accept(operation, answer, isValid)
      return this.#settle(operation, answer, isValid)
    } catch (error) {
      return this.#fail(operation, error)
    }
  }

  // What no request depends on says nothing of how the backend does.
  async #aside<T>(operation: string, run: () => Promise<T>): Promise<T | undefined> {
    if (this.#isResting()) return undefined
    const late = () => new TagcacheError('ERR_TAGCACHE_BACKEND_TIMEOUT', `The backend's board did not answer in time.`)
    try {
      return await inTime(this.#options.time, BOARD_TIMEOUT, run(), late)
    } catch (error) {
      this.#events.fault(operation, error)
      return undefined
    }
  }

  // Whoever stands around a call sees it end at its deadline, too.
  #begin<T>(operation: string, run: () => MaybePromise<T>): MaybePromise<T> {
    const { work } = this.#options
    if (!work || work.isEmpty || this.#backend.sync) return run()
    return work.run({ kind: 'backend', name: operation }, () => {
      const answer = run()
      return isPromise(answer) ? this.#withinTimeout(operation, answer) : answer
    })
  }

  #settle<T>(operation: string, answer: Promise<T>, isValid: (answer: T) => boolean): Promise<T | undefined> {
    const began = performance.now()
    return this.#withinTimeout(operation, answer).then(
      (value) => {
        this.#measure(operation, began)
        return this.#accept(operation, value, isValid)
      },
      (error) => {
        this.#measure(operation, began)
        return this.#fail(operation, error)
      },
    )
  }

  #measure(operation: string, began: number): void {
    const times = this.#calls.get(operation) ?? new Stopwatch()
    this.#calls.set(operation, times)
    times.add(performance.now() - began)
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
    if (!isRefusal(error)) this.#pauseBackend()
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

// Whoever refuses is there.
function isRefusal(error: unknown): boolean {
  return error instanceof TagcacheError && error.code === 'ERR_TAGCACHE_BACKEND_REPLY'
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

const isSoundEntry = madeOnce(isSound)

function isLookup(answer: unknown): boolean {
  if (answer === null || typeof answer !== 'object') return false
  const { entry, invalidatedAt, clock } = answer as Partial<Lookup>
  return isClock(invalidatedAt) && isClock(clock) && (entry === undefined || isSoundAnswer(entry))
}

function isSoundAnswer(entry: unknown): boolean {
  return typeof entry === 'object' && entry !== null && isSoundEntry(entry as Entry)
}

function isTagRecord(answer: unknown): boolean {
  const { tag, entries } = Object(answer) as Partial<TagRecord>
  return typeof tag === 'string' && isClock(entries)
}

function isLookups(answer: unknown): boolean {
  return Array.isArray(answer) && answer.every(isLookup)
}
