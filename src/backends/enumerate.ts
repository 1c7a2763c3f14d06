import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Query } from './backend.ts'

const NAMES_PER_SLICE = 5000

/**
 * The first names of a page, in order, out of many in any order. They are gone through in slices, so that it holds nothing up;
 * and it needs no memory of the page before.
 */
export async function firstNames(
  all: Iterable<string>,
  { prefix = '', after, limit }: Query,
): Promise<{ names: readonly string[]; next: { next?: string } }> {
  let names: string[] = []
  let isCut = false
  const keepFirst = () => {
    names.sort(compare)
    isCut ||= names.length > limit
    names = names.slice(0, limit)
  }
  let left = NAMES_PER_SLICE
  for (const name of all) {
    if (name.startsWith(prefix) && (after === undefined || compare(name, after) > 0)) names.push(name)
    if (--left > 0) continue
    left = NAMES_PER_SLICE
    keepFirst()
    await nextTurn()
  }
  keepFirst()
  return { names, next: isCut ? { next: names.at(-1)! } : {} }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
