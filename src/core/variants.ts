import { LRUCache } from 'lru-cache'
import { combined, type Fields } from '../http/fields.ts'
import { alsoChosenFrom, firstLanguages, parseAcceptEncoding } from '../http/negotiation.ts'
import { parseSearchVariance, type SearchVariance } from '../http/no-vary-search.ts'
import { mergeNames, type VaryForms, varyForm, varyValues } from '../http/vary.ts'
import { chooseFromQuery, encodeKey, type KeyParts } from './key.ts'
import type { Time } from './time.ts'

/** Where a request's response is looked for, as far as is known of the responses so far. */
export interface Place {
  /** The key without what responses vary on. */
  readonly primary: string
  readonly key: string
  /** What leaves parts of the query out; undefined where all count. */
  readonly variance: SearchVariance | undefined
  /** The request fields that the key tells apart. */
  readonly names: readonly string[]
  /** What has been chosen for others and would have been for this request: the entry has to be that. */
  readonly assumed: readonly Assumption[]
}

/** That a response has this coding, or this language. */
export interface Assumption {
  readonly field: 'content-encoding' | 'content-language'
  readonly chosen: string
}

/** Where a response is kept, and which other variants have to make room for it. */
export interface Lodging extends Place {
  readonly crowdedOut: readonly string[]
}

/** One request, as far as the choice of a variant needs it. */
export interface Seeker {
  readonly parts: KeyParts
  readonly headers: Fields
  readonly forms: VaryForms
}

// Which request fields the responses of a key vary on, what was chosen for which, and the keys of the variants kept.
interface Memory {
  readonly names: readonly string[]
  readonly choices: readonly Choice[]
  readonly keys: readonly string[]
}

// What a response was chosen for: a coding or a language, among those that a request accepts.
interface Choice {
  readonly field: 'accept-encoding' | 'accept-language'
  /** The accepted ones in normal form: what stands in the variant's key. */
  readonly text: string
  readonly accepted: string | undefined
  readonly chosen: string
}

// So many keys and routes are remembered, and so many characters; where they are forgotten, a request misses once.
const KEYS = { max: 10_000, maxSize: 4_000_000, sizeCalculation: sizeOf }
const ROUTES = { max: 1_000 }
const MOST_CHOICES = 20
// A route whose responses disagree on what counts in a query is taken at its whole query for so long.
const DISTRUST = 10 * 60 * 1000

/** What is known of the variants of responses: which request fields and which parts of a query tell them apart. */
export class Variants {
  readonly #memories = new LRUCache<string, Memory>(KEYS)
  readonly #variances = new LRUCache<string, SearchVariance | { readonly distrustedUntil: number }>(ROUTES)
  readonly #time: Pick<Time, 'now'>

  constructor(time: Pick<Time, 'now'>) {
    this.#time = time
  }

  /** Where to look for the response to a request. */
  locate(seeker: Seeker): Place {
    return this.#place(seeker, this.#varianceOf(seeker.parts))
  }

  /** Whether a place without variants, found earlier for the same parts, is where to look now. */
  isStill({ key, primary, variance }: Place, parts: KeyParts): boolean {
    const hasVariants = this.#memoryOf(primary) !== undefined
    return key === primary && !hasVariants && this.#varianceOf(parts) === variance
  }

  /** Where to keep a response that varies on `names`, learning from it for the next requests; undefined for nowhere. */
  lodge(seeker: Seeker, names: readonly string[], response: Fields, most: number): Lodging | undefined {
    const stated = parseSearchVariance(combined(response, 'no-vary-search'))
    this.#learnVariance(seeker.parts, stated)
    const rule = this.#varianceOf(seeker.parts)
    const variance = rule?.text === stated?.text ? rule : undefined
    const found = this.#place(seeker, variance)
    const { primary } = found
    const known = this.#memoryOf(primary)
    if (names.length === 0 && !known) return { ...found, crowdedOut: [] }
    const learned = learn(known, seeker, names, response)
    const place = this.#place(seeker, variance, learned)
    const keys = [...learned.keys.filter((key) => key !== place.key), place.key]
    const kept = { ...learned, keys: keys.slice(-most) }
    this.#memories.set(primary, kept)
    // Too much to be remembered: what varies would be forgotten, and the variant served to everybody.
    if (this.#memories.get(primary) !== kept) return undefined
    return { ...place, crowdedOut: keys.slice(0, -most) }
  }

  /** The keys of the variants that are kept under a key without them. */
  keptUnder(primary: string): readonly string[] {
    return this.#memories.peek(primary)?.keys ?? []
  }

  /** Takes down that the responses to a request vary on those fields, as another process has found. */
  teach(seeker: Seeker, names: readonly string[]): void {
    const { primary } = this.locate(seeker)
    const known = this.#memories.get(primary)
    this.#memories.set(primary, {
      names: mergeNames(known?.names ?? [], names),
      choices: known?.choices ?? [],
      keys: known?.keys ?? [],
    })
  }

  // Where it is looked for; with what was just learned of a response, where that is kept.
  #place({ parts, headers, forms }: Seeker, variance: SearchVariance | undefined, learned?: Memory): Place {
    const query = variance ? chooseFromQuery(parts.query, (name) => counts(name, variance)) : parts.query
    const reduced = query.length < parts.query.length ? { ...parts, query } : parts
    const primary = encodeKey(reduced)
    const memory = learned ?? this.#memoryOf(primary)
    const declared = parts.vary.length === 0 ? NO_NAMES : parts.vary.map(([name]) => name)
    const applied = reduced === parts ? undefined : variance
    if (!memory) return { primary, key: primary, variance: applied, names: declared, assumed: NONE }
    const values = varyValues(
      memory.names.filter((name) => !declared.includes(name)),
      headers,
      forms,
    )
    // A new response is kept for the request that it answers, and for no other.
    const choices = values.map(([name, value]) =>
      learned ? undefined : standIn(name, value, headers, forms, memory.choices),
    )
    const settled = values.map(([name, value], at) => [name, choices[at]?.text ?? value] as const)
    const vary = [...parts.vary, ...settled].sort(([a], [b]) => (a < b ? -1 : 1))
    return {
      primary,
      key: encodeKey({ ...reduced, vary }),
      variance: applied,
      names: mergeNames(declared, memory.names),
      assumed: choices.flatMap((choice, at) => assumptionOf(choice, values[at]?.[1])),
    }
  }

  #memoryOf(primary: string): Memory | undefined {
    return this.#memories.size === 0 ? undefined : this.#memories.get(primary)
  }

  #varianceOf(parts: KeyParts): SearchVariance | undefined {
    if (this.#variances.size === 0 || parts.query.length === 0) return undefined
    const known = this.#variances.get(routeOf(parts))
    return known && 'ignores' in known ? known : undefined
  }

  // Only responses of one mind teach what does not count.
  #learnVariance(parts: KeyParts, variance: SearchVariance | undefined): void {
    const route = routeOf(parts)
    const known = this.#variances.get(route)
    if (known === undefined) {
      if (variance) this.#variances.set(route, variance)
    } else if ('distrustedUntil' in known) {
      if (this.#time.now() >= known.distrustedUntil) this.#variances.delete(route)
    } else if (known.text !== variance?.text) {
      this.#variances.set(route, { distrustedUntil: this.#time.now() + DISTRUST })
    }
  }
}

