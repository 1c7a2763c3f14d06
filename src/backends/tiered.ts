import { type Entry, freshFor, type Removal } from '../core/entry.ts'
import { HandedOut, madeOnce } from '../core/made-once.ts'
import { chain, type MaybePromise } from '../core/maybe.ts'
import { isOutdated } from '../core/tags.ts'
import { inTime, monotonicTime, type Time } from '../core/time.ts'
import { badValue, checkOptions, type Duration, durationOf, hasMethods } from '../core/values.ts'
import { TagcacheError, type WarningCode } from '../errors.ts'
import type { BackendSize, Board, Changes, Copy, Feed, Leases, Lookup, LookupNeeds, TagBackend } from './backend.ts'

/** How two tiers work together. */
export interface TieredOptions {
  /** Keeps copies in this process: `memory()`. */
  near: TagBackend<true>
  /** What all processes share: `redis(client)`. */
  far: TagBackend<false>
  /**
   * `'bounded'`: a copy may be served for a moment after another process has purged it, as a rule for a millisecond, at the
   * very worst for `maxStaleness`. `'strong'`: never; each hit asks `far` for the last invalidation of its tags. Default `'bounded'`.
   */
  consistency?: 'bounded' | 'strong'
  /** For how long after the last news from `far` copies are trusted. News are asked for four times as often. Default `'1s'`. */
  maxStaleness?: Duration
  /** Where time comes from. Default: the machine's, which never goes back. */
  time?: Time
}

/**
 * Copies in this process in front of a backend that several processes share: hits without any network. Invalidations of other processes
 * are heard of at once, and asked for besides; without news the copies are not trusted. Throws `ERR_TAGCACHE_OPTION_VALUE`.
 */
export function tiered(options: TieredOptions): TagBackend<false> {
  checkOptions('tiered()', options, ['near', 'far', 'consistency', 'maxStaleness', 'time'])
  const { near, far, consistency = 'bounded', maxStaleness = '1s', time = monotonicTime } = options
  if (!hasMethods(near, ['lookup', 'store', 'invalidate', 'clear']) || near.sync !== true)
    throw badValue('near', near, 'memory()')
  if (!hasMethods(far, ['lookup', 'store', 'invalidate', 'clear']) || !far.feed)
    throw badValue('far', far, 'a backend with a feed of its invalidations, such as redis(client)')
  if (consistency !== 'bounded' && consistency !== 'strong')
    throw badValue('consistency', consistency, "'bounded' or 'strong'")
  const trustedFor = durationOf('maxStaleness', maxStaleness)
  if (!hasMethods(time, ['now', 'after'])) throw badValue('time', time, 'an object with now() and after()')
  if (trustedFor < 20) throw badValue('maxStaleness', maxStaleness, '20 milliseconds or more')
  return new Tiered(near, far, far.feed, { isStrong: consistency === 'strong', trustedFor, time })
}

interface Resolved {
  readonly isStrong: boolean
  readonly trustedFor: number
  readonly time: Time
}

/** What is known of a copy in the near tier. */
interface Original {
  readonly entry: Entry
  /** The clock of `far` when the copy was made. */
  readonly clock: number
}

const NEWS_PER_TRUST = 4

class Tiered implements TagBackend<false> {
  readonly sync = false
  readonly maxBodySize: number
  readonly maxBytes?: number
  readonly maxStaleness: number
  readonly leases?: Leases
  readonly board?: Board
  readonly tags?: TagBackend['tags'] & {}
  readonly entries?: TagBackend['entries'] & {}
  readonly #near: TagBackend<true>
  readonly #far: TagBackend<false>
  readonly #feed: Feed
  readonly #options: Resolved
  readonly #trustListeners: ((isTrusted: boolean) => void)[] = []
  #position: string | undefined
  // By both clocks: one may be put back, the other stands still while the machine sleeps.
  #newsFrom = { time: Number.NEGATIVE_INFINITY, wall: Number.NEGATIVE_INFINITY }
  #isAsking = false
  #isUsed = false
  #isLost = false
  #isClosed = false
  #unlisten: (() => void) | undefined
  #cancel: (() => void) | undefined

