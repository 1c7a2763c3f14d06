import { createHash } from 'node:crypto'
import type { Forward } from '../http/cache-status.ts'
import { encodeKey, type KeyParts } from './key.ts'
import type { Reason } from './reasons.ts'
import type { Outcome } from './trace.ts'

/** What a cache would do with a request now, and why. Nothing of it is a credential. */
export interface Explanation {
  readonly method: string
  readonly url: string
  /** Whether the request came to a `cached()` of this cache. */
  readonly isReached: boolean
  /** What the application answered where it did not. */
  readonly status?: number
  readonly route?: string
  /** What its response is looked for under; absent where the request goes past the cache. */
  readonly key?: ExplainedKey
  /** The options that count, by name. */
  readonly options?: Readonly<Record<string, ExplainedOption>>
  /** What is kept under that key, whether it may answer or not. */
  readonly entry?: ExplainedEntry
  /** Why the last response for that key was not kept, where it was not. */
  readonly refused?: Reason
  readonly decision: Decided
}

/** What would become of the request. */
export interface Decided {
  /** `'unknown'` where the application was not asked, or did not say. */
  readonly outcome: Outcome | 'unknown'
  /** Absent of a hit, and of who waits for another's run. */
  readonly reason?: Reason
  readonly forward?: Forward
  /** The same in a sentence. */
  readonly text: string
}

/** The parts of a key; in the place of what could be a credential stands a hash. */
export interface ExplainedKey {
  /** All of them in one text. */
  readonly text: string
  readonly namespace?: string
  readonly route: string
  readonly params: Readonly<Record<string, string | readonly string[]>>
  readonly query: readonly string[]
  readonly method?: string
  readonly host?: string
  readonly original?: string
  readonly path?: string
  readonly custom?: string
  /** Who the response is for, as a hash; absent where it is for everybody. */
  readonly scope?: string
  /** Request fields: those that the route names, and those that responses were seen to vary on. */
  readonly vary: Readonly<Record<string, { readonly value: string | undefined; readonly from: 'route' | 'response' }>>
}

/** An option's value, and who has said so. */
export interface ExplainedOption {
  /** As it is written among options; a function is `'(function)'`. Undefined: as the response says. */
  readonly value: unknown
  readonly from: 'route' | 'cache' | 'preset' | 'default'
}

/** What is kept under a key; times in seconds. */
export interface ExplainedEntry {
  readonly status: number
  /** When it was made, in epoch milliseconds. */
  readonly time: number
  readonly age: number
  readonly lifetime: number
  /** For how much longer it is fresh; below zero it is stale. */
  readonly ttl: number
  /** The bytes of its body. */
  readonly size: number
  /** How long the handler ran to make it. */
  readonly cost: number
  /** The invalidation clock before that. */
  readonly stamp: number
  /** Whether it was purged. */
  readonly isInvalidated: boolean
  readonly tags: readonly ExplainedTag[]
  /** The keys of the variants that are remembered, by what responses vary on. */
  readonly variants: readonly string[]
  readonly encodings: readonly string[]
  readonly tier?: 'near' | 'far'
}

/** What an entry carries. */
export interface ExplainedTag {
  /** The tag; of what the cache has added, the name under which the backend knows it. */
  readonly name: string
  /** A tag that the route gives, the route itself, the URI of the response, or what `clear()` purges. */
  readonly kind: 'tag' | 'route' | 'uri' | 'everything'
  /** Its last invalidation, on the invalidation clock; 0 where none is known, undefined where the backend does not say. */
  readonly invalidatedAt: number | undefined
}

/** Why two requests share a response, or do not. */
export interface Comparison {
  readonly first: Explanation
  readonly second: Explanation
  /** Whether both are looked for under one key. */
  readonly isShared: boolean
  /** The first part in which their keys differ. */
  readonly difference?: Difference
  /** The same in a sentence. */
  readonly text: string
}

/** A part of the key that is not the same for two requests. */
export interface Difference {
  readonly part:
    | 'namespace'
    | 'route'
    | 'params'
    | 'query'
    | 'method'
    | 'host'
    | 'original'
    | 'path'
    | 'custom'
    | 'scope'
    | 'vary'
  /** Which parameter, query parameter or field. */
  readonly name?: string
  readonly first: string | undefined
  readonly second: string | undefined
}

