import zlib from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Answer, gate } from '../../support/http.ts'
import {
  type CallOptions,
  counting,
  type Handler,
  oneRoute,
  type Site,
  type Stack,
  site,
  until,
} from '../../support/stacks.ts'
import { ManualTime } from '../../support/time.ts'
import { encoding } from './ranges.ts'

type Asked = Record<string, string>

const TEXT = 'compressible '.repeat(50)

const DECODERS: Record<string, (body: Buffer) => Buffer> = {
  identity: (body) => body,
  gzip: (body) => zlib.gunzipSync(body),
  deflate: (body) => zlib.inflateSync(body),
  br: (body) => zlib.brotliDecompressSync(body),
  // Only newer versions of Node have it.
  zstd: (body) => (zlib as unknown as { zstdDecompressSync: (body: Buffer) => Buffer }).zstdDecompressSync(body),
}

function codingOf({ headers }: Answer): string {
  return (headers['content-encoding'] as string | undefined) ?? 'identity'
}

/** Whether a client accepts a coding (RFC 9110, 12.5.3), by a reading of the field that knows no other code. */
function accepts(value: string | undefined, coding: string): boolean {
  if (coding === 'identity') return true
  const weights = new Map(
    (value ?? '').split(',').map((member) => {
      const [name = '', weight = 'q=1'] = member.split(';').map((part) => part.trim().toLowerCase())
      return [name, Number(weight.slice(2))] as const
    }),
  )
  // RFC 9110, 8.4.1.3: x-gzip is gzip.
  const named = coding === 'gzip' ? [weights.get('gzip'), weights.get('x-gzip')] : [weights.get(coding)]
  return Math.max(...named.map((weight) => weight ?? weights.get('*') ?? 0)) > 0
}

const FORMS: [
  name: string,
  form: NonNullable<CallOptions['normaliseVary']>[string] | undefined,
  one: string,
  other: string,
  isShared: boolean,
][] = [
  ['as sent: blanks count', undefined, 'a,b', 'a, b', false],
  ['as sent: the same is the same', undefined, 'a,b', 'a,b', true],
  ['list: blanks do not count', 'list', 'a,b', 'a ,\tb', true],
  ['list: empty members do not count', 'list', 'a,b', ',a,,b,', true],
  ['list: order counts', 'list', 'a,b', 'b,a', false],
  ['list: case counts', 'list', 'a,b', 'A,b', false],
  ['list: what is quoted counts', 'list', '"a,b"', '"a, b"', false],
  ['case-insensitive-list: case does not count', 'case-insensitive-list', 'a,B', 'A, b', true],
  ['case-insensitive-list: order counts', 'case-insensitive-list', 'a,b', 'b,a', false],
  ['languages: order does not count', 'languages', 'de, en', 'EN,de', true],
  ['languages: weights count', 'languages', 'de, en;q=0.5', 'de, en', false],
  ['languages: weights may be spelt differently', 'languages', 'en;q=0.50, de', 'de;q=1, en; q=0.5', true],
  ['languages: what is malformed is a list', 'languages', 'de;;, en', 'en, de;;', false],
  ['a function', (value) => value.slice(0, 2), 'de-AT', 'de-CH', true],
  ['a function: others', (value) => value.slice(0, 2), 'de', 'en', false],
  ['false: as sent', false, 'a,b', 'a, b', false],
]

