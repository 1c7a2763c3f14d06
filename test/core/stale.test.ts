import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { TagBackend } from '../../src/backends/backend.ts'
import { keyValue } from '../../src/backends/key-value.ts'
import { memory } from '../../src/backends/memory.ts'
import { Cache } from '../../src/cache.ts'
import { Backoff } from '../../src/core/backoff.ts'
import type { Entry, HeaderField, StoredResponse } from '../../src/core/entry.ts'
import { fieldsOf } from '../../src/core/entry.ts'
import type { MaybePromise } from '../../src/core/maybe.ts'
import { renewedResponse } from '../../src/core/renewal.ts'
import { decide } from '../../src/flow/decide.ts'
import { abandon, land } from '../../src/flow/land.ts'
import { resume } from '../../src/flow/look.ts'
import { replacement, settle, substitute } from '../../src/flow/replace.ts'
import type { Run, Substitution } from '../../src/flow/run.ts'
import { validatorsOf } from '../../src/flow/usable.ts'
import { judgeStorage, type StoragePolicy, type Terms } from '../../src/http/policy.ts'
import { judgeReuse, wishesOf } from '../../src/http/reuse.ts'
import type { RouteOptions } from '../../src/options/route.ts'
import { AsyncMap, Overridden } from '../support/backends.ts'
import { look, responseOf, visitOf } from '../support/requests.ts'
import { ManualTime } from '../support/time.ts'

const SECOND = 1_000

describe('a stored response', () => {
  const terms: Terms = {
    lifetime: 10 * SECOND,
    initialAge: 0,
    staleWhileRevalidate: 20 * SECOND,
    staleIfError: 40 * SECOND,
    mustRevalidate: false,
    isShared: false,
  }
  const judged = (age: number, more: Partial<Terms> = {}, canRefresh = true, wishes = {}) => {
    const given = { ...terms, ...more }
    const wanted = Object.keys(wishes).length > 0 ? wishesOf(wishes) : undefined
    const reuse = judgeReuse(given, { freshFor: given.lifetime - age, age }, wanted, canRefresh)
    return reuse.kind === 'validate'
      ? `${reuse.forward}${reuse.mayReplaceError ? ', or instead of an error' : ''}`
      : reuse
  }
  const WHILE = { kind: 'stale', reason: 'stale-while-revalidate' }
  const INSTEAD = 'stale, or instead of an error'

  it.each([
    [0, { kind: 'fresh' }],
    [9_999, { kind: 'fresh' }],
    [10_000, WHILE],
    [29_999, WHILE],
    [30_000, INSTEAD],
    [50_000, INSTEAD],
    [50_001, 'stale'],
  ])('at an age of %d ms', (age, expected) => {
    expect(judged(age)).toEqual(expected)
  })

  it('where nobody can make a new one, is not served meanwhile', () => {
    expect(judged(15_000, {}, false)).toBe(INSTEAD)
  })

  it('without windows is never served stale', () => {
    expect(judged(10_000, { staleWhileRevalidate: 0, staleIfError: 0 })).toBe('stale')
  })

  it.each([[10_000], [15_000], [10 ** 9]])('that must be validated is never served stale, at %d ms', (age) => {
    const forbidden = { mustRevalidate: true, staleWhileRevalidate: 0, staleIfError: 0 }
    expect(judged(age, forbidden)).toBe('stale')
    expect(judged(age, forbidden, true, { 'cache-control': 'max-stale' })).toBe('stale')
  })

  it.each(['no-cache', 'max-age=5', 'min-fresh=1'])('is not served meanwhile to a client that says %s', (control) => {
    expect(judged(15_000, {}, true, { 'cache-control': control })).toBe(INSTEAD)
  })

  const policy: StoragePolicy = {
    ownTtl: undefined,
    routeTtl: undefined,
    defaultTtl: 60 * SECOND,
    statuses: new Set([200]),
    targetedFields: [],
    heuristic: false,
    staleWhileRevalidate: undefined,
    staleIfError: undefined,
    keepStale: 0,
    storeSetCookie: false,
    storePartial: false,
    compress: undefined,
    isAuthorized: false,
  }

  it.each([
    ['max-age=10', {}, {}, 10],
    ['max-age=10, stale-while-revalidate=5', {}, {}, 15],
    ['max-age=10, stale-while-revalidate=5, stale-if-error=50', {}, {}, 60],
    ['max-age=10, stale-while-revalidate=5, must-revalidate', {}, {}, 10],
    ['s-maxage=10, stale-while-revalidate=5', {}, {}, 10],
    ['s-maxage=10, stale-while-revalidate=5', { routeTtl: 20 * SECOND }, {}, 25],
    ['max-age=10', { keepStale: 100 * SECOND }, {}, 10],
    ['max-age=10', { keepStale: 100 * SECOND }, { etag: '"v1"' }, 110],
    ['max-age=10, must-revalidate', { keepStale: 100 * SECOND }, { 'last-modified': 'today' }, 110],
    ['no-cache', { keepStale: 100 * SECOND }, { etag: '"v1"' }, 100],
    ['max-age=10, stale-if-error=500', { keepStale: 100 * SECOND }, { etag: '"v1"' }, 510],
    ['max-age=10, stale-if-error=x', {}, {}, 10],
    ['max-age=10', { staleIfError: 7 * SECOND }, {}, 17],
    ['max-age=10, stale-if-error=500', { staleIfError: 7 * SECOND }, {}, 17],
  ] as [string, Partial<StoragePolicy>, Record<string, string>, number][])(
    '%s %o %o is kept for %d s',
    (control, more, fields, seconds) => {
      const judged = judgeStorage(
        { status: 200, fields: { 'cache-control': control, ...fields } },
        { ...policy, ...more },
        Date.UTC(2026, 0, 1),
      )
      expect(judged).toMatchObject({ storable: true, keep: seconds * SECOND })
    },
  )
})

