import type { CacheBackend, Lookup, TagBackend } from '../../src/backends/backend.ts'
import type { Entry } from '../../src/core/entry.ts'

/** A Map that answers with promises. */
export class AsyncMap implements CacheBackend {
  readonly map = new Map<string, Uint8Array>()

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.map.get(key)
  }

  async set(key: string, value: Uint8Array, _ttl?: number): Promise<void> {
    this.map.set(key, value)
  }

  async delete(key: string): Promise<void> {
    this.map.delete(key)
  }
}

/** A backend whose methods may be replaced one by one, for misbehaving in a test. */
export class Overridden implements TagBackend {
  readonly sync: boolean
  readonly maxBodySize: number
  lookup: TagBackend['lookup']
  clock: TagBackend['clock']
  invalidatedAt: TagBackend['invalidatedAt']
  store: TagBackend['store']
  invalidate: TagBackend['invalidate']
  delete: TagBackend['delete']
  clear: TagBackend['clear']
  list: TagBackend['list']
  close: TagBackend['close']

  constructor(inner: TagBackend, changes: Partial<TagBackend> = {}) {
    this.sync = changes.sync ?? inner.sync
    this.maxBodySize = changes.maxBodySize ?? inner.maxBodySize
    this.lookup = changes.lookup ?? ((key) => inner.lookup(key))
    this.clock = changes.clock ?? (() => inner.clock())
    this.invalidatedAt = changes.invalidatedAt ?? ((tags) => inner.invalidatedAt(tags))
    this.store = changes.store ?? ((entry, ttl) => inner.store(entry, ttl))
    this.invalidate = changes.invalidate ?? ((tags) => inner.invalidate(tags))
    this.delete = changes.delete ?? ((key) => inner.delete(key))
    this.clear = changes.clear ?? (() => inner.clear())
    this.list = changes.list ?? ((tag, limit) => inner.list(tag, limit))
    this.close = changes.close ?? (() => inner.close())
  }
}

/** Work that was put off, done slice by slice when the test says so. */
export class Slices {
  readonly #waiting: (() => void)[] = []

  schedule = (run: () => void): void => void this.#waiting.push(run)

  /** Runs one slice; answers whether there was one. */
  runOne(): boolean {
    const run = this.#waiting.shift()
    run?.()
    return run !== undefined
  }

  /** Runs all slices, and those that they schedule; answers how many. */
  runAll(): number {
    let slices = 0
    while (this.runOne()) slices += 1
    return slices
  }
}

/** An entry of a minute, where nothing else is said. */
export function entryOf(key: string, more: Partial<Entry> & { body?: string } = {}): Entry {
  const { body = key, ...rest } = more
  return {
    key,
    tags: [],
    stamp: 1,
    time: Date.UTC(2026, 0, 1),
    initialAge: 0,
    lifetime: 60_000,
    staleWhileRevalidate: 0,
    staleIfError: 0,
    mustRevalidate: false,
    isShared: false,
    cost: 0,
    response: { status: 200, statusMessage: '', headers: [], removed: [], body: Buffer.from(body), trailers: [] },
    ...rest,
  }
}

/** The answer of a synchronous backend. */
export function found(lookup: Lookup | Promise<Lookup>): Lookup {
  return lookup as Lookup
}
