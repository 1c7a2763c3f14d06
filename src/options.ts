import type { TagBackend } from './backends/backend.ts'
import { namesCarried, type TagList } from './core/tags.ts'
import { systemTime, type Time } from './core/time.ts'
import { badValue, checkOptions, type Duration, durationOf, hasMethods, sizeOf } from './core/values.ts'
import { formatCacheName } from './http/cache-status.ts'

/** Which parameters belong to the key: all (`true`), none (`false`), those listed, or all but some; `*` stands for anything. */
export type Selection = boolean | readonly string[] | { readonly ignore: readonly string[] }

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
  /** Who may share a response: everybody (`'public'`), or the principal that the function gives. Default: everybody, but requests with `Authorization` or `Cookie` bypass the cache. */
  scope?: 'public' | ((...args: Args) => string | number | null | undefined)
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
  /** Whether requests for a response that is being computed wait for it, and how long at the most before they compute it themselves. Default `{ maxWait: '10s' }`. */
  coalesce?: boolean | { readonly maxWait: Duration }
}

/** What `createCache` takes; the options of a route among them are the defaults of all routes. */
export interface CacheOptions<Args extends readonly unknown[] = readonly unknown[], T extends string = string>
  extends Omit<RouteOptions<Args, T>, 'tags' | 'name' | 'ttl'> {
  /** How long a response is fresh for which neither route nor response says so. Default 60 seconds. */
  ttl?: Duration
  /** Where entries are kept. Default `memory()`. */
  backend?: TagBackend
  /** Keeps caches apart that share a backend: letters, digits, `.`, `_`, `-`. Default: none. */
  namespace?: string
  /** This cache's name in `Cache-Status` (RFC 9211). Default `'tagcache'`. */
  cacheName?: string
  /** How long the cache waits for its backend before it goes on without. Default `'250ms'`. */
  backendTimeout?: Duration
  /** How long a backend that failed is left alone before it is tried again. Default `'1s'`. */
  backendPause?: Duration
  /** Where time comes from; for tests. Default: the machine. */
  time?: Time
}

/** Tags, or what gives them when the response is known. */
export type TagSource = TagList | ((...args: never) => TagList)

/** A route's options with everything decided: times in milliseconds, names in lower case. */
export interface ResolvedRoute {
  readonly ttl: number | undefined
  /** What says the tags: the route's own, and those of the layers around it. */
  readonly tags: readonly TagSource[]
  readonly name: string | undefined
  readonly query: Selection
  readonly params: Selection
  readonly vary: readonly string[]
  readonly scope: 'public' | ((...args: never[]) => unknown) | undefined
  readonly host: boolean | ((...args: never[]) => unknown)
  readonly methods: ReadonlySet<string>
  readonly statuses: ReadonlySet<number>
  readonly maxBodySize: number
  readonly key: ((...args: never[]) => unknown) | undefined
  readonly enabled: boolean | ((...args: never[]) => unknown)
  readonly clientCacheControl: boolean
  /** How long a request waits for another's response, or 0: not at all. */
  readonly maxWait: number
}

/** A cache's options with everything decided. */
export interface ResolvedCache {
  readonly defaultTtl: number
  readonly namespace: string | undefined
  readonly cacheName: string
  readonly backendTimeout: number
  readonly backendPause: number
  readonly time: Time
  readonly route: ResolvedRoute
}

const ROUTE_OPTIONS = [
  'ttl',
  'tags',
  'name',
  'query',
  'params',
  'vary',
  'scope',
  'host',
  'methods',
  'statuses',
  'maxBodySize',
  'key',
  'enabled',
  'clientCacheControl',
  'coalesce',
] as const

const CACHE_OPTIONS = [
  ...ROUTE_OPTIONS.filter((name) => name !== 'tags' && name !== 'name'),
  'backend',
  'namespace',
  'cacheName',
  'backendTimeout',
  'backendPause',
  'time',
] as const

