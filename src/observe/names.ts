/** What stands for all names beyond so many. */
export const OTHER = 'other'

// As names of routes may be paths, and a label is sent with each scrape.
const LONGEST = 1000

/** The first so many different names; whatever comes after them, or is very long, is counted together. */
export class Names {
  readonly #most: number
  readonly #onNew: (name: string) => void
  readonly #known = new Set<string>()

  /** @param onNew told of each of them when it comes first */
  constructor(most: number, onNew: (name: string) => void = () => {}) {
    this.#most = most
    this.#onNew = onNew
  }

  /** The name, or what stands for it. */
  of(name: string): string {
    if (this.#known.has(name)) return name
    if (this.#known.size >= this.#most || name.length > LONGEST) return OTHER
    this.#known.add(name)
    this.#onNew(name)
    return name
  }
}

const CODE = /^[A-Z][A-Z0-9_]{1,59}$/

/** What kind of error it is: its code, else its class. */
export function errorType(error: unknown): string {
  const { code, name } = Object(error) as { code?: unknown; name?: unknown }
  if (typeof code === 'string' && CODE.test(code)) return code
  return typeof name === 'string' && /^\w{1,60}$/.test(name) ? name : 'Error'
}
