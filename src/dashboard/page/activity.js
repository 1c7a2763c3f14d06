import { makeChart } from './charts.js'
import { entriesBy, tagChip } from './chips.js'
import { columnsNow } from './columns.js'
import { el, empty, fill } from './dom.js'
import { count, dateTime, rate, time } from './format.js'
import { state } from './state.js'

/** @type {Record<string, (event: any) => boolean>} */
const KINDS = {
  'Everything that happened': () => true,
  'Purges alone': ({ kind }) => kind === 'purge' || kind === 'clear',
  'All but purges': ({ kind }) => kind !== 'purge' && kind !== 'clear',
}

const SHOWN = 60

/** What happened beside requests. */
export function activity() {
  const list = makeList()
  const purges = makeChart('Purges per second', [
    { label: 'purges', colour: 'accent', isFilled: true, show: (value) => `${rate(value ?? 0)}/s` },
  ])
  const kind = el('select', { 'aria-label': 'Show' }, ...Object.keys(KINDS).map((name) => el('option', {}, name)))
  const search = el('input', {
    type: 'search',
    class: 'grow',
    placeholder: 'A tag, a name, a text …',
    'aria-label': 'With the text',
    spellcheck: 'false',
  })
  const said = el('button', { type: 'button', class: 'slight', hidden: true, onclick: () => draw() })
  const more = el('button', { type: 'button', onclick: () => draw(Number.POSITIVE_INFINITY) })
  const section = el('section', { class: 'card' }, el('div', { class: 'bar' }, kind, search, said), list.element, more)
  let newest = 0
  let most = SHOWN

  const draw = (wanted = most) => {
    most = wanted
    newest = state.events[0]?.id ?? 0
    said.hidden = true
    const text = search.value.toLowerCase()
    const found = state.events.filter((event) => KINDS[kind.value]?.(event) && textOf(event).includes(text))
    list.show(found.slice(0, most))
    more.hidden = found.length <= most
    fill(more, `All ${count(found.length)}`)
  }
  search.oninput = kind.onchange = () => draw()
  return {
    element: el(
      'div',
      {},
      el('h1', {}, 'Activity'),
      el('section', { class: 'card low' }, el('h2', {}, 'Purges'), purges.element),
      section,
    ),
    search,
    stop: purges.stop,
    start: () => draw(),
    update() {
      const { time: times, purges: counts } = columnsNow(false)
      purges.show([times, counts])
      // What somebody reads, or is about to click, does not move away under his hand.
      if (!list.element.matches(':hover, :focus-within')) return draw()
      const fresh = state.events.filter(({ id }) => id > newest).length
      said.hidden = fresh === 0
      fill(said, `Show ${count(fresh)} new`)
    },
  }
}

/** @param {any} event */
function textOf({ by = '', tags = [], routes = [], uris = [], keys = [], what = '', message = '' }) {
  return [by, ...tags, ...routes, ...uris, ...keys, what, message].join('\n').toLowerCase()
}

/** A list of happenings. What is in it already stays as it is, with the focus that it may have. */
export function makeList() {
  const list = el('ol', { class: 'events' })
  const nothing = empty('So far nothing was purged, and nothing has failed.')
  /** @type {Map<number, { mark: string, item: HTMLElement }>} */ let known = new Map()
  return {
    element: el('div', {}, list, nothing),
    /** @param {any[]} events the newest first */
    show(events) {
      nothing.textContent =
        state.events.length > 0 ? 'Nothing of that kind.' : 'So far nothing was purged, and nothing has failed.'
      nothing.hidden = events.length > 0
      const drawn = new Map(
        events.map((event) => {
          const mark = `${event.time} ${event.count}`
          const before = known.get(event.id)
          return [event.id, before?.mark === mark ? before : { mark, item: drawEvent(event) }]
        }),
      )
      for (const [id, { item }] of known) if (drawn.get(id)?.item !== item) item.remove()
      let at = list.firstChild
      for (const { item } of drawn.values()) {
        if (item === at) at = at.nextSibling
        else list.insertBefore(item, at)
      }
      known = drawn
    },
  }
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
  const { kind, time: at, count: times, by, what } = event
  const isPurge = kind === 'purge' || kind === 'clear'
  const isBad = kind === 'fault' || /^(?:paused|behind|near-lost)$/.test(what)
  const who = by ? `by ${by}` : isPurge && 'by the application'
  const isToday = new Date(at).toDateString() === new Date().toDateString()
  return el(
    'li',
    { class: isPurge ? kind : isBad ? 'trouble' : kind },
    el('time', { datetime: new Date(at).toISOString(), title: dateTime(at) }, isToday ? time(at) : dateTime(at)),
    el('div', {}, ...tell(event)),
    el('span', { class: 'soft small' }, [who, times > 1 && `${count(times)} times`].filter(Boolean).join(', ')),
  )
}

/** @param {any} event @returns {any[]} */
function tell({ kind, tags = [], routes = [], uris = [], keys = [], more, isDelivered, what, message }) {
  const late = isDelivered === false ? el('span', { class: 'warn' }, ' not taken by the backend yet') : null
  if (kind === 'clear') return ['Purged ', el('b', {}, 'everything'), late]
  if (kind === 'purge') {
    const named = [
      ...tags.map((/** @type {string} */ name) => tagChip({ kind: 'tag', name })),
      ...routes.map((/** @type {string} */ name) => el('a', { class: 'chip', href: entriesBy('route', name) }, name)),
      ...[...keys, ...(tags.length > 0 ? [] : uris.slice(0, 1))].map((name) => el('span', { class: 'chip' }, name)),
    ]
    return ['Purged ', ...named, more > 0 && el('span', { class: 'soft small' }, `and ${count(more)} more`), late]
  }
  if (kind === 'backend')
    return [el('span', { class: /paused|behind|lost/.test(what) ? 'warn' : '' }, STATES[what] ?? what)]
  if (kind === 'fault') return [el('span', { class: 'bad' }, `${what}(): `), message]
  if (kind === 'failure')
    return [el('span', { class: 'warn' }, `${what} failed, and a stale response was served: `), message]
  return [el('span', { class: 'warn' }, `${what} `), message]
}
