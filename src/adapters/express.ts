import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Application, Request, RequestHandler, Response } from 'express'
import type { ParamsDictionary, RouteParameters } from 'express-serve-static-core'
import type { TagBackend } from '../backends/backend.ts'
import { Cache } from '../cache.ts'
import type { Flow } from '../flow/flow.ts'
import { type Controls, controlsOf } from '../node/controls.ts'
import { inFront, standing } from '../node/front.ts'
import { type InvalidatesOptions, type PurgeTags, preparePurge } from '../node/purge.ts'
import { makeExplainable } from '../node/question.ts'
import type { Dispatch } from '../node/refresh.ts'
import { serve } from '../node/serve.ts'
import { hostPart, pathOf, queryOf } from '../node/target.ts'
import type { CacheOptions } from '../options/cache.ts'
import type { RouteOptions } from '../options/route.ts'
import type { Call, Target } from '../visit.ts'
import { type Handling, settleFromStart, settleShape } from './express-shape.ts'

/** What the functions among a route's options are called with. */
export type ExpressArgs<P = ParamsDictionary> = [req: Request<P>, res: Response]

declare const unknown: unique symbol

/** Route parameters that TypeScript could not infer. */
export interface UnknownParams {
  readonly [unknown]: never
}

type ArgsFor<P> = ExpressArgs<[P] extends [UnknownParams] ? ParamsDictionary : P>

/** A handler that says nothing of the parameters that it does not know, so that the next one's are still inferred. */
type HandlerFor<P> = [P] extends [UnknownParams] ? ParamlessHandler : RequestHandler<P>

/** A middleware for any route, as `express.json()` is one. */
export type ParamlessHandler = (req: IncomingMessage, res: ServerResponse, next: (error?: unknown) => void) => void

/** Caches the responses of the routes that it stands before: `app.get('/products', cached({ tags: ['products'] }), handler)`. */
export interface Cached<T extends string = string> {
  /** Throws `ERR_TAGCACHE_OPTION_VALUE`, `ERR_TAGCACHE_OPTION_UNKNOWN` or `ERR_TAGCACHE_TAG` for bad options. */
  <P extends object = UnknownParams>(options?: RouteOptions<ArgsFor<P>, T>): HandlerFor<P>
  /** With the route's path as a type, for `req.params` where it cannot be inferred: `cached<'/products/:id'>({ … })`. */
  <Path extends string>(
    options?: RouteOptions<ExpressArgs<RouteParameters<Path>>, T>,
  ): RequestHandler<RouteParameters<Path>>
}

/** Purges the tags that a route writes, after it has succeeded and before its client sees the answer. */
export interface Invalidates<T extends string = string> {
  /** Throws `ERR_TAGCACHE_TAG` for bad tags, `ERR_TAGCACHE_OPTION_UNKNOWN` for bad options. */
  <P extends object = UnknownParams>(
    tags: PurgeTags<ArgsFor<P>, T>,
    options?: InvalidatesOptions<ArgsFor<P>>,
  ): HandlerFor<P>
  /** With the route's path as a type. */
  <Path extends string>(
    tags: PurgeTags<ExpressArgs<RouteParameters<Path>>, T>,
    options?: InvalidatesOptions<ExpressArgs<RouteParameters<Path>>>,
  ): RequestHandler<RouteParameters<Path>>
}

/**
 * Answers hits of routes with `front: true` before the application sees the request. An application is changed in place, so
 * that `app.listen()` does it too, and returned. What layers above those routes do is skipped then; see docs/front-door.md.
 */
export interface Front {
  <A extends Application>(app: A): A
  (listener: RequestListener): RequestListener
}

/** A cache for an Express application. */
export interface ExpressCache<T extends string = string, Sync extends boolean = boolean>
  extends Controls<ServerResponse, T> {
  readonly cached: Cached<T>
  readonly invalidates: Invalidates<T>
  readonly front: Front
  readonly cache: Cache<T, Sync>
}

/**
 * A cache for an Express 4 or 5 application, from options or over a cache that is there already. Without options it keeps
 * entries in this process's memory for 60 seconds.
 * Throws `ERR_TAGCACHE_OPTION_VALUE`, `ERR_TAGCACHE_OPTION_UNKNOWN` or `ERR_TAGCACHE_NAMESPACE_TAKEN`.
 */
