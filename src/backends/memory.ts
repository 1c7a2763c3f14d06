import { setImmediate as nextTurn } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import {
  type Encoding,
  type Entry,
  type HeaderField,
  isSameResponse,
  type Removal,
  type RemovalReason,
} from '../core/entry.ts'
import { isOutdated } from '../core/tags.ts'
import { systemTime, type Time } from '../core/time.ts'
import { checkOptions, countOf, sizeOf } from '../core/values.ts'
import type { BackendSize, Lookup, Page, Query, TagBackend, TagRecord } from './backend.ts'
import { firstNames } from './enumerate.ts'
import { type Member, type Schedule, TagIndex } from './tag-index.ts'

/** How `memory()` is bounded. */
export interface MemoryOptions {
  /** Everything it holds: keys, headers, bodies and tag bookkeeping; bytes, or text such as `'256mb'`. Default `'64mb'`. */
  maxSize?: number | string
  /** The most entries it holds. Default: as many as fit into `maxSize`. */
  maxEntries?: number
  /** Where time comes from. Default: the machine. */
  time?: Pick<Time, 'now'>
  /** How slices of clean-up work get their turn. Default: `setImmediate`. */
  schedule?: Schedule
}

interface Held extends Member {
  readonly entry: Entry
  readonly keepUntil: number
}

/** Keeps entries in this process, the least recently used leaving first. Throws `ERR_TAGCACHE_OPTION_VALUE` for bad bounds. */
export function memory(options: MemoryOptions = {}): TagBackend<true> {
  checkOptions('memory()', options, ['maxSize', 'maxEntries', 'time', 'schedule'])
  return new MemoryBackend(
    sizeOf('maxSize', options.maxSize ?? '64mb'),
    options.maxEntries === undefined ? Number.POSITIVE_INFINITY : countOf('maxEntries', options.maxEntries),
    options.time ?? systemTime,
    options.schedule,
  )
}

// One body may take a sixteenth of the memory, so that a few large ones cannot push out everything else.
const LARGEST_BODY_SHARE = 16

// Beyond that nobody wants to know how many entries carry a tag, and counting takes time.
const MOST_COUNTED = 10_000

class MemoryBackend implements TagBackend<true> {
  readonly sync = true
  readonly maxBodySize: number
  readonly maxBytes: number
  readonly #maxEntries: number
  readonly #time: Pick<Time, 'now'>
  readonly #index: TagIndex<Held>
  #held: LRUCache<string, Held>
  readonly #listeners: ((removal: Removal) => void)[] = []
  /** Why entries leave now; undefined where one only makes room for itself. */
  #reason: RemovalReason | undefined = 'evicted'

  constructor(maxSize: number, maxEntries: number, time: Pick<Time, 'now'>, schedule: Schedule | undefined) {
    this.maxBodySize = Math.floor(maxSize / LARGEST_BODY_SHARE)
    this.#maxEntries = maxEntries
    this.#time = time
    this.#index = new TagIndex<Held>((held) => this.#remove(held, 'invalidated'), schedule)
    this.maxBytes = maxSize
    this.#held = this.#hold()
  }

