import { Zipf } from './zipf.ts'

/** What is asked of the cache, and what its two tiers hold. */
export interface Traffic {
  readonly nodes: number
  /** A second, of all nodes. */
  readonly requests: number
  readonly entries: number
  readonly zipf: number
  /** How many entries invalidations reach, a second. */
  readonly outdated: number
  readonly writeZipf: number
  /** Seconds. */
  readonly ttl: number
  /** How many entries fit into the near tier of one node. */
  readonly nearEntries: number
  /** How many entries fit into Redis. */
  readonly farEntries: number
}

/** Entries that are asked for and invalidated equally often. */
export interface EntryClass {
  readonly count: number
  /** Requests for one of them, a second. */
  readonly rate: number
  /** Invalidations of one of them, a second. */
  readonly outdated: number
}

/** What becomes of the requests for one entry, a second; and how many of it are held, on average. */
export interface Outcome {
  readonly near: number
  readonly far: number
  readonly misses: number
  /** In Redis, valid: between 0 and 1. */
  readonly live: number
  /** In the near tier of one node, also where it is expired: between 0 and 1. */
  readonly copies: number
  /** Those of the copies that are valid. */
  readonly liveCopies: number
}

/** What the formulas say of a system. */
export interface Solution {
  readonly classes: readonly EntryClass[]
  /** One for each class, of one entry. */
  readonly outcomes: readonly Outcome[]
  /** Of all entries. */
  readonly total: Outcome
  /** After how many seconds without a request an entry leaves a near tier that is full. */
  readonly nearTime: number
  /** The same in Redis; infinite where all live entries fit. */
  readonly farTime: number
}

const SINGLE_RANKS = 1000
const GROWTH = 1.01

/**
 * The entries of a system by popularity: the most popular one by one, the others in groups of nearly equal popularity.
 * With a `grain` of g it is a model of 1 : g, in which one entry stands for g neighbours and is asked for as often as
 * they are on average.
 */
export function classesOf(traffic: Traffic, grain = 1): EntryClass[] {
  const reads = new Zipf(traffic.entries, traffic.zipf)
  const writes = new Zipf(traffic.entries, traffic.writeZipf)
  const units = Math.ceil(traffic.entries / grain)
  return bordersOf(units).map(([from, to]) => {
    const [first, last, stoodFor] = [from * grain + 1, to * grain, (to - from) * grain] as const
    return {
      count: to - from,
      rate: (traffic.requests * reads.share(first, last)) / stoodFor,
      outdated: (traffic.outdated * writes.share(first, last)) / stoodFor,
    }
  })
}

function bordersOf(units: number): [number, number][] {
  const borders: [number, number][] = []
  for (let from = 0; from < units; ) {
    const to = Math.min(units, from < SINGLE_RANKS ? from + 1 : Math.ceil(from * GROWTH))
    borders.push([from, to])
    from = to
  }
  return borders
}

/**
 * Hit ratios by Che's approximation, with the expiry that all copies of an entry share.
 *
 * An entry's life begins with a miss, anywhere. It ends with its TTL or an invalidation; the next request, anywhere, is
 * the next miss. While it lives, a request is a near hit if the same node had one since the life began, and no longer
 * ago than the near tier's characteristic time; otherwise a far hit.
 */
export function solve(traffic: Traffic, grain = 1): Solution {
  const classes = classesOf(traffic, grain)
  const nearTime = timeOf(traffic.nearEntries / grain, (time) => held(classes, (one) => copiesOf(one, traffic, time)))
  const farTime = timeOf(traffic.farEntries / grain, (time) =>
    held(classes, (one) => outcomeOf(one, traffic, nearTime, time).live),
  )
  const outcomes = classes.map((one) => outcomeOf(one, traffic, nearTime, farTime))
  return { classes, outcomes, total: totalOf(classes, outcomes), nearTime, farTime }
}

function held(classes: readonly EntryClass[], shareOf: (one: EntryClass) => number): number {
  return classes.reduce((sum, one) => sum + one.count * shareOf(one), 0)
}

