/** Where a server keeps its responses: in Redis alone, or with copies in the process, which are bounded stale or never stale. */
export const TIERS = ['none', 'bounded', 'strong'] as const
export type Tiers = (typeof TIERS)[number]

export const CLIENTS = ['ioredis', 'node-redis'] as const
export type ClientName = (typeof CLIENTS)[number]

/** What a server can be deprived of, to see that the check notices: see sabotage.ts. */
export const LOSSES = ['epoch', 'stamps', 'distrust'] as const
export type Loss = (typeof LOSSES)[number]

/** What one of several servers is like. */
export interface Setup {
  readonly name: string
  readonly tiers: Tiers
  readonly client: ClientName
  readonly without?: Loss | undefined
  /** Where Redis is for it. */
  readonly redisPort: number
  readonly journal: string
  readonly seed: number
}

/** How long an answer of a server with bounded staleness may lack what other servers wrote: the default of `maxStaleness`. */
export const MAX_STALENESS = 1000