  lookup(key: string): Lookup {
    const held = this.#held.get(key)
    if (held === undefined) return { entry: undefined, invalidatedAt: 0, clock: this.#index.clock }
    if (held.keepUntil <= this.#time.now()) {
      this.#remove(held, 'expired')
      return { entry: undefined, invalidatedAt: 0, clock: this.#index.clock }
    }
    return this.#show(held)
  }

  clock(): number {
    return this.#index.clock
  }

  invalidatedAt(tags: readonly string[]): number {
    return this.#index.invalidatedAt(tags)
  }

  store(entry: Entry, ttl: number): boolean {
    if (isOutdated(entry.stamp, this.#index.invalidatedAt(entry.tags))) return false
    const existing = this.#held.peek(entry.key)
    if (existing) this.#remove(existing, isSameResponse(existing.entry, entry) ? undefined : 'replaced')
    const held: Held = { entry, stamp: entry.stamp, keepUntil: this.#time.now() + ttl, links: [] }
    this.#index.attach(held, entry.tags)
    this.#held.set(entry.key, held)
    if (!this.#held.has(entry.key)) this.#index.detach(held)
    while (this.#held.size > this.#maxEntries) this.#held.pop()
    return this.#held.has(entry.key)
  }

  invalidate(tags: readonly string[]): void {
    this.#index.invalidate(tags)
  }

  delete(key: string): boolean {
    const held = this.#held.peek(key)
    if (held) this.#remove(held, 'deleted')
    return held !== undefined
  }

  clear(): void {
    const entries = this.#held.size
    this.#index.clear()
    this.#held = this.#hold()
    if (entries > 0) this.#tell({ reason: 'deleted', entries })
  }

  list(tag: string, limit: number): Lookup[] {
    const found: Lookup[] = []
    for (const held of this.#index.newest(tag)) {
      if (found.length >= limit) break
      if (held.keepUntil > this.#time.now()) found.push(this.#show(held))
    }
    return found
  }

  /** In the order of their names. */
  async tags(query: Query): Promise<Page<TagRecord>> {
    const { names, next } = await firstNames(this.#index.names(), query)
    const items: TagRecord[] = []
    for (const tag of names) {
      items.push(this.#count(tag))
      await nextTurn()
    }
    return { items: items.filter(({ entries }) => entries > 0), ...next }
  }

  /** In the order of their keys. */
  async entries(query: Query): Promise<Page<Lookup>> {
    const { names, next } = await firstNames([...this.#held.keys()], query)
    const held = names.flatMap((key) => this.#held.peek(key) ?? [])
    return {
      items: held.filter(({ keepUntil }) => keepUntil > this.#time.now()).map((one) => this.#show(one)),
      ...next,
    }
  }

  size(): BackendSize {
    return { entries: this.#held.size, bytes: this.#held.calculatedSize }
  }

  onRemoval(listener: (removal: Removal) => void): void {
    this.#listeners.push(listener)
  }

  close(): void {
    this.clear()
  }

  #count(tag: string): TagRecord {
    let entries = 0
    for (const _ of this.#index.newest(tag)) if (++entries === MOST_COUNTED) return { tag, entries, isAtLeast: true }
    return { tag, entries }
  }

  #hold(): LRUCache<string, Held> {
    return new LRUCache({
      maxSize: this.maxBytes,
      sizeCalculation: (held) => bytesOf(held.entry),
      dispose: (held) => this.#leave(held),
    })
  }

  #show(held: Held): Lookup {
    return { entry: held.entry, invalidatedAt: this.#index.latestOf(held), clock: this.#index.clock }
  }

  #remove(held: Held, reason: RemovalReason | undefined): void {
    this.#reason = reason
    this.#held.delete(held.entry.key)
    this.#reason = 'evicted'
  }

  #leave(held: Held): void {
    this.#index.detach(held)
    if (this.#reason === undefined) return
    const expired = this.#reason === 'evicted' && held.keepUntil <= this.#time.now()
    this.#tell({ reason: expired ? 'expired' : this.#reason, entries: 1, key: held.entry.key })
  }

  #tell(removal: Removal): void {
    for (const listener of this.#listeners) listener(removal)
  }
}

// What the objects around an entry, a header field and a tag take, measured by `npm run bench` (memory per entry), rounded up.
const ENTRY_OVERHEAD = 640
const FIELD_OVERHEAD = 72
const TAG_OVERHEAD = 160
// The heads that are made of a response for its answers without a coding and in each, which are kept with it.
const REPRESENTATION_OVERHEAD = 640
const ENCODING_OVERHEAD = 1088

function bytesOf(entry: Entry): number {
  const { headers, trailers, body, encodings } = entry.response
  let bytes = ENTRY_OVERHEAD + entry.key.length * 2 + body.byteLength
  for (const tag of entry.tags) bytes += TAG_OVERHEAD + tag.length
  for (const field of headers) bytes += bytesOfField(field)
  for (const field of trailers) bytes += bytesOfField(field)
  if (encodings) bytes += bytesOfEncodings(encodings)
  return bytes
}

function bytesOfEncodings(encodings: readonly Encoding[]): number {
  return encodings.reduce((sum, { body }) => sum + ENCODING_OVERHEAD + body.byteLength, REPRESENTATION_OVERHEAD)
}

function bytesOfField({ name, value }: HeaderField): number {
  const length = typeof value === 'string' ? value.length : value.reduce((sum, line) => sum + line.length + 16, 0)
  return FIELD_OVERHEAD + name.length + length
}
