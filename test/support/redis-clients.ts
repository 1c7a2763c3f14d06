import * as ioredis6 from 'ioredis'
import * as ioredis5 from 'ioredis5'
import * as redis6 from 'redis'
import * as redis5 from 'redis5'

/** A library that talks to Redis: the ways to make its clients, which are connected when they are handed out. */
export interface RedisLibrary {
  readonly name: string
  connect(port: number): Promise<RedisClient>
  /** A client at once, which connects when it can: the server may be down. */
  connectLater(port: number): RedisClient
  connectCluster(ports: readonly number[]): Promise<RedisClusterClient>
  connectSentinel(ports: readonly number[], name: string): Promise<RedisSentinelClient>
  /** Sends a command as it is; its key, where it has one, is the second word. */
  send(client: AnyRedisClient, ...words: string[]): Promise<unknown>
  /** Closes at once, whatever state the server and the connections are in. */
  close(client: AnyRedisClient): Promise<void>
}

export type RedisClient = ioredis6.Redis | ioredis5.Redis | redis6.RedisClientType | redis5.RedisClientType
export type RedisClusterClient = ioredis6.Cluster | ioredis5.Cluster | redis6.RedisClusterType | redis5.RedisClusterType
export type RedisSentinelClient = ioredis6.Redis | ioredis5.Redis | redis6.RedisSentinelType | redis5.RedisSentinelType
export type AnyRedisClient = RedisClient | RedisClusterClient | RedisSentinelClient

type NodeRedisClient = redis6.RedisClientType | redis6.RedisClusterType | redis6.RedisSentinelType

export const redisLibraries: readonly RedisLibrary[] = [
  ioredis('ioredis 6', ioredis6),
  ioredis('ioredis 5', ioredis5 as unknown as typeof ioredis6),
  nodeRedis('node-redis 6', redis6),
  nodeRedis('node-redis 5', redis5 as unknown as typeof redis6),
]

// A test is to see soon that a server is away, and soon that it is back.
const RECONNECT_AFTER = 50
const CONNECT_WITHIN = 2000

const IOREDIS_CONNECTION = { connectTimeout: CONNECT_WITHIN, disconnectTimeout: 50, maxRetriesPerRequest: 1 }

const IOREDIS_OPTIONS = {
  ...IOREDIS_CONNECTION,
  retryStrategy: () => RECONNECT_AFTER,
  sentinelRetryStrategy: () => RECONNECT_AFTER,
  lazyConnect: true,
}

function ioredis(name: string, { Redis, Cluster }: Pick<typeof ioredis6, 'Redis' | 'Cluster'>): RedisLibrary {
  const create = (port: number) => quiet(new Redis({ ...IOREDIS_OPTIONS, ...at(port) }))
  return {
    name,
    connect: (port) => connected(create(port)),
    connectLater: (port) => connecting(create(port)),
    connectCluster: (ports) => connected(quiet(new Cluster(ports.map(at), IOREDIS_CLUSTER_OPTIONS))),
    connectSentinel: (ports, name) =>
      connected(quiet(new Redis({ ...IOREDIS_OPTIONS, sentinels: ports.map(at), name }))),
    send: (client, word = '', ...words) => (client as ioredis6.Redis).call(word, ...words),
    close: async (client) => (client as ioredis6.Redis).disconnect(),
  }
}

const IOREDIS_CLUSTER_OPTIONS = {
  redisOptions: IOREDIS_CONNECTION,
  clusterRetryStrategy: () => RECONNECT_AFTER,
  slotsRefreshTimeout: CONNECT_WITHIN,
  lazyConnect: true,
}

function nodeRedis(name: string, library: typeof redis6): RedisLibrary {
  const create = (port: number) => quiet(library.createClient(nodeOptions(port)))
  return {
    name,
    connect: (port) => connected(create(port)),
    connectLater: (port) => connecting(create(port)),
    connectCluster: (ports) =>
      connected(quiet(library.createCluster({ rootNodes: ports.map(nodeOptions), defaults: NODE_REDIS_OPTIONS }))),
    connectSentinel: (ports, name) =>
      connected(quiet(library.createSentinel({ name, sentinelRootNodes: ports.map(at), ...NODE_SENTINEL_OPTIONS }))),
    send: (client, ...words) => sendByNodeRedis(client as NodeRedisClient, words),
    close: async (client) => {
      if ((client as NodeRedisClient).isOpen) await (client as NodeRedisClient).destroy()
    },
  }
}

const NODE_REDIS_OPTIONS = {
  socket: { connectTimeout: CONNECT_WITHIN, reconnectStrategy: RECONNECT_AFTER },
  disableOfflineQueue: true,
}

const NODE_SENTINEL_OPTIONS = {
  nodeClientOptions: NODE_REDIS_OPTIONS,
  sentinelClientOptions: NODE_REDIS_OPTIONS,
  scanInterval: 500,
}

function nodeOptions(port: number) {
  return { ...NODE_REDIS_OPTIONS, socket: { ...NODE_REDIS_OPTIONS.socket, ...at(port) } }
}

function sendByNodeRedis(client: NodeRedisClient, words: string[]): Promise<unknown> {
  if ('nodeClient' in client) return client.sendCommand(words[1], false, words)
  if ('getSentinelNode' in client) return client.sendCommand(false, words)
  return client.sendCommand(words)
}

function at(port: number): { host: string; port: number } {
  return { host: '127.0.0.1', port }
}

/** The client, whose errors are told by the commands that meet them. */
function quiet<C extends { on(event: string, listener: () => void): unknown }>(client: C): C {
  client.on('error', () => {})
  return client
}

async function connected<C extends { connect(): Promise<unknown> }>(client: C): Promise<C> {
  await client.connect()
  return client
}

function connecting<C extends { connect(): Promise<unknown> }>(client: C): C {
  client.connect().catch(() => {})
  return client
}
