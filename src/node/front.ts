import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Entry, StoredResponse } from '../core/entry.ts'
import { madeOnce } from '../core/made-once.ts'
import { isPromise, type MaybePromise } from '../core/maybe.ts'
import type { Flow } from '../flow/flow.ts'
import type { FrontMemory, Known } from '../flow/front.ts'
import { recordHit } from '../flow/look.ts'
import { lookFromFront, type PlainHit } from '../flow/look-from-front.ts'
import { isConditional } from '../http/validators.ts'
import { PATH_INPUTS, TOLD_BY_PROXIES } from '../visit.ts'
import { type FlatReply, flatReply, isUntouched, sendFlat } from './flat.ts'
import { isQuestion } from './question.ts'
import { isRefresh } from './refresh.ts'
import { acceptsCoding, replay } from './replay.ts'

/** Takes a request, as a server hands it out; an application in which it is mounted adds the way on. */
export type Listener = (req: IncomingMessage, res: ServerResponse, ...more: unknown[]) => unknown

/**
 * Answers hits before `listener` sees the request: those of routes that say `front: true`, by what earlier requests have shown
 * of where such a request goes. Whatever is not plainly a fresh hit goes on to it as it came.
 */
export function inFront<L extends Listener>(flow: Flow, listener: L): L | Listener {
  if (standing(flow).has(listener)) return listener
  const memory = flow.openFront()
  const place = memory.addPlace()
  const front: Listener = function front(this: unknown, req, res, ...more) {
    const answered = answer(flow, memory, place, req, res)
    if (answered === true) return undefined
    if (answered === false) return Reflect.apply(listener, this, [req, res, ...more])
    return answered.then((isAnswered) => (isAnswered ? undefined : Reflect.apply(listener, this, [req, res, ...more])))
  }
  standing(flow).add(front)
  return front
}

const fronts = new WeakMap<Flow, WeakSet<object>>()

/** Before which this cache stands already, so that it does not do so twice. */
export function standing(flow: Flow): WeakSet<object> {
  const known = fronts.get(flow) ?? new WeakSet()
  fronts.set(flow, known)
  return known
}

// Whether the request is answered. Nothing that goes wrong here is the request's affair.
function answer(
  flow: Flow,
  memory: FrontMemory,
  place: string,
  req: IncomingMessage,
  res: ServerResponse,
): MaybePromise<boolean> {
  try {
    const text = looksOf(req, place)
    if (text === undefined) return false
    const answered = tryKnown(flow, memory.find(text), req, res)
    if (answered === true) return true
    memory.sight(req, text, req.rawHeaders)
    return answered === false ? false : answered.catch((error) => fail(flow, res, error))
  } catch (error) {
    return fail(flow, res, error)
  }
}

function fail({ events }: Flow, res: ServerResponse, error: unknown): boolean {
  events.emit({ type: 'fault', operation: 'front', error })
  if (!res.headersSent) return false
  res.destroy()
  return true
}

// ——— What a request looks like ———

const SLASH = 47
const LONGEST_URL = 2048
/** What may make another request of it. */
const REWRITING = [
  ...PATH_INPUTS.filter((name) => name !== 'x-forwarded-prefix'),
  'x-http-method',
  'x-method-override',
  'x-forwarded-path',
  'x-forwarded-uri',
]

/** Whatever decides where an ordinary request goes; undefined for any other one. */
function looksOf(req: IncomingMessage & { originalUrl?: string }, place: string): string | undefined {
  const { method, url, headers, originalUrl } = req
  if (method !== 'GET' && method !== 'HEAD') return undefined
  // An application in which it is mounted has taken away where.
  if (originalUrl !== undefined && originalUrl !== url) return undefined
  if (url === undefined || url.charCodeAt(0) !== SLASH || url.length > LONGEST_URL) return undefined
  const { host } = headers
  if (host === undefined || req.httpVersionMajor !== 1 || isRefresh(req) || isQuestion(req)) return undefined
  for (const name of REWRITING) if (headers[name] !== undefined) return undefined
  // No target has a space, so that no two requests have one text. An application may answer HEAD in another way.
  const plain = `${method === 'HEAD' ? 'h' : ''}${place}${isEncrypted(req) ? 's' : ''}${url} ${host}`
  for (const name of TOLD_BY_PROXIES) if (headers[name] !== undefined) return asProxied(req, plain)
  return plain
}

// Frameworks believe some addresses and not others.
function asProxied({ headers, socket }: IncomingMessage, plain: string): string {
  const told = TOLD_BY_PROXIES.map((name) => (headers[name] === undefined ? '' : `=${headers[name]}`))
  return [plain, socket.remoteAddress, ...told].join('\n')
}

function isEncrypted({ socket }: IncomingMessage & { socket: { encrypted?: boolean } }): boolean {
  return socket.encrypted === true
}

// ——— What answers it ———

function tryKnown(
  flow: Flow,
  known: Known | undefined,
  req: IncomingMessage,
  res: ServerResponse,
): MaybePromise<boolean> {
  if (!known || flow.isClosed || res.headersSent || mayResumeOther(req)) return false
  const began = flow.events.beginAnswer()
  const hit = lookFromFront(flow, known, req.method!, req.headers)
  if (!isPromise(hit)) return hit !== undefined && reply(flow, known, req, res, hit, began)
  return hit.then((found) => found !== undefined && reply(flow, known, req, res, found, began))
}

// A layer within may encode what it sends: a part has to be of the same bytes as what the client has of it.
function mayResumeOther(req: IncomingMessage): boolean {
  const { headers } = req
  return headers['if-range'] !== undefined || (headers.range !== undefined && acceptsCoding(req))
}

function reply(
  flow: Flow,
  known: Known,
  req: IncomingMessage,
  res: ServerResponse,
  hit: PlainHit,
  began: number | undefined,
): boolean {
  const { entry, response } = hit
  const form = response === entry.response ? formOf(entry) : formIn(entry, response)
  if (form === 'inner' || res.headersSent) return false
  let served = 0
  if (form !== 'other' && hit.tagging === undefined && isPlain(req) && isUntouched(res)) {
    sendFlat(req, res, response, form, hit)
    if (req.method !== 'HEAD') served = response.body.byteLength
  } else served = replay(req, res, { ...entry, response }, hit)
  recordHit(flow, known.name, hit).served += served
  flow.events.endAnswer(began)
  return true
}

function isPlain({ headers }: IncomingMessage): boolean {
  return headers.range === undefined && !isConditional(headers)
}

/** How an entry is answered with here: as a row; otherwise; or not at all, since it goes on where outer layers have ended. */
type Form = FlatReply | 'other' | 'inner'

const formOf = madeOnce((entry): Form => makeForm(entry, entry.response))

// One for each content coding, as long as those live that are made once.
const forms = new WeakMap<StoredResponse, Form>()

function formIn(entry: Entry, response: StoredResponse): Form {
  const known = forms.get(response)
  if (known !== undefined) return known
  const form = makeForm(entry, response)
  forms.set(response, form)
  return form
}

function makeForm(stored: Entry, response: StoredResponse): Form {
  const isInner = stored.response.headers.some(({ append }) => append)
  return isInner ? 'inner' : (flatReply(response) ?? 'other')
}
