import { randomUUID } from 'node:crypto'
import type { Entry } from '../../core/entry.ts'
import { badValue, checkOptions, countOf, sizeOf } from '../../core/values.ts'
import { TagcacheError, type WarningCode } from '../../errors.ts'
import type { Board, Feed, Leases, Lookup, LookupNeeds, Page, Query, TagBackend, TagRecord } from '../backend.ts'
import { RedisBoard } from './board.ts'
import { firstReady, later, linkTo, type RedisClient, type RedisLink } from './client.ts'
import { countTags, scan } from './enumerate.ts'
import { RedisFeed, writePosition } from './feed.ts'
import { inspectServer } from './inspect.ts'
import { partitionOf, placesOf } from './layout.ts'
import { LeaseEnds } from './leases.ts'
import { type Listed, Partition, type Position } from './partition.ts'

export type { IoRedisClient, NodeRedisClient, RedisClient } from './client.ts'

/** How a cache lies in Redis. */
export interface RedisOptions {
  /** Keeps applications apart that share a server: what all keys begin with. Default `'tagcache'`. */
  namespace?: string
  /** The largest body kept; bytes, or text such as `'1mb'`. Default `'1mb'`. */
  maxBodySize?: number | string
  /** Bodies from this size on are compressed. Default: none is. */
  compressFrom?: number | string
  /** How many last invalidations are remembered, in each partition; where the oldest is forgotten early, older entries become misses. Default 1,000,000. */
  maxTags?: number
  /** Whether entries are listed by tag, which `getByTags` needs. It takes some 100 bytes and a key's length for each tag of an entry. Default `true`. */
  index?: boolean
  /** Into how many slots of a Cluster entries are spread: a look-up goes to one, an invalidation to each. Has to be the same in all processes. Default 64; without a Cluster 1. */
  partitions?: number
}

/** A backend in Redis. */
export interface RedisBackend extends TagBackend<false> {
  readonly leases: Leases
  readonly feed: Feed
  readonly board: Board
  /** Resolves once the server is known to be fit. Rejects with `ERR_TAGCACHE_REDIS_SERVER` where it is not, and says what to do. */
  ready(): Promise<void>
}

/**
 * Keeps entries in Redis 6.2 or later, or in Valkey, for all processes that use the same server, Sentinel set or Cluster under the same
 * `namespace`. Takes the user's own client, of ioredis or redis (node-redis), from version 5 on, and never closes it.
 * Throws `ERR_TAGCACHE_REDIS_CLIENT` for a client that cannot be used, `ERR_TAGCACHE_OPTION_VALUE` for bad options.
 */
export function redis(client: RedisClient, options: RedisOptions = {}): RedisBackend {
  checkOptions('redis()', options, [
    'namespace',
    'maxBodySize',
    'compressFrom',
    'maxTags',
    'index',
    'partitions',
  ] satisfies (keyof RedisOptions)[])
  const { namespace, maxBodySize, compressFrom, maxTags, index, partitions } = options
  const link = linkTo(client)
  if (partitions !== undefined && !link.isCluster && countOf('partitions', partitions) !== 1)
    throw badValue('partitions', partitions, '1 where the client is none of a Cluster')
  if (index !== undefined && typeof index !== 'boolean') throw badValue('index', index, 'true or false')
  return new Backend(link, {
    namespace: namespaceOf(namespace ?? 'tagcache'),
    maxBodySize: sizeOf('maxBodySize', maxBodySize ?? '1mb'),
    compressFrom: compressFrom === undefined ? Number.POSITIVE_INFINITY : sizeOf('compressFrom', compressFrom),
    maxTags: countOf('maxTags', maxTags ?? 1_000_000),
    isIndexed: index ?? true,
    partitions: link.isCluster ? partitionsOf(partitions ?? 64) : 1,
  })
}

interface Resolved {
  readonly namespace: string
  readonly maxBodySize: number
  readonly compressFrom: number
  readonly maxTags: number
  readonly isIndexed: boolean
  readonly partitions: number
}

