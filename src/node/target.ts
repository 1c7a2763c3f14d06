/** The path of a request target, without query. */
export function pathOf(url: string): string {
  const end = url.search(/[?#]/)
  return end === -1 ? url : url.slice(0, end)
}

/** The query of a request target, without the question mark. */
export function queryOf(url: string): string {
  const start = url.indexOf('?')
  return start === -1 ? '' : url.slice(start + 1)
}

/** What stands for the host in a key: the scheme is named where it is not http. */
export function hostPart(protocol: string, host: string | undefined): string {
  const name = (host ?? '').toLowerCase()
  return protocol === 'http' ? name : `${protocol}://${name}`
}

/** The whole path of a request whose framework has cut its mount point off, and that mount point. */
export function mountedPath(original: string, inner: string): { path: string; mount: string } {
  if (original.endsWith(inner)) return { path: original, mount: original.slice(0, original.length - inner.length) }
  // `/mount` has become `/`; anything else was rewritten, and then the handler sees the new path.
  if (inner === '/') return { path: original, mount: original }
  return { path: inner, mount: '' }
}
