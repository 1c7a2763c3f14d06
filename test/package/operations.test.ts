import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { ask } from '../support/http.ts'

const root = fileURLToPath(new URL('../..', import.meta.url))
const alerts = readFileSync(`${root}/docs/grafana/alerts.yml`, 'utf8')

/** The number that the alert of this name compares with. */
function thresholdOf(alert: string): number {
  const [, rule = ''] = alerts.split(`- alert: ${alert}\n`)
  const [, number] = /[<>] ([\d.]+)/.exec(rule.split('- alert:')[0]!)!
  return Number(number)
}

describe('the example that is to be operated', () => {
  let printed = ''
  let log = ''
  let code: number | null = null
  /** What the dashboard and the metrics said in the last phase. */
  let seen: { events: string; routes: string; metrics: string; locked: number }

  beforeAll(async () => {
    const program = spawn(process.execPath, ['--import', 'tsx', 'examples/operations/run.ts', '--seconds', '21'], {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    program.stderr.on('data', (chunk) => {
      log += chunk
    })
    const over = once(program, 'close')
    for await (const chunk of program.stdout) {
      printed += chunk
      if (seen === undefined && printed.includes('  crawler\n')) seen = await lookAround()
    }
    ;[code] = await over
  }, 60_000)

  async function lookAround() {
    const [, board, token] = /(http\S+)\/ {3}any user, password (\w+)/.exec(printed)!
    const [, metrics] = /Metrics +(http\S+)/.exec(printed)!
    const get = async (path: string) =>
      (await ask(board + path, { headers: { authorization: `Bearer ${token}` } })).text
    return {
      events: await get('/api/events'),
      routes: await get('/api/routes'),
      metrics: (await ask(metrics!)).text,
      locked: (await ask(`${board}/api/events`)).status,
    }
  }

  /** A line of the table of phases, by phase. */
  function line(name: string): Record<string, number> {
    const lines = printed.split('\n')
    const head = lines.findIndex((text) => /^ +start, empty/.test(text))
    const cells = (text: string) => text.trim().split(/ {2,}/)
    const [, ...values] = cells(lines.slice(head).find((text) => text.startsWith(name))!)
    return Object.fromEntries(cells(lines[head]!).map((phase, at) => [phase, Number.parseFloat(values[at]!)]))
  }

  it('ends well, and its numbers add up', () => {
    expect(code).toBe(0)
    const rows = [...printed.matchAll(/^(GET \S+|all) +(\d+) /gm)].map(
      ([, name, count]) => [name, Number(count)] as const,
    )
    const total = rows.find(([name]) => name === 'all')![1]
    expect(rows.filter(([name]) => name !== 'all').reduce((sum, [, count]) => sum + count, 0)).toBe(total)
    expect(total).toBeGreaterThan(1000)
    const [, left, held] = /stored less removed: (\d+); held: (\d+)\./.exec(printed)!
    expect(left).toBe(held)
  })

  it('shows why requests do not hit, who purged, and refreshes in the background', () => {
    expect(seen.locked).toBe(401)
    const reasons = (JSON.parse(seen.routes).routes as { route: string; reasons: { reason: string }[] }[]).flatMap(
      ({ route, reasons }) => reasons.map(({ reason }) => `${route} ${reason}`),
    )
    for (const wanted of [
      'GET /account credentials',
      'GET /search no-store',
      'GET /search credentials',
      'GET /products/:id uri-miss',
      'GET /products/:id invalidated',
      'GET /products backend',
    ])
      expect(reasons).toContain(wanted)
    const events = JSON.parse(seen.events).events as {
      kind: string
      by?: string
      what?: string
      isDelivered?: boolean
    }[]
    expect(events).toContainEqual(expect.objectContaining({ kind: 'purge', by: 'hourly import', tags: ['products'] }))
    for (const what of ['paused', 'behind', 'resumed', 'delivered'])
      expect(events).toContainEqual(expect.objectContaining({ kind: 'backend', what }))
    for (const reason of ['stale-while-revalidate', 'stale-if-error'])
      expect(seen.metrics).toMatch(
        new RegExp(`^tagcache_requests_total{.*route="GET /report".*reason="${reason}"`, 'm'),
      )
    expect(seen.metrics).toMatch(/^tagcache_refreshes_total\{.*stored="true"/m)
  })

  it('logs what an operator has to know', () => {
    const told = log
      .trim()
      .split('\n')
      .map((text) => JSON.parse(text).event)
    for (const event of ['backend.paused', 'purges.queued', 'purges.delivered', 'bound.reached', 'fault.lookup'])
      expect(told).toContain(event)
  })

  it('has each trouble on the other side of its alert’s threshold than what is no such trouble', () => {
    const share = (name: string) => {
      const numbers = line(name)
      return Object.fromEntries(Object.entries(numbers).map(([phase, value]) => [phase, value / numbers.quiet!]))
    }
    const fromCache = share('from cache')
    const isFall = thresholdOf('TagcacheHitRatioFell')
    for (const phase of ['slow handler', 'failing handler']) expect(fromCache[phase]).toBeGreaterThan(isFall)
    for (const phase of ['backend away', 'cookie for all', 'crawler']) expect(fromCache[phase]).toBeLessThan(isFall)

    const saved = share('ms saved a request')
    const isLess = thresholdOf('TagcacheTimeNotSaved')
    for (const phase of ['slow handler', 'failing handler']) expect(saved[phase]).toBeGreaterThan(isLess)
    for (const phase of ['backend away', 'cookie for all']) expect(saved[phase]).toBeLessThan(isLess)

    const took = share('search: ms a run')
    const isSlow = thresholdOf('TagcacheHandlerSlow')
    expect(took['slow handler']).toBeGreaterThan(isSlow)
    for (const phase of ['start, empty', 'cookie for all']) expect(took[phase]).toBeLessThan(isSlow)

    const percents: [line: string, alert: string, trouble: string][] = [
      ['search: credentials', 'TagcacheCredentials', 'cookie for all'],
      ['made anew in vain', 'TagcacheRefreshesFail', 'failing handler'],
      ['evicted, of stored', 'TagcacheEvicting', 'crawler'],
      ['instead of an error', 'TagcacheStaleForErrors', 'failing handler'],
    ]
    for (const [name, alert, trouble] of percents) {
      const { [trouble]: there, quiet } = line(name)
      expect(there, name).toBeGreaterThan(100 * thresholdOf(alert))
      expect(quiet, name).toBeLessThanOrEqual(100 * thresholdOf(alert))
    }
  })

  it('has few faults though the backend is away, and purges that wait only while it is', () => {
    const { 'backend away': faults } = line('faults')
    expect(faults).toBeGreaterThan(0)
    expect(faults).toBeLessThan(line('requests')['backend away']! / 10)
    const { 'backend away': waiting, ...others } = line('purges that wait')
    expect(waiting).toBeGreaterThan(0)
    expect(Object.values(others).every((count) => count === 0)).toBe(true)
  })
})