function totalOf(classes: readonly EntryClass[], outcomes: readonly Outcome[]): Outcome {
  const sum = (name: keyof Outcome) => classes.reduce((all, { count }, at) => all + count * outcomes[at]![name], 0)
  return {
    near: sum('near'),
    far: sum('far'),
    misses: sum('misses'),
    live: sum('live'),
    copies: sum('copies'),
    liveCopies: sum('liveCopies'),
  }
}

/** The characteristic time at which so many entries are held. */
function timeOf(capacity: number, heldAt: (time: number) => number): number {
  if (capacity <= 0) return 0
  if (heldAt(Number.POSITIVE_INFINITY) <= capacity) return Number.POSITIVE_INFINITY
  let [low, high] = [1e-6, 1e9]
  while (high / low > 1 + 1e-7) {
    const middle = Math.sqrt(low * high)
    if (heldAt(middle) > capacity) high = middle
    else low = middle
  }
  return low
}

// Expired copies stay until they are asked for or pushed out; outdated ones are removed.
function copiesOf({ rate, outdated }: EntryClass, { nodes }: Traffic, nearTime: number): number {
  const ofNode = rate / nodes
  return (ofNode / (ofNode + outdated)) * -Math.expm1(-(ofNode + outdated) * nearTime)
}

function outcomeOf(one: EntryClass, traffic: Traffic, nearTime: number, farTime: number): Outcome {
  const outcome = withRoom(one, traffic, nearTime)
  return farTime >= traffic.ttl ? outcome : withoutRoom(one, traffic, outcome, farTime)
}

/** What comes of lives that follow each other, where Redis has room for all. */
function withRoom(one: EntryClass, traffic: Traffic, nearTime: number): Outcome {
  const { rate, outdated } = one
  const { nodes, ttl } = traffic
  const ofNode = rate / nodes
  const young = Math.min(nearTime, ttl)
  const life = decay(outdated, 0, ttl)
  // Where the first request of a node was the miss itself, its copy is there from the start.
  const withoutFirst = (1 - 1 / nodes) * decay(outdated + ofNode, 0, young)
  const withCopy = life - withoutFirst - Math.exp(-ofNode * nearTime) * decay(outdated, young, ttl)
  const lives = rate / (1 + rate * life)
  return {
    near: lives * rate * withCopy,
    far: lives * rate * (life - withCopy),
    misses: lives,
    live: lives * life,
    copies: copiesOf(one, traffic, nearTime),
    liveCopies: lives * withCopy,
  }
}

/** The same where Redis evicts: copies live on without the entry, so that near hits stay, and some far hits become misses. */
function withoutRoom({ outdated }: EntryClass, { ttl }: Traffic, roomy: Outcome, farTime: number): Outcome {
  const hits = roomy.far / roomy.live
  const life = lifeOf(hits, outdated, ttl, farTime)
  const misses = (roomy.far + roomy.misses) / (1 + hits * life)
  return { ...roomy, far: misses * hits * life, misses, live: misses * life }
}

/**
 * How long an entry lives that leaves Redis once it had no hit for the characteristic time. When hits come at random, that
 * is either the first such stretch, or a later one: for those the mean is exact, and their distribution taken as exponential.
 */
function lifeOf(hits: number, outdated: number, ttl: number, farTime: number): number {
  const expected = hits * farTime
  const kept = -Math.expm1(-expected)
  const leaving = expected < 1e-4 ? 2 / farTime : kept / (Math.expm1(expected) / hits - farTime)
  const later = Math.exp(-outdated * farTime) * decay(outdated + leaving, 0, ttl - farTime)
  return decay(outdated, 0, farTime) + kept * later
}

/** The integral of e to the power of −rate × t. */
function decay(rate: number, from: number, to: number): number {
  if (to <= from) return 0
  if (rate * (to - from) < 1e-9) return (to - from) * Math.exp(-rate * from)
  return (Math.exp(-rate * from) * -Math.expm1(-rate * (to - from))) / rate
}