describe('a key that fails', () => {
  it('is left alone for a second, then twice as long each time, a minute at the most', () => {
    const time = new ManualTime()
    const backoff = new Backoff(time)
    expect(backoff.isResting('a')).toBe(false)
    for (const pause of [1, 2, 4, 8, 16, 32, 60, 60, 60]) {
      backoff.fail('a')
      expect(backoff.isResting('a')).toBe(true)
      time.move(pause * SECOND - 1)
      expect(backoff.isResting('a')).toBe(true)
      time.move(1)
      expect(backoff.isResting('a')).toBe(false)
    }
  })

  it('begins anew after a success', () => {
    const time = new ManualTime()
    const backoff = new Backoff(time)
    for (let failure = 0; failure < 5; failure++) backoff.fail('a')
    backoff.succeed('a')
    expect(backoff.isResting('a')).toBe(false)
    backoff.fail('a')
    time.move(SECOND)
    expect(backoff.isResting('a')).toBe(false)
  })

  it('is alone in that', () => {
    const backoff = new Backoff(new ManualTime())
    backoff.fail('a')
    expect(backoff.isResting('b')).toBe(false)
    backoff.succeed('b')
    expect(backoff.isResting('a')).toBe(true)
  })

  it('is forgotten rather than let memory grow', () => {
    const backoff = new Backoff(new ManualTime())
    backoff.fail('first')
    for (let at = 0; at < 20_000; at++) backoff.fail(`key ${at}`)
    expect(backoff.isResting('first')).toBe(false)
    expect(backoff.isResting('key 19999')).toBe(true)
  })
})

