import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Generations } from '../../src/core/generations.ts'

const bounds = { most: 4, mostSize: 20, sizeOf: (value: number) => value }

describe('Generations', () => {
  it('has what was set last under a key, or nothing, and never more than two generations may hold', () => {
    const step = fc.record({ type: fc.constantFrom('set', 'get', 'clear'), key: fc.nat(12), value: fc.nat(25) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
        const [remembered, model] = [new Generations<number>(bounds), new Map<string, number>()]
        for (const { type, key, value } of steps) {
          if (type === 'clear') [remembered.clear(), model.clear()]
          else if (type === 'set') [remembered.set(`${key}`, value), model.set(`${key}`, value)]
          expect([undefined, model.get(`${key}`)]).toContain(remembered.get(`${key}`))
        }
        const held = [...model.keys()].filter((key) => remembered.get(key) !== undefined)
        expect(held.length).toBeLessThanOrEqual(2 * bounds.most)
      }),
    )
  })

  it('has the last ones that fit, whatever came before', () => {
    const remembered = new Generations<number>(bounds)
    for (let key = 0; key < 100; key += 1) remembered.set(`${key}`, 1)
    expect([96, 97, 98, 99].map((key) => remembered.get(`${key}`))).toEqual([1, 1, 1, 1])
    expect(remembered.get('90')).toBeUndefined()
  })

  it('keeps what is asked for while others come and go', () => {
    const remembered = new Generations<number>(bounds)
    remembered.set('asked', 1)
    for (let key = 0; key < 100; key += 1) {
      remembered.set(`${key}`, 1)
      expect(remembered.get('asked')).toBe(1)
    }
  })

  it('counts by size as well', () => {
    const remembered = new Generations<number>(bounds)
    for (const key of ['a', 'b', 'c', 'd', 'e']) remembered.set(key, 10)
    expect(['a', 'b', 'c', 'd', 'e'].map((key) => remembered.get(key))).toEqual([undefined, undefined, 10, 10, 10])
  })

  it('forgets what was there where the new value is too large', () => {
    const remembered = new Generations<number>(bounds)
    remembered.set('a', 1)
    remembered.set('a', 21)
    expect(remembered.get('a')).toBeUndefined()
  })
})
