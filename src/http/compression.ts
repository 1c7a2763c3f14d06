import compressible from 'compressible'
import { parseCacheControl } from './cache-control.ts'
import { combined, type Fields, firstLine } from './fields.ts'
import { varyNames, withNames } from './vary.ts'

/** The content codings that the cache makes, where Node has them; of equal use the first. */
export const CODINGS = ['br', 'zstd', 'gzip'] as const

export type Coding = (typeof CODINGS)[number]

// Fields that speak of the very bytes that are sent: digests (RFC 9530; RFC 1864; RFC 3230), parts, signatures (RFC 9421).
const BYTE_FIELDS = [
  'content-encoding',
  'content-digest',
  'repr-digest',
  'digest',
  'content-md5',
  'content-range',
  'signature',
]

/**
 * Whether a response may be sent in content codings as well: the whole of a compressible type, in none yet, which nothing
 * forbids to transform (RFC 9111, 5.2.2.6), and which does not depend on Accept-Encoding by itself.
 * @param outerCacheControl what a layer above has said
 */
export function mayBeCompressed(status: number, fields: Fields, outerCacheControl?: string): boolean {
  if (status !== 200 || BYTE_FIELDS.some((name) => fields[name] !== undefined)) return false
  if (!compressible(firstLine(fields, 'content-type') ?? '')) return false
  const vary = varyNames(combined(fields, 'vary'))
  if (vary === '*' || vary.includes('accept-encoding')) return false
  return ![combined(fields, 'cache-control'), outerCacheControl].some((control) =>
    parseCacheControl(control).has('no-transform'),
  )
}

/** What Vary has to say where a response is sent in content codings as well (RFC 9110, 12.5.5). */
export function varyOnCoding(vary: string | undefined): string {
  return withNames(vary, 'Accept-Encoding')
}

/**
 * The entity-tag of a response in a content coding. Its bytes are others, so a strong tag is another one; a weak one says that
 * both are as good as each other, and stays (RFC 9110, 8.8.1 and 8.8.3.3).
 */
export function tagInCoding(etag: string, coding: Coding): string {
  return /^"[^"]*"$/.test(etag) ? `${etag.slice(0, -1)}-${coding}"` : etag
}
