import querystring from 'node:querystring'
import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import qs from 'qs'
import { describe, expect, it } from 'vitest'
import { decodeKey, encodeKey, type KeyParts, normaliseQuery, spellPath } from '../../src/core/key.ts'
import { TagcacheError } from '../../src/errors.ts'
import { resolveCache } from '../../src/options/cache.ts'
import { resolveRoute, type Selection } from '../../src/options/route.ts'
import { admit } from '../../src/visit.ts'

/** For searching longer than a test run may take. */
const THOROUGHNESS = Number(process.env.TAGCACHE_THOROUGHNESS ?? 1)

const hostileText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc
    .array(
      fc.constantFrom(
        ...[
          '\ud800',
          '\udc00',
          '\u0000',
          '\n',
          '%',
          '%41',
          '%u0041',
          '%2',
          '&',
          '=',
          '#',
          '?',
          '|',
          ':',
          '~',
          '[]',
          '+',
        ],
        ...['id', 'a', 'é', '😀', '/', '*', '.'],
      ),
      { maxLength: 5 },
    )
    .map((pieces) => pieces.join('')),
  fc.constantFrom('', '__proto__', 'constructor', 'toString', 'id', 'method', 'host', 'scope', 'path', 'custom'),
)

const route = fc.oneof(hostileText, fc.constantFrom('GET /products/:id', 'GET /files/*path', 'GET /:a/:id', 'GET /'))

const params = fc
  .uniqueArray(fc.tuple(hostileText, fc.oneof(hostileText, fc.array(hostileText, { maxLength: 3 }))), {
    selector: ([name]) => name,
    maxLength: 4,
  })
  .map((pairs) => pairs.sort(([a], [b]) => (a < b ? -1 : 1)))

const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined })

const keyParts: fc.Arbitrary<KeyParts> = fc
  .record({
    namespace: optional(fc.stringMatching(/^[\w.-]{1,6}$/)),
    route,
    params,
    query: hostileText.map(normaliseQuery),
    method: optional(hostileText),
    host: optional(hostileText),
    original: optional(hostileText),
    path: optional(hostileText),
    custom: optional(hostileText),
    scope: optional(hostileText),
    vary: fc.array(fc.tuple(hostileText, optional(hostileText)), { maxLength: 3 }),
  })
  .map((parts) => Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) as never)

describe('a key', () => {
  it('gives its parts back, whatever is in them', () => {
    fc.assert(
      fc.property(keyParts, (parts) => {
        expect(decodeKey(encodeKey(parts))).toEqual(parts)
      }),
      { numRuns: 1500 * THOROUGHNESS },
    )
  })

  it('is never that of other parts', () => {
    fc.assert(
      fc.property(keyParts, keyParts, (one, other) => {
        expect(encodeKey(one) === encodeKey(other)).toBe(isDeepStrictEqual(one, other))
      }),
      { numRuns: 1000 },
    )
  })

  it('tells a parameter from a query part of the same name', () => {
    const base = { route: 'GET /products/:id', vary: [] }
    const keys = [
      encodeKey({ ...base, params: [['id', '1']], query: [] }),
      encodeKey({ ...base, params: [], query: ['id=1'] }),
      encodeKey({ ...base, params: [['id', ['1']]], query: [] }),
      encodeKey({ ...base, params: [['other', '1']], query: [] }),
      encodeKey({ ...base, params: [], query: ['other=1'] }),
      encodeKey({ ...base, params: [['id', []]], query: [] }),
      encodeKey({ ...base, params: [['id', '']], query: [] }),
    ]
    expect(new Set(keys).size).toBe(keys.length)
  })

  it('reads as a person would write it', () => {
    const parts = { params: [['id', '42']], query: ['page=2'], host: 'example.com', vary: [] } as const
    expect(encodeKey({ ...parts, route: 'GET /products/:id' })).toBe('GET /products/:id?id=42&page=2#host=example.com')
  })

  it('does not depend on the order in which parameters are given', () => {
    const base = { route: 'GET /:a/:b', query: [], vary: [] }
    const a = ['a', '1'] as const
    const b = ['b', '2'] as const
    expect(encodeKey({ ...base, params: [a, b] })).toBe(encodeKey({ ...base, params: [b, a] }))
  })

  it('is read or refused with a code, whatever text it is', () => {
    fc.assert(
      fc.property(fc.oneof(hostileText, fc.string({ unit: 'binary', maxLength: 40 })), (text) => {
        try {
          decodeKey(text)
        } catch (error) {
          expect(error).toBeInstanceOf(TagcacheError)
          expect((error as TagcacheError).code).toBe('ERR_TAGCACHE_KEY')
        }
      }),
      { numRuns: 2000 },
    )
  })

  it.each(['GET /%', 'GET /?:a=%ff', 'GET /#nonsense=1', 'GET /#scope=a&scope=b', 'a|b|c'])(
    'is refused where nothing could have written it: %s',
    (text) => {
      expect(() => decodeKey(text)).toThrow(expect.objectContaining({ code: 'ERR_TAGCACHE_KEY' }))
    },
  )
})

