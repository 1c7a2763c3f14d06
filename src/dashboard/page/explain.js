import { post } from './api.js'
import { el, fill } from './dom.js'
import { state } from './state.js'

/** Why a request is answered as it is, or why two do not share. @param {URLSearchParams} given */
export function explain(given) {
  const [first, second] = [requestForm('Request', given.get('url') ?? '/'), requestForm('Compared with', '')]
  const both = el('input', { type: 'checkbox', id: 'compare' })
  const answer = el('div', { 'aria-live': 'polite' })
  const ask = async (/** @type {Event} */ event) => {
    event.preventDefault()
    try {
      const said = await post('explain', { request: first.read(), ...(both.checked ? { other: second.read() } : {}) })
      fill(answer, el('section', { class: 'card' }, tree(said)))
    } catch (error) {
      fill(answer, el('section', { class: 'card' }, el('p', { class: 'empty' }, /** @type {Error} */ (error).message)))
    }
  }
  second.element.hidden = true
  both.onchange = () => {
    second.element.hidden = !both.checked
  }
  const form = el(
    'form',
    { class: 'card', onsubmit: ask },
    el('div', { class: 'pair' }, first.element, second.element),
    el(
      'div',
      { class: 'bar foot' },
      el('label', { class: 'inline', for: 'compare' }, both, ' Compare with another: why do they not share?'),
      el('button', { class: 'main end', disabled: !state.about.can.explain }, 'Explain'),
    ),
    !state.about.can.explain && el('p', { class: 'soft' }, 'This cache stands in no application that could be asked.'),
  )
  return { element: el('div', {}, el('h1', {}, 'Explain'), form, answer), search: first.url }
}

/** @param {string} title @param {string} value */
function requestForm(title, value) {
  const method = el('input', { value: 'GET', autocomplete: 'off' })
  const url = el('input', { value, placeholder: '/products/1?page=2', spellcheck: 'false', autocomplete: 'off' })
  const headers = el('textarea', { rows: 3, spellcheck: 'false', placeholder: 'accept-language: de' })
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
  }
}

/** @param {string} text */
function fieldsIn(text) {
  const lines = text.split('\n').filter((line) => line.includes(':'))
  return Object.fromEntries(
    lines.map((line) => [
      line.slice(0, line.indexOf(':')).trim().toLowerCase(),
      line.slice(line.indexOf(':') + 1).trim(),
    ]),
  )
}

/** Whatever was said, as names and values. @param {unknown} value @returns {any} */
function tree(value) {
  if (value === null || value === undefined) return el('span', { class: 'soft' }, '–')
  if (typeof value !== 'object') return el('span', {}, String(value))
  if (Array.isArray(value)) {
    if (value.length === 0) return el('span', { class: 'soft' }, 'none')
    const isFlat = value.every((one) => typeof one !== 'object' || one === null)
    return el('div', {}, ...value.map((one) => (isFlat ? el('span', { class: 'chip' }, String(one)) : tree(one))))
  }
  return el(
    'dl',
    {},
    ...Object.entries(value).flatMap(([name, inner]) => [el('dt', {}, wordsOf(name)), el('dd', {}, tree(inner))]),
  )
}

/** @param {string} name as `staleIfError` */
function wordsOf(name) {
  return name.replace(/([a-z])([A-Z])/g, (_, last, first) => `${last} ${first.toLowerCase()}`)
}