// Fields by which somebody shows who he is.
const TELLING = /auth|cookie|token|secret|session|key|password|credential/i

function hidden(text: string): string {
  return `sha256-${createHash('sha256').update(text).digest('base64url').slice(0, 16)}`
}

/** The same parts with hashes in the place of what could be a credential. */
export function withoutCredentials(parts: KeyParts): KeyParts {
  const { scope, vary } = parts
  return {
    ...parts,
    ...(scope === undefined ? {} : { scope: hidden(scope) }),
    vary: vary.map(
      ([name, value]) => [name, value !== undefined && TELLING.test(name) ? hidden(value) : value] as const,
    ),
  }
}

/** Parts of a key as they are shown. `declared` are the request fields that the route itself names. */
export function showKey(parts: KeyParts, declared: readonly string[]): ExplainedKey {
  const { params, vary, ...shown } = withoutCredentials(parts)
  const fields = vary.map(([name, value]) => {
    return [name, { value, from: declared.includes(name) ? 'route' : 'response' }] as const
  })
  return {
    text: encodeKey({ ...shown, params, vary }),
    ...shown,
    params: Object.fromEntries(params),
    vary: Object.fromEntries(fields),
  }
}

/** What tells two explained requests apart. */
export function compare(first: Explanation, second: Explanation): Comparison {
  if (!first.key || !second.key) {
    const text = 'They share nothing: at least one of them has no key, so it goes past the cache.'
    return { first, second, isShared: false, text }
  }
  const difference = differenceOf(first.key, second.key)
  if (!difference) {
    return { first, second, isShared: true, text: 'They share: both are looked for under the same key.' }
  }
  const { part, name } = difference
  const what = name === undefined ? `\`${part}\`` : `\`${part}\` of the key, at \`${name}\``
  const show = (value: string | undefined) => (value === undefined ? 'nothing' : JSON.stringify(value))
  const text = `They do not share: they differ in ${what}: ${show(difference.first)} and ${show(difference.second)}.`
  return { first, second, isShared: false, difference, text }
}

const PLAIN = ['namespace', 'route', 'method', 'host', 'original', 'path', 'custom'] as const

function differenceOf(one: ExplainedKey, other: ExplainedKey): Difference | undefined {
  const [before, scope] = [PLAIN, ['scope'] as const].map((names) =>
    names.find((name) => one[name as 'route'] !== other[name as 'route']),
  )
  const plain = (part: (typeof PLAIN)[number] | 'scope') => ({ part, first: one[part], second: other[part] })
  if (before) return plain(before)
  return (
    differenceIn('params', paramsOf(one), paramsOf(other)) ??
    differenceIn('query', queryOf(one), queryOf(other)) ??
    (scope ? plain(scope) : undefined) ??
    differenceIn('vary', fieldsOf(one), fieldsOf(other))
  )
}

type Named = ReadonlyMap<string, string | undefined>

function differenceIn(part: 'params' | 'query' | 'vary', one: Named, other: Named): Difference | undefined {
  for (const name of new Set([...one.keys(), ...other.keys()])) {
    const [first, second] = [one.get(name), other.get(name)]
    if (first !== second || one.has(name) !== other.has(name)) return { part, name, first, second }
  }
  return undefined
}

function paramsOf({ params }: ExplainedKey): Named {
  return new Map(
    Object.entries(params).map(([name, value]) => [name, typeof value === 'string' ? value : value.join('/')]),
  )
}

// Several values of one name are one text, in their order.
function queryOf({ query }: ExplainedKey): Named {
  const values = new Map<string, string>()
  for (const part of query) {
    const [name = ''] = part.split('=', 1)
    const before = values.get(name)
    const value = part.slice(name.length)
    values.set(name, before === undefined ? value.slice(1) : `${before}&${part}`)
  }
  return values
}

function fieldsOf({ vary }: ExplainedKey): Named {
  return new Map(Object.entries(vary).map(([name, { value }]) => [name, value]))
}
