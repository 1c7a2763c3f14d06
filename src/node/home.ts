import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'
import { TagcacheError } from '../errors.ts'
import type { Flow } from '../flow/flow.ts'
import { combined } from '../http/fields.ts'
import { TOLD_BY_PROXIES } from '../visit.ts'
import { type Application, type Dispatch, dispatchFor, isRefresh } from './refresh.ts'

/** Where a request came to, and what it looked like there. */
interface Looks {
  readonly host: string | undefined
  readonly isEncrypted: boolean
  /** The address of the proxy that it came through, and what that has said of it. */
  readonly proxy: string | undefined
  readonly told: readonly (readonly [name: string, value: string])[]
}

/** An application that requests were seen of. */
interface Home {
  /** What it is known by. */
  readonly place: object
  readonly dispatch: Dispatch
  /** Of the last request that the cache did not answer. */
  looks: Looks
}

/** What a URL says of where it leads; nothing where it is a path. */
export interface Aim {
  readonly host: string | undefined
  readonly isEncrypted: boolean | undefined
}

/** A request as it comes to an application, from nobody in particular. */
interface Approach {
  readonly socket: { readonly remoteAddress: string; readonly encrypted: boolean }
  readonly headers: Readonly<Record<string, string>>
}

/** An application that can be asked, and how requests come to it. */
export interface Door {
  readonly dispatch: Dispatch
  readonly approach: (aim: Aim) => Approach
}

const homes = new WeakMap<Flow, Home[]>()
const MOST_HOMES = 8

/** Remembers the application that a request came to, so that others can be handed to it. */
export function rememberHome(flow: Flow, req: IncomingMessage, application: Application | undefined): void {
  if (isRefresh(req)) return
  const known = homes.get(flow) ?? []
  const { server } = (req.socket ?? {}) as Socket & { server?: Server }
  const last = known.at(-1)
  if (server && last?.place === server) {
    last.looks = looksOf(req)
    return
  }
  const dispatch = dispatchFor(req, application)
  if (!dispatch) return
  const place = server ?? dispatch
  const home = { place, dispatch, looks: looksOf(req) }
  homes.set(flow, [...known.filter((other) => other.place !== place), home].slice(-MOST_HOMES))
  flow.hasApplication = true
}

function looksOf({ headers, socket }: IncomingMessage): Looks {
  const { encrypted, remoteAddress } = (socket ?? {}) as Socket & { encrypted?: boolean }
  const { host, ':authority': authority } = headers
  const told = TOLD_BY_PROXIES.flatMap((name) => {
    return headers[name] === undefined ? [] : [[name, combined(headers, name)!] as const]
  })
  const isThroughProxy = told.length > 0 || headers['x-forwarded-for'] !== undefined
  return {
    host: host ?? (authority as string | undefined),
    isEncrypted: encrypted === true,
    proxy: isThroughProxy ? remoteAddress : undefined,
    told,
  }
}

/** The applications that can be asked: the one that is given, or those that requests were seen of, the last one first. */
export function doorsFor(flow: Flow, app: unknown): readonly Door[] {
  const known = homes.get(flow) ?? []
  const doorOf = (dispatch: Dispatch, looks: Looks) => ({ dispatch, approach: (aim: Aim) => approach(looks, aim) })
  if (app === undefined) return [...known].reverse().map(({ dispatch, looks }) => doorOf(dispatch, looks))
  return [doorOf(dispatchOf(app), known.at(-1)?.looks ?? UNSEEN)]
}

const UNSEEN: Looks = { host: undefined, isEncrypted: false, proxy: undefined, told: [] }

// An Express application and a listener are functions, Koa's has one made, a server has them called.
function dispatchOf(app: unknown): Dispatch {
  if (typeof app === 'function') return app as Dispatch
  const { callback, emit } = Object(app) as { callback?: () => Dispatch; emit?: Server['emit'] }
  if (typeof callback === 'function') return callback.call(app)
  if (typeof emit === 'function') return (req, res) => Reflect.apply(emit, app, ['request', req, res])
  throw new TagcacheError('ERR_TAGCACHE_EXPLAIN', 'The `app` given to explain() is no application, listener or server.')
}

// ——— How a request comes there ———

/** An address that nobody has (RFC 5737). What an application allows to its own machine or network, it does not allow to this one. */
const NOBODY = '192.0.2.1'

// Where a proxy stands in front, the request comes from there, and for nobody: so the application reads what it is told.
function approach({ host, isEncrypted, proxy, told }: Looks, aim: Aim): Approach {
  const said = told.map(([name, value]) => [name, retell(name, value, aim)] as const)
  const asked = tells(told, 'host') ? host : (aim.host ?? host)
  return {
    socket: {
      remoteAddress: proxy ?? NOBODY,
      encrypted: tells(told, 'proto|scheme|ssl|https') ? isEncrypted : (aim.isEncrypted ?? isEncrypted),
    },
    headers: {
      ...(asked === undefined ? {} : { host: asked }),
      ...Object.fromEntries(said),
      ...(proxy === undefined ? {} : { 'x-forwarded-for': NOBODY }),
    },
  }
}

// Whether a proxy has said it: in a field of its own, or in Forwarded (RFC 7239).
function tells(told: Looks['told'], what: string): boolean {
  const [own, part] = [new RegExp(`-(?:${what})$`), new RegExp(`\\b(?:${what})\\s*=`, 'i')]
  return told.some(([name, value]) => own.test(name) || (name === 'forwarded' && part.test(value)))
}

// What a proxy would have said of a request for that URL.
function retell(name: string, value: string, aim: Aim): string {
  if (name === 'forwarded') return retellForwarded(value, aim)
  const said = saidOf(name, aim)
  // Of several proxies each has added a value of its own.
  return said === undefined || value.split(',', 1)[0]!.trim() === said ? value : said
}

function saidOf(name: string, { host, isEncrypted }: Aim): string | undefined {
  if (host === undefined || isEncrypted === undefined) return undefined
  if (/-(?:proto|scheme)$/.test(name)) return schemeOf(isEncrypted)
  if (/-(?:ssl|https)$/.test(name)) return isEncrypted ? 'on' : 'off'
  if (name.endsWith('-port')) return /:(\d+)$/.exec(host)?.[1] ?? (isEncrypted ? '443' : '80')
  return name.endsWith('-host') ? host : undefined
}

function retellForwarded(value: string, { host, isEncrypted }: Aim): string {
  const scheme = isEncrypted === undefined ? undefined : schemeOf(isEncrypted)
  return put(put(put(value, 'for', NOBODY), 'host', host), 'proto', scheme)
}

// What says the same already stays as it is spelt.
function put(text: string, name: string, told: string | undefined): string {
  if (told === undefined) return text
  const part = new RegExp(`\\b(${name}\\s*=\\s*)("[^"]*"|[^;,\\s]*)`, 'gi')
  return text.replace(part, (whole, before, said) => {
    if (said === told || said === `"${told}"`) return whole
    return `${before}${/^[\w.-]+$/.test(told) ? told : `"${told}"`}`
  })
}

function schemeOf(isEncrypted: boolean): string {
  return isEncrypted ? 'https' : 'http'
}
