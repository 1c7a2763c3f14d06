import { Redis } from 'ioredis'
import { createClient } from 'redis'
import type { RedisClient } from '../../src/backends/redis/redis.ts'
import type { TagBackend } from '../../src/index.ts'
import { type Library, type Served, type SharedLibrary, serve } from './application.ts'
import { type Database, Table } from './database.ts'
import { generator } from './random.ts'
import { believing, deletingOnly, stampingLate, withOneReign } from './sabotage.ts'
import type { ClientName, Setup } from './setup.ts'

/** Starts the one server of a cache in memory. */
export function serveFromMemory({ memory, tagcache }: Library, stamps: boolean, seed: number): Promise<Served> {
  const backend = stamps ? memory() : deletingOnly(memory())
  return serve(tagcache({ ttl: 60, backend }), new Table(), generator(~seed))
}

// Short, so that much of the time after a fault is looked at.
const PAUSE = '250ms'

const readYourWrites = { secret: 'known to all servers that are checked', via: 'header' } as const

/** Starts one of several servers that share Redis, and rows. */
export async function serveFromRedis(library: SharedLibrary, setup: Setup, database: Database): Promise<Served> {
  const { client, close } = await CONNECT[setup.client](setup.redisPort)
  const backend = backendOf(library, setup, client)
  const cache = library.tagcache({ ttl: 60, backend, backendPause: PAUSE, journal: setup.journal, readYourWrites })
  const served = await serve(cache, database, generator(setup.seed))
  return {
    port: served.port,
    close() {
      served.close()
      void Promise.resolve(backend.close()).finally(close)
    },
  }
}

function backendOf({ redis, tiered, memory }: SharedLibrary, setup: Setup, client: RedisClient): TagBackend<false> {
  const { tiers, without } = setup
  const far = redis(without === 'epoch' ? withOneReign(client) : client)
  const told = without === 'distrust' ? believing(far) : far
  const backend = tiers === 'none' ? far : tiered({ near: memory(), far: told, consistency: tiers })
  return without === 'stamps' ? stampingLate(backend) : backend
}

interface Connected {
  readonly client: RedisClient
  close(): void
}

// What was lost is soon found again, so that more of it happens.
const RECONNECT = (attempts: number) => Math.min(attempts * 50, 250)

const CONNECT: Record<ClientName, (port: number) => Promise<Connected>> = {
  ioredis: async (port) => {
    const client = new Redis({ port, host: '127.0.0.1', retryStrategy: RECONNECT })
    client.on('error', () => {})
    return { client, close: () => client.disconnect() }
  },
  'node-redis': async (port) => {
    const client = createClient({ socket: { port, host: '127.0.0.1', reconnectStrategy: RECONNECT } })
    client.on('error', () => {})
    await client.connect()
    return { client, close: () => client.destroy() }
  },
}
