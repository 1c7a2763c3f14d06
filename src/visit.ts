import { inspect } from 'node:util'
import { chooseFromQuery, type KeyParts, normalisePath, normaliseQuery, spellPath } from './core/key.ts'
import type { Reason } from './core/reasons.ts'
import type { WarningCode } from './errors.ts'
import type { Forward } from './http/cache-status.ts'
import { combined, type Fields } from './http/fields.ts'
import { mergeNames, varyValues } from './http/vary.ts'
import type { ResolvedRoute, Selection } from './options/route.ts'

/** Where a request goes, as the framework tells it. */
export interface Target {
  /** The mounted route pattern; undefined where the cache does not stand on a route. */
  readonly pattern: string | undefined
  /** Where the route is mounted, as the client sent it. */
  readonly mount: string
  /** The path as the client sent it, mount point included, without the query. */
  readonly path: string
  /** What the client sent, where a layer above has rewritten it since. */
  readonly original?: string
  readonly params: Readonly<Record<string, unknown>>
  /** The raw query, without the question mark. */
  readonly query: string
  /** Host, and scheme where it is not http, as the framework trusts them. */
  readonly host: string
  /** The methods that the route answers, where the framework tells; for noticing misuse. */
  readonly methods?: readonly string[]
}

/** Path and query as the client has sent them, whatever a layer above has made of them. */
export function askedUri({ original, path, query }: Target): [path: string, query: string] {
  if (original === undefined) return [path, query]
  const at = original.indexOf('?')
  return at === -1 ? [original, ''] : [original.slice(0, at), original.slice(at + 1)]
}

/** Calls a function among the options with what it is made for: the request as it was where the option stands. */
export type Call = (option: (...args: never) => unknown) => unknown

/** A request as it looked before a framework had it. */
export interface Sighting {
  /** Whatever of it can decide where it goes, in one text. */
  readonly text: string
  /** Its fields as sent: names and values in turn. */
  readonly rawHeaders: readonly string[]
}

/** One request, as the cache sees it. */
export interface Visit {
  readonly method: string
  readonly headers: Fields
  /** Where its client's last write stands. */
  readonly position?: string | undefined
  readonly target: Target
  readonly route: ResolvedRoute
  readonly call: Call
  /** Whether the application can be run again in the background for this request. */
  readonly canRefresh: () => boolean
  /** How it looked from in front of the application, where somebody stands there. */
  readonly sighting?: Sighting | undefined
}

/** Told about options that do not work. */
export type Warn = (code: WarningCode, route: string, error?: unknown) => void

/** Whether a request may be answered from the cache, and under which key; or why not. */
export type Admission =
  | { readonly admitted: true; readonly parts: KeyParts }
  | { readonly admitted: false; readonly forward: Forward; readonly reason: Reason }

/** The route's name: what its responses are kept under, and counted under. */
export function routeName({ route, target, method }: Visit): string {
  if (route.name !== undefined) return route.name
  const verb = method === 'HEAD' ? 'GET' : method
  if (verb === 'GET' && target.pattern !== undefined) return nameOfGet(target.pattern)
  return `${verb} ${target.pattern ?? target.path}`
}

// One text for all requests to a route, whose hash is known: counters are looked up by it with each hit.
const namesOfGet = new Map<string, string>()
const MOST_NAMES = 1000

function nameOfGet(pattern: string): string {
  const known = namesOfGet.get(pattern)
  if (known !== undefined) return known
  const name = `GET ${pattern}`
  if (namesOfGet.size < MOST_NAMES) namesOfGet.set(pattern, name)
  return name
}

/** Decides whether the cache may answer this request and store its response. */
export function admit(visit: Visit, namespace: string | undefined, warn: Warn): Admission {
  try {
    const reason = exclusion(visit)
    if (reason) return refuse(reason === 'method' ? 'method' : 'bypass', reason)
    const principal = principalOf(visit, warn)
    if (principal === null) return refuse('bypass', typeof visit.route.scope === 'function' ? 'scope' : 'credentials')
    const custom = customKey(visit)
    if (custom === null) return refuse('bypass', 'key')
    const parts = partsOf(visit, principal, custom)
    return { admitted: true, parts: namespace === undefined ? parts : { namespace, ...parts } }
  } catch (error) {
    warn('TAGCACHE_OPTION_FAILED', routeName(visit), error)
    return refuse('bypass', 'option-failed')
  }
}

