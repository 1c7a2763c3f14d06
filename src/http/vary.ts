import { createHash } from 'node:crypto'
import { combined, type Fields, listMembers } from './fields.ts'

/** The request fields that a response depends on, in lower case and in order; `'*'` where no request can be matched (RFC 9110, 12.5.5). */
export function varyNames(value: string | undefined): readonly string[] | '*' {
  const names = listMembers(value).map((name) => name.toLowerCase())
  return names.includes('*') ? '*' : mergeNames(names, [])
}

/** Both lists of names as one, sorted, each name once. */
export function mergeNames(some: readonly string[], others: readonly string[]): readonly string[] {
  if (others.length === 0 && some.length < 2) return some
  return [...new Set([...some, ...others])].sort()
}

/** The request's values of those fields, credentials as digests; an absent field matches an absent one alone (RFC 9111, 4.1). */
export function varyValues(names: readonly string[], request: Fields): [name: string, value: string | undefined][] {
  return names.map((name) => [name, shownValue(name, combined(request, name))])
}

const CREDENTIALS = new Set(['authorization', 'cookie', 'proxy-authorization'])

// Keys are shown in events and kept in backends, where no credential belongs.
function shownValue(name: string, value: string | undefined): string | undefined {
  if (value === undefined || !CREDENTIALS.has(name)) return value
  return createHash('sha256').update(value).digest('base64url')
}
