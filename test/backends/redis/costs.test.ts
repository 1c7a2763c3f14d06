import { expect, it } from 'vitest'
import { measureCosts } from '../../../bench/costs/measure.ts'

it('takes one command for a hit, and moves little more than the entry', { timeout: 60_000 }, async () => {
  const costs = await measureCosts()
  const of = (setUp: string, operation: string) =>
    costs.find((cost) => cost.setUp === setUp && cost.operation === operation)!
  const commands = (setUp: string) =>
    Object.fromEntries(costs.filter((cost) => cost.setUp === setUp).map((cost) => [cost.operation, cost.commands]))
  const each = { 'miss: look-up': 1, 'miss: store of 1 KB': 1, 'invalidation of 2 tags': 1 }
  expect(commands('redis()')).toEqual({ 'hit of 1 KB': 1, 'hit of 100 KB': 1, ...each })
  expect(commands('tiered(), bounded')).toEqual({ 'hit of 1 KB': 0, 'hit of 100 KB': 0, ...each })
  expect(commands('tiered(), strong')).toEqual({ 'hit of 1 KB': 1, 'hit of 100 KB': 1, ...each })
  expect(commands('redis(), Cluster')).toEqual({
    'hit of 1 KB': 1,
    'hit of 100 KB': 1,
    ...each,
    'invalidation of 2 tags': 64,
  })
  expect(of('redis()', 'hit of 100 KB').sent).toBeLessThan(102_400 + 500)
  expect(of('redis()', 'hit of 100 KB').received).toBeLessThan(300)
  expect(of('tiered(), strong', 'hit of 100 KB').sent).toBeLessThan(100)
  expect(of('tiered(), bounded', 'hit of 100 KB').sent).toBeLessThan(10)
})
