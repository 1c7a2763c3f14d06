import { quantilesOf, Spread } from './spread.ts'

/** What happened in one step of time. */
interface Counts {
  /** When it began, in epoch milliseconds. */
  readonly time: number
  hits: number
  stale: number
  collapsed: number
  misses: number
  bypasses: number
  /** Requests of which it is known how long the handler ran for them, or had run. */
  timed: number
  /** How long handlers ran for those, in milliseconds. */
  spent: number
  /** How long they would have run besides, had there been no cache. */
  saved: number
  /** Tags, routes, URIs and entries purged. */
  purges: number
  /** What the backend held at the end, where it can tell. */
  bytes: number | null
  entries: number | null
}

/** How long answers took, in milliseconds, in the ten seconds to the end of a step; null where there were none. */
interface Times {
  /** The time within which half of the answers with something stored were given, of those that were measured. */
  readonly hitMedian: number | null
  /** The same of 95 in 100. */
  readonly hitMost: number | null
  /** How long the handler ran for those that it gave: half of them, and 95 in 100. */
  readonly handlerMedian: number | null
  readonly handlerMost: number | null
}

/** A step as it is told. */
export type ShownStep = Readonly<Counts & Times>

/** What is taken down of a step. */
export interface Step extends Counts {
  readonly hitTimes: Spread
  readonly handlerTimes: Spread
}

/** Steps as columns, as charts take them. */
export type Columns = { readonly [Name in keyof ShownStep]: ShownStep[Name][] }

// One second has too few answers to say of what most of them took.
const WINDOW = 10_000
const SHARES = [0.5, 0.95] as const

/** The last so many steps of time; what is older is forgotten. */
export class Series {
  readonly width: number
  readonly #steps: (Step | undefined)[]

  /**
   * @param width how long a step is, in milliseconds
   * @param count how many are kept
   */
  constructor(width: number, count: number) {
    this.width = width
    this.#steps = new Array(count).fill(undefined)
  }

  /** The step at a time. */
  at(now: number): Step {
    const number = Math.floor(now / this.width)
    const known = this.#known(number)
    if (known) return known
    const step = { ...emptyCounts(number * this.width), hitTimes: new Spread(), handlerTimes: new Spread() }
    this.#steps[number % this.#steps.length] = step
    return step
  }

  /** The step at a time, as it is told. */
  show(now: number): ShownStep {
    const number = Math.floor(now / this.width)
    const known = this.#known(number)
    if (!known) return { ...emptyCounts(number * this.width), ...this.#times(number) }
    const { hitTimes: _, handlerTimes: __, ...counts } = known
    return { ...counts, ...this.#times(number) }
  }

  /** Every step up to a time; those in which nothing happened are empty. */
  read(now: number): Columns {
    const steps = this.#steps.map((_, at) => this.show(now - (this.#steps.length - 1 - at) * this.width))
    const names = Object.keys(steps[0]!) as (keyof ShownStep)[]
    return Object.fromEntries(names.map((name) => [name, steps.map((step) => step[name])])) as Columns
  }

  #times(number: number): Times {
    const steps: Step[] = []
    for (let back = 0; back * this.width < WINDOW; back++) steps.push(...[this.#known(number - back) ?? []].flat())
    const [hitMedian = null, hitMost = null] = quantilesOf(
      steps.map(({ hitTimes }) => hitTimes),
      SHARES,
    )
    const [handlerMedian = null, handlerMost = null] = quantilesOf(
      steps.map(({ handlerTimes }) => handlerTimes),
      SHARES,
    )
    return { hitMedian, hitMost, handlerMedian, handlerMost }
  }

  #known(number: number): Step | undefined {
    const { length } = this.#steps
    const step = this.#steps[((number % length) + length) % length]
    return step?.time === number * this.width ? step : undefined
  }
}

function emptyCounts(time: number): Counts {
  return {
    time,
    hits: 0,
    stale: 0,
    collapsed: 0,
    misses: 0,
    bypasses: 0,
    timed: 0,
    spent: 0,
    saved: 0,
    purges: 0,
    bytes: null,
    entries: null,
  }
}
