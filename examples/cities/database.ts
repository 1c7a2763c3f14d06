/**
 * A real PostgreSQL (PGlite), in a thread of its own: queries leave the event loop free, as they do with any database
 * server. Every query of the API goes through `query`, and is counted there.
 */
import { Worker } from 'node:worker_threads'

export type Progress = { label: string; done: number }
export type Question = { id: number; sql: string; params: unknown[] }
export type Message =
  | { kind: 'progress'; progress: Progress }
  | { kind: 'ready'; places: number }
  | { kind: 'rows'; id: number; rows: unknown[] }
  | { kind: 'failed'; id: number; reason: string }

type Waiting = { resolve: (rows: unknown[]) => void; reject: (error: Error) => void }

export class Database {
  readonly #worker = new Worker(new URL('./thread.mjs', import.meta.url))
  readonly #waiting = new Map<number, Waiting>()
  #queries = 0
  #places = 0

  /** Resolves when every place is loaded and indexed. */
  static start(onProgress: (progress: Progress) => void): Promise<Database> {
    return new Promise((resolve, reject) => {
      const database = new Database()
      database.#worker.on('error', (error: Error) => {
        reject(error)
        database.#failAll(error)
      })
      database.#worker.on('message', (message: Message) => {
        if (message.kind === 'progress') return onProgress(message.progress)
        if (message.kind !== 'ready') return database.#receive(message)
        database.#places = message.places
        resolve(database)
      })
    })
  }

  /** How many queries have been asked for. */
  get queries(): number {
    return this.#queries
  }

  /** How many places were loaded. */
  get places(): number {
    return this.#places
  }

  query<Row>(sql: string, params: unknown[] = []): Promise<Row[]> {
    const id = ++this.#queries
    return new Promise<Row[]>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as Waiting['resolve'], reject })
      this.#worker.postMessage({ id, sql, params } satisfies Question)
    })
  }

  async stop(): Promise<void> {
    await this.#worker.terminate()
  }

  #receive(message: Extract<Message, { id: number }>): void {
    const waiting = this.#waiting.get(message.id)
    this.#waiting.delete(message.id)
    if (message.kind === 'rows') waiting?.resolve(message.rows)
    else waiting?.reject(new Error(message.reason))
  }

  #failAll(error: Error): void {
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }
}
