import { createHash } from 'node:crypto'
import { combined, type Fields, listMembers } from './fields.ts'
import { asLanguages, asList, parseAcceptEncoding } from './negotiation.ts'

/** The request fields that a response depends on, in lower case and in order; `'*'` where no request can be matched (RFC 9110, 12.5.5). */
export function varyNames(value: string | undefined): readonly string[] | '*' {
  const names = listMembers(value).map((name) => name.toLowerCase())
  return names.includes('*') ? '*' : mergeNames(names, [])
}

/** A value of Vary with what another one says after it, each name once. */
export function withNames(vary: string | undefined, added: string): string {
  const known = listMembers(vary).map((name) => name.toLowerCase())
  const missing = listMembers(added).filter((name) => !known.includes(name.toLowerCase()))
  return [...(vary === undefined || vary.trim() === '' ? [] : [vary]), ...missing].join(', ')
}

/** Both lists of names as one, sorted, each name once. */
export function mergeNames(some: readonly string[], others: readonly string[]): readonly string[] {
  if (others.length === 0 && some.length < 2) return some
  return [...new Set([...some, ...others])].sort()
}

/** The form in which values of a request field are compared (RFC 9111, 4.1): as sent, or one that means the same. */
export type VaryForm =
  | 'exact'
  | 'list'
  | 'case-insensitive-list'
  | 'languages'
  | 'codings'
  | ((value: string) => string)

/** Forms by field name in lower case; `*` for those not named. */
export type VaryForms = ReadonlyMap<string, VaryForm>

/** Every value as it was sent, but for Accept-Encoding. */
export const NO_FORMS: VaryForms = new Map()

/** The form for a field. What Accept-Encoding means is the same for everybody, so it has one of its own. */
export function varyForm(name: string, forms: VaryForms): VaryForm {
  return forms.get(name) ?? (name === 'accept-encoding' ? 'codings' : (forms.get('*') ?? 'exact'))
}

/** The request's values of those fields, credentials as digests; an absent field matches an absent one alone (RFC 9111, 4.1). */
export function varyValues(
  names: readonly string[],
  request: Fields,
  forms: VaryForms = NO_FORMS,
): [name: string, value: string | undefined][] {
  return names.map((name) => [name, shownValue(name, inForm(combined(request, name), varyForm(name, forms)))])
}

function inForm(value: string | undefined, form: VaryForm): string | undefined {
  if (value === undefined || form === 'exact') return value
  if (form === 'list') return asList(value)
  if (form === 'case-insensitive-list') return asList(value.toLowerCase())
  if (form === 'languages') return asLanguages(value)
  return form === 'codings' ? parseAcceptEncoding(value).text : ownForm(value, form)
}

// Anything but text would be the same for all.
function ownForm(value: string, form: (value: string) => string): string {
  const text: unknown = form(value)
  if (typeof text === 'string') return text
  if (text instanceof Promise) text.catch(() => {})
  throw new TypeError('A normaliseVary function has to give text.')
}

const CREDENTIALS = new Set(['authorization', 'cookie', 'proxy-authorization'])

// A visitor can send kilobytes: keys stay short.
const LONGEST_VALUE = 256
// What is as long as a digest is shown as one too, since it could be the digest of somebody else's value.
const DIGEST_LENGTH = 43

// Keys are shown in events and kept in backends, where no credential belongs.
function shownValue(name: string, value: string | undefined): string | undefined {
  if (value === undefined || isShown(name, value)) return value
  return createHash('sha256').update(value).digest('base64url')
}

function isShown(name: string, { length }: string): boolean {
  return length <= LONGEST_VALUE && length !== DIGEST_LENGTH && !CREDENTIALS.has(name)
}
