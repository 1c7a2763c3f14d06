import { expect, it } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { memory } from '../../src/index.ts'
import type { Result } from './result.ts'
import { serveFromMemory } from './serving.ts'
import { checkOne } from './single.ts'

async function check(reads: number, stamps: boolean): Promise<Result> {
  const server = await serveFromMemory({ memory, tagcache }, stamps, 7)
  return checkOne(server.port, { reads, seed: 7 }).finally(() => server.close())
}
it('shows no read anything older than what was acknowledged before it', async () => {
  const { reads, violations, examples, hits, stale, validated, collapsed, writes } = await check(5000, true)
  expect({ reads, violations, examples }).toEqual({ reads: 5000, violations: 0, examples: [] })
  expect(hits).toBeGreaterThan(1000)
  expect(collapsed).toBeGreaterThan(50)
  expect(stale).toBeGreaterThan(25)
  expect(validated).toBeGreaterThan(5)
  expect(writes).toBeGreaterThan(100)
})

it('finds stale reads where a purge only deletes what is there', async () => {
  const { violations, examples } = await check(4000, false)
  expect(violations).toBeGreaterThan(0)
  expect(examples[0]!.shown).toBeLessThan(examples[0]!.acknowledged)
})
