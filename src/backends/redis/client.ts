import { TagcacheError } from '../../errors.ts'
import type { Script } from './scripts.ts'

/** What a script is called with. */
export type Argument = string | Buffer

/** What the backend needs of the user's client, whichever library it is of. */
export interface RedisLink {
  readonly isCluster: boolean
  /** Whether a command would be sent now, rather than wait for a connection. */
  isReady(): boolean
  /** Sends one command; bytes in the answer come as Buffers. `key` says which master of a cluster it is for. */
  send(key: string, args: readonly Argument[]): Promise<unknown>
  /** Has each message of a channel told. */
  subscribe(channel: string, onMessage: (message: string) => void): Subscribed
}

/** A channel that is listened to, or will be. */
export interface Subscribed {
  /** From then on messages are heard. */
  readonly ready: Promise<unknown>
  /** Ends it at once, whether it is ready or not. */
  end(): void
}

/** A client of the library ioredis, from version 5 on: `Redis` or `Cluster`. */
export interface IoRedisClient {
  readonly status: string
  readonly isCluster?: boolean
  callBuffer(command: string, ...args: (string | Buffer | number)[]): Promise<unknown>
  duplicate(...options: never[]): unknown
  ssubscribe(...channels: never[]): unknown
}

/** A client of the library redis, from version 5 on: of `createClient`, `createCluster` or `createSentinel`. */
export interface NodeRedisClient {
  readonly isOpen: boolean
  sendCommand(...args: never[]): Promise<unknown>
  withTypeMapping(mapping: never): unknown
}

/** The clients that `redis()` takes. */
export type RedisClient = IoRedisClient | NodeRedisClient

/** Makes a client usable, whichever library it is of. Throws `ERR_TAGCACHE_REDIS_CLIENT` for one that cannot be used, and says why. */
export function linkTo(client: RedisClient): RedisLink {
  if (isIoRedis(client)) return ioRedisLink(client)
  if (isNodeRedis(client)) return nodeRedisLink(client)
  throw refuse(
    'it is no client of ioredis 5 or later, nor of redis (node-redis) 5 or later. Update the library, or hand in its client itself, not a pool of them.',
  )
}

const LOOK_AGAIN = 20

/** Resolves once a client is connected for the first time. */
export async function firstReady(link: RedisLink): Promise<void> {
  while (!link.isReady()) await later(LOOK_AGAIN)
}

/** Resolves in so many milliseconds, if the process lives as long. */
export function later(milliseconds: number): Promise<void> {
  return new Promise((resolve) => void setTimeout(resolve, milliseconds).unref())
}

/** Runs a script by its hash, and sends its text only where the server does not know it. */
export async function run(
  link: RedisLink,
  script: Script,
  keys: readonly string[],
  args: readonly Argument[],
): Promise<unknown> {
  const rest = [String(keys.length), ...keys, ...args]
  try {
    return await link.send(keys[0]!, ['EVALSHA', script.sha, ...rest])
  } catch (error) {
    if (!/^NOSCRIPT/.test(String((error as Error)?.message))) throw error
    return link.send(keys[0]!, ['EVAL', script.text, ...rest])
  }
}

interface IoRedis extends Omit<IoRedisClient, 'duplicate'>, Sender {
  readonly condition?: { readonly subscriber?: unknown }
  duplicate(...options: unknown[]): IoRedis
  subscribe(channel: string): Promise<unknown>
  unsubscribe(channel: string): Promise<unknown>
  on(event: string, listener: (...args: never[]) => void): unknown
  off(event: string, listener: (...args: never[]) => void): unknown
  disconnect(): void
}

// One method for each command: `call` does not go together with automatic pipelines.
type Sender = Record<`${'evalsha' | 'eval' | 'info'}Buffer`, (...args: Argument[]) => Promise<unknown>>

function isIoRedis(client: unknown): client is IoRedis {
  const { status, evalshaBuffer, duplicate, ssubscribe } = Object(client) as Record<string, unknown>
  return typeof status === 'string' && [evalshaBuffer, duplicate, ssubscribe].every((one) => typeof one === 'function')
}

function ioRedisLink(client: IoRedis): RedisLink {
  if (client.status === 'end' || client.status === 'wait') {
    throw refuse('it is not connected. Call `await client.connect()` first, or leave `lazyConnect` out.')
  }
  if (client.condition?.subscriber) throw refuse(SUBSCRIBER)
  return {
    isCluster: client.isCluster === true,
    isReady: () => client.status === 'ready',
    async send(_key, [command, ...args]) {
      return client[`${String(command).toLowerCase()}Buffer` as keyof Sender](...args)
    },
    subscribe: (channel, onMessage) => subscribeIoRedis(client, channel, onMessage),
  }
}

