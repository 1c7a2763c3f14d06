import net from 'node:net'

/** What a read needs of a response. */
export interface Reply {
  readonly text: string
  readonly cacheStatus: string
}

/**
 * One kept-alive HTTP/1.1 connection that asks one thing at a time: `http.request` takes longer for a request than the
 * server for its hit, and the check would spend its time there. Every response has to have a Content-Length.
 */
export class Connection {
  readonly #socket: net.Socket
  #received = ''
  #settle: { resolve(reply: Reply): void; reject(error: Error): void } | undefined

  constructor(port: number) {
    this.#socket = net.connect({ port, host: '127.0.0.1', noDelay: true }).setEncoding('latin1')
    this.#socket.on('data', (text: string) => this.#receive(text))
    this.#socket.on('error', (error) => this.#settle?.reject(error))
    this.#socket.on('close', () => this.#settle?.reject(new Error('The server closed the connection.')))
  }

  /** Asks, and has the answer once it is complete. Fails for anything but 200, and 503 where a handler failed. */
  ask(method: string, path: string): Promise<Reply> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject }
      this.#socket.write(`${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`)
    })
  }

  close(): void {
    this.#settle = undefined
    this.#socket.destroy()
  }

  #receive(text: string): void {
    this.#received += text
    const end = this.#received.indexOf('\r\n\r\n')
    if (end === -1) return
    const head = this.#received.slice(0, end)
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(head)?.[1])
    const body = this.#received.slice(end + 4)
    if (body.length < length) return
    this.#received = ''
    if (/^HTTP\/1\.1 (200|503) /.test(head) && body.length === length) {
      this.#settle?.resolve({ text: body, cacheStatus: /\r\ncache-status: *(.*)/i.exec(head)?.[1] ?? '' })
    } else this.#settle?.reject(new Error(`Not the answer that was expected:\n${head}\n\n${body}`))
  }
}