function refuse(forward: Forward, reason: Reason): Admission {
  return { admitted: false, forward, reason }
}

/** What an option says, or its function. Throws where that is not of the type that it has to be: a promise, say. */
function ask<V>(visit: Visit, option: unknown, isAnswer: (answer: unknown) => answer is V): V {
  const answer = typeof option === 'function' ? visit.call(option as (...args: never) => unknown) : option
  if (isAnswer(answer)) return answer
  ignoreRejection(answer)
  throw new TypeError(`An option's function gave ${inspect(answer, { depth: 0 })}, which it cannot mean.`)
}

function exclusion(visit: Visit): Reason | undefined {
  const { route, method, headers, target } = visit
  if (!ask(visit, route.enabled, isBoolean)) return 'disabled'
  if (!route.methods.has(method)) return 'method'
  // No client sends a number sign, and those who do are read differently by everybody.
  if (target.path.includes('#') || target.query.includes('#')) return 'fragment'
  return unanswerable(method, headers, route.key === undefined)
}

/** What a request says that is in no key: parts in another unit, a state of the resource, a body. */
export function unanswerable(method: string, headers: Fields, isBodyless: boolean): Reason | undefined {
  if (method === 'GET' && headers.range !== undefined && !isByteRange(headers)) return 'range'
  if (headers['if-match'] !== undefined || headers['if-unmodified-since'] !== undefined) return 'precondition'
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
  return hasBody && isBodyless ? 'body' : undefined
}

/** Whether a request says who sends it. */
export function hasCredentials({ authorization, cookie }: Fields): boolean {
  return authorization !== undefined || cookie !== undefined
}

/** Whether the request asks for a part of the body, in bytes (RFC 9110, 14.2). */
export function isByteRange(headers: Fields): boolean {
  return headers.range !== undefined && /^bytes[\t ]*=/i.test(combined(headers, 'range') ?? '')
}

/** Whether only the response itself can say that it may be shared with whoever asks (RFC 9111, 3.5). */
export function isAuthorized({ route, headers }: Pick<Visit, 'route' | 'headers'>): boolean {
  return (route.scope === 'rfc9111' || route.scope === 'explicit') && headers.authorization !== undefined
}

// Null: whoever asks must not share; undefined: everybody shares.
function principalOf(visit: Visit, warn: Warn): string | undefined | null {
  const { scope } = visit.route
  if (scope === 'public' || scope === 'rfc9111') return undefined
  if (scope === 'explicit') return visit.headers.cookie === undefined ? undefined : null
  if (scope === undefined) {
    return hasCredentials(visit.headers) ? null : undefined
  }
  const principal = ask(visit, scope, isAnything)
  if ((typeof principal === 'string' && principal !== '') || Number.isFinite(principal)) return String(principal)
  ignoreRejection(principal)
  warn('TAGCACHE_SCOPE_UNDEFINED', routeName(visit))
  return null
}

// Null: the route's own key function has none for this request; undefined: there is no such function.
function customKey(visit: Visit): string | undefined | null {
  const { key } = visit.route
  return key === undefined ? undefined : (ask(visit, key, isOptionalText) ?? null)
}

function partsOf(visit: Visit, scope: string | undefined, custom: string | undefined): KeyParts {
  const { route, target, method, headers } = visit
  const host = hostPart(visit)
  const path = custom === undefined ? pathPart(visit) : undefined
  const { original } = target
  return {
    route: routeName(visit),
    params: custom === undefined ? selectParams(target.params, route.params) : [],
    query: custom === undefined ? selectQuery(target.query, route.query) : [],
    ...(method === 'GET' || method === 'HEAD' ? {} : { method }),
    ...(host === undefined ? {} : { host }),
    ...(original === undefined || custom !== undefined ? {} : { original }),
    ...(path === undefined ? {} : { path }),
    ...(custom === undefined ? {} : { custom }),
    ...(scope === undefined ? {} : { scope }),
    vary: varyPart(route, headers),
  }
}

