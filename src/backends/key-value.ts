import { randomUUID } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import type { Entry, Removal, RemovalReason } from '../core/entry.ts'
import { chain, isPromise, type MaybePromise } from '../core/maybe.ts'
import { isOutdated } from '../core/tags.ts'
import { systemTime, type Time } from '../core/time.ts'
import { badValue, checkOptions, countOf, hasMethods, sizeOf } from '../core/values.ts'
import type { BackendSize, CacheBackend, Lookup, TagBackend } from './backend.ts'
import { decodeEntry, encodeEntry } from './codec.ts'
import { type Member, nextTurn, type Schedule, TagIndex } from './tag-index.ts'

/** What `keyValue()` keeps in this process beside the three-method backend. */
export interface KeyValueOptions {
  /** The most entries that it remembers; one that is forgotten counts as a miss. Default 100,000. */
  maxEntries?: number
  /** The largest body handed to the backend; bytes, or text such as `'1mb'`. Default `'1mb'`. */
  maxBodySize?: number | string
  /** Where time comes from. Default: the machine. */
  time?: Pick<Time, 'now'>
  /** How slices of clean-up work get their turn. Default: `setImmediate`. */
  schedule?: Schedule
}

type AnswersWithPromise<B extends CacheBackend> =
  | Extract<ReturnType<B['get']>, PromiseLike<unknown>>
  | Extract<ReturnType<B['set']>, PromiseLike<unknown>>
  | Extract<ReturnType<B['delete']>, PromiseLike<unknown>>

/** Whether a backend answers at once, as far as its types tell: its `get` decides, and where the others differ it is either. */
export type IsSync<B extends CacheBackend> =
  IsAny<ReturnType<B['get']>> extends true
    ? boolean
    : [Extract<ReturnType<B['get']>, PromiseLike<unknown>>] extends [never]
      ? [AnswersWithPromise<B>] extends [never]
        ? true
        : boolean
      : false

type IsAny<V> = 0 extends 1 & V ? true : false

interface Known extends Member {
  readonly key: string
  readonly identity: string
  readonly keepUntil: number
  /** When the response was made. */
  readonly time: number
  /** What the backend was given, in bytes. */
  readonly bytes: number
}

/**
 * Makes a backend of three methods: bodies go to `backend`, tags and the invalidation clock stay in this process. So the
 * promise holds for this process; entries of another one, or of an earlier run, count as misses, never as hits.
 * Calls `backend.get` once to see whether it answers at once or with a promise.
 * Throws `ERR_TAGCACHE_OPTION_VALUE` for a bad backend or bad bounds.
 */
export function keyValue<B extends CacheBackend>(backend: B, options: KeyValueOptions = {}): TagBackend<IsSync<B>> {
  checkOptions('keyValue()', options, ['maxEntries', 'maxBodySize', 'time', 'schedule'])
  if (!hasMethods(backend, ['get', 'set', 'delete']))
    throw badValue('backend', backend, 'an object with get, set and delete')
  return new KeyValueBackend(backend, {
    maxEntries: countOf('maxEntries', options.maxEntries ?? 100_000),
    maxBodySize: sizeOf('maxBodySize', options.maxBodySize ?? '1mb'),
    time: options.time ?? systemTime,
    schedule: options.schedule,
  }) as TagBackend<boolean> as TagBackend<IsSync<B>>
}

const KEYS_PER_SLICE = 500

// A very long key counts as several entries, so that a bound by number is one by memory too.
function shareOf({ key }: Known): number {
  return 1 + Math.floor(key.length / 512)
}

interface Resolved {
  readonly maxEntries: number
  readonly maxBodySize: number
  readonly time: Pick<Time, 'now'>
  readonly schedule: Schedule | undefined
}

class KeyValueBackend implements TagBackend {
  readonly sync: boolean
  readonly maxBodySize: number
  readonly #backend: CacheBackend
  readonly #time: Pick<Time, 'now'>
  readonly #schedule: Schedule
  readonly #index: TagIndex<Known>
  readonly #known: LRUCache<string, Known>
  readonly #listeners: ((removal: Removal) => void)[] = []
  // Another process, or an earlier run of this one, must not be taken for us.
  readonly #run = randomUUID()
  #stores = 0
  #bytes = 0
  // The last store of each key that has not been answered yet.
  readonly #underWay = new Map<string, string>()
  /** Why entries leave now; undefined where one only makes room for itself. */
  #reason: RemovalReason | undefined = 'evicted'

