import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Cache } from '../cache.ts'
import { combined } from '../http/fields.ts'
import { codingWeights, weightOf } from '../http/negotiation.ts'
import { rememberHome } from '../node/home.ts'
import { isQuestion } from '../node/question.ts'
import { queryOf } from '../node/target.ts'
import { type Answering, type Desk, QUESTIONS, READS, tick, WRITES } from './api.ts'
import { readObject } from './body.ts'
import { crossSiteRead, crossSiteWrite } from './cross-site.ts'
import { type PageFile, readPage } from './files.ts'
import { fleetReading } from './fleet.ts'
import { Live } from './live.ts'
import type { DashboardOptions, ResolvedDashboard } from './options.ts'
import { resolveDashboard } from './options.ts'
import { type Place, placeOf } from './place.ts'
import { Recorder } from './recorder.ts'
import { Refusal, send, sendJson, sendRefusal } from './reply.ts'
import { isLocal, type Visitor, visitorOf } from './visitor.ts'

export type { Authorisation, Authorize, DashboardOptions } from './options.ts'
export { byToken } from './visitor.ts'

/** As much of a Koa context as a dashboard needs. */
export interface DashboardContext {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly originalUrl: string
  readonly request: { readonly body?: unknown }
  respond?: boolean
}

/** A dashboard, as a middleware: `app.use('/cache', dashboard(cache, { authorize }))`. */
export interface Dashboard<Req = IncomingMessage, Ctx = unknown> {
  /** For Express, Connect and node:http. What is not under its `path` goes on to `next`. */
  (req: Req, res: ServerResponse, next?: (error?: unknown) => void): void
  /** For Koa: `app.use(dashboard(cache, { authorize, path: '/cache' }).koa)`, or mounted with koa-mount. */
  readonly koa: (ctx: Ctx & DashboardContext, next: () => Promise<unknown>) => Promise<void>
  /** Ends what it has started; the cache does that when it is closed. */
  close(): void
}

/**
 * A page, and the admin routes behind it, that show what a cache does, and purge. Nothing is recorded for it before it is made.
 * Throws `ERR_TAGCACHE_DASHBOARD_OPEN` where nobody says who may see it, `ERR_TAGCACHE_OPTION_VALUE` or `ERR_TAGCACHE_OPTION_UNKNOWN` for bad options.
 */
export function dashboard<
  T extends string = string,
  Sync extends boolean = boolean,
  Req extends IncomingMessage = IncomingMessage,
  Ctx = unknown,
>(cache: Cache<T, Sync>, options: DashboardOptions<Req, Ctx> = {}): Dashboard<Req, Ctx> {
  const counter = openCounter(cache as unknown as Cache, resolveDashboard(options))
  return Object.assign(
    (req: Req, res: ServerResponse, next?: (error?: unknown) => void) => {
      const { originalUrl = req.url ?? '', body } = req as { originalUrl?: string; body?: unknown; url?: string }
      const place = placeOf(req.url ?? '', originalUrl, counter.options.path)
      if (!place && next) return next()
      void serve(counter, { req, res, context: undefined as Ctx, parsed: body }, place)
    },
    {
      async koa(ctx: Ctx & DashboardContext, next: () => Promise<unknown>) {
        const { req, res, originalUrl } = ctx
        const place = placeOf(req.url ?? '', originalUrl, counter.options.path)
        if (!place) return void (await next())
        ctx.respond = false
        await serve(counter, { req: req as Req, res, context: ctx, parsed: ctx.request.body }, place)
      },
      close: counter.close,
    },
  )
}

/** What the requests to one dashboard share. */
interface Counter<Req, Ctx> {
  readonly options: ResolvedDashboard<Req, Ctx>
  readonly desk: Desk
  readonly live: Live
  readonly files: ReadonlyMap<string, PageFile>
  close(): void
}

/** One request to a dashboard. */
interface Call<Req, Ctx> {
  readonly req: Req
  readonly res: ServerResponse
  readonly context: Ctx
  /** What a layer above has read of the body. */
  readonly parsed: unknown
}

function openCounter<Req, Ctx>(cache: Cache, options: ResolvedDashboard<Req, Ctx>): Counter<Req, Ctx> {
  const live = new Live(options.maxStreams)
  const recorder = new Recorder(cache, () => live.tell(() => tick(desk)))
  const desk: Desk = { cache, recorder, isReadOnly: options.isReadOnly, readFleet: fleetReading(cache) }
  const close = () => {
    cache.flow.onClose.delete(close)
    recorder.close()
    live.close()
  }
  cache.flow.onClose.add(close)
  return { options, desk, live, files: readPage(), close }
}

