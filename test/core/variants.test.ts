import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { decodeKey, type KeyParts } from '../../src/core/key.ts'
import { type Lodging, type Seeker, Variants } from '../../src/core/variants.ts'
import type { Fields } from '../../src/http/fields.ts'
import { NO_FORMS, type VaryForms } from '../../src/http/vary.ts'
import { ManualTime } from '../support/time.ts'

function seeker(headers: Fields = {}, parts: Partial<KeyParts> = {}, forms: VaryForms = NO_FORMS): Seeker {
  return { parts: { route: 'GET /', params: [], query: [], vary: [], ...parts }, headers, forms }
}

const MOST = 100

/** Where a response is kept: all in these tests are. */
function lodge(variants: Variants, asks: Seeker, names: string[], response: Fields = {}, most = MOST): Lodging {
  const lodging = variants.lodge(asks, names, response, most)
  if (!lodging) throw new Error('it was expected to be kept')
  return lodging
}
const LANGUAGES: VaryForms = new Map([['accept-language', 'languages']])

describe('a place', () => {
  it('is the primary key as long as nothing is known', () => {
    const { primary, key } = new Variants(new ManualTime()).locate(seeker({ 'x-own': 'a' }, { query: ['a=1'] }))
    expect([primary, key]).toEqual(['GET /?a=1', 'GET /?a=1'])
  })

  it('stays the primary key for what varies on nothing', () => {
    const variants = new Variants(new ManualTime())
    const lodging = lodge(variants, seeker({ 'x-own': 'a' }), [])
    expect([lodging.key, lodging.crowdedOut]).toEqual(['GET /', []])
    expect(variants.locate(seeker({ 'x-own': 'b' })).key).toBe('GET /')
  })

  it('has the fields that a response has named, from then on', () => {
    const variants = new Variants(new ManualTime())
    const { key, primary } = lodge(variants, seeker({ 'x-own': 'a' }), ['x-own'])
    expect(primary).toBe('GET /')
    expect(decodeKey(key).vary).toEqual([['x-own', 'a']])
    expect(variants.locate(seeker({ 'x-own': 'a', 'x-other': 'b' })).key).toBe(key)
    const others = [{}, { 'x-own': '' }, { 'x-own': 'b' }, { 'x-own': 'A' }, { 'x-own': ['a', 'a'] }]
    const keys = others.map((headers) => variants.locate(seeker(headers)).key)
    expect(new Set([key, ...keys]).size).toBe(others.length + 1)
  })

  it('has all fields that any response of its primary key has named', () => {
    const variants = new Variants(new ManualTime())
    lodge(variants, seeker({ a: '1' }), ['a'])
    lodge(variants, seeker({ b: '1' }), ['b', 'c'])
    lodge(variants, seeker({ b: '1' }), [])
    expect(decodeKey(variants.locate(seeker({ b: '1' })).key).vary).toEqual([
      ['a', undefined],
      ['b', '1'],
      ['c', undefined],
    ])
  })

  it('of one primary key says nothing of another', () => {
    const variants = new Variants(new ManualTime())
    lodge(variants, seeker({ a: '1' }), ['a'])
    for (const parts of [{ query: ['a=1'] }, { route: 'GET /other' }, { scope: 'ann' }, { host: 'x' }]) {
      const { key, primary } = variants.locate(seeker({ a: '1' }, parts))
      expect(key).toBe(primary)
    }
  })

  it('has a declared field once', () => {
    const variants = new Variants(new ManualTime())
    const declared = { vary: [['x-own', 'a']] as const }
    const { key } = lodge(variants, seeker({ 'x-own': 'a', b: '1' }, declared), ['b', 'x-own'])
    expect(decodeKey(key).vary).toEqual([
      ['b', '1'],
      ['x-own', 'a'],
    ])
  })

  it('shows no credentials', () => {
    const variants = new Variants(new ManualTime())
    const secrets = { cookie: 'session=secret', authorization: 'Bearer secret', 'proxy-authorization': 'Basic secret' }
    const { key } = lodge(variants, seeker(secrets), Object.keys(secrets).sort())
    expect(key).not.toMatch(/secret/)
    expect(variants.locate(seeker({ ...secrets, cookie: 'session=other' })).key).not.toBe(key)
  })

  it('is found again by whoever lodged there, and is none of another variant', () => {
    const value = fc.option(
      fc.constantFrom('a', 'A', 'a, b', 'b,a', '', ' ', 'gzip', 'gzip, br', 'de', 'en;q=0.5, de'),
      {
        nil: undefined,
      },
    )
    const name = fc.constantFrom('a', 'b', 'accept-encoding', 'accept-language', 'constructor')
    const request = fc.dictionary(name, value)
    const step = fc.record({
      headers: request,
      names: fc.uniqueArray(name),
      encoding: fc.constantFrom(undefined, 'gzip', 'br'),
    })
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), ({ length, ...steps }) => {
        const variants = new Variants(new ManualTime())
        for (let at = 0; at < length; at++) {
          const { headers, names, encoding } = steps[at]!
          const asks = seeker(headers)
          const { key } = lodge(variants, asks, [...names].sort(), { 'content-encoding': encoding })
          expect(variants.locate(asks).key).toBe(key)
        }
      }),
    )
  })
})