  constructor(backend: CacheBackend, options: Resolved) {
    this.#backend = backend
    this.sync = answersAtOnce(backend)
    this.maxBodySize = options.maxBodySize
    this.#time = options.time
    this.#schedule = options.schedule ?? nextTurn
    this.#index = new TagIndex<Known>((known) => this.#remove(known, 'invalidated'), options.schedule)
    this.#known = new LRUCache<string, Known>({
      max: options.maxEntries,
      maxSize: options.maxEntries,
      sizeCalculation: shareOf,
      dispose: (known) => this.#leave(known),
    })
  }

  lookup(key: string): MaybePromise<Lookup> {
    const known = this.#known.get(key)
    if (known && known.keepUntil <= this.#time.now()) this.#remove(known, 'expired')
    else if (known) return chain(this.#backend.get(this.#address(key)), (bytes) => this.#show(known, bytes))
    return { entry: undefined, invalidatedAt: 0, clock: this.#index.clock }
  }

  clock(): number {
    return this.#index.clock
  }

  invalidatedAt(tags: readonly string[]): number {
    return this.#index.invalidatedAt(tags)
  }

  store(entry: Entry, ttl: number): MaybePromise<boolean> {
    if (isOutdated(entry.stamp, this.#index.invalidatedAt(entry.tags))) return false
    const { time, stamp } = entry
    const identity = String(++this.#stores)
    const keepUntil = this.#time.now() + ttl
    const bytes = encodeEntry(entry, { identity: `${this.#run}/${identity}` })
    const kept = this.#backend.set(this.#address(entry.key), bytes, Math.ceil(ttl / 1000)) as MaybePromise<unknown>
    const known = { key: entry.key, identity, keepUntil, time, stamp, bytes: bytes.byteLength, links: [] }
    if (!isPromise(kept)) return this.#know(entry, known)
    this.#underWay.set(entry.key, identity)
    const arrive = () => this.#underWay.get(entry.key) === identity && this.#underWay.delete(entry.key)
    return Promise.resolve(kept)
      .finally(arrive)
      .then(() => this.#know(entry, known))
  }

  invalidate(tags: readonly string[]): void {
    this.#index.invalidate(tags)
  }

  delete(key: string): boolean {
    const known = this.#known.peek(key)
    if (known) this.#remove(known, 'deleted')
    return known !== undefined
  }

  clear(): void {
    const keys = [...this.#known.keys()]
    this.#index.clear()
    this.#reason = 'deleted'
    this.#known.clear()
    this.#reason = 'evicted'
    this.#dropSoon(keys)
  }

  list(tag: string, limit: number): MaybePromise<Lookup[]> {
    const found: MaybePromise<Lookup>[] = []
    for (const known of this.#index.newest(tag)) {
      if (found.length >= limit) break
      found.push(this.lookup(known.key))
    }
    return this.sync ? (found as Lookup[]) : Promise.all(found)
  }

  size(): BackendSize {
    return { entries: this.#known.size, bytes: this.#bytes }
  }

  onRemoval(listener: (removal: Removal) => void): void {
    this.#listeners.push(listener)
  }

  close(): void {
    this.#known.clear()
  }

  // Between asking and answering the entry may have been purged, or replaced by another run: then the bytes are not the known ones.
  #show(known: Known, bytes: unknown): Lookup {
    const missing = { entry: undefined, invalidatedAt: 0, clock: this.#index.clock }
    if (this.#known.peek(known.key) !== known) return missing
    const found = bytes === undefined || bytes === null ? undefined : tryDecode(bytes)
    if (found instanceof Error) {
      this.#remove(known, 'evicted')
      return { ...missing, fault: found }
    }
    if (found?.identity === `${this.#run}/${known.identity}`) {
      return { entry: found.entry, invalidatedAt: this.#index.latestOf(known), clock: this.#index.clock }
    }
    this.#remove(known, 'evicted')
    return missing
  }

  // The tags may have been invalidated while the bytes were on their way.
  #know(entry: Entry, known: Known): boolean {
    if (isOutdated(entry.stamp, this.#index.invalidatedAt(entry.tags))) return false
    const existing = this.#known.peek(entry.key)
    const isSame = existing?.stamp === entry.stamp && existing.time === entry.time && hasEncodings(entry)
    if (existing) this.#forget(existing, isSame ? undefined : 'replaced')
    this.#index.attach(known, entry.tags)
    this.#known.set(entry.key, known)
    // A key may be longer than everything together may be.
    if (this.#known.peek(entry.key) !== known) {
      this.#index.detach(known)
      return false
    }
    this.#bytes += known.bytes
    return true
  }

  #remove(known: Known, reason: RemovalReason): void {
    this.#forget(known, reason)
    this.#drop(known.key)
  }

  #forget(known: Known, reason: RemovalReason | undefined): void {
    this.#reason = reason
    this.#known.delete(known.key)
    this.#reason = 'evicted'
  }

  #leave(known: Known): void {
    this.#index.detach(known)
    this.#bytes -= known.bytes
    if (this.#reason === 'evicted') this.#drop(known.key)
    if (this.#reason === undefined) return
    for (const listener of this.#listeners) listener({ reason: this.#reason, entries: 1, key: known.key })
  }

  // Correctness does not need it, since nothing unknown is ever served: it frees the backend's memory sooner than the ttl.
  #drop(key: string): void {
    // What is on its way there would be dropped in the place of what was there.
    if (this.#underWay.has(key)) return
    try {
      const dropped = this.#backend.delete(this.#address(key)) as MaybePromise<unknown>
      if (isPromise(dropped)) dropped.catch(() => {})
    } catch {}
  }

  #dropSoon(keys: string[]): void {
    if (keys.length === 0) return
    this.#schedule(() => {
      for (const key of keys.splice(-KEYS_PER_SLICE)) if (!this.#known.has(key)) this.#drop(key)
      this.#dropSoon(keys)
    })
  }

  #address(key: string): string {
    return `tagcache/${key}`
  }
}

// What is stored again for their sake is what was there before.
function hasEncodings({ response }: Entry): boolean {
  return response.encodings !== undefined && response.encodings.length > 0
}

function tryDecode(bytes: unknown): { entry: Entry; identity: string } | Error {
  try {
    return decodeEntry(bytes)
  } catch (error) {
    return error as Error
  }
}

function answersAtOnce(backend: CacheBackend): boolean {
  try {
    const answer = backend.get('tagcache/probe')
    if (!isPromise(answer)) return true
    answer.catch(() => {})
    return false
  } catch {
    return false
  }
}
