import http, { type Agent, type IncomingMessage } from 'node:http'

/** An answer as it came. */
export interface Answer {
  readonly status: number
  readonly type: string | undefined
  readonly encoding: string | undefined
  readonly body: Buffer
  /** Bytes of the fields that belong to the response, as they are sent. */
  readonly headBytes: number
  /** Milliseconds. */
  readonly time: number
}

export interface Ask {
  readonly port: number
  readonly path: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly agent?: Agent
}

/** Fields that say something of the connection, or of the moment, and are kept by nobody. */
const TRANSIENT = new Set(['connection', 'keep-alive', 'transfer-encoding', 'date', 'age', 'cache-status'])

export async function ask({ port, path, method = 'GET', headers = {}, agent }: Ask): Promise<Answer> {
  const start = performance.now()
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    const options = { host: '127.0.0.1', port, path, method, headers, ...(agent ? { agent } : {}) }
    http.request(options, resolve).on('error', reject).end()
  })
  const body = Buffer.concat(await response.toArray())
  return {
    status: response.statusCode!,
    type: response.headers['content-type'],
    encoding: response.headers['content-encoding'],
    body,
    headBytes: headBytesOf(response.rawHeaders),
    time: performance.now() - start,
  }
}

function headBytesOf(raw: readonly string[]): number {
  let bytes = 0
  for (let at = 0; at < raw.length; at += 2)
    if (!TRANSIENT.has(raw[at]!.toLowerCase())) bytes += raw[at]!.length + raw[at + 1]!.length
  return bytes
}

/** Asks for the paths `/items/1` to `/items/count` once each, on a few connections. */
export async function askForAll(port: number, count: number, connections = 16): Promise<void> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections })
  let id = 0
  const askOn = async () => {
    while (id < count) {
      id += 1
      const { status } = await ask({ port, path: `/items/${id}`, agent })
      if (status !== 200) throw new Error(`/items/${id} was answered with ${status}.`)
    }
  }
  try {
    await Promise.all(Array.from({ length: connections }, askOn))
  } finally {
    agent.destroy()
  }
}
