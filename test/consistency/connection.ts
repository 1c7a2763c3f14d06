import net from 'node:net'

/** What a read or write needs of a response. */
export interface Reply {
  readonly status: number
  readonly text: string
  readonly cacheStatus: string
  /** What a write says of the row; it is there also where the purge was not taken. */
  readonly version: number | undefined
  /** Where a write stands, for reads that have to see it (`readYourWrites`). */
  readonly position: string | undefined
}

interface Waiting {
  readonly since: number
  resolve(reply: Reply): void
  reject(error: Error): void
}

/**
 * One kept-alive HTTP/1.1 connection that asks one thing at a time: `http.request` takes longer for a request than the
 * server for its hit, and the check would spend its time there. A response has a Content-Length, or comes in one chunk.
 */
export class Connection {
  readonly #socket: net.Socket
  #received = ''
  #waiting: Waiting | undefined
  #isClosed = false

  constructor(port: number) {
    this.#socket = net.connect({ port, host: '127.0.0.1', noDelay: true }).setEncoding('latin1')
    this.#socket.on('data', (text: string) => this.#receive(text))
    this.#socket.on('error', (error) => this.#fail(error))
    this.#socket.on('close', () => this.#fail(new Error('The server closed the connection.')))
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Asks, and has the answer once it is complete. Fails for anything but 200, and 503 where a handler failed or a purge was not taken. */
  ask(method: string, path: string, fields = ''): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.#waiting = { since: performance.now(), resolve, reject }
      this.#socket.write(`${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${fields}\r\n`)
    })
  }

  /** Gives up a question that was asked before that time. */
  expire(before: number): void {
    const { since } = this.#waiting ?? {}
    if (since === undefined || since >= before) return
    this.#fail(new Error('There was no answer.'))
    this.#socket.destroy()
  }

  close(): void {
    this.#waiting = undefined
    this.#isClosed = true
    this.#socket.destroy()
  }

  #fail(error: Error): void {
    this.#isClosed = true
    this.#take()?.reject(error)
  }

  #take(): Waiting | undefined {
    const waiting = this.#waiting
    this.#waiting = undefined
    return waiting
  }

  #receive(text: string): void {
    this.#received += text
    const end = this.#received.indexOf('\r\n\r\n')
    if (end === -1) return
    const head = this.#received.slice(0, end)
    const body = bodyOf(head, this.#received.slice(end + 4))
    if (body === undefined) return
    const received = this.#received
    this.#received = ''
    const status = Number(/^HTTP\/1\.1 (200|503) /.exec(head)?.[1])
    if (!status) return this.#fail(new Error(`Not the answer that was expected:\n${received}`))
    const version = /\r\nx-version: *(\d+)/i.exec(head)?.[1]
    const position = /\r\ntagcache-position: *(\S+)/i.exec(head)?.[1]
    this.#take()?.resolve({
      status,
      text: body,
      cacheStatus: /\r\ncache-status: *(.*)/i.exec(head)?.[1] ?? '',
      version: version === undefined ? undefined : Number(version),
      position,
    })
  }
}

/** Undefined while it is not complete. */
function bodyOf(head: string, received: string): string | undefined {
  if (/\r\ntransfer-encoding: *chunked/i.test(head)) return /^[\da-f]+\r\n(.*?)\r\n0\r\n\r\n$/s.exec(received)?.[1]
  const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1])
  return received.length < length ? undefined : received
}