async function serve<Req extends IncomingMessage, Ctx>(
  counter: Counter<Req, Ctx>,
  call: Call<Req, Ctx>,
  place: Place | undefined,
): Promise<void> {
  const { req, res } = call
  try {
    // Nobody is there to watch.
    if (isQuestion(req)) throw new Refusal(403, 'forbidden', 'A dashboard is not to be explained.')
    const visitor = await admit(counter, call)
    const { flow } = counter.desk.cache
    // Before anybody has asked for anything else, this is the application that can be asked to explain.
    if (!flow.hasApplication) rememberHome(flow, req, undefined)
    await answer(counter, call, place, visitor)
  } catch (error) {
    sendRefusal(req, res, error)
    if (!(error instanceof Refusal)) counter.desk.cache.flow.warn('TAGCACHE_DASHBOARD_FAILED', undefined, error)
  }
}

async function admit<Req extends IncomingMessage, Ctx>(
  { options: { authorize }, desk }: Counter<Req, Ctx>,
  { req, context }: Call<Req, Ctx>,
): Promise<Visitor> {
  if (!authorize) {
    if (isLocal(req)) return { name: 'somebody on this machine' }
    throw new Refusal(403, 'not-local', 'Without `authorize` the dashboard is for this machine alone.')
  }
  const visitor = await Promise.resolve()
    .then(() => authorize(req, context))
    .then(visitorOf)
    .catch((error) => void desk.cache.flow.warn('TAGCACHE_AUTHORIZE_FAILED', undefined, error))
  if (visitor) return visitor
  if (authorize.challenge === undefined) throw new Refusal(403, 'forbidden', 'You may not see this.')
  throw new Refusal(401, 'unauthorised', 'Say who you are.', { 'WWW-Authenticate': authorize.challenge })
}

function answer<Req extends IncomingMessage, Ctx>(
  counter: Counter<Req, Ctx>,
  call: Call<Req, Ctx>,
  place: Place | undefined,
  visitor: Visitor,
): Promise<void> | void {
  const { req, res } = call
  if (!place) throw notFound()
  const { path } = place
  const file = counter.files.get(path)
  const answering = READS.get(path)
  if (file || answering || path === '/api/live') {
    allow(req, ['GET', 'HEAD'])
    if (file) return sendFile(req, res, file, place)
    refuse(crossSiteRead(req.headers, counter.options.origins))
    return answering ? reply(counter, call, answering, visitor) : counter.live.open(req, res)
  }
  const write = WRITES.get(path)
  const posted = write ?? QUESTIONS.get(path)
  if (!posted) throw notFound()
  allow(req, ['POST'])
  refuse(crossSiteWrite(req.headers, counter.options.origins))
  if (write && counter.desk.isReadOnly) throw new Refusal(403, 'read-only', 'Here nobody may purge.')
  return reply(counter, call, posted, visitor)
}

function sendFile(req: IncomingMessage, res: ServerResponse, file: PageFile, { redirect }: Place): void {
  // Everything on the page is named relatively to it.
  if (redirect !== undefined) return send(req, res, 308, Buffer.alloc(0), { Location: redirect })
  const headers = { 'Content-Type': file.type, Vary: 'Accept-Encoding' }
  const weights = codingWeights(combined(req.headers, 'accept-encoding'))
  if (weights && weightOf('gzip', weights) > 0) {
    send(req, res, 200, file.gzipped, { ...headers, 'Content-Encoding': 'gzip' })
  } else send(req, res, 200, file.body, headers)
}

async function reply<Req extends IncomingMessage, Ctx>(
  { desk }: Counter<Req, Ctx>,
  { req, res, parsed }: Call<Req, Ctx>,
  answering: Answering,
  visitor: Visitor,
): Promise<void> {
  const given = req.method === 'POST' ? await readObject(req, parsed) : {}
  const query = new URLSearchParams(queryOf(req.url ?? ''))
  sendJson(req, res, 200, await answering(desk, { query, given, visitor }))
}

function allow({ method = '' }: IncomingMessage, methods: readonly string[]): void {
  if (methods.includes(method)) return
  throw new Refusal(405, 'method', `It answers ${methods.join(' and ')}.`, { Allow: methods.join(', ') })
}

function refuse(why: string | undefined): void {
  if (why !== undefined) throw new Refusal(403, 'cross-site', why)
}

function notFound(): Refusal {
  return new Refusal(404, 'not-found', 'There is nothing of that name.')
}
