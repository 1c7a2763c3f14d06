import fc from 'fast-check'
import { describe, expect, it, vi } from 'vitest'
import {
  type ByteRange,
  boundaryFor,
  contentRange,
  judgeRange,
  multipartBody,
  parseContentRange,
  unsatisfiedRange,
} from '../../src/http/ranges.ts'

const NOW = Date.UTC(2026, 0, 1)
const WHOLE = 'whole'
const NONE = 'unsatisfiable'

function judge(range: string | string[] | undefined, size = 100): string | number[][] {
  const finding = judgeRange(range === undefined ? {} : { range }, {}, size, NOW)
  return finding.kind === 'parts' ? finding.parts.map(({ start, end }) => [start, end]) : finding.kind
}

describe('Range', () => {
  it.each<[clause: string, range: string, found: string | number[][]]>([
    ['14.1.2: the first bytes', 'bytes=0-9', [[0, 9]]],
    ['14.1.2: bytes in the midst', 'bytes=10-19', [[10, 19]]],
    ['14.1.2: one byte', 'bytes=0-0', [[0, 0]]],
    ['14.1.2: from one byte on', 'bytes=95-', [[95, 99]]],
    ['14.1.2: all of it', 'bytes=0-', [[0, 99]]],
    ['14.1.2: the last bytes', 'bytes=-5', [[95, 99]]],
    ['14.1.2: a suffix as long as the whole', 'bytes=-100', [[0, 99]]],
    ['14.1.2: a suffix longer than the whole is the whole', 'bytes=-101', [[0, 99]]],
    ['14.1.2: an end beyond the end', 'bytes=90-100', [[90, 99]]],
    ['14.1.2: leading zeros', 'bytes=007-009', [[7, 9]]],
    ['14.1.2: an end beyond all numbers', `bytes=90-${'9'.repeat(400)}`, [[90, 99]]],
    ['14.1.2: a suffix beyond all numbers', `bytes=-${'9'.repeat(400)}`, [[0, 99]]],
    ['14.1.2: a start at the end', 'bytes=100-', NONE],
    ['14.1.2: a start beyond all numbers', `bytes=${'9'.repeat(400)}-`, NONE],
    ['14.1.2: a suffix of nothing', 'bytes=-0', NONE],
    ['14.1.2: none of several', 'bytes=100-,-0,200-300', NONE],
    ['14.1.2: one of several', 'bytes=100-,-5', [[95, 99]]],
    ['14.1: the unit in any case', 'BYTES=0-9', [[0, 9]]],
    ['5.6.1: empty members', 'bytes=,0-9, ,', [[0, 9]]],
    [
      '5.6.1: blanks around commas',
      'bytes=0-9 \t, \t20-29',
      [
        [0, 9],
        [20, 29],
      ],
    ],
    [
      '15.3.7.2: several parts',
      'bytes=0-9,20-29',
      [
        [0, 9],
        [20, 29],
      ],
    ],
    [
      '15.3.7.2: ascending, whatever was asked',
      'bytes=-5,20-29,0-9',
      [
        [0, 9],
        [20, 29],
        [95, 99],
      ],
    ],
    ['15.3.7.2: what overlaps is one part', 'bytes=0-19,10-29', [[0, 29]]],
    ['15.3.7.2: what touches is one part', 'bytes=10-19,0-9', [[0, 19]]],
    [
      '15.3.7.2: a gap of one byte parts',
      'bytes=0-9,11-19',
      [
        [0, 9],
        [11, 19],
      ],
    ],
    ['15.3.7.2: what together is the whole', 'bytes=0-49,50-99', [[0, 99]]],
    ['14.2: more than the whole together', 'bytes=0-,0-0', WHOLE],
    ['14.2: more than the whole together, cut at the end', 'bytes=0-49,50-200,-1', WHOLE],
    ['14.2: another unit', 'lines=0-9', WHOLE],
    ['14.2: a unit that only begins so', 'bytesx=0-9', WHOLE],
    ['14.1.1: an end before the start', 'bytes=9-0', WHOLE],
    ['14.1.1: an end before the start among others', 'bytes=0-0,9-8', WHOLE],
    ['14.1.1: an end before the start beyond the end', 'bytes=300-200', WHOLE],
    ['14.1.1: nothing', 'bytes=', WHOLE],
    ['14.1.1: empty members alone', 'bytes=, ,', WHOLE],
    ['14.1.1: no unit', '0-9', WHOLE],
    ['14.1.1: no equals sign', 'bytes 0-9', WHOLE],
    ['14.1.1: a dash alone', 'bytes=-', WHOLE],
    ['14.1.1: no dash', 'bytes=5', WHOLE],
    ['14.1.1: two dashes', 'bytes=1-2-3', WHOLE],
    ['14.1.1: a negative number', 'bytes=--5', WHOLE],
    ['14.1.1: blanks within', 'bytes=0 - 9', WHOLE],
    ['14.1.1: blanks before the equals sign', 'bytes =0-9', WHOLE],
    ['14.1.1: decimals', 'bytes=0.5-9', WHOLE],
    ['14.1.1: an exponent', 'bytes=0-1e1', WHOLE],
    ['14.1.1: other digits', 'bytes=٠-٩', WHOLE],
    ['14.1.1: letters among others', 'bytes=0-1,x', WHOLE],
    ['14.1.1: the empty text', '', WHOLE],
  ])('RFC 9110, %s: %s', (_, range, found) => {
    expect(judge(range)).toEqual(found)
  })

  it('absent is the whole', () => {
    expect(judge(undefined)).toBe(WHOLE)
  })

  it('of two lines is malformed (RFC 9110, 14.2)', () => {
    expect(judge(['bytes=0-9', 'bytes=20-29'])).toBe(WHOLE)
  })

  it('has at most 50 parts, counted when combined (RFC 9110, 17.15)', () => {
    const every = (step: number, count: number) =>
      `bytes=${Array.from({ length: count }, (_, at) => `${at * step}-${at * step}`)}`
    expect(judge(every(2, 50), 1000)).toHaveLength(50)
    expect(judge(every(2, 51), 1000)).toBe(WHOLE)
    expect(judge(every(1, 51), 1000)).toEqual([[0, 50]])
  })

  it.each(['bytes=0-', 'bytes=0-0', 'bytes=-1', 'bytes=-0', 'bytes=0-0,-1'])(
    'nothing of an empty representation (RFC 9110, 14.1.2): %s',
    (range) => {
      expect(judge(range, 0)).toBe(NONE)
    },
  )

  it('malformed is the whole of an empty representation too (RFC 9110, 14.1.1)', () => {
    expect([judge('bytes=1-0', 0), judge('lines=0-1', 0)]).toEqual([WHOLE, WHOLE])
  })

  it('finds the bytes that were asked for, apart and in order', () => {
    const ask = fc.oneof(
      fc
        .tuple(fc.nat(40), fc.nat(40))
        .map(([start, more]) => ({ text: `${start}-${start + more}`, start, end: start + more })),
      fc.nat(40).map((start) => ({ text: `${start}-`, start, end: Number.POSITIVE_INFINITY })),
      fc.nat(40).map((length) => ({ text: `-${length}`, length })),
    )
    fc.assert(
      fc.property(fc.array(ask, { minLength: 1, maxLength: 6 }), fc.nat(30), (asks, size) => {
        const wanted = asks.map((one) => {
          const start = 'length' in one ? Math.max(0, size - one.length) : one.start
          const end = 'length' in one ? size - 1 : Math.min(one.end, size - 1)
          return Array.from({ length: Math.max(0, end - start + 1) }, (_, at) => start + at)
        })
        const found = judge(`bytes=${asks.map(({ text }) => text)}`, size)
        const bytes = new Set(wanted.flat())
        if (bytes.size === 0) expect(found).toBe(NONE)
        else if (wanted.flat().length > size) expect(found).toBe(WHOLE)
        else {
          const parts = found as [number, number][]
          const given = parts.flatMap(([start, end]) => Array.from({ length: end - start + 1 }, (_, at) => start + at))
          expect(given).toEqual([...bytes].sort((a, b) => a - b))
          for (const [at, [start]] of parts.entries()) if (at > 0) expect(start).toBeGreaterThan(parts[at - 1]![1] + 1)
        }
      }),
    )
  })

  it('of any text is judged', () => {
    const text = fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^bytes=[-\d, ]{0,20}$/))
    fc.assert(
      fc.property(text, text, fc.nat(20), (range, ifRange, size) => {
        const finding = judgeRange({ range, 'if-range': ifRange }, { etag: ifRange }, size, NOW)
        const parts = finding.kind === 'parts' ? finding.parts : []
        expect(parts.every(({ start, end }) => 0 <= start && start <= end && end < size)).toBe(true)
      }),
    )
  })

  it('is judged in time that grows with its length alone', () => {
    for (const range of [
      `bytes=${'0-0,'.repeat(50_000)}`,
      `bytes=${','.repeat(50_000)}`,
      `bytes=${'1'.repeat(100_000)}`,
    ]) {
      const start = performance.now()
      judge(range)
      expect(performance.now() - start).toBeLessThan(500)
    }
  })
})

