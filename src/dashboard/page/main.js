import { activity } from './activity.js'
import { read } from './api.js'
import { byId, empty, fill } from './dom.js'
import { entries } from './entries.js'
import { entry } from './entry.js'
import { explain } from './explain.js'
import { fleetText } from './fleet.js'
import { dateTime, time } from './format.js'
import { overview } from './overview.js'
import { routes } from './routes.js'
import { reload, state, take } from './state.js'
import { tags } from './tags.js'

/**
 * @typedef {object} View
 * @property {HTMLElement} element
 * @property {() => unknown} [start] once it is shown
 * @property {() => unknown} [update] as news come
 * @property {() => unknown} [turn] where numbers are to be somebody else's; a view without it has them of one process alone
 * @property {() => unknown} [stop] once it is shown no more
 * @property {HTMLInputElement} [search]
 */

/** @type {Record<string, (given: URLSearchParams) => View>} */
const VIEWS = { overview, routes, tags, entries, entry, activity, explain }
const STORED = ['tags', 'entries', 'entry']

/** @type {View | undefined} */
let view
let name = 'overview'

function show() {
  const [asked = '', query = ''] = location.hash.slice(1).split('?', 2)
  name = Object.hasOwn(VIEWS, asked) ? asked : 'overview'
  for (const link of document.querySelectorAll('nav a')) {
    const isHere = link.getAttribute('href') === `#${name === 'entry' ? 'entries' : name}`
    if (isHere) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  view?.stop?.()
  view = VIEWS[name]?.(new URLSearchParams(query))
  fill(byId('main'), view?.element)
  document.title = `${name} · tagcache`
  tellWhose()
  attempt(view?.start)
  attempt(view?.update)
}

/** What a view asks for may not be there; then it says so itself, or says it again the next time. @param {(() => unknown) | undefined} act */
function attempt(act) {
  Promise.resolve(act?.()).catch(() => {})
}

// ——— Whose numbers ———

function tellWhose() {
  const { namespace, visitor, can } = state.about
  byId('of').hidden = !can.fleet || !view?.turn
  for (const button of byId('of').children)
    button.setAttribute('aria-pressed', String((button.value === 'fleet') === state.isFleet))
  const texts = [
    whose(),
    namespace && `namespace ${namespace}`,
    `you are ${visitor.name}${can.purge ? '' : ', and may only look'}`,
  ]
  const text = texts.filter(Boolean).join(' · ')
  if (byId('whose').textContent !== text) byId('whose').textContent = text
}

function whose() {
  const { of, can } = state.about
  const process = `${of.pid} on ${of.host}`
  if (STORED.includes(name))
    return can.fleet ? `What all processes share, as ${process} finds it` : `What the backend of ${process} holds`
  if (state.isFleet && view?.turn) return state.fleet ? fleetText(state.fleet.of) : 'The fleet: asking'
  return `This process alone: ${process}, since ${dateTime(of.since)}`
}

for (const button of byId('of').children) {
  button.onclick = () => {
    state.isFleet = button.value === 'fleet'
    tellWhose()
    attempt(view?.turn)
  }
}

// ——— Whether it is live ———

/** @param {'live' | 'lost' | 'waiting'} status @param {string} text */
function tellLive(status, text) {
  byId('live').dataset.state = status
  if (byId('live').textContent !== text) byId('live').textContent = text
}

// In milliseconds: the server ends each connection at times, and is asked again three seconds later.
const PATIENCE = 6000
const AWAY = 'The server does not answer.'
let seenAt = Date.now()
/** @type {ReturnType<typeof setTimeout> | undefined} */ let worrying

/** Says that what is shown is of the past, and why. @param {string} why */
function tellLost(why) {
  tellLive('lost', 'Not live')
  const text = `${why} What you see is as it was at ${time(seenAt)}. Trying again.`
  if (byId('lost').textContent !== text) byId('lost').textContent = text
  byId('lost').hidden = false
  byId('main').classList.add('past')
}

function tellFound() {
  clearTimeout(worrying)
  worrying = undefined
  seenAt = Date.now()
  tellLive('live', 'Live')
  byId('lost').hidden = true
  byId('main').classList.remove('past')
}

function watch() {
  let last = 0
  const source = new EventSource('api/live')
  source.addEventListener('tick', async (event) => {
    const number = Number(event.lastEventId)
    // Something was missed, or another process answers now.
    const isGap = last !== 0 && number !== last + 1
    last = number
    const tick = JSON.parse(event.data)
    if (isGap || tick.of.since !== state.about.of.since) await reload().catch(() => {})
    take(tick)
    tellFound()
    tellWhose()
    attempt(view?.update)
  })
  source.onerror = async () => {
    last = -1
    if (byId('lost').hidden) tellLive('waiting', 'Connecting again')
    // Where the server refuses, the browser does not try again by itself.
    if (source.readyState !== EventSource.CLOSED) {
      worrying ??= setTimeout(() => tellLost(AWAY), PATIENCE)
      return
    }
    setTimeout(watch, 10_000)
    const why = await read('about').then(
      () => 'The server lets nobody more watch.',
      (error) => error.message,
    )
    tellLost(why)
  }
}

addEventListener('hashchange', () => {
  if (!state.about) return
  show()
  byId('main').focus({ preventScroll: true })
})
addEventListener('keydown', (event) => {
  const isTyping = event.target instanceof Element && event.target.matches('input, textarea, select')
  if (event.key !== '/' || isTyping || !view?.search || event.ctrlKey || event.metaKey || event.altKey) return
  event.preventDefault()
  view.search.focus()
})

async function begin() {
  tellLive('waiting', 'Connecting')
  try {
    await reload()
    show()
    watch()
  } catch (error) {
    tellLive('lost', 'Not live')
    fill(byId('main'), empty(`${/** @type {Error} */ (error).message} Trying again.`))
    setTimeout(begin, 5000)
  }
}

void begin()
