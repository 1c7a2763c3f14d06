import { LRUCache } from 'lru-cache'
import { TagcacheError } from '../errors.ts'

/** What a request key is made of. Keys are injective: equal keys mean equal parts. */
export interface KeyParts {
  readonly namespace?: string
  /** The route name. */
  readonly route: string
  /** Route parameters by name; a list is a repeated or multi-segment parameter. */
  readonly params: readonly (readonly [name: string, value: string | readonly string[]])[]
  /** The parts of the query, as `normaliseQuery` gives them. */
  readonly query: readonly string[]
  readonly method?: string
  readonly host?: string
  /** What the client asked for, where a layer above the cache has rewritten it. */
  readonly original?: string
  /** The path, where route and parameters do not spell it. */
  readonly path?: string
  /** What the route's own `key` function gave. */
  readonly custom?: string
  /** Who the response is for. */
  readonly scope?: string
  /** Request fields that the response depends on; undefined is an absent field. */
  readonly vary: readonly (readonly [name: string, value: string | undefined])[]
}

/** Writes a key. `decodeKey` reads it back. */
export function encodeKey(parts: KeyParts): string {
  const { namespace, route } = parts
  const pairs = [...encodeParams(route, parts.params), ...parts.query.map((part) => encodeQueryPart(route, part))]
  const ends = encodeEnds(parts)
  return (
    (namespace ? `${namespace}|` : '') +
    escapeRoute(route) +
    (pairs.length > 0 ? `?${pairs.join('&')}` : '') +
    (ends.length > 0 ? `#${ends.join('&')}` : '')
  )
}

