import { asyncCacheDedupe, bentocache, cacheManager } from './by-hand.ts'
import { expressPlain, expressStatic, expressWith } from './express.ts'
import { koaCash, koaFront, koaRoute, koaStatic, koaUse } from './koa.ts'
import { nodeBare, nodeCached, nodeHandler, nodeMap, nodeStatic } from './node.ts'
import { compressed, expressFront, expressRoute, expressUse } from './ours.ts'
import { apicache, apicachePlus, outputcache, routeCache } from './peers.ts'
import { nearCached, redisByHand, redisCached } from './redis.ts'
import type { Make } from './subject.ts'

/**
 * What is measured, by name: a server each, in a process of its own. Those with `static` and `bare` answer without any cache and without
 * a handler, those with `no cache` run their handler each time.
 */
export const subjects: Readonly<Record<string, Make>> = {
  'node bare': nodeBare(() => expressFront('express')),
  'node static': nodeStatic,
  'node Map': nodeMap,
  'node no cache': nodeHandler,
  'node tagcache': nodeCached,

  'Express 5 static': expressStatic('express'),
  'Express 5 no cache': expressPlain('express'),
  'Express 5 tagcache front': expressFront('express'),
  'Express 5 tagcache route': expressRoute('express'),
  'Express 5 tagcache app.use': expressUse('express'),
  'Express 5 tagcache Redis': expressWith('express', 'route', redisCached),
  'Express 5 tagcache near': expressWith('express', 'route', nearCached),
  'Express 5 Redis by hand': expressWith('express', 'route', redisByHand),
  'Express 5 compression': compressed.each,
  'Express 5 compression, then tagcache': compressed.above,
  'Express 5 tagcache, then compression': compressed.below,
  'Express 5 tagcache compress': compressed.own,
  apicache: expressWith('express', 'route', apicache),
  'apicache-plus': expressWith('express', 'route', apicachePlus),
  'route-cache': expressWith('express', 'route', routeCache),
  outputcache: expressWith('express', 'route', outputcache),
  'cache-manager': expressWith('express', 'route', cacheManager),
  bentocache: expressWith('express', 'route', bentocache),
  'async-cache-dedupe': expressWith('express', 'route', asyncCacheDedupe),

  'Express 4 static': expressStatic('express4'),
  'Express 4 tagcache front': expressFront('express4'),
  'Express 4 tagcache route': expressRoute('express4'),
  'Express 4 tagcache app.use': expressUse('express4'),

  'Koa 3 static': koaStatic,
  'Koa 3 tagcache front': koaFront,
  'Koa 3 tagcache route': koaRoute,
  'Koa 3 tagcache app.use': koaUse,
  'koa-cash': koaCash,
}
