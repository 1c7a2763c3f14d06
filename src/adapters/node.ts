import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TagBackend } from '../backends/backend.ts'
import { Cache } from '../cache.ts'
import { type Controls, controlsOf } from '../node/controls.ts'
import { type InvalidatesOptions, type PurgeTags, preparePurge, purgeOnAnswer } from '../node/purge.ts'
import { serve } from '../node/serve.ts'
import { hostPart, mountedPath, queryOf } from '../node/target.ts'
import type { CacheOptions, RouteOptions } from '../options.ts'
import type { Target } from '../visit.ts'

/** What the functions among a route's options are called with. */
export type NodeArgs<Req extends IncomingMessage = IncomingMessage> = [req: Req, res: ServerResponse]

/** A handler of node:http, Connect, Polka and their kin. */
export type NodeHandler<Req extends IncomingMessage = IncomingMessage> = (
  req: Req,
  res: ServerResponse,
  next: (error?: unknown) => unknown,
) => void

/** A cache for a server on node:http, or on a framework whose handlers take `(req, res, next)`. */
export interface NodeCache<T extends string = string, Sync extends boolean = boolean>
  extends Controls<ServerResponse, T> {
  /** Caches the responses that `next` makes. Throws `ERR_TAGCACHE_OPTION_VALUE`, `ERR_TAGCACHE_OPTION_UNKNOWN` or `ERR_TAGCACHE_TAG`. */
  cached<Req extends IncomingMessage = IncomingMessage>(options?: RouteOptions<NodeArgs<Req>, T>): NodeHandler<Req>
  /** Purges tags after `next` has answered with success, before its client sees it. Throws `ERR_TAGCACHE_TAG` or `ERR_TAGCACHE_OPTION_UNKNOWN`. */
  invalidates<Req extends IncomingMessage = IncomingMessage>(
    tags: PurgeTags<NodeArgs<Req>, T>,
    options?: InvalidatesOptions<NodeArgs<Req>>,
  ): NodeHandler<Req>
  readonly cache: Cache<T, Sync>
}

/**
 * A cache for handlers that take `(req, res, next)`, from options or over a cache that is there already.
 * Throws `ERR_TAGCACHE_OPTION_VALUE`, `ERR_TAGCACHE_OPTION_UNKNOWN` or `ERR_TAGCACHE_NAMESPACE_TAKEN`.
 */
export function tagcache<T extends string = string>(
  options?: CacheOptions<NodeArgs, T> & { backend?: TagBackend<true> },
): NodeCache<T, true>
export function tagcache<T extends string = string>(
  options: CacheOptions<NodeArgs, T> & { backend: TagBackend<false> },
): NodeCache<T, false>
export function tagcache<T extends string = string>(options: CacheOptions<NodeArgs, T>): NodeCache<T>
export function tagcache<T extends string, Sync extends boolean>(cache: Cache<T, Sync>): NodeCache<T, Sync>
export function tagcache<T extends string>(optionsOrCache: CacheOptions<NodeArgs, T> | Cache<T> = {}): NodeCache<T> {
  const typed = optionsOrCache instanceof Cache ? optionsOrCache : new Cache<T>(optionsOrCache as CacheOptions<never>)
  const cache = typed as unknown as Cache
  return {
    cache: typed,
    cached: (options = {}) => cachedHandler(cache, options as RouteOptions<never>) as NodeHandler as never,
    invalidates: (tags, options) =>
      purgingHandler(cache, tags as PurgeTags<never>, options as InvalidatesOptions<never>) as NodeHandler as never,
    ...controlsOf<ServerResponse, T>(cache, (res) => res),
  }
}

function cachedHandler(cache: Cache, options: RouteOptions<never>): NodeHandler {
  const route = cache.route(options)
  return function cached(req, res, next) {
    serve(
      {
        cache,
        options,
        route,
        req,
        res,
        call: (option) => option(...([req, res] as never)),
        target: () => targetOf(req),
      },
      () => void next(),
    )
  }
}

function purgingHandler(
  cache: Cache,
  tags: PurgeTags<never>,
  options: InvalidatesOptions<never> | undefined,
): NodeHandler {
  const purge = preparePurge(cache, tags, options)
  return function invalidates(req, res, next) {
    purgeOnAnswer(cache, purge, res, (option) => option(...([req, res] as never)))
    next()
  }
}

// No pattern is known here: the path itself names the route, and says all that parameters could.
function targetOf(req: IncomingMessage & { originalUrl?: string }): Target {
  const url = req.url ?? '/'
  const isEncrypted = 'encrypted' in req.socket && req.socket.encrypted === true
  const authority = req.headers[':authority'] ?? req.headers.host
  return {
    pattern: undefined,
    ...mountedPath(req.originalUrl ?? url, url),
    params: {},
    query: queryOf(url),
    host: hostPart(isEncrypted ? 'https' : 'http', typeof authority === 'string' ? authority : undefined),
  }
}
