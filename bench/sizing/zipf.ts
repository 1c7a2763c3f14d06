import type { Random } from './random.ts'

// From this rank on a sum is taken as an integral; the error is below a millionth.
const EXACT_RANKS = 1000

/** Zipf's law: of `ranks` things the i-th is asked for in proportion to i to the power of minus `exponent`. */
export class Zipf {
  readonly ranks: number
  readonly #exponent: number
  readonly #sums: readonly number[]
  readonly #total: number
  // Where the integral of the law begins and ends, and below which distance a sample needs no second look.
  readonly #from: number
  readonly #to: number
  readonly #near: number

  constructor(ranks: number, exponent: number) {
    this.ranks = ranks
    this.#exponent = exponent
    this.#sums = this.#sumsOfHead()
    this.#total = this.#sum(1, ranks)
    this.#from = this.#integral(1.5) - 1
    this.#to = this.#integral(ranks + 0.5)
    this.#near = 2 - this.#inverse(this.#integral(2.5) - this.#weight(2))
  }

  /** The share of all requests that goes to the ranks `first` to `last`. */
  share(first: number, last: number): number {
    return this.#sum(first, Math.min(last, this.ranks)) / this.#total
  }

  /** A rank drawn by the law, exactly: rejection-inversion, after Hörmann and Derflinger (1996). */
  draw(random: Random): number {
    for (;;) {
      const area = this.#to + random() * (this.#from - this.#to)
      const point = this.#inverse(area)
      const rank = Math.min(Math.max(Math.round(point), 1), this.ranks)
      if (rank - point <= this.#near || area >= this.#integral(rank + 0.5) - this.#weight(rank)) return rank
    }
  }

  #sumsOfHead(): number[] {
    const sums = [0]
    for (let rank = 1; rank <= Math.min(this.ranks, EXACT_RANKS); rank++)
      sums.push(sums[rank - 1]! + this.#weight(rank))
    return sums
  }

  #sum(first: number, last: number): number {
    if (last <= EXACT_RANKS) return this.#sums[last]! - this.#sums[first - 1]!
    if (first <= EXACT_RANKS) return this.#sum(first, EXACT_RANKS) + this.#sum(EXACT_RANKS + 1, last)
    // Begun at the first rank: as the difference of two integrals from 1 on, little would be left of a steep law's tail.
    const [from, to] = [first - 0.5, last + 0.5]
    return from * this.#weight(from) * this.#integral(to / from)
  }

  #weight(rank: number): number {
    return Math.exp(-this.#exponent * Math.log(rank))
  }

  #integral(x: number): number {
    const log = Math.log(x)
    const power = (1 - this.#exponent) * log
    return power === 0 ? log : (log * Math.expm1(power)) / power
  }

  #inverse(area: number): number {
    const power = Math.max(-1, area * (1 - this.#exponent))
    return Math.exp(power === 0 ? area : (area * Math.log1p(power)) / power)
  }
}
