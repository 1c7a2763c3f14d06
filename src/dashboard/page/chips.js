import { el } from './dom.js'

/** How an entry stands. @param {string} state */
export function stateOf(state) {
  return el('span', { class: `chip ${state}` }, state)
}

/** A name that entries carry; of a tag, the way to what carries it. @param {{ kind: string, name: string }} tag */
export function tagChip({ kind, name }) {
  if (kind !== 'tag') return el('span', { class: 'chip' }, `${kind} ${name}`)
  return el('a', { class: 'chip tag', href: entriesBy('tag', name) }, name)
}

/** @param {string} by @param {string} value */
export function entriesBy(by, value) {
  return `#entries?by=${by}&value=${encodeURIComponent(value)}`
}

/** Where a request for a URI is explained; undefined where its name is short for one. @param {string} name as `example.com/products/1` */
export function explainUri(name) {
  const [, host, path] = /^([^/*]+)(\/.*?)(?:\?\*)?$/.exec(name) ?? []
  return host === undefined ? undefined : `#explain?url=${encodeURIComponent(`http://${host}${path}`)}`
}