export function tagcache<T extends string = string>(
  options?: CacheOptions<ExpressArgs, T> & { backend?: TagBackend<true> },
): ExpressCache<T, true>
export function tagcache<T extends string = string>(
  options: CacheOptions<ExpressArgs, T> & { backend: TagBackend<false> },
): ExpressCache<T, false>
export function tagcache<T extends string = string>(options: CacheOptions<ExpressArgs, T>): ExpressCache<T>
export function tagcache<T extends string, Sync extends boolean>(cache: Cache<T, Sync>): ExpressCache<T, Sync>
export function tagcache<T extends string>(
  optionsOrCache: CacheOptions<ExpressArgs, T> | Cache<T> = {},
): ExpressCache<T> {
  const typed = optionsOrCache instanceof Cache ? optionsOrCache : new Cache<T>(optionsOrCache as CacheOptions<never>)
  const { flow } = typed
  makeExplainable(flow)
  return {
    cache: typed,
    cached: ((options: RouteOptions<never> = {}) => cachedHandler(flow, options)) as unknown as Cached<T>,
    invalidates: ((tags: PurgeTags<never>, options?: InvalidatesOptions<never>) =>
      purgingHandler(flow, tags, options)) as unknown as Invalidates<T>,
    front: ((app: Application | RequestListener) => frontOf(flow, app)) as Front,
    ...controlsOf<ServerResponse, T>(flow, (res) => res),
  }
}

function cachedHandler(flow: Flow, options: RouteOptions<never>): RequestHandler {
  const route = flow.makeRoute(options)
  return function cached(req, res, next) {
    settle(req, res)
    const call = callerOf(req, res)
    serve({ flow, options, route, req, res, call, target: () => targetOf(req, cached), application: outermost }, next)
  }
}

function frontOf(flow: Flow, app: Application | RequestListener): Application | RequestListener {
  if (!('handle' in app && 'listen' in app) || typeof app.handle !== 'function') return inFront(flow, app)
  if (standing(flow).has(app)) return app
  standing(flow).add(app)
  const own = app as unknown as Handling
  settleFromStart(own)
  const { handle } = own
  const front = inFront(flow, (req, res) => handle.call(own, req, res))
  own.handle = (req, res, next) => {
    // Where it is mounted in another application, that one stands before it.
    return next ? handle.call(own, req, res, next) : front(req, res)
  }
  return app
}

// What comes first from an application also has those after it settled.
function settle(req: Request, res: Response): void {
  const app = outermost(req) as Handling | undefined
  if (!app || !settleFromStart(app)) settleShape(req, res)
}

// The application that the server listens with, as far as Express knows: it may be mounted in others.
function outermost(req: IncomingMessage & { app?: Application & { parent?: Application } }): Dispatch | undefined {
  let { app } = req
  while (app?.parent) app = app.parent
  // An application may keep something of its own under that name.
  return typeof app === 'function' && 'handle' in app ? app : undefined
}

function purgingHandler(
  flow: Flow,
  tags: PurgeTags<never>,
  options: InvalidatesOptions<never> | undefined,
): RequestHandler {
  const purge = preparePurge(flow, tags, options)
  return function invalidates(req, res, next) {
    settle(req, res)
    purge({ req, res, call: callerOf(req, res), target: () => targetOf(req, invalidates) })
    next()
  }
}

// Express changes `req.params` from layer to layer: a function sees those of the layer in which it stands.
function callerOf(req: Request, res: Response): Call {
  const { params } = req
  return (option) => {
    const current = req.params
    req.params = params
    try {
      return option(...([req, res] as never))
    } finally {
      req.params = current
    }
  }
}

interface CurrentRoute {
  readonly path: unknown
  readonly methods?: Record<string, boolean>
  readonly stack?: readonly { readonly handle: unknown }[]
}

function targetOf(req: Request, self: RequestHandler): Target {
  const route = currentRoute(req, self)
  return {
    pattern: route && patternOf(req.baseUrl, route.path),
    mount: req.baseUrl,
    ...fullPath(req),
    params: route ? req.params : {},
    query: queryOf(req.url),
    host: hostPart(req.protocol, trustedHost(req)),
    ...(route?.methods && !route.methods._all
      ? { methods: Object.keys(route.methods).map((name) => name.toUpperCase()) }
      : {}),
  }
}

// Express leaves the route that has passed a request on in `req.route`: it is ours only if we stand in it.
function currentRoute(req: Request, self: RequestHandler): CurrentRoute | undefined {
  const route = req.route as CurrentRoute | undefined
  return route?.stack?.some(({ handle }) => handle === self) ? route : undefined
}

function patternOf(mount: string, path: unknown): string {
  return mount !== '' && path === '/' ? mount : mount + String(path)
}

// Express cuts the mount point off; where a middleware has rewritten the URL, the handler sees the new one, and may know the old.
function fullPath({ baseUrl, url, originalUrl }: Request): Pick<Target, 'path' | 'original'> {
  const isAsSent = originalUrl === baseUrl + url || originalUrl === baseUrl + url.slice(1)
  return isAsSent ? { path: pathOf(originalUrl) } : { path: pathOf(baseUrl + url), original: originalUrl }
}

// As `req.hostname`, but with the port, which Express 4 leaves out.
function trustedHost(req: Request): string | undefined {
  const forwarded = req.get('x-forwarded-host')
  const trust = req.app.get('trust proxy fn') as ((address: string | undefined, hop: number) => boolean) | undefined
  const isTrusted = forwarded !== undefined && trust?.(req.socket.remoteAddress, 0)
  return isTrusted ? forwarded.split(',', 1)[0]!.trim() : req.headers.host
}