/** The options that decide under which key a response is kept, and for whom. */
const KEY_OPTIONS = ['name', 'query', 'params', 'vary', 'scope', 'host', 'methods', 'key', 'enabled'] as const

/** Whether responses of both are kept under the same key, for the same people. */
export function shareKey(one: ResolvedRoute, other: ResolvedRoute): boolean {
  return KEY_OPTIONS.every((name) => one[name] === other[name])
}

const BACKEND_METHODS = [
  'lookup',
  'clock',
  'invalidatedAt',
  'store',
  'invalidate',
  'delete',
  'clear',
  'list',
  'close',
] as const

/** Checks what `createCache` was given. Throws `ERR_TAGCACHE_OPTION_VALUE` or `ERR_TAGCACHE_OPTION_UNKNOWN`. */
export function checkCache(options: CacheOptions<never>): void {
  checkOptions('createCache()', options, CACHE_OPTIONS)
  const { backend, namespace, time } = options
  if (namespace !== undefined && (typeof namespace !== 'string' || !/^[\w.-]+$/.test(namespace))) {
    throw badValue('namespace', namespace, 'letters, digits, ".", "_" and "-"')
  }
  if (backend !== undefined && !hasMethods(backend, BACKEND_METHODS)) {
    throw badValue('backend', backend, 'memory(), keyValue(client), or an object that keeps the whole backend contract')
  }
  if (time !== undefined && !hasMethods(time, ['now', 'after']))
    throw badValue('time', time, 'an object with now() and after()')
}

/** Resolves what `checkCache` has let pass. Throws `ERR_TAGCACHE_OPTION_VALUE`. */
export function resolveCache(options: CacheOptions<never>, maxBodySize: number): ResolvedCache {
  const { ttl, backend: _, namespace, cacheName, backendTimeout, backendPause, time, ...route } = options
  return {
    defaultTtl: durationOf('ttl', ttl ?? 60),
    namespace,
    cacheName: formatCacheName(checkCacheName(cacheName ?? 'tagcache')),
    backendTimeout: durationOf('backendTimeout', backendTimeout ?? '250ms'),
    backendPause: durationOf('backendPause', backendPause ?? '1s'),
    time: time ?? systemTime,
    route: resolveRoute(route, {
      ttl: undefined,
      tags: [],
      name: undefined,
      query: true,
      params: true,
      vary: [],
      scope: undefined,
      host: true,
      methods: new Set(['GET', 'HEAD']),
      statuses: new Set([200, 203, 204, 301, 308]),
      maxBodySize,
      key: undefined,
      enabled: true,
      clientCacheControl: true,
      maxWait: 10_000,
    }),
  }
}

/** Resolves what `cached` was given, over `base`. Throws `ERR_TAGCACHE_OPTION_VALUE`, `ERR_TAGCACHE_OPTION_UNKNOWN` or `ERR_TAGCACHE_TAG`. */
export function resolveRoute(options: RouteOptions<never>, base: ResolvedRoute): ResolvedRoute {
  checkOptions('cached()', options, ROUTE_OPTIONS)
  const { ttl, tags, name, vary, methods, statuses, maxBodySize, coalesce } = options
  const key = functionOf('key', options.key, []) ?? base.key
  return {
    ttl: ttl === undefined ? base.ttl : durationOf('ttl', ttl),
    tags: tags === undefined ? base.tags : [...base.tags, tagsOf(tags)],
    name: name === undefined ? base.name : nameOf(name),
    query: selectionOf('query', options.query) ?? base.query,
    params: selectionOf('params', options.params) ?? base.params,
    vary: vary === undefined ? base.vary : fieldNamesOf(vary),
    scope: functionOf('scope', options.scope, ['public']) ?? base.scope,
    host: functionOf('host', options.host, [true, false]) ?? base.host,
    methods: methods === undefined ? base.methods : methodsOf(methods, key !== undefined),
    statuses: statuses === undefined ? base.statuses : statusesOf(statuses),
    maxBodySize:
      maxBodySize === undefined ? base.maxBodySize : Math.min(base.maxBodySize, sizeOf('maxBodySize', maxBodySize)),
    key,
    enabled: functionOf('enabled', options.enabled, [true, false]) ?? base.enabled,
    clientCacheControl: booleanOf('clientCacheControl', options.clientCacheControl) ?? base.clientCacheControl,
    maxWait: coalesce === undefined ? base.maxWait : maxWaitOf(coalesce),
  }
}

