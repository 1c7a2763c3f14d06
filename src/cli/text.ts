import bytes from 'bytes'

// Control characters, those that turn the direction of text or are not seen, ends of lines and paragraphs, lone surrogates.
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

/** A text from anywhere as one that does nothing to a terminal: what would move the cursor is spelt out. */
export function harmless(text: string): string {
  return text.replace(UNSEEN, (char) => {
    const code = char.codePointAt(0)!
    return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`
  })
}

/** A value as JSON that does nothing to a terminal either: JSON itself leaves some control characters as they are. */
export function harmlessJson(value: unknown, indent = 0): string {
  return JSON.stringify(value, null, indent).replace(UNSEEN, (char) =>
    char === '\n' ? char : [...char.split('')].map((unit) => `\\u${hex(unit.charCodeAt(0))}`).join(''),
  )
}

function hex(code: number): string {
  return code.toString(16).padStart(4, '0')
}

const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u

/** How many columns of a terminal a text takes. */
export function widthOf(text: string): number {
  let width = 0
  for (const char of text) width += WIDE.test(char) ? 2 : /\p{M}/u.test(char) ? 0 : 1
  return width
}

/** The beginning of a text that takes so many columns at the most. */
export function cutTo(text: string, width: number): string {
  if (widthOf(text) <= width) return text
  let cut = ''
  for (const char of text) {
    if (widthOf(cut + char) > width - 1) break
    cut += char
  }
  return width < 1 ? '' : `${cut}…`
}

/** A whole number with its thousands apart. */
export function count(number: number): string {
  return Math.round(number).toLocaleString('en-US')
}

/** A share from 0 to 1; nothing of nothing. */
export function percent(part: number, whole: number): string {
  return whole > 0 ? `${((100 * part) / whole).toFixed(1)} %` : '–'
}

/** A rate, with a digit behind the point where it is small. */
export function rate(number: number | undefined): string {
  if (number === undefined) return '–'
  return number < 10 ? number.toFixed(1) : count(number)
}

/** Bytes, with a unit. */
export function size(number: number): string {
  return bytes(number, { unitSeparator: ' ', decimalPlaces: 1 }) ?? '–'
}

const UNITS: readonly (readonly [seconds: number, name: string])[] = [
  [86_400, 'd'],
  [3600, 'h'],
  [60, 'min'],
]

/** A time in seconds, roughly. */
export function duration(seconds: number): string {
  if (seconds < 0) return `-${duration(-seconds)}`
  for (const [unit, name] of UNITS) if (seconds >= 2 * unit) return `${Math.floor(seconds / unit)} ${name}`
  if (seconds === 0) return '0 s'
  return seconds < 1
    ? `${Math.round(seconds * 1000)} ms`
    : `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`
}

/** A moment, given in epoch milliseconds, as people write it here. */
export function moment(time: number): string {
  const date = new Date(time)
  const two = (number: number) => String(number).padStart(2, '0')
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  return `${day} ${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
}
