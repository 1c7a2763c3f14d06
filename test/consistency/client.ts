import { Connection, type Reply } from './connection.ts'
import { pick, type Random } from './random.ts'
import type { Target } from './target.ts'

/** Somebody who asks one thing at a time, of any of some servers. */
export class Client {
  readonly #targets: readonly Target[]
  readonly #connections = new Map<Target, { readonly port: number; readonly connection: Connection }>()

  constructor(targets: readonly Target[]) {
    this.#targets = targets
  }

  /** A server that is up, if there is one. */
  choose(random: Random, isLeftOut: (target: Target) => boolean = () => false): Target | undefined {
    const possible = this.#targets.filter((target) => target.port !== undefined && !isLeftOut(target))
    return possible.length > 0 ? pick(random, possible) : undefined
  }

  /** Resolves when a server is up. */
  async whenUp(): Promise<void> {
    await Promise.race(this.#targets.map((target) => target.whenUp()))
  }

  ask(target: Target, method: string, path: string, fields?: string): Promise<Reply> {
    return this.#connectionTo(target, target.port!).ask(method, path, fields)
  }

  expire(before: number): void {
    for (const { connection } of this.#connections.values()) connection.expire(before)
  }

  close(): void {
    for (const { connection } of this.#connections.values()) connection.close()
  }

  #connectionTo(target: Target, port: number): Connection {
    const known = this.#connections.get(target)
    if (known && known.port === port && !known.connection.isClosed) return known.connection
    known?.connection.close()
    const connection = new Connection(port)
    this.#connections.set(target, { port, connection })
    return connection
  }
}
