import fc from 'fast-check'
import { parseList } from 'structured-headers'
import { describe, expect, it } from 'vitest'
import { formatCacheTag, formatGroups, formatSurrogateKey, parseGroups } from '../../src/http/cache-groups.ts'

describe('Cache-Groups', () => {
  it.each<[clause: string, value: string | undefined, names: string[]]>([
    ['RFC 9875, 2: one', '"scripts"', ['scripts']],
    ['RFC 9875, 3: several', '"eurovision-results", "kylie-minogue"', ['eurovision-results', 'kylie-minogue']],
    ['RFC 9875, 2.1: case counts', '"a", "A"', ['a', 'A']],
    ['RFC 9875, 2: parameters are ignored', '"a";revalidate, "b";x=1;y="z"', ['a', 'b']],
    ['RFC 9875, 2: the empty string', '""', ['']],
    ['RFC 9875, 2: a comma within', '"a, b"', ['a, b']],
    ['RFC 9875, 2: what looks percent-encoded is opaque', '"%41"', ['%41']],
    ['RFC 9651, 3.3.3: escapes', '"a\\"b\\\\c"', ['a"b\\c']],
    ['no strings are left out', 'token, "a", 1, 1.5, ?1, :aGk=:, %"d", ("b" "c"), "d", @1', ['a', 'd']],
    ['RFC 9651, 4.2: absent', undefined, []],
    ['RFC 9651, 4.2: empty', '', []],
    ['RFC 9651, 4.2: does not parse', '"a", "b', []],
    ['RFC 9651, 4.2: a trailing comma', '"a",', []],
    ['RFC 9651, 4.2: beyond ASCII', '"a", "é"', []],
    ['RFC 9651, 4.2: a wrong escape', '"a\\b"', []],
  ])('%s: %s', (_, value, names) => {
    expect(parseGroups(value)).toEqual(names)
  })

  it('takes 32 groups of 32 characters (RFC 9875, 2)', () => {
    const names = Array.from({ length: 32 }, (_, at) => String(at).padStart(32, 'g'))
    expect(parseGroups(formatGroups(names))).toEqual(names)
  })

  it.each<[names: string[], value: string]>([
    [[], ''],
    [['product:42'], '"product:42"'],
    [['a', 'b c', 'd,e'], '"a", "b c", "d,e"'],
    [['a"b\\c'], '"a\\"b\\\\c"'],
    [['é'], '"%C3%A9"'],
    [['%C3%A9'], '"%25C3%25A9"'],
    [['😀', '\n\x7f'], '"%F0%9F%98%80", "%0A%7F"'],
    [['\ud800'], '"%uD800"'],
  ])('of %j is %s', (names, value) => {
    expect(formatGroups(names)).toBe(value)
  })

  it('gives back all names of printable ASCII without a percent sign', () => {
    const name = fc.stringMatching(/^[\x20-\x24\x26-\x7e]{0,9}$/)
    fc.assert(fc.property(fc.array(name), (names) => void expect(parseGroups(formatGroups(names))).toEqual(names)))
  })

  it('of any text is read', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (value) => Array.isArray(parseGroups(value))))
  })
})

describe('Surrogate-Key', () => {
  it.each<[names: string[], value: string]>([
    [[], ''],
    [['product:42', 'a,b'], 'product:42 a,b'],
    [['a b', '100%', 'é', '\t', '😀'], 'a%20b 100%25 %C3%A9 %09 %F0%9F%98%80'],
  ])('of %j is %s', (names, value) => {
    expect(formatSurrogateKey(names)).toBe(value)
  })
})

describe('Cache-Tag', () => {
  it.each<[names: string[], value: string]>([
    [[], ''],
    [['product:42', 'a'], 'product:42,a'],
    [['a,b', 'a b', '100%', 'é', '😀'], 'a%2Cb,a%20b,100%25,%C3%A9,%F0%9F%98%80'],
  ])('of %j is %s', (names, value) => {
    expect(formatCacheTag(names)).toBe(value)
  })
})

describe.each([
  ['Cache-Groups', formatGroups, (value: string) => parseList(value).length, /^"[\x20-\x7e]*"$/],
  ['Surrogate-Key', formatSurrogateKey, (value: string) => value.split(' ').length, /^[\x21-\x7e]*$/],
  ['Cache-Tag', formatCacheTag, (value: string) => value.split(',').length, /^[\x21-\x2b\x2d-\x7e]*$/],
] as const)('%s', (_, format, count, syntax) => {
  // Every UTF-16 text, lone surrogates too, and texts that look as if they were encoded already.
  const unit = fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code))
  const name = fc.oneof(
    fc.string({ unit: fc.oneof(unit, fc.constantFrom('\ud83d', '\ude00')), maxLength: 4 }),
    fc.string({ unit: fc.constantFrom('%', 'C', '3', 'A', '9', 'u', 'é', ' ', ',', '2', '0', '5'), maxLength: 8 }),
  )

  it('writes different names differently', () => {
    fc.assert(
      fc.property(name, name, (a, b) => {
        expect(format([a]) === format([b])).toBe(a === b)
        expect(format([a])).toMatch(syntax)
      }),
      { numRuns: 500 },
    )
  })

  it('writes as many names as there are', () => {
    fc.assert(fc.property(fc.array(name, { minLength: 1 }), (names) => count(format(names)) === names.length))
  })
})
