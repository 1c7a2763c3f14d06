import type { RequestListener } from 'node:http'
import { onTestFinished } from 'vitest'
import type { CacheEvent, Entry, Lookup, MaybePromise, TagBackend } from '../../src/index.ts'
import { listen, type TestServer } from '../support/http.ts'

/** A server that ends with the test. */
export async function start(listener: RequestListener): Promise<TestServer> {
  const server = await listen(listener)
  onTestFinished(() => server.close())
  return server
}

export type Method = 'lookup' | 'clock' | 'invalidatedAt' | 'store' | 'invalidate' | 'delete' | 'clear' | 'list'

/** An asynchronous backend whose methods can be made to do something else than their work. */
export class FaultyBackend implements TagBackend<false> {
  readonly sync = false
  readonly maxBodySize: number
  readonly calls: Method[] = []
  readonly #inner: TagBackend
  readonly #faults = new Map<Method, () => unknown>()

  constructor(inner: TagBackend) {
    this.#inner = inner
    this.maxBodySize = inner.maxBodySize
  }

  /** From now on this method does that. */
  fail(method: Method, fault: () => unknown): void {
    this.#faults.set(method, fault)
  }

  /** From now on every method does that. */
  failAll(fault: () => unknown): void {
    for (const method of METHODS) this.fail(method, fault)
  }

  heal(): void {
    this.#faults.clear()
  }

  lookup = (key: string) => this.#do<Lookup>('lookup', () => this.#inner.lookup(key))
  clock = () => this.#do<number>('clock', () => this.#inner.clock())
  invalidatedAt = (tags: readonly string[]) => this.#do<number>('invalidatedAt', () => this.#inner.invalidatedAt(tags))
  store = (entry: Entry, ttl: number) => this.#do<boolean>('store', () => this.#inner.store(entry, ttl))
  invalidate = (tags: readonly string[]) => this.#do<void>('invalidate', () => this.#inner.invalidate(tags))
  delete = (key: string) => this.#do<boolean>('delete', () => this.#inner.delete(key))
  clear = () => this.#do<void>('clear', () => this.#inner.clear())
  list = (tag: string, limit: number) => this.#do<readonly Lookup[]>('list', () => this.#inner.list(tag, limit))
  close = () => this.#inner.close()

  #do<T>(method: Method, work: () => MaybePromise<T>): Promise<T> {
    this.calls.push(method)
    const fault = this.#faults.get(method)
    if (fault) return fault() as Promise<T>
    return Promise.resolve().then(work)
  }
}

export const METHODS: readonly Method[] = [
  'lookup',
  'clock',
  'invalidatedAt',
  'store',
  'invalidate',
  'delete',
  'clear',
  'list',
]

/** The ways in which a backend fails. */
export const FAULTS: Readonly<Record<string, () => unknown>> = {
  throws: () => {
    throw new Error('thrown by the backend')
  },
  rejects: () => Promise.reject(new Error('rejected by the backend')),
  'never answers': () => new Promise(() => {}),
}

/** Collects what a cache tells. */
export function eventsOf(cache: { on(listener: (event: CacheEvent) => void): unknown }): CacheEvent[] {
  const events: CacheEvent[] = []
  cache.on((event) => events.push(event))
  return events
}

/** Gives the event loop a few turns: for letting promises settle that nobody can be told of. */
export async function turns(count = 20): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}
