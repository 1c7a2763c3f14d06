import { read } from './api.js'

/** What the page knows, and what of it is told to views as it changes. */
export const state = {
  /** @type {any} */ about: undefined,
  /** @type {any} */ stats: undefined,
  /** @type {{ seconds: Record<string, (number | null)[]>, tens: Record<string, (number | null)[]> } | undefined} */ series:
    undefined,
  /** @type {any[]} */ events: [],
  /** What each reason means, by its code. @type {Record<string, string>} */ reasons: {},
  /** What all processes say, where that is asked for. @type {any} */ fleet: undefined,
  /** Whether numbers are to be those of all processes. */
  isFleet: false,
}

/** Asks for everything anew: at the beginning, and where something was missed. */
export async function reload() {
  const names = ['about', 'stats', 'series', 'events', 'reasons']
  const [about, stats, series, { events }, { reasons }] = await Promise.all(names.map((name) => read(name)))
  Object.assign(state, { about, stats, series: { seconds: series.seconds, tens: series.tens }, events, reasons })
}

// Where nothing was told of a step, none of these happened; of the others nobody knows.
const COUNTED = /^(?:hits|stale|collapsed|misses|bypasses|timed|spent|saved|purges)$/

/** @param {any} tick what the server tells once a second */
export function take({ seconds, events, of, health, maxBytes, stats }) {
  state.stats = { of, health, maxBytes, stats }
  for (const happening of [...events].reverse()) {
    state.events = [happening, ...state.events.filter(({ id }) => id !== happening.id)].slice(0, 300)
  }
  state.events.sort((a, b) => b.time - a.time || b.id - a.id)
  if (state.series) for (const step of seconds) put(state.series.seconds, step, 1000, 300)
}

/** Asks for the last hour anew. */
export async function reloadSeries() {
  const { seconds, tens } = await read('series')
  state.series = { seconds, tens }
}

/**
 * Puts a step where it belongs, or at the end, and forgets the first.
 * @param {Record<string, (number | null)[]>} columns
 * @param {Record<string, number | null>} step
 * @param {number} width
 * @param {number} most
 */
function put(columns, step, width, most) {
  const times = /** @type {number[]} */ (columns.time)
  const at = times.lastIndexOf(Number(step.time))
  if (at === -1 && Number(step.time) <= (times.at(-1) ?? 0)) return
  while (at === -1 && (times.at(-1) ?? 0) + width < Number(step.time))
    append(columns, (times.at(-1) ?? 0) + width, {}, most)
  if (at === -1) append(columns, Number(step.time), step, most)
  else for (const name of Object.keys(columns)) columns[name][at] = step[name] ?? null
}

/**
 * @param {Record<string, (number | null)[]>} columns
 * @param {number} time
 * @param {Record<string, number | null>} step
 * @param {number} most
 */
function append(columns, time, step, most) {
  for (const name of Object.keys(columns)) {
    columns[name].push(name === 'time' ? time : (step[name] ?? (COUNTED.test(name) ? 0 : null)))
    if (columns[name].length > most) columns[name].shift()
  }
}
