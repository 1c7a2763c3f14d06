/** What a measure is told apart by. */
export type Label =
  | 'route'
  | 'outcome'
  | 'reason'
  | 'tier'
  | 'stored'
  | 'kind'
  | 'delivered'
  | 'operation'
  | 'error'
  | 'state'
  | 'code'

/** One of the things that are measured of a cache. */
export interface Measure {
  readonly kind: 'counter' | 'histogram' | 'gauge'
  /** As OpenTelemetry names it. */
  readonly name: string
  readonly unit: string
  readonly description: string
  readonly labels: readonly Label[]
  /** Where the classes of a histogram end. */
  readonly bounds?: readonly number[]
}

const HANDLER_SECONDS = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]
const BACKEND_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1]

/** All that is measured. Exporters add a name of the cache to the labels. */
export const MEASURES = {
  requests: {
    kind: 'counter',
    name: 'tagcache.requests',
    unit: '{request}',
    description: 'Requests that reached a cached(), by how they ended for the cache, and by the rule that decided.',
    labels: ['route', 'outcome', 'reason', 'tier'],
  },
  saved: {
    kind: 'counter',
    name: 'tagcache.saved',
    unit: 's',
    description: 'Time that handlers did not have to run.',
    labels: ['route'],
  },
  stores: {
    kind: 'counter',
    name: 'tagcache.stores',
    unit: '{response}',
    description: 'Responses stored.',
    labels: ['route'],
  },
  handlerDuration: {
    kind: 'histogram',
    name: 'tagcache.handler.duration',
    unit: 's',
    description: 'How long handlers ran for responses that were stored, or were made anew in the background.',
    labels: ['route'],
    bounds: HANDLER_SECONDS,
  },
  refreshes: {
    kind: 'counter',
    name: 'tagcache.refreshes',
    unit: '{response}',
    description: 'Responses made anew in the background, and whether they were stored.',
    labels: ['route', 'stored', 'reason'],
  },
  failures: {
    kind: 'counter',
    name: 'tagcache.failures',
    unit: '{error}',
    description: 'Failures of handlers in the place of which a stale response was sent.',
    labels: ['route'],
  },
  invalidations: {
    kind: 'counter',
    name: 'tagcache.invalidations',
    unit: '{invalidation}',
    description:
      'Purges of tags, routes, single entries and URIs, and of everything; and whether the backend took them at once.',
    labels: ['kind', 'delivered'],
  },
  removals: {
    kind: 'counter',
    name: 'tagcache.removals',
    unit: '{entry}',
    description: 'Entries that left the memory of this process, by why.',
    labels: ['reason'],
  },
  backendDuration: {
    kind: 'histogram',
    name: 'tagcache.backend.duration',
    unit: 's',
    description: 'How long calls of the backend took, where it does not answer at once.',
    labels: ['operation', 'error'],
    bounds: BACKEND_SECONDS,
  },
  faults: {
    kind: 'counter',
    name: 'tagcache.faults',
    unit: '{error}',
    description: 'Faults of the backend; each counted as a miss.',
    labels: ['operation', 'error'],
  },
  transitions: {
    kind: 'counter',
    name: 'tagcache.backend.transitions',
    unit: '{transition}',
    description: 'Changes of state of the backend.',
    labels: ['state'],
  },
  warnings: {
    kind: 'counter',
    name: 'tagcache.warnings',
    unit: '{warning}',
    description: 'Warnings of misuse and of the set-up.',
    labels: ['code'],
  },
  entries: {
    kind: 'gauge',
    name: 'tagcache.entries',
    unit: '{entry}',
    description: 'Entries held in this process.',
    labels: [],
  },
  size: {
    kind: 'gauge',
    name: 'tagcache.size',
    unit: 'By',
    description: 'Memory held in this process: keys, headers, bodies and bookkeeping.',
    labels: [],
  },
  available: {
    kind: 'gauge',
    name: 'tagcache.backend.available',
    unit: '',
    description: '1 while the backend is used, 0 while it is left alone after a fault.',
    labels: [],
  },
  behind: {
    kind: 'gauge',
    name: 'tagcache.backend.behind',
    unit: '',
    description: '1 while purges wait for the backend to take them, and nothing stored is trusted; else 0.',
    labels: [],
  },
  trusted: {
    kind: 'gauge',
    name: 'tagcache.near.trusted',
    unit: '',
    description: '1 while copies in a near tier are trusted, 0 for want of news.',
    labels: [],
  },
} as const satisfies Record<string, Measure>

export type MeasureName = keyof typeof MEASURES

type Named<K extends Measure['kind']> = {
  [M in MeasureName]: (typeof MEASURES)[M]['kind'] extends K ? M : never
}[MeasureName]

export type CounterName = Named<'counter'>
export type HistogramName = Named<'histogram'>
export type GaugeName = Named<'gauge'>

/** The names of the measures of one kind. */
export function measuresOf<K extends Measure['kind']>(kind: K): Named<K>[] {
  return (Object.keys(MEASURES) as MeasureName[]).filter((name) => MEASURES[name].kind === kind) as Named<K>[]
}

// What OpenTelemetry's exporter to Prometheus makes of a unit; of one in braces nothing.
const SUFFIXES: Readonly<Record<string, string>> = { s: '_seconds', By: '_bytes' }

/** The name of a measure under Prometheus: the same that comes of exporting it by OpenTelemetry. */
export function prometheusName({ name, unit, kind }: Measure): string {
  return `${name.replaceAll('.', '_')}${SUFFIXES[unit] ?? ''}${kind === 'counter' ? '_total' : ''}`
}
