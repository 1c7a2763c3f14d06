import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { createRequire } from 'node:module'
import Router from '@koa/router'
import express5, { type Express, type NextFunction, type Request, type Response } from 'express'
import Koa3, { type Context, type Next } from 'koa'
import { onTestFinished } from 'vitest'
import { tagcache as expressCache } from '../../src/adapters/express.ts'
import { tagcache as koaCache } from '../../src/adapters/koa.ts'
import { tagcache as nodeCache } from '../../src/adapters/node.ts'
import type { Cache, CacheEvent, CacheOptions, MaybePromise, RouteOptions, TagList } from '../../src/index.ts'
import { type Answer, ask, listen, type Question, type TestServer } from './http.ts'
import { ManualTime } from './time.ts'

const require = createRequire(import.meta.url)
const express4 = require('express4') as typeof express5
const Koa2 = require('koa2') as typeof Koa3
const polka = require('polka') as () => PolkaApp

interface PolkaApp {
  use(...layers: unknown[]): PolkaApp
  add(method: string, path: string, ...layers: unknown[]): PolkaApp
  readonly handler: RequestListener
}

/** One request, as every framework shows it to the tests. */
export interface Call {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly params: Readonly<Record<string, string>>
  /** What `tag`, `skip` and `ttl` of the adapter take. */
  readonly handle: unknown
}

/** What a handler answers, to be written in the framework's own way. */
export type Reply =
  | string
  | {
      readonly status?: number
      readonly headers?: Readonly<Record<string, string | string[]>>
      readonly body?: string | Buffer
    }

export type Handler = (call: Call) => MaybePromise<Reply>

/** A middleware of some framework. */
export type Layer = (...args: never[]) => unknown

type Ask<V> = (call: Call) => V

/** The options of a route whose functions take a call. */
export type CallOptions = Omit<RouteOptions, 'tags' | 'scope' | 'key' | 'enabled' | 'host'> & {
  readonly tags?: TagList | Ask<TagList>
  readonly scope?: 'public' | Ask<string | number | null | undefined>
  readonly key?: Ask<string | undefined>
  readonly enabled?: boolean | Ask<boolean>
  readonly host?: boolean | Ask<string>
}

export type CallCacheOptions = Omit<CacheOptions, keyof CallOptions> & Omit<CallOptions, 'tags' | 'name'>

/** An adapter whose functions take a call. */
export interface Tools {
  readonly cache: Cache
  cached(options?: CallOptions): Layer
  invalidates(tags: TagList | Ask<MaybePromise<TagList>>, options?: { when?: Ask<boolean> }): Layer
  tag(call: Call, ...tags: TagList[]): void
  skip(call: Call): void
  ttl(call: Call, duration: number | string): void
  /** Stands in front of what a server listens with. */
  front(listener: RequestListener): RequestListener
}

/** A place where routes are mounted. */
export interface Mount {
  use(...layers: Layer[]): void
  on(method: string, path: string, ...layersAndHandler: [...Layer[], Handler]): void
  /** As `on`, for a handler that writes the response with node:http. */
  raw(method: string, path: string, ...layersAndHandler: [...Layer[], RawHandler]): void
}

export type RawHandler = (req: IncomingMessage, res: ServerResponse) => unknown

export interface App extends Mount {
  mount(prefix: string, build: (inner: Mount) => void): void
  listener(): RequestListener
}

/** A framework in one version, with the adapter for it. */
export interface Stack {
  readonly name: string
  readonly kind: 'express' | 'koa' | 'node'
  /** Whether the cache stands in front of the applications, so that its hits pass no layer. */
  readonly isFronted?: boolean
  /** Whether keys have the route's pattern and parameters, or the path alone. */
  readonly hasPatterns: boolean
  app(): App
  tools(optionsOrCache?: CallCacheOptions | Cache): Tools
  /** A middleware that does something, and then lets the others go on. */
  before(act: (call: Call) => unknown): Layer
}

type Adapter = {
  cache: Cache
  cached(options?: RouteOptions<never>): unknown
  invalidates(tags: never, options?: never): unknown
  tag(handle: never, ...tags: TagList[]): void
  skip(handle: never): void
  ttl(handle: never, duration: number | string): void
  front(listener: never): unknown
}

function toolsOf(adapter: Adapter, callOf: (...args: never[]) => Call): Tools {
  const adapt = (options: object | undefined) =>
    options === undefined
      ? undefined
      : Object.fromEntries(
          Object.entries(options).map(([name, value]) => [name, isAsked(name) ? asking(value) : value]),
        )
  const asking = (value: unknown) =>
    typeof value === 'function' ? (...args: never[]) => value(callOf(...args)) : value
  return {
    cache: adapter.cache,
    cached: (options) => adapter.cached(adapt(options) as never) as Layer,
    invalidates: (tags, options) => adapter.invalidates(asking(tags) as never, adapt(options) as never) as Layer,
    tag: (call, ...tags) => adapter.tag(call.handle as never, ...tags),
    skip: (call) => adapter.skip(call.handle as never),
    ttl: (call, duration) => adapter.ttl(call.handle as never, duration),
    front: (listener) => adapter.front(listener as never) as RequestListener,
  }
}

