import { ALL, type Row } from './database.ts'

/** What a server promises of its answers. */
export interface Promised {
  /** For how many milliseconds an answer may lack what another server has written; 0: never. */
  readonly staleness: number
}

/** What had been acknowledged before a read was sent. */
export interface Before {
  readonly at: number
  /** The least version of each row that may be shown by a server that is never stale. */
  readonly everywhere: Int32Array
  /**
   * The least version that the asked server may show in any case: what it has answered to writers itself, also where the purge
   * was only kept for later, and what whoever asks carries the position of.
   */
  readonly here: Int32Array
}

/** A position that a write was answered with, and what had been acknowledged by then. */
export interface Carried {
  readonly position: string
  readonly versions: Int32Array
}

/** A row that was older than what had been acknowledged. */
export interface Lag {
  readonly row: number
  readonly shown: number
  readonly acknowledged: number
  /** For how long something newer had been acknowledged when the read was sent, in milliseconds. */
  readonly staleness: number
  /** When it was acknowledged. */
  readonly since: number
  readonly isViolation: boolean
}

/** What was acknowledged to writers, by whom and when. */
export class History {
  readonly #everywhere = new Int32Array(ALL.length)
  readonly #byServer = new Map<unknown, Int32Array>()
  // Of each row, versions that were acknowledged before anything newer, and when.
  readonly #steps: { readonly version: number; readonly at: number }[][] = ALL.map(() => [])

  /** What the last write was answered with that tells where it stands. */
  carried: Carried | undefined

  /** A write was answered with success: nobody may show less from now on. */
  acknowledge(server: unknown, id: number, version: number): void {
    this.keep(server, id, version)
    if (version <= this.#everywhere[id]!) return
    this.#everywhere[id] = version
    this.#steps[id]!.push({ version, at: performance.now() })
  }

  /** A write was answered with the news that its purge is kept for later: that server may not show less from now on. */
  keep(server: unknown, id: number, version: number): void {
    const here = this.#of(server)
    here[id] = Math.max(here[id]!, version)
  }

  /** To be taken before a read of that server is sent. */
  before(server: unknown, carried?: Carried): Before {
    const here = this.#of(server).map((version, id) => Math.max(version, carried?.versions[id] ?? 0))
    return { at: performance.now(), everywhere: this.everywhere(), here }
  }

  /** What has been acknowledged until now. */
  everywhere(): Int32Array {
    return this.#everywhere.slice()
  }

  /** The versions that have to be shown everywhere once everything that was kept is delivered. */
  answered(): Int32Array {
    const versions = [...this.#byServer.values()]
    return Int32Array.from(ALL, (id) => Math.max(0, ...versions.map((here) => here[id]!)))
  }

  /** The rows of an answer that are older than what was acknowledged. */
  lags(rows: readonly Row[], before: Before, { staleness }: Promised): Lag[] {
    return rows
      .filter(({ id, version }) => version < Math.max(before.everywhere[id]!, before.here[id]!))
      .map(({ id, version }) => {
        const since = this.#newerThan(id, version)
        const lag = { row: id, shown: version, staleness: before.at - since, since }
        const acknowledged = Math.max(before.everywhere[id]!, before.here[id]!)
        return { ...lag, acknowledged, isViolation: version < before.here[id]! || lag.staleness > staleness }
      })
  }

  // Something that was only kept has no time at which it was acknowledged.
  #newerThan(id: number, version: number): number {
    const steps = this.#steps[id]!
    let at = steps.length
    while (at > 0 && steps[at - 1]!.version > version) at -= 1
    return steps[at]?.at ?? Number.POSITIVE_INFINITY
  }

  #of(server: unknown): Int32Array {
    const known = this.#byServer.get(server)
    if (known) return known
    const here = new Int32Array(ALL.length)
    this.#byServer.set(server, here)
    return here
  }
}
