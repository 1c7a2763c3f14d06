import { parseDictionary } from 'structured-headers'
import type { Directives } from './cache-control.ts'
import { combined, type Fields } from './fields.ts'

/**
 * The directives of the first targeted field that is there and can be used (RFC 9213, 2.2); undefined where none is.
 * @param names the fields that are addressed to this cache, in lower case, the most specific first
 */
export function targetedDirectives(fields: Fields, names: readonly string[]): Directives | undefined {
  for (const name of names) {
    const directives = parseTargeted(combined(fields, name))
    if (directives && directives.size > 0) return directives
  }
  return undefined
}

/** Reads a targeted field: a dictionary (RFC 9213, 2.1). One bad member makes the whole field count for nothing. */
export function parseTargeted(value: string | undefined): Directives | undefined {
  if (value === undefined) return undefined
  try {
    const directives = new Map<string, string | true>()
    for (const [name, [item]] of parseDictionary(value)) {
      // A value of another type than the directive has is as if the directive were absent (RFC 9213, 2.1).
      if (item === true) directives.set(name, true)
      else if (Number.isInteger(item) && (item as number) >= 0) directives.set(name, String(item))
    }
    return directives
  } catch {
    return undefined
  }
}
