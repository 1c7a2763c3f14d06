import { once } from 'node:events'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises'
import express, { type Express } from 'express'
import type { ParamlessHandler } from '../../src/adapters/express.ts'
import type { CacheOptions, RouteOptions, TagBackend } from '../../src/index.ts'
import { Connection } from './connection.ts'

/** As much of the library as the check needs, so that it runs on the sources and on the built package. */
export interface Library {
  memory(): TagBackend<true>
  tagcache(options: Pick<CacheOptions, 'ttl' | 'backend'>): {
    cached(
      options?: Pick<RouteOptions, 'ttl' | 'staleWhileRevalidate' | 'staleIfError'> & {
        tags?: string[] | ((req: { params: Record<string, string> }) => string[])
      },
    ): ParamlessHandler
    invalidates(tags: (req: { params: Record<string, string> }) => string[]): ParamlessHandler
    tag(res: http.ServerResponse, ...tags: string[]): void
  }
}

/** How much is done. */
export interface Plan {
  readonly reads: number
  readonly seed: number
}

/** A read that showed something older than what had been acknowledged before it was sent. */
export interface Violation {
  readonly path: string
  readonly row: number
  readonly shown: number
  readonly acknowledged: number
  readonly source: Source
}

type Source = 'hits' | 'stale' | 'validated' | 'collapsed' | 'misses'

/** What came out. */
export interface Result extends Record<Source, number> {
  reads: number
  writes: number
  violations: number
  /** The first few, each of another path. */
  readonly examples: Violation[]
  seconds: number
}

const ROWS = 24
const GROUP = 6
const READERS = 32
const WRITERS = 4
const READS_PER_WRITE = 25
// Writes come in bursts, so that the next one often comes while answers to the last are still being computed.
const BURST = 12

/** A server to be checked. */
export interface Served {
  readonly port: number
  close(): void
}

/**
 * Starts the server.
 * @param stamps false replaces them by what other caches do: a purge deletes the entries that are there, and nothing else
 */
export async function serve(library: Library, stamps: boolean, seed: number): Promise<Served> {
  const backend = stamps ? library.memory() : withoutStamps(library.memory())
  const server = http.createServer(application(library, backend, generator(~seed))).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.closeAllConnections()
      server.close()
    },
  }
}

/** Reads and writes until the plan is done, and compares what each read shows with what was acknowledged before it was sent. */
export async function attack(
  port: number,
  { reads, seed }: Plan,
  progress: (result: Result) => void = () => {},
): Promise<Result> {
  const random = generator(seed)
  const connections = Array.from({ length: READERS + WRITERS }, () => new Connection(port))
  const counts = { reads: 0, hits: 0, stale: 0, validated: 0, collapsed: 0, misses: 0, writes: 0, violations: 0 }
  const result: Result = { ...counts, examples: [], seconds: 0 }
  const acknowledged = new Int32Array(ROWS)
  const startedAt = performance.now()
  const report = () => {
    result.seconds = (performance.now() - startedAt) / 1000
    progress(result)
  }
  let [readsBegun, writesBegun] = [0, 0]
  const read = async (connection: Connection) => {
    while (readsBegun++ < reads) await readOnce(connection, random, acknowledged, result)
  }
  const write = async (connection: Connection) => {
    while (result.reads < reads) {
      const due = BURST * (1 + Math.floor(result.reads / (READS_PER_WRITE * BURST)))
      if (writesBegun >= due) await sleep(1)
      else {
        writesBegun += 1
        await writeOnce(connection, random, acknowledged, result)
      }
    }
  }
  const ticker = setInterval(report, 1000)
  try {
    await Promise.all(connections.map((connection, at) => (at < READERS ? read(connection) : write(connection))))
  } finally {
    clearInterval(ticker)
    for (const connection of connections) connection.close()
  }
  report()
  return result
}

