import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SegmentedMap } from '../../src/backends/segmented-map.ts'

describe('SegmentedMap', () => {
  it('answers as a Map does', () => {
    const key = fc.oneof(fc.constantFrom('', 'a', '__proto__', 'a'.repeat(1000)), fc.string({ unit: 'binary' }))
    const step = fc.record({ type: fc.constantFrom('set', 'delete', 'get'), key, value: fc.nat(9) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const [map, model] = [new SegmentedMap<number>(), new Map<string, number>()]
        for (const { type, key, value } of steps) {
          if (type === 'set') [map.set(key, value), model.set(key, value)]
          else if (type === 'delete') expect(map.delete(key)).toBe(model.delete(key))
          expect(map.get(key)).toBe(model.get(key))
          expect(map.size).toBe(model.size)
        }
      }),
    )
  })

  it.each<[what: string, keyOf: (id: number) => string]>([
    ['at the end', (id) => `item:${id}`],
    ['in the middle', (id) => `GET /items/:id?id=${id}#host=www.example.com:8080`],
    ['at the beginning', (id) => `${id}/items/of/a/shop`],
    ['anywhere in a long one', (id) => `${'x'.repeat(400)}${id}${'y'.repeat(500)}`],
  ])('spreads texts whose numbers are %s', (_what, keyOf) => {
    expect(largestMap(keyOf)).toBeLessThan(1500)
  })
})

/** The size of the largest Map that 40,000 keys are in: 625 if they were spread evenly. */
function largestMap(keyOf: (id: number) => string): number {
  const made: Map<unknown, unknown>[] = []
  const { Map: Original } = globalThis
  globalThis.Map = class extends Original<unknown, unknown> {
    constructor(entries?: readonly (readonly [unknown, unknown])[] | null) {
      super(entries)
      made.push(this)
    }
  } as unknown as MapConstructor
  try {
    const map = new SegmentedMap<number>()
    for (let id = 0; id < 40_000; id += 1) map.set(keyOf(id), id)
  } finally {
    globalThis.Map = Original
  }
  return Math.max(...made.map(({ size }) => size))
}
