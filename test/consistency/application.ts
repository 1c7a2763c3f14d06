import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import express, { type Express } from 'express'
import type { ParamlessHandler } from '../../src/adapters/express.ts'
import type { RedisClient } from '../../src/backends/redis/redis.ts'
import type { CacheOptions, RouteOptions, TagBackend, TieredOptions } from '../../src/index.ts'
import { ALL, type Database, idsOfGroup } from './database.ts'
import type { Random } from './random.ts'

type Request = { params: Record<string, string> }

/** What the routes need of a cache. */
export interface RouteCache {
  cached(
    options?: Pick<RouteOptions, 'ttl' | 'staleWhileRevalidate' | 'staleIfError' | 'coalesce' | 'requestDirectives'> & {
      tags?: string[] | ((req: Request) => string[])
    },
  ): ParamlessHandler
  invalidates(tags: (req: Request) => string[], options?: { onError: 'fail' }): ParamlessHandler
  tag(res: http.ServerResponse, ...tags: string[]): void
}

/** As much of the library as the check needs, so that it runs on the sources and on the built package. */
export interface Library {
  memory(): TagBackend<true>
  tagcache(options: Pick<CacheOptions, 'ttl' | 'backend' | 'backendPause' | 'journal' | 'readYourWrites'>): RouteCache
}

/** The same with what several processes need. */
export interface SharedLibrary extends Library {
  tiered(options: TieredOptions): TagBackend<false>
  redis(client: RedisClient): TagBackend<false>
}

/** A server to be checked. */
export interface Served {
  readonly port: number
  close(): void
}

/** Starts a server of the application. */
export async function serve(cache: RouteCache, database: Database, random: Random): Promise<Served> {
  const server = http.createServer(application(cache, database, random)).listen(0, '127.0.0.1')
  server.keepAliveTimeout = 0
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** Routes that tag their responses in the ways there are, over rows whose copies are old by the time they are sent. */
function application(cache: RouteCache, database: Database, random: Random): Express {
  const app = express().disable('x-powered-by').disable('etag')
  addReads(app, cache, database, random)
  addBrief(app, '/brief/:id', cache, database, random)
  addBrief(app, '/brisk/:id', cache, database, random, 'cluster')
  addChains(app, cache, database, random)
  addWrites(app, cache, database, random)
  return app
}

function addReads(app: Express, { cached, tag }: RouteCache, database: Database, random: Random): void {
  app.get('/rows/:id', cached({ tags: (req) => [`row:${req.params.id}`] }), async (req, res) => {
    const rows = await database.read([Number(req.params.id)])
    await delay(random)
    res.json(rows)
  })
  app.get('/groups/:group', cached({ coalesce: 'cluster' }), async (req, res) => {
    const rows = await database.read(idsOfGroup(Number(req.params.group)))
    await delay(random)
    tag(res, ...rows.map(({ id }) => `row:${id}`))
    res.json(rows)
  })
  app.get('/rows', cached({ tags: ['rows'], coalesce: 'cluster' }), async (_req, res) => {
    const rows = await database.read(ALL)
    await delay(random)
    res.json(rows)
  })
}

// Soon stale, served while a new one is made, validated, and in the place of errors.
function addBrief(
  app: Express,
  path: string,
  { cached }: RouteCache,
  database: Database,
  random: Random,
  coalesce: 'cluster' | true = true,
): void {
  const brief = { ttl: '4ms', staleWhileRevalidate: '8ms', staleIfError: '1m', coalesce }
  app.get(path, cached({ ...brief, tags: (req) => [`row:${req.params.id}`] }), async (req, res) => {
    const rows = await database.read([Number(req.params.id)])
    await delay(random)
    if (random() < 0.1) res.status(503).json([])
    else res.set('ETag', `"${rows[0]!.version}"`).json(rows)
  })
}

// The second row is another one after each write of the first, and so are the tags; clients may ask for a new response.
function addChains(app: Express, { cached, tag }: RouteCache, database: Database, random: Random): void {
  app.get('/chains/:id', cached({ requestDirectives: true }), async (req, res) => {
    const [first] = await database.read([Number(req.params.id)])
    const rest = await database.read([(first!.id + 1 + first!.version) % ALL.length])
    await delay(random)
    const rows = [first!, ...rest]
    tag(res, ...rows.map(({ id }) => `row:${id}`))
    res.json(rows)
  })
}

function addWrites(app: Express, { invalidates }: RouteCache, database: Database, random: Random): void {
  const purge = invalidates((req) => ['rows', `row:${req.params.id}`], { onError: 'fail' })
  app.put('/rows/:id', purge, async (req, res) => {
    await delay(random)
    const version = await database.write(Number(req.params.id))
    if (random() < 0.3) await delay(random)
    // A field that stays where the purge was not taken and the body is another.
    res.set('X-Version', String(version)).json({ version })
  })
}

// Handlers end out of order: some at once, some after several others have come and gone.
function delay(random: Random): Promise<unknown> {
  const dice = random()
  return dice < 0.3 ? nextTurn() : sleep(1 + Math.floor(dice * 8))
}
