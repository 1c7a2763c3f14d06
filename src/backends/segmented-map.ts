const SEGMENTS = 64
const MOST_READ = 1024

/**
 * A Map in many small ones: one Map copies all that it holds in one go when it grows or shrinks, and a million takes it tens of
 * milliseconds. Which texts meet in one segment decides how long that takes, and nothing else.
 */
export class SegmentedMap<V> {
  readonly #segments: (Map<string, V> | undefined)[] = new Array(SEGMENTS).fill(undefined)

  get(key: string): V | undefined {
    return this.#segments[segmentOf(key)]?.get(key)
  }

  set(key: string, value: V): void {
    const at = segmentOf(key)
    const segment = this.#segments[at]
    if (segment) segment.set(key, value)
    else this.#segments[at] = new Map([[key, value]])
  }

  delete(key: string): boolean {
    return this.#segments[segmentOf(key)]?.delete(key) ?? false
  }

  *keys(): Generator<string> {
    for (const segment of this.#segments) if (segment) yield* segment.keys()
  }

  /** How many it holds; counted when it is asked for. */
  get size(): number {
    return this.#segments.reduce((sum, segment) => sum + (segment?.size ?? 0), 0)
  }
}

// All characters count, but of a very long text every second one, or fewer.
function segmentOf(key: string): number {
  const { length } = key
  const step = Math.ceil(length / MOST_READ)
  let hash = length
  for (let at = 0; at < length; at += step) hash = (Math.imul(hash, 31) + key.charCodeAt(at)) | 0
  return (hash ^ (hash >>> 12)) & (SEGMENTS - 1)
}
