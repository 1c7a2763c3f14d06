import type { Lookup } from './backends/backend.ts'
import type { Guard } from './backends/guard.ts'
import { Backoff } from './core/backoff.ts'
import {
  ageOf,
  type Entry,
  fieldsOf,
  fieldValue,
  freshFor,
  type HeaderField,
  type StoredResponse,
} from './core/entry.ts'
import { type Flight, Flights } from './core/flights.ts'
import type { KeyParts } from './core/key.ts'
import { chain, isPromise, type MaybePromise } from './core/maybe.ts'
import { completedResponse, missingRange, rangeWithin, storedPart } from './core/partial.ts'
import { renewedResponse } from './core/renewal.ts'
import { isOutdated, namesCarried, namesPurged, type TagList } from './core/tags.ts'
import type { Trace } from './core/trace.ts'
import { uriName } from './core/uri.ts'
import { type Place, type Seeker, Variants } from './core/variants.ts'
import type { WarningCode } from './errors.ts'
import type { Events } from './events.ts'
import { parseGroups } from './http/cache-groups.ts'
import { type Forward, formatCacheStatus, type Handling } from './http/cache-status.ts'
import { formatDate } from './http/date.ts'
import { combined, type Fields } from './http/fields.ts'
import { explicitLifetime, sayingsOf } from './http/freshness.ts'
import { parseSearchVariance } from './http/no-vary-search.ts'
import { isFailure, judgeStorage, type ResponseHead, type Storability, type Terms } from './http/policy.ts'
import { forbidsStoring, judgeReuse, type Wishes, wishesOf } from './http/reuse.ts'
import { formatTags, TAG_FIELDS } from './http/tag-fields.ts'
import type { ResolvedCache } from './options/cache.ts'
import { type ResolvedRoute, type RouteOptions, resolveRoute } from './options/route.ts'
import { admit, type Call, isAuthorized, isByteRange, routeName, type Visit } from './visit.ts'

/** What became of a request's look-up, and what its driver does now. */
export type Finding =
  /** Answer with the entry; and make a new one in the background where there is a `refresh`. */
  | {
      readonly kind: 'hit'
      readonly entry: Entry
      readonly now: number
      readonly age: number
      readonly cacheStatus: string
      readonly tagging: Tagging | undefined
      readonly refresh: Run | undefined
    }
  /** Have the handler run, and record its response. */
  | { readonly kind: 'run'; readonly run: Run }
  /** Have the handler run, and record nothing. */
  | { readonly kind: 'pass'; readonly trace: Trace; readonly cacheStatus: string }
  /** Answer 504: the client takes nothing but what is stored (RFC 9111, 5.2.1.7). */
  | { readonly kind: 'refuse'; readonly trace: Trace; readonly cacheStatus: string }
  /** Have the missing part made in the background, and go on with what comes of it. */
  | { readonly kind: 'complete'; readonly refresh: Run; readonly result: Promise<Finding> }
  /** Let the request pass without a trace: it is one of ours, on its way to another layer. */
  | { readonly kind: 'ignore' }

/** One run of a handler whose response may be stored. */
export interface Run {
  /** The request: the client's, or the one that was made for a refresh. */
  visit: Visit
  readonly parts: KeyParts
  readonly place: Place
  /** The key that was looked up. */
  readonly key: string
  /** The invalidation clock before the handler ran. */
  stamp: number
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
  /** Of no use to others: it asks for a part, or for no body. */
  readonly isSolo: boolean
  /** What is stored and not valid as it is: the handler is asked whether it is still good. */
  readonly stored: Entry | undefined
  /** Whether what is stored may take the place of an error. A purge ends that. */
  mayReplaceError: boolean
  /** Made in the background, for no client. */
  readonly isRefresh: boolean
  /** What a refresh asks for to complete what is stored, and who waits for the whole. */
  readonly completion: { readonly range: string; readonly client: Waiting } | undefined
  /** Done when the head is known, before it is judged. */
  prelude: ((status: number, fields: Fields) => unknown) | undefined
  ttl: number | undefined
  isSkipped: boolean
  isOver: boolean
  /** The handler has changed its mind after its answer was stored, or while it is on its way into the store. */
  isRetracted: boolean
}

interface Waiting {
  readonly parts: KeyParts
  readonly place: Place
  readonly visit: Visit
  readonly stamp: number
  readonly stored: Entry | undefined
  readonly mayReplaceError: boolean
}

/** Whether a response whose head is known will be stored, and what Cache-Status says of it. */
export type Decision =
  | {
      readonly store: true
      readonly terms: Terms
      readonly keep: number
      readonly vary: readonly string[]
      readonly cacheStatus: string
    }
  | { readonly store: false; readonly reason: string; readonly cacheStatus: string }

