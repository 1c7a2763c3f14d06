import { tagChip } from './chips.js'
import { el, facts } from './dom.js'
import { bytes, count, dateTime, duration, milliseconds } from './format.js'
import { state } from './state.js'
import { purgeOf } from './tags.js'

/**
 * What is said of one request: the verdict, and what it rests on.
 * @param {any} explained
 */
export function showExplanation(explained) {
  const { key, entry, options } = explained
  return {
    verdict: el('section', { class: 'card verdict' }, ...verdictOf(explained)),
    more: [
      el(
        'div',
        { class: 'pair' },
        section('What it is looked for under', key ? keyTable([key]) : noKey()),
        section('What is stored there', key ? entryOf(entry) : noKey()),
      ),
      options && section('What counts for the route', optionsOf(options)),
    ],
  }
}

/**
 * What is said of two.
 * @param {any} compared
 */
export function showComparison({ first, second, isShared, difference, text }) {
  const both = [first, second]
  const title = isShared ? 'They share one response' : 'They do not share'
  const haveKeys = first.key && second.key
  const areAlike = JSON.stringify(first.options) === JSON.stringify(second.options)
  return {
    verdict: el(
      'section',
      { class: 'card verdict' },
      el(
        'p',
        { class: 'lead' },
        el('span', { class: `chip ${isShared ? 'hit' : 'miss'}` }, isShared ? 'shared' : 'apart'),
        title,
      ),
      el('p', {}, difference ? differenceText(difference) : text),
    ),
    more: [
      haveKeys && section('Under which key each is looked for', keyTable([first.key, second.key], difference)),
      el(
        'div',
        { class: 'pair' },
        ...both.map((one, at) =>
          el(
            'section',
            { class: 'card' },
            el('h2', {}, at === 0 ? 'The first' : 'The second'),
            el('p', { class: 'code' }, `${one.method} ${one.url}`),
            ...verdictOf(one),
            one.key && el('h3', {}, 'What is stored'),
            one.key && entryOf(one.entry),
          ),
        ),
      ),
      first.options &&
        section(areAlike ? 'What counts for both' : 'What counts for the first', optionsOf(first.options)),
      second.options && !areAlike && section('What counts for the second', optionsOf(second.options)),
    ],
  }
}

/** @param {string} title @param {...any} children */
function section(title, ...children) {
  return el('section', { class: 'card' }, el('h2', {}, title), ...children)
}

function noKey() {
  return el('p', { class: 'soft' }, 'Nothing: it has no key, since it goes past the cache.')
}

/** @param {any} explained */
function verdictOf({ decision, isReached, status, refused, route }) {
  const { outcome, reason, forward, text } = decision
  const told = [
    reason && ['Rule', code(reason)],
    forward && forward !== reason && ['Cache-Status', code(`fwd=${forward}`)],
  ]
  return [
    el('p', { class: 'lead' }, el('span', { class: `chip ${outcome}` }, outcome), text),
    !isReached &&
      el(
        'p',
        { class: 'warn' },
        `It came to no cached() of this cache; the application answered ${status ?? 'nothing'}.`,
      ),
    el(
      'p',
      { class: 'soft small' },
      route !== undefined && ['Route ', code(route)],
      ...told.flatMap((one) => (one ? [' · ', one[0], ' ', one[1]] : [])),
      reason && ' · docs/reasons.md says what to do',
    ),
    refused &&
      el('p', {}, 'The last response for that key was not kept: ', code(refused), ' ', state.reasons[refused] ?? ''),
  ]
}

/** @param {string} text */
function code(text) {
  return el('code', {}, text)
}

// ——— The key ———

/** @type {Record<string, string>} */
const PARTS = {
  namespace: 'Namespace',
  route: 'Route',
  method: 'Method',
  host: 'Host',
  original: 'Path before it was rewritten',
  path: 'Path',
  custom: 'From the route’s key function',
  params: 'Parameter',
  query: 'Query',
  scope: 'For whom',
  vary: 'Field',
}