class Backend implements RedisBackend {
  readonly sync = false
  readonly maxBodySize: number
  readonly leases: Leases
  readonly feed: Feed
  readonly board: Board
  readonly tags?: TagBackend['tags'] & {}
  readonly #link: RedisLink
  readonly #partitions: readonly Partition[]
  readonly #purged: string
  readonly #ends: LeaseEnds
  readonly #changes: RedisFeed
  readonly #inspection: Promise<void>
  #fault: TagcacheError | undefined
  #position: Position | undefined
  #isClosed = false
  readonly #warnings: [WarningCode, unknown][] = []
  readonly #listeners: ((code: WarningCode, error?: unknown) => void)[] = []

  constructor(link: RedisLink, options: Resolved) {
    this.maxBodySize = options.maxBodySize
    this.#link = guarded(link, () => this.#fault)
    const node = randomUUID()
    const channels = `${options.namespace}:`
    const shared = { ...options, link: this.#link, channels, node }
    const places = placesOf(options.namespace, options.partitions)
    this.#partitions = places.map((place) => new Partition(shared, place))
    this.board = new RedisBoard(this.#link, places[0]!)
    this.#purged = `${channels}purged`
    const onRefusal = (error: unknown) => this.#warn('TAGCACHE_REDIS_CHANNELS', error)
    this.#ends = new LeaseEnds(this.#link, `${channels}node:${node}`, onRefusal)
    this.#changes = new RedisFeed(this.#link, this.#first, (key) => this.#of(key), this.#purged, onRefusal)
    this.feed = this.#changes
    if (options.isIndexed) this.tags = (query) => this.#tags(query)
    this.leases = {
      hold: (key, holder, milliseconds, tags) => this.#of(key).hold(key, holder, milliseconds, tags),
      release: (key, holder, end) => this.#of(key).release(key, holder, end),
      onEnd: (key, listener, since) => this.#ends.listen(key, listener, since),
    }
    this.#inspection = this.#inspect()
    this.#inspection.catch(() => {})
  }

  ready(): Promise<void> {
    return this.#inspection
  }

  lookup(key: string, { lease }: LookupNeeds = {}): Promise<Lookup> {
    return lease === undefined ? this.#of(key).lookup(key) : this.#lookupOrLease(key, lease)
  }

  async #lookupOrLease(key: string, milliseconds: number): Promise<Lookup> {
    // Whoever is to be told has to listen by then; who cannot, waits for nobody.
    const since = await this.#ends.ready().catch(() => undefined)
    if (since === undefined) return this.#of(key).lookup(key)
    const found = await this.#of(key).lookupOrLease(key, milliseconds)
    return found.lease?.kind === 'held' ? { ...found, lease: { ...found.lease, since } } : found
  }

  clockOf(key: string): number {
    return partitionOf(key, this.#partitions.length)
  }

  async clock(key?: string): Promise<number> {
    return this.#named(key, 'clock').clock()
  }

  async invalidatedAt(tags: readonly string[], key?: string): Promise<number> {
    return this.#named(key, 'invalidatedAt').invalidatedAt(tags)
  }

  store(entry: Entry, ttl: number, holder?: string): Promise<boolean> {
    return this.#of(entry.key).store(entry, ttl, holder)
  }

  async invalidate(tags: readonly string[]): Promise<void> {
    await Promise.all(this.#others.map((partition) => partition.invalidate(tags)))
    this.#position = await this.#first.invalidate(tags, this.#purged)
    this.#changes.tell({ tags, keys: [] }, this.#position)
  }

  async clear(): Promise<void> {
    await Promise.all(this.#others.map((partition) => partition.clear()))
    this.#position = await this.#first.clear(this.#purged)
    this.#changes.tell({ tags: undefined, keys: [] }, this.#position)
  }

  async delete(key: string): Promise<boolean> {
    const partition = this.#of(key)
    const isFirst = partition === this.#first
    const { isDeleted, ...position } = await partition.delete(key, isFirst ? this.#purged : '')
    const told = isFirst ? position : await this.#first.tellDeleted(key, this.#purged)
    this.#changes.tell({ tags: [], keys: [key] }, told)
    return isDeleted
  }

  async list(tag: string, limit: number): Promise<readonly Lookup[]> {
    const found = await Promise.all(this.#partitions.map((partition) => partition.list(tag, limit)))
    return found
      .flat()
      .sort((a: Listed, b: Listed) => b.order - a.order)
      .slice(0, limit)
  }

  async entries(query: Query): Promise<Page<Lookup>> {
    const { found, ...next } = await scan(this.#partitions, 'entry', query)
    const looked = await Promise.all(found.map(({ name }) => this.lookup(name)))
    return { items: looked.filter(({ entry }) => entry !== undefined), ...next }
  }

  async #tags(query: Query): Promise<Page<TagRecord>> {
    const { found, ...next } = await scan(this.#partitions, 'index', query)
    return { items: await countTags(this.#partitions, found), ...next }
  }

  position(): string | undefined {
    return this.#position && writePosition(this.#position)
  }

  onWarning(listener: (code: WarningCode, error?: unknown) => void): void {
    this.#listeners.push(listener)
    for (const [code, error] of this.#warnings) listener(code, error)
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#ends.close()
    this.#changes.close()
  }

  // The first partition is told last: what is known there is known everywhere.
  get #first(): Partition {
    return this.#partitions[0]!
  }

  get #others(): readonly Partition[] {
    return this.#partitions.slice(1)
  }

  #of(key: string): Partition {
    return this.#partitions[partitionOf(key, this.#partitions.length)]!
  }

  #named(key: string | undefined, method: string): Partition {
    if (key !== undefined || this.#partitions.length === 1) return this.#of(key ?? '')
    const message = `${method}() of a Redis Cluster needs the key that it is for: each partition has a clock of its own. Give cache.stamp() the route and the request.`
    throw new TagcacheError('ERR_TAGCACHE_REQUEST', message)
  }

  async #inspect(): Promise<void> {
    const { fault, warnings } = await inspectServer(this.#link, () => this.#isClosed)
    if (this.#isClosed) return
    for (const code of warnings) this.#warn(code)
    if (!fault) return
    this.#fault = fault
    this.#warn('TAGCACHE_REDIS_UNUSABLE', fault)
    throw fault
  }

  #warn(code: WarningCode, error?: unknown): void {
    this.#warnings.push([code, error])
    for (const listener of this.#listeners) listener(code, error)
  }
}

// For the first connection, in milliseconds. The cache's own deadline is shorter as a rule.
const LONGEST_WAIT = 1000

// While a connection is lost nothing is sent: what is asked for would only wait in the client's queue. Only the first
// connection is worth waiting for.
function guarded(link: RedisLink, fault: () => TagcacheError | undefined): RedisLink {
  let connecting: Promise<void> | undefined = firstReady(link).then(() => {
    connecting = undefined
  })
  return {
    ...link,
    async send(key, args) {
      if (connecting && !link.isReady()) await Promise.race([connecting, later(LONGEST_WAIT)])
      const found = fault()
      if (found) throw found
      if (!link.isReady()) throw new TagcacheError('ERR_TAGCACHE_BACKEND_AWAY', 'The Redis client is not connected.')
      try {
        return await link.send(key, args)
      } catch (cause) {
        throw explain(cause)
      }
    },
  }
}

// An error that Redis answers with shows at least that it is there.
function explain(cause: unknown): unknown {
  const { message, name } = Object(cause) as Error
  const isReply = /ReplyError|ErrorReply|SimpleError|BlobError/.test(`${name} ${cause?.constructor?.name}`)
  // Cluster clients ask again for a while, and then say so in an error of their own.
  const isRefused = isReply || /\b(?:TRYAGAIN|CLUSTERDOWN|MOVED|ASK|LOADING|READONLY)\b/.test(message)
  if (!isRefused || /^NOSCRIPT/.test(message)) return cause
  return new TagcacheError('ERR_TAGCACHE_BACKEND_REPLY', `Redis answered: ${message}`, { cause })
}

function namespaceOf(namespace: string): string {
  if (typeof namespace === 'string' && /^[^\p{Cc}{}]{1,100}$/u.test(namespace) && namespace.isWellFormed())
    return namespace
  throw badValue('namespace', namespace, '1 to 100 characters without control characters and braces')
}

function partitionsOf(partitions: number): number {
  if (Number.isInteger(partitions) && partitions >= 1 && partitions <= 1024) return partitions
  throw badValue('partitions', partitions, 'a whole number from 1 to 1024')
}