describe('a renewed response', () => {
  const stored: StoredResponse = {
    status: 200,
    statusMessage: 'Fine',
    headers: [
      { name: 'ETag', value: '"v1"' },
      { name: 'X-Own', value: ['a', 'b'] },
      { name: 'Content-Length', value: '5' },
      { name: 'Content-Type', value: 'text/plain' },
      { name: 'Age', value: '50' },
      { name: 'Date', value: 'then' },
      { name: 'Cache-Control', value: 'no-cache', isDefault: true },
    ],
    removed: ['x-above'],
    body: Buffer.from('hello'),
    trailers: [{ name: 'X-Sum', value: '1' }],
  }
  const renew = (...headers: HeaderField[]) => renewedResponse(stored, { headers }, 'now')

  it('has the fields of the 304 in the place of its own, but what frames it', () => {
    const { headers, ...rest } = renew(
      { name: 'x-own', value: 'c' },
      { name: 'Content-Length', value: '1000' },
      { name: 'Cache-Status', value: 'other; hit' },
      { name: 'Connection', value: 'X-Hop, close' },
      { name: 'X-Hop', value: 'one' },
      { name: 'Transfer-Encoding', value: 'chunked' },
      { name: 'Cache-Control', value: 'max-age=5' },
    )
    expect(fieldsOf(headers)).toEqual({
      etag: '"v1"',
      'x-own': 'c',
      'content-length': '5',
      'content-type': 'text/plain',
      date: 'now',
      'cache-control': 'max-age=5',
    })
    expect(headers.filter(({ isDefault }) => isDefault)).toEqual([])
    expect(rest).toEqual({
      status: 200,
      statusMessage: 'Fine',
      removed: ['x-above'],
      body: stored.body,
      trailers: stored.trailers,
    })
  })

  it('keeps to the Date of the 304', () => {
    expect(fieldsOf(renew({ name: 'Date', value: 'a while ago' }).headers).date).toBe('a while ago')
  })

  it('leaves what was stored as it was', () => {
    const before = structuredClone({ ...stored, body: undefined })
    renew({ name: 'X-Own', value: 'c' })
    expect({ ...stored, body: undefined }).toEqual(before)
  })
})

/**
 * One resource that is written now and then, each time with a purge, and whose handler fails now and then. No answer is older than
 * its terms allow, and none shows less than what had been acknowledged before its request.
 */

interface Policy {
  readonly control?: string
  readonly route: RouteOptions<never>
  /** For how long after its ten seconds a response may be served, and why. */
  readonly meanwhile: number
  readonly insteadOfError: number
}

const STALE_CONTROL = 'stale-while-revalidate=20, stale-if-error=40'
const POLICIES: readonly Policy[] = [
  {
    route: { ttl: 10, staleWhileRevalidate: 20, staleIfError: 40 },
    meanwhile: 20 * SECOND,
    insteadOfError: 40 * SECOND,
  },
  { control: `max-age=10, ${STALE_CONTROL}`, route: {}, meanwhile: 20 * SECOND, insteadOfError: 40 * SECOND },
  { route: { ttl: 10, staleIfError: 40 }, meanwhile: 0, insteadOfError: 40 * SECOND },
  { control: `s-maxage=10, ${STALE_CONTROL}`, route: {}, meanwhile: 0, insteadOfError: 0 },
  { control: `max-age=10, must-revalidate, ${STALE_CONTROL}`, route: {}, meanwhile: 0, insteadOfError: 0 },
  {
    route: { ttl: 10, staleWhileRevalidate: 20, staleIfError: 40, coalesce: false, jitter: 0.5, earlyRefresh: 2 },
    meanwhile: 20 * SECOND,
    insteadOfError: 40 * SECOND,
  },
]

type Action =
  | { readonly type: 'request'; readonly takes: number }
  | { readonly type: 'write' | 'clear' }
  | { readonly type: 'wait'; readonly milliseconds: number }
  | { readonly type: 'fail'; readonly how: Failure | undefined }

type Failure = 'throws' | 'answers 503'

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ type: fc.constant('request' as const), takes: fc.constantFrom(0, 0, 500, 6_000) }),
  },
  { weight: 3, arbitrary: fc.record({ type: fc.constantFrom('write' as const, 'write' as const, 'clear' as const) }) },
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('wait' as const),
      milliseconds: fc.constantFrom(1, 900, 5_000, 9_999, 10_000, 15_000, 20_000, 30_000, 40_001, 61_000),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      type: fc.constant('fail' as const),
      how: fc.constantFrom(undefined, 'throws' as const, 'answers 503' as const),
    }),
  },
)

/** An action, and how much of what is under way goes on before the next one. */
interface Timed {
  readonly action: Action
  readonly steps: number
}

