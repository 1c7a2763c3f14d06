import type { TagBackend } from '../backends/backend.ts'
import type { Logger } from '../core/log.ts'
import { systemTime, type Time } from '../core/time.ts'
import { badValue, checkOptions, type Duration, durationOf, hasMethods } from '../core/values.ts'
import { formatCacheName } from '../http/cache-status.ts'
import type { Carrier } from '../http/position.ts'
import { oneOf } from './checks.ts'
import { PRESETS, type Preset } from './presets.ts'
import { defaultRoute, type ResolvedRoute, ROUTE_OPTIONS, type RouteOptions, resolveRoute } from './route.ts'

/** What `createCache` takes; the options of a route among them are the defaults of all routes. */
export interface CacheOptions<Args extends readonly unknown[] = readonly unknown[], T extends string = string>
  extends Omit<RouteOptions<Args, T>, 'tags' | 'name' | 'ttl' | 'front'> {
  /** Options that go together, over which those given beside it win. `'rfc9111'`: headers alone decide; `'rfc9111-full'`: with every optional feature of HTTP caching. Default: none. */
  preset?: Preset
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
  /**
   * Has a client that wrote through one process see its write through every other at once, though a near tier there has not
   * heard of it yet (`tiered()`): the answer to the write carries where it stands, signed with `secret`, in a cookie of a minute
   * or in a field that the client sends back. `name` is by default `tagcache-position`. Default: none; it is a matter of milliseconds.
   */
  readYourWrites?: { readonly secret: string; readonly via?: 'cookie' | 'header'; readonly name?: string }
  /**
   * A file, of this process alone, in which purges are kept that the backend has not taken, so that they are delivered even
   * after a crash. Default: none, and they are kept in memory.
   */
  journal?: string
  /**
   * Whether answers have `X-Cache-Key`, with the parts of the key: for development. `true` does nothing where `NODE_ENV` is
   * `production`, but for a warning; `'always'` does it there too. Default `false`.
   */
  debug?: boolean | 'always'
  /**
   * Has this process leave its numbers for those that share its backend, every 10 seconds or as often as is said, so that
   * `cache.fleetStats()` of any of them knows all. It takes one command each time. Default `false`.
   */
  publishStats?: boolean | Duration
  /**
   * Told what whoever operates the cache has to know: pino, or anything with its `info`, `warn` and `error`. Each kind of line is
   * written at once, and then once a minute at the most. Default: none.
   */
  logger?: Logger
  /** Where time comes from; for tests. Default: the machine. */
  time?: Time
  /** Where chance comes from, from 0 to below 1; for tests. Default `Math.random`. */
  random?: () => number
}

/** A cache's options with everything decided. */
export interface ResolvedCache {
  readonly defaultTtl: number
  readonly namespace: string | undefined
  readonly cacheName: string
  readonly backendTimeout: number
  readonly backendPause: number
  readonly carrier: Carrier | undefined
  /** Whether clients are told the keys of their responses. */
  readonly isDebugged: boolean
  readonly logger: Logger | undefined
  /** How often this process publishes its numbers; undefined where it does not. */
  readonly publishEvery: number | undefined
  readonly time: Time
  readonly random: () => number
  readonly route: ResolvedRoute
  /** Who has given the options that are given. */
  readonly origins: ReadonlyMap<string, 'cache' | 'preset'>
}

// What is of one route, or has to be said of each.
const OF_ROUTES_ALONE: ReadonlySet<string> = new Set(['tags', 'name', 'front'])

