/** Chance, from 0 to below 1. */
export type Random = () => number

/** The same choices for the same seed (mulberry32). */
export function generator(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export function pick<V>(random: Random, values: readonly V[]): V {
  return values[Math.floor(random() * values.length)]!
}

/** A number between two others, as often below twice a number as above half of it. */
export function between(random: Random, least: number, most: number): number {
  return least * (most / least) ** random()
}

export function shuffled<V>(random: Random, values: readonly V[]): V[] {
  const rest = [...values]
  return values.map(() => rest.splice(Math.floor(random() * rest.length), 1)[0]!)
}
