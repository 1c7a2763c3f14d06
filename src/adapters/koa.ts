import type { IncomingMessage, RequestListener } from 'node:http'
import type { DefaultState, Next, ParameterizedContext } from 'koa'
import type { TagBackend } from '../backends/backend.ts'
import { Cache } from '../cache.ts'
import { isPromise } from '../core/maybe.ts'
import type { Flow } from '../flow/flow.ts'
import { abandon } from '../flow/land.ts'
import type { Finding } from '../flow/run.ts'
import { type Controls, controlsOf } from '../node/controls.ts'
import { inFront, standing } from '../node/front.ts'
import { captureKoa, refuseKoa, replayKoa, replayPastKoa } from '../node/koa.ts'
import { type InvalidatesOptions, type PurgeTags, preparePurge, UNDELIVERED } from '../node/purge.ts'
import { makeExplainable } from '../node/question.ts'
import {
  announce,
  countAnswer,
  enter,
  find,
  ignore,
  layerOf,
  type Passage,
  refreshIn,
  type Standing,
} from '../node/serve.ts'
import { hostPart, mountedPath, queryOf } from '../node/target.ts'
import type { CacheOptions } from '../options/cache.ts'
import type { RouteOptions } from '../options/route.ts'
import type { Call, Target } from '../visit.ts'

type ParamNames<Path extends string> = Path extends `${string}:${infer Rest}`
  ? Rest extends `${infer Name}/${infer More}`
    ? NameOnly<Name> | ParamNames<More>
    : NameOnly<Rest>
  : never
type NameOnly<Text extends string> =
  Text extends `${infer Name}${'.' | '-' | '(' | '?' | '{' | '}' | '*' | '+'}${string}` ? Name : Text

/** Route parameters as @koa/router gives them; by name where the path is known as a type. */
export type KoaParams<Path extends string = string> = string extends Path
  ? Record<string, string>
  : { [Name in ParamNames<Path>]: string }

/** A Koa context with route parameters. */
export type KoaContext<Path extends string = string> = Handled & {
  readonly params: KoaParams<Path>
}

/** What the functions among a route's options are called with. */
export type KoaArgs<Path extends string = string> = [ctx: KoaContext<Path>]

type Handled = ParameterizedContext<DefaultState, object>

/** A middleware for `app.use`, `router.use` and router methods. */
export type KoaHandler = (ctx: Handled, next: Next) => Promise<void>

type Handle = Pick<Handled, 'res'>

/** A cache for a Koa application. */
export interface KoaCache<T extends string = string, Sync extends boolean = boolean> extends Controls<Handle, T> {
  /**
   * Caches the responses of the routes that it stands before: `router.get('/products', cached({ tags: ['products'] }), handler)`.
   * With the route's path as a type, `ctx.params` has its names: `cached<'/products/:id'>({ … })`.
   * Throws `ERR_TAGCACHE_OPTION_VALUE`, `ERR_TAGCACHE_OPTION_UNKNOWN` or `ERR_TAGCACHE_TAG` for bad options.
   */
  cached<Path extends string = string>(options?: RouteOptions<KoaArgs<Path>, T>): KoaHandler
  /**
   * Purges the tags that a route writes, after it has succeeded and before its client sees the answer.
   * Throws `ERR_TAGCACHE_TAG` for bad tags, `ERR_TAGCACHE_OPTION_UNKNOWN` for bad options.
   */
  invalidates<Path extends string = string>(
    tags: PurgeTags<KoaArgs<Path>, T>,
    options?: InvalidatesOptions<KoaArgs<Path>>,
  ): KoaHandler
  /**
   * Answers hits of routes with `front: true` before Koa sees the request: `http.createServer(front(app.callback()))`. An
   * application is changed in place, so that `app.listen()` does it too; what is returned is for a server. What layers above
   * those routes do is skipped then; see docs/front-door.md.
   */
  front(app: KoaApplication | RequestListener): RequestListener
  readonly cache: Cache<T, Sync>
}

/** As much of a Koa application as there is to stand in front of. */
export interface KoaApplication {
  callback(): RequestListener
}

/**
 * A cache for a Koa 2 or 3 application, from options or over a cache that is there already. Without options it keeps
 * entries in this process's memory for 60 seconds.
 * Throws `ERR_TAGCACHE_OPTION_VALUE`, `ERR_TAGCACHE_OPTION_UNKNOWN` or `ERR_TAGCACHE_NAMESPACE_TAKEN`.
 */
export function tagcache<T extends string = string>(
  options?: CacheOptions<KoaArgs, T> & { backend?: TagBackend<true> },
): KoaCache<T, true>
export function tagcache<T extends string = string>(
  options: CacheOptions<KoaArgs, T> & { backend: TagBackend<false> },
): KoaCache<T, false>
export function tagcache<T extends string = string>(options: CacheOptions<KoaArgs, T>): KoaCache<T>
export function tagcache<T extends string, Sync extends boolean>(cache: Cache<T, Sync>): KoaCache<T, Sync>
export function tagcache<T extends string>(optionsOrCache: CacheOptions<KoaArgs, T> | Cache<T> = {}): KoaCache<T> {
  const typed = optionsOrCache instanceof Cache ? optionsOrCache : new Cache<T>(optionsOrCache as CacheOptions<never>)
  const { flow } = typed
  makeExplainable(flow)
  return {
    cache: typed,
    cached: (options = {}) => cachedHandler(flow, options as RouteOptions<never>),
    invalidates: (tags, options) =>
      purgingHandler(flow, tags as PurgeTags<never>, options as InvalidatesOptions<never>),
    front: (app) => frontOf(flow, app),
    ...controlsOf<Handle, T>(flow, ({ res }) => res),
  }
}

