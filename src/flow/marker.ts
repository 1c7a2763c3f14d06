import type { Lookup } from '../backends/backend.ts'
import { type Entry, fieldValue } from '../core/entry.ts'
import type { Place } from '../core/variants.ts'
import { varyNames } from '../http/vary.ts'
import type { Run } from './run.ts'
import { isValid } from './usable.ts'

/**
 * What stands under the key without variants where a backend is shared: what the variants are told apart by. It answers nobody,
 * since it varies on more than its key says; a process that meets it looks again, under the right key.
 */
export function markerOf({ place }: Run, entry: Entry, vary: readonly string[]): Entry {
  const headers = [{ name: 'Vary', value: vary.join(', ') }]
  const body = new Uint8Array()
  return {
    ...entry,
    key: place.primary,
    tags: [],
    response: { status: 200, statusMessage: '', headers, removed: [], trailers: [], body },
  }
}

/** The names that were not known to vary, of what was found in the place of a response. */
export function namesUnknown(found: Lookup, place: Place): readonly string[] {
  const { entry } = found
  if (!entry || place.key !== place.primary || !isValid(found, place.key)) return []
  const names = varyNames([fieldValue(entry.response.headers, 'vary') ?? []].flat().join(','))
  return names === '*' ? [] : names.filter((name) => !place.names.includes(name))
}