/** Reads a key that `encodeKey` wrote. Throws `ERR_TAGCACHE_KEY` for any other text. */
export function decodeKey(key: string): KeyParts {
  const [, namespace, route, pairs, ends] = /^(?:([\w.-]+)\|)?([^?#|]*)(?:\?([^#]*))?(?:#(.*))?$/s.exec(key) ?? []
  if (route === undefined) throw noKey(key)
  const name = unescapeText(route)
  const parts = {
    ...(namespace === undefined ? {} : { namespace }),
    route: name,
    ...decodePairs(name, pairs === undefined ? [] : pairs.split('&')),
    ...decodeEnds(ends === undefined ? [] : ends.split('&')),
  }
  if (encodeKey(parts) !== key) throw noKey(key)
  return parts
}

function noKey(text: string): TagcacheError {
  return new TagcacheError('ERR_TAGCACHE_KEY', `${JSON.stringify(text)} is no request key of this library.`)
}

const ENDS = ['method', 'host', 'original', 'path', 'custom', 'scope'] as const

function encodeEnds(parts: KeyParts): string[] {
  const ends: string[] = []
  for (const name of ENDS) {
    const value = parts[name]
    if (value !== undefined) ends.push(`${name}=${escapeText(value)}`)
  }
  for (const [name, value] of parts.vary)
    ends.push(`~${escapeText(name)}${value === undefined ? '' : `=${escapeText(value)}`}`)
  return ends
}

function decodeEnds(ends: readonly string[]): Pick<KeyParts, (typeof ENDS)[number] | 'vary'> {
  const known: Record<string, string> = {}
  const vary: [string, string | undefined][] = []
  for (const end of ends) {
    const [name, value] = splitPair(end)
    if (name.startsWith('~'))
      vary.push([unescapeText(name.slice(1)), value === undefined ? undefined : unescapeText(value)])
    else known[name] = unescapeText(value ?? '')
  }
  return { ...known, vary }
}

// A bare pair is a parameter if the route declares one of that name, else a part of the query; what would be misread is marked.
function encodeParams(route: string, params: KeyParts['params']): string[] {
  const sorted = params.length > 1 ? [...params].sort(([a], [b]) => compare(a, b)) : params
  return sorted.flatMap(([name, value]) => {
    const mark = declares(route, name) ? '' : ':'
    if (typeof value === 'string') return `${mark}${escapeText(name)}=${escapeText(value)}`
    if (value.length === 0) return `${mark}${escapeText(name)}[]`
    return value.map((item) => `${mark}${escapeText(name)}[]=${escapeText(item)}`)
  })
}

function encodeQueryPart(route: string, part: string): string {
  return part.startsWith(':') || part.startsWith('?') || declares(route, bareName(part)) ? `?${part}` : part
}

function decodePairs(route: string, pairs: readonly string[]): Pick<KeyParts, 'params' | 'query'> {
  const params: [string, string | string[]][] = []
  const query: string[] = []
  for (const pair of pairs) {
    if (pair.startsWith(':')) addParam(params, pair.slice(1))
    else if (pair.startsWith('?')) query.push(pair.slice(1))
    else if (declares(route, bareName(pair))) addParam(params, pair)
    else query.push(pair)
  }
  return { params, query }
}

function addParam(params: [string, string | string[]][], pair: string): void {
  const [label, value] = splitPair(pair)
  const name = unescapeText(label.endsWith('[]') ? label.slice(0, -2) : label)
  if (!label.endsWith('[]')) {
    params.push([name, unescapeText(value ?? '')])
    return
  }
  const last = params.at(-1)
  const items = value === undefined ? [] : [unescapeText(value)]
  if (last?.[0] === name && Array.isArray(last[1])) last[1].push(...items)
  else params.push([name, items])
}

function declares(route: string, name: string): boolean {
  return name !== '' && (route.includes(`:${name}`) || route.includes(`*${name}`))
}

function bareName(pair: string): string {
  const [name] = splitPair(pair)
  return tryUnescape(name.endsWith('[]') ? name.slice(0, -2) : name) ?? name
}

function splitPair(pair: string): [name: string, value: string | undefined] {
  const at = pair.indexOf('=')
  return at === -1 ? [pair, undefined] : [pair.slice(0, at), pair.slice(at + 1)]
}

/**
 * The parts of a raw query in normal form: `%41` is `A`, `+` is `%20`, and the order of different names does not count.
 * What a query parser could tell apart (`a[b` and `a%5Bb`, broken escapes, the order of one name's values) stays apart.
 */
export function normaliseQuery(query: string): string[] {
  if (query === '') return []
  const parts = query.split('&')
  if (parts.length > MOST_COUNTED_PARTS) return parts.map(normaliseEscapes)
  return sortByRoot(parts.filter((part) => part !== '').map(normaliseEscapes))
}

/** A raw path in normal form: `%41` is `A`, `%2f` is `%2F`. */
export function normalisePath(path: string): string {
  return path.includes('%') ? path.replace(/%[0-9a-f]{2}/gi, decodeUnreserved) : path
}

// A part that cannot be decoded is handed on raw by parsers, so it stays raw. Broken escapes are written `%%` and the (illegal)
// number sign `%~`, which no normal form has, so that they cannot be mistaken.
function normaliseEscapes(part: string): string {
  if (!/[%+#]/.test(part)) return part
  const isReadable = decodeText(part) !== undefined
  return part.replace(/%[0-9a-f]{2}|[%+#]/gi, (match) => {
    if (match === '#') return '%~'
    if (match === '%') return '%%'
    if (!isReadable) return match
    return match === '+' ? '%20' : decodeUnreserved(match)
  })
}

function decodeUnreserved(triple: string): string {
  const char = String.fromCharCode(Number.parseInt(triple.slice(1), 16))
  return /[A-Za-z0-9\-._~]/.test(char) ? char : triple.toUpperCase()
}

// Parsers cut long queries by position (Express and node:querystring at 1000 parts, empty ones included), so there every part counts.
const MOST_COUNTED_PARTS = 999

function sortByRoot(parts: string[]): string[] {
  if (parts.length < 2) return parts
  const roots = new Map<string, string>()
  for (const part of parts) {
    const root = rootOf(part)
    if (root === undefined) return parts
    roots.set(part, root)
  }
  return parts.sort((a, b) => compare(roots.get(a)!, roots.get(b)!))
}

// Parts of one root may be merged by a parser (`a=1&a[]=2`, `a.b=1`), so their order counts; undefined: it cannot be told.
function rootOf(part: string): string | undefined {
  const [label, value = ''] = splitPair(part)
  const name = decodeText(label)
  // Express's extended parser ends the name of `a=b[]=c` at the bracket.
  if (name === undefined || name.startsWith('[') || /(\]|%5D)=/i.test(value)) return undefined
  return name.split(/[[.]/, 1)[0]
}

/**
 * The parts of a normal query that a choice by name keeps. What a parser might read under another name, or cut by
 * position, is kept in any case.
 */
export function chooseFromQuery(parts: readonly string[], isChosen: (name: string) => boolean): readonly string[] {
  if (parts.length > MOST_COUNTED_PARTS) return parts
  return parts.filter((part) => rootOf(part) === undefined || isChosen(decodeText(splitPair(part)[0])!))
}

/** What `route` and its parameters spell as a path; where it is not the request's path, the path belongs into the key. */
export function spellPath(pattern: string, params: KeyParts['params']): string {
  let path = ''
  for (const piece of piecesOf(pattern)) {
    const value = piece.name === undefined ? undefined : params.find(([name]) => name === piece.name)?.[1]
    if (value === undefined) path += piece.text
    else path += typeof value === 'string' ? escapeText(value) : value.map(escapeText).join('/')
  }
  return path
}

interface Piece {
  readonly text: string
  /** The parameter that it stands for. */
  readonly name?: string
}

// Patterns are what an application mounts: those are read once.
const pieces = new LRUCache<string, readonly Piece[]>({ max: 1000 })

function piecesOf(pattern: string): readonly Piece[] {
  const known = pieces.get(pattern)
  if (known) return known
  const read = pattern
    .split(/([:*][A-Za-z_$][\w$]*)/)
    .map((text, at) => (at % 2 === 1 ? { text, name: text.slice(1) } : { text }))
  pieces.set(pattern, read)
  return read
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function decodeText(text: string): string | undefined {
  if (!text.includes('%')) return text
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}

function escapeText(text: string): string {
  if (/^[\w\-.~]*$/.test(text)) return text
  if (text.isWellFormed()) return encodeURIComponent(text)
  return Array.from(text, (char) => (char.isWellFormed() ? encodeURIComponent(char) : escapeUnit(char))).join('')
}

function escapeRoute(route: string): string {
  if (/^[\w\-.~ /:*]*$/.test(route)) return route
  return route.replace(
    /[%?#|\u0000-\u001f\u007f]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g,
    escapeText,
  )
}

function escapeUnit(unit: string): string {
  return `%u${unit.charCodeAt(0).toString(16).toUpperCase()}`
}

function unescapeText(text: string): string {
  const plain = tryUnescape(text)
  if (plain === undefined) throw noKey(text)
  return plain
}

function tryUnescape(text: string): string | undefined {
  if (!text.includes('%u')) return decodeText(text)
  const pieces = text
    .split(/%u([0-9A-F]{4})/)
    .map((piece, at) => (at % 2 === 1 ? String.fromCharCode(Number.parseInt(piece, 16)) : decodeText(piece)))
  return pieces.includes(undefined) ? undefined : pieces.join('')
}
