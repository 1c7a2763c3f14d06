import { createHash } from 'node:crypto'
import { normalisePath, normaliseQuery } from './key.ts'

// A name that a backend keeps for each entry stays short.
const LONGEST_NAME = 200

/**
 * The name under which the responses of a URI are purged (RFC 9111, 4.4): `uri/example.com/products/1?page=2`.
 * @param host as keys have it; undefined stands for any
 * @param query its parts in normal form; undefined stands for any
 */
export function uriName(host: string | undefined, path: string, query: readonly string[] | undefined): string {
  const search = query === undefined ? '?*' : query.length > 0 ? `?${query.join('&')}` : ''
  // A client may name the whole URI in its request line (RFC 9112, 3.2.2).
  const own = path.replace(/^[a-z][a-z\d+.-]*:\/\/[^/?#]*/i, '') || '/'
  return shortened('uri', `${host ?? '*'}${normalisePath(own)}${search}`)
}

/** The name under which the responses of a route are purged: `route/GET /products/:id`. */
export function routeTagName(route: string): string {
  return shortened('route', route)
}

function shortened(kind: 'uri' | 'route', name: string): string {
  if (name.length + kind.length < LONGEST_NAME) return `${kind}/${name}`
  return `${kind}/${createHash('sha256').update(`${kind}/${name}`).digest('base64url')}`
}

/** The names of a URI that a response points at with Location or Content-Location, if it is of the same host; else none. */
export function pointedUri(host: string, path: string, reference: string): string[] {
  const base = host.includes('://') ? host : `http://${host}`
  const from = parseUrl(base + (path.startsWith('/') ? path : '/'))
  const url = from && parseUrl(reference, from)
  // The scheme may be said differently behind a proxy that ends TLS.
  if (!url || url.host !== from.host) return []
  return uriNames(host, url.pathname, url.search.slice(1))
}

/** The names of a URI for whoever purges it: its own, and those of responses that are kept for any host, or any query. */
export function uriNames(host: string, path: string, query: string): string[] {
  const parts = normaliseQuery(query)
  return [host, undefined].flatMap((one) => [uriName(one, path, parts), uriName(one, path, undefined)])
}

function parseUrl(text: string, base?: URL): URL | undefined {
  try {
    return new URL(text, base)
  } catch {
    return undefined
  }
}
