/** The path of a request target, without query. A fragment, which has no place there, stays visible. */
export function pathOf(url: string): string {
  const end = url.indexOf('?')
  return end === -1 ? url : url.slice(0, end)
}

/** The query of a request target, without the question mark. */
export function queryOf(url: string): string {
  const start = url.indexOf('?')
  return start === -1 ? '' : url.slice(start + 1)
}

/** What stands for the host in a key: the scheme is named where it is not http, or where it could be mistaken. */
export function hostPart(protocol: string, host: string | undefined): string {
  const name = (host ?? '').toLowerCase()
  return protocol === 'http' && !name.includes('/') ? name : `${protocol}://${name}`
}

/** The whole path of a request whose framework has cut its mount point off. */
export interface MountedPath {
  readonly path: string
  readonly mount: string
  /** What the client sent, where that is something else. */
  readonly original?: string
}

/**
 * Puts a path together again from what the client sent and what a framework has left of it. `/mount` is left as `/`; what
 * is no end of the original was rewritten, and then a handler may know both.
 */
export function mountedPath(originalUrl: string, innerUrl: string): MountedPath {
  const whole = pathOf(originalUrl)
  const inner = pathOf(innerUrl)
  const rewritten = { path: inner, mount: '', original: originalUrl }
  if (queryOf(originalUrl) !== queryOf(innerUrl)) return rewritten
  if (whole.endsWith(inner)) return { path: whole, mount: whole.slice(0, whole.length - inner.length) }
  return inner === '/' ? { path: whole, mount: whole } : rewritten
}
