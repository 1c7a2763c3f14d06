/** What of a dashboard is asked for. */
export interface Place {
  /** The path within it, as `/api/stats`; exactly as sent, since only what is spelt exactly so is there. */
  readonly path: string
  /** Where its page is, where it was asked for without the slash at its end. */
  readonly redirect?: string
}

/**
 * The place within a dashboard that a request is for, or undefined where it is for something else.
 * @param url what is left of the request target
 * @param originalUrl all of it
 * @param path where the dashboard is, if nobody cuts that off
 */
export function placeOf(url: string, originalUrl: string, path: string): Place | undefined {
  const whole = url.split('?', 1)[0]!
  if (whole !== path && !whole.startsWith(`${path}/`)) return undefined
  const inner = whole.slice(path.length) || '/'
  const asked = originalUrl.split('?', 1)[0]!
  if (inner !== '/' || asked.endsWith('/')) return { path: inner }
  return { path: inner, redirect: `./${asked.slice(asked.lastIndexOf('/') + 1)}/` }
}
