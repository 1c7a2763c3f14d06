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
  /** What leaves the other parts out; undefined where all count. */
  readonly variance: SearchVariance | undefined
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

  /** Where to keep a response that varies on `names`, learning from it for the next requests. */
  lodge(seeker: Seeker, names: readonly string[], response: Fields, most: number): Lodging {
    const stated = parseSearchVariance(combined(response, 'no-vary-search'))
    this.#learnVariance(seeker.parts, stated)
    const learned = this.#varianceOf(seeker.parts)
    const variance = learned?.text === stated?.text ? learned : undefined
    const { primary } = this.#place(seeker, variance)
    const known = this.#memories.get(primary)
    if (names.length === 0 && !known) return { ...this.#place(seeker, variance), crowdedOut: [] }
    const memory = learn(known, seeker, names, response)
    this.#memories.set(primary, memory)
    const place = this.#place(seeker, variance)
    const keys = [...memory.keys.filter((key) => key !== place.key), place.key]
    this.#memories.set(primary, { ...memory, keys: keys.slice(-most) })
    return { ...place, crowdedOut: keys.slice(0, -most) }
  }

  #place({ parts, headers, forms }: Seeker, variance: SearchVariance | undefined): Place {
    const query = variance ? chooseFromQuery(parts.query, (name) => !variance.ignores(name)) : parts.query
    const reduced = query.length < parts.query.length ? { ...parts, query } : parts
    const primary = encodeKey(reduced)
    const memory = this.#memories.get(primary)
    const key = memory ? variantKey(reduced, memory, headers, forms) : primary
    return { primary, key, variance: reduced === parts ? undefined : variance }
  }

  #varianceOf(parts: KeyParts): SearchVariance | undefined {
    if (parts.query.length === 0) return undefined
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
  const before = known?.choices ?? []
  const made = all
    .map((name) => choiceOf(name, headers, forms, response))
    .filter((choice) => choice !== undefined && standIn(choice.field, headers, forms, before)?.chosen !== choice.chosen)
    .filter((choice) => choice !== undefined)
  const kept = before.filter((other) => !made.some(({ field, text }) => field === other.field && text === other.text))
  return { names: all, choices: [...kept, ...made].slice(-MOST_CHOICES), keys: known?.keys ?? [] }
}

// What was chosen for this request: among content codings, or among languages where their order does not count.
function choiceOf(name: string, headers: Fields, forms: VaryForms, response: Fields): Choice | undefined {
  const [[, text] = []] = varyValues([name], headers, forms)
  if (text === undefined || !isNegotiated(name, forms)) return undefined
  const chosen = combined(response, name === 'accept-encoding' ? 'content-encoding' : 'content-language')
  if (chosen === undefined && name === 'accept-language') return undefined
  return { field: name, text, accepted: combined(headers, name), chosen: chosen?.trim().toLowerCase() ?? 'identity' }
}

function isNegotiated(name: string, forms: VaryForms): name is Choice['field'] {
  const form = varyForm(name, forms)
  return (name === 'accept-encoding' && form === 'codings') || (name === 'accept-language' && form === 'languages')
}

function variantKey(parts: KeyParts, { names, choices }: Memory, headers: Fields, forms: VaryForms): string {
  const declared = parts.vary.map(([name]) => name)
  const learned = varyValues(
    names.filter((name) => !declared.includes(name)),
    headers,
    forms,
  ).map(([name, value]) => [name, standIn(name, headers, forms, choices)?.text ?? value] as const)
  return encodeKey({ ...parts, vary: [...parts.vary, ...learned].sort(([a], [b]) => (a < b ? -1 : 1)) })
}

// The choice that is known to hold for this request as well: what was made for the same value, or what it would have led to.
function standIn(name: string, headers: Fields, forms: VaryForms, choices: readonly Choice[]): Choice | undefined {
  if (choices.length === 0 || !isNegotiated(name, forms)) return undefined
  const value = combined(headers, name)
  if (value === undefined) return undefined
  const [[, text] = []] = varyValues([name], headers, forms)
  const known = choices.filter(({ field }) => field === name)
  return known.find((choice) => choice.text === text) ?? known.find((choice) => holdsFor(choice, value))
}

function holdsFor({ field, accepted, chosen }: Choice, value: string): boolean {
  // A stored language that is the first choice of whoever asks (RFC 9111, 4.1).
  if (field === 'accept-language') return firstLanguages(value).includes(chosen)
  return alsoChosenFrom(parseAcceptEncoding(value), parseAcceptEncoding(accepted), chosen)
}
