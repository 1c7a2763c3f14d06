import net from 'node:net'

/** The text of a request that ends the connection. */
export function requestText(method = 'GET', path = '/', { version = '1.1', headers = '' } = {}): string {
  return `${method} ${path} HTTP/${version}\r\nHost: a\r\n${headers}Connection: close\r\n\r\n`
}

/** Writes text to a socket as it is, and reads what comes back until the connection ends, however it does. */
export function exchange(port: number, text: string): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    const socket = net.connect(port, '127.0.0.1')
    socket.on('data', (chunk) => chunks.push(chunk))
    socket.on('error', () => {})
    socket.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')))
    socket.write(text)
  })
}

/** A response as it was on the wire. */
export interface Wire {
  /** Interim responses before it. */
  readonly interim: readonly string[]
  readonly statusLine: string
  /** Header lines as written, in order. */
  readonly lines: readonly string[]
  /** What follows the head, framing included. */
  readonly payload: string
}

const ADDED = /^(Date|Age|ETag|Cache-Status|Cache-Control):/i

/** What a cache may not change of a response on its way through: everything but the fields that it speaks with. */
export function passedOn(text: string): Wire {
  const interim: string[] = []
  let rest = text
  for (;;) {
    const end = rest.indexOf('\r\n\r\n')
    const [statusLine = '', ...lines] = rest.slice(0, end === -1 ? rest.length : end).split('\r\n')
    const payload = end === -1 ? '' : rest.slice(end + 4)
    if (!/^HTTP\/1\.1 1/.test(statusLine)) {
      return { interim, statusLine, lines: lines.filter((line) => !ADDED.test(line)), payload }
    }
    interim.push([statusLine, ...lines].join('\r\n'))
    rest = payload
  }
}

/** What a stored response has to keep: the same but for its framing, its interim responses and the order of different fields. */
export function kept(text: string): { statusLine: string; lines: string[]; body: string; trailers: string[] } {
  const { statusLine, lines, payload } = passedOn(text)
  const isChunked = lines.some((line) => /^transfer-encoding: chunked$/i.test(line))
  const nameOf = (line: string) => line.split(':', 1)[0]!.toLowerCase()
  return {
    statusLine,
    lines: lines
      .filter((line) => !/^(transfer-encoding|content-length):/i.test(line))
      .sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : nameOf(a) > nameOf(b) ? 1 : 0)),
    ...(isChunked && payload !== '' ? joinChunks(payload) : { body: payload, trailers: [] }),
  }
}

function joinChunks(payload: string): { body: string; trailers: string[] } {
  let body = ''
  let at = 0
  for (;;) {
    const lineEnd = payload.indexOf('\r\n', at)
    const size = Number.parseInt(payload.slice(at, lineEnd), 16)
    if (lineEnd === -1 || Number.isNaN(size)) return { body, trailers: ['(cut)'] }
    at = lineEnd + 2
    if (size === 0) return { body, trailers: payload.slice(at).split('\r\n').filter(Boolean) }
    body += payload.slice(at, at + size)
    at += size + 2
  }
}
