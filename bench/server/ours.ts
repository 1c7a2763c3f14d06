import type { RequestHandler } from 'express'
import { tagcache } from '../../dist/adapters/express.js'
import { memory } from '../../dist/index.js'
import { expressApp, expressWith, listenerOf, type Version } from './express.ts'
import { type Make, peerDefault } from './subject.ts'
import type { Origin } from './workload.ts'

// This library under Express, in every position

export function expressRoute(version: Version): Make {
  return expressWith(version, 'route', (origin) => cachedInRoute(cacheFor(origin)))
}

export function expressUse(version: Version): Make {
  return expressWith(version, 'use', (origin) => cacheFor(origin).cached({ tags: ['items'] }) as RequestHandler)
}

export function expressFront(version: Version): Make {
  return async (origin) => {
    const cache = cacheFor(origin)
    const app = await expressApp(version, origin, { route: [cachedInRoute(cache, { front: true })] })
    return listenerOf(cache.front(app))
  }
}

function cacheFor({ work }: Origin, options: object = {}): ReturnType<typeof tagcache> {
  return tagcache({ ttl: '1h', ...(work.maxSize ? { backend: memory({ maxSize: work.maxSize }) } : {}), ...options })
}

function cachedInRoute({ cached }: ReturnType<typeof tagcache>, options: object = {}): RequestHandler {
  return cached({ tags: (req) => ['items', `item:${req.params.id}`], ...options }) as RequestHandler
}

/** `compression` over a handler, or over this cache, or under it; or this cache's own. */
export const compressed = {
  each: withCompression((compress) => [compress]),
  above: withCompression((compress, cached) => [compress, cached]),
  below: withCompression((compress, cached) => [cached, compress]),
  own: expressWith('express', 'route', (origin) => cachedInRoute(cacheFor(origin, { compress: true }))),
}

function withCompression(layers: (compress: RequestHandler, cached: RequestHandler) => RequestHandler[]): Make {
  return async (origin) => {
    const compression = await peerDefault<() => RequestHandler>('compression')
    const route = layers(compression(), cachedInRoute(cacheFor(origin)))
    return listenerOf(await expressApp('express', origin, { route }))
  }
}