const timed: fc.Arbitrary<Timed> = fc.record({ action, steps: fc.constantFrom(0, 1, 2, 5, 20, 20) })

interface World {
  readonly scheduler: fc.Scheduler
  readonly time: ManualTime
}

type MakeBackend = (world: World) => TagBackend

interface Counts {
  runs: number
  hits: number
  meanwhile: number
  insteadOfError: number
  renewed: number
  refreshes: number
  errors: number
}

class History {
  readonly counts: Counts = { runs: 0, hits: 0, meanwhile: 0, insteadOfError: 0, renewed: 0, refreshes: 0, errors: 0 }
  readonly #world: World
  readonly #policy: Policy
  readonly #cache: Cache
  /** What the handler reads, and the last of it whose writer has been told that it is done. */
  #written = 0
  #acknowledged = 0
  #failure: Failure | undefined
  /** When the handler has last given a version, or said that it is still good. */
  readonly #goodAt = new Map<number, number>()
  readonly #isStrict: boolean
  #violation: Error | undefined

  constructor(world: World, policy: Policy, backend: TagBackend, random: () => number) {
    this.#world = world
    this.#policy = policy
    this.#isStrict = backend.sync
    this.#cache = new Cache({ backend, time: world.time, random, backendTimeout: '1 day' })
  }

  async run(actions: readonly Timed[]): Promise<void> {
    const { scheduler } = this.#world
    await scheduler.waitFor(this.#request(0))
    const done: Promise<void>[] = []
    for (const { action, steps } of actions) {
      done.push(this.#act(action))
      // What goes on at once does so before time moves.
      await nextTurn()
      for (let step = 0; step < steps && scheduler.count() > 0; step++) {
        await scheduler.waitOne()
        await nextTurn()
      }
    }
    await scheduler.waitFor(Promise.all(done))
    await scheduler.waitFor(this.#recover())
    if (this.#violation) throw this.#violation
  }

  // When all is well again, and every pause and window over, the handler is asked, and its answer kept.
  async #recover(): Promise<void> {
    this.#failure = undefined
    this.#world.time.move(3_600_000)
    await this.#request(0)
    const before = this.counts.runs
    await this.#request(0)
    if (this.counts.runs !== before) this.#violation ??= new Error('a good answer was not kept')
  }

  async #act(action: Action): Promise<void> {
    if (action.type === 'request') return this.#request(action.takes)
    if (action.type === 'wait') this.#world.time.move(action.milliseconds)
    else if (action.type === 'fail') this.#failure = action.how
    else await this.#write(action.type)
  }

  async #write(how: 'write' | 'clear'): Promise<void> {
    const version = ++this.#written
    await this.#step('written')
    await (how === 'clear' ? this.#cache.clear() : this.#cache.invalidateTags('page'))
    this.#acknowledged = Math.max(this.#acknowledged, version)
  }

  #visit(canRefresh: boolean) {
    return visitOf(this.#cache, '/', { tags: 'page', ...this.#policy.route }, { canRefresh: () => canRefresh })
  }

  async #request(takes: number): Promise<void> {
    const acknowledged = this.#acknowledged
    const finding = await look(this.#cache, this.#visit(true))
    if (finding.kind === 'run') return this.#handle(finding.run, takes, acknowledged)
    if (finding.kind !== 'hit') throw new Error(`not expected: ${finding.kind}`)
    const detail = /detail=([\w-]+)/.exec(finding.cacheStatus)?.[1]
    if (detail === 'stale-while-revalidate')
      this.#check(finding.entry, acknowledged, this.#policy.meanwhile, 'meanwhile')
    else if (detail === 'stale-if-error') this.#checkInstead(finding.entry, acknowledged)
    else this.#check(finding.entry, acknowledged, 0, 'hits')
    if (finding.refresh) await this.#refresh(finding.refresh, takes)
  }

  async #refresh(run: Run, takes: number): Promise<void> {
    this.counts.refreshes += 1
    await this.#step('refresh')
    const finding = resume(this.#cache.flow, this.#visit(false), run)
    if (finding.kind === 'run') await this.#handle(run, takes, undefined)
  }

  // A handler that reads first, takes its time, and then answers; `acknowledged` is undefined where nobody is told.
  async #handle(run: Run, takes: number, acknowledged: number | undefined): Promise<void> {
    const { flow } = this.#cache
    this.counts.runs += 1
    await this.#step('handler')
    const version = this.#written
    if (acknowledged !== undefined && version < acknowledged) throw new Error('the test is wrong')
    await this.#step('handler has read')
    if (takes > 0) this.#world.time.move(takes)
    if (this.#failure) return this.#fail(run, this.#failure, acknowledged)
    const etag = `"v${version}"`
    const isSame = run.stored !== undefined && validatorsOf(run.stored)?.etag === etag
    const headers = [
      { name: 'ETag', value: etag },
      ...(this.#policy.control === undefined ? [] : [{ name: 'Cache-Control', value: this.#policy.control }]),
    ]
    const below = { headers, removed: [], fields: fieldsOf(headers), outerSayings: {} }
    const renewed = isSame ? substitute(flow, run, 304, below) : undefined
    if (isSame && !renewed) return abandon(flow, run, 'not-modified')
    this.#goodAt.set(version, this.#world.time.now())
    if (renewed) {
      if (acknowledged !== undefined) this.#check(renewed.entry, acknowledged, 0, 'renewed')
      return settle(flow, run, renewed)
    }
    const decision = decide(flow, run, { status: 200, fields: below.fields })
    await this.#step('head written')
    this.#goodAt.set(version, this.#world.time.now())
    if (!decision.store) return abandon(flow, run, decision.reason)
    await land(flow, run, decision, { ...responseOf(JSON.stringify({ version })), headers })
  }

  async #fail(run: Run, how: Failure, acknowledged: number | undefined): Promise<void> {
    const { flow } = this.#cache
    const nothing = { headers: [], removed: [], fields: {}, outerSayings: {} }
    const instead: Substitution | undefined =
      how === 'throws' ? replacement(flow, run, undefined) : substitute(flow, run, 503, nothing)
    if (instead) {
      if (acknowledged === undefined) throw new Error('a refresh has nobody to serve')
      if (how === 'throws') run.thrown = { error: new Error('thrown by the handler') }
      this.#checkInstead(instead.entry, acknowledged)
      return settle(flow, run, instead)
    }
    this.counts.errors += 1
    if (how === 'throws') return abandon(flow, run, 'failed')
    decide(flow, run, { status: 503, fields: {} })
    await this.#step('head written')
    abandon(flow, run, 'status')
  }

  // What was purged meanwhile takes the place of no error either, as far as this process can know.
  #checkInstead(entry: Entry, acknowledged: number): void {
    this.#check(
      entry,
      this.#isStrict ? this.#acknowledged : acknowledged,
      this.#policy.insteadOfError,
      'insteadOfError',
    )
  }