describe('the normal form of a query', () => {
  it.each([
    ['%41=%42', 'A=B', 'escapes of letters'],
    ['a+b=c+d', 'a%20b=c%20d', 'plus and %20'],
    ['a=%2f', 'a=%2F', 'the case of escapes'],
    ['b=2&a=1', 'a=1&b=2', 'the order of names'],
    ['&a=1&&b=2&', 'a=1&b=2', 'empty parts'],
  ])('is the same for %s and %s: %s', (one, other) => {
    expect(normaliseQuery(one)).toEqual(normaliseQuery(other))
  })

  it.each([
    ['a', 'a=', 'a value that is absent, and one that is empty'],
    ['a=1&a=2', 'a=2&a=1', 'the order of one name'],
    ['a[]=1&a=2', 'a=2&a[]=1', 'the order of what is merged'],
    ['a=%26b', 'a=&b', 'an escaped separator'],
    ['a=%3D', 'a==', 'an escaped equals sign'],
    ['a=%2B', 'a=+', 'a plus and a space'],
    ['a=%23', 'a=#', 'an escaped number sign'],
    ['a=%', 'a=%25', 'a broken escape'],
    ['a=%%', 'a=%', 'two broken escapes'],
  ])('differs for %s and %s: %s', (one, other) => {
    expect(normaliseQuery(one)).not.toEqual(normaliseQuery(other))
  })

  it('takes hostile queries without complaint', () => {
    const many = Array.from({ length: 5000 }, (_, at) => `%5B${at}%`).join('&')
    for (const query of ['%'.repeat(100_000), '&'.repeat(100_000), '[]='.repeat(30_000), many, '__proto__[a]=1']) {
      expect(normaliseQuery(query)).toBeInstanceOf(Array)
    }
  })
})

const token = fc.constantFrom(
  ...['[', ']', '.', '=', '&', '%', '+', '#', ','],
  ...['5B', '5D', '41', '2B', 'a', 'b', '0', 'A'],
  ...['%5B', '%5d', '%41', '%2B', '%20', '%3D', '%26', '%25', '%ff', '%FF', '%C3%A9', '[]', ']=', '__proto__'],
)
const query = fc.array(token, { maxLength: 12 }).map((tokens) => tokens.join(''))

/** Writes a query another way, most often one that means the same. */
const rewriting = fc.record({
  order: fc.array(fc.nat(), { minLength: 6, maxLength: 6 }),
  respell: fc.array(fc.nat(9), { minLength: 12, maxLength: 12 }),
})

function rewrite(query: string, { order, respell }: { order: number[]; respell: number[] }): string {
  const ordered = query
    .split('&')
    .map((part, at) => [order[at % order.length]!, part] as const)
    .sort(([a], [b]) => a - b)
    .map(([, part]) => part)
    .join('&')
  let at = 0
  return ordered.replace(/%[0-9a-f]{2}|[a-zA-Z0.+]/gi, (match) => {
    const choice = respell[at++ % respell.length]!
    if (choice > 4) return match
    if (match === '+') return '%20'
    if (match === '%20') return '+'
    if (match.length === 1) return `%${match.charCodeAt(0).toString(16)}`
    return choice > 2 ? match.toLowerCase() : match.toUpperCase()
  })
}

type Parse = (query: string) => unknown
const extended: Parse = (text) => qs.parse(text, { allowPrototypes: true })
const simple: Parse = (text) => ({ ...querystring.parse(text) })

const searchParams: Parse = (text) => {
  const params = new URLSearchParams(text)
  return Object.fromEntries([...params.keys()].map((name) => [name, params.getAll(name)]))
}

/** The first two queries of one normal form that a parser tells apart. */
function confused(queries: readonly string[], parse: Parse): string[] | undefined {
  const seen = new Map<string, { query: string; parsed: unknown }>()
  for (const query of queries) {
    const normal = JSON.stringify(normaliseQuery(query))
    const first = seen.get(normal)
    const parsed = parse(query)
    if (!first) seen.set(normal, { query, parsed })
    else if (!isDeepStrictEqual(first.parsed, parsed)) return [first.query, query]
  }
  return undefined
}

