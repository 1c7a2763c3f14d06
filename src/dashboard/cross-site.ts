import type { IncomingHttpHeaders } from 'node:http'

/** The field that whoever writes has to send: no form can, and no script of another origin without asking first. */
export const WRITE_FIELD = 'x-tagcache'

/** Why a request may not come from a page of another origin: so it must not be answered; undefined where it may be. */
export function crossSiteRead(headers: IncomingHttpHeaders): string | undefined {
  const site = headers['sec-fetch-site']
  if (site === undefined || site === 'same-origin' || site === 'none') return undefined
  return 'The browser says that another site asks.'
}

/**
 * The same for what changes something, of which more is asked: a type that no form can send, a field of its own, and an origin,
 * where one is said, that is this one.
 */
export function crossSiteWrite(headers: IncomingHttpHeaders, origins: ReadonlySet<string>): string | undefined {
  const { origin } = headers
  if (!/^application\/json *(?:;|$)/i.test(headers['content-type'] ?? '')) return 'Send JSON, as application/json.'
  if (headers[WRITE_FIELD] === undefined) return `Send the field ${WRITE_FIELD}, with any value.`
  if (origin !== undefined && !isOwn(origin, headers.host ?? '') && !origins.has(origin))
    return `${origin.slice(0, 200)} is not the origin of this dashboard.`
  return crossSiteRead(headers)
}

// The scheme may be said differently behind a proxy that ends TLS.
function isOwn(origin: string, host: string): boolean {
  return URL.canParse(origin) && host !== '' && new URL(origin).host === new URL(`${schemeOf(origin)}${host}`).host
}

function schemeOf(origin: string): string {
  return origin.startsWith('https:') ? 'https://' : 'http://'
}
