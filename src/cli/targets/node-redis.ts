import type { RedisClient } from '../../backends/redis/redis.ts'
import { type Address, inTime, isRefusal, RECONNECT_AFTER, type Single, type Ways } from './connecting.ts'

type NodeRedis = Pick<typeof import('redis'), 'createClient' | 'createCluster' | 'createSentinel'>

interface Client {
  on(event: 'error', listener: (error: unknown) => void): unknown
  connect(): Promise<unknown>
  destroy(): unknown
  info?(): Promise<unknown>
}

/** How redis (node-redis) connects. */
export function nodeRedis({ createClient, createCluster, createSentinel }: NodeRedis, address: Address): Ways {
  const { hosts, url, credentials, database, isTls } = address.place
  return {
    single(host) {
      const again = patience(address.timeout)
      const socket = { ...again.socket, ...secured(isTls) }
      const options =
        url === undefined ? { ...credentials, database, socket: { ...socket, ...host } } : { url, socket: again.socket }
      return opened(createClient(options), address, again)
    },
    cluster() {
      const again = patience(address.timeout)
      const socket = { ...again.socket, ...secured(isTls) }
      const rootNodes = hosts.map((host) => ({ socket: { ...socket, ...host } }))
      return opened(createCluster({ rootNodes, defaults: { ...credentials, socket } }), address, again)
    },
    sentinel({ master, credentials: own }) {
      const again = patience(address.timeout)
      const socket = { ...again.socket, ...secured(isTls) }
      const client = createSentinel({
        name: master,
        sentinelRootNodes: [...hosts],
        nodeClientOptions: { ...credentials, database, socket },
        sentinelClientOptions: { ...own, socket },
        passthroughClientErrorEvents: true,
      })
      return opened(client, address, again)
    },
  }
}

// Its types know TLS only as switched on.
function secured(isTls: boolean): { tls: true } | object {
  return isTls ? { tls: true } : {}
}

interface Patience {
  isConnected: boolean
  readonly socket: { readonly connectTimeout: number; reconnectStrategy(): number | false }
}

// Whoever cannot be reached is given up at once, and whoever goes away later is waited for.
function patience(connectTimeout: number): Patience {
  const reconnectStrategy = (): number | false => (own.isConnected ? RECONNECT_AFTER : false)
  const own = { isConnected: false, socket: { connectTimeout, reconnectStrategy } }
  return own
}

async function opened(client: Client, address: Address, again: Patience): Promise<Single> {
  await inTime(connected(client), address, () => client.destroy())
  again.isConnected = true
  return {
    client: client as unknown as RedisClient,
    info: async () => String(await client.info?.()),
    end: () => void Promise.resolve(client.destroy()).catch(() => {}),
  }
}

// Sentinels and their master are asked again and again; what is refused once is refused again.
function connected(client: Client): Promise<unknown> {
  const refused = new Promise<never>((_, reject) => client.on('error', (error) => isRefusal(error) && reject(error)))
  refused.catch(() => {})
  return Promise.race([client.connect(), refused])
}
