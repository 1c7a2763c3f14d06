import { state } from './state.js'

const COUNTS = ['hits', 'stale', 'collapsed', 'misses', 'bypasses']
const LEAST_SHOWN = 60

/**
 * What charts show of the last minutes, or of the last hour: numbers for each second. Of the time before the dashboard was made nobody knows; that is not
 * nothing, and of a cache that is young little of it is shown.
 * @param {boolean} isHour
 * @returns {Record<string, (number | null)[]>}
 */
export function columnsNow(isHour) {
  const { seconds = {}, tens = {} } = state.series ?? {}
  const [columns, width] = isHour ? [tens, 10] : [seconds, 1]
  const since = state.about.of.since - width * 1000
  const times = /** @type {number[]} */ (columns.time ?? [])
  const begin = Math.max(
    0,
    Math.min(
      times.length - LEAST_SHOWN,
      times.findIndex((time) => time > since),
    ),
  )
  const of = (/** @type {string} */ name) => (columns[name] ?? []).slice(begin)
  const shown = times.slice(begin)
  const perSecond = (/** @type {(step: number) => number} */ value) =>
    shown.map((time, step) => (time > since ? value(step) / width : null))
  const counts = COUNTS.map(of)
  const purges = of('purges')
  const answered = perSecond((step) => sumAt(counts.slice(0, 3), step))
  const all = perSecond((step) => sumAt(counts, step))
  return {
    time: shown,
    all,
    answered,
    ratio: all.map((value, step) => (value ? (answered[step] ?? 0) / value : null)),
    purges: perSecond((step) => Number(purges[step])),
    hitMedian: of('hitMedian'),
    hitMost: of('hitMost'),
    handlerMedian: of('handlerMedian'),
    handlerMost: of('handlerMost'),
    bytes: of('bytes'),
  }
}

/** @param {(number | null)[][]} columns @param {number} step */
function sumAt(columns, step) {
  return columns.reduce((total, column) => total + (column[step] ?? 0), 0)
}