/** @param {{ part: string, name?: string }} difference */
function nameOf({ part, name }) {
  return `${PARTS[part] ?? part}${name === undefined ? '' : ` ${name}`}`
}

/** @param {any} difference */
function differenceText({ part, name, first, second }) {
  const what = name === undefined ? [nameOf({ part })] : [`${PARTS[part] ?? part} `, code(name)]
  return [
    'Their keys differ first in ',
    el('b', {}, ...what),
    ': ',
    shownValue(first),
    ' for the first, ',
    shownValue(second),
    ' for the second.',
  ]
}

/** @param {string | undefined} value */
function shownValue(value) {
  if (value === undefined) return el('span', { class: 'soft' }, 'nothing')
  return value === '' ? el('span', { class: 'soft' }, 'empty') : code(value)
}

/**
 * The parts of one key, or of two, side by side.
 * @param {any[]} keys
 * @param {any} [difference] the first part in which they differ
 */
function keyTable(keys, difference) {
  const parts = keys.map(partsOf)
  const names = [...new Set(parts.flatMap((one) => [...one.keys()]))]
  const isFirst = (/** @type {string} */ name) => difference !== undefined && name === nameOf(difference)
  const rows = names.map((name) => {
    const values = parts.map((one) => one.get(name))
    const differs = values.length > 1 && values[0]?.value !== values[1]?.value
    const note = values.find((value) => value?.note)?.note
    const mark = isFirst(name) ? 'differs first' : differs && 'differs'
    return el(
      'tr',
      { class: isFirst(name) ? 'first-difference' : differs ? 'difference' : '' },
      el('th', { scope: 'row' }, name, note && el('p', {}, note), mark && el('p', { class: 'mark' }, mark)),
      ...values.map((value) => el('td', {}, shownValue(value?.value))),
    )
  })
  const heads = keys.length > 1 && [
    el('thead', {}, el('tr', {}, ...['Part', 'First', 'Second'].map((head) => el('th', { scope: 'col' }, head)))),
  ]
  const whole = keys.map(({ text }) => el('p', { class: 'code soft small' }, text))
  return el(
    'div',
    {},
    el('table', { class: 'parts', 'aria-label': 'Parts of the key' }, heads, el('tbody', {}, rows)),
    whole,
  )
}

/** @param {any} key @returns {Map<string, { value: string | undefined, note?: string }>} */
function partsOf({ params, query, vary, text: _, ...plain }) {
  const parts = new Map()
  for (const part of Object.keys(PARTS)) if (part in plain) parts.set(nameOf({ part }), { value: String(plain[part]) })
  for (const [name, value] of Object.entries(params))
    parts.set(nameOf({ part: 'params', name }), { value: [value].flat().join('/') })
  // Several values of one name are one text, in their order.
  for (const one of query) {
    const [name] = one.split('=', 1)
    const label = nameOf({ part: 'query', name })
    const before = parts.get(label)
    parts.set(label, { value: before ? `${before.value}&${one}` : one.slice(name.length + 1) })
  }
  for (const [name, { value, from }] of Object.entries(vary)) {
    const note = from === 'route' ? 'the route names it' : 'responses vary on it'
    parts.set(nameOf({ part: 'vary', name }), { value, note })
  }
  return parts
}

// ——— The entry ———

/** @param {any} entry */
function entryOf(entry) {
  if (!entry) return el('p', { class: 'soft' }, 'Nothing.')
  const { status, time, age, lifetime, ttl, size, cost, isInvalidated, tags, variants, encodings, tier } = entry
  return el(
    'div',
    {},
    lifeOf(age, lifetime, ttl, isInvalidated),
    facts([
      ['Status', status],
      ['Made', `${dateTime(time)}, in ${milliseconds(cost * 1000)}`],
      ['Body', bytes(size)],
      ['Also stored as', encodings.length > 0 && encodings.join(', ')],
      ['Found in', tier && `the ${tier} tier`],
      ['Variants', variants.length > 0 && variants.map((/** @type {string} */ key) => el('p', { class: 'code' }, key))],
    ]),
    el('h3', {}, 'Tags, with the last purge of each'),
    facts(tags.map((/** @type {any} */ tag) => [tagChip(shortOf(tag)), purgedOf(tag)])),
  )
}