describe('If-Range', () => {
  const modified = 'Sun, 06 Nov 1994 08:49:37 GMT'
  const later = 'Sun, 06 Nov 1994 08:49:38 GMT'
  const dated = { 'last-modified': modified, date: later }

  it.each<[clause: string, ifRange: string, response: Record<string, string | string[]>, kind: string]>([
    ['13.1.5: the same strong tag', '"a"', { etag: '"a"' }, 'parts'],
    ['13.1.5: the empty tag', '""', { etag: '""' }, 'parts'],
    ['8.8.3: any bytes in a tag', '"a,\\b\xe9"', { etag: '"a,\\b\xe9"' }, 'parts'],
    ['13.1.5: another tag', '"b"', { etag: '"a"' }, WHOLE],
    ['13.1.5: a tag in another case', '"A"', { etag: '"a"' }, WHOLE],
    ['13.1.5: a tag and no ETag', '"a"', {}, WHOLE],
    ['13.1.5: a tag beside a date', '"a"', dated, WHOLE],
    ['8.8.3.2: a weak tag asked', 'W/"a"', { etag: '"a"' }, WHOLE],
    ['8.8.3.2: a weak tag stored', '"a"', { etag: 'W/"a"' }, WHOLE],
    ['8.8.3.2: weak on both sides', 'W/"a"', { etag: 'W/"a"' }, WHOLE],
    ['13.1.5: several tags', '"a", "b"', { etag: '"a"' }, WHOLE],
    ['13.1.5: several tags, stored alike', '"a", "b"', { etag: ['"a"', '"b"'] }, WHOLE],
    ['13.1.5: any tag', '*', { etag: '*' }, WHOLE],
    ['8.8.3: no quotes', 'a', { etag: 'a' }, WHOLE],
    ['8.8.3: one quote', '"a', { etag: '"a' }, WHOLE],
    ['8.8.3: a blank within', '"a b"', { etag: '"a b"' }, WHOLE],
    ['13.1.5: the empty text', '', { etag: '' }, WHOLE],
    ['13.1.5: the same date', modified, dated, 'parts'],
    ['5.6.7: the same date in another form', 'Sunday, 06-Nov-94 08:49:37 GMT', dated, 'parts'],
    ['13.1.5: a later date', later, dated, WHOLE],
    ['13.1.5: an earlier date', 'Sun, 06 Nov 1994 08:49:36 GMT', dated, WHOLE],
    ['8.8.2.2: modified in the second it was sent', modified, { ...dated, date: modified }, WHOLE],
    ['8.8.2.2: modified after it was sent', later, { 'last-modified': later, date: modified }, WHOLE],
    ['8.8.2.2: no Date', modified, { 'last-modified': modified }, WHOLE],
    ['8.8.2.2: an unreadable Date', modified, { ...dated, date: 'now' }, WHOLE],
    ['13.1.5: no Last-Modified', modified, { date: later, etag: '"a"' }, WHOLE],
    ['13.1.5: an unreadable date, stored alike', 'yesterday', { ...dated, 'last-modified': 'yesterday' }, WHOLE],
  ])('RFC 9110, %s', (_, ifRange, response, kind) => {
    const request = { range: 'bytes=0-9', 'if-range': ifRange }
    expect(judgeRange(request, response, 100, NOW).kind).toBe(kind)
  })

  it('comes before what cannot be satisfied (RFC 9110, 13.2.2)', () => {
    const request = { range: 'bytes=200-', 'if-range': '"b"' }
    expect(judgeRange(request, { etag: '"a"' }, 100, NOW).kind).toBe(WHOLE)
    expect(judgeRange(request, { etag: '"b"' }, 100, NOW).kind).toBe(NONE)
  })

  it('without Range says nothing (RFC 9110, 13.1.5)', () => {
    expect(judgeRange({ 'if-range': '"a"' }, { etag: '"a"' }, 100, NOW).kind).toBe(WHOLE)
  })
})

