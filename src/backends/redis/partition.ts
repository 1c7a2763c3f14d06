import { randomBytes } from 'node:crypto'
import { promisify } from 'node:util'
import { deflateRaw, inflateRaw } from 'node:zlib'
import { type Entry, isSound } from '../../core/entry.ts'
import { isImplicit } from '../../core/tags.ts'
import { TagcacheError } from '../../errors.ts'
import type { Lease, LeaseEnd, Lookup } from '../backend.ts'
import { decodeEntry, encodeEntry, packTexts } from '../codec.ts'
import { type Argument, type RedisLink, run } from './client.ts'
import type { Place } from './layout.ts'
import * as scripts from './scripts.ts'
import { Timeline } from './timeline.ts'

/** What the partitions of one backend have in common. */
export interface Shared {
  readonly link: RedisLink
  readonly maxTags: number
  readonly maxBodySize: number
  /** Bodies from this size on are compressed; infinite where none is. */
  readonly compressFrom: number
  readonly isIndexed: boolean
  /** What the names of this backend's channels begin with. */
  readonly channels: string
  /** The name of this process among those that share the backend. */
  readonly node: string
}

/** An entry that a list has given, and its place among others. */
export interface Listed extends Lookup {
  readonly order: number
}

/** Where a ledger stands. */
export interface Position {
  readonly epoch: string
  readonly clock: number
}

/** A name in a ledger, with its mark, and its clock. */
export type Named = readonly [name: string, clock: number]

const compress = promisify(deflateRaw)
const expand = promisify(inflateRaw)

// Takes Redis less than a millisecond.
const KEYS_PER_SCAN = 1000

/** Entries that lie in one hash slot, and their ledger: every method is one command. */
export class Partition {
  readonly #shared: Shared
  readonly #place: Place
  readonly #timeline = new Timeline()
  // The highest number of the ledger's clock that was heard of.
  #reached = 0

  constructor(shared: Shared, place: Place) {
    this.#shared = shared
    this.#place = place
  }