  constructor(near: TagBackend<true>, far: TagBackend<false>, feed: Feed, options: Resolved) {
    this.maxBodySize = far.maxBodySize
    this.maxStaleness = options.isStrong ? 0 : options.trustedFor
    if (near.maxBytes !== undefined) this.maxBytes = near.maxBytes
    if (far.leases) this.leases = far.leases
    if (far.board) this.board = far.board
    if (far.tags) this.tags = far.tags.bind(far)
    if (far.entries) this.entries = far.entries.bind(far)
    this.#near = near
    this.#far = far
    this.#feed = feed
    this.#options = options
  }

  glance(key: string, needs: LookupNeeds = {}): Lookup | undefined {
    this.#keepUp()
    if (this.#options.isStrong || !this.#isTrusted() || !this.#hasPassed(needs.position)) return undefined
    const original = this.#copyOf(key)
    return original && { entry: original.entry, invalidatedAt: 0, clock: original.clock, tier: 'near' }
  }

  lookup(key: string, needs: LookupNeeds = {}): MaybePromise<Lookup> {
    const near = this.glance(key, needs)
    if (near) return near
    const original = this.#options.isStrong ? this.#copyOf(key) : undefined
    return original ? this.#check(key, original, needs) : this.#fetch(key, needs)
  }

  async #check(key: string, { entry, clock }: Original, needs: LookupNeeds): Promise<Lookup> {
    const { invalidatedAt, deletedAt } = await this.#feed.check(key, entry.tags)
    const isGone = isOutdated(entry.stamp, invalidatedAt) || isOutdated(clock, deletedAt)
    return isGone ? this.#fetch(key, needs) : { entry, invalidatedAt, clock, tier: 'near' }
  }

  clock(key?: string): MaybePromise<number> {
    return this.#far.clock(key)
  }

  invalidatedAt(tags: readonly string[], key?: string): MaybePromise<number> {
    return this.#far.invalidatedAt(tags, key)
  }

