import type { Target, Whose } from './targets/target.ts'
import { duration, moment } from './text.ts'

/** Whose numbers or entries follow, in a sentence. */
export function sayWhose(whose: Whose, { name }: Target): string {
  switch (whose.kind) {
    case 'process':
      return `Process ${whose.pid} on ${whose.host} alone, since ${moment(whose.since)} (${name})`
    case 'fleet': {
      const { nodes } = whose
      const oldest = Math.max(0, ...nodes.map(({ at }) => Date.now() - at))
      return `The fleet: ${nodes.length} ${nodes.length === 1 ? 'node that publishes its' : 'nodes that publish their'} numbers, the oldest of them ${duration(oldest / 1000)} old (${name})`
    }
    case 'store':
      return `What all processes share that use ${name}`
  }
}

/** The same of lists, of which it does not matter since when. */
export function sayWhoseEntries(whose: Whose, target: Target): string {
  return whose.kind === 'process'
    ? `The cache of process ${whose.pid} on ${whose.host} (${target.name})`
    : sayWhose(whose, target)
}

/** The same in JSON. */
export function whoseJson(whose: Whose, { name }: Target): object {
  return { target: name, of: whose }
}