describe('Content-Range', () => {
  it('is written (RFC 9110, 14.4 and 15.5.17)', () => {
    expect(contentRange({ start: 42, end: 1233 }, 1234)).toBe('bytes 42-1233/1234')
    expect(unsatisfiedRange(1234)).toBe('bytes */1234')
  })

  it.each<[value: string, start: number, end: number, size: number | undefined]>([
    ['bytes 42-1233/1234', 42, 1233, 1234],
    ['bytes 42-1233/*', 42, 1233, undefined],
    ['bytes 0-0/1', 0, 0, 1],
    ['BYTES 0-0/1', 0, 0, 1],
    ['bytes 00-01/002', 0, 1, 2],
    ['bytes 0-9007199254740990/9007199254740991', 0, 9007199254740990, 9007199254740991],
  ])('RFC 9110, 14.4: %s', (value, start, end, size) => {
    expect(parseContentRange(value)).toEqual({ start, end, size })
  })

  it.each([
    undefined,
    '',
    'bytes */1234',
    'bytes 5-4/10',
    'bytes 0-10/10',
    'bytes 0-0/0',
    'lines 0-1/2',
    'bytes=0-1/2',
    'bytes  0-1/2',
    'bytes 0-1/2 ',
    ' bytes 0-1/2',
    'bytes 0 - 1/2',
    'bytes 0-1',
    'bytes -1/2',
    'bytes 0-/2',
    'bytes 0-1/',
    'bytes 0-1/x',
    'bytes 0-1/2, bytes 0-1/2',
    'bytes 0-9007199254740991/9007199254740992',
    'bytes 9007199254740993-9007199254740992/*',
  ])('RFC 9110, 14.4 does not know: %s', (value) => {
    expect(parseContentRange(value)).toBeUndefined()
  })

  it('is read as it was written', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.integer({ min: 1, max: 1000 }), (start, more, rest) => {
        const [end, size] = [start + more, start + more + rest]
        expect(parseContentRange(contentRange({ start, end }, size))).toEqual({ start, end, size })
      }),
    )
    fc.assert(fc.property(fc.string({ unit: 'binary' }), (value) => parseContentRange(value) === undefined))
  })
})

