import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { alsoChosenFrom, asLanguages, asList, firstLanguages, parseAcceptEncoding } from '../../src/http/negotiation.ts'

const hostile = [
  '"'.repeat(200_000),
  '\\'.repeat(200_000),
  `"${'\\"'.repeat(200_000)}`,
  ' \t'.repeat(200_000),
  `a${' '.repeat(200_000)}b`,
  'a,'.repeat(200_000),
  `a${';q=0'.repeat(50_000)}`,
  'a-'.repeat(200_000),
]

describe('a list', () => {
  it.each<[clause: string, value: string, text: string]>([
    ['RFC 9111, 4.1: blanks around commas', ' a ,\tb\t ,c', 'a,b,c'],
    ['RFC 9111, 4.1: several lines, combined', 'a, b', 'a,b'],
    ['RFC 9110, 5.6.1: empty members', ',a,, ,\t,b,', 'a,b'],
    ['RFC 9110, 5.6.1: nothing but commas', ' , ,', ''],
    ['the empty text', '', ''],
    ['order counts', 'b, a', 'b,a'],
    ['case counts', 'A, a', 'A,a'],
    ['repetition counts', 'a, a', 'a,a'],
    ['blanks within a member stay', 'a b; q = 1, c', 'a b; q = 1,c'],
    ['RFC 9110, 5.6.4: quoted strings stay as they are', 'a="x , ,y" , b', 'a="x , ,y",b'],
    ['RFC 9110, 5.6.4: escaped quotes', '"a\\" , b" , c', '"a\\" , b",c'],
    ['RFC 9110, 5.6.4: an escaped backslash before the closing quote', '"a\\\\" , c', '"a\\\\",c'],
    ['RFC 9110, 5.6.4: the empty quoted string is a member', ' "" ,', '""'],
    ['an unclosed quote goes on to the end', 'a , "b , c ', 'a,"b , c'],
    ['an unclosed escape', '"a\\', '"a\\'],
    ['RFC 9110, 5.6.3: a no-break space is no blank', '\xa0a , b\xa0', '\xa0a,b\xa0'],
  ])('%s: %j', (_, value, text) => {
    expect(asList(value)).toBe(text)
  })

  it('in normal form stays as it is', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (value) => asList(asList(value)) === asList(value)))
    const some = fc.string({ unit: fc.constantFrom('a', '"', '\\', ',', ' ', '\t') })
    fc.assert(fc.property(some, (value) => asList(asList(value)) === asList(value)))
  })

  it('is the same with other blanks and empty members', () => {
    const members = fc.array(fc.stringMatching(/^([a-z;=]{1,4}|"([^"\\]|\\.){0,4}")$/), { minLength: 1 })
    const commas = fc.array(fc.stringMatching(/^[ \t]{0,2}(,[ \t]{0,2}){1,3}$/), { minLength: 20, maxLength: 20 })
    fc.assert(
      fc.property(members, commas, (list, between) => {
        const text = list.map((member, at) => member + between[at % 20]).join('')
        expect(asList(text)).toBe(list.join(','))
      }),
    )
  })

  it('is read in time that grows with its length alone', () => {
    for (const value of hostile) {
      for (const normalise of [asList, asLanguages, parseAcceptEncoding, firstLanguages]) {
        const start = performance.now()
        normalise(value)
        expect(performance.now() - start).toBeLessThan(1000)
      }
    }
  })
})