export function negotiation(stack: Stack): void {
  const warnings = ({ events }: Site) => events.flatMap((event) => (event.type === 'warning' ? [event.code] : []))

  /** A handler whose answers vary on request fields, and show them. */
  const varying = (...names: string[]) =>
    counting((text, { req }) => ({
      headers: { Vary: names.join(', ') },
      body: `${text}: ${names.map((name) => req.headers[name.toLowerCase()] ?? 'none').join('|')}`,
    }))

  const runsOf = async ({ get }: Pick<Site, 'get'>, asked: readonly Asked[]) => {
    const runs: string[] = []
    for (const headers of asked) runs.push(/run (\d+)/.exec((await get('/', headers)).text)![1]!)
    return runs.join(' ')
  }

  describe('variants', () => {
    it('of several fields are kept side by side', async () => {
      const handler = varying('X-One', 'X-Two')
      const served = await oneRoute(stack, handler)
      const asked = [
        {},
        { 'x-one': 'a' },
        { 'x-two': 'a' },
        { 'x-one': 'a', 'x-two': 'b' },
        { 'x-one': 'b', 'x-two': 'a' },
      ]
      expect(await runsOf(served, asked)).toBe('1 2 3 4 5')
      expect(await runsOf(served, [...asked].reverse())).toBe('5 4 3 2 1')
      expect(served.cache.stats().entries).toBe(5)
    })

    it('fields that are not named do not count', async () => {
      const served = await oneRoute(stack, varying('X-One'))
      expect(await runsOf(served, [{ 'x-two': 'a' }, { 'x-two': 'b' }, { 'X-ONE': 'a' }, { 'x-one': 'a' }])).toBe(
        '1 1 2 2',
      )
    })

    it('a field that a later response names splits what was one', async () => {
      const handler = counting((text, { req }) => ({
        headers: req.headers['x-mode'] === undefined ? {} : { Vary: 'X-Mode, X-Two' },
        body: `${text} ${req.headers['x-mode']}`,
      }))
      const served = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        app.on('GET', '/', cached({ ttl: 60, tags: 'page' }), handler)
      })
      expect(await runsOf(served, [{}, { 'x-two': 'a' }])).toBe('1 1')
      await served.cache.invalidateTags('page')
      expect(
        await runsOf(served, [
          { 'x-mode': 'a' },
          { 'x-mode': 'b' },
          { 'x-mode': 'a', 'x-two': 'a' },
          { 'x-mode': 'a' },
        ]),
      ).toBe('2 3 4 2')
    })

    it('maxVariants bounds them; the oldest leave first', async () => {
      const served = await oneRoute(stack, varying('X-One'), { maxVariants: 2 })
      const ask = (...values: string[]) =>
        runsOf(
          served,
          values.map((value) => ({ 'x-one': value })),
        )
      expect(await ask('a', 'b', 'a', 'c')).toBe('1 2 1 3')
      expect(served.cache.stats().entries).toBe(2)
      expect(await ask('b', 'c', 'a')).toBe('2 3 4')
      expect(await ask('c', 'a')).toBe('3 4')
      expect(await ask('b')).toBe('5')
      expect(served.cache.stats().entries).toBe(2)
    })

    it('maxVariants counts those of each URI for itself', async () => {
      const { get, cache } = await oneRoute(stack, varying('X-One'), { maxVariants: 2 })
      for (const page of [1, 2]) for (const value of ['a', 'b', 'c']) await get(`/?page=${page}`, { 'x-one': value })
      expect(cache.stats().entries).toBe(4)
    })

    it('a variant that is made anew is no older one', async () => {
      const time = new ManualTime()
      const served = await oneRoute(stack, varying('X-One'), { maxVariants: 2, ttl: 10 }, { time })
      const ask = (...values: string[]) =>
        runsOf(
          served,
          values.map((value) => ({ 'x-one': value })),
        )
      expect(await ask('a')).toBe('1')
      time.move(5_000)
      expect(await ask('b')).toBe('2')
      time.move(6_000)
      expect(await ask('a', 'c')).toBe('3 4')
      expect(await ask('a', 'c')).toBe('3 4')
    })

    it('maxVariants: 1 keeps the last one', async () => {
      const served = await oneRoute(stack, varying('X-One'), { maxVariants: 1 })
      expect(await runsOf(served, [{ 'x-one': 'a' }, { 'x-one': 'b' }, { 'x-one': 'b' }, { 'x-one': 'a' }])).toBe(
        '1 2 2 3',
      )
      expect(served.cache.stats().entries).toBe(1)
    })
  })

  it('Vary that a 304 brings counts from then on', async () => {
    const time = new ManualTime()
    const handler = counting((text, { req }) =>
      req.headers['if-none-match'] === '"v1"'
        ? { status: 304, headers: { ETag: '"v1"', Vary: 'X-Own' } }
        : { headers: { ETag: '"v1"' }, body: `${text} for ${req.headers['x-own']}` },
    )
    const { get } = await oneRoute(stack, handler, { ttl: 10 }, { time })
    await get('/', { 'x-own': 'a' })
    time.move(11_000)
    expect((await get('/', { 'x-own': 'a' })).text).toBe('run 1 for a')
    expect((await get('/', { 'x-own': 'a' })).text).toBe('run 1 for a')
    expect((await get('/', { 'x-own': 'b' })).text).toBe('run 3 for b')
  })

  it('Vary: * that a 304 brings ends the use of what is stored', async () => {
    const time = new ManualTime()
    const handler = counting((text, { req }) =>
      req.headers['if-none-match'] === '"v1"'
        ? { status: 304, headers: { ETag: '"v1"', Vary: '*' } }
        : { headers: { ETag: '"v1"' }, body: text },
    )
    const { get } = await oneRoute(stack, handler, { ttl: 10 }, { time })
    await get('/')
    time.move(11_000)
    expect((await get('/')).text).toBe('run 1')
    expect((await get('/')).text).toBe('run 3')
  })

  describe('normaliseVary', () => {
    it.each(FORMS)('%s', async (_, form, one, other, isShared) => {
      const route: CallOptions = form === undefined ? {} : { normaliseVary: { 'X-Own': form } }
      const served = await oneRoute(stack, varying('X-Own'), route)
      expect(await runsOf(served, [{ 'x-own': one }, { 'x-own': other }])).toBe(isShared ? '1 1' : '1 2')
      expect(await runsOf(served, [{ 'x-own': one }, {}])).toBe(isShared ? '1 2' : '1 3')
    })

    it.each(FORMS)('of a field that `vary` declares: %s', async (_, form, one, other, isShared) => {
      const route: CallOptions = { vary: 'X-Own', ...(form === undefined ? {} : { normaliseVary: { 'x-own': form } }) }
      const served = await oneRoute(stack, counting(), route)
      expect(await runsOf(served, [{ 'x-own': one }, { 'x-own': other }])).toBe(isShared ? '1 1' : '1 2')
    })

    it('* is for the fields that are not named', async () => {
      const served = await oneRoute(stack, varying('X-One', 'X-Two'), {
        normaliseVary: { '*': 'case-insensitive-list', 'x-two': false },
      })
      expect(
        await runsOf(served, [
          { 'x-one': 'a', 'x-two': 'a' },
          { 'x-one': 'A', 'x-two': 'a' },
        ]),
      ).toBe('1 1')
      expect(await runsOf(served, [{ 'x-one': 'a', 'x-two': 'A' }])).toBe('2')
    })

    it('an absent field is absent in any form, and no function is asked for it', async () => {
      const asked: unknown[] = []
      const normalise = (value: string) => {
        asked.push(value)
        return ''
      }
      const served = await oneRoute(stack, varying('X-Own'), { normaliseVary: { 'x-own': normalise } })
      expect(await runsOf(served, [{}, { 'x-own': 'a' }, { 'x-own': 'b' }, {}])).toBe('1 2 2 1')
      expect(new Set(asked)).toEqual(new Set(['a', 'b']))
    })

    // As every function among the options: it costs its request the cache, not the answer.
    it.each<[name: string, normalise: (value: string) => unknown]>([
      [
        'that throws',
        () => {
          throw new Error('thrown by an option')
        },
      ],
      ['that gives a promise', async (value) => value],
      ['that gives a promise that is rejected', () => Promise.reject(new Error('rejected by an option'))],
      ['that gives nothing', () => undefined],
      ['that gives an object', () => ({})],
    ])('a function %s costs the cache, not the answer', async (_, normalise) => {
      const route: CallOptions = { normaliseVary: { 'x-own': normalise as (value: string) => string } }
      for (const more of [{}, { vary: 'X-Own' }]) {
        const served = await oneRoute(stack, varying('X-Own'), { ...route, ...more })
        for (const [at, value] of ['a', 'b', 'a', 'c'].entries()) {
          const answer = await served.get('/', { 'x-own': value })
          expect([answer.status, answer.text.replace(/^run \d/, '')]).toEqual([200, `: ${value}`])
          if (at === 0) expect(answer.text).toBe(`run 1: ${value}`)
        }
      }
    })

    it('a function that throws is told of', async () => {
      const normalise = () => {
        throw new Error('thrown by an option')
      }
      const served = await oneRoute(stack, varying('X-Own'), { normaliseVary: { 'x-own': normalise } })
      for (const _ of [1, 2]) await served.get('/', { 'x-own': 'a' })
      expect(warnings(served)).toContain('TAGCACHE_OPTION_FAILED')
    })

    it('a function that throws for some values keeps no other from the cache', async () => {
      const normalise = (value: string) => {
        if (value === 'bad') throw new Error('thrown by an option')
        return value
      }
      const served = await oneRoute(stack, varying('X-Own'), { normaliseVary: { 'x-own': normalise } })
      for (const value of ['a', 'bad', 'a', 'bad']) {
        const answer = await served.get('/', { 'x-own': value })
        expect([answer.status, answer.text.slice(5)]).toEqual([200, `: ${value}`])
      }
      expect((await served.get('/', { 'x-own': 'a' })).text).toBe('run 1: a')
    })
  })

  describe('Accept-Encoding, with a layer below that encodes', () => {
    const below = (route: CallOptions = {}) => {
      const handler = counting(() => ({ headers: { 'Content-Type': 'text/plain' }, body: TEXT }))
      return site(stack, { time: new ManualTime() }, (app, { cached }) => {
        app.on('GET', '/', cached(route), encoding(stack), handler)
      }).then((served) => ({ ...served, handler }))
    }

    /** Asks with these values (undefined is no field), and tells the coding and whether the handler ran. */
    const askAll = async ({ get, handler }: Awaited<ReturnType<typeof below>>, values: (string | undefined)[]) => {
      const seen: [coding: string, ran: boolean][] = []
      for (const value of values) {
        const before = handler.runs()
        const answer = await get('/', value === undefined ? {} : { 'accept-encoding': value })
        expect(DECODERS[codingOf(answer)]!(answer.body).toString() === TEXT).toBe(true)
        seen.push([codingOf(answer), handler.runs() > before])
      }
      return seen
    }

    it('two browsers share one run, and curl has another', async () => {
      const served = await below()
      const [chrome, other, curl] = ['gzip, deflate, br', 'br, gzip', undefined]
      expect(await askAll(served, [chrome, other, curl])).toEqual([
        ['br', true],
        ['br', false],
        ['identity', true],
      ])
      expect(await askAll(served, [curl, other, chrome, 'deflate,gzip,br', 'BR , GZIP', 'br'])).toEqual([
        ['identity', false],
        ['br', false],
        ['br', false],
        ['br', false],
        ['br', false],
        ['br', false],
      ])
      expect(served.cache.stats().entries).toBe(2)
    })

    it('who wants what was not chosen has a run of his own', async () => {
      const served = await below()
      expect(await askAll(served, ['gzip, deflate, br', 'gzip', 'gzip, deflate', 'identity', 'gzip'])).toEqual([
        ['br', true],
        ['gzip', true],
        ['gzip', true],
        ['identity', true],
        ['gzip', false],
      ])
    })

    it('what is refused is not chosen', async () => {
      const served = await below()
      const seen = await askAll(served, ['gzip, br', 'gzip, br;q=0', 'br;q=0', '*', 'gzip;q=0.5, br'])
      expect(seen.map(([, ran]) => ran)).toEqual([true, true, true, true, true])
      expect(seen.slice(0, 3).map(([coding]) => coding)).toEqual(['br', 'gzip', 'identity'])
    })

    it('normaliseVary: false compares as sent', async () => {
      const served = await below({ normaliseVary: { 'accept-encoding': false } })
      const seen = await askAll(served, ['gzip, br', 'gzip,br', 'br, gzip', 'gzip, br'])
      expect(seen.map(([, ran]) => ran)).toEqual([true, true, true, false])
    })

    const weight = fc.constantFrom('', '', '', ';q=1', ';q=0', ';q=0.5', '; q=0.001')
    const coding = fc.constantFrom('gzip', 'br', 'deflate', 'identity', 'zstd', '*', 'x-gzip', 'GZIP', 'unknown')
    // Who refuses everything is answered with an error by some.
    const member = fc
      .tuple(coding, weight)
      .map(([name, q]) => name + q)
      .filter((text) => !/^(\*|identity);q=0$/.test(text))
    const field = fc.option(
      fc
        .uniqueArray(member, { maxLength: 4, selector: (text) => text.split(';', 1)[0]!.toLowerCase() })
        .map((all) => all.join(', ')),
      { nil: undefined },
    )

    it('nobody ever gets a coding that he did not accept', async () => {
      const served = await below()
      await fc.assert(
        fc.asyncProperty(fc.array(field, { minLength: 1, maxLength: 6 }), async (values) => {
          await served.cache.clear()
          const seen = await askAll(served, values)
          for (const [at, [coding]] of seen.entries()) {
            expect(accepts(values[at], coding), `${coding} for ${values[at]} after ${values.slice(0, at)}`).toBe(true)
          }
        }),
        { numRuns: 50 },
      )
    })

    // A handler may look at more than Accept-Encoding to choose a coding.
    it('nobody does where the choice depends on another field too', async () => {
      const preferred: Record<string, string[]> = { new: ['br', 'gzip'], old: ['gzip', 'br'], bare: [] }
      const handler: Handler = ({ req }) => {
        const value = req.headers['accept-encoding'] as string | undefined
        const chosen = preferred[req.headers['x-device'] as string]!.find((name) => accepts(value, name))
        return {
          headers: { Vary: 'Accept-Encoding, X-Device', ...(chosen ? { 'Content-Encoding': chosen } : {}) },
          body: chosen ?? 'identity',
        }
      }
      const { get, cache } = await oneRoute(stack, handler)
      const visitor = fc.record({ device: fc.constantFrom('new', 'old', 'bare'), value: field })
      await fc.assert(
        fc.asyncProperty(fc.array(visitor, { minLength: 1, maxLength: 6 }), async (visitors) => {
          await cache.clear()
          for (const { device, value } of visitors) {
            const headers = { 'x-device': device, ...(value === undefined ? {} : { 'accept-encoding': value }) }
            const answer = await get('/', headers)
            expect(answer.text).toBe(codingOf(answer))
            expect(accepts(value, codingOf(answer)), `${codingOf(answer)} for ${value}`).toBe(true)
          }
        }),
        {
          numRuns: 100,
          examples: [
            [
              [
                { device: 'old', value: 'br, gzip' },
                { device: 'new', value: 'br, gzip' },
                { device: 'old', value: 'br' },
              ],
            ],
          ],
        },
      )
    })
  })

  describe('Accept-Language', () => {
    const KNOWN = ['en', 'de', 'fr']

    /** Answers in the first language of the field that it knows, or in English. */
    const translating = () =>
      counting((text, { req }) => {
        const asked = String(req.headers['accept-language'] ?? '').toLowerCase()
        const language = asked.split(/[,;\s]+/).find((one) => KNOWN.includes(one)) ?? 'en'
        return { headers: { Vary: 'Accept-Language', 'Content-Language': language }, body: `${text} in ${language}` }
      })

    const ask = async ({ get }: Pick<Site, 'get'>, ...values: string[]) => {
      const texts: string[] = []
      for (const value of values) texts.push((await get('/', { 'accept-language': value })).text)
      return texts
    }

    it("'languages': a stored language that is the first choice answers", async () => {
      const served = await oneRoute(stack, translating(), { normaliseVary: { 'accept-language': 'languages' } })
      expect(await ask(served, 'de, en;q=0.5', 'de', 'DE;q=0.9, fr;q=0.5', 'en;q=0.1, de')).toEqual(
        Array.from({ length: 4 }, () => 'run 1 in de'),
      )
      expect(await ask(served, 'fr', 'fr, de;q=0.5', 'de')).toEqual(['run 2 in fr', 'run 2 in fr', 'run 1 in de'])
    })

    it("'languages': what was given in default of another answers those alone", async () => {
      const served = await oneRoute(stack, translating(), { normaliseVary: { 'accept-language': 'languages' } })
      expect(await ask(served, 'it', 'en', 'it', 'es')).toEqual([
        'run 1 in en',
        'run 1 in en',
        'run 1 in en',
        'run 2 in en',
      ])
      expect(await ask(served, 'de', 'it')).toEqual(['run 3 in de', 'run 1 in en'])
    })

    it.each(['de-AT', '*', 'de;q=0', 'en, de;q=0.5'])("'languages': %s is no first choice of de", async (value) => {
      const served = await oneRoute(stack, translating(), { normaliseVary: { 'accept-language': 'languages' } })
      await ask(served, 'de')
      expect((await ask(served, value))[0]).toMatch(/^run 2/)
    })

    it("'languages': nobody gets a language in the place of a first choice that he would have got", async () => {
      const served = await oneRoute(stack, translating(), { normaliseVary: { 'accept-language': 'languages' } })
      const tag = fc.constantFrom('en', 'de', 'fr', 'it', 'EN', 'de-AT')
      // In falling weight, so that order and weight say the same.
      const field = fc
        .uniqueArray(tag, { minLength: 1, maxLength: 3, selector: (one) => one.toLowerCase() })
        .map((tags) => tags.map((one, at) => `${one};q=${1 - at / 10}`).join(', '))
      await fc.assert(
        fc.asyncProperty(fc.array(field, { minLength: 1, maxLength: 6 }), async (values) => {
          await served.cache.clear()
          for (const value of values) {
            const [first] = value.toLowerCase().split(';')
            const [text] = await ask(served, value)
            if (KNOWN.includes(first!)) expect(text).toMatch(new RegExp(` in ${first}$`))
          }
        }),
        { numRuns: 50 },
      )
    })

    it("'languages': nor where the choice depends on another field too", async () => {
      const handler: Handler = ({ req }) => {
        const asked = String(req.headers['accept-language']).split(', ')
        const language = req.headers['x-device'] === 'old' ? asked.at(-1)! : asked[0]!
        return { headers: { Vary: 'Accept-Language, X-Device', 'Content-Language': language }, body: language }
      }
      const { get } = await oneRoute(stack, handler, { normaliseVary: { 'accept-language': 'languages' } })
      const speak = async (device: string, value: string) =>
        (await get('/', { 'x-device': device, 'accept-language': value })).text
      expect(await speak('old', 'de, en')).toBe('en')
      expect(await speak('new', 'de, en')).toBe('de')
      expect(await speak('old', 'de')).toBe('de')
    })

    it('without it a stored language is nothing to go by', async () => {
      const served = await oneRoute(stack, translating())
      expect(await ask(served, 'de, en;q=0.5', 'de', 'de,en;q=0.5')).toEqual([
        'run 1 in de',
        'run 2 in de',
        'run 3 in de',
      ])
    })
  })

  describe('No-Vary-Search', () => {
    const SEARCH = 'params=("from")'

    const searching = (field: string | ((path: string) => string | undefined), more: Record<string, string> = {}) =>
      counting((text, { req }) => {
        const stated = typeof field === 'string' ? field : field(req.url!)
        return { headers: { ...more, ...(stated === undefined ? {} : { 'No-Vary-Search': stated }) }, body: text }
      })

    const textsOf = async ({ get }: Pick<Site, 'get'>, paths: readonly string[], headers: Asked = {}) => {
      const texts: string[] = []
      for (const path of paths) texts.push((await get(path, headers)).text.slice(4))
      return texts.join(' ')
    }

    it('is learned from the first response, and counts from the next request on', async () => {
      const served = await oneRoute(stack, searching(SEARCH))
      expect(await textsOf(served, ['/?id=1&from=mail', '/?id=1&from=feed', '/?id=1', '/?from=x&id=1'])).toBe('1 1 1 1')
      expect(await textsOf(served, ['/?id=2&from=mail', '/?id=2', '/?id=1'])).toBe('2 2 1')
      expect((await served.get('/?id=2&from=any')).headers['no-vary-search']).toBe(SEARCH)
      expect(served.cache.stats().entries).toBe(2)
    })

    it.each<[field: string, shared: string[], own: string[]]>([
      ['params', ['/?a=1', '/?b=2', '/', '/?a=1&a=2'], []],
      ['params=("a" "b")', ['/?a=1', '/?b=2', '/', '/?a=2&b=3&a=1'], ['/?c=1']],
      ['params, except=("id")', ['/?id=1', '/?id=1&a=2', '/?b=1&id=1'], ['/?id=2', '/', '/?id=1&id=1']],
      ['except=("id")', ['/?id=1', '/?id=1&a=2'], ['/?id=2', '/']],
      ['key-order, params=("a")', ['/?b=1&c=2', '/?c=2&b=1&a=1'], ['/?b=2']],
      ['params=("a+b" "%C3%A9")', ['/?a+b=1', '/?a%20b=2', '/?%C3%A9=2', '/'], ['/?ab=1']],
    ])('%s', async (field, shared, own) => {
      const served = await oneRoute(stack, searching(field))
      expect(await textsOf(served, shared)).toBe(shared.map(() => '1').join(' '))
      expect(await textsOf(served, own)).toBe(own.map((_, at) => String(at + 2)).join(' '))
    })

    it.each(['params=a', 'params=?0', 'params=("a" b)', 'except=("a"', '"a"', 'params=(a)', ''])(
      'that is malformed, or says nothing, counts for nothing: %s',
      async (field) => {
        const served = await oneRoute(stack, searching(field))
        expect(await textsOf(served, ['/?a=1', '/?a=2', '/', '/?a=1'])).toBe('1 2 3 1')
      },
    )

    it('a response without it is not served for a query that it does not allow', async () => {
      const states = (path: string) => (path.includes('id=2') ? SEARCH : undefined)
      const served = await oneRoute(stack, searching(states))
      expect(await textsOf(served, ['/?id=1'])).toBe('1')
      expect(await textsOf(served, ['/?id=2&from=mail', '/?id=2&from=feed'])).toBe('2 2')
      expect(await textsOf(served, ['/?id=1&from=mail', '/?id=1&from=feed', '/?id=1&from=mail', '/?id=1'])).toBe(
        '3 4 3 1',
      )
    })

    it('where responses disagree the whole query counts', async () => {
      const states = (path: string) => (path.includes('id=2') ? 'params=("from" "to")' : SEARCH)
      const served = await oneRoute(stack, searching(states))
      expect(await textsOf(served, ['/?id=1&from=a', '/?id=1&from=b', '/?id=2&from=a'])).toBe('1 1 2')
      const again = await textsOf(served, ['/?id=1&to=a', '/?id=1&to=b', '/?id=2&from=a&to=a', '/?id=2&from=a'])
      expect(new Set(again.split(' ')).size).toBe(4)
    })

    it('of one route says nothing of another', async () => {
      const served = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        app.on('GET', '/one', cached(), searching(SEARCH))
        app.on(
          'GET',
          '/two',
          cached(),
          searching(() => undefined),
        )
      })
      await served.get('/one?from=a')
      expect(await textsOf(served, ['/one?from=b', '/two?from=a', '/two?from=b'])).toBe('1 1 2')
    })

    it('counts together with Vary', async () => {
      const served = await oneRoute(stack, searching(SEARCH, { Vary: 'X-Own' }))
      const paths = ['/?id=1&from=a', '/?id=1&from=b']
      expect(await textsOf(served, paths, { 'x-own': 'a' })).toBe('1 1')
      expect(await textsOf(served, paths, { 'x-own': 'b' })).toBe('2 2')
      expect(await textsOf(served, paths, { 'x-own': 'a' })).toBe('1 1')
      expect(served.cache.stats().entries).toBe(2)
    })

    it('counts together with `query`', async () => {
      const served = await oneRoute(stack, searching(SEARCH), { query: { ignore: ['utm_*'] } })
      expect(await textsOf(served, ['/?id=1&from=a&utm_a=1', '/?id=1&from=b&utm_b=1', '/?id=1', '/?id=2'])).toBe(
        '1 1 1 2',
      )
    })

    it('counts together with tags, clear() and the purge of a URI', async () => {
      const served = await site(stack, { time: new ManualTime() }, (app, { cached, invalidates }) => {
        app.on('GET', '/', cached({ tags: 'page' }), searching(SEARCH))
        app.on('PUT', '/', invalidates('other'), () => 'done')
      })
      const paths = ['/?id=1&from=a', '/?id=1&from=b']
      expect(await textsOf(served, paths)).toBe('1 1')
      await served.cache.invalidateTags('page')
      expect(await textsOf(served, paths)).toBe('2 2')
      await served.cache.clear()
      expect(await textsOf(served, paths)).toBe('3 3')
      await served.send('PUT', '/?id=1&from=b')
      expect(await textsOf(served, paths)).toBe('4 4')
      await served.send('PUT', '/?id=1')
      expect(await textsOf(served, paths)).toBe('5 5')
    })

    it('is waited for by those whom it makes equal', async () => {
      const held = gate()
      const handler = counting(async (text) => {
        if (text !== 'run 1') await held.opened
        return { headers: { 'No-Vary-Search': SEARCH }, body: text }
      })
      const time = new ManualTime()
      const { get } = await oneRoute(stack, handler, {}, { time })
      await get('/?id=1&from=a')
      const answers = ['a', 'b', 'c'].map((from) => get(`/?id=2&from=${from}`))
      await until(() => time.pending === 2)
      held.open()
      expect((await Promise.all(answers)).map(({ text }) => text)).toEqual(['run 2', 'run 2', 'run 2'])
    })

    it('does not give those who wait an answer that does not allow it', async () => {
      const held = gate()
      const handler = counting(async (text, { req }) => {
        if (text === 'run 1') return { headers: { 'No-Vary-Search': SEARCH }, body: text }
        await held.opened
        return `${text} for ${req.url}`
      })
      const time = new ManualTime()
      const { get } = await oneRoute(stack, handler, {}, { time })
      await get('/?id=1&from=a')
      const answers = ['a', 'b', 'c'].map((from) => get(`/?id=2&from=${from}`))
      await until(() => time.pending === 2)
      held.open()
      const texts = (await Promise.all(answers)).map(({ text }) => text.replace(/^run \d /, ''))
      expect(texts).toEqual(['a', 'b', 'c'].map((from) => `for /?id=2&from=${from}`))
    })

    it('changed by a 304: the new field counts for what is stored', async () => {
      const time = new ManualTime()
      const handler = counting((text, { req }) =>
        req.headers['if-none-match'] === '"v1"'
          ? { status: 304, headers: { ETag: '"v1"', 'No-Vary-Search': 'params=("other")' } }
          : { headers: { ETag: '"v1"', 'No-Vary-Search': SEARCH }, body: text },
      )
      const { get } = await oneRoute(stack, handler, { ttl: 10 }, { time })
      await get('/?id=1&from=a')
      time.move(11_000)
      expect((await get('/?id=1&from=b')).headers['no-vary-search']).toBe('params=("other")')
      expect((await get('/?id=1&from=c')).cacheStatus).not.toMatch(/hit/)
    })
  })
}
