import { isOutdated } from '../core/tags.ts'

/** Something kept that carries tags. */
export interface Member {
  readonly stamp: number
  /** This member's place in the list of each of its tags; the index fills and empties it. */
  links: Link[]
}

interface Link {
  readonly node: Node
  readonly member: Member
  readonly order: number
  previous: Link | undefined
  next: Link | undefined
}

interface Node {
  readonly tag: string
  invalidatedAt: number
  oldest: Link | undefined
  newest: Link | undefined
}

/** Gives `run` a turn of its own on the event loop. */
export type Schedule = (run: () => void) => void

/** After what waits for input and output now; does not keep a process alive. */
export const nextTurn: Schedule = (run) => void setImmediate(run).unref()

const MEMBERS_PER_SLICE = 500
const MOST_MEMBERLESS_TAGS = 10_000

/**
 * The invalidation clock, each tag's last invalidation, and who carries which tag. Nothing here only grows: a tag
 * without members is kept while a computation may still come back with it, and of those at most 10,000; where one is
 * forgotten, the floor rises to its last invalidation, and what was computed from before the floor counts as outdated.
 */
export class TagIndex<M extends Member> {
  readonly #nodes = new Map<string, Node>()
  readonly #memberless = new Set<Node>()
  readonly #invalidated = new Set<Node>()
  readonly #reclaim: (member: M) => void
  readonly #schedule: Schedule
  #clock = 1
  #floor = 0
  #clearedAt = 0
  #orders = 0
  #scheduled = false

  /**
   * @param reclaim called for each outdated member, some time after the invalidation; it has to `detach` the member
   * @param schedule how slices of that work get their turn
   */
  constructor(reclaim: (member: M) => void, schedule: Schedule = nextTurn) {
    this.#reclaim = reclaim
    this.#schedule = schedule
  }

  get clock(): number {
    return this.#clock
  }

  /** Everything carries the purge of everything, tags or not. */
  invalidatedAt(tags: readonly string[]): number {
    let latest = this.#clearedAt
    for (const tag of tags) latest = Math.max(latest, this.#nodes.get(tag)?.invalidatedAt ?? this.#floor)
    return latest
  }

  /** The same for a member, without looking its tags up. */
  latestOf(member: M): number {
    let latest = 0
    for (const link of member.links) latest = Math.max(latest, link.node.invalidatedAt)
    return latest
  }

  attach(member: M, tags: readonly string[]): void {
    const order = ++this.#orders
    member.links = tags.map((tag) => this.#append(this.#nodeOf(tag), member, order))
  }

  detach(member: M): void {
    for (const link of member.links) this.#unlink(link)
    member.links = []
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
    this.#nodes.clear()
    this.#memberless.clear()
    this.#invalidated.clear()
  }

  /** The members that carry the tag, newest first. */
  *newest(tag: string): Generator<M> {
    for (let link = this.#nodes.get(tag)?.newest; link; link = link.previous) yield link.member as M
  }

  /** The tags that are remembered, with members or without. */
  names(): IterableIterator<string> {
    return this.#nodes.keys()
  }

  /** How many tags are remembered. */
  get tags(): number {
    return this.#nodes.size
  }

  #nodeOf(tag: string): Node {
    let node = this.#nodes.get(tag)
    if (!node) {
      node = { tag, invalidatedAt: this.#floor, oldest: undefined, newest: undefined }
      this.#nodes.set(tag, node)
    }
    return node
  }

  #append(node: Node, member: M, order: number): Link {
    const link: Link = { node, member, order, previous: node.newest, next: undefined }
    if (node.newest) node.newest.next = link
    else node.oldest = link
    node.newest = link
    this.#memberless.delete(node)
    return link
  }

  #unlink(link: Link): void {
    const { node, previous, next } = link
    if (previous) previous.next = next
    else node.oldest = next
    if (next) next.previous = previous
    else node.newest = previous
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

  // Members are attached only while they are valid, so in a tag's list the outdated ones come first.
  #reclaimSlice(): void {
    let left = MEMBERS_PER_SLICE
    for (const node of this.#invalidated) {
      while (node.oldest && isOutdated(node.oldest.member.stamp, node.invalidatedAt)) {
        if (left-- === 0) return
        this.#reclaim(node.oldest.member as M)
      }
      this.#invalidated.delete(node)
    }
  }
}
