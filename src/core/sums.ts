// Of two states, the one that has to be known.
const WORSE: ReadonlySet<unknown> = new Set(['paused', 'lost', 'everything'])

/**
 * The numbers of two records of one shape together, whatever is in them: counts add up, the longest of times is the longest,
 * the earliest beginning the beginning, and a trouble of one is a trouble of both. What only one has stays as it is.
 */
export function addUp<R>(one: R, other: R): R {
  return join('', one, other) as R
}

function join(name: string, one: unknown, other: unknown): unknown {
  if (one === undefined || one === null) return other
  if (other === undefined || other === null) return one
  if (typeof one === 'number' && typeof other === 'number') return joinNumbers(name, one, other)
  if (Array.isArray(one) && Array.isArray(other)) return joinLists(name, one, other)
  if (isRecord(one) && isRecord(other)) return joinRecords(one, other)
  if (typeof one === 'boolean' && typeof other === 'boolean') return one || other
  return WORSE.has(other) ? other : one
}

function joinNumbers(name: string, one: number, other: number): number {
  if (name === 'since') return Math.min(one, other)
  return name === 'longest' ? Math.max(one, other) : one + other
}

// Counts of classes add up, and where the classes end is the same for all.
function joinLists(name: string, one: readonly unknown[], other: readonly unknown[]): unknown {
  if (name === 'bounds' || one.length !== other.length) return one
  return one.map((value, at) => join(name, value, other[at]))
}

function joinRecords(one: Record<string, unknown>, other: Record<string, unknown>): Record<string, unknown> {
  const names = new Set([...Object.keys(one), ...Object.keys(other)])
  return Object.fromEntries([...names].map((name) => [name, join(name, own(one, name), own(other, name))]))
}

// A route may have any name, that of the prototype too.
function own(record: Record<string, unknown>, name: string): unknown {
  return Object.hasOwn(record, name) ? record[name] : undefined
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
