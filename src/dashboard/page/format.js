const counts = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 })
const clock = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  minute: '2-digit',
  second: '2-digit',
  hourCycle: 'h23',
})
const date = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium', hourCycle: 'h23' })

/** @param {number} value */
export function count(value) {
  return counts.format(value)
}

/** @param {number} value */
export function rate(value) {
  return value >= 100 ? count(value) : value.toFixed(value >= 10 ? 1 : 2).replace(/\.?0+$/, '')
}

/** @param {number} share from 0 to 1; nothing of nothing is no share */
export function percent(share) {
  if (!Number.isFinite(share)) return '–'
  const value = share * 100
  return `${value > 0 && value < 10 ? value.toFixed(1) : value > 99 && value < 100 ? (Math.floor(value * 10) / 10).toFixed(1) : Math.round(value)} %`
}

const SIZES = ['B', 'kB', 'MB', 'GB', 'TB']

/** @param {number} value in bytes */
export function bytes(value) {
  let at = 0
  let size = value
  for (; size >= 1000 && at < SIZES.length - 1; at++) size /= 1024
  return `${at === 0 || size >= 100 ? Math.round(size) : size.toFixed(1).replace('.0', '')} ${SIZES[at]}`
}

/** @param {number} value in milliseconds */
export function milliseconds(value) {
  if (!Number.isFinite(value)) return '–'
  if (value >= 1000) return duration(value / 1000)
  return `${value >= 100 ? Math.round(value) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} ms`
}

/** @param {number} value in seconds */
export function duration(value) {
  const seconds = Math.abs(value)
  const sign = value < 0 ? '−' : ''
  if (seconds < 60) return `${sign}${seconds < 10 ? seconds.toFixed(1).replace('.0', '') : Math.round(seconds)} s`
  const [days, hours, minutes] = [
    Math.floor(seconds / 86400),
    Math.floor(seconds / 3600) % 24,
    Math.floor(seconds / 60) % 60,
  ]
  if (days > 0) return `${sign}${days} d ${hours} h`
  if (hours > 0) return `${sign}${hours} h ${minutes} min`
  const rest = Math.floor(seconds % 60)
  return minutes >= 10 || rest === 0 ? `${sign}${minutes} min` : `${sign}${minutes} min ${rest} s`
}

/** @param {number} value in epoch milliseconds */
export function time(value) {
  return clock.format(value)
}

/** @param {number} value in epoch milliseconds */
export function dateTime(value) {
  return date.format(value)
}

/** @param {number} value in epoch milliseconds */
export function ago(value) {
  const seconds = (Date.now() - value) / 1000
  return seconds < 1 ? 'now' : `${duration(seconds)} ago`
}