function booleanOf(option: string, value: boolean | undefined): boolean | undefined {
  if (value !== undefined && typeof value !== 'boolean') throw badValue(option, value, 'true or false')
  return value
}

function functionOf<V>(option: string, value: V | undefined, others: readonly unknown[]): V | undefined {
  if (value === undefined || typeof value === 'function' || others.includes(value)) return value
  throw badValue(option, value, [...others.map((other) => JSON.stringify(other)), 'a function'].join(', '))
}

function tagsOf(tags: TagSource): TagSource {
  if (typeof tags !== 'function') namesCarried(tags)
  return tags
}

function nameOf(name: string): string {
  if (typeof name !== 'string' || name === '') throw badValue('name', name, 'text that is not empty')
  return name
}

function selectionOf(option: string, value: Selection | undefined): Selection | undefined {
  const names = value !== null && typeof value === 'object' && 'ignore' in value ? value.ignore : value
  if (value === undefined || typeof value === 'boolean') return value
  if (Array.isArray(names) && names.every((name) => typeof name === 'string')) return value
  throw badValue(option, value, 'true, false, a list of names, or { ignore: [names] }')
}

function fieldNamesOf(vary: string | readonly string[]): readonly string[] {
  const names = typeof vary === 'string' ? vary.split(',') : vary
  const trimmed = Array.isArray(names) ? names.map((name) => String(name).trim().toLowerCase()) : []
  if (!Array.isArray(names) || !trimmed.every((name) => /^[\w!#$%&'+\-.^`|~]+$/.test(name))) {
    throw badValue('vary', vary, 'names of request header fields')
  }
  return [...new Set(trimmed)].sort()
}

function methodsOf(methods: readonly string[], hasKey: boolean): ReadonlySet<string> {
  if (!Array.isArray(methods) || !methods.every((method) => /^[A-Za-z-]+$/.test(String(method)))) {
    throw badValue('methods', methods, 'a list of method names')
  }
  const upper = methods.map((method) => method.toUpperCase())
  const needsKey = upper.find((method) => method !== 'GET' && method !== 'HEAD')
  if (needsKey && !hasKey) {
    throw badValue(
      'methods',
      methods,
      `GET and HEAD; ${needsKey} needs a \`key\` function that covers what its body says`,
    )
  }
  return new Set(upper)
}

function statusesOf(statuses: readonly number[]): ReadonlySet<number> {
  if (
    !Array.isArray(statuses) ||
    !statuses.every((status) => Number.isInteger(status) && status >= 200 && status <= 599)
  ) {
    throw badValue('statuses', statuses, 'a list of final statuses, 200 to 599')
  }
  return new Set(statuses)
}

function maxWaitOf(coalesce: unknown): number {
  if (coalesce === false) return 0
  if (coalesce === true) return 10_000
  if (coalesce !== null && typeof coalesce === 'object' && 'maxWait' in coalesce) {
    return durationOf('coalesce.maxWait', coalesce.maxWait as Duration)
  }
  throw badValue('coalesce', coalesce, 'true, false, or { maxWait }')
}

function checkCacheName(name: string): string {
  if (typeof name === 'string' && /^[\x20-\x7e]+$/.test(name)) return name
  throw badValue('cacheName', name, 'visible ASCII characters')
}
