import type { TagList } from '../core/tags.ts'
import { badValue, checkOptions, countOf, type Duration, durationOf, sizeOf } from '../core/values.ts'
import type { TagField } from '../http/cache-groups.ts'
import type { Coding } from '../http/compression.ts'
import type { VaryForms } from '../http/vary.ts'
import type { Normalisation, Selection, TagSource } from './checks.ts'
import {
  booleanOf,
  type Compression,
  coalescingOf,
  compressionOf,
  eagernessOf,
  fieldNamesOf,
  functionOf,
  jitterOf,
  methodsOf,
  nameOf,
  oneOf,
  optionalDuration,
  selectionOf,
  statusesOf,
  tagsOf,
  varyFormsOf,
} from './checks.ts'

export type { Normalisation, Selection, TagSource } from './checks.ts'

/**
 * How the responses of a route are cached.
 * @typeParam Args what the functions among the options are called with: `[req, res]`, or `[ctx]` under Koa
 */
export interface RouteOptions<Args extends readonly unknown[] = readonly unknown[], T extends string = string> {
  /** How long a response is fresh, whatever its headers say. Default: what the response says (RFC 9111, 4.2.1), else the cache's `ttl`. 0 stores nothing. */
  ttl?: Duration
  /** What the responses are made of: purging one of these tags purges them. A function is asked when the response is known. Default: none. */
  tags?: TagList<T> | ((...args: Args) => TagList<T>)
  /** The route name, under which responses are kept. Default: method and mounted route pattern, or method and path where there is no route. */
  name?: string
  /** Which parts of the query belong to the key. Default `true`. */
  query?: Selection
  /** Which route parameters belong to the key. Default `true`. */
  params?: Selection
  /** Request fields that the responses depend on, beside those that they name in `Vary` themselves. Default: none. */
  vary?: string | readonly string[]
  /** How values of request fields are compared that responses vary on, by field name; `*` is for those not named. Default: as sent; of `Accept-Encoding` what it means. */
  normaliseVary?: Readonly<Record<string, Normalisation>>
  /** How many variants of one response are kept, by what it varies on; the oldest leave first. Default 100. */
  maxVariants?: number
  /**
   * Who may share a response: everybody (`'public'`); the principal that the function gives; or, with `'explicit'`, of those who
   * send `Authorization` whoever RFC 9111, 3.5 lets, by what the response says (`public`, `must-revalidate`, `s-maxage`), while
   * those with `Cookie` bypass the cache; with `'rfc9111'` the same, and cookies do not count.
   * Default: everybody, but requests with `Authorization` or `Cookie` bypass the cache.
   */
  scope?: 'public' | 'explicit' | 'rfc9111' | ((...args: Args) => string | number | null | undefined)
  /** Whether the host belongs to the key, or a function that gives what stands for it. Default `true`. */
  host?: boolean | ((...args: Args) => string)
  /** The methods that are cached. Others than GET and HEAD need a `key`. Default `['GET', 'HEAD']`. */
  methods?: readonly string[]
  /** The statuses stored without a lifetime of their own. Default `[200, 203, 204, 301, 308]`. */
  statuses?: readonly number[]
  /** The largest body stored, in bytes or as `'1mb'`. Default, and at most, what the backend takes. */
  maxBodySize?: number | string
  /** Gives what takes the place of parameters and query in the key; undefined bypasses the cache. */
  key?: (...args: Args) => string | undefined
  /** Whether the cache is used, or a function that says so for each request. Default `true`. */
  enabled?: boolean | ((...args: Args) => boolean)
  /** Whether clients are told `no-cache`, with an `ETag`, where the response says nothing about caching: they ask each time, since they cannot be purged. Default `true`. */
  clientCacheControl?: boolean
  /**
   * Whether requests for a response that is being computed wait for it, and how long at the most before they compute it
   * themselves. `'cluster'`: also those of other processes that share the backend, where it has leases, as `redis()` does.
   * Default `{ maxWait: '10s', within: 'process' }`.
   */
  coalesce?: boolean | 'cluster' | { readonly maxWait?: Duration; readonly within?: 'process' | 'cluster' }
  /** How long a stale response is served at once while a new one is made in the background (RFC 5861, 3). Default: what the response says. */
  staleWhileRevalidate?: Duration
  /** How long a stale response is served where the handler fails: it throws, or answers 500, 502, 503 or 504 (RFC 5861, 4). Default: what the response says. */
  staleIfError?: Duration
  /** How long a response with an `ETag` or `Last-Modified` of its own is kept past its lifetime, so that the handler can say it is still good. Default `'1h'`. */
  keepStale?: Duration
  /** Whether popular responses are made anew in the background shortly before they become stale, each time by chance, the likelier the longer the handler takes. A number is how eagerly; `true` is 1. Default `false`. */
  earlyRefresh?: boolean | number
  /** The share of the lifetime by which it is shortened at the most, by chance, so that what was stored together does not become stale together: from 0 to below 1. Default 0. */
  jitter?: number
  /** Whether a lifetime is estimated from `Last-Modified` where nothing gives one (RFC 9111, 4.2.2). Default `false`. */
  heuristic?: boolean
  /** Whether clients may ask for fresher or staler responses with `Cache-Control` and `Pragma` (RFC 9111, 5.2.1). Default `false`: they cannot make the handler run; `no-store` is kept to in any case. */
  requestDirectives?: boolean
  /** Fields in which a response speaks to this cache instead of in `Cache-Control` (RFC 9213), the most specific first, such as `['Tagcache-Cache-Control']`. Default: none. */
  targetedFields?: string | readonly string[]
  /** Whether responses with `Set-Cookie` are stored, and the cookie set for everybody. Default `false`. */
  storeSetCookie?: boolean
  /** Whether the response to a POST that names its own URI in `Content-Location`, with a lifetime, answers GET requests for it (RFC 9110, 9.3.3). Default `false`. */
  storePost?: boolean
  /** Whether parts (206) are stored to answer requests for ranges within them, and completed when the whole is asked for (RFC 9111, 3.3). Default `false`. */
  storePartial?: boolean
  /**
   * Whether compressible bodies are stored in content codings as well, and sent in the one that a client accepts: `br` and
   * `gzip`, and `zstd` where Node has it, of those of `threshold` bytes or more. They are made once, after the response was
   * stored. Default `false`; `true` is `{ threshold: '1kb', codings: ['br', 'zstd', 'gzip'] }`.
   */
  compress?: boolean | { readonly threshold?: number | string; readonly codings?: readonly Coding[] }
  /** The field in which clients, or a CDN, are told the tags of a response; `false` takes away what the handler said in any of the three. Default: what the handler said is left alone. */
  tagField?: TagField | false
  /**
   * Whether hits may be answered by `front(app)`, before the application sees the request: what stands around the route (authentication
   * by anything but `Authorization` and `Cookie`, CORS, rate limits, logs) is skipped then. Not together with functions that look at the
   * request: `scope`, `host`, `key`, `enabled`. Default `false`.
   */
  front?: boolean
}

