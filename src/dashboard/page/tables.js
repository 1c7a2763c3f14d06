import { el, empty, fill } from './dom.js'

/**
 * @typedef {object} Column
 * @property {string} name
 * @property {(row: any) => any} show what stands in the cell
 * @property {(row: any) => string | number} [by] what it is sorted by; a column without it does not sort
 * @property {string} [kind] classes: `num`, `wide` (not on a phone), `full` (there in a line of its own), `brief` (there without its name)
 * @property {boolean} [isFixed] it stays as it is while its row is there: buttons keep their focus
 */

/**
 * A table that is sorted by its heads. Rows stay in place while their numbers change.
 * @param {object} setup
 * @param {string} setup.label what it lists, for those who do not see it
 * @param {Column[]} setup.columns
 * @param {(row: any) => string} setup.key what tells rows apart
 * @param {string} [setup.sorted] the column that it is sorted by at first, from the largest
 * @param {string} setup.nothing what is said where there is no row
 */
export function makeTable({ label, columns, key, sorted, nothing }) {
  const order = { name: sorted, isDown: true }
  /** @type {any[]} */ let rows = []
  /** @type {Map<string, HTMLTableRowElement>} */ let known = new Map()
  const heads = columns.map(({ name, by, kind }) => {
    const title = by ? el('button', { type: 'button', class: 'sort', onclick: () => sortBy(name) }, name) : name
    return el('th', { class: kind, scope: 'col' }, title)
  })
  const body = el('tbody')
  const table = el('table', { class: 'list', 'aria-label': label }, el('thead', {}, el('tr', {}, heads)), body)
  const nothingThere = empty(nothing)
  const failure = el('p', { class: 'notice bad', role: 'status', hidden: true })
  let isAsked = false

  const draw = () => {
    const by = columns.find(({ name }) => name === order.name)?.by
    const sign = order.isDown ? -1 : 1
    const shown = by ? [...rows].sort((a, b) => compare(by(a), by(b)) * sign) : rows
    table.hidden = rows.length === 0
    nothingThere.hidden = rows.length > 0 || !isAsked || !failure.hidden
    const drawn = new Map(shown.map((row) => [key(row), drawRow(columns, row, known.get(key(row)))]))
    for (const [name, row] of known) if (!drawn.has(name)) row.remove()
    // Only what is not where it belongs is moved: moving takes the focus away.
    let before = null
    for (const row of drawn.values()) {
      const next = before ? before.nextSibling : body.firstChild
      if (next !== row) body.insertBefore(row, next)
      before = row
    }
    known = drawn
  }
  const mark = () => {
    for (const [at, { name }] of columns.entries()) {
      if (name === order.name) heads[at].setAttribute('aria-sort', order.isDown ? 'descending' : 'ascending')
      else heads[at].removeAttribute('aria-sort')
    }
  }
  const sortBy = (/** @type {string} */ name) => {
    const isText = rows.length > 0 && typeof columns.find((one) => one.name === name)?.by?.(rows[0]) === 'string'
    order.isDown = order.name === name ? !order.isDown : !isText
    order.name = name
    mark()
    draw()
  }
  mark()
  draw()
  return {
    element: el('div', {}, failure, table, nothingThere),
    /** @param {any[]} given */
    show(given) {
      rows = given
      isAsked = true
      failure.hidden = true
      draw()
    },
    /** What was there stays, with what went wrong above it. @param {string} text */
    fail(text) {
      failure.textContent = text
      failure.hidden = false
      draw()
    },
  }
}

/**
 * @param {Column[]} columns
 * @param {any} row
 * @param {HTMLTableRowElement | undefined} drawn
 */
function drawRow(columns, row, drawn) {
  if (!drawn)
    return el(
      'tr',
      {},
      ...columns.map(({ name, show, kind }) => el('td', { class: kind, 'data-name': name || undefined }, show(row))),
    )
  for (const [at, { show, isFixed }] of columns.entries()) if (!isFixed) fill(drawn.cells[at], show(row))
  return drawn
}

/** @param {any} a @param {any} b */
function compare(a, b) {
  if (typeof a === 'string') return a.localeCompare(b)
  return (Number.isFinite(a) ? a : -1) - (Number.isFinite(b) ? b : -1)
}
