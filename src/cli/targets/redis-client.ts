import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { RedisClient } from '../../backends/redis/redis.ts'
import { EXIT, Failure, misused, unreachable } from '../exit.ts'

/** A connected client, whichever library it is of. */
export interface Connection {
  readonly client: RedisClient
  end(): void
}

/** How to reach a Redis. */
export interface Address {
  readonly url: URL
  /** For a connection and each answer, in milliseconds. */
  readonly timeout: number
}

/** The address that a text names. Throws a `Failure`. */
export function redisUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url && /^rediss?:$/.test(url.protocol) && url.hostname !== '') return url
  throw misused('--redis takes a redis or rediss URL.', 'As: --redis redis://localhost:6379')
}

/** A Redis as it may be shown: without its password. */
export function nameOf({ protocol, host, pathname }: URL): string {
  return `${protocol}//${host}${pathname === '/' ? '' : pathname}`
}

/** Connects with the library that is installed. Throws a `Failure`. */
export async function connect(address: Address): Promise<Connection> {
  const library = (await load('ioredis')) ?? (await load('redis'))
  if (library === undefined)
    throw misused('Neither ioredis nor redis is installed, of which --redis needs one.', 'npm install ioredis')
  const { open } = 'createClient' in library ? nodeRedis(library) : ioRedis(library)
  const one = await open(address, false)
  if (!/^cluster_enabled:1/m.test(await one.info())) return one
  one.end()
  return open(address, true)
}

type IoRedis = typeof import('ioredis')
type NodeRedis = typeof import('redis')

interface Library {
  open(address: Address, isCluster: boolean): Promise<Connection & { info(): Promise<string> }>
}

// Beside this package, or in the project where it is run.
async function load(name: 'ioredis'): Promise<IoRedis | undefined>
async function load(name: 'redis'): Promise<NodeRedis | undefined>
async function load(name: string): Promise<unknown> {
  const here = await import(name).catch(isMissing)
  if (here !== undefined) return here
  const require = createRequire(join(process.cwd(), 'package.json'))
  try {
    return await import(pathToFileURL(require.resolve(name)).href)
  } catch (error) {
    return isMissing(error)
  }
}

function isMissing(error: unknown): undefined {
  if (!/^(?:ERR_)?MODULE_NOT_FOUND$/.test((error as NodeJS.ErrnoException).code ?? '')) throw error
}

const RECONNECT_AFTER = 500

function ioRedis({ Redis, Cluster }: IoRedis): Library {
  return {
    async open({ url, timeout }, isCluster) {
      let isConnected = false
      // Whoever cannot be reached is given up at once, and whoever goes away later is waited for.
      const again = () => (isConnected ? RECONNECT_AFTER : null)
      const single = { connectTimeout: timeout, maxRetriesPerRequest: 1, lazyConnect: true, retryStrategy: again }
      const client = isCluster
        ? new Cluster([url.href], { redisOptions: credentialsOf(url), clusterRetryStrategy: again, lazyConnect: true })
        : new Redis(url.href, single)
      const failed = firstError(client)
      await inTime(Promise.all([client.connect(), Promise.race([client.info(), failed])]), { url, timeout }, () =>
        client.disconnect(),
      )
      isConnected = true
      return { client, info: () => client.info(), end: () => client.disconnect() }
    },
  }
}

function nodeRedis({ createClient, createCluster }: NodeRedis): Library {
  return {
    async open({ url, timeout }, isCluster) {
      let isConnected = false
      const socket = {
        connectTimeout: timeout,
        reconnectStrategy: () => (isConnected ? RECONNECT_AFTER : false),
      } as const
      const client = isCluster
        ? createCluster({ rootNodes: [{ url: url.href }], defaults: { ...credentialsOf(url), socket } })
        : createClient({ url: url.href, socket })
      firstError(client)
      await inTime<unknown>(client.connect(), { url, timeout }, () => client.destroy())
      isConnected = true
      const info = async () => ('info' in client ? String(await client.info()) : '')
      return { client: client as unknown as RedisClient, info, end: () => void client.destroy() }
    },
  }
}

// Who asks a Cluster asks all of its nodes, with the same name and password.
function credentialsOf({ username, password }: URL): { username?: string; password?: string } {
  return {
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
  }
}

// The first error says why; what follows says only that there is no connection.
function firstError(client: { on(event: 'error', listener: (error: Error) => void): unknown }): Promise<never> {
  const failed = new Promise<never>((_, reject) => client.on('error', reject))
  failed.catch(() => {})
  return failed
}

async function inTime<V>(connecting: Promise<V>, { url, timeout }: Address, giveUp: () => void): Promise<V> {
  const late = new Error('it did not answer in time.')
  let timer: NodeJS.Timeout | undefined
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late), timeout)
  })
  try {
    return await Promise.race([connecting, over])
  } catch (error) {
    connecting.catch(() => {})
    attempt(giveUp)
    if (/\b(?:WRONGPASS|NOAUTH|NOPERM)\b|without any password/.test(String((error as Error).message)))
      throw new Failure(
        EXIT.refused,
        `${nameOf(url)} refuses: ${(error as Error).message}`,
        'As: --redis redis://user:password@host, or TAGCACHE_REDIS_URL, which others do not see.',
      )
    throw unreachable(nameOf(url), error, 'Is it running, and is that its address?')
  } finally {
    clearTimeout(timer)
  }
}

function attempt(act: () => void): void {
  try {
    act()
  } catch {}
}