describe('the variants of a primary key', () => {
  const lodgeAll = (variants: Variants, values: string[], most: number, parts: Partial<KeyParts> = {}) =>
    values.map((value) => lodge(variants, seeker({ a: value }, parts), ['a'], {}, most))

  it('are no more than are allowed; the oldest make room', () => {
    const variants = new Variants(new ManualTime())
    const [one, two, three, four] = lodgeAll(variants, ['1', '2', '3', '4'], 2)
    expect([one, two, three, four].map((lodging) => lodging!.crowdedOut)).toEqual([[], [], [one!.key], [two!.key]])
  })

  it('are young again when they are lodged again', () => {
    const variants = new Variants(new ManualTime())
    const [one, two, again, three] = lodgeAll(variants, ['1', '2', '1', '3'], 2)
    expect(again).toMatchObject({ key: one!.key, crowdedOut: [] })
    expect(three!.crowdedOut).toEqual([two!.key])
  })

  it('all make room that are too many where fewer are allowed', () => {
    const variants = new Variants(new ManualTime())
    const lodged = lodgeAll(variants, ['1', '2', '3', '4'], 4)
    const [last] = lodgeAll(variants, ['5'], 2)
    expect(last!.crowdedOut).toEqual(lodged.slice(0, 3).map(({ key }) => key))
  })

  it('of others make no room', () => {
    const variants = new Variants(new ManualTime())
    lodgeAll(variants, ['1', '2'], 2)
    const other = lodgeAll(variants, ['1', '2'], 2, { query: ['a=1'] })
    expect(other.flatMap(({ crowdedOut }) => crowdedOut)).toEqual([])
  })

  it('keep the store bounded whatever is asked', () => {
    const variants = new Variants(new ManualTime())
    const store = new Set<string>()
    for (let at = 0; at < 2_000; at++) {
      const names = at % 3 === 0 ? ['a'] : ['a', 'b']
      const { key, crowdedOut } = lodge(variants, seeker({ a: `${at}`, b: `${at % 7}` }), names, {}, 10)
      store.add(key)
      for (const old of crowdedOut) store.delete(old)
    }
    expect(store.size).toBeLessThanOrEqual(10)
  })

  it('are forgotten one day, and what has varied is then found by nobody', () => {
    const variants = new Variants(new ManualTime())
    const { key } = lodge(variants, seeker({ a: '1' }), ['a'])
    for (let at = 0; at < 10_001; at++) lodge(variants, seeker({ a: '1' }, { query: [`q=${at}`] }), ['a'])
    const forgotten = variants.locate(seeker({ a: '2' }))
    expect(forgotten.key).toBe(forgotten.primary)
    expect(forgotten.key).not.toBe(key)
  })

  it('are forgotten by the characters that they take, too', () => {
    const variants = new Variants(new ManualTime())
    const names = Array.from({ length: 100 }, (_, at) => `x-${at}-${'x'.repeat(400)}`).sort()
    const pages = Array.from({ length: 1_000 }, (_, at) => ({ query: [`q=${at}`] }))
    for (const page of pages) variants.lodge(seeker({}, page), names, {}, MOST)
    const places = pages.map((page) => variants.locate(seeker({}, page)))
    expect(places.filter(({ key, primary }) => key !== primary).length).toBeLessThan(200)
  })
})