/** What a client gets in the place of the handler's answer: what was stored, renewed by a 304 or instead of an error. */
export interface Substitution {
  readonly entry: Entry
  readonly now: number
  readonly age: number
  readonly cacheStatus: string
  /** What is done about the entry: kept as renewed; dropped, since the 304 forbids keeping it; or left as it is. */
  readonly fate:
    | { readonly kind: 'renew'; readonly keep: number }
    | { readonly kind: 'drop'; readonly reason: string }
    | { readonly kind: 'leave' }
}

/** What clients are told of the tags of a response: fields that are taken away, and then fields that are set. */
export interface Tagging {
  readonly remove: readonly string[]
  readonly set: readonly (readonly [name: string, value: string])[]
}

/** What the layers below have done to a response, as far as it is judged. */
export interface Below {
  readonly headers: readonly HeaderField[]
  readonly removed: readonly string[]
  readonly fields: Fields
  readonly outerSayings: Pick<ResponseHead, 'outerCacheControl' | 'outerVary'>
}

/** The story of a request: from the first look to the last record. */
export class Flow {
  readonly #guard: Guard
  readonly #options: ResolvedCache
  readonly #events: Events
  readonly #flights: Flights<Run, Waiting, Entry>
  readonly #variants: Variants
  readonly #backoff: Backoff
  /** Runs whose error what is stored may replace, until it is purged. */
  readonly #replaceable = new Set<Run>()
  /** What every entry carries where the backend is shared. */
  readonly #implicitTags: readonly string[]
  #isClosed = false

  constructor(guard: Guard, options: ResolvedCache, events: Events) {
    this.#guard = guard
    this.#options = options
    this.#events = events
    this.#flights = new Flights(options.time)
    this.#variants = new Variants(options.time)
    this.#backoff = new Backoff(options.time)
    this.#implicitTags = options.namespace === undefined ? [] : [`${options.namespace}|everything`]
  }

  /** Options of a route over those of the cache, or over an outer layer's. Throws where a static tag is none. */
  route(options: RouteOptions<never>, base: ResolvedRoute = this.#options.route): ResolvedRoute {
    return resolveRoute(options, base)
  }

  /** The time that counts for this cache, in epoch milliseconds. */
  now(): number {
    return this.#options.time.now()
  }

  /** Calls `run` once, in so many milliseconds; what it returns calls that off. */
  after(milliseconds: number, run: () => void): () => void {
    return this.#options.time.after(milliseconds, run)
  }

  warn(code: WarningCode, route?: string, error?: unknown): void {
    this.#events.warn(code, route, error)
  }

  /** Leaves the record of a request that went past the cache. */
  record(trace: Trace): void {
    this.#events.emit({ type: 'trace', ...trace })
  }

  /** Sends every request to its handler from now on. */
  close(): void {
    this.#isClosed = true
  }

  // ——— The look-up ———

