/** Header fields by lower-case name, as node:http gives and takes them; several lines of one name are a list. */
export type Fields = Readonly<Record<string, string | number | readonly string[] | undefined>>

/** All lines of a field as one value, joined as RFC 9110, 5.2 allows. */
export function combined(fields: Fields, name: string): string | undefined {
  const value = own(fields, name)
  if (value === undefined) return undefined
  return Array.isArray(value) ? value.join(', ') : String(value)
}

/** The first line of a field. */
export function firstLine(fields: Fields, name: string): string | undefined {
  const value = own(fields, name)
  return Array.isArray(value) ? value[0] : combined(fields, name)
}

// Anybody may name a field `constructor`.
function own(fields: Fields, name: string): Fields[string] {
  return Object.hasOwn(fields, name) ? fields[name] : undefined
}

/** The members of a comma-separated list field in which no member is quoted (RFC 9110, 5.6.1). */
export function listMembers(value: string | undefined): string[] {
  if (value === undefined) return []
  return value
    .split(',')
    .map((member) => member.trim())
    .filter((member) => member !== '')
}
