import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import net, { type Server, type Socket } from 'node:net'
import { Transform, type TransformCallback } from 'node:stream'

export type Direction = 'toServer' | 'toClient'

/** Starts a TCP relay in front of a port of loopback. */
export function startRelay(targetPort: number): Promise<Relay> {
  return onFreePort(async (port) => {
    const relay = new Relay(port, targetPort)
    await relay.heal()
    return relay
  })
}

/**
 * Stands between clients and a server, and does to them what a network does. Where the server itself is down, a new
 * connection is accepted and then reset.
 */
export class Relay {
  readonly port: number
  readonly #targetPort: number
  readonly #valves = { toServer: new Valve(), toClient: new Valve() }
  readonly #sockets = new Set<Socket>()
  #server: Server | undefined

  constructor(port: number, targetPort: number) {
    this.port = port
    this.#targetPort = targetPort
  }

  get bytesToServer(): number {
    return this.#valves.toServer.bytes
  }

  get bytesToClient(): number {
    return this.#valves.toClient.bytes
  }

  /** Resets all connections, and refuses new ones. */
  async cut(): Promise<void> {
    const server = this.#server
    this.#server = undefined
    const closed = server && once(server, 'close')
    server?.close()
    for (const socket of this.#sockets) socket.resetAndDestroy()
    await closed
  }

  /** Keeps connections open and accepts new ones, and lets nothing through, neither bytes nor the end of a connection. */
  freeze(direction: Direction | 'both' = 'both'): void {
    for (const each of ['toServer', 'toClient'] as const) {
      if (direction === each || direction === 'both') this.#valves[each].shut()
    }
  }

  /** Lets everything through again; what was held back comes first. */
  async heal(): Promise<void> {
    this.#valves.toServer.open()
    this.#valves.toClient.open()
    if (this.#server) return
    const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client))
    server.listen(this.port, '127.0.0.1')
    await once(server, 'listening')
    this.#server = server
  }

  async stop(): Promise<void> {
    await this.cut()
  }

  #accept(client: Socket): void {
    const server = net.connect({ port: this.#targetPort, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
    this.#pass(client, this.#valves.toServer, server)
    this.#pass(server, this.#valves.toClient, client)
  }

  #pass(from: Socket, valve: Valve, to: Socket): void {
    this.#sockets.add(from)
    from.on('close', () => this.#sockets.delete(from))
    from.on('error', () => valve.whenOpen(() => to.resetAndDestroy()))
    from.pipe(gateOf(valve)).pipe(to)
  }
}

/** What all connections of a relay share in one direction. */
class Valve {
  bytes = 0
  #isOpen = true
  #waiting: (() => void)[] = []

  shut(): void {
    this.#isOpen = false
  }

  open(): void {
    this.#isOpen = true
    for (const run of this.#waiting.splice(0)) run()
  }

  whenOpen(run: () => void): void {
    if (this.#isOpen) run()
    else this.#waiting.push(run)
  }
}

/** A stream that holds back what comes, the end included, while the valve is shut. */
function gateOf(valve: Valve): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done: TransformCallback) {
      valve.whenOpen(() => {
        valve.bytes += chunk.length
        done(null, chunk)
      })
    },
    flush(done: TransformCallback) {
      valve.whenOpen(done)
    },
  })
}

/** Starts something on a free port, and on another one where somebody else was quicker. */
export async function onFreePort<T>(start: (port: number) => Promise<T>): Promise<T> {
  for (let attempts = 1; ; attempts++) {
    try {
      return await start(anyPort())
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || attempts === 20) throw error
    }
  }
}

/**
 * A port that is likely free, and stays so while its server is down. The system takes the local ports of connections
 * from 32768 up: a client that knocks at a dead port up there may get connected to itself. The bus of a node of Redis
 * Cluster has the port 10000 above, which has to be one of these as well.
 */
function anyPort(): number {
  return randomInt(10_000, 22_000)
}
