import type { Given, Option } from './command.ts'
import { misused } from './exit.ts'
import type { Asked } from './targets/target.ts'

/** The option for fields of a request. */
export const HEADER_OPTION: Option = {
  type: 'string',
  short: 'H',
  multiple: true,
  value: "'NAME: VALUE'",
  about: 'a field of the request; may be repeated',
}

/** The request to a URL or a path, with those fields. Throws a `Failure`. */
export function requestTo(url: string, fields: readonly string[], method = 'GET'): Asked {
  if (!isUrl(url))
    throw misused(`${url} is no path and no http URL.`, 'As: /products/1, or https://example.com/products/1')
  return { url, method: method.toUpperCase(), headers: Object.fromEntries(fields.map(fieldOf)) }
}

/** Whether a text is a path or an http URL. */
export function isUrl(text: string): boolean {
  return text.startsWith('/') || (/^https?:\/\//i.test(text) && URL.canParse(text))
}

/** The fields of the first request, and those of the second: what stands before `--and` counts for both. */
export function fieldsOf({ order }: Given): readonly [first: string[], second: string[]] {
  const and = order.findIndex(([name]) => name === 'and')
  const fields = (some: Given['order']) => some.flatMap(([name, value]) => (name === 'header' ? [value] : []))
  return [fields(and === -1 ? order : order.slice(0, and)), fields(order)]
}

function fieldOf(text: string): [name: string, value: string] {
  const [, name, value] = /^([\w!#$%&'*+\-.^`|~]+):[ \t]*(.*?)[ \t]*$/.exec(text) ?? []
  if (name === undefined) throw misused(`${text} is no field.`, "As: -H 'accept-language: de'")
  return [name.toLowerCase(), value!]
}