function isAsked(option: string): boolean {
  return ['tags', 'scope', 'key', 'enabled', 'host', 'when'].includes(option)
}

function asCacheOptions(given: CallCacheOptions | Cache | undefined, callOf: (...args: never[]) => Call): never {
  const { scope, enabled } = (given ?? {}) as CallCacheOptions
  const asked = Object.entries({ scope, enabled }).filter(([, value]) => typeof value === 'function')
  if (asked.length === 0) return given as never
  const adapted = asked.map(([name, value]) => [name, (...args: never[]) => (value as Ask<unknown>)(callOf(...args))])
  return { ...given, ...Object.fromEntries(adapted) } as never
}

function partsOf(reply: Reply) {
  const { status = 200, headers = {}, body } = typeof reply === 'string' ? { body: reply } : reply
  return { status, headers, body }
}

function split<H>(layersAndHandler: readonly [...Layer[], H]): [layers: Layer[], handler: H] {
  return [layersAndHandler.slice(0, -1) as Layer[], layersAndHandler.at(-1) as H]
}

// ——— Express ———

function expressStack(name: string, express: typeof express5): Stack {
  const callOf = (req: Request, res: Response): Call => ({
    req,
    res,
    params: (req.params ?? {}) as Record<string, string>,
    handle: res,
  })
  const handlerOf = (handler: Handler) => async (req: Request, res: Response, next: NextFunction) => {
    try {
      const { status, headers, body } = partsOf(await handler(callOf(req, res)))
      res.status(status).set(headers as Record<string, string>)
      if (body === undefined) res.end()
      else res.send(body)
    } catch (error) {
      next(error)
    }
  }
  const mountOf = (router: Pick<Express, 'use' | 'all'>): Mount => ({
    use: (...layers) => void router.use(...(layers as never[])),
    on: (method, path, ...rest) => add(router, method, path, rest, handlerOf),
    raw: (method, path, ...rest) => add(router, method, path, rest, nodeRawOf),
  })
  const add = <H>(
    router: unknown,
    method: string,
    path: string,
    rest: [...Layer[], H],
    wrap: (handler: H) => unknown,
  ) => {
    const [layers, handler] = split(rest)
    ;(router as Record<string, (...args: unknown[]) => void>)[method.toLowerCase()]!(path, ...layers, wrap(handler))
  }
  return {
    name,
    kind: 'express',
    hasPatterns: true,
    app() {
      const app = express()
      app.set('env', 'test')
      return {
        ...mountOf(app),
        mount(prefix, build) {
          const router = express.Router()
          build(mountOf(router as never))
          app.use(prefix, router)
        },
        listener: () => app,
      }
    },
    tools: (given) => toolsOf(expressCache(asCacheOptions(given, callOf)) as unknown as Adapter, callOf),
    before: (act) => (req: Request, res: Response, next: NextFunction) => {
      act(callOf(req, res))
      next()
    },
  }
}

// ——— Koa ———

function koaStack(name: string, Koa: typeof Koa3): Stack {
  const callOf = (ctx: Context): Call => ({
    req: ctx.req,
    res: ctx.res,
    params: (ctx.params ?? {}) as Record<string, string>,
    handle: ctx,
  })
  const handlerOf = (handler: Handler) => async (ctx: Context) => {
    const { status, headers, body } = partsOf(await handler(callOf(ctx)))
    ctx.set(headers as Record<string, string>)
    ctx.status = status
    if (body !== undefined) ctx.body = body
    else if (status !== 304) ctx.body = null
    if (body === undefined) ctx.status = status
  }
  const mountOf = (router: Router, add: (...layers: never[]) => unknown): Mount => ({
    use: (...layers) => void add(...(layers as never[])),
    on(method, path, ...rest) {
      const [layers, handler] = split(rest)
      router.register(path, [method], [...layers, handlerOf(handler)] as never)
    },
    raw(method, path, ...rest) {
      const [layers, handler] = split(rest)
      // Koa begins with 404; a handler that knows nothing of it begins with 200.
      const bypassing = (ctx: Context) => {
        ctx.res.statusCode = 200
        handler(ctx.req, ctx.res)
        ctx.respond = false
      }
      router.register(path, [method], [...layers, bypassing] as never)
    },
  })
  return {
    name,
    kind: 'koa',
    hasPatterns: true,
    app() {
      const app = new Koa()
      app.silent = true
      const router = new Router()
      return {
        ...mountOf(router, (...layers: never[]) => layers.forEach((layer) => void app.use(layer))),
        mount(prefix, build) {
          const inner = new Router()
          build(mountOf(inner, (...layers: never[]) => inner.use(...layers)))
          app.use(mounted(prefix, inner.routes() as never))
        },
        listener: () => app.use(router.routes() as never).callback(),
      }
    },
    tools: (given) => toolsOf(koaCache(asCacheOptions(given, callOf)) as unknown as Adapter, callOf),
    before: (act) => async (ctx: Context, next: Next) => {
      act(callOf(ctx))
      await next()
    },
  }
}

