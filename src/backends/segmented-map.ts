const SEGMENTS = 256
// Numbers have several digits in a row: of a longer text every second character tells enough, and takes half the time.
const READ_WHOLE = 24

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

function segmentOf(key: string): number {
  const { length } = key
  const step = length <= READ_WHOLE ? 1 : 2
  let hash = length
  for (let at = 0; at < length; at += step) hash = (Math.imul(hash, 31) + key.charCodeAt(at)) | 0
  return (hash ^ (hash >>> 12)) & (SEGMENTS - 1)
}
