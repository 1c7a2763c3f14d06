import { LRUCache } from 'lru-cache'
import type { Guard } from '../backends/guard.ts'
import { Backoff } from '../core/backoff.ts'
import { Departed, REMEMBERED } from '../core/departed.ts'
import type { Entry } from '../core/entry.ts'
import type { Explanation } from '../core/explanation.ts'
import { Flights } from '../core/flights.ts'
import type { KeyParts } from '../core/key.ts'
import { Queue } from '../core/queue.ts'
import type { Reason } from '../core/reasons.ts'
import { tagsOfAll } from '../core/tags.ts'
import type { Trace } from '../core/trace.ts'
import { routeTagName } from '../core/uri.ts'
import { type Place, Variants } from '../core/variants.ts'
import type { WarningCode } from '../errors.ts'
import type { Events } from '../events.ts'
import { formatCacheStatus, type Handling, HitStatuses } from '../http/cache-status.ts'
import type { Fields } from '../http/fields.ts'
import type { ResolvedCache } from '../options/cache.ts'
import { checkFront, type ResolvedRoute, type RouteOptions, resolveRoute } from '../options/route.ts'
import type { Visit } from '../visit.ts'
import { FrontMemory } from './front.ts'
import type { Run, Waiting } from './run.ts'

// Each takes one of the four threads that Node has for files, names and hashes too; a body that waits is kept meanwhile.
const MOST_ENCODED_AT_ONCE = 2
const MOST_TO_ENCODE = 1000

/** How an application is asked what would become of a request. */
export interface AskOptions {
  /** The one that is asked. Default: those that are known. */
  readonly app?: unknown
  /** Whether requests are handed to it that might write. Default `false`. */
  readonly mayWrite?: boolean | undefined
}

/** What the steps of a request share: the backend behind its guard, what is under way, what is known, and who is told. */
export class Flow {
  readonly flights: Flights<Run, Waiting, Entry>
  readonly variants: Variants
  /** Why entries have left, where their backend tells. */
  readonly departed = new Departed()
  /** Why the last response for a key without variants was not kept. */
  readonly refused = new LRUCache<string, Reason>(REMEMBERED)
  /** Keys of which no refresh is tried for a while. */
  readonly backoff: Backoff
  /** Keys whose handler failed lately. */
  readonly failing: Backoff
  /** Bodies of which encodings are made. */
  readonly encoding = new Queue(MOST_ENCODED_AT_ONCE, MOST_TO_ENCODE)
  /** Paths at which a layer was come to inside another one. */
  readonly nested = new LRUCache<string, true>({ max: 1000 })
  /** Runs whose error what is stored may replace, until it is purged. */
  readonly replaceable = new Set<Run>()
  /** What every entry carries where the backend is shared. */
  readonly implicitTags: readonly string[]
  /** What Cache-Status says of hits. */
  readonly hitStatuses: HitStatuses
  /** What is known of requests before an application has them; undefined where nobody stands there. */
  front: FrontMemory | undefined
  /** Told when the cache is closed. */
  readonly onClose = new Set<() => void>()
  // Routes are what an application mounts: their names are made once.
  readonly #routeTags = new LRUCache<string, string>({ max: 1000 })
  /** Whether a route says that it must not be answered there: then what an outer layer says does not count for all below. */
  hasExceptions = false
  /** The methods that some route caches. */
  readonly methods = new Set<string>()
  /** Whether it is known to which application requests go. */
  hasApplication = false
  /** Asks what would become of a request, where there is an adapter. */
  ask: ((request: unknown, options: AskOptions) => Promise<Explanation>) | undefined
  /** Every request goes to its handler. */
  isClosed = false
  /** The backend is closed as well: there is nothing left to purge. */
  isOver = false

  constructor(
    readonly guard: Guard,
    readonly options: ResolvedCache,
    readonly events: Events,
  ) {
    this.flights = new Flights(options.time)
    this.variants = new Variants(options.time)
    this.backoff = new Backoff(options.time)
    this.failing = new Backoff(options.time)
    this.hitStatuses = new HitStatuses(options.cacheName)
    this.implicitTags = options.namespace === undefined ? [] : tagsOfAll(options.namespace)
  }

