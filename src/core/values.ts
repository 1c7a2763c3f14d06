import { inspect } from 'node:util'
import bytes from 'bytes'
import ms from 'ms'
import { TagcacheError } from '../errors.ts'

/** A time: seconds, or text with a unit such as `'5m'`, `'1h'`, `'250ms'`. */
export type Duration = number | string

/** Throws `ERR_TAGCACHE_OPTION_UNKNOWN`, naming the nearest option, for a name that is not among `known`. */
export function checkOptions(where: string, options: object, known: readonly string[]): void {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new TagcacheError('ERR_TAGCACHE_OPTION_VALUE', `${where} takes an object of options, not ${show(options)}.`)
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue
    const nearest = [...known].sort((a, b) => distance(name, a) - distance(name, b))[0]
    throw new TagcacheError(
      'ERR_TAGCACHE_OPTION_UNKNOWN',
      `${where} has no option "${name}". Did you mean "${nearest}"? It knows: ${known.join(', ')}.`,
    )
  }
}

const LONGEST = 100 * 365 * 24 * 60 * 60 * 1000

/** Milliseconds of a duration. Throws `ERR_TAGCACHE_OPTION_VALUE`, or the given code. */
export function durationOf(
  option: string,
  value: Duration,
  code: 'ERR_TAGCACHE_OPTION_VALUE' | 'ERR_TAGCACHE_TTL' = 'ERR_TAGCACHE_OPTION_VALUE',
): number {
  const milliseconds = typeof value === 'number' ? value * 1000 : parseDuration(value)
  if (milliseconds === undefined || Number.isNaN(milliseconds) || milliseconds < 0) {
    throw badValue(
      option,
      value,
      'zero or more seconds as a number, or text with a unit such as "30s", "5m", "1h", "7 days"',
      code,
    )
  }
  return Math.min(milliseconds, LONGEST)
}

// A bare number in quotes could mean seconds or milliseconds, so it needs a unit.
function parseDuration(text: unknown): number | undefined {
  if (typeof text !== 'string' || !/^\d*\.?\d+ *[a-z]+$/i.test(text)) return undefined
  return ms(text as ms.StringValue)
}

/** Bytes of a size. Throws `ERR_TAGCACHE_OPTION_VALUE`. */
export function sizeOf(option: string, value: number | string): number {
  const size = typeof value === 'string' && /^\d+(\.\d+)? *(b|kb|mb|gb)$/i.test(value) ? bytes.parse(value) : value
  if (typeof size !== 'number' || !Number.isFinite(size) || size < 1) {
    throw badValue(option, value, 'a positive number of bytes, or text such as "512kb", "64mb"')
  }
  return Math.floor(size)
}

/** Whether a value has all these methods. */
export function hasMethods(value: unknown, names: readonly string[]): boolean {
  return (
    value !== null &&
    value !== undefined &&
    names.every((name) => typeof (value as Record<string, unknown>)[name] === 'function')
  )
}

/** A positive whole number. Throws `ERR_TAGCACHE_OPTION_VALUE`. */
export function countOf(option: string, value: number): number {
  if (!Number.isSafeInteger(value) || value < 1) throw badValue(option, value, 'a positive whole number')
  return value
}

/** The error for an option that cannot have this value. */
export function badValue(
  option: string,
  value: unknown,
  allowed: string,
  code: 'ERR_TAGCACHE_OPTION_VALUE' | 'ERR_TAGCACHE_TTL' = 'ERR_TAGCACHE_OPTION_VALUE',
): TagcacheError {
  return new TagcacheError(code, `Option "${option}" cannot be ${show(value)}; allowed: ${allowed}.`)
}

function show(value: unknown): string {
  return inspect(value, { depth: 1, breakLength: Number.POSITIVE_INFINITY }).slice(0, 80)
}

// Levenshtein's distance, for naming the option that was meant.
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const replace = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(replace, row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[b.length]!
}
