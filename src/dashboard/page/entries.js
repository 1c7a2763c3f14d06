import { read } from './api.js'
import { el, fill } from './dom.js'
import { bytes, count, dateTime, duration, milliseconds } from './format.js'
import { purgeButton } from './purging.js'
import { makeTable } from './tables.js'
import { purgeOf } from './tags.js'

/** Entries, by tag, route, or what their keys begin with. @param {URLSearchParams} given */
export function entries(given) {
  /** @type {any[]} */ let rows = []
  /** @type {string | undefined} */ let next
  const by = el(
    'select',
    { 'aria-label': 'By' },
    el('option', { value: 'prefix' }, 'Key begins with'),
    el('option', { value: 'tag' }, 'Tag is'),
    el('option', { value: 'route' }, 'Route is'),
  )
  by.value = given.get('by') ?? 'prefix'
  const search = el('input', {
    type: 'search',
    class: 'grow',
    'aria-label': 'Value',
    spellcheck: 'false',
    value: given.get('value') ?? '',
  })
  const more = el('button', { type: 'button', onclick: () => load(true) }, 'More')
  const said = el('p', { class: 'soft small' })
  const table = makeTable({
    label: 'Entries',
    key: ({ key }) => key,
    nothing: 'Nothing is stored there.',
    columns: [
      {
        name: 'Key',
        by: ({ key }) => key,
        show: ({ key }) => el('a', { class: 'name', href: `#entry?key=${encodeURIComponent(key)}` }, key),
      },
      { name: 'State', by: ({ state }) => state, show: ({ state }) => stateOf(state) },
      { name: 'Status', kind: 'num wide', by: ({ status }) => status, show: ({ status }) => status },
      { name: 'Age', kind: 'num wide', by: ({ age }) => age, show: ({ age }) => duration(age) },
      { name: 'Fresh for', kind: 'num wide', by: ({ ttl }) => ttl, show: ({ ttl }) => duration(ttl) },
      { name: 'Body', kind: 'num', by: ({ size }) => size, show: ({ size }) => bytes(size) },
      { name: 'Tags', kind: 'wide', show: ({ tags }) => tagsOf(tags, 4) },
    ],
  })
  const load = async (/** @type {boolean} */ isMore) => {
    const value = search.value
    const query = { [by.value]: value, after: isMore ? next : undefined, limit: 50 }
    try {
      const found = value === '' && by.value !== 'prefix' ? { entries: [] } : await read('entries', query)
      if (value !== search.value) return
      next = found.next
      rows = isMore ? [...rows, ...found.entries] : found.entries
      fill(said, next === undefined ? '' : `The first ${count(rows.length)}.`)
      table.show(rows)
    } catch (error) {
      next = undefined
      table.show((rows = []))
      fill(said, /** @type {Error} */ (error).message)
    }
    more.hidden = next === undefined
  }
  /** @type {ReturnType<typeof setTimeout>} */ let typing
  search.oninput = () => {
    clearTimeout(typing)
    typing = setTimeout(() => load(false), 200)
  }
  by.onchange = () => load(false)
  return {
    element: el(
      'section',
      { class: 'card' },
      el('h1', {}, 'Entries'),
      el(
        'div',
        { class: 'bar' },
        by,
        search,
        el('button', { type: 'button', onclick: () => load(false) }, 'Look again'),
      ),
      table.element,
      el('div', { class: 'bar' }, said, more),
    ),
    search,
    start: () => load(false),
  }
}

/** One entry, with all that is known of it. @param {URLSearchParams} given */
export function entry(given) {
  const key = given.get('key') ?? ''
  const element = el('div', {}, el('h1', {}, 'Entry'))
  const load = async () => {
    try {
      fill(element, el('h1', {}, 'Entry'), ...show(await read('entry', { key })))
    } catch (error) {
      fill(
        element,
        el(
          'section',
          { class: 'card' },
          el('p', { class: 'code' }, key),
          el('p', { class: 'empty' }, /** @type {Error} */ (error).message),
        ),
      )
    }
  }
  return { element, start: load }
}

/** @param {any} entry */
function show(entry) {
  const { key, state, status, statusMessage, route, time, age, ttl, cost, size, encodings } = entry
  const leave = () => {
    location.hash = `#entries?by=route&value=${encodeURIComponent(route)}`
  }
  const { staleWhileRevalidate, staleIfError, headers, trailers, tags, variants, body } = entry
  return [
    el(
      'section',
      { class: 'card' },
      el(
        'div',
        { class: 'bar' },
        el('h2', { class: 'code' }, key),
        stateOf(state),
        el('span', { class: 'end' }, purgeButton({ key }, key, leave, 'Purge entry')),
      ),
      facts([
        ['Route', route],
        ['Status', `${status} ${statusMessage}`],
        ['Made', `${dateTime(time)}, in ${milliseconds(cost)}`],
        ['Age', duration(age)],
        ['Fresh for', ttl > 0 ? duration(ttl) : `no more, since ${duration(-ttl)}`],
        ['Stale while revalidated', staleWhileRevalidate > 0 && duration(staleWhileRevalidate)],
        ['Stale if the handler fails', staleIfError > 0 && duration(staleIfError)],
        ['Body', bytes(size)],
        [
          'Also stored as',
          encodings.length > 0 &&
            encodings.map((/** @type {any} */ one) => `${one.coding}, ${bytes(one.size)}`).join('; '),
        ],
      ]),
    ),
    el(
      'section',
      { class: 'card' },
      el('h2', {}, 'Tags'),
      facts(tags.map((/** @type {any} */ tag) => [tagsOf([tag], 1), purgeOf(tag.lastPurge)])),
    ),
    el(
      'section',
      { class: 'card' },
      el('h2', {}, 'Headers'),
      facts([...headers, ...trailers].map(([name, lines]) => [name, el('span', { class: 'code' }, lines.join('\n'))])),
    ),
    el(
      'section',
      { class: 'card' },
      el('div', { class: 'bar' }, el('h2', {}, 'Body'), el('span', { class: 'soft small' }, body.type)),
      previewOf(body),
    ),
    variants.length > 0 &&
      el(
        'section',
        { class: 'card' },
        el('h2', {}, 'Other variants'),
        ...variants.map((/** @type {any} */ one) =>
          el('p', {}, el('a', { class: 'code', href: `#entry?key=${encodeURIComponent(one.key)}` }, one.key)),
        ),
      ),
  ]
}

/** @param {any} body */
function previewOf({ text, size, isCut }) {
  if (text === undefined) return el('p', { class: 'soft' }, `${bytes(size)} that are no text.`)
  const rest = isCut && el('p', { class: 'soft small' }, `The beginning of ${bytes(size)}.`)
  return el('div', {}, el('pre', { tabindex: 0, 'aria-label': 'Body' }, text), rest)
}

/** @param {[any, any][]} all */
function facts(all) {
  const told = all.filter(([, value]) => value !== false)
  return el('dl', {}, ...told.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]))
}

/** @param {string} state */
function stateOf(state) {
  return el('span', { class: `chip ${state}` }, state)
}

/** @param {{ kind: string, name: string }[]} tags @param {number} most */
function tagsOf(tags, most) {
  const own = tags.filter(({ kind }) => kind === 'tag')
  const shown = (most === 1 ? tags : own).slice(0, most)
  const rest = (most === 1 ? tags : own).length - shown.length
  return [
    ...shown.map(({ kind, name }) => el('span', { class: `chip ${kind}` }, kind === 'tag' ? name : `${kind} ${name}`)),
    rest > 0 && el('span', { class: 'soft small' }, `+${rest}`),
  ]
}
