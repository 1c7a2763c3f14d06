import { el, fill } from './dom.js'
import { dateTime, time } from './format.js'
import { state } from './state.js'

/** What happened beside requests. */
export function activity() {
  const list = el('ol', { class: 'events' })
  return {
    element: el('section', { class: 'card' }, el('h1', {}, 'Activity'), list),
    update: () => drawEvents(list, state.events),
  }
}

/** @param {HTMLElement} list @param {any[]} events */
export function drawEvents(list, events) {
  if (events.length === 0) fill(list, el('p', { class: 'empty' }, 'So far nothing was purged, and nothing has failed.'))
  else fill(list, ...events.map(drawEvent))
}

/** @type {Record<string, string>} */
const STATES = {
  paused: 'The backend is left alone after a fault.',
  resumed: 'The backend answers again.',
  behind: 'Purges wait for the backend; nothing stored is trusted until it has them.',
  delivered: 'All purges have been delivered.',
  'near-lost': 'Copies in this process are not trusted, for want of news.',
  'near-trusted': 'Copies in this process are trusted again.',
}

/** @param {any} event */
function drawEvent(event) {
  const { time: at, count, by } = event
  return el(
    'li',
    {},
    el('time', { class: 'soft', title: dateTime(at) }, time(at)),
    el('div', {}, ...tell(event)),
    el('span', { class: 'soft small' }, [by && `by ${by}`, count > 1 && `${count} times`].filter(Boolean).join(', ')),
  )
}

/** @param {any} event @returns {any[]} */
function tell({ kind, tags = [], routes = [], uris = [], keys = [], more, isDelivered, what, message }) {
  const late = isDelivered === false ? el('span', { class: 'warn' }, ' not taken by the backend yet') : null
  if (kind === 'clear') return ['Purged ', el('b', {}, 'everything'), late]
  if (kind === 'purge') {
    const named = [
      ...tags.map((/** @type {string} */ name) =>
        el('a', { class: 'chip tag', href: `#entries?by=tag&value=${encodeURIComponent(name)}` }, name),
      ),
      ...[...routes, ...keys, ...(tags.length > 0 ? [] : uris.slice(0, 1))].map((name) =>
        el('span', { class: 'chip' }, name),
      ),
    ]
    return ['Purged ', ...named, more > 0 && el('span', { class: 'soft small' }, `and ${more} more`), late]
  }
  if (kind === 'backend')
    return [el('span', { class: /paused|behind|lost/.test(what) ? 'warn' : '' }, STATES[what] ?? what)]
  if (kind === 'fault') return [el('span', { class: 'bad' }, `${what}(): `), message]
  if (kind === 'failure')
    return [el('span', { class: 'warn' }, `${what} failed, and a stale response was served: `), message]
  return [el('span', { class: 'warn' }, `${what} `), message]
}
