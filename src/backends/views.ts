import type { Entry } from '../core/entry.ts'
import { entryOf, type Kept } from './kept.ts'

/** An entry as it is handed out. */
export interface View {
  readonly kept: Kept
  readonly entry: Entry
  readonly keepUntil: number
  readonly bytes: number
  /** Whether somebody has looked for it since it was made, or since it was last spared. */
  isUsed: boolean
  /** The last invalidation of its tags, and by which invalidation clock that was looked up. */
  invalidatedAt: number
  shownAt: number
}

const MOST_VIEWS = 16_384
// Objects for an entry, and what those who answer with it make of it, as `bench/server/charge.ts` measures it, rounded up.
const VIEW_OVERHEAD = 1700
const FIELD_OVERHEAD = 72
const TAG_OVERHEAD = 9
const CODING_OVERHEAD = 1100
// The front keeps bodies of up to so many bytes as text too.
const LARGEST_TEXT = 4096
// Most take less.
const USUAL_VIEW = 3072

/** How many bytes are of use to views where they may have so many: not more than all of them take, and none if not one fits. */
export function bytesForViews(most: number): number {
  return most < USUAL_VIEW ? 0 : Math.min(Math.floor(most), MOST_VIEWS * USUAL_VIEW)
}

/**
 * Entries as they were handed out, as long as they are asked for: whoever asks again gets the same objects, and with them what
 * was made of them the first time.
 */
export class Views {
  readonly #views = new Map<string, View>()
  #mostBytes: number
  #bytes = 0

  /** @param mostBytes what they may take together */
  constructor(mostBytes: number) {
    this.#mostBytes = mostBytes
  }

  /** Has them take so many bytes together at the most from now on. */
  allow(mostBytes: number): void {
    this.#mostBytes = mostBytes
    if (this.#bytes > mostBytes) this.#makeRoom(0)
  }

  /** What they take, in bytes. */
  get bytes(): number {
    return this.#bytes
  }

  find(key: string): View | undefined {
    const view = this.#views.get(key)
    if (view && !view.isUsed) view.isUsed = true
    return view
  }

  /** Makes one; where there is no room for it at all, it is not remembered. */
  make(kept: Kept, tags: readonly string[]): View {
    const { key, time, keptFor } = kept
    const bytes = bytesOf(kept)
    const entry = entryOf(kept, tags)
    const view = { kept, entry, keepUntil: time + keptFor, bytes, isUsed: false, invalidatedAt: 0, shownAt: -1 }
    if (bytes > this.#mostBytes) return view
    if (this.#views.size >= MOST_VIEWS || this.#bytes + bytes > this.#mostBytes) this.#makeRoom(bytes)
    this.#views.set(key, view)
    this.#bytes += bytes
    return view
  }

  drop(key: string): void {
    const view = this.#views.get(key)
    if (!view) return
    this.#views.delete(key)
    this.#bytes -= view.bytes
  }

  clear(): void {
    this.#views.clear()
    this.#bytes = 0
  }

  // The oldest go, but for those that were asked for since: they are as good as new. Several at a time, since a Map finds its first
  // by going past all that have left.
  #makeRoom(bytes: number): void {
    const fewer = MOST_VIEWS - MOST_VIEWS / 16
    const less = this.#mostBytes - Math.max(bytes, this.#mostBytes / 16)
    for (const [key, view] of this.#views) {
      if (this.#views.size <= fewer && this.#bytes <= less) return
      if (view.isUsed) this.#spare(key, view)
      else this.drop(key)
    }
  }

  #spare(key: string, view: View): void {
    view.isUsed = false
    this.#views.delete(key)
    this.#views.set(key, view)
  }
}

function bytesOf({ body, head, links, more }: Kept): number {
  const own = VIEW_OVERHEAD + head.headers.length * FIELD_OVERHEAD + links.length * TAG_OVERHEAD + textOf(body)
  const encodings = more?.encodings ?? []
  if (encodings.length === 0) return own
  return encodings.reduce((sum, encoding) => sum + CODING_OVERHEAD + textOf(encoding.body), own + CODING_OVERHEAD)
}

function textOf({ length }: string | Uint8Array): number {
  return length <= LARGEST_TEXT ? length : 0
}