  #check(entry: Entry, acknowledged: number, allowed: number, how: keyof Counts): void {
    this.counts[how] += 1
    const { version } = JSON.parse(Buffer.from(entry.response.body).toString()) as { version: number }
    const age = this.#world.time.now() - this.#goodAt.get(version)!
    const isTooOld = how === 'insteadOfError' ? age > 10 * SECOND + allowed : age >= 10 * SECOND + allowed
    if (version < acknowledged)
      this.#violation ??= new Error(`${how}: ${version} after ${acknowledged} was acknowledged`)
    if (isTooOld) this.#violation ??= new Error(`${how}: ${age} ms old`)
  }

  #step(name: string): Promise<void> {
    return this.#world.scheduler.schedule(Promise.resolve(), name)
  }
}

// Nothing that is purged is cleared away, so that it would be found.
const inMemory: MakeBackend = ({ time }) => memory({ time, schedule: () => {} })
const overMap: MakeBackend = ({ time }) => keyValue(new AsyncMap(), { time, schedule: () => {} })

/** A backend each of whose calls travels there and back in its own time. */
const farAway: MakeBackend = (world) => {
  const inner = inMemory(world)
  const travel = async <V>(name: string, run: () => MaybePromise<V>): Promise<V> => {
    await world.scheduler.schedule(Promise.resolve(), `to ${name}`)
    const answer = await run()
    return world.scheduler.schedule(Promise.resolve(answer), `from ${name}`)
  }
  return new Overridden(inner, {
    sync: false,
    lookup: (key) => travel('lookup', () => inner.lookup(key)),
    invalidatedAt: (tags) => travel('invalidatedAt', () => inner.invalidatedAt(tags)),
    store: (entry, ttl) => travel('store', () => inner.store(entry, ttl)),
    invalidate: (tags) => travel('invalidate', () => inner.invalidate(tags)),
    delete: (key) => travel('delete', () => inner.delete(key)),
    clear: () => travel('clear', () => inner.clear()),
  })
}

