import { storableField } from '../http/policy.ts'
import { fieldsOf, type HeaderField, type StoredResponse } from './entry.ts'

/**
 * A stored response with what its validation said: the fields of the 304 take the place of the stored ones (RFC 9111, 3.2),
 * but for those that describe the 304's own framing. Status, body and trailers stay.
 * @param own what the layers below have set on the 304
 * @param date the Date of a 304 that has none of its own
 */
export function renewedResponse(
  stored: StoredResponse,
  own: { readonly headers: readonly HeaderField[] },
  date: string | undefined,
): StoredResponse {
  const fields = fieldsOf(own.headers)
  const fresh = own.headers.filter(
    ({ name }) => isTaken(name.toLowerCase()) && storableField(name.toLowerCase(), fields),
  )
  if (date !== undefined && fields.date === undefined) fresh.push({ name: 'Date', value: date })
  const replaced = new Set(fresh.map(({ name }) => name.toLowerCase()))
  // The age that the old response had came with that response.
  const kept = stored.headers.filter(({ name }) => !replaced.has(name.toLowerCase()) && name.toLowerCase() !== 'age')
  return { ...stored, headers: [...kept, ...fresh] }
}

// RFC 9111, 3.2; and what a cache has said of the 304 is not about the response.
function isTaken(name: string): boolean {
  return name !== 'content-length' && name !== 'cache-status'
}
