import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ask } from './http.ts'
import { launched, onPath, ServerProcess } from './redis.ts'
import { onFreePort } from './relay.ts'

/** Prometheus and its tool, where this machine has them; says loudly where it has not. */
export function findPrometheus(): { readonly server: string; readonly tool: string } | undefined {
  const [server, tool] = [onPath('prometheus'), onPath('promtool')]
  if (server !== undefined && tool !== undefined) return { server, tool }
  console.warn(
    '\n!!! There is no Prometheus on the path: ALERTS AND THE DASHBOARD FOR GRAFANA ARE NOT TESTED. apt-get install prometheus !!!\n',
  )
  return undefined
}

/** A point of a series: when, in seconds, and how much. */
type Point = readonly [time: number, value: string]

/** A series, as Prometheus answers a query. */
export interface Series {
  readonly metric: Readonly<Record<string, string>>
  readonly values: readonly Point[]
}

export interface PrometheusSetup {
  /** Where it scrapes, as `127.0.0.1:9090`. */
  readonly target: string
  /** How often it scrapes. */
  readonly interval: string
  /** The files of rules that it evaluates. */
  readonly rules: readonly string[]
}

/** A Prometheus in a process of its own. */
export class PrometheusServer extends ServerProcess {
  readonly #file: string
  readonly #setup: PrometheusSetup

  constructor(port: number, file: string, setup: PrometheusSetup) {
    super(port)
    this.#file = file
    this.#setup = setup
  }

  protected async commandLine(): Promise<string[]> {
    const { target, interval, rules } = this.#setup
    const config = join(this.home, 'prometheus.yml')
    writeFileSync(
      config,
      JSON.stringify({
        global: { scrape_interval: interval, scrape_timeout: interval, evaluation_interval: interval },
        rule_files: rules,
        scrape_configs: [{ job_name: 'test', static_configs: [{ targets: [target] }] }],
      }),
    )
    return [
      this.#file,
      `--config.file=${config}`,
      `--storage.tsdb.path=${join(this.home, 'data')}`,
      `--web.listen-address=127.0.0.1:${this.ownPort}`,
    ]
  }

  protected async askPid(): Promise<number> {
    const { status } = await ask(`${this.#url}/-/ready`).catch(() => ({ status: 0 }))
    return status === 200 ? this.pid : 0
  }

  get #url(): string {
    return `http://127.0.0.1:${this.ownPort}`
  }

  /** What a query gives between two times, in epoch milliseconds. Throws where it is none. */
  async query(query: string, from: number, to: number): Promise<Series[]> {
    const asked = new URLSearchParams({ query, start: String(from / 1000), end: String(to / 1000), step: '0.5' })
    return (await this.#ask<{ result: Series[] }>(`query_range?${asked}`)).result
  }

  /** Whether each rule could be evaluated, by name. */
  async rules(): Promise<Readonly<Record<string, string>>> {
    const { groups } = await this.#ask<{ groups: { rules: { name: string; health: string }[] }[] }>('rules')
    return Object.fromEntries(groups.flatMap(({ rules }) => rules.map(({ name, health }) => [name, health])))
  }

  async #ask<V>(path: string): Promise<V> {
    const { text } = await ask(`${this.#url}/api/v1/${path}`)
    const { status, data, error } = JSON.parse(text)
    if (status !== 'success') throw new Error(error)
    return data
  }
}

/** Starts one. */
export function startPrometheus(file: string, setup: PrometheusSetup): Promise<PrometheusServer> {
  return onFreePort((port) => launched(new PrometheusServer(port, file, setup)))
}
