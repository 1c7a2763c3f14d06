import { LRUCache } from 'lru-cache'
import type { Lookup, TagBackend } from './backends/backend.ts'
import { Guard } from './backends/guard.ts'
import { memory } from './backends/memory.ts'
import { ageOf, type Entry, freshFor, type StoredResponse } from './core/entry.ts'
import { type Flight, Flights } from './core/flights.ts'
import { encodeKey, type KeyParts } from './core/key.ts'
import { chain, type MaybePromise } from './core/maybe.ts'
import { isOutdated, namesCarried, namesPurged, type Tag, type TagList } from './core/tags.ts'
import { type CacheEvent, type CacheListener, type CacheStats, Counters, type Trace } from './core/trace.ts'
import { type Duration, durationOf } from './core/values.ts'
import { explainWarning, TagcacheError, type WarningCode } from './errors.ts'
import { type Forward, formatCacheStatus } from './http/cache-status.ts'
import { judgeStorage, type ResponseHead } from './http/policy.ts'
import { mergeNames } from './http/vary.ts'
import {
  type CacheOptions,
  checkCache,
  type ResolvedCache,
  type ResolvedRoute,
  type RouteOptions,
  resolveCache,
  resolveRoute,
} from './options.ts'
import {
  type CachedResponse,
  type CacheRequest,
  makeResponse,
  partsOfRequest,
  type ResponseInit,
  showEntry,
} from './programmatic.ts'
import { admit, type Call, forbidsStoring, routeName, type Visit, variantKey } from './visit.ts'

/** A value over a synchronous backend, a promise over an asynchronous one. */
export type Answer<Sync extends boolean, V> = Sync extends true ? V : Promise<V>

/** What became of a request's look-up, and what its driver does now. */
export type Finding =
  | {
      readonly kind: 'hit'
      readonly entry: Entry
      readonly now: number
      readonly age: number
      readonly cacheStatus: string
    }
  | { readonly kind: 'run'; readonly run: Run }
  | { readonly kind: 'pass'; readonly trace: Trace; readonly cacheStatus: string }

/** One run of a handler whose response may be stored. */
export interface Run {
  readonly visit: Visit
  readonly parts: KeyParts
  readonly primary: string
  /** The key that was looked up. */
  readonly key: string
  /** The invalidation clock before the handler ran. */
  readonly stamp: number
  readonly startedAt: number
  readonly forward: Forward
  flight: Flight<Run, Waiting, Entry> | undefined
  /** Tags, as the backend knows them. */
  readonly tags: Set<string>
  /** Tags that the response will probably have, for those who come while it is computed. */
  readonly expectedTags: Set<string>
  /** The options that count: of the request's own layer, refined by inner ones. */
  route: ResolvedRoute
  /** Calls a function among them for the layer in which it stands. */
  call: Call
  /** Whether responses under this key were of no use lately, so that the request is not changed for the sake of storing. */
  readonly isGrounded: boolean
  ttl: number | undefined
  isSkipped: boolean
  isOver: boolean
  /** The handler has changed its mind after its answer was stored, or while it is on its way into the store. */
  isRetracted: boolean
}

interface Waiting {
  readonly parts: KeyParts
  readonly primary: string
  readonly key: string
  readonly visit: Visit
  readonly stamp: number
}

/** Whether a response whose head is known will be stored, and what Cache-Status says of it. */
export type Decision =
  | {
      readonly store: true
      readonly lifetime: number
      readonly initialAge: number
      readonly vary: readonly string[]
      readonly cacheStatus: string
    }
  | { readonly store: false; readonly reason: string; readonly cacheStatus: string }

// The Vary names of so many request keys are remembered, and so many characters of them; where they are forgotten, a request misses once.
const VARYING_KEYS = { max: 10_000, maxSize: 2_000_000, sizeCalculation: (_: unknown, key: string) => key.length + 100 }

const namespaces = new WeakMap<TagBackend, Set<string>>()