const CACHE_OPTIONS = [
  ...ROUTE_OPTIONS.filter((name) => !OF_ROUTES_ALONE.has(name)),
  'preset',
  'backend',
  'namespace',
  'cacheName',
  'backendTimeout',
  'backendPause',
  'journal',
  'readYourWrites',
  'debug',
  'publishStats',
  'logger',
  'time',
  'random',
] as const

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
  const { backend, namespace, journal, logger, time, random } = options
  if (journal !== undefined && (typeof journal !== 'string' || journal === ''))
    throw badValue('journal', journal, 'the path of a file')
  if (namespace !== undefined && (typeof namespace !== 'string' || !/^[\w.-]+$/.test(namespace))) {
    throw badValue('namespace', namespace, 'letters, digits, ".", "_" and "-"')
  }
  if (backend !== undefined && !hasMethods(backend, BACKEND_METHODS)) {
    throw badValue('backend', backend, 'memory(), keyValue(client), or an object that keeps the whole backend contract')
  }
  if (logger !== undefined && !hasMethods(logger, ['info', 'warn', 'error']))
    throw badValue('logger', logger, 'an object with info(), warn() and error()')
  if (time !== undefined && !hasMethods(time, ['now', 'after']))
    throw badValue('time', time, 'an object with now() and after()')
  if (random !== undefined && typeof random !== 'function') throw badValue('random', random, 'a function')
  oneOf('debug', options.debug, [true, false, 'always'])
  oneOf('preset', options.preset, Object.keys(PRESETS))
}

/** Resolves what `checkCache` has let pass. Throws `ERR_TAGCACHE_OPTION_VALUE`. */
export function resolveCache(given: CacheOptions<never>, maxBodySize: number): ResolvedCache {
  const explicit = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
  const options: CacheOptions<never> = { ...(given.preset === undefined ? {} : PRESETS[given.preset]), ...explicit }
  const {
    preset: _,
    ttl,
    backend: __,
    namespace,
    cacheName,
    backendTimeout,
    backendPause,
    journal: ___,
    readYourWrites,
    debug,
    publishStats = false,
    logger,
    time,
    random,
    ...route
  } = options
  return {
    defaultTtl: durationOf('ttl', ttl ?? 60),
    namespace,
    cacheName: formatCacheName(checkCacheName(cacheName ?? 'tagcache')),
    backendTimeout: durationOf('backendTimeout', backendTimeout ?? '250ms'),
    backendPause: durationOf('backendPause', backendPause ?? '1s'),
    isDebugged: debug === 'always' || (debug === true && !isInProduction()),
    carrier: readYourWrites === undefined ? undefined : carrierOf(readYourWrites),
    logger,
    publishEvery: intervalOf(publishStats),
    time: time ?? systemTime,
    random: random ?? Math.random,
    route: resolveRoute(route, defaultRoute(maxBodySize)),
    origins: new Map(Object.keys(options).map((name) => [name, name in explicit ? 'cache' : 'preset'])),
  }
}

/** Whether the process says that it is in production. */
export function isInProduction(): boolean {
  return process.env.NODE_ENV === 'production'
}

function carrierOf(given: NonNullable<CacheOptions['readYourWrites']>): Carrier {
  checkOptions('readYourWrites', given, ['secret', 'via', 'name'])
  const { secret, via, name = 'tagcache-position' } = given
  if (typeof secret !== 'string' || secret.length < 16)
    throw badValue('readYourWrites.secret', '…', 'a text of 16 characters or more, the same in all processes')
  if (typeof name !== 'string' || !/^[\w!#$%&'*+.^`|~-]+$/.test(name))
    throw badValue('readYourWrites.name', name, 'the name of a cookie or a field')
  return { secret, name, via: oneOf('readYourWrites.via', via, ['cookie', 'header']) ?? 'cookie' }
}

// Numbers that are younger than that nobody can read.
const SHORTEST_INTERVAL = 1000

function intervalOf(given: boolean | Duration): number | undefined {
  if (given === false) return undefined
  const every = given === true ? 10_000 : durationOf('publishStats', given)
  if (every >= SHORTEST_INTERVAL) return every
  throw badValue('publishStats', given, 'true, false, or a duration of a second or more')
}

function checkCacheName(name: string): string {
  if (typeof name === 'string' && /^[\x20-\x7e]+$/.test(name)) return name
  throw badValue('cacheName', name, 'visible ASCII characters')
}
