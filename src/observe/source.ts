import type { Cache } from '../cache.ts'
import { nameOf } from '../channels.ts'
import { badValue } from '../core/values.ts'

/** Any cache, whatever its tags and its backend. */
export type Observed = Pick<Cache, 'on' | 'stats'>

/** What tells the measurements of a cache apart from those of others: the given name, else its own. Throws `ERR_TAGCACHE_OPTION_VALUE`. */
export function sourceName(cache: Cache, name: string | undefined): string {
  if (name !== undefined && (typeof name !== 'string' || name === '')) throw badValue('name', name, 'text')
  return name ?? nameOf(cache.flow.events.source)
}
