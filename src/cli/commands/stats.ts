import { quantileOf } from '../../core/latency.ts'
import type { CacheStats, Tally } from '../../core/trace.ts'
import type { Command } from '../command.ts'
import { EXIT } from '../exit.ts'
import { type Output, type Part, styled } from '../output.ts'
import type { Numbers } from '../targets/target.ts'
import { count, duration, percent, size } from '../text.ts'
import { FLEET_OPTION, saidAgo, sayWhose, whoseJson } from '../whose.ts'

export const stats: Command = {
  name: 'stats',
  summary: 'what the cache has done, by outcome and by route',
  about:
    'Shows what requests came to since the cache was made, what that has saved, what is held, and how the backend does. Of an application these are the numbers of that one process, or with --fleet those of all processes that publish theirs (the option `publishStats` of the cache), each as of when it last did. Over Redis they are always those of the fleet.',
  options: { fleet: FLEET_OPTION },
  examples: [
    ['tagcache stats --url http://localhost:3000/cache', 'one process'],
    [
      'tagcache stats --fleet --url http://localhost:3000/cache',
      'all processes that share its Redis and publish their numbers',
    ],
    ['tagcache stats --redis redis://localhost:6379', 'the same, asked where no application is'],
    ["tagcache stats --json | jq '.stats.hits / .stats.requests'", 'the hit ratio, for a script'],
  ],
  hasTarget: true,
  async run({ given, out, target: open }) {
    const target = await open()
    const numbers = await target.numbers(given.is('fleet'))
    if (out.isJson) {
      const { of, nodes, ...rest } = numbers
      out.json({ ...whoseJson(of, target), ...rest, ...(of.kind === 'fleet' ? { nodes } : {}) })
      return EXIT.done
    }
    out.line(styled('bold', sayWhose(numbers.of, target)))
    out.line()
    out.facts(factsOf(numbers))
    if (numbers.of.kind === 'fleet') showNodes(numbers, out)
    showRoutes(numbers.stats, out)
    return EXIT.done
  },
}

function factsOf({ stats, health, maxBytes }: Numbers): [string, Part | undefined][] {
  const { requests, hits, stale, collapsed, misses, bypasses, latency } = stats
  const share = (part: number) => `${count(part)}  ${percent(part, requests)}`
  const sum = (numbers: object) => Object.values(numbers).reduce((total: number, one) => total + one, 0)
  return [
    ['requests', count(requests)],
    ['hits', share(hits)],
    ['stale', share(stale)],
    ['collapsed', `${share(collapsed)}  (answered by the run of another request)`],
    ['misses', share(misses)],
    ['bypasses', share(bypasses)],
    ['handler time saved', `${duration(stats.savedSeconds)}, and ${duration(stats.spentSeconds)} spent`],
    ['sent from the cache', size(stats.servedBytes)],
    ['handler took', latency.miss.count > 0 ? timesOf(latency.miss) : undefined],
    ['hit took', latency.hit.count > 0 ? timesOf(latency.hit) : undefined],
    ['held', heldOf(stats, maxBytes)],
    ['stores', count(stats.stores)],
    ['removals', `${count(sum(stats.removals))}${listed(stats.removals)}`],
    ['refreshes', `${count(stats.refreshes)}, of which ${count(stats.failedRefreshes)} failed`],
    ['purges', count(stats.invalidations)],
    ['backend', backendOf(stats, health)],
  ]
}

function heldOf({ entries, bytes }: CacheStats, maxBytes: number | undefined): string {
  if (entries === 0 && bytes === 0) return 'nothing that the backend can tell of'
  const bound = maxBytes === undefined ? '' : ` of ${size(maxBytes)} (${percent(bytes, maxBytes)})`
  return `${count(entries)} entries, ${size(bytes)}${bound}`
}

function backendOf({ backend }: CacheStats, health: string | undefined): Part {
  const { state, isBehind, undelivered, near, faults } = backend
  const troubles = [
    ...(state === 'paused' ? ['left alone after a fault'] : []),
    ...(isBehind
      ? [`purges wait to be taken: ${typeof undelivered === 'number' ? count(undelivered) : undelivered}`]
      : []),
    ...(near === 'lost' ? ['near copies are not trusted'] : []),
  ]
  const past = faults > 0 ? `; ${count(faults)} ${faults === 1 ? 'fault' : 'faults'} since the beginning` : ''
  if (troubles.length === 0 && (health ?? 'well') === 'well') return `well${past}`
  return styled('red', `${troubles.join(', ') || health}${past}`)
}

function timesOf(latency: CacheStats['latency']['hit']): string {
  const [half, most] = [0.5, 0.99].map((share) => duration(quantileOf(latency, share)))
  return `p50 ${half}, p99 ${most}, longest ${duration(latency.longest)}`
}

function listed(numbers: Readonly<Record<string, number>>): string {
  const some = Object.entries(numbers).filter(([, number]) => number > 0)
  return some.length === 0 ? '' : ` (${some.map(([name, number]) => `${name} ${count(number)}`).join(', ')})`
}

function showNodes({ nodes }: Numbers, out: Output): void {
  out.line()
  out.table(
    [
      { title: 'NODE', isCut: true },
      { title: 'SAID', isRight: true },
      { title: 'REQUESTS', isRight: true },
      { title: 'HIT RATIO', isRight: true },
      { title: 'SAVED', isRight: true },
      { title: 'HELD', isRight: true },
      { title: 'BACKEND' },
    ],
    nodes.map(({ id, at, stats }) => [
      id,
      `${saidAgo(at)} ago`,
      count(stats.requests),
      percent(answered(stats), stats.requests),
      duration(stats.savedSeconds),
      size(stats.bytes),
      backendOf(stats, undefined),
    ]),
  )
}

function showRoutes({ routes }: CacheStats, out: Output): void {
  const rows = Object.entries(routes).sort(([, a], [, b]) => b.requests - a.requests)
  if (rows.length === 0) return
  out.line()
  out.table(
    [
      { title: 'ROUTE', isCut: true },
      { title: 'REQUESTS', isRight: true },
      { title: 'HIT RATIO', isRight: true },
      { title: 'MISSES', isRight: true },
      { title: 'BYPASSES', isRight: true },
      { title: 'SAVED', isRight: true },
      { title: 'MOSTLY NOT A HIT FOR', isCut: true },
    ],
    rows.map(([route, tally]) => [
      route,
      count(tally.requests),
      percent(answered(tally), tally.requests),
      count(tally.misses),
      count(tally.bypasses),
      duration(tally.savedSeconds),
      mainReason(tally),
    ]),
  )
}

/** Requests for which no handler ran. */
export function answered({ hits, stale, collapsed }: Pick<Tally, 'hits' | 'stale' | 'collapsed'>): number {
  return hits + stale + collapsed
}

/** Why most of those requests were no hits that were none. */
export function mainReason({ reasons, stale, misses, bypasses }: Tally): string {
  const [first] = Object.entries(reasons).sort(([, a], [, b]) => b - a)
  return first ? `${first[0]} (${percent(first[1], stale + misses + bypasses)})` : ''
}
