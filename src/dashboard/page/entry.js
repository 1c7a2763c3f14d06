import { read } from './api.js'
import { entriesBy, explainUri, tagChip } from './chips.js'
import { el, empty, facts, fill } from './dom.js'
import { lifeOf } from './explanation.js'
import { bytes, dateTime, duration, milliseconds } from './format.js'
import { purgeButton } from './purging.js'
import { purgeOf } from './tags.js'

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
        el('section', { class: 'card' }, el('p', { class: 'code' }, key), empty(/** @type {Error} */ (error).message)),
      )
    }
  }
  return { element, start: load }
}

/** @param {any} entry */
function show(entry) {
  const { key, state, status, statusMessage, route, time, age, ttl, cost, size, encodings } = entry
  const leave = () => {
    location.hash = entriesBy('route', route)
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
        el('span', { class: 'end' }, purgeButton({ key }, key, leave, 'Purge entry')),
      ),
      lifeOf(age, age + ttl, ttl, state === 'purged'),
      facts([
        ['Route', el('a', { href: entriesBy('route', route) }, route)],
        ['Status', `${status} ${statusMessage}`],
        ['Made', `${dateTime(time)}, in ${milliseconds(cost)}`],
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
      el('h2', {}, 'Tags, with the last purge of each'),
      facts(
        tags.map((/** @type {any} */ tag) => [
          tagChip(tag),
          [purgeOf(tag.lastPurge), tag.kind === 'uri' && explainLink(tag.name)],
        ]),
      ),
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

/** @param {string} name */
function explainLink(name) {
  const href = explainUri(name)
  return href !== undefined && el('a', { class: 'aside small', href }, 'Explain a request for it')
}
