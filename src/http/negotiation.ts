/** Brings a request field into a form that is equal for values of equal meaning. */
export type Normalise = (value: string) => string

/** A list without the blanks around its commas and without empty members (RFC 9111, 4.1; RFC 9110, 5.6.1); quoted strings stay as they are. */
export const asList: Normalise = (value) => membersOf(value).join(',')

// One member: quoted strings, and all else up to a comma. An unclosed quote goes on to the end.
const MEMBER = /(?:"(?:[^"\\]|\\.)*"?|[^",]+)+/gs

function membersOf(value: string): string[] {
  return (value.match(MEMBER) ?? []).map(trimBlanks).filter((member) => member !== '')
}

// Not trim(): a no-break space is no blank of HTTP (RFC 9110, 5.6.3), and a handler may see another value in it.
function trimBlanks(text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isBlank(text[start]!)) start++
  while (end > start && isBlank(text[end - 1]!)) end--
  return text.slice(start, end)
}

function isBlank(char: string): boolean {
  return char === ' ' || char === '\t'
}

/** One thing that the client accepts, and how much it wants it, from 0 to 1 (RFC 9110, 12.4.2). */
interface Preference {
  readonly name: string
  readonly weight: number
}

const WEIGHT = '(?:[\\t ]*;[\\t ]*q=(0(?:\\.\\d{0,3})?|1(?:\\.0{0,3})?))?'
// RFC 9110, 12.5.4 and RFC 4647, 2.1.
const LANGUAGE = new RegExp(`^(\\*|[a-z]{1,8}(?:-[a-z\\d]{1,8})*)${WEIGHT}$`, 'i')
// RFC 9110, 12.5.3.
const CODING = new RegExp(`^([\\w!#$%&'*+\\-.^\`|~]+)${WEIGHT}$`, 'i')

/** Undefined if any member is malformed: then nobody knows what a handler makes of the field. */
function parsePreferences(value: string, syntax: RegExp): Preference[] | undefined {
  const matches = membersOf(value).map((member) => syntax.exec(member))
  if (matches.includes(null)) return undefined
  return matches.map((match) => ({ name: match![1]!.toLowerCase(), weight: Number(match![2] ?? 1) }))
}

function formatPreferences(preferences: readonly Preference[]): string {
  const members = [...preferences].sort(comparePreferences).map(formatPreference)
  return [...new Set(members)].join(',')
}

function formatPreference({ name, weight }: Preference): string {
  return weight === 1 ? name : `${name};q=${weight}`
}

function comparePreferences(a: Preference, b: Preference): number {
  return b.weight - a.weight || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0)
}

// ASCII alone has case here; what is malformed must not become what is well-formed, as the Kelvin sign would.
function lowerCase(text: string): string {
  return text.replace(/[A-Z]+/g, (letters) => letters.toLowerCase())
}

/**
 * Accept-Language by weight and then by tag: case, blanks and the order of equal weights do not count (RFC 9110, 12.5.4).
 * Not for handlers that take the first of equal weights. What is malformed is only a list in lower case.
 */
export const asLanguages: Normalise = (value) => {
  const languages = parsePreferences(value, LANGUAGE)
  return languages ? formatPreferences(languages) : asList(lowerCase(value))
}

/** The tags of highest weight, in lower case and in order; none if the field is absent, malformed, or wants nothing. */
export function firstLanguages(value: string | undefined): string[] {
  const languages = (parsePreferences(value ?? '', LANGUAGE) ?? []).sort(comparePreferences)
  const highest = languages[0]?.weight
  const first = languages.filter(({ name, weight }) => weight === highest && weight > 0 && name !== '*')
  return [...new Set(first.map(({ name }) => name))]
}

/** What Accept-Encoding says (RFC 9110, 12.5.3). */
export interface AcceptedCodings {
  /** The field in normal form. */
  readonly text: string
  /** The codings that are acceptable alike, without `identity`; undefined where it is not as simple as that. */
  readonly codings: ReadonlySet<string> | undefined
}

// Absent is neither empty nor any other value: no text in normal form begins with a space.
const ABSENT: AcceptedCodings = { text: ' absent', codings: undefined }

/** Reads Accept-Encoding: case, blanks, aliases and the order of equal weights do not count. What is malformed is only a list in lower case. */
export function parseAcceptEncoding(value: string | undefined): AcceptedCodings {
  if (value === undefined) return ABSENT
  const preferences = parsePreferences(value, CODING)?.map(({ name, weight }) => ({ name: codingOf(name), weight }))
  if (!preferences) return { text: asList(lowerCase(value)), codings: undefined }
  return { text: formatPreferences(preferences), codings: plainCodings(preferences) }
}

// RFC 9110, 8.4.1.1 and 8.4.1.3.
const ALIASES = new Map([
  ['x-gzip', 'gzip'],
  ['x-compress', 'compress'],
])

function codingOf(name: string): string {
  const coding = lowerCase(name)
  return ALIASES.get(coding) ?? coding
}

function plainCodings(preferences: readonly Preference[]): ReadonlySet<string> | undefined {
  const isPlain = preferences.every(
    ({ name, weight }) => name !== '*' && weight > 0 && weight === preferences[0]!.weight,
  )
  if (!isPlain) return undefined
  return new Set(preferences.map(({ name }) => name).filter((name) => name !== 'identity'))
}

/**
 * Whether what was chosen for `more` would be chosen for `fewer` too: nothing that was preferred to it is left out, and it
 * is still there itself.
 * @param chosen Content-Encoding of the response, `identity` where it has none
 */
export function alsoChosenFrom(fewer: AcceptedCodings, more: AcceptedCodings, chosen: string): boolean {
  if (fewer.text === more.text) return true
  if (!fewer.codings || !more.codings) return false
  const coding = codingOf(chosen)
  return (
    [...fewer.codings].every((name) => more.codings!.has(name)) && (coding === 'identity' || fewer.codings.has(coding))
  )
}

/** How much a client wants each coding, from 0 for not at all to 1; `*` is for those not named. */
export type CodingWeights = ReadonlyMap<string, number>

/** The weights in Accept-Encoding, or undefined where it is absent or malformed. Of one that is named twice the lower counts. */
export function codingWeights(value: string | undefined): CodingWeights | undefined {
  const preferences = value === undefined ? undefined : parsePreferences(value, CODING)
  if (!preferences) return undefined
  const weights = new Map<string, number>()
  for (const { name, weight } of preferences) {
    const coding = codingOf(name)
    weights.set(coding, Math.min(weight, weights.get(coding) ?? 1))
  }
  return weights
}

// Less than any that can be said: what is not spoken of is acceptable without a coding, after everything else.
const LEAST_WEIGHT = 0.0005

/** How much a coding is wanted; of `identity`, which is no coding, that is something unless it is ruled out (RFC 9110, 12.5.3). */
export function weightOf(coding: string, weights: CodingWeights): number {
  return weights.get(coding) ?? weights.get('*') ?? (coding === 'identity' ? LEAST_WEIGHT : 0)
}
