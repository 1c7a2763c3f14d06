import { read } from './api.js'
import { entriesBy } from './chips.js'
import { el } from './dom.js'
import { count, duration, milliseconds, percent } from './format.js'
import { purgeButton } from './purging.js'
import { state } from './state.js'
import { makeTable } from './tables.js'

const EVERY = 2000
const MOST_REASONS = 3

/** What became of requests, by route. */
export function routes() {
  let readAt = 0
  const table = makeTable({
    label: 'Routes',
    key: ({ route }) => route,
    sorted: 'Requests',
    nothing: 'No request has come to a cached() yet.',
    columns: [
      {
        name: 'Route',
        by: ({ route }) => route,
        isFixed: true,
        show: ({ route }) => el('a', { class: 'name', href: entriesBy('route', route) }, route),
      },
      { name: 'Requests', kind: 'num', by: ({ requests }) => requests, show: ({ requests }) => count(requests) },
      {
        name: 'From the cache',
        kind: 'num',
        by: ({ hitRatio }) => hitRatio,
        show: ({ hitRatio, requests }) => [
          el('span', { class: 'ratio', '--share': `${hitRatio * 100}%` }),
          el('span', { class: 'share' }, percent(requests > 0 ? hitRatio : Number.NaN)),
        ],
      },
      {
        name: 'Saved',
        kind: 'num wide',
        by: ({ savedSeconds }) => savedSeconds,
        show: ({ savedSeconds }) => duration(savedSeconds),
      },
      {
        name: 'Handler',
        kind: 'num wide',
        by: ({ handlerMilliseconds }) => handlerMilliseconds ?? -1,
        show: ({ handlerMilliseconds }) => milliseconds(handlerMilliseconds ?? Number.NaN),
      },
      { name: 'Why not from the cache', kind: 'full', show: reasonsOf },
      { name: '', kind: 'num', isFixed: true, show: ({ route }) => purgeButton({ route }, route, update) },
    ],
  })
  const update = async () => {
    readAt = Date.now()
    const isFleet = state.isFleet
    try {
      const { routes } = await read('routes', isFleet ? { of: 'fleet' } : {})
      // Meanwhile somebody else's may be asked for.
      if (isFleet === state.isFleet) table.show(routes)
    } catch (error) {
      table.fail(/** @type {Error} */ (error).message)
    }
  }
  return {
    element: el('section', { class: 'card' }, el('h1', {}, 'Routes'), table.element),
    start: update,
    turn: update,
    update: () => (Date.now() - readAt >= EVERY ? update() : undefined),
  }
}

/** @param {{ misses: number, bypasses: number, reasons: { reason: string, count: number }[] }} route */
function reasonsOf({ misses, bypasses, reasons }) {
  const all = misses + bypasses
  return reasons
    .slice(0, MOST_REASONS)
    .map(({ reason, count }) =>
      el('span', { class: 'chip', title: state.reasons[reason] ?? reason }, `${percent(count / all)} ${reason}`),
    )
}
