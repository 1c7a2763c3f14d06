const ERROR_CODES = {
  ERR_TAGCACHE_OPTION_VALUE: 'An option has a value that it cannot have.',
  ERR_TAGCACHE_OPTION_UNKNOWN: 'There is no option of that name.',
  ERR_TAGCACHE_TAG: 'A tag is empty, too long, has control characters, or is no tag at all.',
  ERR_TAGCACHE_TTL: 'A time to live is negative, not a number, or not a duration.',
  ERR_TAGCACHE_REQUEST: 'A request handed to the cache lacks what makes its key.',
  ERR_TAGCACHE_RESPONSE: 'A response handed to the cache cannot be stored as it is.',
  ERR_TAGCACHE_KEY: 'A text is no key that this library made.',
  ERR_TAGCACHE_NAMESPACE_TAKEN: 'Two caches use one namespace of one backend.',
  ERR_TAGCACHE_CLOSED: 'The cache was closed.',
  ERR_TAGCACHE_FRAME: 'Stored bytes are damaged, or were written by something else.',
  ERR_TAGCACHE_BACKEND_TIMEOUT: 'The backend did not answer within its deadline.',
  ERR_TAGCACHE_BACKEND_ANSWER: 'The backend answered with something that the contract does not allow.',
  ERR_TAGCACHE_JOURNAL: 'A journal cannot be written, or is used twice.',
  ERR_TAGCACHE_BACKEND_AWAY: 'The connection to the backend is lost.',
  ERR_TAGCACHE_REDIS_CLIENT: 'A client was handed to redis() that it cannot use.',
  ERR_TAGCACHE_REDIS_SERVER: 'The Redis server cannot be used as it is.',
  ERR_TAGCACHE_EXPLAIN: 'What was handed to explain() is no request, or there is no application that could be asked.',
  ERR_TAGCACHE_DASHBOARD_OPEN: 'A dashboard is to be mounted, and nothing says who may see it.',
  ERR_TAGCACHE_BACKEND_REPLY: 'The backend is there, and refused a call. It is not left alone for that.',
} as const

/** The stable codes of the errors that this library throws or reports. */
export type ErrorCode = keyof typeof ERROR_CODES

/** An error of this library: `code` is stable, the message says what was wrong, where, and what to do. */
export class TagcacheError extends Error {
  override readonly name = 'TagcacheError'

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options)
  }
}

const WARNINGS = {
  TAGCACHE_UNSAFE_ROUTE:
    'cached() stands on a route that answers none of the methods it caches, so it stores nothing there. Move it to the GET route, or list the method in `methods` together with a `key`.',
  TAGCACHE_INVALIDATES_TOO_LATE:
    'invalidates() was reached after the response had begun, so the purge came after its first byte. Put it before the handler.',
  TAGCACHE_INVALIDATES_NOTHING:
    'invalidates() was given an empty list of tags, so it purges nothing. Name the tags that the route writes.',
  TAGCACHE_TAGS_FAILED:
    'The `tags` of a cached() threw or gave something that is no tag, so the response was not stored.',
  TAGCACHE_CONTROL_FAILED:
    'tag() or ttl() was called in a handler with something that is no tag or no time to live, so the response was not stored.',
  TAGCACHE_CONTROL_TOO_LATE:
    'tag(), skip() or ttl() was called after the handler had answered. The response is not kept; call it before.',
  TAGCACHE_PURGE_TAGS_FAILED:
    'The tags of an invalidates() threw or gave something that is no tag. What the write made wrong is unknown, so everything was purged.',
  TAGCACHE_OPTION_FAILED:
    'A function given as an option (`scope`, `key`, `host`, `enabled`) threw, so the request bypassed the cache.',
  TAGCACHE_SCOPE_UNDEFINED:
    'A `scope` function gave no principal, so the request bypassed the cache. Return a non-empty string or number for whoever may share the response.',
  TAGCACHE_TAGS_TOO_LONG:
    'The tags of a response do not fit into the field that `tagField` names, so the field was left out. Use fewer or shorter tags.',
  TAGCACHE_REDIS_UNUSABLE:
    'The Redis server or its set-up cannot be used, so nothing is cached. The error says what is wrong and what to do.',
  TAGCACHE_REDIS_EVICTION:
    'The maxmemory-policy of Redis does not suit a cache. Set `allkeys-lru`, `allkeys-lfu`, or a `volatile-` policy by use: under `noeviction` a full server takes no invalidations, so that nothing in it is trusted any more; under a random one the bookkeeping is evicted like anything else, and all entries with it.',
  TAGCACHE_REDIS_SPLIT:
    'This Redis has replicas, and takes writes without them. Where it is cut off and a replica is promoted, purges of clients that still talk to it are lost. Set `min-replicas-to-write 1` and `min-replicas-max-lag 10`: then it refuses them, and they are delivered to its successor.',
  TAGCACHE_REDIS_REPLICA:
    'The client of redis() is connected to a replica, which takes no writes, so nothing is cached until it is promoted. Connect to the master, or through Sentinel.',
  TAGCACHE_REDIS_CHANNELS:
    'The user of the Redis client may not use the channels of the cache, so processes do not tell each other of purges at once, and do not wait for each other. Allow `&namespace:*`, with the namespace of redis().',
  TAGCACHE_REDIS_ALONE:
    'A master of this Redis Cluster has no replica. While a master is away, no purge is delivered, so nothing stored is trusted. Give each master a replica.',
  TAGCACHE_DEBUG_IN_PRODUCTION:
    "The option `debug: true` does nothing where NODE_ENV is production, so that keys are not told to everybody. Leave it out there, or say `debug: 'always'`.",
  TAGCACHE_AUTHORIZE_FAILED: 'The `authorize` of a dashboard threw, so whoever asked was refused.',
  TAGCACHE_DASHBOARD_FAILED:
    'A request to the dashboard has failed, by no fault of whoever asked. The cache itself is not affected.',
  TAGCACHE_LISTENER_FAILED:
    'A listener given to cache.on() threw, and is not called any more. The request that it was told about was not affected.',
} as const

/** The stable codes of the warnings that this library gives when it sees itself misused. */
export type WarningCode = keyof typeof WARNINGS

/** What a warning of that code says. */
export function explainWarning(code: WarningCode): string {
  return WARNINGS[code]
}
