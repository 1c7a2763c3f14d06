import { misused } from '../exit.ts'

/** One server, as it is asked for. */
export interface Host {
  readonly host: string
  readonly port: number
}

/** Whom one says one is. */
export interface Credentials {
  readonly username?: string
  readonly password?: string
}

/** What Sentinels call the master that they watch, and who one is to them. */
export interface Sentinel {
  readonly master: string
  readonly credentials: Credentials
}

/** Where a Redis is. */
export interface RedisPlace {
  /** As it may be shown: without passwords. */
  readonly name: string
  /** As it was given, where it is one server: a library may understand more of it. */
  readonly url?: string
  /** A server, or some nodes of a Cluster; or Sentinels. */
  readonly hosts: readonly Host[]
  readonly isTls: boolean
  readonly credentials: Credentials
  readonly database: number
  /** Undefined where the hosts are no Sentinels. */
  readonly sentinel?: Sentinel
}

const REDIS_PORT = 6379
const SENTINEL_PORT = 26379
const URL_PARTS = /^redis(s?)(\+sentinel)?:\/\/(?:([^/?#]*)@)?([^/?#@]+)(\/[^?#]*)?(?:\?([^#]*))?$/i
const AS =
  'As: --redis redis://localhost:6379, redis://node-1:6379,node-2:6379 of a Cluster, or redis+sentinel://host-1:26379,host-2:26379/mymaster'

/** The place that a text names. Throws a `Failure`, which does not show it, since it may have a password. */
export function placeOf(text: string): RedisPlace {
  const [, tls, sentinel, user, list = '', path = '', query = ''] = URL_PARTS.exec(text) ?? []
  const port = sentinel ? SENTINEL_PORT : REDIS_PORT
  const hosts = list.split(',').map((host) => hostOf(host, port))
  const names = path.split('/').slice(1)
  const master = sentinel ? decoded(names.shift() ?? '') : undefined
  const [database = ''] = names
  if (list === '' || master === '' || names.length > 1 || !/^\d*$/.test(database)) throw noPlace()
  const place = {
    name: nameOf(`redis${tls}${sentinel ?? ''}`, hosts, master, database),
    hosts,
    isTls: tls !== '',
    credentials: credentialsOf(user),
    database: Number(database),
  }
  if (master !== undefined) return { ...place, sentinel: { master, credentials: sentinelCredentials(query) } }
  if (hosts.length === 1) return { ...place, url: text }
  if (query !== '') throw noPlace()
  return place
}

function hostOf(text: string, otherwise: number): Host {
  const url = URL.canParse(`redis://${text}`) ? new URL(`redis://${text}`) : undefined
  if (!url || url.hostname === '' || url.pathname !== '') throw noPlace()
  return { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port === '' ? otherwise : Number(url.port) }
}

// Only those that are set, since no name is not an empty one.
function credentialsOf(user = ''): Credentials {
  const at = user.indexOf(':')
  return someOf(decoded(at === -1 ? user : user.slice(0, at)), decoded(at === -1 ? '' : user.slice(at + 1)))
}

function sentinelCredentials(query: string): Credentials {
  const given = new URLSearchParams(query)
  const known = ['sentinel_username', 'sentinel_password']
  if ([...given.keys()].some((name) => !known.includes(name))) throw noPlace()
  return someOf(given.get(known[0]!) ?? '', given.get(known[1]!) ?? '')
}

function someOf(username: string, password: string): Credentials {
  return { ...(username === '' ? {} : { username }), ...(password === '' ? {} : { password }) }
}

function nameOf(scheme: string, hosts: readonly Host[], master: string | undefined, database: string): string {
  const list = hosts.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`)
  const path = [master, database].filter((part) => part !== undefined && part !== '')
  return [`${scheme.toLowerCase()}://${list.join(',')}`, ...path].join('/')
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw noPlace()
  }
}

function noPlace() {
  return misused('--redis takes a redis or rediss URL, or one of Sentinels.', AS)
}
