/** Why a request went on to the handler (RFC 9211, 2.2). */
export type Forward = 'bypass' | 'method' | 'uri-miss' | 'vary-miss' | 'stale' | 'request'

/** What the cache did with a request, as Cache-Status tells it. */
export type Handling =
  | { readonly hit: true; readonly ttl: number; readonly detail?: string }
  | {
      readonly hit: false
      /** Undefined where the request went nowhere. */
      readonly forward: Forward | undefined
      /** What the handler answered, where its client gets something else (RFC 9211, 2.3). */
      readonly forwardStatus?: number
      readonly stored?: boolean
      readonly collapsed?: boolean
      readonly detail?: string
    }

/** One member of Cache-Status (RFC 9211), by the cache of that name. `ttl` is in seconds. */
export function formatCacheStatus(name: string, handling: Handling): string {
  if (handling.hit) return `${name}; hit; ttl=${handling.ttl}${handling.detail ? `; detail=${handling.detail}` : ''}`
  const { forward, forwardStatus, stored, collapsed, detail } = handling
  const parts = [
    name,
    forward && `fwd=${forward}`,
    forwardStatus && `fwd-status=${forwardStatus}`,
    stored && 'stored',
    collapsed && 'collapsed',
    detail && `detail=${detail}`,
  ]
  return parts.filter(Boolean).join('; ')
}

// As many as an hour has seconds, and a few more.
const REMEMBERED = 4096

/** Cache-Status of fresh hits, which differ in one number alone: each text is made once, as long as no other one needs its place. */
export class HitStatuses {
  readonly #name: string
  readonly #lifetimes: number[] = Array<number>(REMEMBERED).fill(Number.NaN)
  readonly #texts: string[] = Array<string>(REMEMBERED).fill('')

  constructor(name: string) {
    this.#name = name
  }

  /** @param ttl for how many seconds the response is fresh yet */
  of(ttl: number): string {
    const place = ttl & (REMEMBERED - 1)
    if (this.#lifetimes[place] === ttl) return this.#texts[place]!
    const text = formatCacheStatus(this.#name, { hit: true, ttl })
    this.#lifetimes[place] = ttl
    this.#texts[place] = text
    return text
  }
}

/** A cache's name as a structured field item: a token where it can be one, else a string (RFC 9651, 3.3). */
export function formatCacheName(name: string): string {
  if (/^[A-Za-z*][\w!#$%&'*+\-.^`|~:/]*$/.test(name)) return name
  return `"${name.replace(/["\\]/g, '\\$&')}"`
}
