import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { shareWith, type Table } from './database.ts'
import { MAX_STALENESS, type Setup } from './setup.ts'
import type { Target } from './target.ts'

/** A server in a process of its own. */
export class Server implements Target {
  readonly #setup: Setup
  readonly #table: Table
  #child: ChildProcess | undefined
  #port: number | undefined
  #starts = 0
  #isEnding = false
  #fate: string | undefined
  #onUp: (() => void)[] = []

  constructor(setup: Setup, table: Table) {
    this.#setup = setup
    this.#table = table
  }

  get name(): string {
    const { name, tiers, client } = this.#setup
    return `${name} (${tiers}, ${client})`
  }

  get kind(): string {
    return this.#setup.tiers
  }

  get staleness(): number {
    return this.#setup.tiers === 'bounded' ? MAX_STALENESS : 0
  }

  get port(): number | undefined {
    return this.#port
  }

  /** How it came to an end that nobody had asked for. */
  get fate(): string | undefined {
    return this.#fate
  }

  whenUp(): Promise<void> {
    return this.#port === undefined ? new Promise((resolve) => this.#onUp.push(resolve)) : Promise.resolve()
  }

  async start(): Promise<void> {
    this.#isEnding = false
    // Other choices than before, or a server would do again what it did last time.
    const setup = { ...this.#setup, seed: this.#setup.seed + 1000 * this.#starts++ }
    const child = startProcess(setup)
    this.#child = child
    shareWith(child, this.#table)
    child.once('exit', (code, signal) => {
      if (this.#isEnding) return
      this.#port = undefined
      this.#fate = `${this.name} has ended by itself (${code ?? signal}).`
    })
    this.#port = await portOf(child)
    for (const tell of this.#onUp.splice(0)) tell()
  }

  /** Ends it as a crash does. */
  async kill(): Promise<void> {
    this.#isEnding = true
    this.#port = undefined
    const child = this.#child
    if (child?.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
}

/** Starts a process of server.ts. */
export function startProcess(setup: object): ChildProcess {
  return fork(fileURLToPath(new URL('./server.ts', import.meta.url)), [JSON.stringify(setup)])
}

/** The port on which it listens, once it does. */
export async function portOf(child: ChildProcess): Promise<number> {
  const told = new Promise<number>((resolve) => {
    child.on('message', (message) => {
      if (typeof message === 'number') resolve(message)
    })
  })
  const ended = once(child, 'exit').then(() => Promise.reject(new Error('The server did not start.')))
  return Promise.race([told, ended])
}
