import { LRUCache } from 'lru-cache'
import type { Cache } from '../cache.ts'
import type { Meter } from '../core/latency.ts'
import type { CacheEvent, Outcome, Trace } from '../core/trace.ts'
import type { Health } from './fleet.ts'
import { isAnswered, Routes } from './routes.ts'
import { type Columns, Series, type ShownStep, type Step } from './series.ts'
import { type Happening, MOST_KEPT, Timeline } from './timeline.ts'

/** When something was purged last, and by whom. */
export interface LastPurge {
  /** In epoch milliseconds. */
  readonly time: number
  readonly by?: string
}

const COLUMN = { hit: 'hits', stale: 'stale', collapsed: 'collapsed', miss: 'misses', bypass: 'bypasses' } as const
const SECOND = 1000
// So many answers a second are enough to tell how long they take: all are measured where there are fewer.
const ENOUGH_MEASURED = 32
const MOST_PURGES = 10_000

/** What a cache does, from the day that a dashboard is mounted: by second, by route, and what happens beside requests. */
export class Recorder {
  /** Since when, in epoch milliseconds. */
  readonly since: number
  readonly routes = new Routes()
  readonly timeline = new Timeline()
  readonly #cache: Cache
  // Five minutes, and an hour.
  readonly #seconds = new Series(SECOND, 300)
  readonly #tens = new Series(10 * SECOND, 360)
  readonly #all = [this.#seconds, this.#tens]
  readonly #purges = new LRUCache<string, LastPurge>({ max: MOST_PURGES })
  readonly #states = { isPaused: false, isNearLost: false }
  readonly #unlisten: () => void
  readonly #meter: Meter
  #requests = 0
  readonly #news = new Set<Happening>()
  #cancel: (() => void) | undefined

  /** @param onSecond told after each second */
  constructor(cache: Cache, onSecond: () => void) {
    this.#cache = cache
    this.since = cache.flow.now()
    this.#unlisten = cache.on((event) => this.#record(event))
    this.#meter = cache.flow.events.meter((milliseconds) => {
      for (const series of this.#all) series.at(cache.flow.now()).hitTimes.add(milliseconds)
    })
    this.#meter.measureOneIn(1)
    const wait = () => {
      this.#cancel = cache.flow.after(SECOND, () => {
        this.#measure()
        onSecond()
        // Also where nobody watches, and so nobody takes them.
        this.#news.clear()
        wait()
      })
    }
    wait()
  }

  /** The last five minutes by second, and the last hour by ten. */
  series(): { readonly seconds: Columns; readonly tens: Columns } {
    const now = this.#cache.flow.now()
    return { seconds: this.#seconds.read(now), tens: this.#tens.read(now) }
  }

  /** The last few seconds that are over: more than one, since nothing happens exactly once a second. */
  lastSeconds(): readonly ShownStep[] {
    const now = this.#cache.flow.now()
    return [3, 2, 1].map((ago) => this.#seconds.show(now - ago * SECOND))
  }

  /** What happened in the last second, as far as it is kept. */
  news(): readonly Happening[] {
    return [...this.#news]
  }

  /** When a tag, a URI or a route (`tag/…`, `uri/…`, `route/…`) was purged last, as far as that was since. */
  lastPurge(name: string): LastPurge | undefined {
    return this.#purges.peek(name)
  }

  /** How the backend is. */
  get health(): Health {
    if (this.#cache.flow.guard.isBehind) return 'behind'
    if (this.#states.isPaused) return 'paused'
    return this.#states.isNearLost ? 'near-lost' : 'well'
  }

  close(): void {
    this.#cancel?.()
    this.#unlisten()
    this.#meter.end()
  }

  #record(event: CacheEvent): void {
    if (event.type === 'trace') return this.#recordTrace(event)
    const now = this.#cache.flow.now()
    if (event.type === 'invalidation' || event.type === 'clear') this.#recordPurge(event, now)
    if (event.type === 'backend') this.#recordState(event.state)
    const happening = this.timeline.add(event, now)
    if (!happening) return
    this.#news.add(happening)
    if (this.#news.size > MOST_KEPT) this.#news.delete(this.#news.values().next().value!)
  }

  #recordTrace(trace: Trace): void {
    this.routes.count(trace)
    const now = this.#cache.flow.now()
    for (const series of this.#all) addTrace(series.at(now), trace.outcome, trace.cost)
  }

  #recordPurge(event: Extract<CacheEvent, { type: 'invalidation' | 'clear' }>, time: number): void {
    for (const series of this.#all) series.at(time).purges += 1
    if (event.type === 'clear') return
    const { tags, uris, routes = [], by } = event
    const purge = by === undefined ? { time } : { time, by }
    const names = [...tags.map((tag) => `tag/${tag}`), ...uris, ...routes.map((route) => `route/${route}`)]
    for (const name of names) this.#purges.set(name, purge)
  }

  #recordState(state: Extract<CacheEvent, { type: 'backend' }>['state']): void {
    if (state === 'paused' || state === 'resumed') this.#states.isPaused = state === 'paused'
    if (state === 'near-lost' || state === 'near-trusted') this.#states.isNearLost = state === 'near-lost'
  }

  #measure(): void {
    const now = this.#cache.flow.now()
    const { bytes, entries, requests } = this.#cache.stats()
    for (const series of this.#all) Object.assign(series.at(now - 1), { bytes, entries })
    this.#meter.measureOneIn(2 ** Math.floor(Math.log2(Math.max(1, (requests - this.#requests) / ENOUGH_MEASURED))))
    this.#requests = requests
  }
}

function addTrace(step: Step, outcome: Outcome, cost: number | undefined): void {
  step[COLUMN[outcome]] += 1
  if (cost === undefined) return
  step.timed += 1
  if (isAnswered(outcome)) {
    step.saved += cost
    return
  }
  step.spent += cost
  step.handlerTimes.add(cost)
}
