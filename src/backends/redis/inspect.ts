import { TagcacheError, type WarningCode } from '../../errors.ts'
import { later, type RedisLink } from './client.ts'

/** What is found out about a server before it is relied on. */
export interface Inspection {
  /** Why it cannot be used. */
  readonly fault: TagcacheError | undefined
  readonly warnings: readonly WarningCode[]
}

/** Looks whether a server can keep a cache, as soon as it answers; of one that does not tell, it is found out in use. */
export async function inspectServer(link: RedisLink, isOver: () => boolean): Promise<Inspection> {
  const facts = await factsOf(link, isOver)
  return { fault: facts && faultOf(facts, link), warnings: facts ? warningsOf(facts, link) : [] }
}

type Facts = ReadonlyMap<string, string>

const ASK_AGAIN = 200

async function factsOf(link: RedisLink, isOver: () => boolean): Promise<Facts | undefined> {
  while (!isOver()) {
    try {
      const info = String(await link.send('tagcache', ['INFO']))
      return new Map([...info.matchAll(/^(\w+):(.*?)\r?$/gm)].map(([, name, value]) => [name!, value!]))
    } catch (error) {
      if (error instanceof TagcacheError && error.code === 'ERR_TAGCACHE_BACKEND_REPLY') return undefined
      await later(ASK_AGAIN)
    }
  }
  return undefined
}

function faultOf(facts: Facts, { isCluster }: RedisLink): TagcacheError | undefined {
  const version = facts.get('redis_version') ?? ''
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (version !== '' && (major < 6 || (major === 6 && minor < 2))) {
    return refuse(`it is of version ${version}, and 6.2 is the first that has what is needed. Update it.`)
  }
  if (facts.get('cluster_enabled') === '1' && !isCluster) {
    return refuse('it is a node of a Cluster, and the client is none for Clusters. Hand in a Cluster client.')
  }
  if (facts.get('cluster_enabled') === '0' && isCluster) {
    return refuse('it is no Cluster, and the client is one for Clusters. Hand in an ordinary client.')
  }
  return undefined
}

function warningsOf(facts: Facts, { isCluster }: RedisLink): WarningCode[] {
  const isLimited = Number(facts.get('maxmemory') ?? 0) > 0
  const policy = facts.get('maxmemory_policy') ?? ''
  const hasReplicas = Number(facts.get('connected_slaves') ?? 0) > 0
  // Told only where a master is to have some.
  const needsThem = facts.has('min_slaves_good_slaves')
  return [
    ...(isLimited && /^noeviction$|random$/.test(policy) ? ['TAGCACHE_REDIS_EVICTION' as const] : []),
    ...(facts.get('role') === 'slave' ? ['TAGCACHE_REDIS_REPLICA' as const] : []),
    ...(!isCluster && hasReplicas && !needsThem ? ['TAGCACHE_REDIS_SPLIT' as const] : []),
    ...(isCluster && !hasReplicas ? ['TAGCACHE_REDIS_ALONE' as const] : []),
  ]
}

function refuse(why: string): TagcacheError {
  return new TagcacheError('ERR_TAGCACHE_REDIS_SERVER', `redis() cannot use this server: ${why}`)
}
