import { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { Explanation } from '../core/explanation.ts'
import { REASONS, type Reason } from '../core/reasons.ts'
import { TagcacheError } from '../errors.ts'
import { explain, type Found } from '../flow/explain.ts'
import type { AskOptions, Flow } from '../flow/flow.ts'
import type { Finding } from '../flow/run.ts'
import { type ResolvedRoute, type RouteOptions, shareKey } from '../options/route.ts'
import type { Visit } from '../visit.ts'
import { type Aim, type Door, doorsFor } from './home.ts'
import { requestLike, responseToNobody } from './refresh.ts'

interface Question {
  readonly flow: Flow
  /** What the layer that it has come to says. */
  found?: Found
  /** Of that layer. */
  route?: ResolvedRoute
  given?: RouteOptions<never>
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
  const { found: outer, route } = question
  try {
    const options = { ...question.given, ...withoutUndefined(given) }
    const found = await explain(flow, { ...visit, canRefresh: () => isSafe(visit.method) }, options)
    const isOuter = outer && route && (answers(outer) || (outer.key && shareKey(visit.route, route)))
    question.found = isOuter ? { ...outer, options: found.options! } : found
    question.given = options
  } catch (error) {
    question.error = error
    return { kind: 'explained' }
  }
  if (outer || !flow.nested.has(pathOf(req))) return { kind: 'explained' }
  question.route = visit.route
  return { kind: 'ignore' }
}

// Whether a request goes no further. Where it does, a layer inside that keeps to the same key only adds its options.
function answers({ decision: { outcome, reason } }: Found): boolean {
  return (outcome !== 'miss' && outcome !== 'bypass') || reason === 'only-if-cached' || reason === 'closed'
}

function withoutUndefined<O extends object>(options: O): O {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as O
}

/** The path of a request, as far as layers above have left it. */
export function pathOf({ url = '/', originalUrl = url }: IncomingMessage & { originalUrl?: string }): string {
  return originalUrl.split('?', 1)[0]!
}

// ——— What is asked ———

/** A request as it is handed to the application. */
interface Asked {
  readonly method: string
  /** Path and query. */
  readonly url: string
  readonly aim: Aim
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: Uint8Array | undefined
  /** Of the client, where there is one. */
  readonly socket: object | undefined
}

function read(request: unknown): Asked {
  if (request instanceof IncomingMessage) {
    const { method = 'GET', headers, socket } = request
    const { originalUrl, url = '/' } = request as IncomingMessage & { originalUrl?: string }
    return { method, url: originalUrl ?? url, aim: NOWHERE, headers: { ...headers }, body: undefined, socket }
  }
  const given = typeof request === 'string' || request instanceof URL ? { url: String(request) } : Object(request)
  const { url, method = 'GET', headers = {}, body } = given as Record<string, unknown> & { headers?: object }
  if (typeof url !== 'string' && !(url instanceof URL)) throw noRequest()
  const fields = Symbol.iterator in headers ? [...(headers as Iterable<[string, string]>)] : Object.entries(headers)
  const lower = Object.fromEntries(fields.map(([name, value]) => [String(name).toLowerCase(), value]))
  const asked = { method: String(method).toUpperCase(), headers: lower, socket: undefined, ...target(String(url)) }
  return { ...asked, body: bodyOf(body) }
}

const NOWHERE: Aim = { host: undefined, isEncrypted: undefined }

// The body of a fetch request is a stream, which is not read.
function bodyOf(body: unknown): Uint8Array | undefined {
  if (typeof body === 'string') return Buffer.from(body)
  return body instanceof Uint8Array ? body : undefined
}

function target(url: string): Pick<Asked, 'url' | 'aim'> {
  if (url.startsWith('/')) return { url: url.split('#', 1)[0]!, aim: NOWHERE }
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (!parsed || !/^https?:$/.test(parsed.protocol)) throw noRequest()
  return { url: parsed.pathname + parsed.search, aim: { host: parsed.host, isEncrypted: parsed.protocol === 'https:' } }
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
  flow.ask ??= (request, how) => ask(flow, read(request), how)
}

async function ask(flow: Flow, asked: Asked, { app, mayWrite = false }: AskOptions): Promise<Explanation> {
  const { method } = asked
  if (!isSafe(method)) {
    if (!flow.methods.has(method)) return unreached(asked, { outcome: 'bypass', forward: 'method', reason: 'method' })
    if (!mayWrite) return unreached(asked, { outcome: 'unknown', reason: 'unasked' })
  }
  const doors = doorsFor(flow, app)
  if (doors.length === 0) {
    throw new TagcacheError(
      'ERR_TAGCACHE_EXPLAIN',
      'No request has come to this cache yet, so its application is not known: give it, as in explain(request, { app }).',
    )
  }
  let last: Explanation | undefined
  for (const door of doors) {
    const { found, status } = await dispatch(flow, asked, door)
    if (found) return { method, url: asked.url, isReached: true, ...found }
    last =
      status === undefined
        ? unreached(asked, { outcome: 'unknown', reason: 'timeout' })
        : unreached(asked, { outcome: 'bypass', forward: 'bypass', reason: 'unreached' }, status)
  }
  return last!
}

type Judged = Omit<Explanation['decision'], 'text'> & { readonly reason: Reason }

function unreached({ method, url }: Asked, decision: Judged, status?: number): Explanation {
  const answered = status === undefined ? {} : { status }
  return { method, url, isReached: false, ...answered, decision: { ...decision, text: REASONS[decision.reason] } }
}

type Ending = { readonly found?: Found | undefined; readonly status?: number }

function dispatch(flow: Flow, asked: Asked, { dispatch, approach }: Door) {
  const { method, url, body } = asked
  // A request that somebody has made is made as he has made it.
  const { socket, headers } = asked.socket ? { socket: asked.socket, headers: {} } : approach(asked.aim)
  const length = body === undefined ? {} : { 'content-length': String(body.byteLength) }
  const fields = { ...headers, ...length, ...asked.headers } as IncomingMessage['headers']
  const req = requestLike(socket as Socket, { method, url, headers: fields, body })
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