function routeOf({ namespace, route }: KeyParts): string {
  return `${namespace ?? ''}|${route}`
}

function sizeOf({ names, choices, keys }: Memory, key: string): number {
  let size = key.length + 200
  for (const text of [...names, ...keys]) size += text.length + 16
  for (const { text } of choices) size += text.length + 200
  return size
}

function learn(
  known: Memory | undefined,
  { headers, forms }: Seeker,
  names: readonly string[],
  response: Fields,
): Memory {
  const all = mergeNames(known?.names ?? [], names)
  const made = all.flatMap((name) => choiceOf(name, headers, forms, response) ?? [])
  const isRemade = (other: Choice) => made.some(({ field, text }) => field === other.field && text === other.text)
  const kept = (known?.choices ?? []).filter((choice) => !isRemade(choice))
  return { names: all, choices: [...kept, ...made].slice(-MOST_CHOICES), keys: known?.keys ?? [] }
}

// Parsers may read `a[b]` and `a.b` as parts of `a`: they are left out only where that does not count either.
function counts(name: string, variance: SearchVariance): boolean {
  return !(variance.ignores(name) && variance.ignores(name.split(/[[.]/, 1)[0]!))
}

const NONE: readonly Assumption[] = []
const NO_NAMES: readonly string[] = []
const ANSWERED = { 'accept-encoding': 'content-encoding', 'accept-language': 'content-language' } as const
// A list longer than any browser's says nothing that is worth a thought on each hit.
const LONGEST_CHOICE = 200

// What was chosen for the very same value needs no proof.
function assumptionOf(choice: Choice | undefined, value: string | undefined): readonly Assumption[] {
  if (!choice || choice.text === value) return NONE
  return [{ field: ANSWERED[choice.field], chosen: choice.chosen }]
}

// What was chosen for this request: among content codings, or among languages where their order does not count.
function choiceOf(name: string, headers: Fields, forms: VaryForms, response: Fields): Choice | undefined {
  const [[, text] = []] = varyValues([name], headers, forms)
  if (text === undefined || text.length > LONGEST_CHOICE || !isNegotiated(name, forms)) return undefined
  const chosen = combined(response, name === 'accept-encoding' ? 'content-encoding' : 'content-language')
  if (chosen === undefined && name === 'accept-language') return undefined
  return { field: name, text, accepted: combined(headers, name), chosen: chosen?.trim().toLowerCase() ?? 'identity' }
}

function isNegotiated(name: string, forms: VaryForms): name is Choice['field'] {
  const form = varyForm(name, forms)
  return (name === 'accept-encoding' && form === 'codings') || (name === 'accept-language' && form === 'languages')
}

// The choice that is known to hold for this request as well: what was made for the same value, or what it would have led to.
function standIn(
  name: string,
  text: string | undefined,
  headers: Fields,
  forms: VaryForms,
  choices: readonly Choice[],
): Choice | undefined {
  if (choices.length === 0 || !isNegotiated(name, forms)) return undefined
  const value = combined(headers, name)
  if (value === undefined || value.length > LONGEST_CHOICE) return undefined
  const known = choices.filter(({ field }) => field === name)
  return known.find((choice) => choice.text === text) ?? known.find((choice) => holdsFor(choice, value))
}

function holdsFor({ field, accepted, chosen }: Choice, value: string): boolean {
  // A stored language that is the first choice of whoever asks (RFC 9111, 4.1).
  if (field === 'accept-language') return firstLanguages(value).includes(chosen)
  return alsoChosenFrom(parseAcceptEncoding(value), parseAcceptEncoding(accepted), chosen)
}
