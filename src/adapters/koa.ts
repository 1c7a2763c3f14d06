import type { DefaultState, Next, ParameterizedContext } from 'koa'
import { Cache } from '../cache.ts'
import { isPromise, type MaybePromise } from '../core/maybe.ts'
import { type Controls, controlsOf } from '../node/controls.ts'
import { captureKoa, replayKoa } from '../node/koa.ts'
import { type InvalidatesOptions, type PurgeTags, preparePurge, purgeOnAnswer } from '../node/purge.ts'
import { announce, enter, type Passage, visitOf } from '../node/serve.ts'
import { hostPart, mountedPath, pathOf } from '../node/target.ts'
import type { CacheOptions, RouteOptions } from '../options.ts'
import type { Target } from '../visit.ts'

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
export type KoaContext<Path extends string = string> = ParameterizedContext<DefaultState, object> & {
  readonly params: KoaParams<Path>
}

/** What the functions among a route's options are called with. */
export type KoaArgs<Path extends string = string> = [ctx: KoaContext<Path>]

/** A middleware for `app.use`, `router.use` and router methods. */
export type KoaHandler = (ctx: ParameterizedContext<DefaultState, object>, next: Next) => Promise<void>

type Handle = Pick<ParameterizedContext<DefaultState, object>, 'res'>

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
  readonly cache: Cache<T, Sync>
}

/**
 * A cache for a Koa 2 or 3 application, from options or over a cache that is there already. Without options it keeps
 * entries in this process's memory for 60 seconds.
 * Throws `ERR_TAGCACHE_OPTION_VALUE`, `ERR_TAGCACHE_OPTION_UNKNOWN` or `ERR_TAGCACHE_NAMESPACE_TAKEN`.
 */
export function tagcache<T extends string = string>(options?: CacheOptions<KoaArgs, T>): KoaCache<T>
export function tagcache<T extends string, Sync extends boolean>(cache: Cache<T, Sync>): KoaCache<T, Sync>
export function tagcache<T extends string>(optionsOrCache: CacheOptions<KoaArgs, T> | Cache<T> = {}): KoaCache<T> {
  const typed = optionsOrCache instanceof Cache ? optionsOrCache : new Cache<T>(optionsOrCache as CacheOptions<never>)
  const cache = typed as unknown as Cache
  return {
    cache: typed,
    cached: (options = {}) => cachedHandler(cache, options as RouteOptions<never>),
    invalidates: (tags, options) =>
      purgingHandler(cache, tags as PurgeTags<never>, options as InvalidatesOptions<never>),
    ...controlsOf<Handle, T>(cache, ({ res }) => res),
  }
}

function cachedHandler(cache: Cache, options: RouteOptions<never>): KoaHandler {
  const route = cache.route(options)
  return async function cached(ctx, next) {
    const { req, res } = ctx
    const passage: Passage = { cache, options, route, req, res, args: [ctx], target: () => targetOf(ctx) }
    const effective = enter(passage)
    if (!effective) return next()
    const looked = cache.look(visitOf(passage, effective), (leave) => res.once('close', leave))
    const finding = isPromise(looked) ? await looked : looked
    if (finding.kind === 'hit') return replayKoa(ctx, finding)
    if (finding.kind === 'run')
      return res.destroyed ? cache.abandon(finding.run, 'aborted') : captureKoa(cache, finding.run, ctx, next)
    announce(passage, finding)
    await next()
  }
}

function purgingHandler(
  cache: Cache,
  tags: PurgeTags<never>,
  options: InvalidatesOptions<never> | undefined,
): KoaHandler {
  const purge = preparePurge(cache, tags, options)
  return async function invalidates(ctx, next) {
    const settle: (status: number) => MaybePromise<void> = purgeOnAnswer(cache, purge, ctx.res, [ctx])
    await next()
    if (ctx.respond !== false || ctx.res.headersSent) await settle(ctx.status)
  }
}

interface Routed {
  readonly _matchedRoute?: string | RegExp
  readonly params?: Record<string, string>
}

function targetOf(ctx: ParameterizedContext<DefaultState, object> & Routed): Target {
  const { path, mount } = mountedPath(pathOf(ctx.originalUrl), ctx.path)
  const matched = ctx._matchedRoute
  return {
    pattern: matched === undefined ? undefined : mount + String(matched),
    path,
    params: matched === undefined ? {} : (ctx.params ?? {}),
    query: ctx.querystring,
    host: hostPart(ctx.protocol, ctx.host),
  }
}
