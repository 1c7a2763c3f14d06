import { ageOf, type Entry, freshFor } from '../../../src/core/entry.ts'
import { judgeStorage, type StoragePolicy, type Terms } from '../../../src/http/policy.ts'
import { forbidsStoring, judgeReuse, wishesOf } from '../../../src/http/reuse.ts'
import { varyValues } from '../../../src/http/vary.ts'
import { defaultRoute, type ResolvedRoute, resolveRoute } from '../../../src/options/route.ts'
import { isAuthorized } from '../../../src/visit.ts'
import { type Case, type Later, requestFields, responseLines } from './case.ts'
import { type Answer, REFUSED, type Verdict } from './verdict.ts'

// RFC 9111 and nothing else: no lifetime that the response does not give, and cookies are none of a cache's business (7.3).
function plain(heuristic: boolean, keepStale: number): ResolvedRoute {
  const options = {
    scope: 'rfc9111',
    storeSetCookie: true,
    requestDirectives: true,
    heuristic,
    keepStale: keepStale / 1000,
  } as const
  return resolveRoute(options, defaultRoute(Number.MAX_SAFE_INTEGER))
}

const ROUTES = new Map<string, ResolvedRoute>()

function routeOf({ heuristic, keepStale }: Case): ResolvedRoute {
  const name = `${heuristic} ${keepStale}`
  const route = ROUTES.get(name) ?? plain(heuristic, keepStale)
  ROUTES.set(name, route)
  return route
}

interface Stored {
  readonly entry: Entry
  readonly keep: number
  readonly vary: readonly string[]
}

/** What our cache stores of the case. */
export function storedOf(given: Case): Stored | undefined {
  const { request, response, storedAt } = given
  const headers = requestFields(request)
  const route = routeOf(given)
  // What the story leaves out before a response is judged: the answers to other methods, and what the client forbids.
  if (request.method !== 'GET' || forbidsStoring(headers)) return undefined
  const policy: StoragePolicy = {
    ...route,
    ownTtl: undefined,
    routeTtl: route.ttl,
    defaultTtl: 0,
    isAuthorized: isAuthorized({ route, headers }),
  }
  const judged = judgeStorage({ status: response.status, fields: responseLines(response) }, policy, storedAt)
  if (!judged.storable) return undefined
  return { entry: entryOf(judged.terms, storedAt), keep: judged.keep, vary: judged.vary }
}

function entryOf(terms: Terms, time: number): Entry {
  const response = { status: 200, statusMessage: '', headers: [], removed: [], body: new Uint8Array(), trailers: [] }
  // A tenth has a last bit in floating point: see `lifetime` of the peer.
  const lifetime = Math.round(terms.lifetime * 1000) / 1000
  return { ...terms, lifetime, key: '', tags: [], stamp: 0, time, cost: 0, response }
}

/** What our cache makes of a case. */
export function decideOurs(given: Case): Verdict {
  const stored = storedOf(given)
  if (!stored) return REFUSED
  return { isKept: true, keep: stored.keep, answers: given.later.map((later) => answerTo(given, stored, later)) }
}

function answerTo(given: Case, { entry, vary }: Stored, later: Later): Answer {
  const headers = requestFields(later)
  const state = { freshFor: freshFor(entry, later.at), age: ageOf(entry, later.at) }
  const mayShare = entry.isShared || !isAuthorized({ route: routeOf(given), headers })
  const isRead = later.method === 'GET' || later.method === 'HEAD'
  const values = (fields: Record<string, string>) =>
    JSON.stringify(varyValues(vary, fields).map(([, value]) => [value]))
  const matches = isRead && mayShare && values(headers) === values(requestFields(given.request))
  const known = { matches, age: state.age, left: state.freshFor }
  if (!matches) return { ...known, outcome: 'ask', replacesError: false }
  const canRefresh = state.freshFor <= 0 && entry.staleWhileRevalidate > 0
  const reuse = judgeReuse(entry, state, wishesOf(headers), canRefresh)
  if (reuse.kind === 'fresh') return { ...known, outcome: 'fresh', replacesError: false }
  if (reuse.kind === 'stale') return { ...known, outcome: reuse.reason, replacesError: false }
  return { ...known, outcome: 'ask', replacesError: reuse.forward === 'stale' && reuse.mayReplaceError }
}