/** A route's options with everything decided: times in milliseconds, names in lower case. */
export interface ResolvedRoute {
  readonly ttl: number | undefined
  /** What says the tags: the route's own, and those of the layers around it. */
  readonly tags: readonly TagSource[]
  readonly name: string | undefined
  readonly query: Selection
  readonly params: Selection
  readonly vary: readonly string[]
  readonly normaliseVary: VaryForms
  readonly maxVariants: number
  readonly scope: 'public' | 'explicit' | 'rfc9111' | ((...args: never[]) => unknown) | undefined
  readonly host: boolean | ((...args: never[]) => unknown)
  readonly methods: ReadonlySet<string>
  readonly statuses: ReadonlySet<number>
  readonly maxBodySize: number
  readonly key: ((...args: never[]) => unknown) | undefined
  readonly enabled: boolean | ((...args: never[]) => unknown)
  readonly clientCacheControl: boolean
  /** How long a request waits for another's response, or 0: not at all. */
  readonly maxWait: number
  /** Whether it waits for other processes too. */
  readonly isClusterWide: boolean
  readonly staleWhileRevalidate: number | undefined
  readonly staleIfError: number | undefined
  readonly keepStale: number
  /** How eagerly responses are made anew before they become stale, or 0: not at all. */
  readonly earlyRefresh: number
  readonly jitter: number
  readonly heuristic: boolean
  readonly requestDirectives: boolean
  readonly targetedFields: readonly string[]
  readonly storeSetCookie: boolean
  readonly storePost: boolean
  readonly storePartial: boolean
  /** What is made of compressible bodies; undefined for nothing. */
  readonly compress: Compression | undefined
  readonly tagField: TagField | false | undefined
  readonly front: boolean
}