function subscribeIoRedis(client: IoRedis, channel: string, onMessage: (message: string) => void): Subscribed {
  const own = client.isCluster
    ? client.duplicate([], { lazyConnect: false })
    : client.duplicate({ lazyConnect: false, enableOfflineQueue: true, maxRetriesPerRequest: null, retryStrategy })
  own.on('error', () => {})
  own.on('message', (from: string, message: string) => {
    if (from === channel) onMessage(message)
  })
  return { ready: own.subscribe(channel), end: () => own.disconnect() }
}

// A subscriber never gives up, whatever the user's client does.
function retryStrategy(attempt: number): number {
  return Math.min(attempt * 100, 2000)
}

type Listener = (message: string) => void

interface NodeRedis extends Omit<NodeRedisClient, 'sendCommand'> {
  readonly isReady?: boolean
  readonly isPubSubActive?: boolean
  readonly slots?: unknown
  sendCommand(...args: unknown[]): Promise<unknown>
  duplicate(): NodeRedis
  on(event: string, listener: (error: unknown) => void): unknown
  connect(): Promise<unknown>
  destroy(): unknown
  subscribe(channel: string, listener: Listener): Promise<unknown>
  unsubscribe(channel: string, listener: Listener): Promise<unknown>
  getMasterNode?(): unknown
  readonly masters?: unknown
}

function isNodeRedis(client: unknown): client is NodeRedis {
  const { isOpen, sendCommand, withTypeMapping, totalClients } = Object(client) as Record<string, unknown>
  const isPool = totalClients !== undefined
  const isOne =
    typeof isOpen === 'boolean' && typeof sendCommand === 'function' && typeof withTypeMapping === 'function'
  return isOne && !isPool
}

// RESP's mark of a bulk string: those come as bytes.
const AS_BYTES = { typeMapping: { 36: Buffer } }

function nodeRedisLink(client: NodeRedis): RedisLink {
  if (!client.isOpen) throw refuse('it is not connected. Call `await client.connect()` first.')
  if (client.isPubSubActive) throw refuse(SUBSCRIBER)
  const kind = kindOf(client)
  return {
    isCluster: kind === 'cluster',
    isReady: () => client.isReady ?? client.isOpen,
    send(key, args) {
      if (kind === 'cluster') return sought(client, key, client.sendCommand(key, false, args, AS_BYTES))
      return kind === 'sentinel' ? client.sendCommand(false, args, AS_BYTES) : client.sendCommand(args, AS_BYTES)
    },
    subscribe: (channel, onMessage) => subscribeNodeRedis(client, kind, channel, onMessage),
  }
}

const SOUGHT_AFTER = 200
const soughtAt = new WeakMap<NodeRedis, number>()

// A Cluster client learns that a master was replaced only when another one tells it so (redis/node-redis issue 2806): where a
// key's master does not answer, any other one is asked for the key.
function sought<V>(client: NodeRedis, key: string, answer: Promise<V>): Promise<V> {
  const seek = () => {
    const now = performance.now()
    if (now - (soughtAt.get(client) ?? Number.NEGATIVE_INFINITY) < SOUGHT_AFTER) return
    soughtAt.set(client, now)
    client.sendCommand(String(now), false, ['EXISTS', key], AS_BYTES).catch(() => {})
  }
  const timer = setTimeout(seek, SOUGHT_AFTER)
  timer.unref()
  answer.then(
    () => clearTimeout(timer),
    () => {
      clearTimeout(timer)
      seek()
    },
  )
  return answer
}

type Kind = 'cluster' | 'sentinel' | 'single'

// Clusters and Sentinels keep a connection of their own for subscriptions.
function subscribeNodeRedis(client: NodeRedis, kind: Kind, channel: string, onMessage: Listener): Subscribed {
  if (kind !== 'single') {
    const end = () => void client.unsubscribe(channel, onMessage).catch(() => {})
    return { ready: client.subscribe(channel, onMessage), end }
  }
  const own = client.duplicate()
  own.on('error', () => {})
  const ready = own.connect().then(() => own.subscribe(channel, onMessage))
  return { ready, end: () => void own.destroy() }
}

function kindOf(client: NodeRedis): Kind {
  if (client.masters !== undefined || 'slots' in client) return 'cluster'
  return 'getMasterNode' in client ? 'sentinel' : 'single'
}

const SUBSCRIBER =
  'it is in subscriber mode, where it takes no commands. Hand in another client, such as `client.duplicate()`.'

function refuse(why: string): TagcacheError {
  return new TagcacheError('ERR_TAGCACHE_REDIS_CLIENT', `redis() cannot use this client: ${why}`)
}
