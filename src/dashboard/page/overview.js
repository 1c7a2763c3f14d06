import { drawEvents } from './activity.js'
import { makeChart } from './charts.js'
import { el, fill } from './dom.js'
import { bytes, count, duration, milliseconds, percent, rate } from './format.js'
import { purgeButton } from './purging.js'
import { reloadSeries, state } from './state.js'

/** @type {Record<string, [string, string, string]>} */
const HEALTH = {
  well: ['Well', '', 'no faults so far'],
  paused: ['Paused', 'bad', 'left alone after a fault; requests go to their handlers'],
  behind: ['Behind', 'bad', 'purges wait for it; nothing stored is trusted until then'],
  'near-lost': ['No news', 'warn', 'copies in this process are not trusted for want of news'],
}

const TENS_EVERY = 10_000

/** The first view: how it goes. */
export function overview() {
  let isHour = false
  let readAt = Date.now()
  const tiles = el('div', { class: 'tiles' })
  const requests = makeChart('Requests per second, and how many of them were answered from the cache', [
    { label: 'all requests', colour: 'muted', isFilled: true, show: (value) => `${rate(value ?? 0)}/s` },
    { label: 'answered from the cache', colour: 'accent', isFilled: true, show: (value) => `${rate(value ?? 0)}/s` },
  ])
  const latency = makeChart('Handler time per request, without the cache and with it', [
    { label: 'without the cache', colour: 'muted', show: (value) => (value === null ? '–' : milliseconds(value)) },
    { label: 'with it', colour: 'accent', show: (value) => (value === null ? '–' : milliseconds(value)) },
  ])
  const range = (/** @type {boolean} */ hour, /** @type {string} */ text) => {
    const onclick = async () => {
      isHour = hour
      for (const one of ranges.children) one.setAttribute('aria-pressed', String(one === button))
      await refresh()
    }
    const button = el('button', { type: 'button', 'aria-pressed': String(hour === isHour), onclick }, text)
    return button
  }
  const ranges = el('div', { class: 'switch', role: 'group', 'aria-label': 'Range' })
  fill(ranges, range(false, '5 minutes'), range(true, '1 hour'))
  const recent = el('ol', { class: 'events' })
  const element = el(
    'div',
    {},
    el('h1', {}, 'Overview'),
    tiles,
    el(
      'div',
      { class: 'bar' },
      ranges,
      el(
        'span',
        { class: 'end' },
        purgeButton({ everything: true }, 'Everything', () => {}, 'Purge everything'),
      ),
    ),
    el(
      'div',
      { class: 'pair' },
      el('section', { class: 'card' }, el('h2', {}, 'Requests'), requests.element),
      el('section', { class: 'card' }, el('h2', {}, 'Handler time per request'), latency.element),
    ),
    el(
      'section',
      { class: 'card' },
      el(
        'div',
        { class: 'bar' },
        el('h2', {}, 'Lately'),
        el('a', { class: 'end small', href: '#activity' }, 'All activity'),
      ),
      recent,
    ),
  )

  const refresh = async () => {
    readAt = Date.now()
    await reloadSeries().catch(() => {})
    update()
  }
  const update = () => {
    if (isHour && Date.now() - readAt > TENS_EVERY) void refresh()
    if (!state.series || !state.stats) return
    fill(tiles, ...tilesOf())
    drawEvents(recent, state.events.slice(0, 6))
    const { seconds, tens } = state.series
    const columns = isHour ? tens : seconds
    const { time, all, answered, without, withIt } = derive(columns, isHour ? 10 : 1)
    requests.show([time, all, answered])
    latency.show([time, without, withIt])
  }
  return { element, update }
}

/**
 * @param {Record<string, (number | null)[]>} columns
 * @param {number} width of a step, in seconds
 */
function derive({ time, hits, stale, collapsed, misses, bypasses, timed, spent, saved }, width) {
  const at = (/** @type {(number | null)[]} */ column, /** @type {number} */ step) => column[step] ?? 0
  // Of the time before nobody knows; that is not nothing.
  const known = (/** @type {number} */ value, /** @type {number} */ step) =>
    Number(time[step]) + width * 1000 > state.about.of.since ? value / width : null
  const answered = time.map((_, step) => at(hits, step) + at(stale, step) + at(collapsed, step))
  const all = answered.map((value, step) => value + at(misses, step) + at(bypasses, step))
  const each = (/** @type {number} */ value, /** @type {number} */ step) =>
    at(timed, step) > 0 ? value / at(timed, step) : null
  return {
    time,
    all: all.map(known),
    answered: answered.map(known),
    without: time.map((_, step) => each(at(spent, step) + at(saved, step), step)),
    withIt: time.map((_, step) => each(at(spent, step), step)),
  }
}

/** @param {(number | null)[]} column @param {number} [last] */
function sum(column, last = column.length) {
  return column.slice(-last).reduce((/** @type {number} */ total, value) => total + (value ?? 0), 0)
}

function tilesOf() {
  const { stats, health, maxBytes } = state.stats
  const { seconds } = /** @type {NonNullable<typeof state.series>} */ (state.series)
  const answered = sum(seconds.hits) + sum(seconds.stale) + sum(seconds.collapsed)
  const all = answered + sum(seconds.misses) + sum(seconds.bypasses)
  const ever = stats.hits + stats.stale + stats.collapsed
  // The second that runs is not over yet.
  const perSecond =
    ['hits', 'stale', 'collapsed', 'misses', 'bypasses'].reduce((total, name) => total + sum(seconds[name], 10), 0) / 10
  const [timed, spent, saved] = [sum(seconds.timed), sum(seconds.spent), sum(seconds.saved)]
  const [word, kind, meaning] = HEALTH[health] ?? [health, 'warn', '']
  return [
    tile('From the cache', percent(answered / all), `${percent(ever / stats.requests)} of all so far`),
    tile('Requests', `${rate(perSecond)}/s`, `${count(stats.requests)} so far`),
    tile('Handler time saved', duration(stats.savedSeconds), `${duration(saved / 1000)} in 5 min`),
    tile('Handler per request', milliseconds(spent / timed), `${milliseconds((spent + saved) / timed)} uncached`),
    memoryTile(stats, maxBytes),
    tile('Backend', word, stats.faults > 0 ? `${count(stats.faults)} faults so far` : meaning, kind),
  ]
}

/** @param {any} stats @param {number | undefined} maxBytes */
function memoryTile(stats, maxBytes) {
  if (stats.bytes === 0 && maxBytes === undefined) return tile('Memory', '–', 'the backend does not say')
  const full =
    maxBytes === undefined
      ? null
      : el('meter', { min: 0, max: maxBytes, value: stats.bytes, 'aria-label': 'Share of the bound' })
  const of = maxBytes === undefined ? '' : `, max ${bytes(maxBytes)}`
  return tile('Memory', bytes(stats.bytes), [full, `${count(stats.entries)} entries${of}`])
}

/**
 * @param {string} name
 * @param {any} value
 * @param {any} more
 */
function tile(name, value, more, kind = '') {
  return el(
    'div',
    { class: 'card' },
    el('div', { class: 'tile-name' }, name),
    el('div', { class: `tile-value ${kind}` }, value),
    el('div', { class: 'tile-more' }, more),
  )
}
