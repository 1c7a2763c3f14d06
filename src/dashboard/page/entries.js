import { read } from './api.js'
import { entriesBy, stateOf, tagChip } from './chips.js'
import { el, fill } from './dom.js'
import { bytes, count, duration } from './format.js'
import { makeTable } from './tables.js'

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
    placeholder: 'GET /products …',
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
      { name: 'State', kind: 'brief', by: ({ state }) => state, show: ({ state }) => stateOf(state) },
      { name: 'Status', kind: 'num wide', by: ({ status }) => status, show: ({ status }) => status },
      { name: 'Age', kind: 'num wide', by: ({ age }) => age, show: ({ age }) => duration(age) },
      { name: 'Fresh for', kind: 'num wide', by: ({ ttl }) => ttl, show: ({ ttl }) => duration(ttl) },
      { name: 'Body', kind: 'num', by: ({ size }) => size, show: ({ size }) => bytes(size) },
      { name: 'Tags', kind: 'wide', show: ({ tags }) => tagsOf(tags) },
    ],
  })
  const load = async (/** @type {boolean} */ isMore) => {
    const value = search.value
    const query = { [by.value]: value, after: isMore ? next : undefined, limit: 50 }
    try {
      const found = value === '' && by.value !== 'prefix' ? { entries: [] } : await read('entries', query)
      if (value !== search.value) return
      remember(by.value, value)
      next = found.next
      rows = isMore ? [...rows, ...found.entries] : found.entries
      fill(said, next === undefined ? '' : `The first ${count(rows.length)}; they are sorted among themselves.`)
      table.show(rows)
    } catch (error) {
      next = undefined
      table.fail(/** @type {Error} */ (error).message)
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

// So that it is there again when somebody comes back to it, or loads the page anew.
function remember(/** @type {string} */ by, /** @type {string} */ value) {
  history.replaceState(null, '', value === '' ? '#entries' : entriesBy(by, value))
}

const MOST_TAGS = 4

/** @param {{ kind: string, name: string }[]} tags */
function tagsOf(tags) {
  const own = tags.filter(({ kind }) => kind === 'tag')
  const rest = own.length - MOST_TAGS
  return [...own.slice(0, MOST_TAGS).map(tagChip), rest > 0 && el('span', { class: 'soft small' }, `+${rest}`)]
}
