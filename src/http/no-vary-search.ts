import { type Dictionary, type InnerList, type Item, isInnerList, parseDictionary } from 'structured-headers'

/** Which parts of the query a response does not depend on. */
export interface SearchVariance {
  /** The field in normal form: equal text, equal meaning. */
  readonly text: string
  /** Whether the parts of this (decoded) name do not count. */
  ignores(name: string): boolean
}

/**
 * Reads No-Vary-Search (draft-ietf-httpbis-no-vary-search, 5.1). Undefined: the whole query counts, because the field is
 * absent, malformed, of a wrong type, or says no more than that. The order of different names never counts in our keys, so
 * `key-order` adds nothing and is only checked.
 *
 * To ignore all names but some is `params, except=("a")` in the earlier drafts and in browsers, `except=("a")` in the later
 * drafts. What one of them reads is at most unknown to the other, so both are read.
 */
export function parseSearchVariance(value: string | undefined): SearchVariance | undefined {
  const members = parseMembers(value)
  const [order, params, except] = ['key-order', 'params', 'except'].map((key) => members.get(key))
  if (order && typeof order[0] !== 'boolean') return undefined
  if (params?.[0] === true) return ignoringAllBut(except === undefined ? [] : namesOf(except))
  if (except === undefined) return ignoring(namesOf(params))
  return params === undefined ? ignoringAllBut(namesOf(except)) : undefined
}

function parseMembers(value: string | undefined): Dictionary {
  try {
    return parseDictionary(value ?? '')
  } catch {
    return new Map()
  }
}

type Member = Item | InnerList

function namesOf(member: Member | undefined): string[] | undefined {
  if (member === undefined || !isInnerList(member)) return undefined
  const names = member[0].map(([name]) => name)
  // A token is an object of its own class here.
  return names.every((name) => typeof name === 'string') ? [...new Set(names.map(decodeName))].sort() : undefined
}

// "Parse a key" (5.3) is what a form does to the text after an equals sign.
function decodeName(text: string): string {
  return new URLSearchParams(`=${text.replaceAll('&', '%26')}`).get('') ?? ''
}

function ignoring(names: readonly string[] | undefined): SearchVariance | undefined {
  if (names === undefined || names.length === 0) return undefined
  const ignored = new Set(names)
  return { text: `params=${formatNames(names)}`, ignores: (name) => ignored.has(name) }
}

function ignoringAllBut(names: readonly string[] | undefined): SearchVariance | undefined {
  if (names === undefined) return undefined
  const kept = new Set(names)
  return { text: `except=${formatNames(names)}`, ignores: (name) => !kept.has(name) }
}

function formatNames(names: readonly string[]): string {
  return `(${names.map((name) => `"${encodeURIComponent(name)}"`).join(' ')})`
}
