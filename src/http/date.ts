const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const TIME = '(\\d\\d):(\\d\\d):(\\d\\d)'
const IMF_FIXDATE = new RegExp(`^(?:mon|tue|wed|thu|fri|sat|sun), (\\d\\d) ([a-z]{3}) (\\d{4}) ${TIME} gmt$`, 'i')
const RFC_850 = new RegExp(
  `^(?:mon|tues|wednes|thurs|fri|satur|sun)day, (\\d\\d)-([a-z]{3})-(\\d\\d) ${TIME} gmt$`,
  'i',
)
const ASCTIME = new RegExp(`^(?:mon|tue|wed|thu|fri|sat|sun) ([a-z]{3}) ([ \\d]\\d) ${TIME} (\\d{4})$`, 'i')

/**
 * Reads a date in one of the three forms of RFC 9110, 5.6.7, letters in any case.
 * @param now epoch milliseconds, by which a two-digit year is understood
 * @returns epoch milliseconds, or undefined for anything else
 */
export function parseDate(value: string | undefined, now: number): number | undefined {
  if (value === undefined) return undefined
  const imf = IMF_FIXDATE.exec(value)
  if (imf) return utc(Number(imf[3]), imf[2]!, imf[1]!, imf.slice(4, 7))
  const rfc850 = RFC_850.exec(value)
  if (rfc850) return recent(Number(rfc850[3]), now, (year) => utc(year, rfc850[2]!, rfc850[1]!, rfc850.slice(4, 7)))
  const asctime = ASCTIME.exec(value)
  if (asctime) return utc(Number(asctime[6]), asctime[1]!, asctime[2]!, asctime.slice(3, 6))
  return undefined
}

// A date that seems more than 50 years ahead is the last one past with those digits (RFC 9110, 5.6.7).
function recent(digits: number, now: number, timeIn: (year: number) => number | undefined): number | undefined {
  const current = new Date(now).getUTCFullYear()
  const year = current - (current % 100) + digits
  const time = timeIn(year)
  const limit = new Date(now).setUTCFullYear(current + 50)
  return time !== undefined && time > limit ? timeIn(year - 100) : time
}

function utc(year: number, monthName: string, dayText: string, time: readonly string[]): number | undefined {
  const month = MONTHS.indexOf(monthName.toLowerCase())
  const [hour, minute, second] = time.map(Number) as [number, number, number]
  const day = Number(dayText)
  // Date.UTC would read a year below 100 as one of the last century.
  const midnight = new Date(0).setUTCFullYear(year, month, day)
  const exists = month !== -1 && new Date(midnight).getUTCMonth() === month && day > 0
  if (!exists || hour > 23 || minute > 59 || second > 60) return undefined
  return midnight + ((hour * 60 + minute) * 60 + second) * 1000
}

let lastSecond = Number.NaN
let lastText = ''

/** A time as an IMF-fixdate (RFC 9110, 5.6.7). */
export function formatDate(time: number): string {
  const second = Math.floor(time / 1000)
  if (second !== lastSecond) {
    lastText = new Date(second * 1000).toUTCString()
    lastSecond = second
  }
  return lastText
}
