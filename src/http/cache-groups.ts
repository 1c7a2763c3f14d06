import { type List, parseList, serializeList } from 'structured-headers'

/** The fields in which caches further on are told the tags of a response: the standard's, Fastly's, Cloudflare's. */
export type TagField = 'Cache-Groups' | 'Surrogate-Key' | 'Cache-Tag'

/**
 * Reads Cache-Groups or Cache-Group-Invalidation (RFC 9875, 2 and 3), in order and as written. A field that does not parse
 * counts for nothing; members that are no strings are left out, parameters ignored.
 */
export function parseGroups(value: string | undefined): readonly string[] {
  return parseMembers(value)
    .map(([member]) => member)
    .filter((member) => typeof member === 'string')
}

function parseMembers(value: string | undefined): List {
  try {
    return parseList(value ?? '')
  } catch {
    return []
  }
}

/**
 * Writes Cache-Groups: strings (RFC 9651, 3.3.3) of printable ASCII. All else and the percent sign are percent-encoded as
 * UTF-8, so that different names stay different. Empty for no names: then there is no field.
 */
export function formatGroups(names: readonly string[]): string {
  return serializeList(names.map((name) => [escapeChars(name, /[^\x20-\x7e]|%/gu), new Map()]))
}

/** Writes Surrogate-Key: names parted by spaces. What is no visible ASCII, and the percent sign, is percent-encoded as UTF-8. */
export function formatSurrogateKey(names: readonly string[]): string {
  return names.map((name) => escapeChars(name, /[^\x21-\x7e]|%/gu)).join(' ')
}

/** Writes Cache-Tag: names parted by commas. What is no visible ASCII, comma and percent sign are percent-encoded as UTF-8. */
export function formatCacheTag(names: readonly string[]): string {
  return names.map((name) => escapeChars(name, /[^\x21-\x7e]|[%,]/gu)).join(',')
}

function escapeChars(name: string, chars: RegExp): string {
  return name.replace(chars, escapeChar)
}

// A lone surrogate has no UTF-8; it is written as in keys.
function escapeChar(char: string): string {
  return char.isWellFormed() ? encodeURIComponent(char) : `%u${char.charCodeAt(0).toString(16).toUpperCase()}`
}