/** For searching longer than a test run may take. */
const THOROUGHNESS = Number(process.env.TAGCACHE_THOROUGHNESS ?? 1)

function promise(makeBackend: MakeBackend, totals: Counts) {
  return fc.asyncProperty(
    fc.scheduler(),
    fc.constantFrom(...POLICIES),
    fc.array(timed, { minLength: 4, maxLength: 24 }),
    fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { minLength: 1, maxLength: 5 }),
    async (scheduler, policy, actions, chances) => {
      const world = { scheduler, time: new ManualTime() }
      let asked = 0
      const history = new History(world, policy, makeBackend(world), () => chances[asked++ % chances.length]!)
      await history.run(actions)
      for (const name of Object.keys(totals) as (keyof Counts)[]) totals[name] += history.counts[name]
    },
  )
}

function noCounts(): Counts {
  return { runs: 0, hits: 0, meanwhile: 0, insteadOfError: 0, renewed: 0, refreshes: 0, errors: 0 }
}

describe('no answer is older than it may be, or older than a purge', () => {
  it.each([
    ['in memory', inMemory, 600],
    ['over three methods', overMap, 300],
    ['over a backend far away', farAway, 300],
  ])('%s', async (_, makeBackend, runs) => {
    const numRuns = runs * THOROUGHNESS
    const totals = noCounts()
    await fc.assert(promise(makeBackend, totals), { numRuns })
    for (const name of Object.keys(totals) as (keyof Counts)[]) {
      expect(totals[name], name).toBeGreaterThan(numRuns / 60)
    }
  })

  /** A backend that hands out entries as if they had other terms. */
  const withTerms =
    (change: (entry: Entry) => Partial<Entry>): MakeBackend =>
    (world) => {
      const inner = inMemory(world) as TagBackend<true>
      return new Overridden(inner, {
        lookup: (key) => {
          const found = inner.lookup(key)
          return found.entry ? { ...found, entry: { ...found.entry, ...change(found.entry) } } : found
        },
      })
    }
  const withoutStamps: MakeBackend = (world) => {
    const inner = inMemory(world) as TagBackend<true>
    return new Overridden(inner, { lookup: (key) => ({ ...inner.lookup(key), invalidatedAt: 0 }) })
  }
  const stampedAtStore: MakeBackend = (world) => {
    const inner = inMemory(world) as TagBackend<true>
    return new Overridden(inner, { store: (entry, ttl) => inner.store({ ...entry, stamp: inner.clock() }, ttl) })
  }

  it.each([
    ['whose look-ups know no invalidation', withoutStamps],
    ['that stamps entries when they are stored', stampedAtStore],
    ['that makes lifetimes longer', withTerms(({ lifetime }) => ({ lifetime: lifetime + SECOND }))],
    [
      'that makes the first window longer',
      withTerms(({ staleWhileRevalidate: given }) => ({ staleWhileRevalidate: given + SECOND })),
    ],
    ['that makes the second window longer', withTerms(({ staleIfError: given }) => ({ staleIfError: given + SECOND }))],
    ['that forgets what is forbidden', withTerms(() => ({ staleIfError: 40_000, mustRevalidate: false }))],
  ])('is broken by a backend %s, which shows that the test bites', async (_, makeBackend) => {
    const result = await fc.check(promise(makeBackend, noCounts()), { numRuns: 5_000, endOnFailure: true })
    expect(result.failed).toBe(true)
  })
})
