import type { Fields } from '../../../src/http/fields.ts'

/** One directive of a Cache-Control field: how it is written, and what that means by the grammar. */
export interface Directive {
  /** In lower case. */
  readonly name: string
  readonly written: string
  /** All that follows the name, the equals sign included. */
  readonly argument: string
  /** What the argument means where a number of seconds is asked for; undefined where it is none. */
  readonly seconds: number | undefined
}

export interface Control {
  readonly members: readonly Directive[]
  readonly separator: string
  /** Written on two lines. */
  readonly isSplit: boolean
}

/** A date: how it is written, and what that means by the grammar; undefined where it means nothing. */
export interface Stamp {
  readonly text: string
  readonly form: string
  readonly time: number | undefined
}

export interface Asked {
  readonly url: string
  readonly method: string
  readonly control: Control | undefined
  readonly pragma: { readonly text: string; readonly isNoCache: boolean } | undefined
  readonly authorization: string | undefined
  /** What Vary may name. `plain` is equal for values of equal meaning. */
  readonly fields: Readonly<Record<string, { readonly text: string; readonly plain: string } | undefined>>
}

export interface Later extends Asked {
  /** Epoch milliseconds. */
  readonly at: number
}

export interface Answered {
  readonly status: number
  readonly control: Control | undefined
  /** One for each line. */
  readonly expires: readonly Stamp[]
  readonly date: Stamp | undefined
  readonly modified: Stamp | undefined
  readonly age: { readonly lines: readonly string[]; readonly seconds: number | undefined } | undefined
  readonly pragma: string | undefined
  readonly vary: readonly string[]
  readonly etag: string | undefined
  readonly cookies: readonly string[]
}

/** A response that an origin gave to a request, and what is asked afterwards. Times in milliseconds. */
export interface Case {
  readonly storedAt: number
  /** How long a response with a validator is of use past its lifetime: an option, and no rule of HTTP. */
  readonly keepStale: number
  readonly heuristic: boolean
  readonly request: Asked
  readonly response: Answered
  readonly later: readonly Later[]
}

export const NO_MEMBERS: Control = { members: [], separator: ', ', isSplit: false }

export function find(control: Control | undefined, name: string): Directive | undefined {
  return control?.members.find((member) => member.name === name)
}

export function has(control: Control | undefined, ...names: readonly string[]): boolean {
  return control?.members.some(({ name }) => names.includes(name)) ?? false
}

/** The seconds of a directive; one that is there but means nothing is 0, none is undefined. */
export function secondsOf(control: Control | undefined, name: string): number | undefined {
  const member = find(control, name)
  return member && (member.seconds ?? 0)
}

/** The field's lines. */
export function linesOf({ members, separator, isSplit }: Control): string[] {
  const texts = members.map(({ written, argument }) => written + argument)
  const middle = isSplit ? Math.ceil(texts.length / 2) : texts.length
  return [texts.slice(0, middle), texts.slice(middle)]
    .filter((part, index) => index === 0 || part.length > 0)
    .map((part) => part.join(separator))
}

/** The request as node:http hands it over: several lines of a field joined. */
export function requestFields(asked: Asked): Record<string, string> {
  const { control, pragma, authorization, fields } = asked
  const given: [string, string | undefined][] = [
    ['cache-control', control && linesOf(control).join(', ')],
    ['pragma', pragma?.text],
    ['authorization', authorization],
    ...Object.entries(fields).map(([name, value]): [string, string | undefined] => [name, value?.text]),
  ]
  return Object.fromEntries(given.filter((entry): entry is [string, string] => entry[1] !== undefined))
}

/** The response as a handler sets it: a field of several lines is a list. */
export function responseLines(response: Answered): Fields {
  const { control, expires, date, modified, age, pragma, vary, etag, cookies } = response
  const given: [string, readonly string[]][] = [
    ['cache-control', control ? linesOf(control) : []],
    ['expires', expires.map(({ text }) => text)],
    ['date', date ? [date.text] : []],
    ['last-modified', modified ? [modified.text] : []],
    ['age', age?.lines ?? []],
    ['pragma', pragma === undefined ? [] : [pragma]],
    ['vary', vary],
    ['etag', etag === undefined ? [] : [etag]],
    ['set-cookie', cookies],
  ]
  const present = given.filter(([, lines]) => lines.length > 0)
  return Object.fromEntries(present.map(([name, lines]) => [name, lines.length === 1 ? lines[0] : lines]))
}

/** The case as one reads it in a log. */
export function show({ storedAt, keepStale, heuristic, request, response, later }: Case): string {
  const asked = (one: Asked) => `${one.method} ${one.url} ${JSON.stringify(requestFields(one))}`
  return [
    `heuristic ${heuristic ? 'on' : 'off'}, keepStale ${keepStale / 1000} s, stored at ${new Date(storedAt).toISOString()}`,
    asked(request),
    `${response.status} ${JSON.stringify(responseLines(response), null, 1)}`,
    ...later.map((one) => `after ${(one.at - storedAt) / 1000} s: ${asked(one)}`),
  ].join('\n')
}