  /** Options of a route over those of the cache, or over an outer layer's. Throws where a static tag is none. */
  route(options: RouteOptions<never>, base: ResolvedRoute = this.options.route): ResolvedRoute {
    return resolveRoute(options, base)
  }

  /** Options of a route where it is made; there what it can never be answered with is refused. */
  makeRoute(options: RouteOptions<never>): ResolvedRoute {
    const route = this.route(options)
    checkFront(options, route)
    if (options.front === false) this.hasExceptions = true
    for (const method of route.methods) this.methods.add(method)
    return route
  }

  /** Has it answered in front of applications too. */
  openFront(): FrontMemory {
    this.front ??= new FrontMemory(this.options.time)
    return this.front
  }

  /** The time that counts for this cache, in epoch milliseconds. */
  now(): number {
    return this.options.time.now()
  }

  /** Calls `run` once, in so many milliseconds; what it returns calls that off. */
  after(milliseconds: number, run: () => void): () => void {
    return this.options.time.after(milliseconds, run)
  }

  warn(code: WarningCode, route?: string, error?: unknown): void {
    this.events.warn(code, route, error)
  }

  /** Leaves the record of a request. */
  record(trace: Trace): void {
    this.events.emit({ type: 'trace', ...trace })
  }

  /** What Cache-Status says, in this cache's name. */
  status(handling: Handling & { readonly detail?: Reason }): string {
    return formatCacheStatus(this.options.cacheName, handling)
  }

  /** The name under which the backend knows a tag. */
  tagKey(name: string): string {
    return this.backendName(`tag/${name}`)
  }

  /** What every entry of a route carries, as the backend knows it. */
  routeTag(route: string): string {
    const known = this.#routeTags.get(route)
    if (known !== undefined) return known
    const tag = this.backendName(routeTagName(route))
    this.#routeTags.set(route, tag)
    return tag
  }

  /** Anything that entries carry, as the backend knows it: apart from what is carried in other namespaces. */
  backendName(name: string): string {
    const { namespace } = this.options
    return namespace === undefined ? name : `${namespace}|${name}`
  }

  /** The names that users know, of tags that the backend knows. */
  tagNames(tags: Iterable<string>): string[] {
    const prefix = this.tagKey('')
    return [...tags].filter((tag) => tag.startsWith(prefix)).map((tag) => tag.slice(prefix.length))
  }

  /** Where the response to a request is looked for; undefined where a `normaliseVary` function fails. */
  locate({ headers, route }: Pick<Visit, 'headers' | 'route'>, parts: KeyParts): Place | undefined {
    return this.#try(parts, () => this.variants.locate({ parts, headers, forms: route.normaliseVary }))
  }

  /** Where a response is kept, or undefined; the variants that it crowds out are forgotten. */
  lodge(parts: KeyParts, headers: Fields, vary: readonly string[], response: Fields, route = this.options.route) {
    const { normaliseVary: forms, maxVariants } = route
    const lodging = this.#try(parts, () => this.variants.lodge({ parts, headers, forms }, vary, response, maxVariants))
    for (const key of lodging?.crowdedOut ?? []) void this.guard.delete(key)
    return lodging
  }

  /** Where the response to a request is looked for, now that it is known to vary on those fields. */
  relocate(visit: Pick<Visit, 'headers' | 'route'>, parts: KeyParts, vary: readonly string[]): Place | undefined {
    const { headers, route } = visit
    return this.#try(parts, () => {
      const seeker = { parts, headers, forms: route.normaliseVary }
      this.variants.teach(seeker, vary)
      return this.variants.locate(seeker)
    })
  }

  #try<V>({ route }: KeyParts, act: () => V): V | undefined {
    try {
      return act()
    } catch (error) {
      this.warn('TAGCACHE_OPTION_FAILED', route, error)
      return undefined
    }
  }
}