function hostPart(visit: Visit): string | undefined {
  const { host } = visit.route
  if (host === false) return undefined
  return host === true ? visit.target.host : ask(visit, host, isText)
}

// Route and parameters say which path it was, but for patterns that match several: `/a(b)?c`, other case, a trailing slash.
// A name says it in their place, but not where the route is mounted.
function pathPart({ route, target }: Visit): string | undefined {
  const { pattern, path, mount, params } = target
  if (pattern === undefined) return route.name === undefined ? undefined : path
  if (route.name !== undefined) return mount === '' ? undefined : mount
  return spellPath(pattern, selectParams(params, true)) === normalisePath(path) ? undefined : path
}

function ignoreRejection(value: unknown): void {
  if (value instanceof Promise) value.catch(() => {})
}

function isBoolean(value: unknown): value is boolean {
  return typeof value === 'boolean'
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isOptionalText(value: unknown): value is string | undefined {
  return value === undefined || typeof value === 'string'
}

function isAnything(_value: unknown): _value is unknown {
  return true
}

/** Request fields by which a visitor can say another host than the one he asks. */
export const HOST_INPUTS = [
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-proto',
  'x-forwarded-scheme',
  'x-forwarded-server',
  'x-host',
  'x-original-host',
]

/** Request fields by which he can say another path or method. */
export const PATH_INPUTS = ['x-forwarded-prefix', 'x-http-method-override', 'x-original-url', 'x-rewrite-url']

/** Request fields by which a proxy says what it was asked, and which a framework may take for the host: they belong to what a request looks like. */
export const TOLD_BY_PROXIES = [...HOST_INPUTS, 'x-forwarded-prefix', 'x-forwarded-ssl', 'front-end-https', 'forwarded']

const ALL_INPUTS = [...HOST_INPUTS, ...PATH_INPUTS]

/** What the key has of a request's fields. Handlers and frameworks read the inputs, whoever sent them: so those are in it wherever they are present. */
export function varyPart(route: ResolvedRoute, headers: Fields): KeyParts['vary'] {
  const inputs = route.host === true ? ALL_INPUTS : PATH_INPUTS
  const present = inputs.filter((name) => headers[name] !== undefined)
  const values = varyValues(mergeNames(route.vary, present), headers, route.normaliseVary)
  const forwarded = route.host === true ? forwardedHost(headers) : ''
  return forwarded === '' ? values : [...values, ['forwarded', forwarded] as const].sort(([a], [b]) => (a < b ? -1 : 1))
}

// Of Forwarded (RFC 7239) what says host and scheme; the rest is the client's address, which is everybody's own.
function forwardedHost(headers: Fields): string {
  const value = headers.forwarded === undefined ? '' : combined(headers, 'forwarded')!
  return (value.match(/\b(?:host|proto)\s*=\s*("[^"]*"|[^;,\s]*)/gi) ?? []).join(';')
}

/** Parameters as they go into a key: texts, lists of texts; absent ones left out. */
export function selectParams(params: Readonly<Record<string, unknown>>, selection: Selection): KeyParts['params'] {
  const selected: [string, string | string[]][] = []
  for (const name of Object.keys(params)) {
    const value = params[name]
    if (value === undefined || value === null || !isSelected(name, selection)) continue
    selected.push([name, Array.isArray(value) ? value.map(String) : String(value)])
  }
  return selected
}

function selectQuery(query: string, selection: Selection): readonly string[] {
  if (selection === false) return []
  const parts = normaliseQuery(query)
  return selection === true ? parts : chooseFromQuery(parts, (name) => isSelected(name, selection))
}

function isSelected(name: string, selection: Selection): boolean {
  if (typeof selection === 'boolean') return selection
  return 'ignore' in selection ? !isListed(name, selection.ignore) : isListed(name, selection as readonly string[])
}

// `filter` also stands for `filter[name]`, which parsers make one value of.
function isListed(name: string, patterns: readonly string[]): boolean {
  const root = name.split('[', 1)[0]!
  return patterns.some((pattern) => {
    if (!pattern.includes('*')) return pattern === name || pattern === root
    const source = pattern.split('*').map((piece) => piece.replace(/[\\^$.+?()[\]{}|]/g, '\\$&'))
    return new RegExp(`^${source.join('.*')}$`, 's').test(name)
  })
}
