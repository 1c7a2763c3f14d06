import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { TagBackend } from '../backends/backend.ts'
import { Cache } from '../cache.ts'
import type { Flow } from '../flow/flow.ts'
import { mayReplaceError, meansFailure } from '../flow/replace.ts'
import { type Controls, controlsOf } from '../node/controls.ts'
import { inFront } from '../node/front.ts'
import { type InvalidatesOptions, type PurgeTags, preparePurge } from '../node/purge.ts'
import { makeExplainable } from '../node/question.ts'
import { layerOf, serve } from '../node/serve.ts'
import { hostPart, mountedPath, queryOf } from '../node/target.ts'
import type { CacheOptions } from '../options/cache.ts'
import type { RouteOptions } from '../options/route.ts'
import type { Call, Target } from '../visit.ts'

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
  /**
   * Answers hits of routes with `front: true` before `listener` sees the request: `http.createServer(front(listener))`.
   * What else the listener does with a request is skipped then; see docs/front-door.md.
   */
  front(listener: RequestListener): RequestListener
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
  const { flow } = typed
  makeExplainable(flow)
  return {
    cache: typed,
    cached: (options = {}) => cachedHandler(flow, options as RouteOptions<never>) as NodeHandler as never,
    invalidates: (tags, options) =>
      purgingHandler(flow, tags as PurgeTags<never>, options as InvalidatesOptions<never>) as NodeHandler as never,
    front: (listener) => inFront(flow, listener),
    ...controlsOf<ServerResponse, T>(flow, (res) => res),
  }
}

function cachedHandler(flow: Flow, options: RouteOptions<never>): NodeHandler {
  const route = flow.makeRoute(options)
  return function cached(req, res, next) {
    const call: Call = (option) => option(...([req, res] as never))
    serve({ flow, options, route, req, res, call, target: () => targetOf(req) }, () => runGuarded(flow, res, next))
  }
}

// What a handler throws is the application's own affair, unless there is something stored to give instead (RFC 5861, 4).
function runGuarded(flow: Flow, res: ServerResponse, next: (error?: unknown) => unknown): void {
  const run = layerOf(flow, res)?.run
  if (!run?.mayReplaceError) return void next()
  const mayFall = (error: unknown) => meansFailure(error) && mayReplaceError(flow, run) && !res.headersSent
  const fall = (error: unknown) => {
    run.thrown = { error }
    res.statusCode = 500
    res.end()
  }
  try {
    const done = next()
    if (!(done instanceof Promise)) return
    done.catch((error) => {
      if (mayFall(error)) return fall(error)
      // Whoever has answered already has seen the error.
      if (!res.headersSent) throw error
    })
  } catch (error) {
    if (!mayFall(error)) throw error
    fall(error)
  }
}

function purgingHandler(
  flow: Flow,
  tags: PurgeTags<never>,
  options: InvalidatesOptions<never> | undefined,
): NodeHandler {
  const purge = preparePurge(flow, tags, options)
  return function invalidates(req, res, next) {
    purge({ req, res, call: (option) => option(...([req, res] as never)), target: () => targetOf(req) })
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
