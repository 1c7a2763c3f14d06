import { Counter, Gauge, Histogram, type Registry, register as theRegistry } from 'prom-client'
import type { Cache } from '../cache.ts'
import { badValue, checkOptions, countOf } from '../core/values.ts'
import { type Labels, measure } from './measure.ts'
import { MEASURES, type Measure, type MeasureName, measuresOf, prometheusName } from './measures.ts'
import { type Observed, sourceName } from './source.ts'

/** How a cache is measured for Prometheus. */
export interface PrometheusOptions {
  /** Where the metrics are. Default: the global registry of prom-client. */
  registry?: Registry
  /** What the names of all metrics begin with. Default `'tagcache_'`. */
  prefix?: string
  /** Tells caches apart, in the label `cache`. Default: the cache's name in `Cache-Status`, and its namespace. */
  name?: string
  /** So many route names have numbers of their own, the first ones; the rest are counted as `other`. Default 200. */
  maxRoutes?: number
}

/**
 * Adds the metrics of a cache to a registry of prom-client, where several caches share them. Returns the way to end that;
 * what was counted stays in the registry. Throws `ERR_TAGCACHE_OPTION_VALUE`, `ERR_TAGCACHE_OPTION_UNKNOWN`.
 */
export function register(observed: Observed, options: PrometheusOptions = {}): () => void {
  const cache = observed as Cache
  checkOptions('register()', options, ['registry', 'prefix', 'name', 'maxRoutes'])
  const { registry = theRegistry, prefix = 'tagcache_', maxRoutes = 200 } = options
  if (typeof prefix !== 'string' || !/^[a-zA-Z_][a-zA-Z0-9_]*$/.test(prefix))
    throw badValue('prefix', prefix, 'letters, digits and "_"')
  const own = sourceName(cache, options.name)
  const place = { registry, prefix }
  const counters = each(measuresOf('counter'), (name) => counterOf(place, MEASURES[name]))
  const histograms = each(measuresOf('histogram'), (name) => histogramOf(place, MEASURES[name]))
  const gauges = each(measuresOf('gauge'), (name) => gaugeOf(place, MEASURES[name]))
  const measured = measure(
    cache,
    {
      add: (name, amount, labels) => counters[name].inc(labelled(name, labels, own), amount),
      record: (name, value, labels) => histograms[name].observe(labelled(name, labels, own), value),
    },
    countOf('maxRoutes', maxRoutes),
  )
  for (const name of measuresOf('gauge')) readers.get(gauges[name])?.set(own, () => measured.read(name))
  return () => {
    measured.stop()
    for (const gauge of Object.values(gauges)) {
      readers.get(gauge)?.delete(own)
      gauge.remove({ cache: own })
    }
  }
}

// Each series of a metric has all of its labels, as Prometheus wants it; an empty one is none.
function labelled(name: MeasureName, given: Labels, cache: string): Record<string, string> {
  const labels: Record<string, string> = { cache }
  for (const label of MEASURES[name].labels) labels[label] = given[label] ?? ''
  return labels
}

interface Place {
  readonly registry: Registry
  readonly prefix: string
}

function each<N extends MeasureName, M>(names: readonly N[], make: (name: N) => M): Record<N, M> {
  return Object.fromEntries(names.map((name) => [name, make(name)])) as Record<N, M>
}

function counterOf({ registry, prefix }: Place, measure: Measure): Counter {
  const about = aboutOf(registry, prefix, measure)
  return (registry.getSingleMetric(about.name) as Counter | undefined) ?? new Counter(about)
}

function histogramOf({ registry, prefix }: Place, measure: Measure): Histogram {
  const about = { ...aboutOf(registry, prefix, measure), buckets: [...(measure.bounds ?? [])] }
  return (registry.getSingleMetric(about.name) as Histogram | undefined) ?? new Histogram(about)
}

// What each cache shows in a gauge, read when it is asked for.
const readers = new WeakMap<Gauge, Map<string, () => number | undefined>>()

function gaugeOf({ registry, prefix }: Place, measure: Measure): Gauge {
  const about = aboutOf(registry, prefix, measure)
  const known = registry.getSingleMetric(about.name) as Gauge | undefined
  if (known) return known
  const own = new Map<string, () => number | undefined>()
  const gauge: Gauge = new Gauge({
    ...about,
    collect: () => {
      for (const [cache, read] of own) {
        const value = read()
        if (value !== undefined) gauge.set({ cache }, value)
      }
    },
  })
  readers.set(gauge, own)
  return gauge
}

function aboutOf(registry: Registry, prefix: string, measure: Measure) {
  return {
    name: prometheusName(measure).replace(/^tagcache_/, prefix),
    help: measure.description,
    labelNames: ['cache', ...measure.labels],
    registers: [registry],
  }
}
