/** @typedef {Node | string | number | false | null | undefined} Child */

/**
 * Makes an element. Whatever is shown goes through here, as text: nothing is ever read as HTML.
 * @param {string} name
 * @param {Record<string, unknown>} attributes `on…` are listeners, `style` sets custom properties, true is an attribute without a value
 * @param {...(Child | Child[])} children
 * @returns {any}
 */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name)
  for (const [attribute, value] of Object.entries(attributes)) set(element, attribute, value)
  fill(element, ...children)
  return element
}

/**
 * @param {Element} element
 * @param {...(Child | Child[])} children
 */
export function fill(element, ...children) {
  const shown = children.flat().filter((child) => child !== false && child !== null && child !== undefined)
  element.replaceChildren(...shown.map((child) => (child instanceof Node ? child : String(child))))
}

/**
 * @param {HTMLElement} element
 * @param {string} attribute
 * @param {unknown} value
 */
function set(element, attribute, value) {
  if (value === undefined || value === false || value === null) return
  if (attribute.startsWith('on')) element.addEventListener(attribute.slice(2), /** @type {EventListener} */ (value))
  else if (attribute.startsWith('--')) element.style.setProperty(attribute, String(value))
  else element.setAttribute(attribute, value === true ? '' : String(value))
}

/** @param {string} id @returns {any} */
export function byId(id) {
  return document.getElementById(id)
}

/** @param {...(Child | Child[])} children */
export function empty(...children) {
  return el('p', { class: 'empty' }, ...children)
}

/** Names, with what is to be said of each; false says nothing. @param {[any, any][]} all */
export function facts(all) {
  const told = all.filter(([, value]) => value !== false && value !== undefined)
  return el('dl', {}, ...told.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]))
}
