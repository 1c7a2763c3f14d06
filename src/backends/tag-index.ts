import { isOutdated } from '../core/tags.ts'
import { SegmentedMap } from './segmented-map.ts'

/** Something kept that carries tags. */
export interface Member {
  readonly stamp: number
  /** This member's tags, each with where it stands among those that carry it; the index fills and empties it. */
  links: Link[]
}

/** A tag that nobody else carries is its name alone; of the others, the chunk that the member is in. */
export type Link = string | Chunk

/** The links of all that carry nothing: a new list for each that is detached would be collected as late as the member itself. */
export const NO_LINKS: Link[] = []

/** Members that carry one tag and were attached one after the other, the oldest first. */
interface Chunk {
  readonly node: Node
  members: Member[]
  older: Chunk | undefined
  newer: Chunk | undefined
}

/** The tag that a member is linked to. */
export function tagOf(link: Link): string {
  return typeof link === 'string' ? link : link.node.tag
}

/** A tag that several carry, or that was invalidated. */
class Node {
  oldest: Chunk | undefined = undefined
  newest: Chunk | undefined = undefined

  constructor(
    readonly tag: string,
    public invalidatedAt: number,
  ) {}
}

/** Gives `run` a turn of its own on the event loop. */
export type Schedule = (run: () => void) => void

/** After what waits for input and output now; does not keep a process alive. */
export const nextTurn: Schedule = (run) => void setImmediate(run).unref()

const MEMBERS_PER_SLICE = 500
const MILLISECONDS_PER_SLICE = 0.5
const MEMBERS_PER_GLANCE_AT_THE_TIME = 25
// Small enough to be searched, large enough that what surrounds the members does not count.
const MEMBERS_PER_CHUNK = 32
const MOST_MEMBERLESS_TAGS = 10_000

/**
 * The invalidation clock, each tag's last invalidation, and who carries which tag. Nothing here only grows: a tag
 * without members is kept while a computation may still come back with it, and of those at most 10,000; where one is
 * forgotten, the floor rises to its last invalidation, and what was computed from before the floor counts as outdated.
 */
export class TagIndex<M extends Member> {
  // A tag that one member alone carries, and that was not invalidated, needs no node: the member stands in its place.
  #nodes = new SegmentedMap<Node | M>()
  readonly #memberless = new Set<Node>()
  readonly #invalidated = new Set<Node>()
  readonly #reclaim: (member: M) => void
  readonly #schedule: Schedule
  readonly #now: () => number
  #clock = 1
  #floor = 0
  #clearedAt = 0
  #scheduled = false

  /**
   * @param reclaim called for each outdated member, some time after the invalidation; it has to `detach` the member
   * @param schedule how slices of that work get their turn
   * @param now milliseconds, by which a slice ends
   */
  constructor(reclaim: (member: M) => void, schedule: Schedule = nextTurn, now = () => performance.now()) {
    this.#reclaim = reclaim
    this.#schedule = schedule
    this.#now = now
  }

  get clock(): number {
    return this.#clock
  }

