import type { ServerResponse } from 'node:http'
import { fieldsOf, type HeaderField } from '../core/entry.ts'
import type { Fields } from '../http/fields.ts'
import { linesSet } from './head.ts'

/** The header fields that outer layers had set when the cache was entered, by lower-case name. */
export type OuterFields = ReadonlyMap<string, HeaderField>

/** What the layers below have done to the header fields. */
export interface InnerFields {
  readonly headers: readonly HeaderField[]
  readonly removed: readonly string[]
  /** The same by lower-case name, for judging. */
  readonly fields: Fields
  /** What outer layers have said of caching, where it counts. */
  readonly outerSayings: { readonly outerCacheControl?: string; readonly outerVary?: string }
}

/** Takes down what outer layers have set so far. */
export function outerFields(res: ServerResponse): OuterFields {
  return new Map(linesSet(res).map((line) => [line.name.toLowerCase(), line]))
}

const DEFAULTS = Symbol('tagcache: fields added by default')
type Known = ServerResponse & { [DEFAULTS]?: Set<string> }

/** Notes that a cache has added the field by itself, so that the next one does not take it for the handler's word. */
export function addedByDefault(res: Known, name: string): void {
  // Whoever wants to know of it has put itself around the head.
  if (!Object.hasOwn(res, 'writeHead')) return
  res[DEFAULTS] ??= new Set()
  res[DEFAULTS].add(name.toLowerCase())
}

/** What is in `headers` because of the layers below: fields they set, changed, added to, or took away. */
export function innerFields(res: Known, outer: OuterFields, headers: readonly HeaderField[]): InnerFields {
  const own = ownFields(outer, res[DEFAULTS], headers)
  const fields = fieldsOf(own)
  return { headers: own, removed: removedFrom(outer, headers), fields, outerSayings: sayingsOfOuter(outer, fields) }
}

function ownFields(
  outer: OuterFields,
  added: ReadonlySet<string> | undefined,
  headers: readonly HeaderField[],
): HeaderField[] {
  const own: HeaderField[] = []
  for (const field of headers) {
    const lower = field.name.toLowerCase()
    const part = added?.has(lower) ? undefined : ownPart(field, outer.get(lower)?.value)
    if (part) own.push(part)
  }
  return own
}

function removedFrom(outer: OuterFields, headers: readonly HeaderField[]): readonly string[] {
  if (outer.size === 0) return []
  const present = new Set(headers.map(({ name }) => name.toLowerCase()))
  return [...outer.keys()].filter((name) => !present.has(name))
}

function sayingsOfOuter(outer: OuterFields, fields: Fields): InnerFields['outerSayings'] {
  const outerControl = fields['cache-control'] === undefined ? textFrom(outer, 'cache-control') : undefined
  const outerVary = textFrom(outer, 'vary')
  return {
    ...(outerControl === undefined ? {} : { outerCacheControl: outerControl }),
    ...(outerVary === undefined ? {} : { outerVary }),
  }
}

function textFrom(outer: OuterFields, name: string): string | undefined {
  const value = outer.get(name)?.value
  return value === undefined ? undefined : [value].flat().join(', ')
}

// A value that goes on where the outer one ended was appended to it: only what was appended is the response's own.
function ownPart(field: HeaderField, outer: string | readonly string[] | undefined): HeaderField | undefined {
  if (outer === undefined) return field
  const before = [outer].flat()
  const now = [field.value].flat()
  if (now.length === before.length && now.every((line, at) => line === before[at])) return undefined
  if (before.every((line, at) => line === now[at])) {
    const added = now.slice(before.length)
    return { name: field.name, value: added.length === 1 ? added[0]! : added, append: true }
  }
  const [text, prefix] = [now.join(', '), `${before.join(', ')},`]
  if (text.startsWith(prefix)) return { name: field.name, value: text.slice(prefix.length).trim(), append: true }
  return field
}
