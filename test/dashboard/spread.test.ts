import { expect, it } from 'vitest'
import { quantilesOf, Spread } from '../../src/dashboard/spread.ts'

it('tells within which time a share of all were, to a tenth', () => {
  const spread = new Spread()
  for (let time = 1; time <= 1000; time++) spread.add(time)
  const [half, most, all] = quantilesOf([spread], [0.5, 0.95, 1])
  for (const [told, is] of [
    [half, 500],
    [most, 950],
    [all, 1000],
  ] as const)
    expect(Math.abs(told! / is - 1)).toBeLessThan(0.1)
})

it('adds up what was taken down in several steps', () => {
  const [fast, slow] = [new Spread(), new Spread()]
  for (let at = 0; at < 9; at++) fast.add(0.125)
  slow.add(64)
  expect(quantilesOf([fast, slow], [0.5, 0.9, 0.95])).toEqual([0.125, 0.125, 64])
})

it('knows nothing of nothing, and takes what took no time for very short', () => {
  expect(quantilesOf([new Spread()], [0.5])).toEqual([null])
  const spread = new Spread()
  spread.add(0)
  expect(quantilesOf([spread], [0.5])[0]).toBeLessThan(0.002)
})