describe('Accept-Language', () => {
  it.each<[clause: string, value: string, text: string]>([
    ['12.5.4: case', 'de-CH, EN', 'de-ch,en'],
    ['12.4.2: by weight', 'en;q=0.5, de, fr;q=0.8', 'de,fr;q=0.8,en;q=0.5'],
    ['12.4.2: equal weights by tag', 'fr, de, en', 'de,en,fr'],
    ['12.4.2: equal weights below one', 'fr;q=0.5,de;q=0.50', 'de;q=0.5,fr;q=0.5'],
    ['12.4.2: a weight of one is dropped', 'de;q=1, en;q=1.0, fr;q=1.000, it;q=1.', 'de,en,fr,it'],
    ['12.4.2: trailing zeros are dropped', 'de;q=0.500, en;q=0.120', 'de;q=0.5,en;q=0.12'],
    ['12.4.2: a weight of zero is kept', 'de, en;q=0, fr;q=0.000, it;q=0.', 'de,en;q=0,fr;q=0,it;q=0'],
    ['12.4.2: the smallest weight', 'de;q=0.001', 'de;q=0.001'],
    ['12.4.2: blanks around the semicolon, Q', 'de \t; \tQ=0.5 , en', 'en,de;q=0.5'],
    ['12.5.4: the wildcard', '*;q=0.1, de, *', '*,de,*;q=0.1'],
    ['RFC 4647, 2.1: subtags', 'zh-Hant-CN-x-private1-1a', 'zh-hant-cn-x-private1-1a'],
    ['5.6.1: empty members', ', de ,,en, ', 'de,en'],
    ['12.5.4: the empty text', '', ''],
    ['12.5.4: what is said twice', 'de, DE;q=1.0, de', 'de'],
    ['12.5.4: two weights of one tag', 'de;q=0.5, de', 'de,de;q=0.5'],
  ])('RFC 9110, %s: %s', (_, value, text) => {
    expect(asLanguages(value)).toBe(text)
    expect(asLanguages(text)).toBe(text)
  })

  it.each<[fault: string, value: string, text: string]>([
    ['a weight over one', 'EN;q=0.5, DE;q=2', 'en;q=0.5,de;q=2'],
    ['four decimals', 'fr, de;q=0.1234', 'fr,de;q=0.1234'],
    ['no weight', 'fr, de;q=', 'fr,de;q='],
    ['blanks around the equals sign', 'fr, de;q = 0.5', 'fr,de;q = 0.5'],
    ['another parameter', 'fr, de;level=1', 'fr,de;level=1'],
    ['two weights', 'fr, de;q=1;q=1', 'fr,de;q=1;q=1'],
    ['a subtag too long', 'fr, abcdefghi', 'fr,abcdefghi'],
    ['an underscore', 'fr, de_CH', 'fr,de_ch'],
    ['a wildcard within', 'fr, de-*', 'fr,de-*'],
    ['a dash at the end', 'fr, de-', 'fr,de-'],
    ['a quoted comma', 'fr, "D,E"', 'fr,"d,e"'],
    ['the Kelvin sign', 'de, \u212a', 'de,\u212a'],
    ['a no-break space', 'fr, \xa0de', 'fr,\xa0de'],
  ])('malformed is only a list in lower case: %s', (_, value, text) => {
    expect(asLanguages(value)).toBe(text)
  })

  const tag = fc.stringMatching(/^(\*|[a-zA-Z]{1,3}(-[A-Za-z0-9]{1,3})?)$/)
  const preference = fc.tuple(tag, fc.constantFrom('', ';q=1', ';q=1.00', ' ; q=0.5', ';Q=0.50', ';q=0', ';q=0.000'))
  const meaning = (preferences: [string, string][]) => {
    const weights = preferences.map(([name, q]) => `${name.toLowerCase()} ${Number(q.split('=')[1] ?? 1)}`)
    return JSON.stringify([...new Set(weights)].sort())
  }
  const write = (preferences: [string, string][]) => preferences.map((pair) => pair.join('')).join(' ,')

  it('is equal just where the meaning is', () => {
    fc.assert(
      fc.property(fc.array(preference, { maxLength: 3 }), fc.array(preference, { maxLength: 3 }), (a, b) => {
        expect(asLanguages(write(a)) === asLanguages(write(b))).toBe(meaning(a) === meaning(b))
        expect(asLanguages(write(a.toReversed()))).toBe(asLanguages(write(a)))
      }),
    )
  })

  it('what no well-formed field has is still there', () => {
    const foreign = ['"', '\u212a', '\xa0', '_', '\xc0']
    const text = fc.string({ unit: fc.constantFrom('d', 'E', ';', 'q', '=', '0', '.', ',', ' ', ...foreign) })
    fc.assert(
      fc.property(text, (value) => {
        const normal = asLanguages(value)
        expect(asLanguages(normal)).toBe(normal)
        expect(foreign.filter((char) => normal.includes(char))).toEqual(foreign.filter((char) => value.includes(char)))
      }),
    )
  })

  it.each<[value: string | undefined, tags: string[]]>([
    [undefined, []],
    ['', []],
    ['de', ['de']],
    ['en;q=0.5, DE-ch', ['de-ch']],
    ['fr, en;q=0.5, de;q=1.0', ['de', 'fr']],
    ['fr;q=0.5, de;q=0.500, en;q=0.4', ['de', 'fr']],
    ['de, DE', ['de']],
    ['de;q=0', []],
    ['*', []],
    ['*, de', ['de']],
    ['*, de;q=0.5', []],
    ['de, en;q=2', []],
  ])('RFC 9110, 12.4.2: %s wants first %j', (value, tags) => {
    expect(firstLanguages(value)).toEqual(tags)
  })
})