  /**
   * The first look: is there an answer, is one being computed, or is it for the handler?
   * @param onWait given the way to stop waiting, when the request begins to wait for another's response
   */
  look(visit: Visit, onWait: (leave: () => void) => void): MaybePromise<Finding> {
    const admission = admit(visit, this.#options.namespace, this.#events.warn)
    if (!admission.admitted) return this.#pass(visit, admission.forward, admission.reason)
    if (this.#isClosed) return this.#pass(visit, 'bypass', 'closed')
    const { parts } = admission
    const place = this.#variants.locate(seekerOf(visit, parts))
    return chain(this.#guard.lookup(place.key), (found) => {
      if (!found) return this.#pass(visit, 'bypass', 'backend')
      return this.#judge(visit, parts, place, found, onWait)
    })
  }

  /** The look of a request that was made for a refresh: it finds its run, once, at the layer that has started it. */
  resume(visit: Visit, run: Run): Finding {
    const admission = admit(visit, this.#options.namespace, this.#events.warn)
    if (!admission.admitted || run.isOver) return { kind: 'ignore' }
    if (this.#variants.locate(seekerOf(visit, admission.parts)).key !== run.key) return { kind: 'ignore' }
    run.visit = asSent(visit)
    this.refine(run, visit.route, visit.call)
    return { kind: 'run', run }
  }

  #judge(
    visit: Visit,
    parts: KeyParts,
    place: Place,
    found: Lookup,
    onWait: (leave: () => void) => void,
  ): MaybePromise<Finding> {
    const now = this.now()
    const { route, headers } = visit
    const entry = usable(found, place, visit, now)
    const wishes = route.requestDirectives ? wishesOf(headers) : undefined
    const waiting = { visit, parts, place, stamp: found.clock, stored: undefined, mayReplaceError: false }
    if (!entry) {
      const beginning = route.storePartial ? beginningOf(found, place, visit) : undefined
      if (beginning) return this.#complete({ ...waiting, stored: beginning }, onWait)
      const forward = place.key === place.primary ? 'uri-miss' : 'vary-miss'
      return this.#compute(waiting, forward, wishes, onWait)
    }
    const left = freshFor(entry, now)
    const isFresh = left > 0
    const state = { freshFor: left, age: ageOf(entry, now) }
    const reuse = judgeReuse(entry, state, wishes, !isFresh && entry.staleWhileRevalidate > 0 && visit.canRefresh())
    if (reuse.kind === 'fresh') {
      const isDue = route.earlyRefresh > 0 && this.#isDueEarly(entry, left, route.earlyRefresh) && visit.canRefresh()
      return this.#hit(visit, entry, now, isDue ? { refresh: this.#startRefresh({ ...waiting, stored: entry }) } : {})
    }
    if (reuse.kind === 'stale') {
      const isWhile = reuse.reason === 'stale-while-revalidate'
      const refresh = isWhile ? this.#startRefresh({ ...waiting, stored: entry }) : undefined
      return this.#hit(visit, entry, now, { stale: reuse.reason, refresh })
    }
    // While the handler fails, not everybody has to find that out anew.
    if (reuse.mayReplaceError && this.#backoff.isResting(place.key)) {
      return this.#hit(visit, entry, now, { stale: 'stale-if-error' })
    }
    const { mayReplaceError, forward } = reuse
    return this.#compute({ ...waiting, stored: entry, mayReplaceError }, forward, wishes, onWait)
  }

  // Popular responses are made anew before they become stale, by one of those who ask, each with a chance that grows
  // with the time that the handler takes (Vattani and others, "Optimal probabilistic cache stampede prevention", 2015).
  #isDueEarly({ cost }: Entry, left: number, eagerness: number): boolean {
    return cost * eagerness * -Math.log(this.#options.random()) >= left
  }

  #hit(
    visit: Visit,
    entry: Entry,
    now: number,
    { stale, refresh, isCollapsed = false }: { stale?: string; refresh?: Run | undefined; isCollapsed?: boolean },
  ): Finding {
    const ttl = freshFor(entry, now)
    const cacheStatus = isCollapsed
      ? this.#status({ hit: false, forward: 'uri-miss', collapsed: true })
      : this.#status({ hit: true, ttl: Math.floor(ttl / 1000), ...(stale === undefined ? {} : { detail: stale }) })
    this.#events.emit({
      type: 'trace',
      outcome: isCollapsed ? 'collapsed' : stale === undefined ? 'hit' : 'stale',
      route: routeName(visit),
      key: entry.key,
      ...(stale === undefined ? {} : { reason: stale }),
      stored: false,
      ttl,
      cost: entry.cost,
    })
    const tagging = visit.route.tagField === undefined ? undefined : this.taggingOf(visit.route, entry.tags)
    return { kind: 'hit', entry, now, age: ageOf(entry, now), cacheStatus, tagging, refresh }
  }

  #pass(visit: Visit, forward: Forward, reason: string): Finding {
    const outcome = forward === 'bypass' || forward === 'method' ? 'bypass' : 'miss'
    const trace = { outcome, route: routeName(visit), forward, reason, stored: false } as const
    return { kind: 'pass', trace, cacheStatus: this.#status({ hit: false, forward, detail: reason }) }
  }

  #refuse(visit: Visit): Finding {
    const reason = 'only-if-cached'
    const trace = { outcome: 'bypass', route: routeName(visit), reason, stored: false } as const
    return { kind: 'refuse', trace, cacheStatus: this.#status({ hit: false, forward: undefined, detail: reason }) }
  }

  // ——— Computing ———

  #compute(
    given: Waiting,
    forward: Forward,
    wishes: Wishes | undefined,
    onWait: (leave: () => void) => void,
  ): MaybePromise<Finding> {
    const { visit, stamp, stored } = given
    if (wishes?.has('only-if-cached')) return this.#refuse(visit)
    // What the client forbids to store must not keep others waiting either.
    if (forbidsStoring(visit.headers)) return this.#pass(visit, forward, 'request-no-store')
    if (visit.method === 'HEAD' && !stored) return this.#pass(visit, forward, 'head')
    const waiting = { ...given, visit: asSent(visit) }
    if (isSolo(visit)) return { kind: 'run', run: this.#start(waiting, forward, { isSolo: true }) }
    const flight = visit.route.maxWait > 0 ? this.#flights.find(waiting.place.key) : undefined
    if (!flight) return { kind: 'run', run: this.#lead(waiting, forward) }
    return chain(this.#mayJoin(flight, stamp), (mayJoin) => {
      if (!mayJoin) return { kind: 'run', run: this.#lead(waiting, forward) }
      return this.#wait(flight, waiting, forward, onWait)
    })
  }

  async #wait(
    flight: Flight<Run, Waiting, Entry>,
    waiting: Waiting,
    forward: Forward,
    onWait: (leave: () => void) => void,
  ): Promise<Finding> {
    const { visit } = waiting
    const entry = await this.#flights.wait(flight, waiting, visit.route.maxWait, onWait)
    if (entry) return this.#hit(visit, entry, this.now(), { isCollapsed: true })
    return { kind: 'run', run: this.#start(waiting, forward, {}) }
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
    const run = this.#start(waiting, forward, {})
    if (waiting.visit.route.maxWait > 0) run.flight = this.#flights.start(run.key, run)
    if (run.flight) this.#expectTags(run)
    return run
  }

  #start(
    { visit, parts, place, stamp, stored, mayReplaceError }: Waiting,
    forward: Forward,
    { isSolo = false, isRefresh = false, completion }: Partial<Pick<Run, 'isSolo' | 'isRefresh' | 'completion'>>,
  ): Run {
    const run: Run = {
      visit,
      parts,
      place,
      key: place.key,
      stamp,
      startedAt: this.now(),
      forward,
      tags: new Set(this.#implicitTags),
      expectedTags: new Set(this.#implicitTags),
      flight: undefined,
      isGrounded: this.#flights.isGrounded(place.key),
      isSolo,
      stored,
      mayReplaceError,
      isRefresh,
      completion,
      prelude: undefined,
      route: visit.route,
      call: visit.call,
      ttl: undefined,
      isSkipped: false,
      isOver: false,
      isRetracted: false,
    }
    if (mayReplaceError) this.#replaceable.add(run)
    return run
  }

  // ——— In the background ———

  // One for each key, and none while the last ones failed.
  #startRefresh(waiting: Waiting, completion?: Run['completion']): Run | undefined {
    const { key } = waiting.place
    if (this.#backoff.isResting(key) || this.#flights.find(key) || this.#flights.isGrounded(key)) return undefined
    const known = { ...waiting, visit: asSent(waiting.visit), mayReplaceError: false }
    const run = this.#start(known, 'stale', { isRefresh: true, completion })
    run.flight = this.#flights.start(key, run)
    this.#expectTags(run)
    return run
  }

  // What is stored is the beginning of what is asked for: the rest is made in the background, and who asks waits for the whole.
  #complete(waiting: Waiting & { stored: Entry }, onWait: (leave: () => void) => void): MaybePromise<Finding> {
    const range = missingRange(waiting.stored.response)
    const client = { ...waiting, visit: asSent(waiting.visit), stored: undefined }
    const refresh = range === undefined ? undefined : this.#startRefresh(waiting, { range, client })
    if (!refresh?.flight) return this.#compute(client, 'uri-miss', undefined, onWait)
    return { kind: 'complete', refresh, result: this.#wait(refresh.flight, client, 'uri-miss', onWait) }
  }

  // ——— What the handler has answered ———

  /** What the client gets instead of an answer with that status, if anything. Only runs with something stored have it. */
  maySubstitute(run: Run, status: number): boolean {
    if (!run.stored || run.isOver || run.completion) return false
    return (status === 304 && validatorsOf(run.stored) !== undefined) || (run.mayReplaceError && isFailure(status))
  }

  /** What the client gets instead of the handler's answer: nothing else, or what is stored. */
  substitute(run: Run, status: number, below: Below): Substitution | undefined {
    if (!run.stored || !this.maySubstitute(run, status)) return undefined
    return status === 304 ? this.#renewal(run, run.stored, below) : this.replacement(run, status)
  }

  /** A handler has thrown, and its client gets something stored instead of an error. */
  failed(run: Run, error: unknown): void {
    this.#events.emit({ type: 'failure', route: routeName(run.visit), error })
  }

  /** What is stored, in the place of an error; undefined where it must not take it. */
  replacement(run: Run, status: number | undefined): Substitution | undefined {
    const { stored: entry } = run
    if (!entry || !run.mayReplaceError || run.isOver) return undefined
    const now = this.now()
    const cacheStatus = this.#status({
      hit: false,
      forward: run.forward,
      ...(status === undefined ? {} : { forwardStatus: status }),
      detail: 'stale-if-error',
    })
    return { entry, now, age: ageOf(entry, now), cacheStatus, fate: { kind: 'leave' } }
  }

  #renewal(run: Run, stored: Entry, below: Below): Substitution {
    const now = this.now()
    const hasDate = fieldValue(stored.response.headers, 'date') !== undefined
    const response = renewedResponse(stored.response, below, hasDate ? formatDate(now) : undefined)
    const fields = fieldsOf(response.headers, { own: true })
    const head = { status: response.status, fields, ...below.outerSayings }
    for (const tag of stored.tags) run.tags.add(tag)
    const judged = run.isSkipped ? ({ storable: false, reason: 'skip' } as const) : this.#judgeStorage(run, head)
    const reason = judged.storable ? this.#collectTags(run, fields) : judged.reason
    const isKept = judged.storable && reason === undefined
    const terms: Terms = isKept ? judged.terms : { ...stored, lifetime: 0, initialAge: 0 }
    const entry = this.#entryOf(run, stored.key, terms, response)
    const cacheStatus = this.#status({
      hit: false,
      forward: run.forward,
      forwardStatus: 304,
      ...(isKept ? { stored: true } : { detail: reason ?? 'skip' }),
    })
    const fate = isKept
      ? ({ kind: 'renew', keep: judged.keep } as const)
      : ({ kind: 'drop', reason: reason ?? 'skip' } as const)
    return { entry, now, age: ageOf(entry, now), cacheStatus, fate }
  }

  /** The client has got its substitute: what that means for the store, and for those who wait. */
  settle(run: Run, { entry, fate }: Substitution): MaybePromise<void> {
    if (run.isOver) return
    if (fate.kind === 'renew') return this.#keep(run, entry, fate.keep, 'validated')
    if (fate.kind === 'drop') {
      void this.#guard.delete(entry.key)
      return this.abandon(run, fate.reason)
    }
    this.#end(run)
    this.#backoff.fail(run.key)
    this.#trace(run, { outcome: 'stale', stored: false, reason: 'stale-if-error', cost: entry.cost })
    return this.#serveWaiters(run, entry, true)
  }

  /** Judges a run's response when its head is known. What is of no use to others lets them go at once. */
  decide(run: Run, head: ResponseHead): Decision {
    run.prelude?.(head.status, head.fields)
    const judged = this.#judgeStorage(run, head)
    const reason = run.isSkipped ? skipReason(run) : this.#reasonAgainst(run, head, judged)
    if (reason !== undefined || !judged.storable) {
      // Who waits for the whole gets it, though nobody else does.
      if (run.completion && head.status === 200) return { ...UNKEPT, cacheStatus: this.statusOf(run, reason ?? 'skip') }
      // What the handler says now is newer than what is stored, though it is not to be kept.
      if (run.stored && !run.isSolo && !isFailure(head.status)) void this.#guard.delete(run.stored.key)
      return this.decline(run, reason ?? 'skip')
    }
    if (judged.terms.lifetime <= 0) this.#letGo(run)
    const { terms, keep, vary } = judged
    const cacheStatus = this.#status({ hit: false, forward: run.forward, stored: true })
    return { store: true, terms: this.#jittered(run, terms), keep, vary, cacheStatus }
  }

  #judgeStorage(run: Run, head: ResponseHead): Storability {
    const { route, ttl, visit } = run
    const policy = {
      ...route,
      ownTtl: ttl,
      routeTtl: route.ttl,
      defaultTtl: this.#options.defaultTtl,
      isAuthorized: isAuthorized(visit),
    }
    return judgeStorage(head, policy, this.now())
  }

  #reasonAgainst(run: Run, head: ResponseHead, judged: Storability): string | undefined {
    if (!judged.storable) return judged.reason
    if (run.visit.method === 'HEAD') return 'head'
    return this.#collectTags(run, head.fields)
  }

  #jittered({ route }: Run, terms: Terms): Terms {
    if (route.jitter === 0 || terms.lifetime <= 0) return terms
    return { ...terms, lifetime: terms.lifetime * (1 - route.jitter * this.#options.random()) }
  }

  /** A response of no use to others: those who wait run for themselves, and the next ones do not wait at all. */
  decline(run: Run, reason: string): Decision {
    this.#letGo(run)
    return { store: false, reason, cacheStatus: this.statusOf(run, reason) }
  }

  #letGo({ flight }: Run): void {
    if (!flight) return
    this.#flights.ground(flight.key)
    this.#flights.land(flight, () => undefined)
  }

  /** What Cache-Status says of a run whose response is not stored for that reason. */
  statusOf(run: Run, reason: string): string {
    return this.#status({ hit: false, forward: run.forward, detail: reason })
  }

  /** The response is complete: store it, and answer those who waited for it. */
  land(run: Run, decision: Decision & { store: true }, response: StoredResponse): MaybePromise<void> {
    if (run.isOver) return
    if (run.isSkipped) {
      this.decline(run, skipReason(run))
      return this.abandon(run, skipReason(run))
    }
    const whole = wholeOf(run, response)
    if (!whole) return this.abandon(run, 'partial')
    const { forms, most } = { forms: run.route.normaliseVary, most: run.route.maxVariants }
    const seeker: Seeker = { parts: run.parts, headers: run.visit.headers, forms }
    const lodging = this.#variants.lodge(seeker, decision.vary, fieldsOf(whole.headers), most)
    for (const key of lodging.crowdedOut) void this.#guard.delete(key)
    run.tags.add(this.#uriTag(run.visit, lodging.query))
    const entry = this.#entryOf(run, lodging.key, decision.terms, whole)
    if (decision.keep > 0) return this.#keep(run, entry, decision.keep)
    this.#end(run)
    this.#trace(run, { stored: false, reason: 'unstorable' })
    return this.#serveWaiters(run, entry, false)
  }

  /** The run gave nothing to keep: those who wait for it run for themselves. */
  abandon(run: Run, reason: string): void {
    if (run.isOver) return
    this.#end(run)
    if (run.isRefresh) this.#backoff.fail(run.key)
    if (run.flight) this.#flights.land(run.flight, () => undefined)
    this.#trace(run, { stored: false, reason })
  }

  /** An inner layer takes the request over: the run leaves no record, and its key does not gather requests any more. */
  release(run: Run): void {
    if (run.isOver) return
    this.#end(run)
    this.#letGo(run)
  }

  #end(run: Run): void {
    run.isOver = true
    this.#replaceable.delete(run)
  }

  #keep(run: Run, entry: Entry, keep: number, reason?: string): MaybePromise<void> {
    if (entry.lifetime > 0) this.#flights.clear(run.key)
    this.#end(run)
    this.#backoff.succeed(run.key)
    return chain(this.#guard.store(entry, keep), (stored) => {
      if (run.isRetracted) void this.#guard.delete(entry.key)
      if (stored) {
        this.#trace(run, { stored, cost: entry.cost, ttl: entry.lifetime, ...(reason === undefined ? {} : { reason }) })
      } else void chain(this.#whyNotKept(entry), (why) => this.#trace(run, { stored, reason: why }))
      return this.#serveWaiters(run, entry, false)
    })
  }

  #entryOf(run: Run, key: string, terms: Terms, response: StoredResponse): Entry {
    const time = this.now()
    const { lifetime, initialAge, staleWhileRevalidate, staleIfError, mustRevalidate, isShared } = terms
    return {
      key,
      tags: [...run.tags],
      stamp: run.stamp,
      time,
      cost: time - run.startedAt,
      lifetime,
      initialAge,
      staleWhileRevalidate,
      staleIfError,
      mustRevalidate,
      isShared,
      response,
    }
  }

  #whyNotKept(entry: Entry): MaybePromise<'backend' | 'outdated' | 'not-kept'> {
    return chain(this.#guard.invalidatedAt(entry.tags), (latest) => {
      if (latest === undefined) return 'backend'
      return isOutdated(entry.stamp, latest) ? 'outdated' : 'not-kept'
    })
  }

  // A waiter that saw the leader's clock is served in any case; a later one only if no tag was invalidated in between. A stale
  // entry serves nobody once it is purged.
  #serveWaiters(run: Run, entry: Entry, isStale: boolean): MaybePromise<void> {
    const { flight } = run
    if (!flight) return
    const client = run.completion?.client
    const isOfUse = isStale || client !== undefined || freshFor(entry, this.now()) > 0
    if (flight.waiters.size === 0 || !isOfUse) return this.#flights.land(flight, () => undefined)
    return chain(this.#guard.invalidatedAt(entry.tags), (latest) => {
      const isCurrent = latest !== undefined && !isOutdated(entry.stamp, latest)
      const freshOrStale = isStale || freshFor(entry, this.now()) > 0
      this.#flights.land(flight, (waiting) => {
        if (waiting === client) return entry
        const { visit, parts, stamp } = waiting
        const isTheirs = this.#variants.locate(seekerOf(visit, parts)).key === entry.key && mayShare(visit, entry)
        const isSafe = isCurrent || (!isStale && stamp === run.stamp)
        return isTheirs && isSafe && freshOrStale && (!isStale || waiting.mayReplaceError) ? entry : undefined
      })
    })
  }

  // ——— Responses to POST ———

  /** A run for the response to a POST that may answer GET requests later. Nothing of it is kept unless it is adopted. */
  post(visit: Visit): Run | undefined {
    const { 'content-length': _, 'transfer-encoding': __, ...headers } = visit.headers
    const asGet = { ...visit, method: 'GET', headers }
    const admission = admit(asGet, this.#options.namespace, this.#events.warn)
    // Its stamp has to be taken between its own purge and whatever comes next: only a backend in this process can do that.
    const stamp = this.#guard.clock()
    if (!admission.admitted || typeof stamp !== 'number') return undefined
    const { parts } = admission
    const place = this.#variants.locate(seekerOf(asGet, parts))
    const waiting = { visit: asGet, parts, place, stamp, stored: undefined, mayReplaceError: false }
    const run = this.#start(waiting, 'method', { isSolo: true })
    run.isSkipped = true
    return run
  }

  /** Purges what a POST made wrong, and then lets its own response be kept, if nothing that it was made of was purged meanwhile. */
  adopt(run: Run, fields: Fields, tags: TagList, uris: readonly string[]): MaybePromise<void> {
    const hasLifetime = explicitLifetime(fields, sayingsOf(fields, run.route.targetedFields), this.now()) !== undefined
    const isKnown = this.#collectTags(run, fields) === undefined
    const latest = this.#guard.invalidatedAt([...run.tags, this.#uriTag(run.visit, run.place.query)])
    const isCurrent = typeof latest === 'number' && !isOutdated(run.stamp, latest)
    const purging = this.purge(tags, uris)
    const stamp = this.#guard.clock()
    if (hasLifetime && isKnown && isCurrent && !isPromise(purging) && typeof stamp === 'number') {
      run.stamp = stamp
      run.isSkipped = false
    }
    return purging
  }

  // ——— What handlers and layers say of a run ———

  /** Adds tags to a run. Throws `ERR_TAGCACHE_TAG`. */
  addTags(run: Run, tags: TagList): void {
    for (const name of namesCarried(tags)) run.tags.add(this.tagKey(name))
  }

  /** What the handler says of its response came too late: nothing of the run is kept. */
  retract(run: Run): void {
    run.isRetracted = true
    void this.#guard.delete(this.#variants.locate(seekerOf(run.visit, run.parts)).key)
  }

  /** Lets an inner layer's options count for a run that an outer one began. */
  refine(run: Run, route: ResolvedRoute, call: Call): void {
    run.route = route
    run.call = call
    this.#expectTags(run)
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
      return namesCarried(tags).map((name) => this.tagKey(name))
    })
  }

  /** Takes down the tags, those of the response's own field (RFC 9875, 2) among them; or gives the reason why they are not known. */
  #collectTags(run: Run, fields: Fields): string | undefined {
    try {
      for (const name of this.#askTags(run)) run.tags.add(name)
      if (fields['cache-groups'] !== undefined) this.addTags(run, parseGroups(combined(fields, 'cache-groups')))
      return undefined
    } catch (error) {
      this.#events.warn('TAGCACHE_TAGS_FAILED', routeName(run.visit), error)
      return 'tags-failed'
    }
  }

  // ——— Purging ———

  /** Purges everything that carries one of those tags, or answers for one of those URIs (`core/uri`). A closed cache has nothing left to purge. */
  purge(tags: TagList, uris: readonly string[] = []): MaybePromise<void> {
    const names = namesPurged(tags)
    if (this.#isClosed || names.length + uris.length === 0) return
    const keys = [...names.map((name) => this.tagKey(name)), ...uris.map((uri) => this.#implicitKey(uri))]
    this.#forbidReplacing((tag) => keys.includes(tag))
    return chain(this.#guard.invalidate(keys), () => this.#events.emit({ type: 'invalidation', tags: names, uris }))
  }

  /** Purges everything. Others that share the backend keep what is theirs. */
  purgeEverything(): MaybePromise<void> {
    if (this.#isClosed) return
    this.#forbidReplacing(() => true)
    const cleared = this.#implicitTags.length > 0 ? this.#guard.invalidate(this.#implicitTags) : this.#guard.clear()
    return chain(cleared, () => this.#events.emit({ type: 'clear' }))
  }

  // A purged response is never served stale, also by those who found it before.
  #forbidReplacing(isPurged: (tag: string) => boolean): void {
    for (const run of this.#replaceable) {
      if (!run.stored || (run.stored.tags.length > 0 && !run.stored.tags.some(isPurged))) continue
      run.mayReplaceError = false
      this.#replaceable.delete(run)
    }
  }

  /** The name under which the backend knows a tag. */
  tagKey(name: string): string {
    return this.#implicitKey(`tag/${name}`)
  }

  /** How clients are told the tags of a response, where its route says so. */
  taggingOf({ tagField }: ResolvedRoute, tags: Iterable<string>): Tagging | undefined {
    if (tagField === undefined) return undefined
    const names = tagField === false ? [] : this.#tagNames(tags)
    const value = tagField === false ? undefined : formatTags(tagField, names)
    if (names.length > 0 && value === undefined) this.#events.warn('TAGCACHE_TAGS_TOO_LONG')
    return { remove: TAG_FIELDS, set: tagField === false || value === undefined ? [] : [[tagField, value]] }
  }

  // The names that users know, of tags that the backend knows.
  #tagNames(tags: Iterable<string>): string[] {
    const prefix = this.tagKey('')
    return [...tags].filter((tag) => tag.startsWith(prefix)).map((tag) => tag.slice(prefix.length))
  }

  #implicitKey(name: string): string {
    const { namespace } = this.#options
    return namespace === undefined ? name : `${namespace}|${name}`
  }

  #uriTag({ target, route }: Visit, query: readonly string[]): string {
    const sent = target.original
    const path = sent === undefined ? target.path : sent.split('?', 1)[0]!
    return this.#implicitKey(uriName(route.host === true ? target.host : undefined, path, query))
  }

  // ——— For the cache's own methods ———

  /** The key under which the response to a request is looked for. */
  keyOf(parts: KeyParts, headers: Fields): string {
    return this.#variants.locate({ parts, headers, forms: this.#options.route.normaliseVary }).key
  }

  /** Where a response is kept that was handed in, learning from it what varies. */
  lodge(parts: KeyParts, headers: Fields, vary: readonly string[], response: Fields): string {
    const { normaliseVary: forms, maxVariants } = this.#options.route
    const lodging = this.#variants.lodge({ parts, headers, forms }, vary, response, maxVariants)
    for (const key of lodging.crowdedOut) void this.#guard.delete(key)
    return lodging.key
  }

  get implicitTags(): readonly string[] {
    return this.#implicitTags
  }

  // ——— Records ———

  #status(handling: Handling): string {
    return formatCacheStatus(this.#options.cacheName, handling)
  }

  #trace(run: Run, more: Pick<Trace, 'stored' | 'reason' | 'ttl' | 'cost'> & { outcome?: Trace['outcome'] }): void {
    const { visit, forward, place, isRefresh, startedAt } = run
    const { stored, reason } = more
    const route = routeName(visit)
    if (isRefresh) {
      const cost = this.now() - startedAt
      this.#events.emit({
        type: 'refresh',
        route,
        key: place.primary,
        stored,
        cost,
        ...(stored || !reason ? {} : { reason }),
      })
    } else if (forward === 'method' && !stored) {
      this.#events.emit({ type: 'trace', outcome: 'bypass', route, forward, stored, reason: 'method' })
    } else this.#events.emit({ type: 'trace', outcome: 'miss', route, key: place.primary, forward, ...more })
  }
}