describe.each([
  ["Express's extended parser", extended],
  ["Express's simple parser, which is Koa's too", simple],
  ['URLSearchParams', searchParams],
] as [string, Parse][])('queries of one normal form are one to %s', (_, parse) => {
  it('written in two ways', () => {
    fc.assert(
      fc.property(query, rewriting, (query, how) => {
        expect(confused([query, rewrite(query, how)], parse)).toBeUndefined()
      }),
      { numRuns: 4000 * THOROUGHNESS },
    )
  })

  it('all short ones', () => {
    const alphabet = ['[', ']', '=', '&', '%', '+', '5B', '41', 'a', '%5D', '%3D', '%ff']
    let texts = ['']
    const all: string[] = []
    for (let length = 1; length <= 4; length++) {
      texts = texts.flatMap((text) => alphabet.map((piece) => text + piece))
      all.push(...texts)
    }
    expect(confused(all, parse)).toBeUndefined()
  })

  it('all that are made of three awkward parts', () => {
    const parts = ['a', 'a=1', 'a=2', '%61=1', 'a[]=1', 'a%5B%5D=1', 'a[b]=1', 'a.b=1', '[a]=1', 'a]=1', 'a[=1', 'b=1']
    parts.push(
      'a=b',
      'a=b[]=1',
      'a=b]=1',
      'a%3Db=1',
      'a%3Db=2',
      'a=b%5Bc%5D=1',
      'a%3Db[c]=1',
      '=1',
      '%ff=1',
      'a[%ff]=1',
    )
    const all = parts.flatMap((one) => parts.flatMap((two) => parts.map((three) => `${one}&${two}&${three}`)))
    expect(confused(all, parse)).toBeUndefined()
  })

  it('that are longer than parsers read', () => {
    const parts = (count: number, text: string) => Array.from({ length: count }, () => text)
    for (const filler of ['', 'x', 'x=1']) {
      const ends = [0, 1, 2, 999, 1000, 1001]
      const queries = ends.flatMap((count) => [
        [...parts(count, filler), 'a=1'].join('&'),
        ['a=1', ...parts(count, filler)].join('&'),
      ])
      expect(confused(queries, parse)?.map((query) => `${query.length} ${query.slice(-9)}`)).toBeUndefined()
    }
  })
})

describe('a selection from the query', () => {
  const visitOf = (query: string, selection: Selection) => {
    const base = resolveCache({}, 1000).route
    return {
      method: 'GET',
      headers: {},
      target: { pattern: '/', mount: '', path: '/', params: {}, query, host: '' },
      route: resolveRoute({ query: selection }, base),
      call: () => undefined,
      canRefresh: () => false,
    }
  }
  const keyOf = (query: string, selection: Selection) => {
    const admission = admit(visitOf(query, selection), undefined, () => {})
    return admission.admitted ? encodeKey(admission.parts) : undefined
  }
  const chosen = (parse: Parse, query: string) => (parse(query) as Record<string, unknown>).a

  it.each([
    ['extended', extended],
    ['simple', simple],
  ] as const)('covers all that a handler finds under the listed name: %s parser', (_, parse) => {
    fc.assert(
      fc.property(query, rewriting, fc.array(query, { maxLength: 2 }), (query, how, others) => {
        const rewritten = [rewrite(query, how), ...others].join('&')
        const key = keyOf(query, ['a'])
        fc.pre(key !== undefined && key === keyOf(rewritten, ['a']))
        expect(chosen(parse, rewritten)).toEqual(chosen(parse, query))
      }),
      { numRuns: 2000 * THOROUGHNESS },
    )
  })

  it.each(['[a]=2', '%5Ba%5D=2', 'a%5B%ff%5D=2', 'a[%ff]=2', 'a[b]=2', 'a%5Bb%5D=2', '%61=2', 'a.b=2&a=2'])(
    'is not evaded by spelling the name as %s',
    (query) => {
      expect(chosen(extended, query), 'the parser reads it as the listed name').toBeDefined()
      expect(keyOf(query, ['a'])).not.toBe(keyOf('', ['a']))
      expect(keyOf(`b=1&${query}`, { ignore: ['b'] })).not.toBe(keyOf('b=1', { ignore: ['b'] }))
    },
  )

  it('is not evaded by a query that is longer than parsers read', () => {
    const long = `${'x&'.repeat(1000)}a=1`
    expect(chosen(extended, long)).toBeUndefined()
    expect(keyOf(long, ['a'])).not.toBe(keyOf('a=1', ['a']))
    expect(keyOf(long, { ignore: ['x'] })).not.toBe(keyOf('a=1', { ignore: ['x'] }))
  })

  it('leaves out what is not listed', () => {
    expect(keyOf('a=1&b=2&utm_source=x', ['a'])).toBe(keyOf('a=1', true))
    expect(keyOf('a=1&utm_source=x&utm_id=y', { ignore: ['utm_*'] })).toBe(keyOf('a=1', true))
    expect(keyOf('a=1', false)).toBe(keyOf('', true))
  })
})

describe('a path spelt from pattern and parameters', () => {
  it.each([
    ['/products/:id', [['id', '42']], '/products/42'],
    ['/files/*path', [['path', ['a', 'b c']]], '/files/a/b%20c'],
    ['/:a/:b', [['a', '1']], '/1/:b'],
    ['/a', [], '/a'],
  ] as const)('%s with %j', (pattern, params, path) => {
    expect(spellPath(pattern, params)).toBe(path)
  })
})
