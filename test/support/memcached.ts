import { askRaw } from './http.ts'
import { launched, onPath, ServerProcess } from './redis.ts'
import { onFreePort, type Relay, startRelay } from './relay.ts'

export interface MemcachedOptions {
  /** More of the command line, as in `['-m', '1']`. */
  readonly args?: readonly string[]
  readonly port?: number
  /** Puts a relay in front, which clients are to connect to. */
  readonly relay?: boolean
}

export type RelayedMemcached = MemcachedServer & { readonly relay: Relay }

/** Starts a Memcached of one's own. */
export function startMemcached(options: MemcachedOptions & { readonly relay: true }): Promise<RelayedMemcached>
export function startMemcached(options?: MemcachedOptions): Promise<MemcachedServer>
export async function startMemcached(options: MemcachedOptions = {}): Promise<MemcachedServer> {
  const { args = [], port, relay = false } = options
  const file = findMemcached()
  const startAt = async (at: number) =>
    launched(new MemcachedServer(at, [file, ...args], relay ? await startRelay(at) : undefined))
  return port === undefined ? onFreePort(startAt) : startAt(port)
}

/** The path of `memcached`. */
export function findMemcached(): string {
  const file = onPath('memcached')
  if (file) return file
  throw new Error(
    'THESE TESTS NEED MEMCACHED, which is not on the PATH. Install it: apt-get install memcached, or brew install memcached',
  )
}

/** A process of `memcached`. */
export class MemcachedServer extends ServerProcess {
  readonly #command: readonly string[]

  constructor(port: number, command: readonly string[], relay?: Relay) {
    super(port, relay)
    this.#command = command
  }

  /** Asks the server, on a connection that goes past the relay; a command with data has it on its second line. */
  async command(...lines: string[]): Promise<string> {
    const answer = await askRaw(this.ownPort, `${[...lines, 'quit'].join('\r\n')}\r\n`)
    return answer.trimEnd()
  }

  protected async commandLine(): Promise<string[]> {
    // It does not run as root unless it is told to.
    const user = process.getuid?.() === 0 ? ['-u', 'root'] : []
    return [...this.#command, '-l', '127.0.0.1', '-p', String(this.ownPort), '-U', '0', ...user]
  }

  protected async askPid(): Promise<number> {
    return Number(/^STAT pid (\d+)/m.exec(await this.command('stats'))?.[1])
  }
}
