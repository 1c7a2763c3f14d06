import { IncomingMessage, type Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { Duplex } from 'node:stream'
import type { Flow } from '../flow/flow.ts'
import { abandon } from '../flow/land.ts'
import { resume } from '../flow/look.ts'
import type { Finding, Run } from '../flow/run.ts'
import { validatorsOf } from '../flow/usable.ts'
import { askedUri, routeName, type Visit } from '../visit.ts'

/** Hands a request to the application, as its server does. */
export type Dispatch = (req: IncomingMessage, res: ServerResponse) => unknown

/** Gives what a request can be handed to, as its framework knows it. */
export type Application = (req: IncomingMessage) => Dispatch | undefined

interface Refresh {
  readonly flow: Flow
  readonly run: Run
  /** The layer that it was made for has it. */
  hasArrived: boolean
}

// The requests that were made for a refresh. No client can make one.
const refreshes = new WeakMap<IncomingMessage, Refresh>()

// A handler that hangs in the background is not waited for longer.
const LONGEST_REFRESH = 60_000

/**
 * What a layer makes of a request that was made for a refresh: it is on its way to another layer, or at the one that has
 * started it, which goes on with the run. Undefined for any other request, and for layers below that one.
 */
export function arrive(flow: Flow, req: IncomingMessage, visit: Visit): Finding | undefined {
  const refresh = refreshes.get(req)
  if (!refresh || refresh.hasArrived) return undefined
  const finding: Finding = refresh.flow === flow ? resume(flow, visit, refresh.run) : { kind: 'ignore' }
  refresh.hasArrived = finding.kind === 'run'
  return finding
}

/** Whether the request was made for a refresh. */
export function isRefresh(req: IncomingMessage): boolean {
  return refreshes.has(req)
}

/**
 * How a request is run again: by everything that listens to its server, so that what stands around the application has its
 * part in it; or by the application alone where no server is known.
 */
export function dispatchFor(req: IncomingMessage, application: Application | undefined): Dispatch | undefined {
  const { server } = (req.socket ?? {}) as Socket & { server?: Server }
  if (typeof server?.listenerCount === 'function' && server.listenerCount('request') > 0) {
    return (again, res) => server.emit('request', again, res)
  }
  return application?.(req)
}

/** Whether the request can be made again later: it has no body, and somebody to hand it to. */
export function canRefresh(req: IncomingMessage, application: Application | undefined): boolean {
  const { method, headers } = req
  if (method !== 'GET' && method !== 'HEAD') return false
  if (headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0) return false
  return !refreshes.has(req) && dispatchFor(req, application) !== undefined
}

/** Makes the request again in the background, for the run to be found by the layer that it belongs to. */
export function startRefresh(flow: Flow, run: Run, req: IncomingMessage, application: Application | undefined): void {
  const dispatch = dispatchFor(req, application)
  if (!dispatch) return abandon(flow, run, 'unreached')
  const again = requestAgain(req, run)
  refreshes.set(again, { flow, run, hasArrived: false })
  const res = responseToNobody(again, () => {
    cancel()
    // Whatever answered, it was not the layer that the run belongs to; that one would have ended it.
    abandon(flow, run, 'unreached')
  })
  const cancel = flow.after(LONGEST_REFRESH, () => {
    abandon(flow, run, 'timeout')
    res.destroy()
  })
  const begin = () => {
    try {
      const done = dispatch(again, res)
      if (done instanceof Promise) done.catch(() => res.destroy())
    } catch {
      res.destroy()
    }
  }
  // The client is answered first.
  setImmediate(() => within(flow, run, begin))
}

// Whoever stands around work sees a refresh end when it is known what has come of it.
function within(flow: Flow, run: Run, begin: () => void): void {
  const { work } = flow.events
  if (work.isEmpty) return begin()
  void work.run({ kind: 'refresh', name: routeName(run.visit) }, () => {
    const over = new Promise((resolve) => {
      run.onEnd = resolve
    })
    begin()
    return over
  })
}

// What a client asks for itself alone is not part of a request for everybody.
const OWN = [
  'if-none-match',
  'if-modified-since',
  'if-range',
  'range',
  'cache-control',
  'pragma',
  'expect',
  'upgrade',
  'connection',
  'content-length',
]

function requestAgain(req: IncomingMessage, run: Run): IncomingMessage {
  const [path, query] = askedUri(run.visit.target)
  const headers = { ...run.visit.headers } as IncomingMessage['headers']
  for (const name of OWN) delete headers[name]
  Object.assign(headers, rangeOf(run))
  return requestLike(req.socket, { method: 'GET', url: query === '' ? path : `${path}?${query}`, headers })
}

interface RequestParts {
  readonly method: string
  readonly url: string
  readonly headers: IncomingMessage['headers']
  readonly body?: Uint8Array | undefined
}

/** A request as from the client at that socket. */
export function requestLike(socket: Socket | undefined, { method, url, headers, body }: RequestParts): IncomingMessage {
  const req = new IncomingMessage(socketLike(socket) as Socket)
  // HTTP/2 has a name of its own for the host.
  const authority = headers[':authority']
  if (typeof authority === 'string') headers.host ??= authority
  req.method = method
  req.url = url
  req.headers = headers
  req.rawHeaders = Object.entries(headers).flatMap(([name, value]) =>
    [value ?? []].flat().flatMap((line) => [name, String(line)]),
  )
  req.httpVersion = '1.1'
  req.httpVersionMajor = 1
  req.httpVersionMinor = 1
  req.complete = true
  if (body) req.push(body)
  req.push(null)
  return req
}

// RFC 9110, 13.1.5: a rest is of use only if it is of the same representation.
function rangeOf({ completion, stored }: Run): Record<string, string> {
  if (!completion) return {}
  const { range } = completion
  const etag = stored && validatorsOf(stored)?.etag
  return etag?.startsWith('"') ? { range, 'if-range': etag } : { range }
}

const ASKED = [
  'address',
  'getPeerCertificate',
  'getPeerX509Certificate',
  'getCertificate',
  'getCipher',
  'getProtocol',
  'getSession',
] as const
const TOLD = [
  'servername',
  'alpnProtocol',
  'remoteAddress',
  'remotePort',
  'remoteFamily',
  'localAddress',
  'localPort',
  'encrypted',
  'authorized',
] as const

// A socket that takes everything and leads nowhere; who is at the other end is the client, as for its own request.
function socketLike(socket: Socket | undefined): Duplex {
  const sink = new Duplex({
    // Nothing piles up, so nobody has to wait.
    writableHighWaterMark: Number.MAX_SAFE_INTEGER,
    read() {},
    write: (_chunk, _encoding, done) => done(),
  })
  // A handler may destroy it, with an error that is told to nobody else.
  sink.on('error', () => {})
  const told = Object.fromEntries(TOLD.map((name) => [name, (socket as unknown as Record<string, unknown>)?.[name]]))
  const asked = Object.fromEntries(
    ASKED.flatMap((name) => {
      const method = (socket as unknown as Record<string, unknown>)?.[name]
      return typeof method === 'function' ? [[name, method.bind(socket)]] : []
    }),
  )
  return Object.assign(sink, told, asked, {
    setTimeout: () => sink,
    setNoDelay: () => sink,
    setKeepAlive: () => sink,
    ref: () => sink,
    unref: () => sink,
  })
}

/** A response that nobody gets. What node's server does around one is done here, so that those who wait for its end are told. */
export function responseToNobody(req: IncomingMessage, closed: () => void): ServerResponse {
  const res = new ServerResponse(req)
  const socket = req.socket
  res.assignSocket(socket)
  res.shouldKeepAlive = false
  res.once('close', closed)
  res.once('finish', () => {
    if (!req.readableEnded) req.resume()
    // A response that still has its socket is told of its end by that.
    res.detachSocket(socket)
    socket.destroy()
    process.nextTick(() => res.emit('close'))
  })
  return res
}
