import type { Workload } from './workload.ts'

// What the bench and the process of a subject say to each other.

/** What a process is started with, as JSON. */
export interface Start {
  readonly subject: string
  readonly work: Workload
}

/** Its first message. */
export type Started = { readonly port: number } | { readonly unavailable: string } | { readonly error: string }

/** What it tells of itself when it is asked. */
export interface State {
  /** Microseconds of CPU that it has used, all threads together. */
  readonly cpu: number
  /** Bytes. */
  readonly rss: number
  /** How often a handler has run. */
  readonly runs: number
  /** Bytes that are alive, where the question was for them. */
  readonly alive?: number
}

/** The question: with a collection of garbage before it, or not; or what it has done with its time, or its memory, since the last question for that. */
export type Question = 'state' | 'alive' | Profiled

/** What a profile is of. */
export type Profiled = 'time' | 'memory'

/** Where time or memory went: microseconds or bytes, by the function that took them. */
export interface Profile {
  readonly places: readonly Place[]
}

export interface Place {
  readonly function: string
  readonly url: string
  readonly amount: number
}
