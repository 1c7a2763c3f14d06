import type { Given } from '../command.ts'
import { misused } from '../exit.ts'
import { Application } from './application.ts'
import { placeOf } from './redis-address.ts'
import { openRedis } from './shared-redis.ts'
import type { Target } from './target.ts'

const LONGEST_TIMEOUT = 3600

/** The target that a command line names, or else the environment. Throws a `Failure`. */
export async function openTarget(given: Given): Promise<Target> {
  const timeout = timeoutOf(given.text('timeout'))
  const { url, redis } = chosen(given)
  if (url !== undefined) {
    for (const name of ['namespace', 'cache-namespace', 'partitions']) {
      if (given.text(name) !== undefined) throw misused(`--${name} goes with --redis: an application knows its own.`)
    }
    return new Application(url, process.env.TAGCACHE_TOKEN, timeout)
  }
  return openRedis(
    { place: placeOf(redis!), timeout },
    {
      namespace: given.text('namespace'),
      cacheNamespace: given.text('cache-namespace'),
      partitions: given.text('partitions') === undefined ? undefined : given.number('partitions', 64),
    },
  )
}

// What is said on the command line counts before what is set once for all.
function chosen(given: Given): { url?: string | undefined; redis?: string | undefined } {
  const [url, redis] = [given.text('url'), given.text('redis')]
  if (url !== undefined && redis !== undefined) throw misused('Give one of --url and --redis.')
  if (url !== undefined || redis !== undefined) return { url, redis }
  const { TAGCACHE_URL, TAGCACHE_REDIS_URL } = process.env
  if (TAGCACHE_URL && TAGCACHE_REDIS_URL)
    throw misused('TAGCACHE_URL and TAGCACHE_REDIS_URL are both set: say which is meant, with --url or --redis.')
  if (TAGCACHE_URL) return { url: TAGCACHE_URL }
  if (TAGCACHE_REDIS_URL) return { redis: TAGCACHE_REDIS_URL }
  throw misused(
    'Say of which cache: --url of a running application with a dashboard, or --redis of a Redis that caches share.',
    'As: tagcache stats --url http://localhost:3000/cache',
  )
}

function timeoutOf(text: string | undefined): number {
  const seconds = text === undefined ? 10 : Number(text)
  if (seconds > 0 && seconds <= LONGEST_TIMEOUT) return seconds * 1000
  throw misused(`--timeout takes seconds, at most ${LONGEST_TIMEOUT}; not ${text}.`)
}