// As koa-mount does: the prefix is cut off for those inside.
function mounted(prefix: string, inner: (ctx: Context, next: Next) => Promise<unknown>) {
  return async (ctx: Context, next: Next) => {
    const outer = ctx.path
    if (outer !== prefix && !outer.startsWith(`${prefix}/`)) return next()
    ctx.path = outer.slice(prefix.length) || '/'
    await inner(ctx, async () => {
      ctx.path = outer
      await next()
    })
    ctx.path = outer
  }
}

// ——— node:http, and what is like it ———

type NodeRequest = IncomingMessage & { params?: Record<string, string>; originalUrl?: string }
type NodeNext = (error?: unknown) => unknown

const nodeCallOf = (req: NodeRequest, res: ServerResponse): Call => ({
  req,
  res,
  params: req.params ?? {},
  handle: res,
})

const nodeHandlerOf = (handler: Handler) => async (req: NodeRequest, res: ServerResponse, next: NodeNext) => {
  try {
    const { status, headers, body } = partsOf(await handler(nodeCallOf(req, res)))
    res.statusCode = status
    for (const [field, value] of Object.entries(headers)) res.setHeader(field, value)
    res.end(body)
  } catch (error) {
    next(error)
  }
}

const nodeRawOf = (handler: RawHandler) => (req: NodeRequest, res: ServerResponse) => {
  try {
    handler(req, res)
  } catch (error) {
    answerError(res, error)
  }
}

function answerError(res: ServerResponse, error: unknown): void {
  if (res.headersSent) return void res.destroy()
  res.statusCode = 500
  res.end(`failed: ${(error as Error).message}`)
}

interface NodeRoute {
  readonly matches: (req: NodeRequest) => Record<string, string> | undefined
  readonly layers: readonly Layer[]
}

/** Handlers of node:http on routes; how a route comes about is the framework's. */
abstract class RoutedApp {
  protected abstract add(method: string, path: string, layers: readonly Layer[]): void

  on(method: string, path: string, ...rest: [...Layer[], Handler]): void {
    const [layers, handler] = split(rest)
    this.add(method, path, [...layers, nodeHandlerOf(handler)])
  }

  raw(method: string, path: string, ...rest: [...Layer[], RawHandler]): void {
    const [layers, handler] = split(rest)
    this.add(method, path, [...layers, nodeRawOf(handler)])
  }
}

class PlainApp extends RoutedApp implements App {
  readonly #routes: NodeRoute[] = []

  use(...layers: Layer[]): void {
    this.#routes.push({ matches: () => ({}), layers })
  }

  mount(prefix: string, build: (inner: Mount) => void): void {
    const inner = new PlainApp()
    build(inner)
    const handle = inner.listener()
    const matches = ({ url = '' }: NodeRequest) => (url.startsWith(`${prefix}/`) ? {} : undefined)
    const enter = (req: NodeRequest, res: ServerResponse) => {
      req.originalUrl = req.url!
      req.url = req.url!.slice(prefix.length)
      handle(req, res as never)
    }
    this.#routes.push({ matches, layers: [enter] })
  }

  listener(): RequestListener {
    return (req: NodeRequest, res) => {
      const steps = this.#routes.flatMap(({ matches, layers }) => {
        const params = matches(req)
        return params ? layers.map((layer) => ({ layer: layer as (...args: unknown[]) => unknown, params })) : []
      })
      const run = (at: number) => {
        const step = steps[at]
        if (!step) return answerError(res, new Error('no route'))
        req.params = step.params
        step.layer(req, res, (error?: unknown) => (error ? answerError(res, error) : run(at + 1)))
      }
      run(0)
    }
  }

  protected override add(method: string, path: string, layers: readonly Layer[]): void {
    const pattern = new RegExp(`^${path.replace(/:(\w+)/g, '(?<$1>[^/]+)')}$`)
    const matches = (req: NodeRequest) => {
      if (req.method !== method && !(req.method === 'HEAD' && method === 'GET')) return undefined
      const found = pattern.exec(req.url!.split('?', 1)[0]!)
      return found ? { ...found.groups } : undefined
    }
    this.#routes.push({ matches, layers })
  }
}

