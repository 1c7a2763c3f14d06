import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Registry } from 'prom-client'
import { describe, expect, it } from 'vitest'
import { createCache } from '../../src/index.ts'
import { MEASURES, prometheusName } from '../../src/observe/measures.ts'
import { register } from '../../src/observe/prometheus.ts'

const docs = join(dirname(fileURLToPath(import.meta.url)), '../../docs')
const text = readFileSync(join(docs, 'grafana/tagcache.json'), 'utf8')
const page = readFileSync(join(docs, 'observability.md'), 'utf8')

interface Panel {
  readonly id: number
  readonly title: string
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number }
  readonly targets: readonly { readonly expr: string; readonly legendFormat: string }[]
}
const { panels, templating } = JSON.parse(text) as {
  panels: Panel[]
  templating: { list: { name: string; definition?: string }[] }
}

/** The names of all series that a registry has once a cache was registered, histograms by their parts. */
async function exportedNames(): Promise<Set<string>> {
  const registry = new Registry()
  register(createCache(), { registry })
  const found = (await registry.metrics()).matchAll(/^# TYPE (\w+) (\w+)$/gm)
  return new Set(
    [...found].flatMap(([, name, type]) =>
      type === 'histogram' ? ['bucket', 'sum', 'count'].map((part) => `${name}_${part}`) : name!,
    ),
  )
}

const namesIn = (query: string) => query.match(/\btagcache_\w+/g) ?? []
const queries = [
  ...panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
  ...templating.list.flatMap(({ definition }) => definition ?? []),
]
const examples = [...page.matchAll(/^```promql\n(.*?)^```/gms)].flatMap(([, block]) => block!.trim().split('\n\n'))

/** What a metric is told apart by, as Prometheus adds to it. */
function labelsOf(name: string): string[] {
  const measure = Object.values(MEASURES).find((one) => name.startsWith(prometheusName(one)))
  return ['cache', 'instance', 'le', ...(measure?.labels ?? [])]
}

describe('the dashboard for Grafana, and the queries of the documentation', () => {
  it('ask for metrics that there are, and the dashboard for all of them', async () => {
    const exported = await exportedNames()
    const asked = new Set([...queries, ...examples].flatMap(namesIn))
    expect([...asked].filter((name) => !exported.has(name))).toEqual([])
    const shown = queries.flatMap(namesIn)
    const missing = Object.values(MEASURES).filter((one) => !shown.some((name) => name.startsWith(prometheusName(one))))
    expect(missing).toEqual([])
  })

  it('ask by labels that these metrics have', () => {
    for (const query of [...queries, ...examples]) {
      const [name = ''] = namesIn(query)
      const grouped = [...query.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(/, ?/))
      const chosen = [...query.matchAll(/(\w+)=~?"/g)].map(([, label]) => label!)
      for (const label of [...grouped, ...chosen]) expect(labelsOf(name), query).toContain(label)
    }
  })

  it('name series by labels that their query has left', () => {
    for (const { expr, legendFormat } of panels.flatMap(({ targets }) => targets)) {
      const [, list] = /by \(([^)]*)\)/.exec(expr) ?? []
      const left = list === undefined ? ['instance', 'cache'] : list.split(/, ?/)
      for (const [, label] of legendFormat.matchAll(/\{\{(\w+)\}\}/g)) expect(left, expr).toContain(label)
    }
  })

  it('has panels that lie beside each other, each with a number of its own', () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length)
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, at) => `${x + (at % w)},${y + Math.floor(at / w)}`),
    )
    expect(new Set(cells).size).toBe(cells.length)
    for (const { gridPos } of panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24)
  })

  it('the documentation lists every metric with its kind and labels', () => {
    const rows = [...page.matchAll(/^\| `(tagcache_\w+)` \| (\w+) \| (.*?) \|/gm)].map(([, name, kind, labels]) => [
      name,
      kind,
      labels,
    ])
    const wanted = Object.values(MEASURES).map((one) => [
      prometheusName(one),
      one.kind,
      ['cache', ...one.labels].map((label) => `\`${label}\``).join(', '),
    ])
    expect(rows).toEqual(wanted)
  })
})
