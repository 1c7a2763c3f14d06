import type { IncomingHttpHeaders } from 'node:http'

/** The field that whoever writes has to send: no form can, and no script of another origin without asking first. */
export const WRITE_FIELD = 'x-tagcache'

/**
 * Why a request comes from a page of another origin, so that it must not be answered; undefined where it does not. A layer above
 * may let all origins read, and over plain HTTP browsers do not tell the site.
 */
export function crossSiteRead(headers: IncomingHttpHeaders, origins: ReadonlySet<string>): string | undefined {
  const { origin, host = '', 'sec-fetch-site': site } = headers
  if (origin !== undefined && !isOwn(origin, host) && !origins.has(origin))
    return `${origin.slice(0, 200)} is not the origin of this dashboard.`
  if (site === undefined || site === 'same-origin' || site === 'none') return undefined
  return 'The browser says that another site asks.'
}

/**
 * The same for what changes something, of which more is asked: a type that no form can send, and a field of its own.
 */
export function crossSiteWrite(headers: IncomingHttpHeaders, origins: ReadonlySet<string>): string | undefined {
  if (!/^application\/json *(?:;|$)/i.test(headers['content-type'] ?? '')) return 'Send JSON, as application/json.'
  if (headers[WRITE_FIELD] === undefined) return `Send the field ${WRITE_FIELD}, with any value.`
  return crossSiteRead(headers, origins)
}

// The scheme may be said differently behind a proxy that ends TLS.
function isOwn(origin: string, host: string): boolean {
  const own = `${schemeOf(origin)}${host}`
  return host !== '' && URL.canParse(origin) && URL.canParse(own) && new URL(origin).host === new URL(own).host
}

function schemeOf(origin: string): string {
  return origin.startsWith('https:') ? 'https://' : 'http://'
}
