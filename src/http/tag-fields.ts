import { formatCacheTag, formatGroups, formatSurrogateKey, type TagField } from './cache-groups.ts'

/** All of them, in lower case. */
export const TAG_FIELDS: readonly string[] = ['cache-groups', 'surrogate-key', 'cache-tag']

const FORMATS: Readonly<Record<TagField, (names: readonly string[]) => string>> = {
  'Cache-Groups': formatGroups,
  'Surrogate-Key': formatSurrogateKey,
  'Cache-Tag': formatCacheTag,
}

// Clients and CDNs take about 16 kB of header fields altogether.
const LONGEST = 8 * 1024

/** The value of a tag field; undefined for no tags, or more than fit: part of the list would be a purge that misses. */
export function formatTags(field: TagField, names: readonly string[]): string | undefined {
  if (names.length === 0) return undefined
  const value = FORMATS[field](names)
  return value.length > LONGEST ? undefined : value
}
