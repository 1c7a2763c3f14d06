import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { chooseFromQuery, normaliseQuery } from '../../src/core/key.ts'
import { parseSearchVariance } from '../../src/http/no-vary-search.ts'

const NAMES = ['a', 'b', 'c', '', 'é 気']

function ignored(value: string): string[] {
  const variance = parseSearchVariance(value)
  return NAMES.filter((name) => variance!.ignores(name))
}

describe('No-Vary-Search', () => {
  it.each<[clause: string, value: string, names: string[]]>([
    ['5.2: all', 'params', NAMES],
    ['5.2: all, unconventionally', 'params=?1', NAMES],
    ['5.2: those listed', 'params=("a")', ['a']],
    ['5.2: several', 'params=("b" "a")', ['a', 'b']],
    ['5.2: the empty name', 'params=("")', ['']],
    ['5.2: all but some', 'params, except=("a" "c")', ['b', '', 'é 気']],
    ['5.2: all but some, in the later drafts', 'except=("a" "c")', ['b', '', 'é 気']],
    ['5.2: all but none', 'params, except=()', NAMES],
    ['5.2: all but none, in the later drafts', 'except=()', NAMES],
    ['5.2: the order of keys does not count', 'except=("a"), key-order, params', ['b', 'c', '', 'é 気']],
    ['5.1: key-order beside it', 'key-order, params=("a")', ['a']],
    ['5.1: no key-order beside it', 'key-order=?0, params=("a")', ['a']],
    ['3: unknown keys', 'params=("a"), future=(x 1 "y")', ['a']],
    ['RFC 9651, 3.1.2: parameters', 'params=("a";x "b";y=1);z', ['a', 'b']],
    ['RFC 9651, 4.2.2: the last of a key counts', 'params=("a"), params=("b")', ['b']],
    ['RFC 9651, 4.2: several lines', 'key-order, \tparams=("a")', ['a']],
    ['5.3: percent and plus', 'params=("%C3%A9+%E6%B0%97")', ['é 気']],
    ['5.3: a percent-encoded space', 'params=("%C3%A9%20%e6%b0%97")', ['é 気']],
  ])('%s: %s', (_, value, names) => {
    expect(ignored(value)).toEqual(names)
  })

  it.each<[clause: string, value: string | undefined]>([
    ['5.1: absent', undefined],
    ['5.1: empty', ''],
    ['5.2: unknown keys alone', 'unknown-key'],
    ['5.2: key-order alone', 'key-order'],
    ['5.2: no key-order', 'key-order=?0'],
    ['5.2: no params', 'params=?0'],
    ['5.2: an empty list', 'params=()'],
    ['5.1: key-order is no boolean', 'key-order="not a boolean"'],
    ['5.1: key-order is no boolean, params is good', 'params, key-order=1'],
    ['5.1: key-order is a list, params is good', 'params, key-order=(?1)'],
    ['5.1: params is text', 'params="not a boolean or inner list"'],
    ['5.1: params is a token', 'params=a'],
    ['5.1: params is a number', 'params=1'],
    ['5.1: params lists no strings', 'params=(not-a-string)'],
    ['5.1: params lists not strings alone', 'params=("a" 1)'],
    ['5.1: both lists', 'params=("a"), except=("x")'],
    ['5.1: both lists, empty', 'params=(), except=()'],
    ['5.1: no params, but except', 'params=?0, except=("x")'],
    ['5.1: except lists no strings', 'params, except=(not-a-string)'],
    ['5.1: except is text', 'params, except="not an inner list"'],
    ['5.1: except is a boolean', 'params, except=?1'],
    ['5.1: except alone lists no strings', 'except=(not-a-string)'],
    ['5.1: except alone is text', 'except="x"'],
    ['5.1: except alone is a boolean', 'except'],
    ['RFC 9651, 4.2: does not parse', 'params=("a"'],
    ['RFC 9651, 4.2: a trailing comma', 'params,'],
    ['RFC 9651, 4.2: keys in upper case', 'Params'],
    ['RFC 9651, 4.2: beyond ASCII', 'params=("é")'],
    ['RFC 9651, 4.2: no dictionary', '("a")'],
  ])('means nothing (%s): %s', (_, value) => {
    expect(parseSearchVariance(value)).toBeUndefined()
  })

  it.each<[value: string, text: string]>([
    ['params', 'except=()'],
    ['params=?1', 'except=()'],
    ['params, except=()', 'except=()'],
    ['except=();x', 'except=()'],
    ['params, except=("b" "a" "b")', 'except=("a" "b")'],
    ['except=("%62" "a")', 'except=("a" "b")'],
    ['params=("b" "a" "%61"), key-order', 'params=("a" "b")'],
    ['params=("a+b")', 'params=("a%20b")'],
    ['params=("a%2Bb" "%22" "&=")', 'params=("%22" "%26%3D" "a%2Bb")'],
  ])('%s is in normal form %s', (value, text) => {
    expect(parseSearchVariance(value)?.text).toBe(text)
    expect(parseSearchVariance(text)?.text).toBe(text)
  })

  it.each<[clause: string, name: string, decoded: string]>([
    ['a broken escape stays', '100%zz%', '100%zz%'],
    ['broken UTF-8 is U+FFFD', '%f6', '\ufffd'],
    ['a byte order mark stays', '%EF%BB%BFa', '\ufeffa'],
    ['what parts a query is text here', 'a&b=c?#;', 'a&b=c?#;'],
    ['escapes in strings', '\\"\\\\', '"\\'],
  ])('5.3: %s: %s', (_, name, decoded) => {
    expect(parseSearchVariance(`params=("${name}")`)?.ignores(decoded)).toBe(true)
  })

  it('leaves parts of a normal query out by name', () => {
    const query = normaliseQuery('b=1&utm%5Fsource=x&a%20b=2&a+b=3&c')
    const choose = (value: string) => chooseFromQuery(query, (name) => !parseSearchVariance(value)!.ignores(name))
    expect(choose('params=("utm_source" "a+b")')).toEqual(['b=1', 'c'])
    expect(choose('params, except=("a%20b")')).toEqual(['a%20b=2', 'a%20b=3'])
    expect(choose('params')).toEqual([])
  })

  const name = fc.string({ unit: 'grapheme', maxLength: 5 }).filter((text) => text.isWellFormed())
  it('ignores the names that were written, or all but those', () => {
    fc.assert(
      fc.property(fc.array(name, { minLength: 1, maxLength: 4 }), name, (names, other) => {
        const list = `(${names.map((text) => `"${encodeURIComponent(text)}"`).join(' ')})`
        for (const text of [...names, other]) {
          expect(parseSearchVariance(`params=${list}`)!.ignores(text)).toBe(names.includes(text))
          expect(parseSearchVariance(`params, except=${list}`)!.ignores(text)).toBe(!names.includes(text))
        }
        const [given, read] = [`params=${list}`, parseSearchVariance(`params=${list}`)!.text].map(parseSearchVariance)
        expect(read!.text).toBe(given!.text)
      }),
    )
  })

  it('of any text is read or means nothing', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.stringMatching(/^(params|except|key-order|[=(", )?1a%;]){0,12}$/),
    )
    fc.assert(fc.property(text, (value) => void parseSearchVariance(value)?.ignores(value)))
  })

  it('is read in time that grows with its length alone', () => {
    for (const value of [
      '"'.repeat(50_000),
      `params=(${'"%"'.repeat(20_000)})`,
      `params=(${' '.repeat(50_000)}`,
      'a,'.repeat(50_000),
    ]) {
      const start = performance.now()
      parseSearchVariance(value)
      expect(performance.now() - start).toBeLessThan(500)
    }
  })
})