/**
 * A cache of HTTP responses that carry tags. Over a synchronous backend its methods give values, over an asynchronous
 * one promises. Make one with `createCache`, or take the one that `tagcache()` of an adapter hands out.
 */
export class Cache<T extends string = string, Sync extends boolean = boolean> {
  readonly #backend: TagBackend
  readonly #guard: Guard
  readonly #options: ResolvedCache
  readonly #flights: Flights<Run, Waiting, Entry>
  readonly #varying = new LRUCache<string, readonly string[]>(VARYING_KEYS)
  readonly #listeners = new Map<CacheListener, CacheEvent['type'] | undefined>()
  readonly #counters = new Counters()
  readonly #warned = new Set<string>()
  /** What every entry carries where the backend is shared. */
  readonly #implicitTags: readonly string[]
  #isClosed = false

  /** @internal */
  constructor(options: CacheOptions<never> = {}) {
    checkCache(options)
    this.#backend = options.backend ?? memory(options.time ? { time: options.time } : {})
    this.#options = resolveCache(options, this.#backend.maxBodySize)
    const { backendTimeout: timeout, backendPause: pause, time } = this.#options
    this.#guard = new Guard(
      this.#backend,
      { timeout, pause, time },
      {
        fault: (operation, error) => this.#emit({ type: 'fault', operation, error }),
        state: (state) => this.#emit({ type: 'backend', state }),
      },
    )
    this.#flights = new Flights(time)
    const { namespace } = this.#options
    this.#implicitTags = namespace === undefined ? [] : [`${namespace}|everything`]
    this.#takeNamespace()
    this.#backend.onRemoval?.((removal) => this.#emit({ type: 'removal', ...removal }))
  }

  // ——— What a request goes through ———

  /** @internal Options of a route over those of the cache, or over an outer layer's. Throws where a static tag is none. */
  route(options: RouteOptions<never>, base: ResolvedRoute = this.#options.route): ResolvedRoute {
    return resolveRoute(options, base)
  }

  /**
   * @internal The first look: is there an answer, is one being computed, or is it for the handler?
   * @param onWait given the way to stop waiting, when the request begins to wait for another's response
   */
  look(visit: Visit, onWait: (leave: () => void) => void): MaybePromise<Finding> {
    const admission = admit(visit, this.#options.namespace, this.#warn)
    if (!admission.admitted) return this.#pass(visit, admission.forward, admission.reason)
    if (this.#isClosed) return this.#pass(visit, 'bypass', 'closed')
    const { parts, primary } = admission
    const key = this.#fullKey(visit, parts, primary)
    return chain(this.#guard.lookup(key), (found) => {
      if (!found) return this.#pass(visit, 'bypass', 'backend')
      const now = this.now()
      const state = judgeEntry(found, key, now)
      if (state === 'fresh') return this.#hit(visit, found.entry!, now, false)
      const forward = state === 'stale' ? 'stale' : key === primary ? 'uri-miss' : 'vary-miss'
      // Layers below may change the request's fields: what varies is what the client has sent.
      const asSent = { ...visit, headers: { ...visit.headers } }
      return this.#compute({ visit: asSent, parts, primary, key, stamp: found.clock }, forward, onWait)
    })
  }

  /** @internal Judges a run's response when its head is known. What is of no use to others lets them go at once. */
  decide(run: Run, head: ResponseHead): Decision {
    const { ttl: routeTtl, statuses } = run.route
    const policy = { ownTtl: run.ttl, routeTtl, defaultTtl: this.#options.defaultTtl, statuses }
    const storability = judgeStorage(head, policy, this.now())
    const reason = run.isSkipped ? 'skip' : storability.storable ? this.#collectTags(run) : storability.reason
    if (reason !== undefined || !storability.storable) return this.decline(run, reason ?? 'skip')
    const { lifetime, initialAge, vary } = storability
    return { store: true, lifetime, initialAge, vary, cacheStatus: this.#forwardStatus(run.forward, { stored: true }) }
  }

  /** @internal A response of no use to others: those who wait run for themselves, and the next ones do not wait at all. */
  decline(run: Run, reason: string): Decision {
    if (run.flight) {
      this.#flights.ground(run.flight.key)
      this.#flights.land(run.flight, () => undefined)
    }
    return { store: false, reason, cacheStatus: this.#forwardStatus(run.forward, { detail: reason }) }
  }

  /** @internal The response is complete: store it, and answer those who waited for it. */
  land(run: Run, decision: Decision & { store: true }, response: StoredResponse): MaybePromise<void> {
    if (run.isOver) return
    if (run.isSkipped) {
      this.decline(run, 'skip')
      return this.abandon(run, 'skip')
    }
    this.#learnVary(run.primary, decision.vary)
    const entry = this.#entryOf(run, decision, response)
    this.#flights.clear(run.key)
    run.isOver = true
    return chain(this.#guard.store(entry, entry.lifetime), (stored) => {
      if (run.isRetracted) void this.#guard.delete(entry.key)
      if (stored) this.#trace(run, { stored, cost: entry.cost, ttl: entry.lifetime })
      else void chain(this.#whyNotKept(entry), (reason) => this.#trace(run, { stored, reason }))
      return this.#serveWaiters(run, entry)
    })
  }

  /** @internal The run gave nothing to keep: those who wait for it run for themselves. */
  abandon(run: Run, reason: string): void {
    if (run.isOver) return
    run.isOver = true
    if (run.flight) this.#flights.land(run.flight, () => undefined)
    this.#trace(run, { stored: false, reason })
  }

  /** @internal An inner layer takes the request over: the run leaves no record, and its key does not gather requests any more. */
  release(run: Run): void {
    if (run.isOver) return
    run.isOver = true
    if (!run.flight) return
    this.#flights.ground(run.flight.key)
    this.#flights.land(run.flight, () => undefined)
  }

  /** @internal Leaves the record of a request that went past the cache. */
  record(trace: Trace): void {
    this.#emit({ type: 'trace', ...trace })
  }

  /** @internal What Cache-Status says of a run whose response is not stored for that reason. */
  statusOf(run: Run, reason: string): string {
    return this.#forwardStatus(run.forward, { detail: reason })
  }

  /** @internal Adds tags to a run. Throws `ERR_TAGCACHE_TAG`. */
  addTags(run: Run, tags: TagList): void {
    for (const name of namesCarried(tags)) run.tags.add(this.#tagKey(name))
  }

  /** @internal What the handler says of its response came too late: nothing of the run is kept. */
  retract(run: Run): void {
    run.isRetracted = true
    void this.#guard.delete(this.#fullKey(run.visit, run.parts, run.primary))
  }

  /** @internal Lets an inner layer's options count for a run that an outer one began. */
  refine(run: Run, route: ResolvedRoute, call: Call): void {
    run.route = route
    run.call = call
    this.#expectTags(run)
  }

  /** @internal A purge after a write: of those tags, or of everything. A closed cache has nothing left to purge. */
  purge(tags: TagList | 'everything'): MaybePromise<void> {
    if (this.#isClosed) return
    return tags === 'everything' ? this.#clear() : this.#invalidate(namesPurged(tags))
  }

  /** @internal The time that counts for this cache, in epoch milliseconds. */
  now(): number {
    return this.#options.time.now()
  }

  /** @internal Calls `run` once, in so many milliseconds; what it returns calls that off. */
  after(milliseconds: number, run: () => void): () => void {
    return this.#options.time.after(milliseconds, run)
  }

  /** @internal */
  warn(code: WarningCode, route?: string, error?: unknown): void {
    this.#warn(code, route, error)
  }

  // ——— For everybody ———

  /** The key of a request, as `'GET /products/:id?id=42&page=2'`. Different requests have different keys. */
  keyFromRequest(route: string, request: CacheRequest = {}): string {
    const parts = partsOfRequest(route, request, this.#options.namespace)
    return this.#fullKey({ headers: request.headers ?? {} }, parts, encodeKey(parts))
  }

  /** The name under which the backend knows a tag, as `'tag/product:42'`. Throws `ERR_TAGCACHE_TAG`. */
  keyFromTag(tag: Tag<T>): string {
    return this.#tagKey(namesPurged(tag as TagList)[0]!)
  }

  /** The valid response for a request, or undefined. Its body is a copy. */
  getByRequest(route: string, request: CacheRequest = {}): Answer<Sync, CachedResponse | undefined> {
    this.#checkOpen()
    const key = this.keyFromRequest(route, request)
    return this.#answer(
      chain(this.#guard.lookup(key), (found) => {
        const now = this.now()
        return found && judgeEntry(found, key, now) === 'fresh' ? showEntry(found.entry!, now) : undefined
      }),
    )
  }

  /** The newest valid response that carries any of the tags, or undefined. Throws `ERR_TAGCACHE_TAG`. */
  getByTags(tags: TagList<T>): Answer<Sync, CachedResponse | undefined> {
    this.#checkOpen()
    const names = namesPurged(tags as TagList).map((name) => this.#tagKey(name))
    return this.#answer(
      names.reduce<MaybePromise<CachedResponse | undefined>>(
        (newest, name) =>
          chain(newest, (best) =>
            chain(this.#newestWith(name, 1), (found) => (best && (!found || found.time <= best.time) ? best : found)),
          ),
        undefined,
      ),
    )
  }

  /**
   * Stores a response.
   * @param ttl how long it is fresh; seconds, or text with a unit. Default: the cache's `ttl`. 0 stores nothing.
   * @param stamp what `stamp()` said before the response was computed. Default: now, for a response that was not computed from data that may have changed meanwhile.
   * @returns whether it is kept. Throws `ERR_TAGCACHE_TTL`, `ERR_TAGCACHE_TAG`, `ERR_TAGCACHE_RESPONSE`.
   */
  set(
    route: string,
    request: CacheRequest,
    tags: TagList<T>,
    response: ResponseInit,
    ttl?: Duration,
    stamp?: number,
  ): Answer<Sync, boolean> {
    this.#checkOpen()
    const lifetime = ttl === undefined ? this.#options.defaultTtl : durationOf('ttl', ttl, 'ERR_TAGCACHE_TTL')
    const names = [...this.#implicitTags, ...namesCarried(tags as TagList).map((name) => this.#tagKey(name))]
    const { stored, vary } = makeResponse(response)
    if (lifetime === 0) return this.#answer(false)
    const parts = partsOfRequest(route, request, this.#options.namespace)
    const primary = encodeKey(parts)
    this.#learnVary(primary, vary)
    const key = this.#fullKey({ headers: request.headers ?? {} }, parts, primary)
    const time = this.now()
    const clock = stamp === undefined ? this.#guard.clock() : stamp
    return this.#answer(
      chain(clock, (stamp) => {
        if (stamp === undefined) return false
        return this.#guard.store(
          { key, tags: names, stamp, time, initialAge: 0, lifetime, cost: 0, response: stored },
          lifetime,
        )
      }),
    )
  }

  /** The invalidation clock now, for `set`: take it before you read what the response is computed from. */
  stamp(): Answer<Sync, number> {
    this.#checkOpen()
    return this.#answer(chain(this.#guard.clock(), (clock) => clock ?? 0))
  }

  /** Purges every response that carries any of the tags, stored or still being computed. Throws `ERR_TAGCACHE_TAG`. */
  invalidateTags(tags: TagList<T>): Answer<Sync, void> {
    this.#checkOpen()
    return this.#answer(this.#invalidate(namesPurged(tags as TagList)))
  }

  /** Forgets the response for one request; answers whether there was one. A computation of it goes on, and may be stored. */
  delete(route: string, request: CacheRequest = {}): Answer<Sync, boolean> {
    this.#checkOpen()
    return this.#answer(this.#guard.delete(this.keyFromRequest(route, request)))
  }

  /** Purges everything, stored or still being computed. */
  clear(): Answer<Sync, void> {
    this.#checkOpen()
    return this.#answer(this.#clear())
  }

  /** Has `listener` told every event, or those of one type. Returns the way to end that. */
  on(listener: CacheListener): () => void
  on<E extends CacheEvent['type']>(type: E, listener: (event: Extract<CacheEvent, { type: E }>) => void): () => void
  on(first: CacheListener | CacheEvent['type'], second?: (event: never) => void): () => void {
    const told = (event: CacheEvent) => (typeof first === 'function' ? first(event) : second?.(event as never))
    this.#listeners.set(told, typeof first === 'function' ? undefined : first)
    return () => this.#listeners.delete(told)
  }

  /** What the cache has done since it was made, and what it holds now. */
  stats(): CacheStats {
    return this.#counters.read(this.#guard.size())
  }

  /** Ends the cache, and its backend when no other cache uses that: requests go to their handlers, other methods throw `ERR_TAGCACHE_CLOSED`. */
  close(): Answer<Sync, void> {
    if (this.#isClosed) return this.#answer(undefined as void)
    this.#isClosed = true
    const taken = namespaces.get(this.#backend)
    taken?.delete(this.#options.namespace ?? '')
    return this.#answer(taken && taken.size > 0 ? (undefined as void) : this.#backend.close())
  }

  // ——— The steps ———

  #hit(visit: Visit, entry: Entry, now: number, collapsed: boolean): Finding {
    const ttl = freshFor(entry, now)
    const cacheStatus = collapsed
      ? this.#forwardStatus('uri-miss', { collapsed: true })
      : formatCacheStatus(this.#options.cacheName, { hit: true, ttl: Math.floor(ttl / 1000) })
    const outcome = collapsed ? 'collapsed' : 'hit'
    this.#emit({
      type: 'trace',
      outcome,
      route: routeName(visit),
      key: entry.key,
      stored: false,
      ttl,
      cost: entry.cost,
    })
    return { kind: 'hit', entry, now, age: ageOf(entry, now), cacheStatus }
  }

  #pass(visit: Visit, forward: Forward, reason: string): Finding {
    const outcome = forward === 'bypass' || forward === 'method' ? 'bypass' : 'miss'
    const trace = { outcome, route: routeName(visit), forward, reason, stored: false } as const
    return { kind: 'pass', trace, cacheStatus: this.#forwardStatus(forward, { detail: reason }) }
  }

  #compute(waiting: Waiting, forward: Forward, onWait: (leave: () => void) => void): MaybePromise<Finding> {
    const { visit, stamp } = waiting
    // A HEAD has no body to keep; what the client forbids to store must not keep others waiting either.
    if (visit.method === 'HEAD') return this.#pass(visit, forward, 'head')
    if (forbidsStoring(visit.headers)) return this.#pass(visit, forward, 'request-no-store')
    const flight = visit.route.maxWait > 0 ? this.#flights.find(waiting.key) : undefined
    if (!flight) return { kind: 'run', run: this.#lead(waiting, forward) }
    return chain(this.#mayJoin(flight, stamp), (mayJoin) => {
      if (!mayJoin) return { kind: 'run', run: this.#lead(waiting, forward) }
      const result = this.#flights.wait(flight, waiting, visit.route.maxWait, onWait)
      return result.then((entry) => {
        if (entry) return this.#hit(visit, entry, this.now(), true)
        return { kind: 'run', run: this.#start(waiting, forward) }
      })
    })
  }

  // Whoever comes after an invalidation does not wait for what was begun before it.
  #mayJoin(flight: Flight<Run, Waiting, Entry>, stamp: number): MaybePromise<boolean> {
    const { leader } = flight
    if (leader.stamp === stamp) return true
    return chain(this.#guard.invalidatedAt([...leader.expectedTags, ...leader.tags]), (latest) => {
      return latest !== undefined && !isOutdated(leader.stamp, latest) && this.#flights.find(flight.key) === flight
    })
  }

  #lead(waiting: Waiting, forward: Forward): Run {
    const run = this.#start(waiting, forward)
    if (waiting.visit.route.maxWait > 0) run.flight = this.#flights.start(waiting.key, run)
    if (run.flight) this.#expectTags(run)
    return run
  }

  #start({ visit, parts, primary, key, stamp }: Waiting, forward: Forward): Run {
    return {
      visit,
      parts,
      primary,
      key,
      stamp,
      startedAt: this.now(),
      forward,
      tags: new Set(this.#implicitTags),
      expectedTags: new Set(this.#implicitTags),
      flight: undefined,
      isGrounded: this.#flights.isGrounded(key),
      route: visit.route,
      call: visit.call,
      ttl: undefined,
      isSkipped: false,
      isOver: false,
      isRetracted: false,
    }
  }

  // Most tag functions look at the request alone. Others fail here, or say something else later: then that counts.
  #expectTags(run: Run): void {
    try {
      for (const name of this.#askTags(run)) run.expectedTags.add(name)
    } catch {}
  }

  #askTags(run: Run): string[] {
    return run.route.tags.flatMap((source) => {
      const tags = typeof source === 'function' ? (run.call(source) as TagList) : source
      if (tags instanceof Promise) tags.catch(() => {})
      return namesCarried(tags).map((name) => this.#tagKey(name))
    })
  }

  /** The reason why the tags are not known, if they are not. */
  #collectTags(run: Run): string | undefined {
    try {
      for (const name of this.#askTags(run)) run.tags.add(name)
      return undefined
    } catch (error) {
      this.#warn('TAGCACHE_TAGS_FAILED', routeName(run.visit), error)
      return 'tags-failed'
    }
  }

  #entryOf(run: Run, decision: Decision & { store: true }, response: StoredResponse): Entry {
    const time = this.now()
    return {
      key: this.#fullKey(run.visit, run.parts, run.primary),
      tags: [...run.tags],
      stamp: run.stamp,
      time,
      initialAge: decision.initialAge,
      lifetime: decision.lifetime,
      cost: time - run.startedAt,
      response,
    }
  }

  #whyNotKept(entry: Entry): MaybePromise<'backend' | 'outdated' | 'not-kept'> {
    return chain(this.#guard.invalidatedAt(entry.tags), (latest) => {
      if (latest === undefined) return 'backend'
      return isOutdated(entry.stamp, latest) ? 'outdated' : 'not-kept'
    })
  }

  // A waiter that saw the leader's clock is served in any case; a later one only if no tag was invalidated in between.
  #serveWaiters(run: Run, entry: Entry): MaybePromise<void> {
    const { flight } = run
    if (!flight) return
    if (flight.waiters.size === 0) return this.#flights.land(flight, () => undefined)
    return chain(this.#guard.invalidatedAt(entry.tags), (latest) => {
      const isCurrent = latest !== undefined && !isOutdated(run.stamp, latest)
      this.#flights.land(flight, (waiting) => {
        const isTheirs = this.#fullKey(waiting.visit, waiting.parts, waiting.primary) === entry.key
        return isTheirs && (isCurrent || waiting.stamp === run.stamp) ? entry : undefined
      })
    })
  }

  #fullKey(visit: Pick<Visit, 'headers'>, parts: KeyParts, primary: string): string {
    const names = this.#varying.get(primary)
    return names === undefined ? primary : variantKey(parts, names, visit.headers)
  }

  #learnVary(primary: string, names: readonly string[]): void {
    const known = this.#varying.get(primary) ?? []
    if (names.some((name) => !known.includes(name))) this.#varying.set(primary, mergeNames(known, names))
  }

  #newestWith(tag: string, limit: number): MaybePromise<CachedResponse | undefined> {
    return chain(this.#guard.list(tag, limit), (found) => {
      const now = this.now()
      const valid = found?.find((lookup) => lookup.entry && judgeEntry(lookup, lookup.entry.key, now) === 'fresh')
      if (valid) return showEntry(valid.entry!, now)
      return found && found.length === limit ? this.#newestWith(tag, limit * 8) : undefined
    })
  }

  #invalidate(names: readonly string[]): MaybePromise<void> {
    if (names.length === 0) return
    const taken = this.#guard.invalidate(names.map((name) => this.#tagKey(name)))
    return chain(taken, () => this.#emit({ type: 'invalidation', tags: names }))
  }

  #clear(): MaybePromise<void> {
    // Others that share the backend keep what is theirs.
    const cleared = this.#implicitTags.length > 0 ? this.#guard.invalidate(this.#implicitTags) : this.#guard.clear()
    return chain(cleared, () => this.#emit({ type: 'clear' }))
  }

  #tagKey(name: string): string {
    const { namespace } = this.#options
    return namespace === undefined ? `tag/${name}` : `${namespace}|tag/${name}`
  }

  #forwardStatus(forward: Forward, more: { stored?: boolean; collapsed?: boolean; detail?: string }): string {
    return formatCacheStatus(this.#options.cacheName, { hit: false, forward, ...more })
  }

  #trace(run: Run, more: Pick<Trace, 'stored' | 'reason' | 'ttl' | 'cost'>): void {
    const { visit, forward, primary } = run
    this.#emit({ type: 'trace', outcome: 'miss', route: routeName(visit), key: primary, forward, ...more })
  }

  readonly #warn = (code: WarningCode, route?: string, error?: unknown): void => {
    const message = explainWarning(code)
    this.#emit({
      type: 'warning',
      code,
      message,
      ...(route === undefined ? {} : { route }),
      ...(error === undefined ? {} : { error }),
    })
    const once = `${code} ${route}`
    if (this.#warned.has(once) || this.#warned.size > 1000) return
    this.#warned.add(once)
    process.emitWarning(`${message}${route === undefined ? '' : ` Route: ${route}.`}`, {
      type: 'TagcacheWarning',
      code,
    })
  }

  #emit(event: CacheEvent): void {
    this.#counters.count(event)
    for (const [listener, type] of this.#listeners) {
      if (type !== undefined && type !== event.type) continue
      try {
        listener(event)
      } catch (error) {
        this.#listeners.delete(listener)
        this.#warn('TAGCACHE_LISTENER_FAILED', undefined, error)
      }
    }
  }

  #answer<V>(value: MaybePromise<V>): Answer<Sync, V> {
    return (this.#backend.sync ? value : Promise.resolve(value)) as Answer<Sync, V>
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new TagcacheError('ERR_TAGCACHE_CLOSED', 'This cache was closed; make another one.')
  }

  #takeNamespace(): void {
    const namespace = this.#options.namespace ?? ''
    const taken = namespaces.get(this.#backend) ?? new Set()
    if (taken.has(namespace)) {
      throw new TagcacheError(
        'ERR_TAGCACHE_NAMESPACE_TAKEN',
        `Another cache uses ${namespace === '' ? 'this backend without a namespace' : `namespace "${namespace}" of this backend`}. Hand that cache to tagcache() to share it, or give this one a namespace of its own.`,
      )
    }
    namespaces.set(this.#backend, taken.add(namespace))
  }
}

/** What a found entry is worth now. An outdated one is as good as none. */
function judgeEntry({ entry, invalidatedAt }: Lookup, key: string, now: number): 'fresh' | 'stale' | 'none' {
  if (!entry || entry.key !== key || isOutdated(entry.stamp, invalidatedAt)) return 'none'
  return freshFor(entry, now) > 0 ? 'fresh' : 'stale'
}
