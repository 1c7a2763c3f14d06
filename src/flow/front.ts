import { type Bounds, Generations } from '../core/generations.ts'
import { encodeKey, type KeyParts } from '../core/key.ts'
import type { Time } from '../core/time.ts'
import type { Place } from '../core/variants.ts'
import { combined, type Fields } from '../http/fields.ts'
import type { ResolvedRoute } from '../options/route.ts'
import { routeName, type Sighting, type Visit } from '../visit.ts'

/** Where the requests go that look the same from in front of an application, as was seen inside. */
export interface Known {
  /** The key without what responses vary on. */
  readonly parts: KeyParts
  /** The same as a text. */
  readonly form: string
  readonly route: ResolvedRoute
  readonly name: string
  /** Whether nothing of such a request but its URL and host is in the key, as far as its route says. */
  readonly isBare: boolean
  /** Where it was looked for last. */
  place: Place | undefined
}

/** What was seen inside of a request. */
export interface Seen {
  readonly visit: Visit
  readonly parts: KeyParts
  /** The options that count in the end. */
  readonly route: ResolvedRoute
  /** The request fields that its response varies on. */
  readonly names: readonly string[]
}

interface Sighted {
  [sighting: symbol]: Sighting | undefined
}

interface Distrusted {
  readonly distrustedUntil: number
}

const BOUNDS: Bounds<Known | Distrusted> = { most: 20_000, mostSize: 8_000_000, sizeOf }
// What looks the same from in front and is not the same inside is left to the application for so long.
const DISTRUST = 10 * 60 * 1000
const NOTHING: KeyParts['vary'] = []

/** Remembers where requests go, by how they look before a framework has them. What is forgotten goes to the application. */
export class FrontMemory {
  readonly #memory = new Generations<Known | Distrusted>(BOUNDS)
  // Not a WeakMap: until a full collection, V8 keeps all that one of some age leads to.
  readonly #sighting = Symbol('tagcache: sighting')
  readonly #time: Pick<Time, 'now'>
  #places = 0

  constructor(time: Pick<Time, 'now'>) {
    this.#time = time
  }

  /** A name for one more application that is stood in front of: one URL leads to different places in two of them. */
  addPlace(): string {
    this.#places += 1
    return String(this.#places)
  }

  /** What is known of requests that look like this. */
  find(text: string): Known | undefined {
    const found = this.#memory.get(text)
    return found !== undefined && 'parts' in found ? found : undefined
  }

  /** Notes how a request looks that goes on to the application. */
  sight(req: object, text: string, rawHeaders: readonly string[]): void {
    ;(req as Sighted)[this.#sighting] = { text, rawHeaders }
  }

  /** How the request looked. */
  sightingOf(req: object): Sighting | undefined {
    return (req as Sighted)[this.#sighting]
  }

  /** Takes down where a request went: for those that look the same, as long as they all go there. */
  learn(sighting: Sighting, seen: Seen, mayAdd: boolean): void {
    const { parts, route, visit } = seen
    const found = this.#memory.get(sighting.text)
    if (found && 'distrustedUntil' in found && this.#time.now() < found.distrustedUntil) return
    const known = found && 'parts' in found ? found : undefined
    if (!known && !route.front) return
    const form = encodeKey({ ...parts, vary: NOTHING })
    const isOther = known !== undefined && (known.form !== form || (route.front && known.route.scope !== route.scope))
    if (isOther || !isAsSent(sighting, seen)) return this.#distrust(sighting)
    if (!route.front || !mayAdd || known?.route === route) return
    this.#memory.set(sighting.text, {
      parts: { ...parts, vary: NOTHING },
      form,
      route,
      name: routeName(visit),
      isBare: parts.vary.length === 0,
      place: undefined,
    })
  }

  #distrust({ text }: Sighting): void {
    this.#memory.set(text, { distrustedUntil: this.#time.now() + DISTRUST })
  }
}

// A layer that writes another path, or other fields, over what the client has sent cannot be foreseen from in front.
function isAsSent({ rawHeaders }: Sighting, { parts, names, visit }: Seen): boolean {
  return parts.original === undefined && names.every((name) => isFieldAsSent(rawHeaders, visit.headers, name))
}

function isFieldAsSent(rawHeaders: readonly string[], headers: Fields, name: string): boolean {
  const values = rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1]!.toLowerCase() === name)
  const value = combined(headers, name)
  return values.length < 2 ? values[0] === value : value?.startsWith(values[0]!) === true
}

function sizeOf(known: Known | Distrusted, text: string): number {
  return text.length + ('parts' in known ? known.form.length * 4 + 400 : 100)
}
