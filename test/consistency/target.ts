import type { Promised } from './history.ts'

/** A server that is read and written, which may be down for a while. */
export interface Target extends Promised {
  readonly name: string
  /** What it is counted under. */
  readonly kind: string
  /** Undefined while it is down. */
  readonly port: number | undefined
  whenUp(): Promise<void>
}
