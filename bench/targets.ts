import type { Row } from './scenarios/scenario.ts'

/** What the bench must show. */
export interface Target {
  readonly scenario: string
  /** One of these is enough; where there are several, the best one counts. */
  readonly subjects: readonly string[]
  readonly baseline?: string
  /** A value of the row. */
  readonly value: string
  readonly atLeast?: number
  readonly atMost?: number
}

const FRONT = ['Express 5 tagcache front']
const EXPRESS = ['Express 5 tagcache route', 'Express 5 tagcache app.use']
const KOA = ['Koa 3 tagcache front', 'Koa 3 tagcache route', 'Koa 3 tagcache app.use']
const ROUTE = ['Express 5 tagcache route']
const COMPRESSED = ['Express 5 tagcache compress', 'Express 5 tagcache, then compression']
const MILLION = ['tagcache, 1,000,000 entries']
const STAMPEDE = { scenario: 'stampede', subjects: ROUTE }
const INVALIDATION = { scenario: 'invalidation', subjects: MILLION }
const PLAIN = 'Express 5 no cache'

export const targets: readonly Target[] = [
  ratio('hit 1 KB', EXPRESS, 'Express 5 static', 0.9),
  ratio('hit 1 KB', EXPRESS, 'apicache', 1.4),
  ratio('hit 1 KB', KOA, 'Koa 3 static', 1.2),
  ratio('hit 1 KB', FRONT, 'node bare', 0.9),
  ratio('hit 1 KB', FRONT, 'apicache', 6),
  ratio('hit 100 KB', FRONT, 'node bare', 0.95),
  ratio('hit 100 KB compressed', COMPRESSED, 'Express 5 compression', 20),
  ...[...ROUTE, ...FRONT].map((subject) => ratio('10,000 URLs', [`${subject}, uniform`], subject, 0.9)),
  { scenario: 'miss', subjects: ROUTE, baseline: PLAIN, value: 'cpuRatio', atLeast: 0.9 },
  ratio('pass, no-store', ROUTE, PLAIN, 0.97),
  ratio('pass, POST', ['Express 5 tagcache app.use'], PLAIN, 0.97),
  { ...STAMPEDE, value: 'runs', atMost: 1 },
  { ...STAMPEDE, value: 'p99OfDelay', atMost: 1.2 },
  { ...INVALIDATION, value: 'purge', atMost: 1 },
  { ...INVALIDATION, value: 'block', atMost: 5 },
  { scenario: 'memory', subjects: ROUTE, value: 'beyond', atMost: 500 },
  ratio('hit Redis', ['Express 5 tagcache Redis'], 'Express 5 Redis by hand', 0.85),
  ratio('hit near tier', ['Express 5 tagcache near'], 'Express 5 tagcache route', 0.95),
]

function ratio(scenario: string, subjects: readonly string[], baseline: string, atLeast: number): Target {
  return { scenario, subjects, baseline, value: 'ratio', atLeast }
}

/** How a target stands. */
export interface Verdict {
  readonly target: Target
  readonly state: 'reached' | 'not reached' | 'not measured'
  /** Whether the machine was too busy for the value to say much. */
  readonly isNoisy: boolean
  readonly subject?: string
  readonly value?: number
}

export function judge(target: Target, rows: readonly Row[]): Verdict {
  const { atLeast, atMost } = target
  const measured = rows
    .filter((row) => isMeant(target, row.subject, row.baseline))
    .map(({ subject, values }) => ({ subject, value: values[target.value]!, isNoisy: Boolean(values.isNoisy) }))
    .sort((a, b) => (atLeast === undefined ? a.value - b.value : b.value - a.value))
  const [best] = measured
  if (!best) return { target, state: 'not measured', isNoisy: false }
  const isReached = best.value >= (atLeast ?? -Infinity) && best.value <= (atMost ?? Infinity)
  return { target, state: isReached ? 'reached' : 'not reached', ...best }
}

/** Whether a target is about a subject and what it is compared with. */
export function isMeant(target: Target, subject: string, baseline: string | undefined): boolean {
  return target.subjects.includes(subject) && target.baseline === baseline
}
