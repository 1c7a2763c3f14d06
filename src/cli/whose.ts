import type { Option } from './command.ts'
import type { Target, Whose } from './targets/target.ts'
import { duration, moment } from './text.ts'

/** The option for the numbers of all processes. */
export const FLEET_OPTION: Option = {
  type: 'boolean',
  about: 'of all processes that publish their numbers, not of one; over Redis always so',
}

/** Whose numbers or entries follow, in a sentence. */
export function sayWhose(whose: Whose, { name }: Target): string {
  switch (whose.kind) {
    case 'process':
      return `Process ${whose.pid} on ${whose.host} alone, since ${moment(whose.since)} (${name})`
    case 'fleet':
      return `${fleetOf(whose)} (${name})`
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

/** How long ago that was, given in epoch milliseconds; by a clock that is ahead it may not have been yet. */
export function saidAgo(at: number): string {
  return duration(Math.max(0, Date.now() - at) / 1000)
}

function fleetOf({ nodes, unread }: Extract<Whose, { kind: 'fleet' }>): string {
  const oldest = saidAgo(Math.min(...nodes.map(({ at }) => at)))
  const counted = nodes.length === 1 ? '1 node that publishes its' : `${nodes.length} nodes that publish their`
  const more = unread > 0 ? `; ${unread} more said something that is not counted` : ''
  return `The fleet: ${counted} numbers, the oldest of them ${oldest} old${more}`
}
