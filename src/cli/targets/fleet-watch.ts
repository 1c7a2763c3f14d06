import type { NodeNumbers, Seen } from './target.ts'

// What each trouble is called when it comes and when it is over, as in events of a cache.
const TROUBLES: readonly [comes: string, goes: string, isIn: (node: NodeNumbers) => boolean][] = [
  ['paused', 'resumed', ({ stats }) => stats.backend.state === 'paused'],
  ['behind', 'delivered', ({ stats }) => stats.backend.isBehind],
  ['near-lost', 'near-trusted', ({ stats }) => stats.backend.near === 'lost'],
]

/** What happens to processes, as far as the numbers show that they publish. */
export class FleetWatch {
  #known: ReadonlyMap<string, NodeNumbers> | undefined

  /** Takes in what each process says now; answers what has happened since the last time. */
  take(nodes: readonly NodeNumbers[], time: number): Seen[] {
    const before = this.#known
    const now = new Map(nodes.map((node) => [node.id, node]))
    this.#known = now
    const gone = [...(before?.keys() ?? [])].filter((id) => !now.has(id))
    return [
      ...gone.map((node): Seen => ({ time, kind: 'node', what: 'gone', node })),
      ...nodes.flatMap((node) => newsOf(node, before, time)),
    ]
  }
}

// Those who were there before anybody watched are no news, but their troubles are.
function newsOf(node: NodeNumbers, known: ReadonlyMap<string, NodeNumbers> | undefined, time: number): Seen[] {
  const { id } = node
  const before = known?.get(id)
  const changes = TROUBLES.flatMap(([comes, goes, isIn]): Seen[] => {
    const [was, is] = [before !== undefined && isIn(before), isIn(node)]
    return was === is ? [] : [{ time, kind: 'backend', what: is ? comes : goes, node: id }]
  })
  const faults = before ? node.stats.faults - before.stats.faults : 0
  return [
    ...(known && !before ? [{ time, kind: 'node', what: 'came', node: id } as const] : []),
    ...changes,
    ...(faults > 0 ? [{ time, kind: 'fault', node: id, count: faults } as const] : []),
  ]
}
