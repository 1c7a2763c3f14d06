import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { firstNames } from '../../src/backends/enumerate.ts'
import { memory } from '../../src/index.ts'
import { entryOf } from '../support/backends.ts'

describe('pages of names', () => {
  it('hold every name once and in order, whatever the limit and the prefix', async () => {
    const names = fc.uniqueArray(fc.string({ maxLength: 3 }), { maxLength: 40 })
    await fc.assert(
      fc.asyncProperty(
        names,
        fc.integer({ min: 1, max: 7 }),
        fc.string({ maxLength: 1 }),
        async (all, limit, prefix) => {
          const found: string[] = []
          let after: string | undefined
          do {
            const page = await firstNames(all, { prefix, limit, ...(after === undefined ? {} : { after }) })
            expect(page.names.length).toBeLessThanOrEqual(limit)
            found.push(...page.names)
            after = page.next.next
          } while (after !== undefined)
          expect(found).toEqual(all.filter((name) => name.startsWith(prefix)).sort())
        },
      ),
    )
  })

  it('go through many names in slices', async () => {
    const many = Array.from({ length: 100_000 }, (_, at) => `name ${at}`)
    let turns = 0
    let isOver = false
    const count = () => {
      turns += 1
      if (!isOver) setImmediate(count)
    }
    count()
    await firstNames(many, { limit: 10 })
    isOver = true
    expect(turns).toBeGreaterThan(15)
  })
})

describe('memory()', () => {
  it('is looked through without counting as use', async () => {
    const backend = memory({ maxEntries: 3 })
    for (const key of ['a', 'b', 'c']) backend.store(entryOf(key), 60_000)
    await backend.entries?.({ limit: 1 })
    backend.store(entryOf('d'), 60_000)
    const { items } = (await backend.entries?.({ limit: 10 }))!
    expect(items.map(({ entry }) => entry?.key)).toEqual(['b', 'c', 'd'])
  })
})
