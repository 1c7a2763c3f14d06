import { post } from './api.js'
import { byId, el } from './dom.js'
import { state } from './state.js'

/**
 * Asks, and purges. Everything is asked for twice.
 * @param {{ tags: string[] } | { route: string } | { uri: string } | { key: string } | { everything: true }} what
 * @param {string} name what it is called
 */
export async function purge(what, name) {
  const isEverything = 'everything' in what
  if (!(await confirmed(name, isEverything))) return false
  try {
    const { isPurged, isDelivered } = await post('purge', what)
    if (!isDelivered) toast(`${name}: the backend has not taken it yet. It is kept, and delivered as soon as it does.`)
    else toast(isPurged ? `${name}: purged.` : `${name}: there was nothing to purge.`)
    return true
  } catch (error) {
    toast(`${name}: not purged. ${/** @type {Error} */ (error).message}`)
    return false
  }
}

/**
 * A button that purges; nothing where nobody may.
 * @param {Parameters<typeof purge>[0]} what
 * @param {string} name
 * @param {() => unknown} then
 * @param {string} label
 */
export function purgeButton(what, name, then, label = 'Purge') {
  if (!state.about?.can.purge) return null
  const onclick = async () => (await purge(what, name)) && then()
  return el('button', { type: 'button', class: 'danger slight', 'aria-label': `${label} ${name}`, onclick }, label)
}

/** @param {string} name @param {boolean} isEverything @returns {Promise<boolean>} */
function confirmed(name, isEverything) {
  const dialog = byId('confirm')
  const [word, yes] = [byId('confirm-word'), byId('confirm-yes')]
  byId('confirm-title').textContent = isEverything ? 'Purge everything?' : 'Purge?'
  byId('confirm-text').textContent = isEverything
    ? 'Every stored response goes, and every request runs its handler until the cache has filled again.'
    : name
  byId('confirm-again').hidden = !isEverything
  word.value = ''
  yes.disabled = isEverything
  word.oninput = () => {
    yes.disabled = isEverything && word.value.trim().toLowerCase() !== 'everything'
  }
  byId('confirm-no').onclick = () => dialog.close('no')
  dialog.returnValue = 'no'
  dialog.showModal()
  if (isEverything) word.focus()
  else yes.focus()
  return new Promise((resolve) => {
    // One that was closed before is told of late.
    dialog.onclose = () => {
      if (!dialog.open) resolve(dialog.returnValue === 'yes' && !yes.disabled)
    }
  })
}

/** @type {ReturnType<typeof setTimeout> | undefined} */
let hiding

/** @param {string} text */
export function toast(text) {
  byId('toast').textContent = text
  clearTimeout(hiding)
  hiding = setTimeout(() => {
    byId('toast').textContent = ''
  }, 6000)
}
