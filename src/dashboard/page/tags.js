import { read } from './api.js'
import { entriesBy, explainUri } from './chips.js'
import { el, fill } from './dom.js'
import { ago, count, dateTime } from './format.js'
import { purge, purgeButton } from './purging.js'
import { state } from './state.js'
import { makeTable } from './tables.js'

const LISTED = 100
// In milliseconds, where purges come all the time.
const EVERY = 3000

/** Tags, with what carries them. */
export function tags() {
  /** @type {any[]} */ let rows = []
  /** @type {string | undefined} */ let next
  const kind = el(
    'select',
    { 'aria-label': 'Kind' },
    el('option', { value: 'tag' }, 'Tags'),
    el('option', { value: 'route' }, 'Routes'),
    el('option', { value: 'uri' }, 'URIs'),
  )
  const search = el('input', {
    type: 'search',
    class: 'grow',
    placeholder: 'Begins with …',
    'aria-label': 'Begins with',
    spellcheck: 'false',
  })
  const more = el('button', { type: 'button', onclick: () => load(true) }, 'More')
  const said = el('p', { class: 'soft small' })
  const extra = el('span', {})
  const table = makeTable({
    label: 'Tags',
    key: ({ kind, name }) => `${kind}/${name}`,
    nothing: 'Nothing stored carries such a tag.',
    columns: [
      { name: 'Tag', by: ({ name }) => name, show: nameOf },
      {
        name: 'Entries',
        kind: 'num',
        by: ({ entries }) => entries,
        show: ({ entries, isAtLeast }) => count(entries) + (isAtLeast ? '+' : ''),
      },
      {
        name: 'Last purge',
        by: ({ lastPurge }) => lastPurge?.time ?? 0,
        kind: 'full',
        show: ({ lastPurge }) => purgeOf(lastPurge),
      },
      { name: '', kind: 'num', isFixed: true, show: (row) => purgeButton(purgedBy(row), row.name, () => load(false)) },
    ],
  })

  let readAt = 0
  let seen = 0
  let hasFailed = false
  const load = async (/** @type {boolean} */ isMore) => {
    const prefix = search.value
    readAt = Date.now()
    try {
      const found = await read('tags', { kind: kind.value, prefix, after: isMore ? next : undefined, limit: LISTED })
      // Meanwhile somebody has typed on.
      if (prefix !== search.value) return
      next = found.next
      rows = isMore ? [...rows, ...found.tags] : found.tags
      fill(said, next === undefined ? '' : `The first ${count(rows.length)}; they are sorted among themselves.`)
      hasFailed = false
      table.show(rows)
    } catch (error) {
      hasFailed = true
      next = undefined
      table.fail(/** @type {Error} */ (error).message)
    }
    more.hidden = next === undefined
    const isExact = kind.value === 'tag' && prefix !== '' && !rows.some(({ name }) => name === prefix)
    const onclick = async () => (await purge({ tags: [prefix] }, prefix)) && load(false)
    fill(
      extra,
      isExact &&
        state.about.can.purge &&
        el('button', { type: 'button', class: 'danger', onclick }, `Purge “${prefix.slice(0, 40)}” all the same`),
    )
  }
  /** @type {ReturnType<typeof setTimeout>} */ let typing
  search.oninput = () => {
    clearTimeout(typing)
    typing = setTimeout(() => load(false), 200)
  }
  kind.onchange = () => load(false)
  return {
    element: el(
      'section',
      { class: 'card' },
      el('h1', {}, 'Tags'),
      el('div', { class: 'bar' }, kind, search, extra),
      table.element,
      el('div', { class: 'bar' }, said, more),
    ),
    search,
    start: () => load(false),
    // Purges are worth looking again for; requests are not.
    update() {
      const last = state.events.find(({ kind }) => kind === 'purge' || kind === 'clear')
      const mark = last ? last.id * 1e6 + last.count : 0
      if ((mark === seen && !hasFailed) || rows.length > LISTED || Date.now() - readAt < EVERY) return
      seen = mark
      void load(false)
    },
  }
}

/** @param {{ kind: string, name: string }} tag */
function purgedBy({ kind, name }) {
  if (kind === 'route') return { route: name }
  return kind === 'uri' ? { uri: name } : { tags: [name] }
}

/** @param {{ kind: string, name: string }} tag */
function nameOf({ kind, name }) {
  const href = kind === 'uri' ? explainUri(name) : entriesBy(kind, name)
  return href === undefined ? el('span', { class: 'name' }, name) : el('a', { class: 'name', href }, name)
}

/** @param {{ time: number, by?: string } | undefined} last */
export function purgeOf(last) {
  if (!last) return el('span', { class: 'soft' }, 'none seen')
  return el(
    'span',
    { title: dateTime(last.time) },
    el('span', { class: 'only-phone soft' }, 'purged '),
    ago(last.time),
    last.by && el('span', { class: 'soft' }, ` by ${last.by}`),
  )
}
