import type { RedisClient } from '../../backends/redis/redis.ts'
import { EXIT, Failure, unreachable } from '../exit.ts'
import type { Host, RedisPlace, Sentinel } from './redis-address.ts'

/** A connected client, whichever library it is of. */
export interface Connection {
  readonly client: RedisClient
  end(): void
}

/** A connection to one server, which says what it is. */
export interface Single extends Connection {
  info(): Promise<string>
}

/** How to reach a Redis. */
export interface Address {
  readonly place: RedisPlace
  /** For a connection and each answer, in milliseconds. */
  readonly timeout: number
}

/** The ways of a library to connect. All throw a `Failure`. */
export interface Ways {
  single(host: Host): Promise<Single>
  cluster(): Promise<Connection>
  sentinel(sentinel: Sentinel): Promise<Connection>
}

/** After how long a connection that was lost is tried again, in milliseconds. */
export const RECONNECT_AFTER = 500

/** Waits for a connection as long as that may take. Throws a `Failure`. */
export async function inTime<V>(connecting: Promise<V>, address: Address, giveUp: () => unknown): Promise<V> {
  const { name } = address.place
  const late = new Error('it did not answer in time.')
  let timer: NodeJS.Timeout | undefined
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late), address.timeout)
  })
  try {
    return await Promise.race([connecting, over])
  } catch (error) {
    connecting.catch(() => {})
    await attempt(giveUp)
    if (isRefusal(error))
      throw new Failure(
        EXIT.refused,
        `${name} refuses: ${(error as Error).message}`,
        'As: --redis redis://user:password@host, or TAGCACHE_REDIS_URL, which others do not see.',
      )
    throw unreachable(name, error, 'Is it running, and is that its address?')
  } finally {
    clearTimeout(timer)
  }
}

/** Whether a server does not let one in, which it does the next time no more. */
export function isRefusal(error: unknown): boolean {
  const text = String(Object(error).message ?? error)
  return /\b(?:WRONGPASS|NOAUTH|NOPERM)\b|without any password/.test(text)
}

async function attempt(act: () => unknown): Promise<void> {
  try {
    await act()
  } catch {}
}