export const ROUTE_OPTIONS = [
  'ttl',
  'tags',
  'name',
  'query',
  'params',
  'vary',
  'normaliseVary',
  'maxVariants',
  'scope',
  'host',
  'methods',
  'statuses',
  'maxBodySize',
  'key',
  'enabled',
  'clientCacheControl',
  'coalesce',
  'staleWhileRevalidate',
  'staleIfError',
  'keepStale',
  'earlyRefresh',
  'jitter',
  'heuristic',
  'requestDirectives',
  'targetedFields',
  'storeSetCookie',
  'storePost',
  'storePartial',
  'compress',
  'tagField',
  'front',
] as const

/** The options that decide under which key a response is kept, and for whom. */
const KEY_OPTIONS = [
  'name',
  'query',
  'params',
  'vary',
  'normaliseVary',
  'scope',
  'host',
  'methods',
  'key',
  'enabled',
] as const

/** Whether responses of both are kept under the same key, for the same people. */
export function shareKey(one: ResolvedRoute, other: ResolvedRoute): boolean {
  return KEY_OPTIONS.every((name) => one[name] === other[name])
}

/** What a route has without any option. */
export function defaultRoute(maxBodySize: number): ResolvedRoute {
  return {
    ttl: undefined,
    tags: [],
    name: undefined,
    query: true,
    params: true,
    vary: [],
    normaliseVary: new Map(),
    maxVariants: 100,
    scope: undefined,
    host: true,
    methods: new Set(['GET', 'HEAD']),
    statuses: new Set([200, 203, 204, 301, 308]),
    maxBodySize,
    key: undefined,
    enabled: true,
    clientCacheControl: true,
    maxWait: 10_000,
    isClusterWide: false,
    staleWhileRevalidate: undefined,
    staleIfError: undefined,
    keepStale: 60 * 60 * 1000,
    earlyRefresh: 0,
    jitter: 0,
    heuristic: false,
    requestDirectives: false,
    targetedFields: [],
    storeSetCookie: false,
    storePost: false,
    storePartial: false,
    compress: undefined,
    tagField: undefined,
    front: false,
  }
}

/** Resolves what `cached` was given, over `base`. Throws `ERR_TAGCACHE_OPTION_VALUE`, `ERR_TAGCACHE_OPTION_UNKNOWN` or `ERR_TAGCACHE_TAG`. */
export function resolveRoute(options: RouteOptions<never>, base: ResolvedRoute): ResolvedRoute {
  checkOptions('cached()', options, ROUTE_OPTIONS)
  const front = booleanOf('front', options.front) ?? base.front
  const route = {
    ...resolveKey(options, base),
    ...resolveStorage(options, base),
    ...resolveStale(options, base),
    front,
  }
  return front && unseenAtFront(route) ? { ...route, front: false } : route
}

/**
 * Refuses `front: true` where nobody could answer before the framework has the request.
 * Throws `ERR_TAGCACHE_OPTION_VALUE`.
 */
export function checkFront({ front }: RouteOptions<never>, route: ResolvedRoute): void {
  const option = front ? unseenAtFront(route) : undefined
  if (option === undefined) return
  const remedy = option === 'scope' ? "say `scope: 'public'`, or leave `scope` out" : `leave \`${option}\` out`
  throw badValue(
    'front',
    front,
    `false where \`${option}\` is a function, which needs the framework's request: ${remedy}`,
  )
}