// A response that is recorded for one client, and not kept.
const UNKEPT = {
  store: true,
  keep: 0,
  vary: [],
  terms: {
    lifetime: 0,
    initialAge: 0,
    staleWhileRevalidate: 0,
    staleIfError: 0,
    mustRevalidate: true,
    isShared: false,
  },
} as const

function seekerOf({ headers, route }: Visit, parts: KeyParts): Seeker {
  return { parts, headers, forms: route.normaliseVary }
}

// Layers below may change the request's fields: what varies is what the client has sent.
function asSent(visit: Visit): Visit {
  return { ...visit, headers: { ...visit.headers } }
}

function isSolo({ method, headers }: Visit): boolean {
  return method === 'HEAD' || (method === 'GET' && isByteRange(headers))
}

/** The validators that a handler gave, which it can be asked about; what the cache has added itself says nothing to it. */
export function validatorsOf({ response }: Entry): { etag?: string; modified?: string } | undefined {
  const own = response.headers.filter(({ isDefault }) => !isDefault)
  const [etag] = [fieldValue(own, 'etag') ?? []].flat()
  const [modified] = [fieldValue(own, 'last-modified') ?? []].flat()
  if (etag === undefined && modified === undefined) return undefined
  return { ...(etag === undefined ? {} : { etag }), ...(modified === undefined ? {} : { modified }) }
}

