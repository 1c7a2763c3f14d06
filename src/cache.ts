import type { IncomingMessage } from 'node:http'
import type { Lookup, TagBackend } from './backends/backend.ts'
import { Guard } from './backends/guard.ts'
import { fileJournal } from './backends/journal.ts'
import { memory } from './backends/memory.ts'
import { nameOf } from './channels.ts'
import { fieldsOf, freshFor } from './core/entry.ts'
import { type Comparison, compare, type Explanation } from './core/explanation.ts'
import { encodeKey } from './core/key.ts'
import { Log } from './core/log.ts'
import { chain, type MaybePromise } from './core/maybe.ts'
import { namesCarried, namesPurged, type Tag, type TagList, tagsOfAll } from './core/tags.ts'
import type { CacheEvent, CacheListener, CacheStats } from './core/trace.ts'
import { type Duration, durationOf } from './core/values.ts'
import { TagcacheError } from './errors.ts'
import { Events } from './events.ts'
import { Fleet, type FleetStats } from './fleet.ts'
import { Flow } from './flow/flow.ts'
import { type PurgeOptions, purge, purgeEverything, purgeRoute } from './flow/purge.ts'
import { isFor, isValid } from './flow/usable.ts'
import { type CacheOptions, checkCache, isInProduction, type ResolvedCache, resolveCache } from './options/cache.ts'
import {
  type CachedResponse,
  type CacheRequest,
  makeResponse,
  partsOfRequest,
  type ResponseInit,
  showEntry,
} from './programmatic.ts'

export type { PurgeOptions } from './flow/purge.ts'

/** A value over a synchronous backend, a promise over an asynchronous one. */
export type Answer<Sync extends boolean, V> = Sync extends true ? V : Promise<V>

/** A request to be explained. */
export type ExplainRequest =
  | string
  | URL
  | Request
  | IncomingMessage
  | {
      readonly url: string
      readonly method?: string
      readonly headers?: Readonly<Record<string, string | readonly string[] | undefined>>
      readonly body?: string | Uint8Array
    }

/** How a request is explained. */
export interface ExplainOptions {
  /** The application that is asked: of Express or Koa, a request listener, or a server. Default: those whose requests were seen. */
  readonly app?: object
  /**
   * Whether requests are handed to it that might write, such as a POST to a route that caches those. Where such a request does
   * not come to a `cached()`, its handler runs. Default `false`.
   */
  readonly mayWrite?: boolean
}

const namespaces = new WeakMap<TagBackend, Set<string>>()

/**
 * A cache of HTTP responses that carry tags. Over a synchronous backend its methods give values, over an asynchronous one
 * promises. Make one with `createCache`, or take the one that `tagcache()` of an adapter hands out.
 */
export class Cache<T extends string = string, Sync extends boolean = boolean> {
  /** @internal What requests go through. */
  readonly flow: Flow
  readonly #backend: TagBackend
  readonly #guard: Guard
  readonly #options: ResolvedCache
  readonly #events: Events
  readonly #journal: ReturnType<typeof fileJournal> | undefined
  readonly #fleet: Fleet
  #isClosed = false