/** How much of its lifetime is over. @param {number} age @param {number} lifetime @param {number} ttl @param {boolean} isPurged */
export function lifeOf(age, lifetime, ttl, isPurged) {
  const state = isPurged ? 'purged' : ttl > 0 ? 'fresh' : 'stale'
  const left = ttl > 0 ? `fresh for ${duration(ttl)} more` : `stale for ${duration(-ttl)}`
  const share = lifetime > 0 ? Math.min(100, Math.max(0, (age / lifetime) * 100)) : 100
  return el(
    'div',
    { class: `life ${state}` },
    el('span', { class: 'life-bar', '--share': `${share}%`, 'aria-hidden': 'true' }),
    el(
      'p',
      {},
      el('span', { class: `chip ${state}` }, state),
      `${duration(age)} old, of ${duration(lifetime)}`,
      el('span', { class: 'soft' }, isPurged ? ' · purged, so it is never served' : ` · ${left}`),
    ),
  )
}

/** What the cache has added is told as the backend knows it. @param {{ kind: string, name: string }} tag */
function shortOf({ kind, name }) {
  const at = name.indexOf(`${kind}/`)
  return { kind, name: kind === 'tag' || at === -1 ? name : name.slice(at + kind.length + 1) }
}

/** @param {any} tag */
function purgedOf({ lastPurge, invalidatedAt }) {
  if (lastPurge) return purgeOf(lastPurge)
  if (invalidatedAt > 0)
    return el('span', {}, 'purged', el('span', { class: 'soft' }, `, not seen here (clock ${count(invalidatedAt)})`))
  return el('span', { class: 'soft' }, invalidatedAt === 0 ? 'none known' : 'the backend does not say')
}

// ——— Options ———

/** @param {Record<string, { value: any, from: string }>} options */
function optionsOf(options) {
  const all = Object.entries(options)
  const [given, defaults] = [true, false].map((isGiven) =>
    all.filter(([, { from }]) => (from !== 'default') === isGiven),
  )
  const table = (/** @type {[string, { value: any, from: string }][]} */ some) =>
    el(
      'table',
      {},
      el('thead', {}, el('tr', {}, ...['Option', 'Value', 'Said by'].map((head) => el('th', { scope: 'col' }, head)))),
      el(
        'tbody',
        {},
        ...some.map(([name, { value, from }]) =>
          el(
            'tr',
            {},
            el('th', { scope: 'row' }, code(name)),
            el('td', {}, optionValue(name, value)),
            el('td', {}, FROM[from] ?? from),
          ),
        ),
      ),
    )
  return el(
    'div',
    {},
    given.length > 0 ? table(given) : el('p', { class: 'soft' }, 'Nothing was said: every option is the default.'),
    defaults.length > 0 &&
      el('details', {}, el('summary', {}, `${defaults.length} more are as by default`), table(defaults)),
  )
}

/** @type {Record<string, string>} */
const FROM = { route: 'the route', cache: 'the cache', preset: 'the preset', default: 'default' }
const SECONDS = /^(?:ttl|staleWhileRevalidate|staleIfError|keepStale)$/

/** @param {string} name @param {any} value */
function optionValue(name, value) {
  if (value === undefined || value === null) return el('span', { class: 'soft' }, 'not set')
  if (typeof value === 'number' && SECONDS.test(name)) return duration(value)
  if (typeof value === 'number' && name === 'maxBodySize') return bytes(value)
  if (value === '(function)') return 'a function'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (Array.isArray(value)) {
    const shown = value.map((one) => (one === '(function)' ? 'a function' : String(one)))
    return shown.length === 0 ? el('span', { class: 'soft' }, 'none') : shown.join(', ')
  }
  return typeof value === 'object' ? code(JSON.stringify(value)) : String(value)
}
