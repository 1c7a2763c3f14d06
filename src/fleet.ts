import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Notice } from './backends/backend.ts'
import type { Guard } from './backends/guard.ts'
import { addStats } from './core/add-stats.ts'
import { readStats } from './core/read-stats.ts'
import type { Time } from './core/time.ts'
import type { CacheStats } from './core/trace.ts'

/** What one process says of its cache. */
export interface NodeStats {
  /** The process: machine, process id, and some random characters. */
  readonly id: string
  /** When it said so, in epoch milliseconds by its own clock. */
  readonly at: number
  readonly stats: CacheStats
}

/** What the processes that share a backend have done. */
export interface FleetStats {
  /** Whose numbers these are: of all processes that publish theirs; or of this one alone, because its backend is not shared, is not there or did not answer. */
  readonly of: 'fleet' | 'process'
  /** Each process, this one first. */
  readonly nodes: readonly NodeStats[]
  /** All of them together: what they have done since each of them was started. Of routes the 500 of most requests; all others are one, `(other)`. */
  readonly total: CacheStats
  /** How many have left something that is not counted: it is not understood, too long, or more than is read at once. */
  readonly unread: number
}

interface FleetOptions {
  readonly namespace: string | undefined
  /** How often the numbers are published, in milliseconds; undefined where they are not. */
  readonly every: number | undefined
  readonly time: Time
}

// A node that misses two turns is still there.
const TURNS_KEPT = 3
const LONGEST_ID = 300
// The last moment that a Date can be.
const LAST_MOMENT = 8.64e15
// Numbers of a thousand processes are read without holding up requests: so many characters at a time.
const SLICE = 256 * 1024

/** Tells the other processes what this one does, and asks what they do. */
export class Fleet {
  readonly #guard: Guard
  readonly #options: FleetOptions
  readonly #stats: () => CacheStats
  readonly #id = `${hostname()}:${process.pid}:${randomBytes(3).toString('hex')}`
  #cancel: (() => void) | undefined
  #isClosed = false

  constructor(guard: Guard, options: FleetOptions, stats: () => CacheStats) {
    this.#guard = guard
    this.#options = options
    this.#stats = stats
    if (options.every !== undefined && guard.hasBoard) void this.#publish(options.every)
  }

  /** What is known of all processes. */
  async read(): Promise<FleetStats> {
    const own = this.#own()
    const notices = this.#isClosed ? undefined : await this.#guard.readBoard()
    const others: NodeStats[] = []
    let [total, unread, length] = [own.stats, 0, 0]
    for (const notice of notices ?? []) {
      if (!this.#isOfOther(notice)) continue
      const node = this.#understand(notice)
      if (!node) unread += 1
      else {
        others.push(node)
        total = addStats(total, node.stats)
      }
      length += notice.text.length
      if (length < SLICE) continue
      length = 0
      await nextTurn()
    }
    const nodes = [own, ...others.sort((a, b) => (a.id < b.id ? -1 : 1))]
    return { of: notices ? 'fleet' : 'process', nodes, total, unread }
  }

  close(): void {
    this.#isClosed = true
    this.#cancel?.()
  }

  async #publish(every: number): Promise<void> {
    const { at, stats } = this.#own()
    await this.#guard.publish(this.#prefix + this.#id, JSON.stringify({ at, stats }), every * TURNS_KEPT)
    if (this.#isClosed) return
    this.#cancel = this.#options.time.after(every, () => void this.#publish(every))
  }

  #own(): NodeStats {
    return { id: this.#id, at: this.#options.time.now(), stats: this.#stats() }
  }

  // Caches of several namespaces may share a backend.
  get #prefix(): string {
    return `${this.#options.namespace ?? ''}|`
  }

  // Not of another cache, nor of this process.
  #isOfOther({ id }: Notice): boolean {
    return id.startsWith(this.#prefix) && id !== this.#prefix + this.#id
  }

  // Undefined where it is of nobody who knows how to say it: whoever may write to the backend may have written it.
  #understand({ id: name, text }: Notice): NodeStats | undefined {
    const id = name.slice(this.#prefix.length)
    if (id.length > LONGEST_ID) return undefined
    try {
      const { at, stats } = JSON.parse(text)
      return typeof at === 'number' && Math.abs(at) <= LAST_MOMENT ? { id, at, stats: readStats(stats) } : undefined
    } catch {
      return undefined
    }
  }
}