  /** @internal */
  constructor(options: CacheOptions<never> = {}) {
    checkCache(options)
    this.#backend = options.backend ?? memory(options.time ? { time: options.time } : {})
    this.#options = resolveCache(options, this.#backend.maxBodySize)
    this.#events = eventsOf(this.#options)
    const { backendTimeout: timeout, backendPause: pause, time } = this.#options
    const { namespace } = this.#options
    const everything = namespace === undefined ? undefined : tagsOfAll(namespace)
    if (options.debug === true && isInProduction()) this.#events.warn('TAGCACHE_DEBUG_IN_PRODUCTION')
    this.#takeNamespace()
    this.#journal = this.#openJournal(options.journal)
    this.#guard = new Guard(
      this.#backend,
      { timeout, pause, time, journal: this.#journal, everything, work: this.#events.work },
      {
        fault: (operation, error) => this.#events.emit({ type: 'fault', operation, error }),
        state: (state) => this.#events.emit({ type: 'backend', state }),
      },
    )
    this.flow = new Flow(this.#guard, this.#options, this.#events)
    const { publishEvery: every } = this.#options
    this.#fleet = new Fleet(this.#guard, { namespace, every, time }, () => this.stats())
    this.#backend.onRemoval?.((removal) => {
      // What leaves a near tier is still in the other one.
      if (!this.#backend.glance) this.flow.departed.note(removal)
      this.#events.emit({ type: 'removal', ...removal })
    })
    this.#backend.onTrust?.((isTrusted) =>
      this.#events.emit({ type: 'backend', state: isTrusted ? 'near-trusted' : 'near-lost' }),
    )
    this.#backend.onWarning?.((code, error) => this.#events.warn(code, undefined, error))
  }

  /** The key of a request, as `'GET /products/:id?id=42&page=2'`. Different requests have different keys. */
  keyFromRequest(route: string, request: CacheRequest = {}): string {
    const parts = partsOfRequest(route, request, this.#options.namespace)
    return this.flow.locate(this.#seeker(request), parts)?.key ?? encodeKey(parts)
  }

  /** The name under which the backend knows a tag, as `'tag/product:42'`. Throws `ERR_TAGCACHE_TAG`. */
  keyFromTag(tag: Tag<T>): string {
    return this.flow.tagKey(namesPurged(tag as TagList)[0]!)
  }

  /** The valid response for a request, or undefined. Its body is a copy. */
  getByRequest(route: string, request: CacheRequest = {}): Answer<Sync, CachedResponse | undefined> {
    this.#checkOpen()
    const place = this.flow.locate(this.#seeker(request), partsOfRequest(route, request, this.#options.namespace))
    if (!place) return this.#answer<CachedResponse | undefined>(undefined)
    return this.#answer(
      chain(this.#guard.lookup(place.key), (found) => {
        const now = this.flow.now()
        if (!found?.entry || !isFresh(found, place.key, now) || !isFor(place, found.entry)) return undefined
        return showEntry(found.entry, now)
      }),
    )
  }

  /** The newest valid response that carries any of the tags, or undefined. Throws `ERR_TAGCACHE_TAG`. */
  getByTags(tags: TagList<T>): Answer<Sync, CachedResponse | undefined> {
    this.#checkOpen()
    const names = namesPurged(tags as TagList).map((name) => this.flow.tagKey(name))
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
    const parts = partsOfRequest(route, request, this.#options.namespace)
    const own = namesCarried(tags as TagList).map((name) => this.flow.tagKey(name))
    const names = [...this.flow.implicitTags, this.flow.routeTag(route), ...own]
    const { stored, vary } = makeResponse(response)
    if (lifetime === 0) return this.#answer(false)
    const key = this.flow.lodge(parts, request.headers ?? {}, vary, fieldsOf(stored.headers))?.key
    if (key === undefined) return this.#answer(false)
    const time = this.flow.now()
    const clock = stamp === undefined ? this.#guard.clock(key) : stamp
    return this.#answer(
      chain(clock, (stamp) => {
        if (stamp === undefined) return false
        const entry = { key, tags: names, stamp, time, ...NEVER_STALE, lifetime, cost: 0, response: stored }
        return chain(this.#guard.store(entry, lifetime), (isKept) => {
          if (isKept) this.#events.ofRoute(route).stores += 1
          return isKept
        })
      }),
    )
  }

  /**
   * The invalidation clock now, for `set`: take it before you read what the response is computed from. A backend with several
   * clocks (Redis Cluster) has to be told what it is for: give it the same route and request as `set`.
   */
  stamp(route?: string, request: CacheRequest = {}): Answer<Sync, number> {
    this.#checkOpen()
    const key = route === undefined ? undefined : this.keyFromRequest(route, request)
    return this.#answer(chain(this.#guard.clock(key), (clock) => clock ?? 0))
  }

  /**
   * Purges every response that carries any of the tags, stored or still being computed. Answers whether the backend has
   * taken it; where it has not, it is kept and delivered later, and nothing stored earlier is trusted here until then.
   * Throws `ERR_TAGCACHE_TAG`.
   */
  invalidateTags(tags: TagList<T>, options: PurgeOptions = {}): Answer<Sync, boolean> {
    this.#checkOpen()
    return this.#answer(purge(this.flow, tags as TagList, [], options))
  }

  /** Purges every response of a route by its name, as `'GET /products/:id'`; else as `invalidateTags` does. Throws `ERR_TAGCACHE_REQUEST`. */
  invalidateRoute(route: string, options: PurgeOptions = {}): Answer<Sync, boolean> {
    this.#checkOpen()
    if (typeof route !== 'string' || route === '')
      throw new TagcacheError('ERR_TAGCACHE_REQUEST', 'A route is purged by its name, such as "GET /products/:id".')
    return this.#answer(purgeRoute(this.flow, route, options))
  }

  /** Forgets the response for one request; answers whether there was one. A computation of it goes on, and may be stored. */
  delete(route: string, request: CacheRequest = {}): Answer<Sync, boolean> {
    this.#checkOpen()
    return this.#answer(this.#guard.delete(this.keyFromRequest(route, request)))
  }

  /** Purges everything, stored or still being computed. Answers whether the backend has taken it, as `invalidateTags` does. */
  clear(options: PurgeOptions = {}): Answer<Sync, boolean> {
    this.#checkOpen()
    return this.#answer(purgeEverything(this.flow, options))
  }

  /** Has `listener` told every event, or those of one type. Returns the way to end that. */
  on(listener: CacheListener): () => void
  on<E extends CacheEvent['type']>(type: E, listener: (event: Extract<CacheEvent, { type: E }>) => void): () => void
  on(first: CacheListener | CacheEvent['type'], second?: (event: never) => void): () => void {
    const told = (event: CacheEvent) => (typeof first === 'function' ? first(event) : second?.(event as never))
    return this.#events.listen(told, typeof first === 'function' ? undefined : first)
  }

  /**
   * What would become of a request now, and why: the parts of its key, the options that count, what is stored, and the decision.
   * A request like it is handed to the application, whose layers above the `cached()` run, and no handler behind it; GET and
   * HEAD are, others with `mayWrite`. Takes a request of node:http or of fetch, a URL, a path, or `{ url, method, headers, body }`;
   * a path is asked for at the host of the last request that was not answered from the cache. Throws `ERR_TAGCACHE_EXPLAIN`.
   */
  explain(request: ExplainRequest, options?: ExplainOptions): Promise<Explanation>
  /** The same of two requests, and in what their keys differ first. */
  explain(request: ExplainRequest, other: ExplainRequest, options?: ExplainOptions): Promise<Comparison>
  async explain(
    request: ExplainRequest,
    other?: ExplainRequest | ExplainOptions,
    options?: ExplainOptions,
  ): Promise<Explanation | Comparison> {
    const isPair = typeof other === 'string' || other instanceof URL || (other !== undefined && 'url' in other)
    const how = (isPair ? options : (other as ExplainOptions | undefined)) ?? {}
    const first = await this.#explainOne(request, how)
    return isPair ? compare(first, await this.#explainOne(other, how)) : first
  }

  #explainOne(request: unknown, how: ExplainOptions): Promise<Explanation> {
    if (this.flow.ask) return this.flow.ask(request, how)
    const message = 'A cache without a framework has no application to ask: hand it to tagcache() of an adapter.'
    throw new TagcacheError('ERR_TAGCACHE_EXPLAIN', message)
  }

  /** What the cache has done since it was made, and what it holds now. */
  stats(): CacheStats {
    return this.#events.stats({ ...this.#guard.size(), backend: this.#guard.health() })
  }

  /** What all processes have done that share the backend and publish their numbers (`publishStats`), and this one. */
  fleetStats(): Promise<FleetStats> {
    return this.#fleet.read()
  }

  /** Ends the cache, and its backend when no other cache uses that: requests go to their handlers, other methods throw `ERR_TAGCACHE_CLOSED`. */
  close(): Answer<Sync, void> {
    if (this.#isClosed) return this.#answer(undefined as void)
    this.#isClosed = true
    this.flow.isClosed = true
    this.flow.encoding.clear()
    this.#fleet.close()
    for (const end of this.flow.onClose) end()
    return this.#answer(
      chain(this.#guard.close(), () => {
        this.#journal?.close()
        this.#events.log?.close()
        const taken = namespaces.get(this.#backend)
        taken?.delete(this.#options.namespace ?? '')
        if (taken && taken.size > 0) return
        this.flow.isOver = true
        return this.#backend.close()
      }),
    )
  }

  #openJournal(path: string | undefined): ReturnType<typeof fileJournal> | undefined {
    try {
      return path === undefined ? undefined : fileJournal(path)
    } catch (error) {
      namespaces.get(this.#backend)?.delete(this.#options.namespace ?? '')
      throw error
    }
  }

  #seeker({ headers = {} }: CacheRequest) {
    return { headers, route: this.#options.route }
  }

  #newestWith(tag: string, limit: number): MaybePromise<CachedResponse | undefined> {
    return chain(this.#guard.list(tag, limit), (found) => {
      const now = this.flow.now()
      const valid = found?.find((lookup) => lookup.entry && isFresh(lookup, lookup.entry.key, now))
      if (valid) return showEntry(valid.entry!, now)
      return found && found.length === limit ? this.#newestWith(tag, limit * 8) : undefined
    })
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

// What is handed in has the lifetime that is given for it, and no other use.
const NEVER_STALE = {
  initialAge: 0,
  staleWhileRevalidate: 0,
  staleIfError: 0,
  mustRevalidate: false,
  isShared: false,
} as const

function eventsOf({ cacheName, namespace, logger, time }: ResolvedCache): Events {
  const source = { cacheName, namespace }
  return new Events(source, time.now(), logger && new Log(logger, nameOf(source), time))
}

function isFresh(found: Lookup, key: string, now: number): boolean {
  return isValid(found, key) && found.entry!.response.status !== 206 && freshFor(found.entry!, now) > 0
}
