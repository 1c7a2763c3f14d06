import { LRUCache } from 'lru-cache'
import type { Traffic } from './model.ts'
import { randomOf, waitOf } from './random.ts'
import { Zipf } from './zipf.ts'

/** How a request was answered: from the node's memory, from Redis, by the handler. */
export type Answer = 'near' | 'far' | 'miss'

/** What was counted. */
export interface Counts {
  readonly requests: number
  readonly near: number
  readonly far: number
  readonly misses: number
  /** Entries in Redis, at the end. */
  readonly live: number
  /** Entries in all near tiers, at the end. */
  readonly copies: number
}

const MOST_EXPIRED = 100_000

/**
 * The two tiers as they are, over time: an LRU for each node, and Redis as an LRU that drops what expires. Times are seconds.
 */
export class Tiers {
  readonly #near: LRUCache<number, number>[]
  readonly #far: LRUCache<number, number>
  readonly #holders = new Map<number, number[]>()
  readonly #stored: { readonly entry: number; readonly until: number }[] = []
  readonly #ttl: number
  #expired = 0

  constructor(nodes: number, nearEntries: number, farEntries: number, ttl: number) {
    this.#near = Array.from({ length: nodes }, () => lru(nearEntries))
    this.#far = lru(farEntries)
    this.#ttl = ttl
  }

  ask(node: number, entry: number, now: number): Answer {
    this.#expire(now)
    if ((this.#near[node]!.get(entry) ?? 0) > now) return 'near'
    const found = this.#far.get(entry)
    this.#copy(node, entry, found ?? this.#store(entry, now))
    return found === undefined ? 'miss' : 'far'
  }

  invalidate(entry: number): void {
    this.#far.delete(entry)
    for (const node of this.#holders.get(entry) ?? []) this.#near[node]!.delete(entry)
    this.#holders.delete(entry)
  }

  get live(): number {
    return this.#far.size
  }

  get copies(): number {
    return this.#near.reduce((sum, { size }) => sum + size, 0)
  }

  #store(entry: number, now: number): number {
    const until = now + this.#ttl
    this.#far.set(entry, until)
    this.#stored.push({ entry, until })
    return until
  }

  #copy(node: number, entry: number, until: number): void {
    this.#near[node]!.set(entry, until)
    const holders = this.#holders.get(entry)
    if (holders) holders.push(node)
    else this.#holders.set(entry, [node])
  }

  // All live equally long, so they expire in the order in which they were stored.
  #expire(now: number): void {
    for (let next = this.#stored[this.#expired]; next && next.until <= now; next = this.#stored[++this.#expired]) {
      if (this.#far.peek(next.entry) === next.until) this.#far.delete(next.entry)
    }
    if (this.#expired > MOST_EXPIRED) {
      this.#stored.splice(0, this.#expired)
      this.#expired = 0
    }
  }
}

function lru(entries: number): LRUCache<number, number> {
  // Bounded by size rather than by number, as `memory()` is: that takes no room in advance.
  return new LRUCache({ maxSize: Math.max(1, Math.floor(entries)), sizeCalculation: () => (entries < 1 ? 2 : 1) })
}

// Life times: so many until the tiers are as full as they get, and so many that are counted. What few popular entries do
// decides much, so it takes more time rather than more entries until chance evens out.
const WARM_UP = 2
const COUNTED = 10

/** How many entries one has to stand for, if so many requests are to do. */
export function grainOf({ requests, ttl }: Traffic, sample: number): number {
  return Math.max(1, Math.ceil((requests * ttl * (WARM_UP + COUNTED)) / sample))
}

/** Runs a model of 1 : grain: all nodes, and of entries, requests, invalidations and memory one of `grain`. */
export function sampled(traffic: Traffic, grain: number, seed: number): Counts {
  const { nodes, ttl } = traffic
  const far = Math.min(traffic.farEntries, traffic.entries + grain)
  const tiers = new Tiers(nodes, traffic.nearEntries / grain, far / grain, ttl)
  const counts = { near: 0, far: 0, miss: 0 }
  for (const event of eventsOf(traffic, grain, seed, ttl * (WARM_UP + COUNTED))) {
    if (event.node === undefined) tiers.invalidate(event.entry)
    else {
      const answer = tiers.ask(event.node, event.entry, event.now)
      if (event.now >= ttl * WARM_UP) counts[answer]++
    }
  }
  const requests = counts.near + counts.far + counts.miss
  return { requests, near: counts.near, far: counts.far, misses: counts.miss, live: tiers.live, copies: tiers.copies }
}

/** A request at a node, or without a node an invalidation. */
interface Event {
  readonly now: number
  readonly entry: number
  readonly node?: number
}

function* eventsOf(traffic: Traffic, grain: number, seed: number, end: number): Generator<Event> {
  const random = randomOf(seed)
  const [reads, writes] = [traffic.zipf, traffic.writeZipf].map((exponent) => new Zipf(traffic.entries, exponent))
  const entryOf = (law: Zipf) => Math.floor((law.draw(random) - 1) / grain)
  const [requests, outdated] = [traffic.requests / grain, traffic.outdated / grain]
  for (let now = waitOf(random, requests + outdated); now < end; now += waitOf(random, requests + outdated)) {
    const isRequest = random() * (requests + outdated) < requests
    if (isRequest) yield { now, entry: entryOf(reads!), node: Math.floor(random() * traffic.nodes) }
    else yield { now, entry: entryOf(writes!) }
  }
}
