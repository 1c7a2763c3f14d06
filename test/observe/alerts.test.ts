import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Registry } from 'prom-client'
import { describe, expect, it } from 'vitest'
import { createCache } from '../../src/index.ts'
import { MEASURES, prometheusName } from '../../src/observe/measures.ts'
import { register } from '../../src/observe/prometheus.ts'
import { findPrometheus } from '../support/prometheus.ts'

const root = join(dirname(fileURLToPath(import.meta.url)), '../..')
const rules = readFileSync(join(root, 'docs/grafana/alerts.yml'), 'utf8')
const page = readFileSync(join(root, 'docs/operations.md'), 'utf8')

const plain = (text: string) => text.replace(/\s+/g, ' ').trim()

const alerts = [...rules.matchAll(/^ {6}- alert: (\w+)\n {8}expr: \|\n((?: {10}.*\n)+)/gm)].map(([, name, query]) => ({
  name: name!,
  query: plain(query!),
}))
const sections = page.split(/^### /m).slice(1)
const examples = [...page.matchAll(/^```promql\n(.*?)^```/gms)].map(([, block]) => plain(block!))

/** The selectors of a query: a metric, and the labels that it is chosen by. */
function selectorsIn(query: string): { name: string; chosen: string[] }[] {
  return [...query.matchAll(/\b(tagcache_\w+)(?:\{([^}]*)\})?/g)].map(([, name, labels = '']) => ({
    name: name!,
    chosen: [...labels.matchAll(/(\w+)(?:=~|!~|!=|=)"/g)].map(([, label]) => label!),
  }))
}

/** The labels of all series that a registry has once a cache was registered. */
async function labelsByName(): Promise<Map<string, readonly string[]>> {
  const registry = new Registry()
  register(createCache(), { registry })
  const exported = [...(await registry.metrics()).matchAll(/^# TYPE (\w+) (\w+)$/gm)]
  return new Map(
    exported.flatMap(([, name = '', kind]) => {
      const { labels } = Object.values(MEASURES).find((measure) => prometheusName(measure) === name)!
      const parts = kind === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
      return parts.map((part) => [name + part, ['cache', 'instance', 'le', ...labels]] as const)
    }),
  )
}

describe('the alerts', () => {
  it('are all read by this test', () => {
    expect(alerts.length).toBeGreaterThan(10)
    expect(alerts.map(({ name }) => name)).toEqual([...rules.matchAll(/alert: (\w+)/g)].map(([, name]) => name))
  })

  it('and the queries of the page ask for metrics that there are, by labels that these have', async () => {
    const known = await labelsByName()
    for (const query of [...alerts.map((alert) => alert.query), ...examples]) {
      const selectors = selectorsIn(query)
      expect(selectors, query).not.toEqual([])
      const grouped = [...query.matchAll(/by \(([^)]*)\)/g)].flatMap(([, list]) => list!.split(/, ?/))
      for (const { name, chosen } of selectors) {
        expect([...known.keys()]).toContain(name)
        for (const label of [...grouped, ...chosen]) expect(known.get(name), query).toContain(label)
      }
    }
  })

  it('have what to do about each on the page, with the same query', () => {
    expect(sections.map((text) => text.split('\n', 1)[0])).toEqual(alerts.map(({ name }) => name))
    for (const [at, { query }] of alerts.entries()) {
      const [, shown] = /^```promql\n(.*?)^```/ms.exec(sections[at]!) ?? []
      expect(plain(shown ?? '')).toBe(query)
    }
  })

  it('tell in their summaries of labels that their query has left', () => {
    for (const rule of rules.split(/- alert: /).slice(1)) {
      const [, list = ''] = /by \(([^)]*)\)/.exec(rule) ?? []
      for (const [, label] of rule.matchAll(/\$labels\.(\w+)/g)) expect(list.split(', '), rule).toContain(label)
    }
  })

  const found = findPrometheus()
  it.skipIf(!found)('fire when they should, and not on a quiet day, says promtool of Prometheus', () => {
    const { status, stdout, stderr } = spawnSync(found!.tool, ['test', 'rules', 'alerts.yml'], {
      cwd: join(root, 'test/observe'),
      encoding: 'utf8',
    })
    expect(stdout + stderr).not.toContain('FAILED')
    expect(status).toBe(0)
  })
})
