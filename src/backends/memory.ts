import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Entry, Removal, RemovalReason } from '../core/entry.ts'
import { isOutdated } from '../core/tags.ts'
import { systemTime, type Time } from '../core/time.ts'
import { checkOptions, countOf, sizeOf } from '../core/values.ts'
import type { BackendSize, Lookup, Page, Query, TagBackend, TagRecord } from './backend.ts'
import { firstNames } from './enumerate.ts'
import { Heads } from './heads.ts'
import { bytesOf, isWithEncodings, Kept } from './kept.ts'
import { Recency } from './recency.ts'
import { SegmentedMap } from './segmented-map.ts'
import { type Schedule, TagIndex } from './tag-index.ts'
import { bytesForViews, type View, Views } from './views.ts'

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

// One body may take a sixteenth of the memory, so that a few large ones cannot push out everything else; and as much is set
// aside for entries as they are handed out, which also have what is not taken otherwise.
const SHARE = 16

// Beyond that nobody wants to know how many entries carry a tag, and counting takes time.
const MOST_COUNTED = 10_000

class MemoryBackend implements TagBackend<true> {
  readonly sync = true
  readonly maxBodySize: number
  readonly maxBytes: number
  readonly #forViews: number
  readonly #mostBytes: number
  readonly #mostEntries: number
  readonly #time: Pick<Time, 'now'>
  readonly #index: TagIndex<Kept>
  readonly #views: Views
  readonly #listeners: ((removal: Removal) => void)[] = []
  #kept = new SegmentedMap<Kept>()
  #order = new Recency<Kept>()
  #heads = new Heads()
  #entries = 0
  #bytes = 0

  constructor(maxSize: number, maxEntries: number, time: Pick<Time, 'now'>, schedule: Schedule | undefined) {
    this.#forViews = bytesForViews(maxSize / SHARE)
    this.maxBodySize = Math.floor(maxSize / SHARE)
    this.maxBytes = maxSize
    this.#mostBytes = maxSize - this.#forViews
    this.#mostEntries = maxEntries
    this.#time = time
    this.#index = new TagIndex<Kept>((kept) => this.#remove(kept, 'invalidated'), schedule)
    this.#views = new Views(this.#forViews)
  }

  lookup(key: string): Lookup {
    const view = this.#find(key)
    if (view && view.keepUntil > this.#time.now()) {
      this.#order.use(view.kept)
      return this.#show(view)
    }
    if (view) this.#remove(view.kept, 'expired')
    return { entry: undefined, invalidatedAt: 0, clock: this.#index.clock }
  }

  clock(): number {
    return this.#index.clock
  }

  invalidatedAt(tags: readonly string[]): number {
    return this.#index.invalidatedAt(tags)
  }

  store(entry: Entry, ttl: number): boolean {
    if (isOutdated(entry.stamp, this.#index.invalidatedAt(entry.tags))) return false
    const head = this.#heads.take(entry)
    const kept = new Kept(entry, head, this.#time.now() + ttl)
    const existing = this.#kept.get(entry.key)
    if (existing) this.#takeOut(existing)
    this.#index.attach(kept, entry.tags)
    const hasRoom = bytesOf(kept) + head.bytes <= this.#mostBytes
    if (hasRoom) this.#add(kept)
    else this.#drop(kept)
    // One that only makes room for itself has not left.
    if (existing && !(hasRoom && isWithEncodings(kept, existing))) this.#tellOf(existing, 'replaced')
    this.#evict()
    this.#allowViews()
    return hasRoom
  }

  invalidate(tags: readonly string[]): void {
    this.#index.invalidate(tags)
  }

  delete(key: string): boolean {
    const kept = this.#kept.get(key)
    if (kept) this.#remove(kept, 'deleted')
    return kept !== undefined
  }

  // What there was is left to the garbage collector as a whole.
  clear(): void {
    const entries = this.#entries
    this.#index.clear()
    this.#views.clear()
    this.#kept = new SegmentedMap()
    this.#order = new Recency()
    this.#heads = new Heads()
    this.#entries = 0
    this.#bytes = 0
    if (entries > 0) this.#tell({ reason: 'deleted', entries })
  }

  list(tag: string, limit: number): Lookup[] {
    const found: Lookup[] = []
    for (const { key } of this.#index.newest(tag)) {
      if (found.length >= limit) break
      const view = this.#find(key)
      if (view && view.keepUntil > this.#time.now()) found.push(this.#show(view))
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
    const { names, next } = await firstNames(this.#kept.keys(), query)
    const found = names.flatMap((key) => this.#find(key) ?? [])
    return {
      items: found.filter(({ keepUntil }) => keepUntil > this.#time.now()).map((one) => this.#show(one)),
      ...next,
    }
  }

  size(): BackendSize {
    return { entries: this.#entries, bytes: this.#bytes + this.#heads.bytes + this.#views.bytes }
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

  // What is asked for often is little, and found there sooner than among all.
  #find(key: string): View | undefined {
    const view = this.#views.find(key)
    if (view) return view
    const kept = this.#kept.get(key)
    if (!kept) return undefined
    this.#allowViews()
    return this.#views.make(kept, this.#index.tagsOf(kept))
  }

  // Where nothing at all was invalidated since it was shown last, its tags need no look.
  #show(view: View): Lookup {
    const { clock } = this.#index
    if (view.shownAt !== clock) {
      view.invalidatedAt = this.#index.latestOf(view.kept)
      view.shownAt = clock
    }
    return { entry: view.entry, invalidatedAt: view.invalidatedAt, clock }
  }

  // A memory that is too small for one has none.
  #allowViews(): void {
    if (this.#forViews > 0) this.#views.allow(Math.max(this.#forViews, this.maxBytes - this.#bytes - this.#heads.bytes))
  }

  #isOver({ time, keptFor }: Kept): boolean {
    return time + keptFor <= this.#time.now()
  }

  #add(kept: Kept): void {
    this.#kept.set(kept.key, kept)
    this.#order.add(kept)
    this.#entries += 1
    this.#bytes += bytesOf(kept)
  }

  #evict(): void {
    while (this.#entries > this.#mostEntries || this.#bytes + this.#heads.bytes > this.#mostBytes) {
      const { oldest } = this.#order
      if (!oldest) return
      this.#remove(oldest, this.#isOver(oldest) ? 'expired' : 'evicted')
    }
  }

  // Whoever is told may purge or store in turn: so that comes last.
  #remove(kept: Kept, reason: RemovalReason): void {
    this.#takeOut(kept)
    this.#tellOf(kept, reason)
  }

  #takeOut(kept: Kept): void {
    this.#entries -= 1
    this.#bytes -= bytesOf(kept)
    this.#kept.delete(kept.key)
    this.#order.remove(kept)
    this.#views.drop(kept.key)
    this.#drop(kept)
  }

  #drop(kept: Kept): void {
    this.#index.detach(kept)
    this.#heads.release(kept.head)
  }

  #tellOf({ key }: Kept, reason: RemovalReason): void {
    this.#tell({ reason, entries: 1, key })
  }

  #tell(removal: Removal): void {
    for (const listener of this.#listeners) listener(removal)
  }
}