describe('a coding that was chosen', () => {
  const accepting = (value: string | undefined, more: Fields = {}) =>
    seeker(value === undefined ? more : { 'accept-encoding': value, ...more })

  const choose = (variants: Variants, value: string | undefined, coding: string | undefined, more?: Fields) =>
    lodge(variants, accepting(value, more), ['accept-encoding'], { 'content-encoding': coding }).key

  it('holds for whoever accepts it, and nothing that was preferred to it', () => {
    const variants = new Variants(new ManualTime())
    const key = choose(variants, 'gzip, deflate, br', 'br')
    for (const value of ['br, gzip', 'BR', 'br , deflate', 'br;q=0.5', 'br, identity']) {
      expect(variants.locate(accepting(value)).key, value).toBe(key)
    }
    const others = ['gzip', 'br, zstd', 'br, gzip;q=0.5', '*', '', 'identity', 'br;;', 'br;q=0', undefined]
    for (const value of others) expect(variants.locate(accepting(value)).key, value).not.toBe(key)
  })

  it('identity holds for whoever accepts no more', () => {
    const variants = new Variants(new ManualTime())
    const key = choose(variants, 'zstd, br', undefined)
    for (const value of ['br', 'zstd', 'identity', '']) expect(variants.locate(accepting(value)).key).toBe(key)
    for (const value of ['gzip', 'gzip, br', undefined]) expect(variants.locate(accepting(value)).key).not.toBe(key)
  })

  it('counts for nothing where Accept-Encoding is compared as sent', () => {
    const variants = new Variants(new ManualTime())
    const forms: VaryForms = new Map([['accept-encoding', 'exact']])
    const asSent = (value: string) => seeker({ 'accept-encoding': value }, {}, forms)
    const { key } = lodge(variants, asSent('gzip, br'), ['accept-encoding'], { 'content-encoding': 'br' })
    expect(variants.locate(asSent('br')).key).not.toBe(key)
    expect(variants.locate(asSent('gzip,br')).key).not.toBe(key)
  })

  it('is forgotten where too many were chosen', () => {
    const variants = new Variants(new ManualTime())
    const key = choose(variants, 'gzip, br', 'br')
    for (let at = 0; at < 30; at++) choose(variants, `gzip, other-${at}`, 'gzip')
    expect(variants.locate(accepting('br')).key).not.toBe(key)
    expect(variants.locate(accepting('br, gzip')).key).toBe(key)
  })

  it('is what it is now, where the handler chooses another', () => {
    const variants = new Variants(new ManualTime())
    const key = choose(variants, 'gzip, br', 'br')
    expect(choose(variants, 'gzip, br', 'gzip')).toBe(key)
    expect(variants.locate(accepting('gzip')).key).toBe(key)
    expect(variants.locate(accepting('br')).key).not.toBe(key)
  })

  it('says nothing of what varies on another field as well', () => {
    const variants = new Variants(new ManualTime())
    const names = ['accept-encoding', 'x-device']
    const both = (value: string, device: string) => accepting(value, { 'x-device': device })
    const lodgeFor = (device: string, coding: string) =>
      lodge(variants, both('br, gzip', device), names, { 'content-encoding': coding }).key
    const old = lodgeFor('old', 'gzip')
    const young = lodgeFor('new', 'br')
    expect(variants.locate(both('br', 'new')).key).toBe(young)
    const { key, assumed } = variants.locate(both('br', 'old'))
    // What is kept there is gzip: nobody may take it who was led there by what is br.
    if (key === old) expect(assumed).toEqual([{ field: 'content-encoding', chosen: 'br' }])
  })
})

describe('a language that was chosen', () => {
  const speaking = (value: string, more: Fields = {}, forms = LANGUAGES) =>
    seeker({ 'accept-language': value, ...more }, {}, forms)

  const choose = (variants: Variants, value: string, language: string | undefined) =>
    lodge(variants, speaking(value), ['accept-language'], { 'content-language': language }).key

  it('answers whoever wants it first of all', () => {
    const variants = new Variants(new ManualTime())
    const key = choose(variants, 'de, en;q=0.5', 'de')
    for (const value of ['de', 'DE', 'en;q=0.1, de;q=0.2', 'de, fr', 'fr, de']) {
      expect(variants.locate(speaking(value)).key, value).toBe(key)
    }
    for (const value of ['de-AT', 'en', '*', 'de;q=0', 'fr, de;q=0.9', '', 'de;;']) {
      expect(variants.locate(speaking(value)).key, value).not.toBe(key)
    }
  })

  it.each([undefined, 'de, en'])('is none where the response says %s', (language) => {
    const variants = new Variants(new ManualTime())
    const key = choose(variants, 'de, en;q=0.5', language)
    expect(variants.locate(speaking('de')).key).not.toBe(key)
  })

  it('counts for nothing where languages are compared in another way', () => {
    const variants = new Variants(new ManualTime())
    const forms: VaryForms = new Map([['accept-language', 'case-insensitive-list']])
    const { key } = lodge(
      variants,
      speaking('de, en', {}, forms),
      ['accept-language'],
      { 'content-language': 'de' },
      MOST,
    )
    expect(variants.locate(speaking('de', {}, forms)).key).not.toBe(key)
    expect(variants.locate(speaking('DE,en', {}, forms)).key).toBe(key)
  })
})
