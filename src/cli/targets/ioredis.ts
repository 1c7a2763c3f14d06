import { type Address, inTime, isRefusal, RECONNECT_AFTER, type Single, type Ways } from './connecting.ts'

type IoRedis = Pick<typeof import('ioredis'), 'Redis' | 'Cluster'>
type Redis = InstanceType<IoRedis['Redis']>
type Cluster = InstanceType<IoRedis['Cluster']>

/** How ioredis connects. */
export function ioRedis({ Redis, Cluster }: IoRedis, address: Address): Ways {
  const { place, timeout } = address
  const { hosts, url, credentials, database, isTls } = place
  const limits = { connectTimeout: timeout, maxRetriesPerRequest: 1 }
  const common = { ...credentials, ...(isTls ? { tls: {} } : {}), ...limits }
  return {
    single(host) {
      const again = patience()
      const options = { ...limits, retryStrategy: again.wait, lazyConnect: true }
      const client =
        url === undefined ? new Redis({ ...common, ...options, ...host, db: database }) : new Redis(url, options)
      return opened(client, connected(client), address, again)
    },
    cluster() {
      const again = patience()
      const options = { redisOptions: common, clusterRetryStrategy: again.wait, lazyConnect: true }
      const client = new Cluster([...hosts], options)
      return opened(client, connected(client), address, again)
    },
    sentinel({ master, credentials: own }) {
      const again = patience()
      const client = new Redis({
        ...common,
        sentinels: [...hosts],
        name: master,
        db: database,
        lazyConnect: true,
        sentinelRetryStrategy: again.wait,
        // A master that has just gone is followed by another.
        retryStrategy: () => RECONNECT_AFTER,
        ...(own.username === undefined ? {} : { sentinelUsername: own.username }),
        ...(own.password === undefined ? {} : { sentinelPassword: own.password }),
        ...(isTls ? { enableTLSForSentinelMode: true, sentinelTLS: {} } : {}),
      })
      return opened(client, ready(client), address, again)
    },
  }
}

interface Patience {
  isConnected: boolean
  wait(): number | null
}

// Whoever cannot be reached is given up at once, and whoever goes away later is waited for.
function patience(): Patience {
  const own = { isConnected: false, wait: () => (own.isConnected ? RECONNECT_AFTER : null) }
  return own
}

async function opened(
  client: Redis | Cluster,
  connecting: Promise<unknown>,
  address: Address,
  again: Patience,
): Promise<Single> {
  await inTime(connecting, address, () => client.disconnect())
  again.isConnected = true
  return { client, info: () => client.info(), end: () => client.disconnect() }
}

// The first error says why; what follows says only that there is no connection.
function connected(client: Redis | Cluster): Promise<unknown> {
  const failed = new Promise<never>((_, reject) => client.on('error', reject))
  failed.catch(() => {})
  return Promise.all([client.connect(), Promise.race([client.info(), failed])])
}

// A connection that fails is tried again, unless it was refused or no Sentinel answers.
function ready(client: Redis): Promise<void> {
  return new Promise((resolve, reject) => {
    let last = new Error('it has no master.')
    client.on('error', (error: Error) => {
      last = error
      if (isRefusal(error)) reject(error)
    })
    client.once('ready', resolve)
    client.once('end', () => reject(last))
    client.connect().catch(() => {})
  })
}
