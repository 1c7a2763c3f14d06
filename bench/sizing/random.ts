/** Gives numbers from 0 to below 1, the same row of them for the same seed. */
export type Random = () => number

/** The generator known as mulberry32. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** How long it takes until the next event of those that come at random, `rate` of them a second. */
export function waitOf(random: Random, rate: number): number {
  return -Math.log1p(-random()) / rate
}

/** A number of the normal distribution with mean 0 and deviation 1. */
export function normalOf(random: Random): number {
  return Math.sqrt(-2 * Math.log1p(-random())) * Math.cos(2 * Math.PI * random())
}
