import { once } from 'node:events'
import net, { type Server, type Socket } from 'node:net'
import { type Direction, onFreePort } from '../support/relay.ts'

/** Starts a relay in front of a port of loopback. */
export function startRelay(target: number): Promise<Relay> {
  return onFreePort(async (port) => {
    const relay = new Relay(port, target)
    await relay.heal()
    return relay
  })
}

/** What stands between one server and Redis: it can be slow, and sent elsewhere, beside what the relay of the other tests does. */
export class Relay {
  readonly port: number
  readonly #lanes = { toServer: new Set<Lane>(), toClient: new Set<Lane>() }
  readonly #gates = { toServer: { isShut: false, latency: 0 }, toClient: { isShut: false, latency: 0 } }
  readonly #sockets = new Set<Socket>()
  #target: number
  #server: Server | undefined

  constructor(port: number, target: number) {
    this.port = port
    this.#target = target
  }

  /** Resets all connections, and refuses new ones. */
  async cut(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    const closed = server && once(server, 'close')
    server?.close()
    this.#reset()
    await closed
  }

  /** Keeps connections open and accepts new ones, and lets nothing through. */
  freeze(direction: Direction | 'both' = 'both'): void {
    for (const each of DIRECTIONS) if (direction === each || direction === 'both') this.#gates[each].isShut = true
  }

  /** Has everything take so many milliseconds longer, there and back. */
  slow(milliseconds: number): void {
    for (const each of DIRECTIONS) this.#gates[each].latency = milliseconds
  }

  /** Resets all connections; new ones go to another port. */
  redirect(target: number): void {
    this.#target = target
    this.#reset()
  }

  /** Lets everything through again; what was held back comes first. */
  async heal(): Promise<void> {
    for (const each of DIRECTIONS) {
      this.#gates[each].isShut = false
      this.#gates[each].latency = 0
      for (const lane of this.#lanes[each]) lane.flush()
    }
    if (this.#server) return
    const server = net.createServer({ noDelay: true }, (client) => this.#accept(client))
    server.listen(this.port, '127.0.0.1')
    await once(server, 'listening')
    this.#server = server
  }

  async stop(): Promise<void> {
    await this.cut()
  }

  #reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  #accept(client: Socket): void {
    const server = net.connect({ port: this.#target, host: '127.0.0.1', noDelay: true })
    this.#pass(client, 'toServer', server)
    this.#pass(server, 'toClient', client)
  }

  #pass(from: Socket, direction: Direction, to: Socket): void {
    const lanes = this.#lanes[direction]
    const lane = new Lane(to, this.#gates[direction])
    lanes.add(lane)
    this.#sockets.add(from)
    from.on('data', (bytes) => lane.take(bytes))
    from.on('error', () => {})
    from.on('close', () => {
      this.#sockets.delete(from)
      lane.take(undefined)
    })
    to.on('close', () => lanes.delete(lane))
  }
}

const DIRECTIONS = ['toServer', 'toClient'] as const

/** One direction of one connection. */
class Lane {
  readonly #to: Socket
  readonly #gate: { readonly isShut: boolean; readonly latency: number }
  // Undefined is the end.
  readonly #waiting: { readonly bytes: Buffer | undefined; readonly due: number }[] = []
  #timer: NodeJS.Timeout | undefined

  constructor(to: Socket, gate: { readonly isShut: boolean; readonly latency: number }) {
    this.#to = to
    this.#gate = gate
  }

  take(bytes: Buffer | undefined): void {
    const { isShut, latency } = this.#gate
    if (this.#waiting.length === 0 && !isShut && latency === 0) return this.#send(bytes)
    this.#waiting.push({ bytes, due: performance.now() + latency })
    this.flush()
  }

  /** Sends on what is due, in order. */
  flush(): void {
    clearTimeout(this.#timer)
    while (!this.#gate.isShut && this.#waiting.length > 0) {
      const left = this.#waiting[0]!.due - performance.now()
      if (left > 0 && this.#gate.latency > 0) {
        this.#timer = setTimeout(() => this.flush(), left)
        return
      }
      this.#send(this.#waiting.shift()!.bytes)
    }
  }

  #send(bytes: Buffer | undefined): void {
    if (this.#to.destroyed) return
    if (bytes) this.#to.write(bytes)
    else this.#to.destroy()
  }
}
