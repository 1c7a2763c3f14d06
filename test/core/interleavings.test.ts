import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { TagBackend } from '../../src/backends/backend.ts'
import { keyValue } from '../../src/backends/key-value.ts'
import { memory } from '../../src/backends/memory.ts'
import { Cache } from '../../src/cache.ts'
import type { MaybePromise } from '../../src/core/maybe.ts'
import { decide } from '../../src/flow/decide.ts'
import { abandon, land } from '../../src/flow/land.ts'
import { addTags } from '../../src/flow/tags.ts'
import { Overridden, Slices } from '../support/backends.ts'
import { look, responseOf, visitOf } from '../support/requests.ts'
import { ManualTime } from '../support/time.ts'

/**
 * No request that starts after invalidate(tags) has resolved is answered by a response carrying one of those tags whose
 * computation started before that invalidation.
 */

const KEYS = ['/a', '/b'] as const
const TAGS = ['x', 'y'] as const

type Action =
  | { readonly type: 'request'; readonly key: string; readonly declared: string[]; readonly added: string[] }
  | { readonly type: 'invalidate'; readonly tags: string[] }
  | { readonly type: 'clear' | 'reclaim' }
  | { readonly type: 'wait'; readonly milliseconds: number }
  | { readonly type: 'delete'; readonly key: string }

const tags = fc.subarray([...TAGS])
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('request' as const),
      key: fc.constantFrom(...KEYS),
      declared: tags,
      added: tags,
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constant('invalidate' as const), tags: fc.subarray([...TAGS], { minLength: 1 }) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constantFrom('clear' as const, 'reclaim' as const) }),
  },
  // Longer than a backend may take, than a failing one is left alone, than a request waits for another one's response.
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant('wait' as const), milliseconds: fc.constantFrom(300, 2_000, 11_000) }),
  },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('delete' as const), key: fc.constantFrom(...KEYS) }) },
)

interface Purge {
  readonly calledAt: number
  /** Undefined: everything. */
  readonly tags: readonly string[] | undefined
  resolvedAt: number
}

interface World {
  readonly scheduler: fc.Scheduler
  readonly time: ManualTime
  readonly slices: Slices
  /** One of the next backend calls fails where this says so. */
  readonly fails: () => boolean
}

type MakeBackend = (world: World) => TagBackend

/** One history: actions start, and go on, in whatever order the scheduler says. */
class History {
  readonly #cache: Cache
  readonly #world: World
  readonly #purges: Purge[] = []
  #moment = 0
  readonly counts = { hits: 0, runs: 0, passes: 0 }

  constructor(world: World, backend: TagBackend) {
    this.#world = world
    this.#cache = new Cache({ backend, time: world.time, ttl: '1h', backendPause: '1s' })
  }

  async run(actions: readonly Action[]): Promise<void> {
    const { scheduler } = this.#world
    const done = actions.map(async (action, at) => {
      await scheduler.schedule(Promise.resolve(), `${at} ${JSON.stringify(action)}`)
      await this.#act(action)
    })
    await scheduler.waitFor(Promise.all(done))
  }

