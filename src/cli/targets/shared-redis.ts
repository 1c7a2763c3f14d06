import { hostname, userInfo } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Changes } from '../../backends/backend.ts'
import { type RedisBackend, redis } from '../../backends/redis/redis.ts'
import { Cache } from '../../cache.ts'
import { addStats } from '../../core/add-stats.ts'
import { scrub } from '../../core/log.ts'
import { type Desk, type Question, READS, WRITES } from '../../dashboard/api.ts'
import { fleetReading } from '../../dashboard/fleet.ts'
import { showTag } from '../../dashboard/names.ts'
import type { PurgeResult } from '../../dashboard/purge.ts'
import { Recorder } from '../../dashboard/recorder.ts'
import { Refusal } from '../../dashboard/reply.ts'
import { TagcacheError } from '../../errors.ts'
import { EXIT, Failure, misused, unreachable } from '../exit.ts'
import type { Address, Connection } from './connecting.ts'
import { FleetWatch } from './fleet-watch.ts'
import { connect } from './redis-client.ts'
import type { Numbers, Purging, Seen, Target, Watcher, Whose } from './target.ts'

const UNDELIVERED = 'Redis has not taken it, and nobody keeps it: what it was to purge is still served. Try again.'
// In milliseconds.
const LOOK_AGAIN = 50
// They publish every ten seconds as a rule.
const LOOK_AT_FLEET = 5000
const LATE = new Error('it did not answer in time.')
// Only those who store and purge all day know how many invalidations are worth remembering.
const NEVER_FORGET = 1_000_000_000

/** How the caches lie in a Redis. */
export interface Layout {
  readonly namespace: string | undefined
  readonly cacheNamespace: string | undefined
  readonly partitions: number | undefined
}

/** Connects to a Redis that caches share. Throws a `Failure`. */
export async function openRedis(address: Address, layout: Layout): Promise<Target> {
  const connection = await connect(address)
  try {
    return await opened(connection, address, layout)
  } catch (error) {
    connection.end()
    throw error
  }
}

async function opened(connection: Connection, address: Address, layout: Layout): Promise<Target> {
  const { namespace, cacheNamespace, partitions } = layout
  const backend = asGiven(() =>
    redis(connection.client, {
      maxTags: NEVER_FORGET,
      ...(namespace === undefined ? {} : { namespace }),
      ...(partitions === undefined ? {} : { partitions }),
    }),
  )
  const cache = asGiven(
    () =>
      new Cache({
        backend,
        backendTimeout: address.timeout / 1000,
        ...(cacheNamespace === undefined ? {} : { namespace: cacheNamespace }),
      }),
  )
  const name = `${address.place.name}, namespace ${namespace ?? 'tagcache'}${cacheNamespace === undefined ? '' : `, cache ${cacheNamespace}`}`
  await ready(backend, name, address.timeout)
  return new SharedRedis(name, connection, backend, cache, address.timeout)
}

function asGiven<V>(make: () => V): V {
  try {
    return make()
  } catch (error) {
    if (error instanceof TagcacheError) throw misused(error.message)
    throw error
  }
}

async function ready(backend: RedisBackend, name: string, timeout: number): Promise<void> {
  const late = sleep(timeout, 'late' as const, { ref: false })
  try {
    if ((await Promise.race([backend.ready(), late])) === 'late') throw new Error('it did not answer in time.')
  } catch (error) {
    if (error instanceof TagcacheError) throw new Failure(EXIT.refused, error.message)
    throw unreachable(name, error)
  }
}

/** What caches have in a Redis: the same answers as from the admin routes, made by a cache of its own. */
class SharedRedis implements Target {
  readonly name: string
  readonly undelivered = UNDELIVERED
  readonly #connection: Connection
  readonly #backend: RedisBackend
  readonly #cache: Cache
  readonly #timeout: number
  readonly #desk: Desk
  readonly #visitor = { name: `${userName()}@${hostname()}` }
  #fault: unknown

  constructor(name: string, connection: Connection, backend: RedisBackend, cache: Cache, timeout: number) {
    this.name = name
    this.#connection = connection
    this.#backend = backend
    this.#cache = cache
    this.#timeout = timeout
    this.#desk = { cache, recorder: new Recorder(cache, () => {}), isReadOnly: false, readFleet: fleetReading(cache) }
    cache.on('fault', ({ error }) => {
      this.#fault = error
    })
  }

  async whose(): Promise<Whose> {
    return { kind: 'store' }
  }

