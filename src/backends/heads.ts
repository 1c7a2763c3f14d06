import type { Entry, HeaderField, StoredResponse } from '../core/entry.ts'

type Value = HeaderField['value']

/**
 * The values that an entry has for itself, one for each of the first places that its head leaves open: undefined where there is
 * none, and one text with lines where they are texts, which is the least that they take.
 */
export type OwnValues = undefined | string | readonly Value[]

/** What responses have in common, kept once for all of them: all but the values of some fields, and the body. */
export interface Head
  extends Pick<Entry, 'staleWhileRevalidate' | 'staleIfError' | 'mustRevalidate' | 'isShared'>,
    Pick<StoredResponse, 'status' | 'statusMessage' | 'headers' | 'removed' | 'trailers'> {
  readonly name: string
  /** That of the first entry: from there others count theirs. */
  readonly time: number
  /** What it takes, in bytes. */
  readonly bytes: number
  /** The places in `headers` where entries have had other values: only more of them, so that an entry has the first ones. */
  readonly open: number[]
  users: number
}

/** The heads of all entries. One that nobody uses any more is forgotten. */
export class Heads {
  readonly #heads = new Map<string, Head>()
  #bytes = 0

  /** What all heads take, in bytes. */
  get bytes(): number {
    return this.#bytes
  }

  /** The head of an entry, which counts as used once more. */
  take(entry: Entry): Head {
    const name = nameOf(entry)
    const head = this.#heads.get(name) ?? this.#add(headOf(entry, name))
    head.users += 1
    return head
  }

  /** Ends one use of a head. */
  release(head: Head): void {
    head.users -= 1
    if (head.users > 0) return
    this.#heads.delete(head.name)
    this.#bytes -= head.bytes
  }

  #add(head: Head): Head {
    this.#heads.set(head.name, head)
    this.#bytes += head.bytes
    return head
  }
}

/** What of an entry's fields its head does not say. Places where it differs for the first time are open from now on. */
export function ownValues(head: Head, headers: readonly HeaderField[]): OwnValues {
  const { open } = head
  for (let place = 0; place < headers.length; place += 1) {
    if (headers[place]!.value !== head.headers[place]!.value && !open.includes(place)) open.push(place)
  }
  if (open.length === 0) return undefined
  const values = open.map((place) => headers[place]!.value)
  if (values.every(isLine)) return values.join('\n')
  return values.map((value) => (typeof value === 'string' ? value : value.slice()))
}

// What can be sent is one, but a backend keeps anything.
function isLine(value: Value): boolean {
  return typeof value === 'string' && !value.includes('\n')
}

/** The fields of an entry, as they were. */
export function fieldsWith({ headers, open }: Head, own: OwnValues): readonly HeaderField[] {
  if (own === undefined) return headers
  const values = typeof own === 'string' ? own.split('\n') : own
  const fields = headers.slice()
  for (let at = 0; at < values.length; at += 1) fill(fields, open[at]!, values[at]!)
  return fields
}

// Node's own appendHeader() adds to the list that it was given.
function fill(fields: HeaderField[], place: number, own: Value): void {
  const { name, append, isDefault } = fields[place]!
  const value = typeof own === 'string' ? own : own.slice()
  if (append === undefined && isDefault === undefined) fields[place] = { name, value }
  else fields[place] = { ...fields[place]!, value }
}

// No two heads have one name: of each text in it the length is told, or JSON tells where it ends.
function nameOf({ response, ...terms }: Entry): string {
  const { staleWhileRevalidate, staleIfError, mustRevalidate, isShared } = terms
  const { status, statusMessage, headers, removed, trailers } = response
  let name = `${status} ${staleWhileRevalidate} ${staleIfError} ${mustRevalidate} ${isShared}`
  if (statusMessage !== '' || removed.length > 0 || trailers.length > 0)
    name += JSON.stringify([statusMessage, removed, trailers])
  for (const field of headers) name += ` ${field.name.length}${flagsOf(field)}${field.name}`
  return name
}

function flagsOf({ append, isDefault }: HeaderField): string {
  return append === undefined && isDefault === undefined ? ':' : `${append}${isDefault}:`
}

function headOf(entry: Entry, name: string): Head {
  const { staleWhileRevalidate, staleIfError, mustRevalidate, isShared, response } = entry
  const { status, statusMessage, removed } = response
  const headers = copyOf(response.headers)
  const trailers = copyOf(response.trailers)
  const bytes = bytesOfHead(name, { headers, removed, trailers })
  const open = headers.flatMap(({ value }, place) => (typeof value === 'string' ? [] : [place]))
  return {
    staleWhileRevalidate,
    staleIfError,
    mustRevalidate,
    isShared,
    status,
    statusMessage,
    headers,
    removed: Object.freeze([...removed]),
    trailers,
    name,
    time: entry.time,
    bytes,
    open,
    users: 0,
  }
}

// What is handed out as it is belongs to many entries: nobody can change it for the others.
function copyOf(fields: readonly HeaderField[]): readonly HeaderField[] {
  return Object.freeze(fields.map((field) => Object.freeze({ ...field, value: frozen(field.value) })))
}

function frozen(value: Value): Value {
  return typeof value === 'string' ? value : Object.freeze([...value])
}

const HEAD_OVERHEAD = 600
const FIELD_OVERHEAD = 160

function bytesOfHead(name: string, { headers, removed, trailers }: Pick<Head, 'headers' | 'removed' | 'trailers'>) {
  const texts = removed.reduce((sum, text) => sum + 16 + 2 * text.length, HEAD_OVERHEAD + 2 * name.length)
  return [...headers, ...trailers].reduce(
    (sum, field) => sum + FIELD_OVERHEAD + 2 * (field.name.length + lengthOf(field.value)),
    texts,
  )
}

/** What the values take that an entry has for itself, in bytes. */
export function bytesOfOwn(own: OwnValues): number {
  if (own === undefined) return 0
  return typeof own === 'string' ? TEXT_OVERHEAD + own.length : own.reduce((sum, value) => sum + lengthOf(value), 64)
}

const TEXT_OVERHEAD = 24

function lengthOf(value: Value): number {
  return typeof value === 'string'
    ? TEXT_OVERHEAD + value.length
    : value.reduce((sum, line) => sum + 32 + line.length, 64)
}
