import { post } from './api.js'
import { el, empty, fill } from './dom.js'
import { showComparison, showExplanation } from './explanation.js'
import { state } from './state.js'

/** Why a request is answered as it is, or why two do not share. @param {URLSearchParams} given */
export function explain(given) {
  const first = requestForm('Request', given.get('url') ?? '')
  const second = requestForm('Compared with', given.get('other') ?? '')
  const both = el('input', { type: 'checkbox', id: 'compare', checked: given.has('other') })
  const said = el('div', { role: 'status' })
  const more = el('div')
  const button = el('button', { class: 'main end', disabled: !state.about.can.explain }, 'Explain')
  const fail = (/** @type {string} */ text) => {
    fill(said, el('section', { class: 'card' }, empty(text)))
    fill(more)
  }
  const ask = async () => {
    button.disabled = true
    try {
      const request = first.read()
      const other = both.checked ? second.read() : undefined
      remember(request, other)
      const answer = await post('explain', { request, ...(other ? { other } : {}) })
      const shown = other ? showComparison(answer) : showExplanation(answer)
      // What is read out is the verdict; the rest is there to be looked at.
      fill(said, shown.verdict)
      fill(more, ...shown.more)
    } catch (error) {
      fail(/** @type {Error} */ (error).message)
    }
    button.disabled = false
  }
  const onsubmit = (/** @type {Event} */ event) => {
    event.preventDefault()
    void ask()
  }
  const toggle = () => {
    second.element.hidden = !both.checked
    second.url.required = both.checked
  }
  both.onchange = () => {
    toggle()
    if (both.checked) second.startFrom(first)
  }
  toggle()
  const form = el(
    'form',
    { class: 'card', onsubmit },
    el('div', { class: 'pair' }, first.element, second.element),
    el(
      'div',
      { class: 'bar foot' },
      el('label', { class: 'inline', for: 'compare' }, both, ' Compare with another: why do they not share?'),
      button,
    ),
    !state.about.can.explain &&
      el(
        'p',
        { class: 'soft' },
        'This cache stands in no application that could be asked; cache.explain() can be given one.',
      ),
  )
  const hint = empty(
    'Give a path as a visitor would ask for it. The cache tells what it would do with the request now, and why. No handler of a cached route runs for it.',
  )
  fill(said, hint)
  return {
    element: el('div', {}, el('h1', {}, 'Explain'), form, said, more),
    search: first.url,
    // A link may come from anywhere, and the application handles what is asked: nothing is, before somebody presses the button.
    start: () => given.has('url') && button.focus(),
  }
}

/** So that the page can be loaded again, or handed on; header fields may be credentials, and are not in it. @param {any} request @param {any} [other] */
function remember(request, other) {
  const query = new URLSearchParams({ url: request.url, ...(other ? { other: other.url } : {}) })
  history.replaceState(null, '', `#explain?${query}`)
}

/** @param {string} title @param {string} value */
function requestForm(title, value) {
  const method = el('input', { value: 'GET', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'characters' })
  const url = el('input', {
    value,
    placeholder: '/products/1?page=2',
    required: true,
    spellcheck: 'false',
    autocomplete: 'off',
    autocapitalize: 'off',
    inputmode: 'url',
  })
  const headers = el('textarea', {
    rows: 3,
    spellcheck: 'false',
    autocapitalize: 'off',
    placeholder: 'accept-language: de',
  })
  return {
    url,
    element: el(
      'fieldset',
      {},
      el('legend', {}, title),
      el(
        'div',
        { class: 'request' },
        el('label', {}, el('span', {}, 'Method'), method),
        el('label', {}, el('span', {}, 'Path or URL'), url),
      ),
      el('label', {}, el('span', {}, 'Headers, one a line'), headers),
    ),
    read: () => ({ method: method.value.trim() || 'GET', url: url.value.trim(), headers: fieldsIn(headers.value) }),
    /** Two requests are compared that are almost the same. @param {any} other */
    startFrom(other) {
      if (url.value !== '') return
      const { method: m, url: u } = other.read()
      method.value = m
      url.value = u
    },
  }
}

/** @param {string} text */
function fieldsIn(text) {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  const odd = lines.find((line) => line.indexOf(':') < 1)
  if (odd !== undefined) throw new Error(`“${odd}” is no header: write it as “name: value”.`)
  return Object.fromEntries(
    lines.map((line) => [
      line.slice(0, line.indexOf(':')).trim().toLowerCase(),
      line.slice(line.indexOf(':') + 1).trim(),
    ]),
  )
}
