/** Something that is measured, of several subjects. */
export interface Scenario {
  readonly name: string
  /** What it is, in a line. */
  readonly text: string
  /** What is shown of each row. */
  readonly columns: readonly Column[]
  run(context: Context): Promise<Outcome>
}

export interface Column {
  readonly title: string
  readonly show: (values: Values) => string
}

export type Values = Readonly<Record<string, number>>

/** What came out for a subject. */
export interface Row {
  readonly subject: string
  /** What it was compared with. */
  readonly baseline?: string
  readonly values: Values
}

/** A subject that was not measured. */
export interface Absent {
  readonly subject: string
  readonly kind: 'skipped' | 'failed'
  readonly reason: string
}

export interface Outcome {
  readonly rows: readonly Row[]
  readonly absent: readonly Absent[]
}

/** What a scenario is run with. */
export interface Context {
  readonly isQuick: boolean
  /** Whether a subject is to be measured, here and against this baseline. */
  wants(subject: string, baseline?: string): boolean
  /** The port of a Redis of our own. */
  redisPort(): Promise<number>
  /** Says what is being done. */
  tell(doing: string): void
}

/** A column with one value. */
export function column(title: string, name: string, digits = 0): Column {
  return { title, show: (values) => numberOf(values[name], digits) }
}

export function numberOf(value: number | undefined, digits: number): string {
  return value === undefined || Number.isNaN(value)
    ? '–'
    : value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

/** The other caches for Express, by the names of their subjects. */
export const PEERS = [
  'apicache',
  'apicache-plus',
  'route-cache',
  'outputcache',
  'cache-manager',
  'bentocache',
  'async-cache-dedupe',
]
