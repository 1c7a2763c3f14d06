/** What happened in one step of time. */
export interface Step {
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

/** Steps as columns, as charts take them. */
export type Columns = { readonly [Name in keyof Step]: Step[Name][] }

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
    const place = number % this.#steps.length
    const known = this.#steps[place]
    if (known?.time === number * this.width) return known
    const step = emptyStep(number * this.width)
    this.#steps[place] = step
    return step
  }

  /** Every step up to a time; those in which nothing happened are empty. */
  read(now: number): Columns {
    const last = Math.floor(now / this.width)
    const steps = this.#steps.map((_, at) => {
      const number = last - this.#steps.length + 1 + at
      const known = this.#steps[((number % this.#steps.length) + this.#steps.length) % this.#steps.length]
      return known?.time === number * this.width ? known : emptyStep(number * this.width)
    })
    const names = Object.keys(emptyStep(0)) as (keyof Step)[]
    return Object.fromEntries(names.map((name) => [name, steps.map((step) => step[name])])) as Columns
  }
}

function emptyStep(time: number): Step {
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
