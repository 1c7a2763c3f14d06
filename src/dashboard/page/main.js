import { activity } from './activity.js'
import { byId, el, fill } from './dom.js'
import { entries, entry } from './entries.js'
import { explain } from './explain.js'
import { dateTime } from './format.js'
import { overview } from './overview.js'
import { routes } from './routes.js'
import { reload, state, take } from './state.js'
import { tags } from './tags.js'

/**
 * @typedef {object} View
 * @property {HTMLElement} element
 * @property {() => unknown} [start] once it is shown
 * @property {() => unknown} [update] as news come
 * @property {HTMLInputElement} [search]
 */

/** @type {Record<string, (given: URLSearchParams) => View>} */
const VIEWS = { overview, routes, tags, entries, entry, activity, explain }

/** @type {View | undefined} */
let view

function show() {
  const [name = '', query = ''] = location.hash.slice(1).split('?', 2)
  const known = Object.hasOwn(VIEWS, name) ? name : 'overview'
  for (const link of document.querySelectorAll('nav a')) {
    const isHere = link.getAttribute('href') === `#${known === 'entry' ? 'entries' : known}`
    if (isHere) link.setAttribute('aria-current', 'page')
    else link.removeAttribute('aria-current')
  }
  view = VIEWS[known]?.(new URLSearchParams(query))
  fill(byId('main'), view?.element)
  document.title = `${known} · tagcache`
  attempt(view?.start)
  attempt(view?.update)
}

/** What a view asks for may not be there; then it says so itself, or says it again the next time. @param {(() => unknown) | undefined} act */
function attempt(act) {
  Promise.resolve(act?.()).catch(() => {})
}

function tellWhose() {
  const { of, namespace, visitor, can } = state.about
  const texts = [
    `This process alone: ${of.pid} on ${of.host}, since ${dateTime(of.since)}`,
    namespace && `namespace ${namespace}`,
    `you are ${visitor.name}${can.purge ? '' : ', and may only look'}`,
  ]
  fill(byId('whose'), texts.filter(Boolean).join(' · '))
}

/** @param {'live' | 'lost' | 'waiting'} status @param {string} text */
function tellLive(status, text) {
  byId('live').dataset.state = status
  if (byId('live').textContent !== text) byId('live').textContent = text
}

async function load() {
  await reload()
  tellWhose()
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
    if (isGap || tick.of.since !== state.about.of.since) await load().catch(() => {})
    take(tick)
    tellLive('live', 'Live')
    attempt(view?.update)
  })
  source.onerror = () => {
    tellLive('lost', 'Not live: no connection')
    last = -1
    // Where the server refuses, the browser does not try again by itself.
    if (source.readyState === EventSource.CLOSED) setTimeout(watch, 10_000)
  }
}

addEventListener('hashchange', () => {
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
    await load()
    show()
    watch()
  } catch (error) {
    tellLive('lost', 'Not live')
    fill(byId('main'), el('p', { class: 'empty' }, /** @type {Error} */ (error).message))
    setTimeout(begin, 5000)
  }
}

void begin()
