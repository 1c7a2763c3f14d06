import { IncomingMessage, type Server } from 'node:http'
import type { Socket } from 'node:net'
import type { Explanation } from '../core/explanation.ts'
import { REASONS, type Reason } from '../core/reasons.ts'
import { TagcacheError } from '../errors.ts'
import { explain, type Found } from '../flow/explain.ts'
import type { Flow } from '../flow/flow.ts'
import type { Finding } from '../flow/run.ts'
import type { RouteOptions } from '../options/route.ts'
import type { Visit } from '../visit.ts'
import { type Application, type Dispatch, dispatchFor, isRefresh, requestLike, responseToNobody } from './refresh.ts'

interface Question {
  readonly flow: Flow
  /** What the layer that it has come to says. */
  found?: Found
  error?: unknown
}

// The requests that were made to be explained. No client can make one.
const questions = new WeakMap<IncomingMessage, Question>()

/** Whether the request was made to be explained: nothing is to be done for it. */
export function isQuestion(req: IncomingMessage): boolean {
  return questions.has(req)
}

/** What a layer makes of a request that was made to be explained: it says what it would do, unless another cache is meant. */
export async function answerQuestion(
  flow: Flow,
  req: IncomingMessage,
  visit: Visit,
  given: RouteOptions<never>,
): Promise<Finding> {
  const question = questions.get(req)
  if (question?.flow !== flow) return { kind: 'ignore' }
  try {
    question.found = await explain(flow, { ...visit, canRefresh: () => isSafe(visit.method) }, given)
  } catch (error) {
    question.error = error
  }
  return { kind: 'explained' }
}

// ——— Which application is asked ———

/** An application that requests were seen of, and how they looked. */
interface Home {
  /** What it is known by. */
  readonly place: object
  readonly dispatch: Dispatch
  readonly host: string | undefined
  readonly isEncrypted: boolean
}

const homes = new WeakMap<Flow, Home[]>()
const MOST_HOMES = 8

/** Remembers the application that a request came to, so that others can be handed to it. */
export function rememberHome(flow: Flow, req: IncomingMessage, application: Application | undefined): void {
  const known = homes.get(flow) ?? []
  const { server, encrypted } = (req.socket ?? {}) as Socket & { server?: Server; encrypted?: boolean }
  if (isRefresh(req) || isQuestion(req) || (server && known.at(-1)?.place === server)) return
  const dispatch = dispatchFor(req, application)
  if (!dispatch) return
  const place = server ?? dispatch
  const { host, ':authority': authority } = req.headers
  const home = { place, dispatch, host: host ?? (authority as string | undefined), isEncrypted: encrypted === true }
  homes.set(flow, [...known.filter((other) => other.place !== place), home].slice(-MOST_HOMES))
  flow.hasApplication = true
}

function homesFor(flow: Flow, app: unknown): readonly Pick<Home, 'dispatch' | 'host' | 'isEncrypted'>[] {
  const known = homes.get(flow) ?? []
  if (app === undefined) return [...known].reverse()
  const { host, isEncrypted = false } = known.at(-1) ?? {}
  return [{ dispatch: dispatchOf(app), host, isEncrypted }]
}

// An Express application and a listener are functions, Koa's has one made, a server has them called.
function dispatchOf(app: unknown): Dispatch {
  if (typeof app === 'function') return app as Dispatch
  const { callback, emit } = Object(app) as { callback?: () => Dispatch; emit?: Server['emit'] }
  if (typeof callback === 'function') return callback.call(app)
  if (typeof emit === 'function') return (req, res) => Reflect.apply(emit, app, ['request', req, res])
  throw new TagcacheError('ERR_TAGCACHE_EXPLAIN', 'The `app` given to explain() is no application, listener or server.')
}

// ——— What is asked ———

/** A request as it is handed to the application. */
interface Asked {
  readonly method: string
  /** Path and query. */
  readonly url: string
  readonly host: string | undefined
  readonly isEncrypted: boolean | undefined
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  /** Of the client, where there is one. */
  readonly socket: object | undefined
}

