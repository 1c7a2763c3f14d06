import { makeList } from './activity.js'
import { makeChart } from './charts.js'
import { columnsNow } from './columns.js'
import { el, fill } from './dom.js'
import { makeFleet, nodesTable, ratioOf } from './fleet.js'
import { bytes, count, duration, milliseconds, percent, rate } from './format.js'
import { purgeButton } from './purging.js'
import { reloadSeries, state } from './state.js'

/** @type {Record<string, [word: string, kind: string, meaning: string]>} */
const HEALTH = {
  well: ['Well', '', 'no faults so far'],
  paused: ['Paused', 'bad', 'left alone after a fault; requests go to their handlers'],
  behind: ['Behind', 'bad', 'purges wait for it; nothing stored is trusted until then'],
  'near-lost': ['No news', 'warn', 'copies in this process are not trusted for want of news'],
}

const TENS_EVERY = 10_000
const LATELY = 6

/** The first view: how it goes. */
export function overview() {
  let isHour = false
  let readAt = Date.now()
  const fleet = makeFleet()
  const tiles = el('div', { class: 'tiles' })
  const notice = el('p', { class: 'notice', role: 'status', hidden: true })
  const nodes = nodesTable()
  const nodesCard = el('section', { class: 'card', hidden: true }, el('h2', {}, 'Processes'), nodes.element)
  const charts = makeCharts()
  const chartsOf = el('span', { class: 'soft small' })
  const recent = makeList()
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
  const purging = purgeButton({ everything: true }, 'Everything', () => {}, 'Purge everything')
  const element = el(
    'div',
    {},
    el('h1', {}, 'Overview'),
    notice,
    tiles,
    nodesCard,
    el('div', { class: 'bar' }, ranges, chartsOf, el('span', { class: 'end' }, purging)),
    charts.element,
    el(
      'section',
      { class: 'card' },
      el(
        'div',
        { class: 'bar' },
        el('h2', {}, 'Lately'),
        el('a', { class: 'end small', href: '#activity' }, 'All activity'),
      ),
      recent.element,
    ),
  )

  const refresh = async () => {
    readAt = Date.now()
    await reloadSeries().catch(() => {})
    update()
  }
  const drawFleet = () => {
    const { isFleet, fleet: told } = state
    nodesCard.hidden = !isFleet || !told
    fill(chartsOf, isFleet ? 'The charts, and what happened lately, are of this process alone.' : '')
    tell(notice, isFleet ? fleet.error : '')
    if (!isFleet || !told) return
    nodes.show(told.nodes)
    fill(tiles, ...fleetTiles(told, fleet.before))
  }
  const update = () => {
    if (isHour && Date.now() - readAt > TENS_EVERY) void refresh()
    if (!state.series || !state.stats) return
    if (state.isFleet) void fleet.update().then(drawFleet)
    drawFleet()
    if (!state.isFleet || !state.fleet) fill(tiles, ...processTiles())
    recent.show(state.events.slice(0, LATELY))
    charts.show(columnsNow(isHour), state.stats.maxBytes)
  }
  return { element, update, turn: update, stop: charts.stop }
}

/** @param {HTMLElement} element @param {string} text */
function tell(element, text) {
  element.hidden = text === ''
  if (element.textContent !== text) element.textContent = text
}

// ——— Charts ———

function makeCharts() {
  const perSecond = (/** @type {number | null} */ value) => `${rate(value ?? 0)}/s`
  const time = (/** @type {number | null} */ value) => (value === null ? '–' : milliseconds(value))
  const requests = makeChart('Requests per second, and how many of them were answered from the cache', [
    { label: 'all', colour: 'muted', isFilled: true, show: perSecond },
    { label: 'from the cache', colour: 'accent', isFilled: true, show: perSecond },
  ])
  const ratio = makeChart(
    'The share of requests that were answered from the cache',
    [{ label: 'of all requests', colour: 'accent', isFilled: true, show: (value) => percent(value ?? Number.NaN) }],
    { top: 1 },
  )
  const latency = makeChart(
    'How long answers took, from the cache and by the handler',
    [
      { label: 'cache', colour: 'accent', show: time },
      { label: '95 %', colour: 'accent', isDashed: true, show: time },
      { label: 'handler', colour: 'muted', show: time },
      { label: '95 %', colour: 'muted', isDashed: true, show: time },
    ],
    { isLog: true },
  )
  const size = (/** @type {number | null} */ value) => (value === null ? '–' : bytes(value))
  const memory = makeChart(
    'Bytes held, and the most that are',
    [
      { label: 'held', colour: 'accent', isFilled: true, show: size },
      { label: 'bound', colour: 'warn', isDashed: true, show: size },
    ],
    { isBinary: true },
  )
  const card = (/** @type {string} */ title, /** @type {string} */ more, /** @type {HTMLElement} */ chart) =>
    el('section', { class: 'card' }, el('h2', {}, title, el('span', { class: 'soft small' }, more)), chart)
  const memoryCard = card('Memory', '', memory.element)
  return {
    element: el(
      'div',
      { class: 'pair charts' },
      card('Requests', '', requests.element),
      card('Latency', ' median and 95 %, over ten seconds', latency.element),
      card('From the cache', '', ratio.element),
      memoryCard,
    ),
    /** @param {ReturnType<typeof columnsNow>} columns @param {number | undefined} maxBytes */
    show(columns, maxBytes) {
      const { time: times, all, answered, hitMedian, hitMost, handlerMedian, handlerMost } = columns
      requests.show([times, all, answered])
      latency.show([times, hitMedian, hitMost, handlerMedian, handlerMost])
      ratio.show([times, columns.ratio])
      memory.show([times, columns.bytes, times.map(() => maxBytes ?? null)])
      memoryCard.hidden = maxBytes === undefined && columns.bytes.every((value) => !value)
    },
    stop() {
      for (const chart of [requests, ratio, latency, memory]) chart.stop()
    },
  }
}