  async numbers(): Promise<Numbers> {
    const { of, nodes: all, unread } = await this.#cache.fleetStats()
    if (of === 'process') throw this.#lost()
    // The first is this process, which has done nothing.
    const nodes = all.slice(1)
    if (nodes.length === 0) {
      throw new Failure(
        EXIT.nothing,
        unread > 0
          ? `Nothing that was published as numbers in ${this.name} can be read.`
          : `No process has published its numbers in ${this.name}.`,
        'Processes do so with the option `publishStats` of the cache; or ask one of them with --url.',
      )
    }
    const stats = nodes.map((node) => node.stats).reduce(addStats)
    return { of: { kind: 'fleet', nodes: nodes.map(({ id, at }) => ({ id, at })), unread }, stats, nodes }
  }

  read(path: string, query: Readonly<Record<string, string>>): Promise<unknown> {
    return this.#answer(() => READS.get(path)!(this.#desk, this.#question({}, query)))
  }

  async explain(): Promise<never> {
    throw misused(
      'Redis cannot explain a request: what becomes of it depends on the routes of the application.',
      'Ask a running one: --url http://localhost:3000/cache. What is stored is shown by `tagcache inspect <url>`.',
    )
  }

  async purge(purging: Purging): Promise<PurgeResult> {
    this.#fault = undefined
    const asked = this.#question(purging, {})
    const result = (await this.#answer(() => WRITES.get('/api/purge')!(this.#desk, asked))) as PurgeResult
    if (this.#fault !== undefined && !result.isPurged) throw this.#lost()
    return { ...result, isDelivered: result.isDelivered || (await this.#isDeliveredYet()) }
  }

  async watch(watcher: Watcher, stop: AbortSignal): Promise<void> {
    const end = this.#backend.feed.listen((changes) => {
      for (const seen of this.#show(changes)) watcher.happened(seen)
    })
    watcher.began()
    await this.#watchFleet(watcher, stop)
    end()
  }

  // Nobody tells of anything but purges as it happens; the rest is in the numbers, if anybody publishes them.
  async #watchFleet(watcher: Watcher, stop: AbortSignal): Promise<void> {
    const fleet = new FleetWatch()
    let isLost = false
    while (!stop.aborted) {
      const { of, nodes } = await this.#cache.fleetStats()
      if (of === 'process' && !isLost) watcher.lost(this.#reason())
      isLost = of === 'process'
      // The first is this process.
      const news = isLost ? [] : fleet.take(nodes.slice(1), Date.now())
      for (const seen of news) watcher.happened(seen)
      await sleep(LOOK_AT_FLEET, undefined, { signal: stop }).catch(() => {})
    }
  }

  async close(): Promise<void> {
    this.#desk.recorder.close()
    await this.#cache.close()
    this.#connection.end()
  }

  #question(given: Readonly<Record<string, unknown>>, query: Readonly<Record<string, string>>): Question {
    return { query: new URLSearchParams(query), given, visitor: this.#visitor }
  }

  // The cache itself tries again, as long as there is time.
  async #isDeliveredYet(): Promise<boolean> {
    const until = performance.now() + this.#timeout
    while (this.#cache.flow.guard.isBehind && performance.now() < until) await sleep(LOOK_AGAIN)
    return !this.#cache.flow.guard.isBehind
  }

  async #answer(ask: () => unknown): Promise<unknown> {
    try {
      return await ask()
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (error.code === 'backend-away') throw this.#lost()
      const exit = error.code === 'no-entry' ? EXIT.nothing : error.status === 400 ? EXIT.usage : EXIT.refused
      throw new Failure(exit, `${this.name}: ${error.message}`)
    }
  }

  #lost(): Failure {
    return unreachable(this.name, this.#fault ?? LATE)
  }

  #reason(): string {
    return scrub(String(Object(this.#fault ?? LATE).message)).replace(/\.$/, '')
  }

  #show({ tags, keys }: Changes): Seen[] {
    const time = Date.now()
    if (tags === undefined) return [{ time, kind: 'clear' }]
    const { flow } = this.#cache
    const isAll = tags.some((tag) => flow.implicitTags.includes(tag))
    const shown = tags.flatMap((tag) => showTag(flow, tag) ?? [])
    const named = (kind: string) => shown.filter((tag) => tag.kind === kind).map((tag) => tag.name)
    const [own, routes, uris] = [named('tag'), named('route'), named('uri')]
    const purge: Seen = {
      time,
      kind: 'purge',
      ...(own.length > 0 ? { tags: own } : {}),
      ...(routes.length > 0 ? { routes } : {}),
      ...(uris.length > 0 ? { uris } : {}),
      ...(keys.length > 0 ? { keys } : {}),
    }
    const isNamed = shown.length > 0 || keys.length > 0
    return [...(isAll ? [{ time, kind: 'clear' } as const] : []), ...(isNamed ? [purge] : [])]
  }
}

function userName(): string {
  try {
    return userInfo().username
  } catch {
    return 'somebody'
  }
}
