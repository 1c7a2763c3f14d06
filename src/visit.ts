import { chooseFromQuery, encodeKey, type KeyParts, normalisePath, normaliseQuery, spellPath } from './core/key.ts'
import type { WarningCode } from './errors.ts'
import type { Forward } from './http/cache-status.ts'
import { combined, type Fields } from './http/fields.ts'
import { mergeNames, varyValues } from './http/vary.ts'
import type { ResolvedRoute, Selection } from './options.ts'

/** Where a request goes, as the framework tells it. */
export interface Target {
  /** The mounted route pattern; undefined where the cache stands before routing. */
  readonly pattern: string | undefined
  /** The path as the client sent it, mount point included, without the query. */
  readonly path: string
  readonly params: Readonly<Record<string, unknown>>
  /** The raw query, without the question mark. */
  readonly query: string
  /** Host, and scheme where it is not http, as the framework trusts them. */
  readonly host: string
  /** The methods that the route answers, where the framework tells; for noticing misuse. */
  readonly methods?: readonly string[]
}

/** One request, as the cache sees it. */
export interface Visit {
  readonly method: string
  readonly headers: Fields
  readonly target: Target
  readonly route: ResolvedRoute
  /** What the functions among the options are called with. */
  readonly args: readonly unknown[]
}

/** Told about options that do not work. */
export type Warn = (code: WarningCode, route: string, error?: unknown) => void

/** Whether a request may be answered from the cache, and under which key; or why not. */
export type Admission =
  | { readonly admitted: true; readonly parts: KeyParts; readonly primary: string }
  | { readonly admitted: false; readonly forward: Forward; readonly reason: string }

/** The route's name: what its responses are kept under, and counted under. */
export function routeName({ route, target, method }: Visit): string {
  if (route.name !== undefined) return route.name
  const verb = method === 'HEAD' ? 'GET' : method
  return `${verb} ${target.pattern ?? normalisePath(target.path)}`
}

/** Decides whether the cache may answer this request and store its response. */
export function admit(visit: Visit, namespace: string | undefined, warn: Warn): Admission {
  const { route, headers, args, method } = visit
  try {
    if (!ask(route.enabled, args)) return refuse('bypass', 'disabled')
    if (!route.methods.has(method)) return refuse('method', 'method')
    const reason = unsuited(headers, route)
    if (reason) return refuse('bypass', reason)
    const principal = principalOf(visit, warn)
    if (principal === null) return refuse('bypass', route.scope === undefined ? 'credentials' : 'scope')
    const custom = route.key === undefined ? undefined : ask(route.key, args)
    if (route.key !== undefined && typeof custom !== 'string') return refuse('bypass', 'key')
    const parts = {
      ...partsOf(visit, principal, custom as string | undefined),
      ...(namespace === undefined ? {} : { namespace }),
    }
    return { admitted: true, parts, primary: encodeKey(parts) }
  } catch (error) {
    warn('TAGCACHE_OPTION_FAILED', routeName(visit), error)
    return refuse('bypass', 'option-failed')
  }
}

/** The key of a request among the variants of its response that these request fields tell apart. */
export function variantKey(parts: KeyParts, names: readonly string[], headers: Fields): string {
  const known = parts.vary.map(([name]) => name)
  const learned = varyValues(
    names.filter((name) => !known.includes(name)),
    headers,
  )
  return encodeKey({ ...parts, vary: [...parts.vary, ...learned].sort(([a], [b]) => (a < b ? -1 : 1)) })
}

function refuse(forward: Forward, reason: string): Admission {
  return { admitted: false, forward, reason }
}

function ask(option: unknown, args: readonly unknown[]): unknown {
  return typeof option === 'function' ? option(...args) : option
}

// A part of the body, a state of the resource, a body of the request: none of them is in the key.
function unsuited(headers: Fields, route: ResolvedRoute): string | undefined {
  if (headers.range !== undefined) return 'range'
  if (headers['if-match'] !== undefined || headers['if-unmodified-since'] !== undefined) return 'precondition'
  const hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0
  return hasBody && route.key === undefined ? 'body' : undefined
}

// Null: whoever asks must not share; undefined: everybody shares.
function principalOf(visit: Visit, warn: Warn): string | undefined | null {
  const { scope } = visit.route
  if (scope === 'public') return undefined
  if (scope === undefined) {
    return visit.headers.authorization !== undefined || visit.headers.cookie !== undefined ? null : undefined
  }
  const principal = ask(scope, visit.args)
  if ((typeof principal === 'string' && principal !== '') || Number.isFinite(principal)) return String(principal)
  warn('TAGCACHE_SCOPE_UNDEFINED', routeName(visit))
  return null
}

function partsOf(visit: Visit, scope: string | undefined, custom: string | undefined): KeyParts {
  const { route, target, method, headers } = visit
  const params = custom === undefined ? selectParams(target.params, route.params) : []
  const host =
    route.host === true ? target.host : route.host === false ? undefined : String(ask(route.host, visit.args))
  const path = pathPart(visit, params)
  return {
    route: routeName(visit),
    params,
    query: custom === undefined ? selectQuery(target.query, route.query) : [],
    ...(method === 'GET' || method === 'HEAD' ? {} : { method }),
    ...(host === undefined ? {} : { host }),
    ...(path === undefined ? {} : { path }),
    ...(custom === undefined ? {} : { custom }),
    ...(scope === undefined ? {} : { scope }),
    vary: varyValues(mergeNames(route.vary, unkeyedInputs(headers, route)), headers),
  }
}

// Route and parameters say which path it was, but for patterns that match several: `/a(b)?c`, other case, a trailing slash.
function pathPart({ route, target }: Visit, params: KeyParts['params']): string | undefined {
  if (route.key !== undefined) return undefined
  const path = normalisePath(target.path)
  if (target.pattern === undefined) return route.name === undefined ? undefined : path
  if (route.name !== undefined || route.params !== true) return undefined
  return spellPath(target.pattern, params) === path ? undefined : path
}

/** Request fields that handlers and frameworks read where the request came from; a visitor can send any of them. */
const UNKEYED_INPUTS = [
  'x-forwarded-host',
  'x-forwarded-port',
  'x-forwarded-prefix',
  'x-forwarded-proto',
  'x-forwarded-scheme',
  'x-forwarded-server',
  'x-host',
  'x-http-method-override',
  'x-original-host',
  'x-original-url',
  'x-rewrite-url',
]

function unkeyedInputs(headers: Fields, route: ResolvedRoute): readonly string[] {
  if (route.host === false) return []
  return UNKEYED_INPUTS.filter((name) => headers[name] !== undefined)
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

/** Whether the client forbids storing the response (RFC 9111, 5.2.1.5). */
export function forbidsStoring(headers: Fields): boolean {
  return /(^|[\s,])no-store($|[\s,])/i.test(combined(headers, 'cache-control') ?? '')
}
