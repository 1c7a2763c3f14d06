import { scrub } from '../core/log.ts'
import type { CacheEvent } from '../core/trace.ts'

/** Something that whoever operates the cache may want to know of. */
export interface Happening {
  /** It grows; the same happening again keeps it. */
  readonly id: number
  /** When it happened last, in epoch milliseconds. */
  time: number
  /** How often in a row. */
  count: number
  readonly kind: 'purge' | 'clear' | 'backend' | 'fault' | 'failure' | 'warning'
  /** Who asked for it, where that was said. */
  readonly by?: string
  readonly tags?: readonly string[]
  readonly routes?: readonly string[]
  readonly uris?: readonly string[]
  readonly keys?: readonly string[]
  /** How many more tags and URIs it was than are named. */
  readonly more?: number
  readonly isDelivered?: boolean
  /** State, operation, or code. */
  readonly what?: string
  readonly message?: string
}

/** So many happenings are kept. */
export const MOST_KEPT = 300
const MOST_NAMED = 20
const LONGEST_TEXT = 300

/** The last things that happened beside requests, the newest first; the same in a row is told once. */
export class Timeline {
  readonly #happenings: Happening[] = []
  #ids = 0

  /** Takes an event down, where it is one of those; answers whether it was. */
  add(event: CacheEvent, time: number): Happening | undefined {
    const told = tell(event)
    if (!told) return undefined
    const [last] = this.#happenings
    if (last && isSame(last, told)) {
      last.time = time
      last.count += 1
      return last
    }
    const happening: Happening = { id: ++this.#ids, time, count: 1, ...told }
    this.#happenings.unshift(happening)
    if (this.#happenings.length > MOST_KEPT) this.#happenings.pop()
    return happening
  }

  read(): readonly Happening[] {
    return this.#happenings
  }
}

type Told = Omit<Happening, 'id' | 'time' | 'count'>

function tell(event: CacheEvent): Told | undefined {
  switch (event.type) {
    case 'invalidation': {
      const { tags, uris, routes, keys, isDelivered, by } = event
      const more = Math.max(0, tags.length - MOST_NAMED) + Math.max(0, uris.length - MOST_NAMED)
      return {
        kind: 'purge',
        isDelivered,
        ...named(by),
        ...(tags.length > 0 ? { tags: tags.slice(0, MOST_NAMED) } : {}),
        ...(uris.length > 0 ? { uris: uris.slice(0, MOST_NAMED) } : {}),
        ...(routes ? { routes } : {}),
        ...(keys ? { keys: keys.map(short) } : {}),
        ...(more > 0 ? { more } : {}),
      }
    }
    case 'clear':
      return { kind: 'clear', isDelivered: event.isDelivered, ...named(event.by) }
    case 'backend':
      return { kind: 'backend', what: event.state }
    case 'fault':
      return { kind: 'fault', what: event.operation, message: messageOf(event.error) }
    case 'failure':
      return { kind: 'failure', what: short(event.route), message: causeOf(event) }
    case 'warning':
      return { kind: 'warning', what: event.code, message: short(`${event.route ?? ''} ${event.message}`.trim()) }
    default:
      return undefined
  }
}

function isSame({ id: _, time: __, count: ___, ...last }: Happening, told: Told): boolean {
  return JSON.stringify(last) === JSON.stringify(told)
}

function named(by: string | undefined): { by?: string } {
  return by === undefined ? {} : { by: short(by) }
}

function causeOf({ status, ...thrown }: Extract<CacheEvent, { type: 'failure' }>): string {
  return 'error' in thrown ? messageOf(thrown.error) : `it answered ${status}`
}

function messageOf(error: unknown): string {
  // The text of an error may have the URL of a backend in it, password and all.
  return scrub(error instanceof Error ? error.message : String(error))
}

function short(text: string): string {
  return text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text
}
