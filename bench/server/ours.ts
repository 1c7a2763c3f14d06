import type { RequestListener } from 'node:http'
import type { Express, RequestHandler } from 'express'
import { tagcache } from '../../dist/adapters/express.js'
import { memory } from '../../dist/index.js'
import { expressApp, expressWith, listenerOf, type Version } from './express.ts'
import { type Make, peerDefault, Unavailable } from './subject.ts'
import type { Origin } from './workload.ts'

// This library under Express, in every position

/** The listener that answers hits before Express sees the request, in a version that has it. */
type Front = (app: Express) => RequestListener

export function expressRoute(version: Version): Make {
  return expressWith(version, 'route', (origin) => cachedInRoute(cacheFor(origin)))
}

export function expressUse(version: Version): Make {
  return expressWith(version, 'use', (origin) => cacheFor(origin).cached({ tags: ['items'] }) as RequestHandler)
}

export function expressFront(version: Version): Make {
  return async (origin) => {
    const cache = cacheFor(origin)
    const front = frontOf(cache)
    if (!front) throw new Unavailable('tagcache() has no front() in this version')
    return front(await expressApp(version, origin, { route: [cachedInRoute(cache)] }))
  }
}

/** The position with the cheapest hits. */
export function expressBest(version: Version): Make {
  return frontOf(tagcache()) ? expressFront(version) : expressRoute(version)
}

function frontOf(cache: object): Front | undefined {
  return (cache as { front?: Front }).front
}

function cacheFor({ work }: Origin, options: object = {}): ReturnType<typeof tagcache> {
  return tagcache({ ttl: '1h', ...(work.maxSize ? { backend: memory({ maxSize: work.maxSize }) } : {}), ...options })
}

function cachedInRoute({ cached }: ReturnType<typeof tagcache>): RequestHandler {
  return cached({ tags: (req) => ['items', `item:${req.params.id}`] }) as RequestHandler
}

/** `compression` over a handler, or over this cache, or under it; or this cache's own. */
export const compressed = {
  each: withCompression((compress) => [compress]),
  above: withCompression((compress, cached) => [compress, cached]),
  below: withCompression((compress, cached) => [cached, compress]),
  own: expressWith('express', 'route', (origin) => cachedInRoute(compressing(origin))),
}

function withCompression(layers: (compress: RequestHandler, cached: RequestHandler) => RequestHandler[]): Make {
  return async (origin) => {
    const compression = await peerDefault<() => RequestHandler>('compression')
    const route = layers(compression(), cachedInRoute(cacheFor(origin)))
    return listenerOf(await expressApp('express', origin, { route }))
  }
}

function compressing(origin: Origin): ReturnType<typeof tagcache> {
  try {
    return cacheFor(origin, { compress: true })
  } catch (error) {
    if ((error as { code?: string }).code !== 'ERR_TAGCACHE_OPTION_UNKNOWN') throw error
    throw new Unavailable('there is no option compress in this version')
  }
}