  /** Everything carries the purge of everything, tags or not. */
  invalidatedAt(tags: readonly string[]): number {
    let latest = this.#clearedAt
    for (const tag of tags) latest = Math.max(latest, this.#known(this.#nodes.get(tag)))
    return latest
  }

  /** The same for a member, without looking its tags up. */
  latestOf(member: M): number {
    let latest = 0
    for (const link of member.links) {
      if (typeof link !== 'string' && link.node.invalidatedAt > latest) latest = link.node.invalidatedAt
    }
    return latest
  }

  /** The tags that a member carries. */
  tagsOf(member: M): string[] {
    return member.links.map(tagOf)
  }

  attach(member: M, tags: readonly string[]): void {
    member.links = tags.map((tag) => this.#link(tag, member))
  }

  detach(member: M): void {
    for (const link of member.links) {
      if (typeof link !== 'string') this.#unlink(link, member)
      else if (this.#nodes.get(link) === member) this.#nodes.delete(link)
    }
    member.links = NO_LINKS
  }

  invalidate(tags: readonly string[]): void {
    this.#clock += 1
    for (const tag of tags) {
      const node = this.#nodeOf(tag)
      node.invalidatedAt = this.#clock
      if (node.oldest) this.#invalidated.add(node)
      else this.#keepMemberless(node)
    }
    this.#reclaimSoon()
  }

  /** Forgets all members and tags; whatever was computed from before now is outdated. The caller drops the members. */
  clear(): void {
    this.#floor = ++this.#clock
    this.#clearedAt = this.#clock
    this.#nodes = new SegmentedMap()
    this.#memberless.clear()
    this.#invalidated.clear()
  }

  /** The members that carry the tag, newest first. */
  *newest(tag: string): Generator<M> {
    const holder = this.#nodes.get(tag)
    if (holder && !(holder instanceof Node)) yield holder
    else for (let chunk = holder?.newest; chunk; chunk = chunk.older) yield* chunk.members.toReversed() as M[]
  }

  /** The tags that are remembered, with members or without. */
  names(): IterableIterator<string> {
    return this.#nodes.keys()
  }

  /** How many tags are remembered. */
  get tags(): number {
    return this.#nodes.size
  }

  // A tag that one member carries had not been invalidated after its stamp, nor was it since.
  #known(holder: Node | M | undefined): number {
    if (holder instanceof Node) return holder.invalidatedAt
    return holder ? Math.min(holder.stamp, this.#floor) : this.#floor
  }

  #link(tag: string, member: M): Link {
    const holder = this.#nodes.get(tag)
    if (holder instanceof Node) return this.#append(holder, member)
    if (holder && holder !== member) return this.#append(this.#share(tag, holder), member)
    this.#nodes.set(tag, member)
    return tag
  }

  // One member alone carried the tag.
  #share(tag: string, holder: M): Node {
    const node = new Node(tag, this.#known(holder))
    this.#nodes.set(tag, node)
    holder.links[holder.links.indexOf(tag)] = this.#append(node, holder)
    return node
  }

  #nodeOf(tag: string): Node {
    const holder = this.#nodes.get(tag)
    if (holder instanceof Node) return holder
    if (holder) return this.#share(tag, holder)
    const node = new Node(tag, this.#floor)
    this.#nodes.set(tag, node)
    return node
  }

  #append(node: Node, member: M): Chunk {
    const { newest } = node
    if (newest && newest.members.length < MEMBERS_PER_CHUNK) {
      // A list that is pushed to keeps room for more, which most tags never need, and no chunk that is full.
      if (newest.older) newest.members.push(member)
      else newest.members = newest.members.concat(member)
      return newest
    }
    if (newest?.older) newest.members = newest.members.slice()
    const chunk: Chunk = { node, members: [member], older: newest, newer: undefined }
    if (newest) newest.newer = chunk
    else node.oldest = chunk
    node.newest = chunk
    this.#memberless.delete(node)
    return chunk
  }

  #unlink(chunk: Chunk, member: M): void {
    const { node, members, newer } = chunk
    if (members[0] === member) members.shift()
    else members.splice(members.indexOf(member), 1)
    if (members.length === 0) takeOut(chunk)
    else if (newer && members.length + newer.members.length <= MEMBERS_PER_CHUNK / 2) merge(chunk, newer)
    if (!node.oldest) this.#keepMemberless(node)
  }

  #keepMemberless(node: Node): void {
    this.#memberless.delete(node)
    if (node.invalidatedAt <= this.#floor) {
      if (this.#nodes.get(node.tag) === node) this.#nodes.delete(node.tag)
      return
    }
    this.#memberless.add(node)
    if (this.#memberless.size > MOST_MEMBERLESS_TAGS) this.#forgetOldestMemberless()
  }

  #forgetOldestMemberless(): void {
    const [oldest] = this.#memberless
    if (!oldest) return
    this.#memberless.delete(oldest)
    this.#nodes.delete(oldest.tag)
    this.#floor = Math.max(this.#floor, oldest.invalidatedAt)
  }

  #reclaimSoon(): void {
    if (this.#scheduled || this.#invalidated.size === 0) return
    this.#scheduled = true
    this.#schedule(() => {
      this.#scheduled = false
      this.#reclaimSlice()
      this.#reclaimSoon()
    })
  }

  // Members are attached only while they are valid, so in a tag's list the outdated ones come first. Whoever is told of one
  // may have everything cleared.
  #reclaimSlice(): void {
    const end = this.#now() + MILLISECONDS_PER_SLICE
    let left = MEMBERS_PER_SLICE
    for (const node of this.#invalidated) {
      for (let member = oldestOf(node); member && this.#invalidated.has(node); member = oldestOf(node)) {
        if (!isOutdated(member.stamp, node.invalidatedAt)) break
        if (left === 0 || (left % MEMBERS_PER_GLANCE_AT_THE_TIME === 0 && this.#now() >= end)) return
        left -= 1
        this.#reclaim(member as M)
      }
      this.#invalidated.delete(node)
    }
  }
}

function oldestOf(node: Node): Member | undefined {
  return node.oldest?.members[0]
}

// Whoever goes through the chunks from new to old may be at this one: it still knows the older one.
function takeOut({ node, older, newer }: Chunk): void {
  if (older) older.newer = newer
  else node.oldest = newer
  if (newer) newer.older = older
  else node.newest = older
}

// Into the newer one, where whoever goes from new to old has been already.
function merge(chunk: Chunk, newer: Chunk): void {
  for (const { links } of chunk.members) links[links.indexOf(chunk)] = newer
  newer.members = [...chunk.members, ...newer.members]
  takeOut(chunk)
}