function read(request: unknown): Asked {
  if (request instanceof IncomingMessage) {
    const { method = 'GET', headers, socket } = request
    const { originalUrl, url = '/' } = request as IncomingMessage & { originalUrl?: string }
    return { method, url: originalUrl ?? url, host: undefined, isEncrypted: undefined, headers: { ...headers }, socket }
  }
  const given = typeof request === 'string' || request instanceof URL ? { url: String(request) } : Object(request)
  const { url, method = 'GET', headers = {} } = given as { url?: unknown; method?: unknown; headers?: object }
  if (typeof url !== 'string' && !(url instanceof URL)) throw noRequest()
  const fields = Symbol.iterator in headers ? [...(headers as Iterable<[string, string]>)] : Object.entries(headers)
  const lower = Object.fromEntries(fields.map(([name, value]) => [String(name).toLowerCase(), value]))
  return { method: String(method).toUpperCase(), headers: lower, socket: undefined, ...target(String(url)) }
}

function target(url: string): Pick<Asked, 'url' | 'host' | 'isEncrypted'> {
  if (url.startsWith('/')) return { url: url.split('#', 1)[0]!, host: undefined, isEncrypted: undefined }
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (!parsed || !/^https?:$/.test(parsed.protocol)) throw noRequest()
  return { url: parsed.pathname + parsed.search, host: parsed.host, isEncrypted: parsed.protocol === 'https:' }
}

function noRequest(): TagcacheError {
  return new TagcacheError(
    'ERR_TAGCACHE_EXPLAIN',
    'explain() takes a request, an http(s) URL, a path that begins with a slash, or { url, method, headers }.',
  )
}

// ——— Asking ———

// An application that hangs is not waited for longer.
const LONGEST = 10_000

function isSafe(method: string): boolean {
  return method === 'GET' || method === 'HEAD'
}

/** Lets the cache be asked what it would do with a request, by handing one like it to the application. */
export function makeExplainable(flow: Flow): void {
  flow.ask ??= (request, app) => ask(flow, read(request), app)
}

async function ask(flow: Flow, asked: Asked, app: unknown): Promise<Explanation> {
  const { method, url } = asked
  const unreached = (reason: Reason, more: object = {}): Explanation => ({
    method,
    url,
    isReached: false,
    ...more,
    decision: { outcome: 'bypass', reason, forward: reason === 'method' ? 'method' : 'bypass', text: REASONS[reason] },
  })
  // It might write.
  if (!isSafe(method)) return unreached('method', flow.methods.has(method) ? { decision: unsent(method) } : {})
  const places = homesFor(flow, app)
  if (places.length === 0) {
    throw new TagcacheError(
      'ERR_TAGCACHE_EXPLAIN',
      'No request has come to this cache yet, so its application is not known: give it, as in explain(request, { app }).',
    )
  }
  let last: Explanation | undefined
  for (const place of places) {
    const { found, status } = await dispatch(flow, asked, place)
    if (found) return { method, url, isReached: true, ...found }
    last = status === undefined ? unreached('timeout') : unreached('unreached', { status })
  }
  return last!
}

function unsent(method: string): Explanation['decision'] {
  const text = `A request with ${method} is not handed to the application to be explained, since it might write. A route that lists ${method} caches it under what its \`key\` gives.`
  return { outcome: 'bypass', reason: 'method', forward: 'method', text }
}

type Ending = { readonly found?: Found | undefined; readonly status?: number }

function dispatch(flow: Flow, asked: Asked, { dispatch, ...home }: Pick<Home, 'dispatch' | 'host' | 'isEncrypted'>) {
  const { method, url, headers, host = home.host, isEncrypted = home.isEncrypted } = asked
  const socket = asked.socket ?? { remoteAddress: '127.0.0.1', encrypted: isEncrypted }
  const fields = { ...(host === undefined ? {} : { host }), ...headers }
  const req = requestLike(socket as Socket, { method, url, headers: fields as IncomingMessage['headers'] })
  const question: Question = { flow }
  questions.set(req, question)
  return new Promise<Ending>((resolve, reject) => {
    const end = (status?: number) => {
      cancel()
      if (question.error !== undefined) return reject(question.error)
      resolve({ found: question.found, ...(status === undefined ? {} : { status }) })
    }
    const res = responseToNobody(req, () => end(res.statusCode))
    const cancel = flow.after(LONGEST, () => {
      end()
      res.destroy()
    })
    try {
      const done = dispatch(req, res)
      if (done instanceof Promise) done.catch(() => res.destroy())
    } catch {
      res.destroy()
    }
  })
}
