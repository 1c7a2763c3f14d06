import { isPromise } from './maybe.ts'

/** What takes time on behalf of a cache: a call of a backend that is asked, by the method's name; or a response made anew in the background, by the route's. */
export interface Work {
  readonly kind: 'backend' | 'refresh'
  readonly name: string
}

/** Stands around work: runs it once, and gives what it gives. */
export type Around = <V>(work: Work, run: () => V) => V

/** Those who stand around work. */
export class Surroundings {
  readonly #all = new Set<Around>()

  get isEmpty(): boolean {
    return this.#all.size === 0
  }

  /** Has work run within `around` from now on. Returns the way to end that. */
  add(around: Around): () => void {
    this.#all.add(around)
    return () => void this.#all.delete(around)
  }

  /** Runs work within all of them. */
  run<V>(work: Work, run: () => V): V {
    let whole = run
    for (const around of this.#all) {
      const inner = whole
      whole = () => around(work, inner)
    }
    return whole()
  }
}

/** Runs it, and tells how it has ended: what it has given, or why it failed. */
export function whenOver<V>(run: () => V, over: (end: { value: unknown } | { error: unknown }) => void): V {
  try {
    const value = run()
    if (isPromise(value as unknown)) {
      const fail = (error: unknown) => over({ error })
      ;(value as Promise<unknown>).then((value) => over({ value }), fail)
    } else over({ value })
    return value
  } catch (error) {
    over({ error })
    throw error
  }
}
