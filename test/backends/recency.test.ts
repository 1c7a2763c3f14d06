import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Recency, type Used } from '../../src/backends/recency.ts'

interface Item extends Used<Item> {
  readonly name: number
}

function namesOf(order: Recency<Item>): number[] {
  const names: number[] = []
  for (let item = order.oldest; item; item = item.newer) {
    expect(item.newer === undefined || item.newer.older === item).toBe(true)
    names.push(item.name)
  }
  return names
}

describe('Recency', () => {
  it('is in the order of use, as a list is that each one moves to the end of', () => {
    const step = fc.record({ type: fc.constantFrom('use', 'remove', 'oldest'), name: fc.nat(9) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const order = new Recency<Item>()
        const items = Array.from({ length: 10 }, (_, name): Item => ({ name, older: undefined, newer: undefined }))
        let model: number[] = []
        for (const { type, name } of steps) {
          const of = type === 'oldest' ? (model[0] ?? name) : name
          const isIn = model.includes(of)
          if (type === 'use') isIn ? order.use(items[of]!) : order.add(items[of]!)
          else if (isIn) order.remove(type === 'oldest' ? order.oldest! : items[of]!)
          model = model.filter((other) => other !== of)
          if (type === 'use') model.push(of)
          expect(namesOf(order)).toEqual(model)
        }
      }),
      { numRuns: 500 },
    )
  })

  it('holds nothing of what was taken out', () => {
    const order = new Recency<Item>()
    const items = [1, 2, 3].map((name): Item => ({ name, older: undefined, newer: undefined }))
    for (const item of items) order.add(item)
    order.remove(items[1]!)
    expect([items[1]!.older, items[1]!.newer]).toEqual([undefined, undefined])
  })
})