// What has to be asked for each request, with the request as the framework shows it.
function unseenAtFront(route: Pick<ResolvedRoute, KeyOption>): KeyOption | undefined {
  return (['scope', 'host', 'key', 'enabled'] as const).find((name) => typeof route[name] === 'function')
}

type KeyOption = (typeof KEY_OPTIONS)[number]
type StaleOption = 'staleWhileRevalidate' | 'staleIfError' | 'keepStale' | 'earlyRefresh' | 'requestDirectives'

function resolveKey(options: RouteOptions<never>, base: ResolvedRoute): Pick<ResolvedRoute, KeyOption> {
  const { name, vary, normaliseVary, methods } = options
  const key = functionOf('key', options.key, []) ?? base.key
  return {
    name: name === undefined ? base.name : nameOf(name),
    query: selectionOf('query', options.query) ?? base.query,
    params: selectionOf('params', options.params) ?? base.params,
    vary: vary === undefined ? base.vary : [...fieldNamesOf('vary', vary)].sort(),
    normaliseVary: normaliseVary === undefined ? base.normaliseVary : varyFormsOf(normaliseVary),
    scope: functionOf('scope', options.scope, ['public', 'explicit', 'rfc9111']) ?? base.scope,
    host: functionOf('host', options.host, [true, false]) ?? base.host,
    methods: methods === undefined ? base.methods : methodsOf(methods, key !== undefined),
    key,
    enabled: functionOf('enabled', options.enabled, [true, false]) ?? base.enabled,
  }
}

function resolveStorage(
  options: RouteOptions<never>,
  base: ResolvedRoute,
): Omit<ResolvedRoute, KeyOption | StaleOption | 'front'> {
  const { ttl, tags, statuses, maxBodySize, maxVariants, coalesce, jitter, targetedFields } = options
  return {
    ttl: optionalDuration('ttl', ttl) ?? base.ttl,
    tags: tags === undefined ? base.tags : [...base.tags, tagsOf(tags)],
    statuses: statuses === undefined ? base.statuses : statusesOf(statuses),
    maxBodySize:
      maxBodySize === undefined ? base.maxBodySize : Math.min(base.maxBodySize, sizeOf('maxBodySize', maxBodySize)),
    maxVariants: maxVariants === undefined ? base.maxVariants : countOf('maxVariants', maxVariants),
    clientCacheControl: booleanOf('clientCacheControl', options.clientCacheControl) ?? base.clientCacheControl,
    ...(coalesce === undefined ? { maxWait: base.maxWait, isClusterWide: base.isClusterWide } : coalescingOf(coalesce)),
    jitter: jitter === undefined ? base.jitter : jitterOf(jitter),
    heuristic: booleanOf('heuristic', options.heuristic) ?? base.heuristic,
    targetedFields: targetedFields === undefined ? base.targetedFields : fieldNamesOf('targetedFields', targetedFields),
    storeSetCookie: booleanOf('storeSetCookie', options.storeSetCookie) ?? base.storeSetCookie,
    storePost: booleanOf('storePost', options.storePost) ?? base.storePost,
    storePartial: booleanOf('storePartial', options.storePartial) ?? base.storePartial,
    compress: options.compress === undefined ? base.compress : compressionOf(options.compress),
    tagField:
      oneOf('tagField', options.tagField, ['Cache-Groups', 'Surrogate-Key', 'Cache-Tag', false]) ?? base.tagField,
  }
}

function resolveStale(options: RouteOptions<never>, base: ResolvedRoute): Pick<ResolvedRoute, StaleOption> {
  const { staleWhileRevalidate, staleIfError, keepStale, earlyRefresh } = options
  return {
    staleWhileRevalidate: optionalDuration('staleWhileRevalidate', staleWhileRevalidate) ?? base.staleWhileRevalidate,
    staleIfError: optionalDuration('staleIfError', staleIfError) ?? base.staleIfError,
    keepStale: keepStale === undefined ? base.keepStale : durationOf('keepStale', keepStale),
    earlyRefresh: earlyRefresh === undefined ? base.earlyRefresh : eagernessOf(earlyRefresh),
    requestDirectives: booleanOf('requestDirectives', options.requestDirectives) ?? base.requestDirectives,
  }
}
