import type { IncomingMessage, ServerResponse } from 'node:http'
import { isTagName } from '../core/tags.ts'
import { pointedUri, uriNames } from '../core/uri.ts'
import type { Flow } from '../flow/flow.ts'
import { parseGroups } from '../http/cache-groups.ts'
import { combined, type Fields, firstLine } from '../http/fields.ts'
import { askedUri, type Target } from '../visit.ts'

// The methods that are registered as safe; of all others it is not known (RFC 9111, 4.4).
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PROPFIND', 'REPORT', 'SEARCH', 'QUERY'])

/** Whether a request with this method changes nothing. */
export function isSafe(method: string | undefined): boolean {
  return SAFE.has(method ?? 'GET')
}

/** What an answer implies to be purged beside what the route names. */
export interface Implied {
  /** Tags that the answer itself names in Cache-Group-Invalidation (RFC 9875, 3). */
  readonly groups: readonly string[]
  /** Its own URI, and those of the same host that it points at (RFC 9111, 4.4). */
  readonly uris: readonly string[]
}

const NOTHING: Implied = { groups: [], uris: [] }

const WATCHED = Symbol('tagcache: what is implied by the answer')
type Watched = ServerResponse & { [WATCHED]?: Set<Flow> }

/** What the answer to this request implies, told once however many layers of a cache stand around it. */
export function impliedPurge(
  flow: Flow,
  { method }: IncomingMessage,
  res: Watched,
  target: () => Target,
): (status: number, fields: Fields) => Implied {
  if (isSafe(method) || res[WATCHED]?.has(flow)) return () => NOTHING
  res[WATCHED] ??= new Set()
  res[WATCHED].add(flow)
  const asked = tryTarget(flow, target)
  return (status, fields) => (asked && status < 400 ? impliedBy(asked, fields) : NOTHING)
}

// Where it cannot be told where a request goes, nothing was stored either.
function tryTarget({ events }: Flow, target: () => Target): Target | undefined {
  try {
    return target()
  } catch (error) {
    events.emit({ type: 'fault', operation: 'purge', error })
    return undefined
  }
}

function impliedBy(target: Target, fields: Fields): Implied {
  const { host } = target
  const [path, query] = askedUri(target)
  const pointed = ['location', 'content-location'].flatMap((name) => {
    const reference = firstLine(fields, name)
    return reference === undefined ? [] : pointedUri(host, path, reference)
  })
  return {
    // What cannot be a tag is on no response.
    groups: parseGroups(combined(fields, 'cache-group-invalidation')).filter(isTagName),
    uris: [...new Set([...uriNames(host, path, query), ...pointed])],
  }
}

/** Whether the answer to a POST says that it is what a GET of the same URI gives (RFC 9110, 9.3.3). */
export function isOfOwnUri(target: Target, fields: Fields): boolean {
  const [path, query] = askedUri(target)
  const reference = firstLine(fields, 'content-location')
  const [own] = uriNames(target.host, path, query)
  return reference !== undefined && pointedUri(target.host, path, reference).includes(own ?? '')
}
