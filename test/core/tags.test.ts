import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isOutdated, MAX_TAG_LENGTH, namesCarried, namesPurged } from '../../src/core/tags.ts'

const refused = expect.objectContaining({ name: 'TagcacheError', code: 'ERR_TAGCACHE_TAG' })

describe('tags', () => {
  it('of a response are carried under the id and under the whole type', () => {
    expect(namesCarried({ type: 'product', id: 42 })).toEqual(['product:42', 'product'])
    expect(namesCarried({ type: 'product' })).toEqual(['product'])
    expect(namesCarried('product:42')).toEqual(['product:42'])
  })

  it('of a purge reach the one id, or the whole type', () => {
    expect(namesPurged({ type: 'product', id: 42 })).toEqual(['product:42'])
    expect(namesPurged({ type: 'product' })).toEqual(['product'])
  })

  it('are given alone or as a list, and count once', () => {
    expect(namesCarried(['a', 'b', 'a', { type: 'c', id: 'x' }, 'c'])).toEqual(['a', 'b', 'c:x', 'c'])
    expect(namesPurged([])).toEqual([])
  })

  it.each([
    ['empty', ''],
    ['too long', 'x'.repeat(MAX_TAG_LENGTH + 1)],
    ['too long together with its type', { type: 'x'.repeat(200), id: 'y'.repeat(56) }],
    ['a control character', 'a\nb'],
    ['a lone surrogate', 'a\ud800'],
    ['a number', 42],
    ['undefined', undefined],
    ['null', null],
    ['a list in a list', [['a']]],
    ['a type with a colon', { type: 'a:b', id: 1 }],
    ['an empty type', { type: '', id: 1 }],
    ['no type', { id: 1 }],
    ['an empty id', { type: 'a', id: '' }],
    ['an id that is not finite', { type: 'a', id: Number.NaN }],
    ['an id that is an object', { type: 'a', id: {} }],
    ['an id that is null', { type: 'a', id: null }],
    ['a BigInt', 1n],
  ])('are refused: %s', (_, tag) => {
    expect(() => namesCarried(tag as never)).toThrow(refused)
    expect(() => namesPurged(tag as never)).toThrow(refused)
    expect(() => namesCarried(['fine', tag] as never)).toThrow(refused)
  })

  it('may be as long as the limit, and hold any other character', () => {
    const names = ['x'.repeat(MAX_TAG_LENGTH), ' ', 'a b', '😀', '__proto__', 'a/b|c#d?e', '*', '%00']
    expect(namesCarried(names)).toEqual(names)
  })

  it('are refused or taken whatever they are, and never throw anything else', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        try {
          for (const name of namesCarried(value as never)) expect(typeof name).toBe('string')
        } catch (error) {
          expect(error).toEqual(refused)
        }
      }),
      { numRuns: 2000 },
    )
  })
})

describe('an entry is outdated', () => {
  it.each([
    [5, 6, true, 'by a later invalidation'],
    [5, 5, false, 'not by one that its stamp knows of'],
    [5, 4, false, 'not by an earlier one'],
    [5, 0, false, 'not by none'],
  ])('stamp %d, invalidated at %d: %s, %s', (stamp, invalidatedAt, outdated) => {
    expect(isOutdated(stamp, invalidatedAt)).toBe(outdated)
  })
})

describe('the one rule of outdated entries', () => {
  it.each([
    [1, 0, false],
    [1, 1, false],
    [1, 2, true],
    [Number.NaN, 0, true],
    [1, Number.POSITIVE_INFINITY, true],
  ])('computed from %d on, invalidated at %d: %s', (stamp, invalidatedAt, outdated) => {
    expect(isOutdated(stamp, invalidatedAt)).toBe(outdated)
  })
})
