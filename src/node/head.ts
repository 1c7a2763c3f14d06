import { type IncomingMessage, type OutgoingHttpHeader, ServerResponse } from 'node:http'
import { fieldsOf, type HeaderField } from '../core/entry.ts'
import type { Fields } from '../http/fields.ts'

type HeadersArgument = Record<string, OutgoingHttpHeader> | readonly unknown[] | undefined

/** The head of a response, about to be sent. */
export interface Head {
  readonly status: number
  readonly statusMessage: string | undefined
  /** All fields by name as written, in order. */
  readonly headers: readonly HeaderField[]
  /** The same by lower-case name. */
  readonly fields: Fields
}

/** What is done to a head before it is sent. */
export interface HeadChange {
  readonly status?: number
  /** Of another status; empty for the usual one. */
  readonly statusMessage?: string
  readonly set: readonly (readonly [name: string, value: string | readonly string[]])[]
  /** Lower-case names. */
  readonly remove: readonly string[]
}

/** Whoever wants to see the head of a response. */
export interface HeadListener {
  /** Says what is done to the head before it is sent. */
  readonly change: (head: Head) => HeadChange | undefined
  /** Told when node:http has refused the head, so that another one will be sent. */
  readonly refused?: () => void
}

/**
 * Shows the head of a response to `change` just before it is sent, whichever way that comes about: `writeHead`, the
 * first `write` or `end`, `flushHeaders`. What `change` returns is done to the head; a head that node:http refuses is shown again.
 */
export function interceptHead(res: ServerResponse, { change, refused }: HeadListener): void {
  const original = res.writeHead
  res.writeHead = function writeHead(this: ServerResponse, ...args: unknown[]): ServerResponse {
    if (res.headersSent) return Reflect.apply(original, this, args)
    const { status, reason, headers } = readArguments(args)
    const changed = change(headOf(res, status, reason, headers))
    const before = changed?.set.map(([name]) => [name, res.getHeader(name)] as const) ?? []
    try {
      return Reflect.apply(original, this, changed ? changedArguments(res, args, changed) : args)
    } catch (error) {
      for (const [name, value] of before) restore(res, name, value)
      refused?.()
      throw error
    }
  } as typeof res.writeHead
}

function changedArguments(res: ServerResponse, args: unknown[], changed: HeadChange): unknown[] {
  const { reason, headers } = readArguments(args)
  const rest = changeHeaders(res, headers, changed)
  if (changed.status === undefined)
    return [args[0], ...(reason === undefined ? [] : [reason]), ...(rest === undefined ? [] : [rest])]
  if (statusMessageOf(res)) res.statusMessage = ''
  const message = changed.statusMessage && res.req.httpVersionMajor < 2 ? [changed.statusMessage] : []
  return [changed.status, ...message, ...(rest === undefined ? [] : [rest])]
}

function restore(res: ServerResponse, name: string, value: OutgoingHttpHeader | undefined): void {
  if (value === undefined) res.removeHeader(name)
  else res.setHeader(name, value)
}

function readArguments([status, second, third]: unknown[]): {
  status: number
  reason: string | undefined
  headers: HeadersArgument
} {
  if (typeof second === 'string') return { status: Number(status), reason: second, headers: third as HeadersArgument }
  return { status: Number(status), reason: undefined, headers: (third ?? second) as HeadersArgument }
}

// A raw list given to writeHead after setHeader: newer versions of Node keep its repeated names, older ones the last.
const keepsRepeated = (() => {
  const res = new ServerResponse({ method: 'GET', httpVersionMajor: 1, httpVersionMinor: 1 } as IncomingMessage)
  res.setHeader('a', '1')
  res.writeHead(200, ['b', '1', 'b', '2'])
  return Array.isArray(res.getHeader('b'))
})()

function headOf(res: ServerResponse, status: number, reason: string | undefined, argument: HeadersArgument): Head {
  const headers = argument === undefined || argument === null ? linesSet(res) : linesWith(res, argument)
  return { status, statusMessage: reason ?? statusMessageOf(res), headers, fields: fieldsOf(headers) }
}

/** The fields set so far, names as written. */
export function linesSet(res: ServerResponse): { name: string; value: string | string[] }[] {
  return namesSet(res).map((name) => ({ name, value: textOf(res.getHeader(name)) }))
}

function linesWith(res: ServerResponse, argument: NonNullable<HeadersArgument>): HeaderField[] {
  const lines = new Map<string, { name: string; value: string | string[] }>()
  for (const line of linesSet(res)) lines.set(line.name.toLowerCase(), line)
  const isLastOnly = lines.size > 0 && !keepsRepeated
  const given = new Set<string>()
  for (const [name, value] of pairsOf(argument)) {
    const lower = name.toLowerCase()
    const earlier = given.has(lower) && !isLastOnly ? lines.get(lower) : undefined
    given.add(lower)
    lines.set(lower, { name, value: earlier ? [earlier.value, textOf(value)].flat() : textOf(value) })
  }
  return [...lines.values()]
}

// HTTP/2 has none, and says so to whoever asks.
function statusMessageOf(res: ServerResponse): string | undefined {
  return res.req.httpVersionMajor < 2 ? res.statusMessage || undefined : undefined
}

/** The names of the fields set so far, as written. */
export function namesSet(res: ServerResponse & { getRawHeaderNames?(): string[] }): string[] {
  return res.getRawHeaderNames?.() ?? res.getHeaderNames()
}

/** A field's value as text, or a list of texts. */
export function textOf(value: unknown): string | string[] {
  return Array.isArray(value) ? value.map(String) : String(value)
}

function pairsOf(argument: HeadersArgument): [name: string, value: unknown][] {
  if (argument === undefined || argument === null) return []
  if (!Array.isArray(argument)) return Object.entries(argument)
  if (Array.isArray(argument[0])) return argument as [string, unknown][]
  const pairs: [string, unknown][] = []
  for (let at = 0; at + 1 < argument.length; at += 2) pairs.push([String(argument[at]), argument[at + 1]])
  return pairs
}

// Where nothing was set with setHeader, a list or object given to writeHead is sent as it is: so it has to be changed as it is.
function changeHeaders(res: ServerResponse, argument: HeadersArgument, change: HeadChange): HeadersArgument {
  const dropped = new Set([...change.remove, ...change.set.map(([name]) => name.toLowerCase())])
  for (const name of change.remove) res.removeHeader(name)
  const isRaw = argument !== undefined && argument !== null && namesSet(res).length === 0
  const kept = argument === undefined || argument === null ? undefined : without(argument, dropped)
  if (isRaw && kept !== undefined) return withPairs(kept, change.set)
  for (const [name, value] of change.set) res.setHeader(name, value as string | string[])
  return kept
}

function without(argument: NonNullable<HeadersArgument>, dropped: ReadonlySet<string>): NonNullable<HeadersArgument> {
  const isKept = ([name]: [string, unknown]) => !dropped.has(name.toLowerCase())
  const pairs = pairsOf(argument)
  if (pairs.every(isKept)) return argument
  const kept = pairs.filter(isKept)
  if (!Array.isArray(argument)) return Object.fromEntries(kept) as Record<string, OutgoingHttpHeader>
  return Array.isArray(argument[0]) ? kept : kept.flat()
}

function withPairs(argument: NonNullable<HeadersArgument>, pairs: HeadChange['set']): HeadersArgument {
  if (!Array.isArray(argument)) return { ...argument, ...Object.fromEntries(pairs) } as HeadersArgument
  return [...argument, ...(Array.isArray(argument[0]) ? pairs : pairs.flat())]
}
