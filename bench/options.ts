import { parseArgs } from 'node:util'
import { isMeant, targets } from './targets.ts'

/** How the bench was called. */
export interface Options {
  readonly isQuick: boolean
  /** Scenarios and subjects that are meant, or all of them. */
  readonly only: readonly string[]
  /** Where results go, without an extension. */
  readonly out: string
}

export const USAGE = `npm run bench [-- OPTIONS]
  --quick          what the targets are about, and peers where it is quick: under two minutes
  --only PATTERN   scenarios or subjects whose names have this in them; may be given several times
  --out PATH       where results go, with .json and .svg; default bench/results for all of it, else bench/partial
  --autocannon     load by autocannon, also where there is wrk`

export function optionsFrom(args: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: 'boolean', default: false },
      only: { type: 'string', multiple: true, default: [] },
      out: { type: 'string' },
      autocannon: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
  })
  if (values.help) return undefined
  const { quick: isQuick, only } = values
  return { isQuick, only, out: values.out ?? (isQuick || only.length > 0 ? 'bench/partial' : 'bench/results') }
}

/** What may be measured: a subject in a scenario, against a baseline where it is compared. */
export interface Item {
  readonly scenario: string
  readonly subject: string
  readonly baseline: string | undefined
}

// Others that a quick run shows, where it is quick.
const QUICK_SCENARIOS = ['hit 1 KB', 'stampede']
const QUICK_PEERS = ['node tagcache', 'apicache', 'koa-cash']

/** Whether a run with these options measures it. */
export function wants({ isQuick, only }: Options, { scenario, subject, baseline }: Item): boolean {
  if (only.length > 0) return only.some((pattern) => isIn(scenario, pattern) || isIn(subject, pattern))
  if (!isQuick || targets.some((target) => target.scenario === scenario && isMeant(target, subject, baseline)))
    return true
  return QUICK_SCENARIOS.includes(scenario) && QUICK_PEERS.includes(subject)
}

function isIn(name: string, pattern: string): boolean {
  return name.toLowerCase().includes(pattern.toLowerCase())
}