function cachedHandler(flow: Flow, options: RouteOptions<never>): KoaHandler {
  const route = flow.makeRoute(options)
  return async function cached(ctx, next) {
    const { req, res } = ctx
    const passage: Passage = {
      flow,
      options,
      route,
      req,
      res,
      call: callerOf(ctx),
      target: () => targetOf(ctx, cached),
      application: () => ctx.app.callback(),
    }
    const standing = enter(passage)
    if (!standing) return next()
    const began = flow.events.beginAnswer()
    const found = find(passage, standing)
    await act(passage, isPromise(found) ? await found : found, standing, ctx, next, cached, began)
  }
}

// Nobody above sees what is set on the context.
function isOutermost(flow: Flow, { app, res }: Handled, self: KoaHandler): boolean {
  return app.middleware.lastIndexOf(self) === 0 && !layerOf(flow, res)
}

async function act(
  passage: Passage,
  finding: Finding,
  standing: Standing,
  ctx: Handled,
  next: Next,
  self: KoaHandler,
  began?: number,
): Promise<unknown> {
  const { flow, res } = passage
  if (finding.kind === 'hit') {
    refreshIn(passage, finding.refresh)
    const answer = isOutermost(flow, ctx, self) ? replayPastKoa : replayKoa
    if (!res.headersSent) return countAnswer(flow, finding, answer(ctx, finding.entry, finding), began)
    return res.writableEnded ? undefined : next()
  }
  if (finding.kind === 'run') {
    return res.destroyed ? abandon(flow, finding.run, 'aborted') : captureKoa(passage, finding.run, ctx, next)
  }
  if (finding.kind === 'complete') {
    refreshIn(passage, finding.refresh)
    return act(passage, await finding.result, standing, ctx, next, self)
  }
  if (finding.kind === 'refuse') {
    flow.record(finding.trace)
    return refuseKoa(ctx, finding.cacheStatus)
  }
  if (finding.kind === 'explained') {
    ctx.status = 204
    return undefined
  }
  if (finding.kind === 'ignore') {
    ignore(passage, standing)
    return next()
  }
  const run = announce(passage, finding, standing)
  return run ? captureKoa(passage, run, ctx, next) : next()
}

function purgingHandler(
  flow: Flow,
  tags: PurgeTags<never>,
  options: InvalidatesOptions<never> | undefined,
): KoaHandler {
  const purge = preparePurge(flow, tags, options)
  return async function invalidates(ctx, next) {
    const { req, res } = ctx
    const settle = purge({ req, res, call: callerOf(ctx), target: () => targetOf(ctx, invalidates) })
    await next()
    if (ctx.respond === false && !res.headersSent) return
    if (!(await settle(ctx.status)) && !res.headersSent) ctx.throw(503, UNDELIVERED)
  }
}

function frontOf(flow: Flow, app: KoaApplication | RequestListener): RequestListener {
  if (!('callback' in app)) return inFront(flow, app)
  if (!standing(flow).has(app)) {
    standing(flow).add(app)
    const { callback } = app
    app.callback = () => inFront(flow, callback.call(app))
  }
  // Koa puts its layers together when it is asked for this, and some may still be to come.
  let listener: RequestListener | undefined
  const front: RequestListener = (req, res) => {
    listener ??= app.callback()
    return listener(req, res)
  }
  standing(flow).add(front)
  return front
}

type RoutedContext = Handled & {
  readonly _matchedRoute?: string | RegExp
  readonly matched?: readonly {
    readonly path: unknown
    readonly methods: readonly string[]
    readonly stack: readonly unknown[]
  }[]
  params?: Record<string, string>
}

// @koa/router changes `ctx.params` from layer to layer: a function sees those of the layer in which it stands.
function callerOf(ctx: RoutedContext): Call {
  const { params } = ctx
  return (option) => {
    const current = ctx.params
    if (params) ctx.params = params
    try {
      return option(...([ctx] as never))
    } finally {
      if (current) ctx.params = current
    }
  }
}

function targetOf(ctx: RoutedContext, self: KoaHandler): Target {
  // What has the whole application as one of its handlers, as Express or Connect may, knows more of what the client sent.
  const { originalUrl = ctx.originalUrl } = ctx.req as IncomingMessage & { originalUrl?: string }
  const mounted = mountedPath(originalUrl, ctx.url)
  const route = currentRoute(ctx, self)
  return {
    pattern: route && mounted.mount + String(route.path),
    ...mounted,
    params: (route && ctx.params) ?? {},
    query: queryOf(ctx.url),
    host: hostPart(ctx.protocol, ctx.host),
    ...(route ? { methods: route.methods } : {}),
  }
}

// The router names the layer that it runs, and leaves it named afterwards: it is our route only if we stand in it.
function currentRoute(ctx: RoutedContext, self: KoaHandler) {
  return ctx.matched?.find(
    ({ path, methods, stack }) => path === ctx._matchedRoute && methods.length > 0 && stack.includes(self),
  )
}
