import { inspect } from 'node:util'
import { TagcacheError } from '../errors.ts'

type TypeOf<T extends string> = string extends T ? string : T extends `${infer Type}:${string}` ? Type : T

/** A tag as `{ type, id }`: a response that has it is reached by `type:id` and by the whole `type`. */
export interface TypedTag<T extends string = string> {
  readonly type: TypeOf<T>
  readonly id?: string | number
}

/** A name for something that responses are made of: `'product:42'`, or `{ type: 'product', id: 42 }`. */
export type Tag<T extends string = string> = T | TypedTag<T>

/** One tag or several. */
export type TagList<T extends string = string> = Tag<T> | readonly Tag<T>[]

/** The longest tag, in UTF-16 code units. */
export const MAX_TAG_LENGTH = 256

/**
 * The one rule of outdated entries: what was computed from `stamp` on is wrong once a tag of it was invalidated later.
 * @param stamp the invalidation clock before the computation began
 * @param invalidatedAt the latest invalidation among the entry's tags, on the same clock
 */
export function isOutdated(stamp: number, invalidatedAt: number): boolean {
  // Said this way round, a stamp that is no number is outdated too.
  return !(invalidatedAt <= stamp)
}

/** The names under which a response with these tags is reached; `{ type, id }` gives two. Throws `ERR_TAGCACHE_TAG`. */
export function namesCarried(tags: TagList): string[] {
  return unique(tags, (tag) => (tag.id === undefined ? [tag.type] : [`${tag.type}:${tag.id}`, tag.type]))
}

/** The names that a purge of these tags reaches; `{ type, id }` is that one id, `{ type }` all of them. Throws `ERR_TAGCACHE_TAG`. */
export function namesPurged(tags: TagList): string[] {
  return unique(tags, (tag) => [tag.id === undefined ? tag.type : `${tag.type}:${tag.id}`])
}

/** Whether a text can be a tag. */
export function isTagName(name: string): boolean {
  try {
    return checkName(name) === name
  } catch {
    return false
  }
}

/** What every response of a namespace carries. */
export function tagsOfAll(namespace: string): readonly string[] {
  return [`${namespace}|everything`]
}

/** Whether a name is one that the cache itself gives, by which nothing is ever listed: a URI's, a route's, or that of everything in a namespace. */
export function isImplicit(name: string): boolean {
  return /^(?:[\w.-]+\|)?(?:uri|route)\/|^[\w.-]+\|everything$/.test(name)
}

function unique(tags: TagList, namesOf: (tag: TypedTag) => string[]): string[] {
  const names = new Set<string>()
  for (const tag of Array.isArray(tags) ? tags : [tags]) {
    for (const name of typeof tag === 'string' ? [tag] : namesOf(checkTyped(tag))) names.add(checkName(name))
  }
  return [...names]
}

function checkTyped(tag: unknown): TypedTag {
  const { type, id } = Object(tag) as { type?: unknown; id?: unknown }
  if (typeof type !== 'string' || type === '' || type.includes(':')) {
    throw refuse(tag, 'a tag is a string, or { type, id } whose type is a string without a colon')
  }
  if (id !== undefined && typeof id !== 'string' && !Number.isFinite(id)) {
    throw refuse(tag, 'the id of a tag is a string or a finite number')
  }
  if (id === '') throw refuse(tag, 'the id of a tag is not empty')
  return tag as TypedTag
}

function checkName(name: string): string {
  if (name === '') throw refuse(name, 'a tag is not empty')
  if (name.length > MAX_TAG_LENGTH) throw refuse(name, `a tag has at most ${MAX_TAG_LENGTH} characters`)
  if (/[\u0000-\u001f\u007f]/.test(name)) throw refuse(name, 'a tag has no control characters')
  if (!name.isWellFormed()) throw refuse(name, 'a tag has no lone surrogates')
  return name
}

function refuse(tag: unknown, rule: string): TagcacheError {
  return new TagcacheError('ERR_TAGCACHE_TAG', `Tag ${inspect(tag, { depth: 1 }).slice(0, 80)} is refused: ${rule}.`)
}
