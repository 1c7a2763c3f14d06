import { expect, it } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { redis } from '../../src/backends/redis/redis.ts'
import { memory, tiered } from '../../src/index.ts'
import type { Served } from './application.ts'
import type { Table } from './database.ts'
import { serveFromRedis } from './serving.ts'
import { CLIENTS, MAX_STALENESS, type Setup, TIERS } from './setup.ts'
import { check, type SharedPlan, type SharedServer } from './shared.ts'

/** A server in this process. */
class Local implements SharedServer {
  readonly name: string
  readonly kind: string
  readonly staleness: number
  readonly #start: () => Promise<Served>
  #served: Served | undefined

  constructor(setup: Setup, table: Table) {
    this.name = setup.name
    this.kind = setup.tiers
    this.staleness = setup.tiers === 'bounded' ? MAX_STALENESS : 0
    this.#start = () => serveFromRedis({ memory, tiered, redis, tagcache }, setup, table)
  }

  get port(): number | undefined {
    return this.#served?.port
  }

  async whenUp(): Promise<void> {}

  async start(): Promise<void> {
    this.#served = await this.#start()
  }

  async kill(): Promise<void> {
    this.#served?.close()
    this.#served = undefined
  }
}

const PLAN: SharedPlan = { reads: 5000, seed: 3, processes: 3, tiers: TIERS, clients: CLIENTS, faults: [] }

it('shows no read anything older than what any server had acknowledged, whatever happens to Redis', async () => {
  const result = await check(
    { ...PLAN, faults: ['flush', 'rollback', 'freeze'] },
    (setup, table) => new Local(setup, table),
  )
  const { violations, examples, failures, slow, complaints, unsettled } = result
  expect({ violations, examples, failures, slow, complaints, unsettled }).toEqual({
    violations: 0,
    examples: [],
    failures: 0,
    slow: 0,
    complaints: [],
    unsettled: [],
  })
  expect(result.reads).toBeGreaterThanOrEqual(5000)
  expect(result.hits).toBeGreaterThan(1000)
  expect(result.collapsed).toBeGreaterThan(50)
  expect(result.writes).toBeGreaterThan(100)
  expect(result.spells.filter(({ isFault, times }) => isFault && times === 0)).toEqual([])
})

it('finds stale reads where nobody notices that Redis was set back', { timeout: 90_000 }, async () => {
  const { violations, examples } = await check(
    { ...PLAN, reads: 20_000, processes: 2, faults: ['rollback'], without: 'epoch' },
    (setup, table) => new Local(setup, table),
  )
  expect(violations).toBeGreaterThan(0)
  expect(examples[0]!.shown).toBeLessThan(examples[0]!.acknowledged)
})