class Polka extends RoutedApp implements App {
  readonly #app = Object.assign(polka(), { onError: polkaError })

  use(...layers: Layer[]): void {
    this.#app.use(...layers)
  }

  mount(prefix: string, build: (inner: Mount) => void): void {
    const inner = new Polka()
    build(inner)
    this.#app.use(prefix, inner.#app)
  }

  listener(): RequestListener {
    return this.#app.handler
  }

  protected override add(method: string, path: string, layers: readonly Layer[]): void {
    for (const verb of method === 'GET' ? ['GET', 'HEAD'] : [method]) this.#app.add(verb, path, ...layers)
  }
}

function polkaError(error: unknown, _req: IncomingMessage, res: ServerResponse): void {
  answerError(res, error)
}

function nodeStack(name: string, makeApp: () => App): Stack {
  return {
    name,
    kind: 'node',
    hasPatterns: false,
    app: makeApp,
    tools: (given) => toolsOf(nodeCache(asCacheOptions(given, nodeCallOf)) as unknown as Adapter, nodeCallOf),
    before: (act) => (req: NodeRequest, res: ServerResponse, next: NodeNext) => {
      act(nodeCallOf(req, res))
      next()
    },
  }
}

/** Every framework and version that the adapters are for. */
export const STACKS: readonly Stack[] = [
  expressStack('Express 4', express4),
  expressStack('Express 5', express5),
  koaStack('Koa 2', Koa2),
  koaStack('Koa 3', Koa3),
  nodeStack('node:http', () => new PlainApp()),
  nodeStack('Polka', () => new Polka()),
]

/** The versions of Express, for what only Express has. */
export const EXPRESSES = [
  { name: 'Express 4', express: express4 },
  { name: 'Express 5', express: express5 },
]

/** The versions of Koa, for what only Koa has. */
export const KOAS = [
  { name: 'Koa 2', Koa: Koa2, version: 2 },
  { name: 'Koa 3', Koa: Koa3, version: 3 },
]

/** The stack with the cache standing in front of its applications, and every route that can be answered there saying so. */
export function fronted(stack: Stack): Stack {
  let front = (listener: RequestListener) => listener
  return {
    ...stack,
    isFronted: true,
    tools(given) {
      const tools = stack.tools(given)
      front = tools.front
      const isSeen = ({ scope, host, key, enabled }: CallOptions) =>
        [scope, host, key, enabled, (given as CallCacheOptions)?.scope].every((option) => typeof option !== 'function')
      return {
        ...tools,
        cached: (options = {}) => tools.cached(isSeen(options) ? { front: true, ...options } : options),
      }
    },
    app() {
      const app = stack.app()
      const listener = app.listener.bind(app)
      return Object.assign(app, { listener: () => front(listener()) })
    },
  }
}

// ——— A site: a server with a cache ———

/** A running server of one stack, and its cache. */
export interface Site extends Tools {
  readonly server: TestServer
  readonly port: number
  get(path: string, headers?: Question['headers']): Promise<Answer>
  send(method: string, path: string, question?: Question): Promise<Answer>
  /** What the cache has told so far. */
  readonly events: readonly CacheEvent[]
}

/** Starts a server that ends with the test. */
export async function site(
  stack: Stack,
  options: CallCacheOptions | Cache,
  build: (app: App, tools: Tools) => void,
): Promise<Site> {
  const tools = stack.tools(options)
  const app = stack.app()
  build(app, tools)
  const server = await listen(app.listener())
  onTestFinished(() => server.close())
  const events: CacheEvent[] = []
  tools.cache.on((event) => events.push(event))
  const send = (method: string, path: string, question: Question = {}) =>
    ask(server.url + path, { ...question, method })
  return {
    ...tools,
    server,
    port: server.port,
    events,
    send,
    get: (path, headers) => send('GET', path, headers ? { headers } : {}),
  }
}

/** A site with one cached route, at `/`. */
export function oneRoute(
  stack: Stack,
  handler: Handler,
  route: CallOptions = {},
  options: CallCacheOptions = { time: new ManualTime() },
): Promise<Site> {
  return site(stack, options, (app, { cached }) => app.on('GET', '/', cached(route), handler))
}

/** A handler whose answer names which run of it made it. */
export function counting(reply: (text: string, call: Call) => MaybePromise<Reply> = (text) => text): Handler & {
  readonly runs: () => number
} {
  let runs = 0
  return Object.assign((call: Call) => reply(`run ${++runs}`, call), { runs: () => runs })
}

/** Gives the event loop a few turns, for what nobody can be told of. */
export async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}

/** Waits until something has come true. */
export async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve))
}