  async #act(action: Action): Promise<void> {
    if (action.type === 'request') return this.#request(action)
    if (action.type === 'invalidate') return this.#purge(action.tags, () => this.#cache.invalidateTags(action.tags))
    if (action.type === 'clear') return this.#purge(undefined, () => this.#cache.clear())
    if (action.type === 'delete') await this.#cache.delete(`GET ${action.key}`, { host: '' })
    else if (action.type === 'wait') this.#world.time.move(action.milliseconds)
    else this.#world.slices.runOne()
  }

  async #purge(tags: readonly string[] | undefined, run: () => MaybePromise<unknown>): Promise<void> {
    const purge: Purge = { calledAt: ++this.#moment, tags, resolvedAt: Number.POSITIVE_INFINITY }
    this.#purges.push(purge)
    await run()
    purge.resolvedAt = ++this.#moment
  }

  async #request({ key, declared, added }: Action & { type: 'request' }): Promise<void> {
    const startedAt = ++this.#moment
    const finding = await look(this.#cache, visitOf(this.#cache, key, { tags: declared }))
    if (finding.kind === 'pass') this.counts.passes += 1
    if (finding.kind === 'hit') this.#check(startedAt, JSON.parse(Buffer.from(finding.entry.response.body).toString()))
    if (finding.kind !== 'run') return
    this.counts.runs += 1
    const body = { computedAt: ++this.#moment, tags: [...new Set([...declared, ...added])] }
    await this.#step('handler')
    addTags(this.#cache.flow, finding.run, added)
    await this.#step('handler, tags added')
    const decision = decide(this.#cache.flow, finding.run, { status: 200, fields: {} })
    await this.#step('handler, head written')
    if (decision.store) await land(this.#cache.flow, finding.run, decision, responseOf(JSON.stringify(body)))
    else abandon(this.#cache.flow, finding.run, decision.reason)
  }

  #check(startedAt: number, answer: { computedAt: number; tags: string[] }): void {
    this.counts.hits += 1
    for (const { calledAt, resolvedAt, tags } of this.#purges) {
      const isCarried = tags === undefined || tags.some((tag) => answer.tags.includes(tag))
      const isBroken = isCarried && resolvedAt < startedAt && answer.computedAt < calledAt
      if (isBroken) throw new Error(`stale: ${JSON.stringify({ startedAt, calledAt, resolvedAt, tags, answer })}`)
    }
  }

  #step(name: string): Promise<void> {
    return this.#world.scheduler.schedule(Promise.resolve(), name)
  }
}

/** A backend each of whose calls travels there and back in its own time, and may fail on either way. */
function remote({ scheduler, fails }: World, inner: TagBackend): TagBackend {
  const travel = <V>(name: string, run: () => MaybePromise<V>): Promise<V> => {
    const failsBefore = fails()
    const failsAfter = fails()
    return scheduler
      .schedule(Promise.resolve(), `to ${name}`)
      .then(() => {
        if (failsBefore) throw new Error('it did not arrive')
        return run()
      })
      .then((answer) => scheduler.schedule(Promise.resolve(answer), `from ${name}`))
      .then((answer) => {
        if (failsAfter) throw new Error('the answer was lost')
        return answer
      })
  }
  return new Overridden(inner, {
    sync: false,
    lookup: (key) => travel('lookup', () => inner.lookup(key)),
    clock: () => travel('clock', () => inner.clock()),
    invalidatedAt: (tags) => travel('invalidatedAt', () => inner.invalidatedAt(tags)),
    store: (entry, ttl) => travel('store', () => inner.store(entry, ttl)),
    invalidate: (tags) => travel('invalidate', () => inner.invalidate(tags)),
    delete: (key) => travel('delete', () => inner.delete(key)),
    clear: () => travel('clear', () => inner.clear()),
    list: (tag, limit) => travel('list', () => inner.list(tag, limit)),
  })
}

/** A three-method backend whose calls may overtake each other. */
function reordering({ scheduler, fails }: World) {
  const map = new Map<string, Uint8Array>()
  const travel = async <V>(name: string, run: () => V): Promise<V> => {
    const isLost = fails()
    await scheduler.schedule(Promise.resolve(), `to ${name}`)
    const answer = run()
    await scheduler.schedule(Promise.resolve(), `from ${name}`)
    if (isLost) throw new Error('the answer was lost')
    return answer
  }
  return {
    get: (key: string) => travel('get', () => map.get(key)),
    set: (key: string, value: Uint8Array) => travel('set', () => map.set(key, value)),
    delete: (key: string) => travel('delete', () => map.delete(key)),
  }
}

const inMemory: MakeBackend = ({ time, slices }) => memory({ time, schedule: slices.schedule })
const inSmallMemory: MakeBackend = ({ time, slices }) => memory({ time, schedule: slices.schedule, maxEntries: 1 })
const farAway: MakeBackend = (world) => remote(world, inMemory(world))
const overMap: MakeBackend = (world) =>
  keyValue(reordering(world), { time: world.time, schedule: world.slices.schedule, maxEntries: 100 })

/** For searching longer than a test run may take. */
const THOROUGHNESS = Number(process.env.TAGCACHE_THOROUGHNESS ?? 1)

const never: fc.Arbitrary<boolean[]> = fc.constant([false])
const sometimes = fc.array(
  fc.nat(7).map((die) => die === 0),
  { minLength: 1, maxLength: 30 },
)

interface Totals {
  hits: number
  runs: number
  passes: number
}

function promise(makeBackend: MakeBackend, failing: fc.Arbitrary<boolean[]>, totals: Totals) {
  return fc.asyncProperty(
    fc.scheduler(),
    fc.array(action, { minLength: 2, maxLength: 12 }),
    failing,
    async (scheduler, actions, faults) => {
      let calls = 0
      const fails = () => faults[calls++ % faults.length]!
      const world: World = { scheduler, time: new ManualTime(), slices: new Slices(), fails }
      const history = new History(world, makeBackend(world))
      await history.run(actions)
      for (const name of ['hits', 'runs', 'passes'] as const) totals[name] += history.counts[name]
    },
  )
}

describe('no stale answer after an invalidation', () => {
  it.each([
    ['in memory', inMemory, never, 300],
    ['in a memory that evicts', inSmallMemory, never, 200],
    ['over a backend far away', farAway, never, 300],
    ['over a backend far away that fails now and then', farAway, sometimes, 200],
    ['over three methods whose calls overtake each other', overMap, never, 200],
    ['over three methods that fail now and then', overMap, sometimes, 120],
  ])('%s', async (_, makeBackend, failing, runs) => {
    const numRuns = runs * THOROUGHNESS
    const totals = { hits: 0, runs: 0, passes: 0 }
    await fc.assert(promise(makeBackend, failing, totals), { numRuns })
    expect(totals.hits, 'requests were answered from the cache').toBeGreaterThan(numRuns / 20)
    expect(totals.runs, 'and by handlers').toBeGreaterThan(numRuns / 2)
  })

  const withoutStamps: MakeBackend = (world) => {
    const inner = inMemory(world) as TagBackend<true>
    return new Overridden(inner, { lookup: (key) => ({ ...inner.lookup(key), invalidatedAt: 0 }) })
  }
  const forgetful: MakeBackend = (world) => new Overridden(inMemory(world), { invalidate: () => {} })
  const stampedAtStore: MakeBackend = (world) => {
    const inner = inMemory(world) as TagBackend<true>
    return new Overridden(inner, {
      store: (entry, ttl) => inner.store({ ...entry, stamp: inner.clock() }, ttl),
    })
  }
  const flightsBlind: MakeBackend = (world) => {
    const inner = farAway(world)
    return new Overridden(inner, { invalidatedAt: async () => 0 })
  }

  it.each([
    ['whose look-ups know no invalidation', withoutStamps],
    ['that takes no invalidation', forgetful],
    ['that stamps entries when they are stored', stampedAtStore],
    ['that does not tell a flight of an invalidation', flightsBlind],
  ])('is broken by a backend %s, which shows that the test bites', async (_, makeBackend) => {
    const result = await fc.check(promise(makeBackend, never, { hits: 0, runs: 0, passes: 0 }), {
      numRuns: 5000,
      endOnFailure: true,
    })
    expect(result.failed).toBe(true)
    expect(String(result.errorInstance)).toContain('stale')
  })
})
