import type { TagBackend } from 'tagcache'

/** What is wrong with the shop at the moment, on purpose. */
export interface Troubles {
  /** The handler of the search takes ten times as long. */
  isSlow: boolean
  /** The handler of the report answers 503. */
  isFailing: boolean
  /** The backend throws, as one does that cannot be reached. */
  isAway: boolean
  /** A crawler asks for every product there is. */
  isCrawled: boolean
  /** Somebody has put a script into all pages that sets a cookie, which every browser sends from then on. */
  isTracked: boolean
}

/** A part of the run, in which one thing goes wrong, or none. */
export interface Phase {
  readonly name: string
  readonly trouble?: keyof Troubles
}

export const PHASES: readonly Phase[] = [
  { name: 'start, empty' },
  { name: 'quiet' },
  { name: 'slow handler', trouble: 'isSlow' },
  { name: 'failing handler', trouble: 'isFailing' },
  { name: 'backend away', trouble: 'isAway' },
  { name: 'cookie for all', trouble: 'isTracked' },
  { name: 'crawler', trouble: 'isCrawled' },
]

export function noTroubles(): Troubles {
  return { isSlow: false, isFailing: false, isAway: false, isCrawled: false, isTracked: false }
}

const CALLS: readonly PropertyKey[] = ['lookup', 'store', 'invalidate', 'invalidatedAt', 'delete']

/** The same backend, which fails in each call while it is away. */
export function unreliable(backend: TagBackend<true>, troubles: Troubles): TagBackend<true> {
  return new Proxy(backend, {
    get(target, name) {
      const value = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      return (...given: unknown[]) => {
        if (troubles.isAway && CALLS.includes(name)) throw Object.assign(new Error('away'), { code: 'ECONNREFUSED' })
        return Reflect.apply(value, target, given)
      }
    },
  })
}
