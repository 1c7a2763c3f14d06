import type { IncomingMessage } from 'node:http'
import type { MaybePromise } from '../core/maybe.ts'
import { badValue, checkOptions, countOf } from '../core/values.ts'
import { TagcacheError } from '../errors.ts'

/** Whoever may see the dashboard, with a name, or `true` for somebody; false or undefined for whoever may not. */
export type Authorisation = { readonly name: string } | boolean | undefined | null

/** Says who asks, if he may see the dashboard. `context` is Koa's, where it is mounted in Koa. */
export interface Authorize<Req = IncomingMessage, Ctx = unknown> {
  (req: Req, context: Ctx): MaybePromise<Authorisation>
  /** What `WWW-Authenticate` says to whoever may not, with 401. Default: nothing, and 403. */
  readonly challenge?: string
}

/** How a dashboard is mounted. */
export interface DashboardOptions<Req = IncomingMessage, Ctx = unknown> {
  /**
   * Who may see it, and purge; asked for each request. Without it the dashboard is for this machine alone, and only where
   * `NODE_ENV` is `development`; elsewhere it refuses to be mounted.
   */
  authorize?: Authorize<Req, Ctx>
  /** Whether nobody may purge. Default `false`. */
  readOnly?: boolean
  /** Where it is, where nobody cuts that off as `app.use(path, …)` of Express does: `'/cache'`. Default: everything is for it. */
  path?: string
  /** Other origins than its own `Host` from which its page is used, as `'https://admin.example.com'`, where a proxy changes the host. Default: none. */
  origins?: readonly string[]
  /** How many may watch at the same time. Default 20. */
  maxStreams?: number
}

/** A dashboard's options with everything decided. */
export interface ResolvedDashboard<Req, Ctx> {
  /** Undefined: this machine alone. */
  readonly authorize: Authorize<Req, Ctx> | undefined
  readonly isReadOnly: boolean
  /** Without a slash at its end. */
  readonly path: string
  readonly origins: ReadonlySet<string>
  readonly maxStreams: number
}

/** Resolves what `dashboard()` was given. Throws `ERR_TAGCACHE_DASHBOARD_OPEN`, `ERR_TAGCACHE_OPTION_VALUE` or `ERR_TAGCACHE_OPTION_UNKNOWN`. */
export function resolveDashboard<Req, Ctx>(options: DashboardOptions<Req, Ctx>): ResolvedDashboard<Req, Ctx> {
  checkOptions('dashboard()', options, ['authorize', 'readOnly', 'path', 'origins', 'maxStreams'])
  const { authorize, readOnly = false, path = '', origins = [], maxStreams = 20 } = options
  if (authorize !== undefined && typeof authorize !== 'function') throw badValue('authorize', authorize, 'a function')
  if (typeof readOnly !== 'boolean') throw badValue('readOnly', readOnly, 'true or false')
  if (typeof path !== 'string' || !/^(?:\/(?!\.+(?:\/|$))[\w.~-]+)*\/?$/.test(path))
    throw badValue('path', path, "a path, as '/cache'")
  if (authorize === undefined && process.env.NODE_ENV !== 'development') {
    throw new TagcacheError(
      'ERR_TAGCACHE_DASHBOARD_OPEN',
      'dashboard() needs `authorize`, a function that says who may see it: it shows what is stored, and purges. Without it the dashboard is mounted only where NODE_ENV is "development", for this machine alone.',
    )
  }
  return {
    authorize,
    isReadOnly: readOnly,
    path: path.replace(/\/$/, ''),
    origins: new Set(origins.map(originOf)),
    maxStreams: countOf('maxStreams', maxStreams),
  }
}

function originOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url && url.origin !== 'null') return url.origin
  throw badValue('origins', text, "origins, as 'https://admin.example.com'")
}
