import { read } from './api.js'
import { el } from './dom.js'
import { count, duration, percent } from './format.js'
import { state } from './state.js'
import { makeTable } from './tables.js'

// In milliseconds; processes tell each other every ten seconds.
const EVERY = 5000

/** What all processes say, asked for anew at times; with what went wrong, where that did. */
export function makeFleet() {
  let readAt = 0
  /** @type {any} */ let before
  return {
    /** What was said before that, from which follows how many requests come in a second. */
    get before() {
      return before
    },
    error: '',
    async update() {
      if (Date.now() - readAt < EVERY) return
      readAt = Date.now()
      try {
        const told = await read('stats', { of: 'fleet' })
        if (state.fleet && told.now > state.fleet.now) before = state.fleet
        state.fleet = told
        this.error = ''
      } catch (error) {
        this.error = /** @type {Error} */ (error).message
      }
    },
  }
}

/** Whose numbers they are. @param {any} of */
export function fleetText({ nodes, asked, unread }) {
  const others = unread > 0 ? `, and ${count(unread)} more that cannot be read` : ''
  return `The fleet: ${nodes.length === 1 ? '1 process' : `${count(nodes.length)} processes`}${others}, as ${asked.pid} on ${asked.host} knows them`
}

/** @type {Record<string, string>} */
const HEALTH = { well: 'well', paused: 'leaves the backend alone', behind: 'purges wait', 'near-lost': 'no news' }

/** The processes, each with its numbers. */
export function nodesTable() {
  return makeTable({
    label: 'Processes',
    key: ({ id }) => id,
    sorted: 'Requests',
    nothing: 'No process has told anything yet.',
    columns: [
      {
        name: 'Process',
        by: ({ id }) => id,
        show: ({ id, isAsked }) => [id, isAsked && el('span', { class: 'soft small' }, ' the one that answers')],
      },
      { name: 'Requests', kind: 'num', by: ({ stats }) => stats.requests, show: ({ stats }) => count(stats.requests) },
      {
        name: 'From the cache',
        kind: 'num',
        by: ({ stats }) => ratioOf(stats),
        show: ({ stats }) => percent(ratioOf(stats)),
      },
      {
        name: 'Saved',
        kind: 'num wide',
        by: ({ stats }) => stats.savedSeconds,
        show: ({ stats }) => duration(stats.savedSeconds),
      },
      {
        name: 'Entries',
        kind: 'num wide',
        by: ({ stats }) => stats.entries,
        show: ({ stats }) => count(stats.entries),
      },
      { name: 'Faults', kind: 'num wide', by: ({ stats }) => stats.faults, show: ({ stats }) => count(stats.faults) },
      {
        name: 'Backend',
        by: ({ health }) => health,
        show: ({ health }) => el('span', { class: health === 'well' ? '' : 'bad' }, HEALTH[health] ?? health),
      },
      {
        name: 'Said',
        kind: 'num wide',
        by: ({ at }) => -at,
        show: ({ at, isAsked }) => (isAsked ? 'now' : saidAt(at)),
      },
    ],
  })
}

// Clocks of other machines may be ahead.
/** @param {number} at */
function saidAt(at) {
  return `${duration(Math.max(0, state.fleet.now - at) / 1000)} ago`
}

/** @param {any} stats */
export function ratioOf({ hits, stale, collapsed, requests }) {
  return (hits + stale + collapsed) / requests
}