describe('multipart/byteranges', () => {
  const body = Buffer.from('0123456789')
  const parts = [
    { start: 0, end: 1 },
    { start: 8, end: 9 },
  ]

  it('has Content-Type and Content-Range in each part (RFC 9110, 14.6)', () => {
    expect(multipartBody(parts, body, 'text/plain', 'B').toString()).toBe(
      [
        '--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n',
        '--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n',
        '--B--\r\n',
      ].join(''),
    )
  })

  it('has no Content-Type where none is known (RFC 9110, 15.3.7.2)', () => {
    expect(multipartBody(parts.slice(0, 1), body, undefined, 'B').toString()).toBe(
      '--B\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n--B--\r\n',
    )
  })

  it('takes bytes as they are, also out of a larger buffer', () => {
    const view = new Uint8Array(Uint8Array.of(9, 9, 0, 255, 128, 9).buffer, 2, 3)
    const made = multipartBody([{ start: 1, end: 2 }], view, 'x/\xe9', 'B')
    expect(made.includes(Buffer.from('\r\n\r\n\xff\x80\r\n', 'latin1'))).toBe(true)
    expect(made.includes(Buffer.from('x/\xe9\r\n', 'latin1'))).toBe(true)
  })

  const pieces = fc.array(fc.tuple(fc.nat(30), fc.nat(30)), { minLength: 1, maxLength: 5 })
  function within(bytes: Uint8Array, picked: [number, number][]): ByteRange[] {
    return picked.map(([from, more]) => {
      const start = Math.min(from, bytes.length - 1)
      return { start, end: Math.min(start + more, bytes.length - 1) }
    })
  }

  it('is taken apart again at its boundary (RFC 2046, 5.1.1)', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), pieces, (bytes, picked) => {
        const ranges = within(bytes, picked)
        const boundary = boundaryFor(ranges, bytes)
        const made = multipartBody(ranges, bytes, 'a/b', boundary).toString('latin1')
        const contents = `\r\n${made}`.split(`\r\n--${boundary}`).slice(1, -1)
        const read = contents.map((part) => part.slice(part.indexOf('\r\n\r\n') + 4))
        expect(read).toEqual(
          ranges.map(({ start, end }) => Buffer.from(bytes.slice(start, end + 1)).toString('latin1')),
        )
      }),
    )
  })

  it('has a boundary that is the same each time, and that Content-Type can name as it is (RFC 2046, 5.1.1)', () => {
    const boundary = boundaryFor(parts, body)
    expect(boundary).toMatch(/^[0-9a-f]{32}$/)
    expect(boundaryFor(parts, Buffer.from(body))).toBe(boundary)
    expect(boundaryFor(parts, Buffer.from('0123456788'))).not.toBe(boundary)
  })

  it('has another boundary where the first occurs in a part (RFC 2046, 5.1.1)', async () => {
    vi.resetModules()
    const digests = ['a'.repeat(64), 'b'.repeat(64), 'c'.repeat(64)]
    const hashed: string[] = []
    const update = (data: Uint8Array | string) => {
      hashed.push(String(data).slice(0, 2))
      return { update, digest: () => digests.shift() }
    }
    vi.doMock('node:crypto', () => ({ createHash: () => ({ update }) }))
    const mocked = await import('../../src/http/ranges.ts')
    vi.doUnmock('node:crypto')
    const both = Buffer.from(`..${'b'.repeat(32)}.${'a'.repeat(32)}..`)
    expect(mocked.boundaryFor([{ start: 0, end: both.length - 1 }], both)).toBe('c'.repeat(32))
    expect(hashed).toEqual(['0', '..', '1', '..', '2', '..'])
  })
})
