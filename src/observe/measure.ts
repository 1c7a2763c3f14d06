import type { Cache } from '../cache.ts'
import type { RemovalReason } from '../core/entry.ts'
import { monotonicTime } from '../core/time.ts'
import type { CacheEvent, Trace } from '../core/trace.ts'
import { type Around, whenOver } from '../core/work.ts'
import type { CounterName, GaugeName, HistogramName, Label } from './measures.ts'
import { errorType, Names } from './names.ts'

/** What a measurement is told apart by; what does not apply is absent. */
export type Labels = { readonly [L in Label]?: string | undefined }

/** Takes measurements. Times are in seconds. */
export interface Sink {
  add(name: CounterName, amount: number, labels: Labels): void
  record(name: HistogramName, value: number, labels: Labels): void
}

/** A cache that is measured. */
export interface Measured {
  /** What a gauge shows now; undefined where it says nothing of this cache. */
  read(name: GaugeName): number | undefined
  stop(): void
}

// Reasons, operations and errors are few, unless a backend or an application is of another mind.
const MOST_OTHERS = 100

/** Has all that a cache does measured, by no more than so many route names. */
export function measure(cache: Cache, sink: Sink, mostRoutes: number): Measured {
  const teller = new Teller(sink, mostRoutes)
  beginAtZero(sink)
  const unlisten = cache.on((event) => teller.tell(event))
  const leave = cache.flow.events.work.add(teller.around)
  return {
    read: (name) => readGauge(cache, name),
    stop: () => {
      unlisten()
      leave()
    },
  }
}

function readGauge(cache: Cache, name: GaugeName): number | undefined {
  const { entries, bytes, backend } = cache.stats()
  if (name === 'entries') return entries
  if (name === 'size') return bytes
  if (name === 'available') return Number(backend.state === 'well')
  if (name === 'behind') return Number(backend.isBehind)
  return backend.near === undefined ? undefined : Number(backend.near === 'trusted')
}

const STATES = ['paused', 'resumed', 'behind', 'delivered', 'near-lost', 'near-trusted'] as const satisfies State[]
const REMOVALS = ['expired', 'evicted', 'invalidated', 'replaced', 'deleted'] as const satisfies RemovalReason[]
const PURGES = ['tags', 'route', 'entry', 'uri', 'everything'] as const

// Whoever looks at how much a count has grown sees nothing of a series that begins with what is to be seen.
function beginAtZero(sink: Sink): void {
  for (const state of STATES) sink.add('transitions', 0, { state })
  for (const reason of REMOVALS) sink.add('removals', 0, { reason })
  for (const kind of PURGES)
    for (const delivered of ['true', 'false']) sink.add('invalidations', 0, { kind, delivered })
}

type State = (CacheEvent & { type: 'backend' })['state']

function kindOf({ tags, routes, keys }: CacheEvent & { type: 'invalidation' }): (typeof PURGES)[number] {
  if (tags.length > 0) return 'tags'
  if (routes) return 'route'
  return keys ? 'entry' : 'uri'
}

/** Makes measurements of events and work. */
class Teller {
  readonly #sink: Sink
  readonly #routes: Names
  readonly #reasons = new Names(MOST_OTHERS)
  readonly #operations = new Names(MOST_OTHERS)
  readonly #errors = new Names(MOST_OTHERS)

  constructor(sink: Sink, mostRoutes: number) {
    this.#sink = sink
    this.#routes = new Names(mostRoutes, (route) => sink.add('failures', 0, { route }))
  }

  readonly around: Around = (work, run) => {
    if (work.kind !== 'backend') return run()
    const begun = monotonicTime.now()
    return whenOver(run, (end) => {
      const error = 'error' in end ? this.#errorOf(end.error) : undefined
      const operation = this.#operations.of(work.name)
      this.#sink.record('backendDuration', (monotonicTime.now() - begun) / 1000, { operation, error })
    })
  }

  tell(event: CacheEvent): void {
    const sink = this.#sink
    if (event.type === 'trace') this.#tellTrace(event)
    else if (event.type === 'refresh') this.#tellRefresh(event)
    else if (event.type === 'removal') sink.add('removals', event.entries, { reason: event.reason })
    else if (event.type === 'invalidation') this.#tellPurge(kindOf(event), event.isDelivered)
    else if (event.type === 'clear') this.#tellPurge('everything', event.isDelivered)
    else if (event.type === 'failure') sink.add('failures', 1, { route: this.#routes.of(event.route) })
    else if (event.type === 'fault') {
      sink.add('faults', 1, { operation: this.#operations.of(event.operation), error: this.#errorOf(event.error) })
    } else if (event.type === 'backend') sink.add('transitions', 1, { state: event.state })
    else if (event.type === 'warning') sink.add('warnings', 1, { code: event.code })
  }

  #tellTrace({ route: name, outcome, reason, tier, stored, forward, cost = 0 }: Trace): void {
    const route = this.#routes.of(name)
    this.#sink.add('requests', 1, { route, outcome, reason: this.#reasonOf(reason), tier })
    // The handler has run for whatever was forwarded to it.
    if (forward === undefined) this.#sink.add('saved', cost / 1000, { route })
    if (!stored) return
    this.#sink.add('stores', 1, { route })
    this.#sink.record('handlerDuration', cost / 1000, { route })
  }

  #tellRefresh({ route: name, stored, reason, cost }: CacheEvent & { type: 'refresh' }): void {
    const route = this.#routes.of(name)
    this.#sink.add('refreshes', 1, { route, stored: String(stored), reason: this.#reasonOf(reason) })
    this.#sink.record('handlerDuration', cost / 1000, { route })
    if (stored) this.#sink.add('stores', 1, { route })
  }

  #tellPurge(kind: string, isDelivered: boolean): void {
    this.#sink.add('invalidations', 1, { kind, delivered: String(isDelivered) })
  }

  #reasonOf(reason: string | undefined): string | undefined {
    return reason === undefined ? undefined : this.#reasons.of(reason)
  }

  #errorOf(error: unknown): string {
    return this.#errors.of(errorType(error))
  }
}