/** Routes that tag their responses in the ways there are, over rows whose copies are old by the time they are sent. */
function application(library: Library, backend: TagBackend, random: () => number): Express {
  const versions = new Int32Array(ROWS)
  const { cached, invalidates, tag } = library.tagcache({ ttl: 60, backend })
  const app = express().disable('x-powered-by').disable('etag')
  const copyOf = (ids: readonly number[]) => ids.map((id) => ({ id, version: versions[id]! }))

  app.get('/rows/:id', cached({ tags: (req) => [`row:${req.params.id}`] }), async (req, res) => {
    const rows = copyOf([Number(req.params.id)])
    await delay(random)
    res.json(rows)
  })
  app.get('/groups/:group', cached(), async (req, res) => {
    const rows = copyOf(idsOfGroup(Number(req.params.group)))
    await delay(random)
    tag(res, ...rows.map(({ id }) => `row:${id}`))
    res.json(rows)
  })
  app.get('/rows', cached({ tags: ['rows'] }), async (_req, res) => {
    const rows = copyOf(ALL)
    await delay(random)
    res.json(rows)
  })
  // Soon stale, served while a new one is made, validated, and in the place of errors.
  const brief = { ttl: '4ms', staleWhileRevalidate: '8ms', staleIfError: '1m' }
  app.get('/brief/:id', cached({ ...brief, tags: (req) => [`row:${req.params.id}`] }), async (req, res) => {
    const rows = copyOf([Number(req.params.id)])
    await delay(random)
    if (random() < 0.1) res.status(503).json([])
    else res.set('ETag', `"${rows[0]!.version}"`).json(rows)
  })
  app.put(
    '/rows/:id',
    invalidates((req) => ['rows', `row:${req.params.id}`]),
    async (req, res) => {
      await delay(random)
      const version = ++versions[Number(req.params.id)]!
      if (random() < 0.3) await delay(random)
      res.json({ version })
    },
  )
  return app
}

const ALL = Array.from({ length: ROWS }, (_, id) => id)

function idsOfGroup(group: number): number[] {
  return ALL.slice(group * GROUP, (group + 1) * GROUP)
}

// Handlers end out of order: some at once, some after several others have come and gone.
function delay(random: () => number): Promise<unknown> {
  const dice = random()
  return dice < 0.3 ? nextTurn() : sleep(1 + Math.floor(dice * 8))
}

async function readOnce(client: Connection, random: () => number, acknowledged: Int32Array, result: Result) {
  const path = pathToRead(random)
  const before = acknowledged.slice()
  const { text, cacheStatus } = await client.ask('GET', path)
  const source = sourceOf(cacheStatus)
  result.reads += 1
  result[source] += 1
  for (const { id, version } of JSON.parse(text) as { id: number; version: number }[]) {
    if (version >= before[id]!) continue
    result.violations += 1
    if (result.examples.length < 5 && !result.examples.some((example) => example.path === path))
      result.examples.push({ path, row: id, shown: version, acknowledged: before[id]!, source })
  }
}

function sourceOf(cacheStatus: string): Source {
  if (/detail=stale/.test(cacheStatus)) return 'stale'
  if (/fwd-status=304/.test(cacheStatus)) return 'validated'
  if (/; hit/.test(cacheStatus)) return 'hits'
  return /; collapsed/.test(cacheStatus) ? 'collapsed' : 'misses'
}

async function writeOnce(client: Connection, random: () => number, acknowledged: Int32Array, result: Result) {
  const id = anyRow(random)
  const { text } = await client.ask('PUT', `/rows/${id}`)
  const { version } = JSON.parse(text) as { version: number }
  acknowledged[id] = Math.max(acknowledged[id]!, version)
  result.writes += 1
}

function pathToRead(random: () => number): string {
  const dice = random()
  if (dice < 0.1) return '/rows'
  if (dice < 0.35) return `/brief/${anyRow(random)}`
  if (dice < 0.6) return `/groups/${Math.floor(random() * (ROWS / GROUP))}`
  return `/rows/${anyRow(random)}`
}

// Some rows are asked for and changed more often than others.
function anyRow(random: () => number): number {
  return Math.floor(random() ** 2 * ROWS)
}

/** What other caches do: a purge deletes what is there, and an answer that arrives later is stored like any other. */
function withoutStamps(inner: TagBackend<true>): TagBackend<true> {
  return {
    sync: true,
    maxBodySize: inner.maxBodySize,
    lookup: (key) => ({ entry: inner.lookup(key).entry, invalidatedAt: 0, clock: 0 }),
    clock: () => 0,
    invalidatedAt: () => 0,
    store: (entry, ttl) => inner.store({ ...entry, stamp: Number.MAX_SAFE_INTEGER }, ttl),
    invalidate: (tags) => {
      for (const tag of tags) for (const { entry } of inner.list(tag, ROWS * 2)) if (entry) inner.delete(entry.key)
    },
    delete: (key) => inner.delete(key),
    clear: () => inner.clear(),
    list: (tag, limit) => inner.list(tag, limit),
    close: () => inner.close(),
  }
}

// mulberry32: the same choices for the same seed.
function generator(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
