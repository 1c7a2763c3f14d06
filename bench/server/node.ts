import http, { type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { tagcache } from '../../dist/adapters/node.js'
import type { Make } from './subject.ts'
import type { Origin } from './workload.ts'

// Servers on node:http alone

const OWN_FIELDS = new Set(['date', 'connection', 'keep-alive', 'transfer-encoding'])

/** A handler that answers each time. */
export function nodeHandler(origin: Origin): RequestListener {
  const { delay, cacheControl } = origin.work
  return async (req, res) => {
    const item = origin.run(idOf(req.url!))
    if (delay) await sleep(delay)
    if (cacheControl) res.setHeader('Cache-Control', cacheControl)
    res.setHeader('Content-Type', 'application/json; charset=utf-8').end(JSON.stringify(item))
  }
}

function idOf(url: string): string {
  return url.slice(url.lastIndexOf('/') + 1)
}

/** The same bytes each time, with no more than a type. */
export const nodeStatic: Make = (origin) => {
  const body = origin.body('1')
  const head = ['Content-Type', 'application/json; charset=utf-8', 'Content-Length', String(body.byteLength)]
  return (_req, res) => res.writeHead(200, head).end(body)
}

/** The same bytes each time, with the head that another subject's second answer has. */
export function nodeBare(like: () => Make | Promise<Make>): Make {
  return async (origin) => {
    const { head, body } = await secondAnswer(await (await like())(origin))
    origin.runs = 0
    return (_req, res) => res.writeHead(200, head).end(body)
  }
}

/** An answer for each URL, made when it is asked for first: a cache of a dozen lines, which knows nothing of HTTP. */
export const nodeMap: Make = (origin) => {
  const answers = new Map<string, { head: string[]; body: string }>()
  const make = (url: string) => {
    const body = JSON.stringify(origin.run(idOf(url)))
    const head = ['Content-Type', 'application/json; charset=utf-8', 'Content-Length', String(body.length)]
    answers.set(url, { head, body })
    return { head, body }
  }
  return (req, res) => {
    const { head, body } = answers.get(req.url!) ?? make(req.url!)
    res.writeHead(200, head).end(body, 'latin1')
  }
}

export const nodeCached: Make = (origin) => {
  const cached = tagcache({ ttl: '1h' }).cached({ tags: ['items'] })
  const handler = nodeHandler(origin)
  return (req, res) => cached(req, res, () => handler(req, res))
}

/** What a server answers the second time: its fields as sent, less those that node:http adds itself. */
async function secondAnswer(listener: RequestListener): Promise<{ head: string[]; body: Buffer }> {
  const server = http.createServer(listener)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  try {
    await answerAt(port)
    return await answerAt(port)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

async function answerAt(port: number): Promise<{ head: string[]; body: Buffer }> {
  const response = await new Promise<http.IncomingMessage>((resolve, reject) =>
    http.get({ port, host: '127.0.0.1', path: '/items/1' }, resolve).on('error', reject),
  )
  const body = Buffer.concat(await response.toArray())
  const { rawHeaders } = response
  const isOurs = (at: number) => !OWN_FIELDS.has(rawHeaders[at - (at % 2)]!.toLowerCase())
  return { head: rawHeaders.filter((_, at) => isOurs(at)), body }
}
