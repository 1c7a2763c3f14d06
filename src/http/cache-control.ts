/** The directives of a Cache-Control field: names in lower case; a directive without a value is `true`. */
export type Directives = ReadonlyMap<string, string | true>

// One directive (RFC 9111, 5.2): a token, and perhaps a value that is a token or a quoted string.
const DIRECTIVE = /[\t ]*(?:([^\s=,;"]+)(?:=("(?:[^"\\]|\\.)*"[^,]*|[^,]*))?)?([^,]*)(?:,|$)/gy

/** Reads Cache-Control. Of a directive given twice the first counts (RFC 9111, 4.2.1); unknown ones are kept and harmless. */
export function parseCacheControl(value: string | undefined): Directives {
  const directives = new Map<string, string | true>()
  if (value === undefined) return directives
  for (const [member, name, argument, rest] of value.matchAll(DIRECTIVE)) {
    if (member === '') break
    // What follows a directive without belonging to it is an argument that cannot be read, not none.
    const said = argument ?? (rest?.trim() ? rest : undefined)
    if (name !== undefined && !directives.has(name.toLowerCase())) directives.set(name.toLowerCase(), unquote(said))
  }
  return directives
}

function unquote(argument: string | undefined): string | true {
  if (argument === undefined) return true
  const text = argument.trimEnd()
  // What is not closed, or goes on behind its end, is no quoted string: it stays as it is, and says nothing.
  return /^"(?:[^"\\]|\\.)*"$/.test(text) ? text.slice(1, -1).replace(/\\(.)/g, '$1') : text
}

/** Seconds as RFC 9111, 1.2.2 writes them: digits alone, huge values meaning "very long". Undefined for anything else. */
export function parseSeconds(value: string | undefined): number | undefined {
  if (value === undefined || !/^\d+$/.test(value)) return undefined
  return Math.min(Number(value), 2 ** 31)
}

/** The seconds of a directive; one that is there but cannot be read is 0, that is stale (RFC 9111, 4.2.1). */
export function directiveSeconds(directives: Directives, name: string): number | undefined {
  const value = directives.get(name)
  if (value === undefined) return undefined
  return parseSeconds(value === true ? undefined : value) ?? 0
}
