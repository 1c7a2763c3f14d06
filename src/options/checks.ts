import { namesCarried, type TagList } from '../core/tags.ts'
import { badValue, checkOptions, type Duration, durationOf, sizeOf } from '../core/values.ts'
import { CODINGS, type Coding } from '../http/compression.ts'
import type { VaryForm, VaryForms } from '../http/vary.ts'

/** Which parameters belong to the key: all (`true`), none (`false`), those listed, or all but some; `*` stands for anything. */
export type Selection = boolean | readonly string[] | { readonly ignore: readonly string[] }

/** How values of a request field are compared: as lists (white space does not count), as lists without case, as languages (nor their order), as sent (`false`), or as what a function makes of them. */
export type Normalisation = 'list' | 'case-insensitive-list' | 'languages' | false | ((value: string) => string)

/** Tags, or what gives them when the response is known. */
export type TagSource = TagList | ((...args: never) => TagList)

/** Of which bodies encodings are kept, and in which codings, where Node has them. */
export interface Compression {
  readonly threshold: number
  readonly codings: readonly Coding[]
}

// Each takes what a user gave for one option, and gives what the cache works with. Throws ERR_TAGCACHE_OPTION_VALUE.

export function booleanOf(option: string, value: boolean | undefined): boolean | undefined {
  if (value !== undefined && typeof value !== 'boolean') throw badValue(option, value, 'true or false')
  return value
}

export function compressionOf(
  compress: boolean | { readonly threshold?: number | string; readonly codings?: readonly Coding[] },
): Compression | undefined {
  if (compress === false) return undefined
  const given = compress === true ? {} : compress
  if (given === null || typeof given !== 'object') throw badValue('compress', compress, 'true, false or an object')
  checkOptions('compress', given, ['threshold', 'codings'])
  const { threshold = '1kb', codings = CODINGS } = given
  if (!Array.isArray(codings) || codings.length === 0 || !codings.every((coding) => CODINGS.includes(coding))) {
    throw badValue('compress.codings', codings, `a list of ${CODINGS.map((coding) => `"${coding}"`).join(', ')}`)
  }
  return { threshold: sizeOf('compress.threshold', threshold), codings: [...new Set<Coding>(codings)] }
}

export function optionalDuration(option: string, value: Duration | undefined): number | undefined {
  return value === undefined ? undefined : durationOf(option, value)
}

export function functionOf<V>(option: string, value: V | undefined, others: readonly unknown[]): V | undefined {
  if (value === undefined || typeof value === 'function' || others.includes(value)) return value
  throw badValue(option, value, [...others.map((other) => JSON.stringify(other)), 'a function'].join(', '))
}

export function oneOf<V>(option: string, value: V | undefined, allowed: readonly unknown[]): V | undefined {
  if (value === undefined || allowed.includes(value)) return value
  throw badValue(option, value, allowed.map((one) => JSON.stringify(one)).join(', '))
}

export function tagsOf(tags: TagSource): TagSource {
  if (typeof tags !== 'function') namesCarried(tags)
  return tags
}

export function nameOf(name: string): string {
  if (typeof name !== 'string' || name === '') throw badValue('name', name, 'text that is not empty')
  return name
}

export function selectionOf(option: string, value: Selection | undefined): Selection | undefined {
  const names = value !== null && typeof value === 'object' && 'ignore' in value ? value.ignore : value
  if (value === undefined || typeof value === 'boolean') return value
  if (Array.isArray(names) && names.every((name) => typeof name === 'string')) return value
  throw badValue(option, value, 'true, false, a list of names, or { ignore: [names] }')
}

const FIELD_NAME = /^[\w!#$%&'*+\-.^`|~]+$/

export function fieldNamesOf(option: string, value: string | readonly string[]): readonly string[] {
  const names = typeof value === 'string' ? value.split(',') : value
  const trimmed = Array.isArray(names) ? names.map((name) => String(name).trim().toLowerCase()) : []
  if (!Array.isArray(names) || !trimmed.every((name) => FIELD_NAME.test(name))) {
    throw badValue(option, value, 'names of header fields')
  }
  return [...new Set(trimmed)]
}

const FORMS: readonly unknown[] = ['list', 'case-insensitive-list', 'languages']

export function varyFormsOf(value: Readonly<Record<string, unknown>>): VaryForms {
  const wrong = () =>
    badValue(
      'normaliseVary',
      value,
      'an object of field names with "list", "case-insensitive-list", "languages", false, or a function',
    )
  if (value === null || typeof value !== 'object' || Array.isArray(value)) throw wrong()
  const forms = Object.entries(value).map(([name, form]) => {
    if (!FIELD_NAME.test(name) || !(form === false || typeof form === 'function' || FORMS.includes(form))) throw wrong()
    return [name.toLowerCase(), form === false ? 'exact' : (form as VaryForm)] as const
  })
  return new Map(forms)
}

export function methodsOf(methods: readonly string[], hasKey: boolean): ReadonlySet<string> {
  if (!Array.isArray(methods) || !methods.every((method) => /^[A-Za-z-]+$/.test(String(method)))) {
    throw badValue('methods', methods, 'a list of method names')
  }
  const upper = methods.map((method) => method.toUpperCase())
  const needsKey = upper.find((method) => method !== 'GET' && method !== 'HEAD')
  if (needsKey && !hasKey) {
    throw badValue(
      'methods',
      methods,
      `GET and HEAD; ${needsKey} needs a \`key\` function that covers what its body says`,
    )
  }
  return new Set(upper)
}

export function statusesOf(statuses: readonly number[]): ReadonlySet<number> {
  if (
    !Array.isArray(statuses) ||
    !statuses.every((status) => Number.isInteger(status) && status >= 200 && status <= 599)
  ) {
    throw badValue('statuses', statuses, 'a list of final statuses, 200 to 599')
  }
  return new Set(statuses)
}

export function coalescingOf(coalesce: unknown): { maxWait: number; isClusterWide: boolean } {
  if (coalesce === false) return { maxWait: 0, isClusterWide: false }
  if (coalesce === true || coalesce === 'cluster') return { maxWait: 10_000, isClusterWide: coalesce === 'cluster' }
  if (coalesce !== null && typeof coalesce === 'object') {
    checkOptions('coalesce', coalesce, ['maxWait', 'within'])
    const { maxWait = 10, within } = coalesce as { maxWait?: Duration; within?: unknown }
    const isClusterWide = oneOf('coalesce.within', within, ['process', 'cluster']) === 'cluster'
    return { maxWait: durationOf('coalesce.maxWait', maxWait), isClusterWide }
  }
  throw badValue('coalesce', coalesce, "true, false, 'cluster', or { maxWait, within }")
}

export function eagernessOf(value: boolean | number): number {
  const eagerness = Number(value)
  if ((typeof value === 'boolean' || typeof value === 'number') && eagerness >= 0 && eagerness <= 100) return eagerness
  throw badValue('earlyRefresh', value, 'true, false, or a number from 0 to 100')
}

export function jitterOf(value: number): number {
  if (typeof value === 'number' && value >= 0 && value < 1) return value
  throw badValue('jitter', value, 'a number from 0 to below 1')
}