// ——— Tiles ———

/** @param {(number | null)[]} column @param {number} [last] */
function sum(column, last = column.length) {
  return column.slice(-last).reduce((/** @type {number} */ total, value) => total + (value ?? 0), 0)
}

function processTiles() {
  const { stats, health, maxBytes } = state.stats
  const { seconds } = /** @type {NonNullable<typeof state.series>} */ (state.series)
  const answered = sum(seconds.hits) + sum(seconds.stale) + sum(seconds.collapsed)
  const all = answered + sum(seconds.misses) + sum(seconds.bypasses)
  // The second that runs is not over yet.
  const perSecond =
    ['hits', 'stale', 'collapsed', 'misses', 'bypasses'].reduce((total, name) => total + sum(seconds[name], 10), 0) / 10
  const [timed, spent, saved] = [sum(seconds.timed), sum(seconds.spent), sum(seconds.saved)]
  return [
    shareTile(answered / all, stats),
    requestsTile(perSecond, stats),
    tile('Handler time saved', duration(stats.savedSeconds), `${duration(saved / 1000)} in 5 min`),
    tile('Handler per request', milliseconds(spent / timed), `${milliseconds((spent + saved) / timed)} uncached`),
    memoryTile(stats, maxBytes),
    healthTile(health, stats),
  ]
}

/** @param {any} told what all processes say @param {any} before what they said before */
function fleetTiles({ stats, health, now, of }, before) {
  const requests = before ? stats.requests - before.stats.requests : Number.NaN
  const lately =
    before && ratioOf(Object.fromEntries(LATELY_COUNTED.map((name) => [name, stats[name] - before.stats[name]])))
  const each = 1000 / stats.requests
  return [
    // Where a process is gone, its requests are gone from the sum.
    shareTile(requests > 0 && lately >= 0 ? lately : ratioOf(stats), stats),
    requestsTile(requests >= 0 ? (requests * 1000) / (now - before.now) : Number.NaN, stats),
    tile('Handler time saved', duration(stats.savedSeconds), `by ${count(of.nodes.length)} processes since each began`),
    tile(
      'Handler per request',
      milliseconds(stats.spentSeconds * each),
      `${milliseconds((stats.spentSeconds + stats.savedSeconds) * each)} uncached`,
    ),
    stats.bytes > 0
      ? tile('Memory of all', bytes(stats.bytes), entriesText(stats))
      : tile('Memory', '–', 'what is stored is in the backend'),
    healthTile(health, stats),
  ]
}

const LATELY_COUNTED = ['hits', 'stale', 'collapsed', 'requests']

/** @param {number} share lately @param {any} stats */
function shareTile(share, stats) {
  if (stats.requests === 0) return tile('From the cache', '–', 'no traffic yet')
  return tile('From the cache', percent(share), `${percent(ratioOf(stats))} of all so far`)
}

/** @param {number} perSecond @param {any} stats */
function requestsTile(perSecond, stats) {
  const value = Number.isFinite(perSecond) ? `${rate(perSecond)}/s` : '…'
  return tile('Requests', value, `${count(stats.requests)} so far`)
}

/** @param {string} health @param {any} stats */
function healthTile(health, { faults }) {
  const [word, kind, meaning] = HEALTH[health] ?? [health, 'warn', '']
  return tile('Backend', word, health === 'well' && faults > 0 ? `${count(faults)} faults so far` : meaning, kind)
}

/** @param {any} stats @param {number | undefined} maxBytes */
function memoryTile(stats, maxBytes) {
  if (stats.bytes === 0 && maxBytes === undefined) return tile('Memory', '–', 'the backend does not say')
  if (maxBytes === undefined) return tile('Memory', bytes(stats.bytes), entriesText(stats))
  const meter = el('meter', { min: 0, max: maxBytes, value: stats.bytes, 'aria-label': 'Share of the bound' })
  return tile(`Memory, of ${bytes(maxBytes)}`, bytes(stats.bytes), [meter, entriesText(stats)])
}

/** @param {{ entries: number }} stats */
function entriesText({ entries }) {
  return `${count(entries)} ${entries === 1 ? 'entry' : 'entries'}`
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