/** Whether what was found is the entry of that key, and not purged. */
export function isValid({ entry, invalidatedAt }: Lookup, key: string): boolean {
  return entry !== undefined && entry.key === key && !isOutdated(entry.stamp, invalidatedAt)
}

/** The entry that may be used for this request, fresh or stale. */
function usable(found: Lookup, place: Place, visit: Visit, now: number): Entry | undefined {
  const { entry } = found
  if (!entry || !isValid(found, place.key) || !mayShare(visit, entry)) return undefined
  // Parts of the query are left out only where the response itself says that they do not count.
  if (place.variance && !agrees(place.variance.text, entry)) return undefined
  if (entry.response.status === 206 && !rangeWithin(entry.response, visit.headers, now)) return undefined
  return entry
}

/** A stored part that is the beginning of what is asked for as a whole, where the rest can be made in the background. */
function beginningOf(found: Lookup, place: Place, visit: Visit): Entry | undefined {
  const { entry } = found
  if (!entry || !isValid(found, place.key) || !mayShare(visit, entry) || place.variance) return undefined
  const isWhole = visit.method === 'GET' && visit.headers.range === undefined
  return isWhole && missingRange(entry.response) !== undefined && visit.canRefresh() ? entry : undefined
}

function agrees(variance: string, { response }: Entry): boolean {
  const stated = combined({ stated: fieldValue(response.headers, 'no-vary-search') }, 'stated')
  return parseSearchVariance(stated)?.text === variance
}

function mayShare(visit: Visit, entry: Entry): boolean {
  return entry.isShared || !isAuthorized(visit)
}

// The response to a POST is not stored unless it says that it may be.
function skipReason({ forward }: Run): string {
  return forward === 'method' ? 'method' : 'skip'
}

// A part is kept only where it is what it says; one that was asked for to complete another, only as the whole.
function wholeOf({ stored, completion }: Run, response: StoredResponse): StoredResponse | undefined {
  if (response.status !== 206) return response
  if (!storedPart(response)) return undefined
  return completion && stored ? completedResponse(stored.response, response) : response
}
