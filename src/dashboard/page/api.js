/** An answer that is none: `code` is the server's. */
export class Refused extends Error {
  /** @param {string} code @param {string} message */
  constructor(code, message) {
    super(message)
    this.code = code
  }
}

/**
 * @param {string} name as `stats`
 * @param {Record<string, string | number | undefined>} query
 */
export function read(name, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== '')
  const search = new URLSearchParams(given.map(([key, value]) => [key, String(value)]))
  return answered(fetch(`api/${name}?${search}`))
}

/** @param {string} name @param {object} body */
export function post(name, body) {
  const headers = { 'Content-Type': 'application/json', 'X-Tagcache': '1' }
  return answered(fetch(`api/${name}`, { method: 'POST', headers, body: JSON.stringify(body) }))
}

/** @param {Promise<Response>} asked */
async function answered(asked) {
  const response = await asked.catch(() => {
    throw new Refused('away', 'The server does not answer.')
  })
  const value = await response.json().catch(() => ({}))
  if (response.ok) return value
  throw new Refused(value.error?.code ?? 'failed', value.error?.message ?? `The server answered ${response.status}.`)
}
