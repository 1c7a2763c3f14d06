import {
  type Attributes,
  type Counter,
  context,
  type Histogram,
  type Meter,
  metrics,
  type ObservableGauge,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api'
import type { Cache } from '../cache.ts'
import type { Reason } from '../core/reasons.ts'
import type { Trace } from '../core/trace.ts'
import { checkOptions, countOf } from '../core/values.ts'
import { type Around, type Work, whenOver } from '../core/work.ts'
import { type Labels, type Measured, measure } from './measure.ts'
import { type GaugeName, type Label, MEASURES, type Measure, type MeasureName, measuresOf } from './measures.ts'
import { errorType, Names } from './names.ts'
import { type Observed, sourceName } from './source.ts'

/** What OpenTelemetry is told of a cache. */
export interface InstrumentOptions {
  /** Makes the metrics; `false` for none. Default: the global provider's, under the name `tagcache`. */
  meter?: Meter | false
  /** Makes the spans; `false` for none, and no attributes on those of others. Default: the global provider's, under the name `tagcache`. */
  tracer?: Tracer | false
  /** Tells caches apart, in the attribute `tagcache.cache`. Default: the cache's name in `Cache-Status`, and its namespace. */
  name?: string
  /** So many route names have numbers of their own, the first ones; the rest are counted as `other`. Default 200. */
  maxRoutes?: number
}

/**
 * Tells OpenTelemetry what a cache does: metrics; spans for calls of a backend that does not answer at once, and for responses made
 * anew in the background; attributes on the span of the request. Returns the way to end that. Throws `ERR_TAGCACHE_OPTION_VALUE`,
 * `ERR_TAGCACHE_OPTION_UNKNOWN`.
 */
export function instrument(observed: Observed, options: InstrumentOptions = {}): () => void {
  const cache = observed as Cache
  checkOptions('instrument()', options, ['meter', 'tracer', 'name', 'maxRoutes'])
  const { meter = metrics.getMeter('tagcache'), tracer = trace.getTracer('tagcache'), maxRoutes = 200 } = options
  const name = sourceName(cache, options.name)
  const mostRoutes = countOf('maxRoutes', maxRoutes)
  const stops = [
    meter === false ? undefined : meterCache(cache, meter, name, mostRoutes),
    tracer === false ? undefined : traceCache(cache, tracer, name, mostRoutes),
  ]
  return () => {
    for (const stop of stops) stop?.()
  }
}

// ——— Metrics ———

function meterCache(cache: Cache, meter: Meter, name: string, mostRoutes: number): () => void {
  const counters = each(measuresOf('counter'), (one) => counterOf(meter, MEASURES[one]))
  const histograms = each(measuresOf('histogram'), (one) => histogramOf(meter, MEASURES[one]))
  const own = { 'tagcache.cache': name }
  const measured = measure(
    cache,
    {
      add: (one, amount, labels) => counters[one].add(amount, { ...own, ...attributesOf(labels) }),
      record: (one, value, labels) => histograms[one].record(value, { ...own, ...attributesOf(labels) }),
    },
    mostRoutes,
  )
  const leave = measuresOf('gauge').map((one) => showGauge(meter, one, measured, own))
  return () => {
    measured.stop()
    for (const end of leave) end()
  }
}

function showGauge(meter: Meter, name: GaugeName, measured: Measured, own: Attributes): () => void {
  const gauge: ObservableGauge = meter.createObservableGauge(MEASURES[name].name, aboutOf(MEASURES[name]))
  const show: Parameters<ObservableGauge['addCallback']>[0] = (result) => {
    const value = measured.read(name)
    if (value !== undefined) result.observe(value, own)
  }
  gauge.addCallback(show)
  return () => gauge.removeCallback(show)
}

function each<N extends MeasureName, M>(names: readonly N[], make: (name: N) => M): Record<N, M> {
  return Object.fromEntries(names.map((name) => [name, make(name)])) as Record<N, M>
}

function counterOf(meter: Meter, measure: Measure): Counter {
  return meter.createCounter(measure.name, aboutOf(measure))
}

function histogramOf(meter: Meter, measure: Measure): Histogram {
  const explicitBucketBoundaries = [...(measure.bounds ?? [])]
  return meter.createHistogram(measure.name, { ...aboutOf(measure), advice: { explicitBucketBoundaries } })
}

function aboutOf({ description, unit }: Measure): { description: string; unit: string } {
  return { description, unit }
}

// ——— Attributes ———

const ATTRIBUTES: Readonly<Record<Exclude<Label, 'route'>, string>> = {
  outcome: 'tagcache.outcome',
  reason: 'tagcache.reason',
  tier: 'tagcache.tier',
  stored: 'tagcache.stored',
  kind: 'tagcache.kind',
  delivered: 'tagcache.delivered',
  operation: 'tagcache.operation',
  error: 'error.type',
  state: 'tagcache.state',
  code: 'tagcache.code',
}

function attributesOf({ route, ...labels }: Labels): Attributes {
  const attributes: Attributes = route === undefined ? {} : routeAttributes(route)
  for (const [label, value] of Object.entries(labels)) {
    if (value !== undefined) attributes[ATTRIBUTES[label as keyof typeof labels]] = value
  }
  return attributes
}

// As the semantic conventions have it for servers; a name that the route was given stands for its path.
function routeAttributes(route: string): Attributes {
  const [, method, path] = /^([A-Z-]+) (\/.*)$/s.exec(route) ?? []
  return method === undefined || path === undefined
    ? { 'http.route': route }
    : { 'http.request.method': method, 'http.route': path }
}

// ——— Spans ———

function traceCache(cache: Cache, tracer: Tracer, name: string, mostRoutes: number): () => void {
  const routes = new Names(mostRoutes)
  const unlisten = cache.on('trace', describeRequest)
  const { forwards } = cache.flow.events
  // A function of its own, so that stopping one instrument leaves another.
  const describe = (reason: Reason) => describeForward(reason)
  forwards.add(describe)
  const leave = cache.flow.events.work.add(spanAround(tracer, { 'tagcache.cache': name }, routes))
  return () => {
    unlisten()
    forwards.delete(describe)
    leave()
  }
}

// The span of the request is the active one, as far as the application's instrumentation has made one.
function describeRequest({ outcome, reason, tier, stored, ttl }: Trace): void {
  const span = trace.getActiveSpan()
  if (!span?.isRecording()) return
  const attributes = attributesOf({ outcome, reason, tier })
  attributes['tagcache.stored'] = stored
  // How much longer the answer is fresh, in seconds.
  if (ttl !== undefined) attributes['tagcache.ttl'] = Math.floor(ttl / 1000)
  span.setAttributes(attributes)
}

// Of a response that is streamed, or stored where that takes time, the span ends before the record is left.
function describeForward(reason: Reason): void {
  trace.getActiveSpan()?.setAttributes(attributesOf({ outcome: 'miss', reason }))
}

function spanAround(tracer: Tracer, own: Attributes, routes: Names): Around {
  return (work, run) => {
    const span = tracer.startSpan(titleOf(work), { attributes: { ...own, ...describeWork(work, routes) } })
    return context.with(trace.setSpan(context.active(), span), () =>
      whenOver(run, (end) => {
        if ('error' in end) {
          span.setStatus({ code: SpanStatusCode.ERROR })
          span.setAttribute('error.type', errorType(end.error))
        } else if (work.kind === 'refresh') span.setAttributes(describeRefresh(end.value))
        span.end()
      }),
    )
  }
}

function titleOf({ kind, name }: Work): string {
  return kind === 'backend' ? `tagcache ${name}` : 'tagcache refresh'
}

function describeWork({ kind, name }: Work, routes: Names): Attributes {
  return kind === 'backend' ? attributesOf({ operation: name }) : attributesOf({ route: routes.of(name) })
}

function describeRefresh(made: unknown): Attributes {
  const { stored, reason } = Object(made) as { stored?: boolean; reason?: string }
  return { ...attributesOf({ reason }), ...(stored === undefined ? {} : { 'tagcache.stored': stored }) }
}
