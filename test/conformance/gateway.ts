import { Agent, type IncomingHttpHeaders, type IncomingMessage, request, type ServerResponse } from 'node:http'

/** The origin gave no answer: a code that a cache can tell from an answer that says so. */
export class OriginUnreachable extends Error {
  readonly code = 'ORIGIN_UNREACHABLE'
}

// A connection for each request: the origin closes idle ones just when they are used again, and with an answer in a
// transfer coding that nobody knows, only the connection's end says that it is over.
const agent = new Agent({ keepAlive: false })

/** Asks the origin what the client asks, passes interim responses on, and resolves with the final one's head. */
export function askOrigin(port: number, req: IncomingMessage, res: ServerResponse): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { method, url: path } = req
    const question = request({ host: '127.0.0.1', port, agent, method, path, headers: requestFields(req.headers) })
    question.on('information', (interim) => passInterim(interim, res))
    question.on('response', resolve)
    question.on('error', (cause) => reject(new OriginUnreachable('The origin gave no answer', { cause })))
    req.pipe(question)
  })
}

/** The fields that a gateway passes on, spelled and repeated as the origin did. */
export function responseFields({ headers, rawHeaders }: IncomingMessage): [name: string, value: string | string[]][] {
  const ours = connectionFields(headers)
  const fields = new Map<string, { name: string; values: string[] }>()
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!
    const key = name.toLowerCase()
    if (ours.has(key)) continue
    const field = fields.get(key) ?? { name, values: [] }
    field.values.push(rawHeaders[at + 1]!)
    fields.set(key, field)
  }
  return [...fields.values()].map(({ name, values }) => [name, values.length > 1 ? values : values[0]!])
}

// Not the raw ones: a cache in front puts its own conditions into these.
function requestFields(headers: IncomingHttpHeaders): IncomingHttpHeaders {
  const ours = connectionFields(headers)
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !ours.has(name)))
}

// RFC 9110, section 7.6.1.
function connectionFields({ connection = '' }: IncomingHttpHeaders): Set<string> {
  const named = connection.split(',').map((name) => name.trim().toLowerCase())
  return new Set(['connection', 'proxy-connection', 'keep-alive', 'te', 'transfer-encoding', 'upgrade', ...named])
}

type Interim = Pick<IncomingMessage, 'statusCode' | 'headers'>

// Node writes the other fields of a 103 as well, but nothing at all where there is no link.
function passInterim({ statusCode, headers }: Interim, res: ServerResponse): void {
  if (res.headersSent) return
  if (statusCode === 102) res.writeProcessing()
  if (statusCode === 103) res.writeEarlyHints(headers as Record<string, string | string[]>)
}
