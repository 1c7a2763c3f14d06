/** Real requests over real HTTP, each with the time from asking to the last byte. */
import { Agent, type IncomingHttpHeaders, type RequestOptions, request } from 'node:http'

export interface Answer {
  path: string
  status: number
  headers: IncomingHttpHeaders
  body: string
  ms: number
}

export interface Client {
  origin: string
  get(path: string, headers?: Record<string, string>): Promise<Answer>
  patch(path: string, change: object): Promise<Answer>
  close(): void
}

export function createClient(port: number): Client {
  const agent = new Agent({ keepAlive: true })
  const target = { agent, host: '127.0.0.1', port }
  return {
    origin: `http://127.0.0.1:${port}`,
    get: (path, headers = {}) => send({ ...target, path, headers }),
    patch: (path, change) =>
      send(
        { ...target, path, method: 'PATCH', headers: { 'content-type': 'application/json' } },
        JSON.stringify(change),
      ),
    close: () => agent.destroy(),
  }
}

/** What the cache says of an answer; empty where there is no cache. */
export function cacheStatus(answer: Answer): string {
  const value = answer.headers['cache-status'] ?? ''
  return Array.isArray(value) ? value.join(', ') : value
}

export function isHit(answer: Answer): boolean {
  return /^tagcache; *hit/.test(cacheStatus(answer))
}

export function isMiss(answer: Answer): boolean {
  return /; *fwd=/.test(cacheStatus(answer)) && !isCollapsed(answer) && !isBypass(answer)
}

export function isCollapsed(answer: Answer): boolean {
  return /; *collapsed/.test(cacheStatus(answer))
}

export function isBypass(answer: Answer): boolean {
  return /; *fwd=bypass/.test(cacheStatus(answer))
}

const patience = 10_000

function send(options: RequestOptions & { path: string }, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const start = performance.now()
    const outgoing = request(options, (incoming) => {
      const chunks: Buffer[] = []
      incoming.on('data', (chunk: Buffer) => chunks.push(chunk))
      incoming.on('error', reject)
      incoming.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        const ms = performance.now() - start
        resolve({ path: options.path, status: incoming.statusCode ?? 0, headers: incoming.headers, body: text, ms })
      })
    })
    outgoing.setTimeout(patience, () => outgoing.destroy(new Error(`no answer to ${options.path} in ${patience} ms`)))
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}