  async lookup(key: string): Promise<Lookup> {
    const keys = [this.#place.ledger, this.#place.entry(key)]
    const before = this.#reached
    const seen = await this.#run(scripts.GLANCE, keys, []).catch(orNothing)
    const [frame, latest, clock, epoch] = seen.length > 0 ? seen : await this.#run(scripts.LOOKUP, keys, [freshEpoch()])
    return this.#show(key, frame, Number(latest), this.#advance(before, epoch, clock), String(epoch))
  }

  async lookupOrLease(key: string, milliseconds: number): Promise<Lookup> {
    const { ledger, entry, lease } = this.#place
    const holder = `${this.#shared.node}/${freshEpoch()}`
    const before = this.#reached
    const answer = await this.#run(
      scripts.LOOKUP_OR_LEASE,
      [ledger, entry(key), lease(key)],
      [freshEpoch(), holder, String(milliseconds), this.#shared.node],
    )
    const [frame, latest, clock, epoch, state, left] = answer
    const now = this.#advance(before, epoch, clock)
    const found = await this.#show(key, frame, Number(latest), now, String(epoch))
    const taken = leaseOf(String(state), holder, Number(left))
    return taken ? { ...found, lease: taken } : found
  }

  async clock(): Promise<number> {
    const before = this.#reached
    const [, clock, epoch] = await this.#run(scripts.LATEST, [this.#place.ledger], [freshEpoch()])
    return this.#advance(before, epoch, clock)
  }

  async invalidatedAt(tags: readonly string[]): Promise<number> {
    const before = this.#reached
    const [latest, clock, epoch] = await this.#run(scripts.LATEST, [this.#place.ledger], [freshEpoch(), ...tags])
    this.#advance(before, epoch, clock)
    return this.#timeline.at(String(epoch), Number(latest))
  }

  /** What outdates a copy: the latest invalidation of its tags, and when it was deleted, or 0. */
  async check(key: string, tags: readonly string[]): Promise<{ invalidatedAt: number; deletedAt: number }> {
    const [latest, deleted, epoch] = await this.#run(scripts.CHECK, [this.#place.ledger], [freshEpoch(), key, ...tags])
    const at = (clock: unknown) => this.#timeline.at(String(epoch), Number(clock))
    return { invalidatedAt: at(latest), deletedAt: at(deleted) }
  }

  async store(entry: Entry, ttl: number, holder = ''): Promise<boolean> {
    const born = this.#timeline.of(entry.stamp)
    if (!born) {
      if (holder !== '') await this.release(entry.key, holder, 'abandoned')
      return false
    }
    const { ledger, lease, index } = this.#place
    const { channels, isIndexed } = this.#shared
    const frame = await this.#write({ ...entry, stamp: born.clock }, born.epoch)
    const indexes = isIndexed ? entry.tags.filter((tag) => !isImplicit(tag)).map(index) : []
    const [isKept] = await this.#run(
      scripts.STORE,
      [ledger, this.#place.entry(entry.key), lease(entry.key), this.#place.entry(''), ...indexes],
      [
        freshEpoch(),
        born.epoch,
        String(born.clock),
        String(keptFor(ttl)),
        frame,
        entry.key,
        holder,
        `${channels}node:`,
        leaseMessage('stored', entry.key),
        ...entry.tags,
      ],
    )
    return Number(isKept) === 1
  }

  /** @param channel where it is told, by the names given */
  async invalidate(tags: readonly string[], channel = ''): Promise<Position> {
    const { ledger } = this.#place
    const { maxTags } = this.#shared
    const message = channel === '' ? '' : JSON.stringify({ tags })
    const args = [freshEpoch(), String(maxTags), channel, message, ...tags]
    return this.#moved(await this.#run(scripts.INVALIDATE, [ledger], args))
  }

  async clear(channel = ''): Promise<Position> {
    return this.#moved(await this.#run(scripts.CLEAR, [this.#place.ledger], [freshEpoch(), channel, '{}']))
  }

  /** Deletes an entry, and tells of it on a channel, though it may be gone: others may have copies. */
  delete(key: string, channel = ''): Promise<Position & { isDeleted: boolean }> {
    return this.#delete([this.#place.ledger, this.#place.entry(key)], key, channel)
  }

  /** Tells on a channel that an entry of another partition was deleted. */
  tellDeleted(key: string, channel: string): Promise<Position> {
    return this.#delete([this.#place.ledger], key, channel)
  }

  async #delete(keys: string[], key: string, channel: string): Promise<Position & { isDeleted: boolean }> {
    const message = JSON.stringify({ tags: [], keys: [key] })
    const args = [freshEpoch(), String(this.#shared.maxTags), channel, message, key]
    const [deleted, ...position] = await this.#run(scripts.DELETE, keys, args)
    return { ...this.#moved(position), isDeleted: Number(deleted) === 1 }
  }

  /** What was invalidated or deleted since, and when; no names where not all of it is known. */
  async changes({ epoch, clock }: Position, most: number): Promise<Position & { names: Named[] | undefined }> {
    const args = [freshEpoch(), epoch, String(clock), String(most)]
    const [now, at, names] = await this.#run(scripts.CHANGES, [this.#place.ledger], args)
    return { epoch: String(now), clock: Number(at), names: Array.isArray(names) ? pairs(names) : undefined }
  }

  async list(tag: string, limit: number): Promise<Listed[]> {
    const { ledger, index } = this.#place
    const keys = [ledger, index(tag), this.#place.entry('')]
    const before = this.#reached
    const [clock, epoch, given] = await this.#run(scripts.LIST, keys, [freshEpoch(), tag, String(limit)])
    const now = this.#advance(before, epoch, clock)
    return Promise.all(
      (given as unknown[][]).map(async ([frame, latest, order]) => ({
        ...(await this.#show(undefined, frame, Number(latest), now, String(epoch))),
        order: Number(order),
      })),
    )
  }

  /** Some names of one kind that begin so, of those on this partition's master that are its own. */
  async scan(kind: 'index' | 'entry', prefix: string, cursor: string): Promise<{ cursor: string; names: string[] }> {
    const begins = this.#place[kind]('')
    const pattern = `${escapeGlob(begins + prefix)}*`
    const args = [cursor, pattern, String(KEYS_PER_SCAN)]
    const [next, names] = await this.#run(scripts.SCAN, [this.#place.ledger, begins], args)
    return { cursor: String(next), names: (names as unknown[]).map(String) }
  }

  /** How many entries are listed here under each tag, and when it was invalidated last, in epoch milliseconds, or 0. */
  async count(tags: readonly string[]): Promise<{ entries: number; invalidatedTime: number }[]> {
    const keys = [this.#place.ledger, this.#place.index('')]
    const [began, found] = await this.#run(scripts.COUNT, keys, tags)
    return (found as [unknown, unknown][]).map(([entries, clock]) => ({
      entries: Number(entries),
      invalidatedTime: clock === null || began === null ? 0 : (Number(clock) - Number(began)) / 1000,
    }))
  }

  async hold(key: string, holder: string, milliseconds: number, tags?: readonly string[]): Promise<boolean> {
    const keys = [this.#place.ledger, this.#place.lease(key)]
    const [isHeld] = await this.#run(scripts.HOLD, keys, [holder, String(milliseconds), tags ? packTexts(tags) : ''])
    return Number(isHeld) === 1
  }

  async release(key: string, holder: string, end: LeaseEnd): Promise<void> {
    const keys = [this.#place.ledger, this.#place.lease(key)]
    await this.#run(scripts.RELEASE, keys, [holder, `${this.#shared.channels}node:`, leaseMessage(end, key)])
  }

  /**
   * The number of the ledger's clock. In one epoch it never goes back, unless somebody has put an earlier state in the place of the
   * ledger (RESTORE, SWAPDB), which lacks the purges since: then it is begun anew, and this answer counts for nothing.
   * @param before the highest number that was heard of when the question was put
   */
  #advance(before: number, epoch: unknown, clock: unknown): number {
    const now = this.#timeline.at(String(epoch), Number(clock))
    if (now < before) {
      this.#run(scripts.RENOUNCE, [this.#place.ledger], [String(epoch)]).catch(() => {})
      const message = 'The ledger in Redis is older than it was: nothing that was stored under it is used any more.'
      throw new TagcacheError('ERR_TAGCACHE_BACKEND_REPLY', message)
    }
    this.#reached = Math.max(this.#reached, now)
    return now
  }

  // What this process has purged, an earlier state does not know of.
  #moved(answer: unknown[]): Position {
    const position = positionOf(answer)
    this.#reached = Math.max(this.#reached, this.#timeline.at(position.epoch, position.clock))
    return position
  }

  async #run(script: scripts.Script, keys: readonly string[], args: readonly Argument[]): Promise<unknown[]> {
    const answer = await run(this.#shared.link, script, keys, args)
    return Array.isArray(answer) ? answer : [answer]
  }

  async #show(key: string | undefined, frame: unknown, latest: number, clock: number, epoch: string): Promise<Lookup> {
    const missing = { entry: undefined, invalidatedAt: 0, clock }
    if (frame === null || frame === undefined) return missing
    try {
      const { entry, identity, isCompressed } = decodeEntry(frame)
      if (identity !== epoch || (key !== undefined && entry.key !== key)) return missing
      if (!isSound(entry))
        throw new TagcacheError('ERR_TAGCACHE_FRAME', 'Stored bytes are no response. They count as a miss.')
      const { response } = entry
      // Before anything is waited for: another epoch may be heard of meanwhile.
      const [stamp, invalidatedAt] = [this.#timeline.at(epoch, entry.stamp), this.#timeline.at(epoch, latest)]
      const body = isCompressed
        ? await expand(response.body, { maxOutputLength: this.#shared.maxBodySize })
        : response.body
      return { entry: { ...entry, stamp, response: { ...response, body } }, invalidatedAt, clock }
    } catch (fault) {
      return { ...missing, fault }
    }
  }

  async #write(entry: Entry, identity: string): Promise<Buffer> {
    const { response } = entry
    if (response.body.byteLength < this.#shared.compressFrom) return encodeEntry(entry, { identity })
    const body = await compress(response.body, { level: 1 })
    // What hardly shrinks costs its reader more than it saves.
    if (body.byteLength > response.body.byteLength * 0.9) return encodeEntry(entry, { identity })
    return encodeEntry({ ...entry, response: { ...response, body } }, { identity, isCompressed: true })
  }
}

function escapeGlob(text: string): string {
  return text.replace(/[\\*?[\]^-]/g, '\\$&')
}

// A frame that is damaged where the script reads it.
function orNothing(error: unknown): unknown[] {
  if (error instanceof TagcacheError && error.code === 'ERR_TAGCACHE_BACKEND_REPLY' && /script/i.test(error.message))
    return []
  throw error
}

// A number that nobody has used: 52 random bits.
function freshEpoch(): string {
  return String(randomBytes(8).readBigUInt64LE() & ((1n << 52n) - 1n))
}

function pairs(list: readonly unknown[]): Named[] {
  return Array.from({ length: list.length / 2 }, (_, at) => [String(list[at * 2]), Number(list[at * 2 + 1])])
}

function positionOf([clock, epoch]: unknown[]): Position {
  return { epoch: String(epoch), clock: Number(clock) }
}

function leaseOf(state: string, holder: string, left: number): Lease | undefined {
  if (state === 'taken') return { kind: 'taken', holder }
  return state === 'held' ? { kind: 'held', left: Math.max(0, left) } : undefined
}

/** What the nodes that wait for a lease are told. */
function leaseMessage(end: LeaseEnd, key: string): string {
  return `${end} ${key}`
}

// Redis takes whole milliseconds, and not more than fit.
const LONGEST = 2 ** 43

function keptFor(ttl: number): number {
  return Math.min(Math.max(1, Math.ceil(ttl)), LONGEST)
}