describe('Accept-Encoding', () => {
  it.each<[clause: string, value: string, text: string, codings: string[] | undefined]>([
    ['12.5.3: one', 'gzip', 'gzip', ['gzip']],
    ['12.5.3: several, by name', 'gzip, deflate, br', 'br,deflate,gzip', ['br', 'deflate', 'gzip']],
    ['8.4.1: case', 'GZip, BR', 'br,gzip', ['br', 'gzip']],
    ['8.4.1.3: x-gzip', 'X-GZIP', 'gzip', ['gzip']],
    ['8.4.1.1: x-compress', 'x-compress', 'compress', ['compress']],
    ['8.4.1.3: both names', 'gzip, x-gzip', 'gzip', ['gzip']],
    ['12.5.3: equal weights', 'gzip;q=0.5, br;q=0.50', 'br;q=0.5,gzip;q=0.5', ['br', 'gzip']],
    ['12.5.3: identity among them', 'gzip, identity', 'gzip,identity', ['gzip']],
    ['12.5.3: identity alone', 'identity', 'identity', []],
    ['12.5.3: the empty field', '', '', []],
    ['5.6.1: empty members alone', ', ,', '', []],
    ['12.5.3: different weights', 'gzip;q=0.8, br', 'br,gzip;q=0.8', undefined],
    ['12.5.3: identity with another weight', 'gzip, identity;q=0.5', 'gzip,identity;q=0.5', undefined],
    ['12.5.3: no identity', 'gzip, identity;q=0', 'gzip,identity;q=0', undefined],
    ['12.5.3: identity alone refused', 'identity;q=0', 'identity;q=0', undefined],
    ['12.5.3: one refused', 'gzip;q=0', 'gzip;q=0', undefined],
    ['12.5.3: the wildcard', 'gzip, *', '*,gzip', undefined],
    ['12.5.3: the wildcard refused', 'gzip, *;q=0', 'gzip,*;q=0', undefined],
    ['12.5.3: malformed', 'GZIP;level=9, br', 'gzip;level=9,br', undefined],
    ['12.5.3: malformed, with an alias', 'X-gzip;q=2', 'x-gzip;q=2', undefined],
    ['12.5.3: text between', 'gzip br', 'gzip br', undefined],
  ])('RFC 9110, %s: %s', (_, value, text, codings) => {
    expect(parseAcceptEncoding(value).text).toBe(text)
    expect(parseAcceptEncoding(value).codings).toEqual(codings && new Set(codings))
  })

  it('absent is not empty (RFC 9110, 12.5.3)', () => {
    expect(parseAcceptEncoding(undefined).codings).toBeUndefined()
    expect(parseAcceptEncoding(undefined).text).not.toBe(parseAcceptEncoding('').text)
  })

  it('present is never written as absent', () => {
    const absent = parseAcceptEncoding(undefined).text
    expect(parseAcceptEncoding(absent).text).not.toBe(absent)
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (value) => parseAcceptEncoding(value).text !== absent))
  })

  it.each<[clause: string, fewer: string | undefined, more: string | undefined, chosen: string, isChosen: boolean]>([
    ['the same', 'gzip, br', 'br,gzip', 'br', true],
    ['the same, whatever was chosen', 'gzip;q=0.5, br', 'br, gzip;q=0.5', 'zstd', true],
    ['both absent', undefined, undefined, 'gzip', true],
    ['chosen from more', 'gzip', 'gzip, br', 'gzip', true],
    ['chosen by an alias', 'x-gzip', 'gzip, br', 'X-GZIP', true],
    ['chosen what fewer lack', 'gzip', 'gzip, br', 'br', false],
    ['no coding chosen from more', 'gzip', 'gzip, br', 'identity', true],
    ['no coding chosen, in capitals', 'gzip', 'gzip, br', 'Identity', true],
    ['no coding chosen, none accepted', '', 'gzip, br', 'identity', true],
    ['a coding chosen, none accepted', '', 'gzip, br', 'gzip', false],
    ['chosen from fewer', 'gzip, br', 'gzip', 'gzip', false],
    ['no coding chosen from fewer', 'gzip, br', 'gzip', 'identity', false],
    ['others besides', 'gzip, zstd', 'gzip, br', 'gzip', false],
    ['two codings one upon the other', 'gzip', 'gzip, br', 'br, gzip', false],
    ['weights among more', 'gzip', 'gzip, br;q=0.9', 'gzip', false],
    ['weights among fewer', 'gzip;q=0.9, br', 'gzip, br, zstd', 'br', false],
    ['the wildcard among more', 'gzip', '*', 'gzip', false],
    ['absent and present', undefined, 'gzip', 'gzip', false],
    ['present and absent', 'gzip', undefined, 'gzip', false],
    ['empty and absent', '', undefined, 'identity', false],
    ['identity refused', 'gzip, identity;q=0', 'gzip, br', 'identity', false],
  ])('what was chosen (RFC 9110, 12.5.3): %s', (_, fewer, more, chosen, isChosen) => {
    expect(alsoChosenFrom(parseAcceptEncoding(fewer), parseAcceptEncoding(more), chosen)).toBe(isChosen)
  })

  it('a handler that ranks codings chooses alike', () => {
    const ranks = ['zstd', 'br', 'gzip', 'deflate']
    const choose = (accepted: string[]) => ranks.find((coding) => accepted.includes(coding)) ?? 'identity'
    const some = fc.subarray(ranks)
    fc.assert(
      fc.property(some, some, (a, b) => {
        const [fewer, more] = [a, b].map((list) => parseAcceptEncoding(list.join(', '))) as [never, never]
        if (alsoChosenFrom(fewer, more, choose(b))) expect(choose(a)).toBe(choose(b))
      }),
    )
  })

  it('of any text is read', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (a, b) => {
        const [fewer, more] = [parseAcceptEncoding(a), parseAcceptEncoding(b)]
        expect(typeof alsoChosenFrom(fewer, more, b)).toBe('boolean')
        expect(parseAcceptEncoding(fewer.text).text).toBe(fewer.text)
      }),
    )
  })
})
