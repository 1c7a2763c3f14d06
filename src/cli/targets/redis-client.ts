import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { misused } from '../exit.ts'
import type { Address, Connection } from './connecting.ts'
import { ioRedis } from './ioredis.ts'
import { nodeRedis } from './node-redis.ts'

/** Connects with the library that is installed. Throws a `Failure`. */
export async function connect(address: Address): Promise<Connection> {
  const library = (await load('ioredis')) ?? (await load('redis'))
  if (library === undefined)
    throw misused('Neither ioredis nor redis is installed, of which --redis needs one.', 'npm install ioredis')
  const ways = 'createClient' in library ? nodeRedis(library, address) : ioRedis(library, address)
  const { name, hosts, sentinel } = address.place
  if (sentinel) return ways.sentinel(sentinel)
  const one = await firstOf(hosts.map((host) => ways.single(host)))
  const isCluster = /^cluster_enabled:1/m.test(await one.info())
  if (!isCluster && hosts.length === 1) return one
  one.end()
  if (isCluster) return ways.cluster()
  throw misused(`${name} are several servers, and no Cluster.`, 'Give the one that is the master, or its Sentinels.')
}

// One node that is away is no reason to give up.
async function firstOf<C extends Connection>(opening: readonly Promise<C>[]): Promise<C> {
  const first = await Promise.any(opening).catch((error: AggregateError) => {
    throw error.errors[0]
  })
  for (const one of opening) one.then((other) => other !== first && other.end()).catch(() => {})
  return first
}

type IoRedis = typeof import('ioredis')
type NodeRedis = typeof import('redis')

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
