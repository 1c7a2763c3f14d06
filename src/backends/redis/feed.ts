import { LRUCache } from 'lru-cache'
import type { Changes, Feed } from '../backend.ts'
import type { RedisLink } from './client.ts'
import type { Partition, Position } from './partition.ts'
import { Subscription } from './subscription.ts'

const MOST_NAMES = 10_000
const EVERYTHING: Changes = { tags: undefined, keys: [] }

/** What was invalidated, out of the ledger of the partition that is told last, and as it is published. */
export class RedisFeed implements Feed {
  readonly #partition: Partition
  readonly #of: (key: string) => Partition
  readonly #subscription: Subscription
  readonly #listeners = new Set<(changes: Changes) => void>()
  // What listeners have been told of, and as of when: copies that were made since are not to go for the same reason.
  readonly #told = new LRUCache<string, Position>({ max: MOST_NAMES })

  /**
   * @param partition the one that is told last
   * @param of the partition of a key
   */
  constructor(
    link: RedisLink,
    partition: Partition,
    of: (key: string) => Partition,
    channel: string,
    onRefusal: (error: unknown) => void,
  ) {
    this.#partition = partition
    this.#of = of
    this.#subscription = new Subscription(link, channel, (message) => this.#hear(message), onRefusal)
  }

  async changesSince(position: string | undefined): Promise<Changes & { position: string }> {
    const { names, ...now } = await this.#partition.changes(readPosition(position), MOST_NAMES)
    if (!names) return { ...EVERYTHING, position: writePosition(now) }
    const news = names.filter(([name, clock]) => !this.#isTold(name, { ...now, clock })).map(([name]) => name)
    return { tags: namesAfter(':', news), keys: namesAfter('-', news), position: writePosition(now) }
  }

  check(key: string, tags: readonly string[]): Promise<{ invalidatedAt: number; deletedAt: number }> {
    return this.#of(key).check(key, tags)
  }

  hasPassed(reached: string, other: string): boolean {
    const [ours, theirs] = [readPosition(reached), readPosition(other)]
    return ours.epoch === theirs.epoch && ours.clock >= theirs.clock
  }

  listen(listener: (changes: Changes) => void): () => void {
    this.#listeners.add(listener)
    // Without it changes are only told later.
    this.#subscription.begin().catch(() => {})
    return () => this.#listeners.delete(listener)
  }

  /** Tells of what took effect at that position, as far as it is news. */
  tell({ tags, keys }: Changes, at: Position): void {
    const isNews = (mark: string) => (name: string) => !this.#isTold(mark + name, at)
    const news = { tags: tags?.filter(isNews(':')), keys: keys.filter(isNews('-')) }
    if (news.tags?.length === 0 && news.keys.length === 0) return
    // Those who begin to listen later begin with nothing.
    for (const listener of this.#listeners) listener(news)
    for (const tag of news.tags ?? []) this.#told.set(`:${tag}`, at)
    for (const key of news.keys) this.#told.set(`-${key}`, at)
  }

  close(): void {
    this.#listeners.clear()
    this.#subscription.end()
  }

  #isTold(name: string, { epoch, clock }: Position): boolean {
    const told = this.#told.get(name)
    return told !== undefined && told.epoch === epoch && told.clock >= clock
  }

  #hear(message: string): void {
    const at = message.indexOf(' ')
    this.tell(parse(message.slice(at + 1)), readPosition(message.slice(0, Math.max(0, at))))
  }
}

/** A position as text. */
export function writePosition({ epoch, clock }: Position): string {
  return `${epoch}.${clock}`
}

function readPosition(position = '.0'): Position {
  const [epoch = '', clock = ''] = position.split('.')
  return { epoch, clock: Number(clock) }
}

function namesAfter(mark: string, names: readonly string[]): string[] {
  return names.filter((name) => name.startsWith(mark)).map((name) => name.slice(1))
}

// Anybody can publish anything; what is not understood may mean everything.
function parse(message: string): Changes {
  try {
    const { tags, keys = [] } = JSON.parse(message)
    const isList = (value: unknown) => Array.isArray(value) && value.every((one) => typeof one === 'string')
    return isList(tags) && isList(keys) ? { tags, keys } : EVERYTHING
  } catch {
    return EVERYTHING
  }
}