  store(entry: Entry, ttl: number, holder?: string): MaybePromise<boolean> {
    const heard = this.#near.clock()
    return chain(this.#far.store(entry, ttl, holder), (isKept) => {
      if (isKept) this.#copy(entry, entry.stamp, heard)
      return isKept
    })
  }

  invalidate(tags: readonly string[]): MaybePromise<void> {
    return chain(this.#far.invalidate(tags), () => this.#learn({ tags, keys: [] }))
  }

  clear(): MaybePromise<void> {
    return chain(this.#far.clear(), () => this.#near.clear())
  }

  delete(key: string): MaybePromise<boolean> {
    return chain(this.#far.delete(key), (isDeleted) => {
      this.#learn({ tags: [], keys: [key] })
      return isDeleted
    })
  }

  list(tag: string, limit: number): MaybePromise<readonly Lookup[]> {
    return this.#far.list(tag, limit)
  }

  clockOf(key: string): number {
    return this.#far.clockOf?.(key) ?? 0
  }

  position(): string | undefined {
    return this.#far.position?.()
  }

  size(): BackendSize {
    return this.#near.size?.() ?? { entries: 0, bytes: 0 }
  }

  onRemoval(listener: (removal: Removal) => void): void {
    this.#near.onRemoval?.(listener)
  }

  onTrust(listener: (isTrusted: boolean) => void): void {
    this.#trustListeners.push(listener)
  }

  onWarning(listener: (code: WarningCode, error?: unknown) => void): void {
    this.#far.onWarning?.(listener)
  }

  close(): MaybePromise<void> {
    this.#isClosed = true
    this.#cancel?.()
    this.#unlisten?.()
    this.#near.close()
    return this.#far.close()
  }

  #copyOf(key: string): Original | undefined {
    const { entry, invalidatedAt } = this.#near.lookup(key)
    if (!entry || isOutdated(entry.stamp, invalidatedAt)) return undefined
    const original = originalOf(entry)
    // Another process may have a newer one by then.
    return original !== 'none' && freshFor(original.entry, Date.now()) > 0 ? original : undefined
  }

  #fetch(key: string, needs: LookupNeeds): MaybePromise<Lookup> {
    const heard = this.#near.clock()
    return chain(this.#far.lookup(key, needs), (found) => {
      const { entry, invalidatedAt, clock } = found
      if (entry && !isOutdated(entry.stamp, invalidatedAt)) this.#copy(entry, clock, heard)
      return { ...found, tier: 'far' }
    })
  }

  // It is stamped by the near tier's clock: what is heard of from then on outdates it; what had been heard of before, `far` had
  // taken into account.
  #copy(entry: Entry, clock: number, heard: number): void {
    const left = freshFor(entry, Date.now())
    if (left <= 0 || entry.response.body.byteLength > this.#near.maxBodySize) return
    const tags = [...entry.tags, ownTag(entry.key)]
    const copy: Copy = { ...entry, tags, stamp: heard, origin: { stamp: entry.stamp, clock } }
    this.#near.store(copy, left)
  }

  #learn({ tags, keys }: Changes): void {
    if (tags === undefined) return this.#near.clear()
    for (const key of keys) this.#near.delete(key)
    // A copy of what was deleted may be on its way here.
    const names = [...tags, ...keys.map(ownTag)]
    if (names.length > 0) this.#near.invalidate(names)
  }

  #isTrusted(): boolean {
    const { time, trustedFor } = this.#options
    return time.now() - this.#newsFrom.time < trustedFor && Date.now() - this.#newsFrom.wall < trustedFor
  }

  #hasPassed(position: string | undefined): boolean {
    if (position === undefined) return true
    return this.#position !== undefined && this.#feed.hasPassed(this.#position, position)
  }

  // News are asked for while there are requests; after a pause the first ones go to `far`.
  #keepUp(): void {
    this.#isUsed = true
    if (this.#isAsking || this.#isClosed) return
    this.#isAsking = true
    this.#unlisten ??= this.#feed.listen((changes) => this.#learn(changes))
    void this.#askForNews()
  }

  async #askForNews(): Promise<void> {
    const { time, trustedFor } = this.#options
    this.#isUsed = false
    const asked = { time: time.now(), wall: Date.now() }
    try {
      const { position, ...changes } = await inTime(time, trustedFor, this.#feed.changesSince(this.#position), tooLate)
      if (this.#isClosed) return
      this.#learn(changes)
      this.#position = position
      // What happened after the question may not be in the answer, however long that took.
      this.#newsFrom = asked
    } catch {}
    this.#tellTrust()
    this.#cancel = time.after(trustedFor / NEWS_PER_TRUST, () => {
      if (this.#isUsed && !this.#isClosed) void this.#askForNews()
      else this.#isAsking = false
    })
  }

  #tellTrust(): void {
    const isLost = !this.#isTrusted()
    if (isLost === this.#isLost) return
    this.#isLost = isLost
    for (const listener of this.#trustListeners) listener(!isLost)
  }
}

// A near tier may have had entries of its own.
const originalOf = madeOnce((copy: Entry | Copy): Original | 'none' => {
  if (!('origin' in copy)) return 'none'
  const { origin, ...entry } = copy
  const original = new HandedOut({ ...entry, tags: copy.tags.slice(0, -1), stamp: origin.stamp })
  return { entry: original, clock: origin.clock }
})

// An entry that is deleted leaves the near tiers too.
function ownTag(key: string): string {
  return `key/${key}`
}

function tooLate(): Error {
  return new TagcacheError('ERR_TAGCACHE_BACKEND_TIMEOUT', 'The shared backend did not give news in time.')
}
