import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { StoredResponse } from '../../src/core/entry.ts'
import { Variants } from '../../src/core/variants.ts'
import { decide } from '../../src/flow/decide.ts'
import { land } from '../../src/flow/land.ts'
import { type Cache, type CacheOptions, createCache } from '../../src/index.ts'
import { look, visitOf } from '../support/requests.ts'
import { ManualTime } from '../support/time.ts'

/** What a handler may say, and which names do not count then, by a reading that knows no other code. */
const FIELDS: readonly (readonly [field: string | undefined, ignores: (name: string) => boolean])[] = [
  [undefined, () => false],
  ['params=("a")', (name) => name === 'a'],
  ['params=("a" "b")', (name) => name === 'a' || name === 'b'],
  ['params', () => true],
  ['params, except=("c")', (name) => name !== 'c'],
  ['except=("c" "d")', (name) => name !== 'c' && name !== 'd'],
  ['key-order, params=("d")', (name) => name === 'd'],
  ['params=("%61")', (name) => name === 'a'],
  ['params=(a)', () => false],
  ['key-order', () => false],
  ['params=("a"', () => false],
]

/** Whether a response with this field, made for one query, may answer for the other: the naive model. */
function mayAnswer(field: string | undefined, one: string, other: string): boolean {
  const [, ignores] = FIELDS.find(([known]) => known === field)!
  const counted = (query: string) => {
    const values: Record<string, string[]> = {}
    for (const [name, value] of new URLSearchParams(query)) if (!ignores(name)) (values[name] ??= []).push(value)
    return JSON.stringify(Object.entries(values).sort(([a], [b]) => (a < b ? -1 : 1)))
  }
  return counted(one) === counted(other)
}

/** What a response says of itself: what it was made for. */
interface Made {
  readonly query: string
  readonly field: string | undefined
  readonly own: string | undefined
  readonly run: number
}

interface Asked {
  readonly query: string
  readonly own?: string | undefined
}

/** A route whose handler says what it is told to, and how to ask it. */
function route(options: CacheOptions = {}) {
  const time = new ManualTime()
  const cache: Cache = createCache({ time, ttl: '1h', ...options })
  let runs = 0
  const ask = async ({ query, own }: Asked, field: string | undefined, vary = ''): Promise<Made> => {
    const headers = own === undefined ? {} : { 'x-own': own }
    const visit = visitOf(cache, '/', {}, { headers, target: { query } })
    const finding = await look(cache, visit)
    if (finding.kind === 'hit') return JSON.parse(Buffer.from(finding.entry.response.body).toString()) as Made
    if (finding.kind !== 'run') throw new Error(`a run or a hit was expected, not ${finding.kind}`)
    const fields = { ...(field === undefined ? {} : { 'no-vary-search': field }), ...(vary ? { vary } : {}) }
    const made: Made = { query, field, own, run: ++runs }
    const decision = decide(cache.flow, finding.run, { status: 200, fields })
    if (decision.store) await land(cache.flow, finding.run, decision, responseOf(made, fields))
    return made
  }
  return { cache, time, ask, runs: () => runs }
}

function responseOf(made: Made, fields: Record<string, string>): StoredResponse {
  const headers = Object.entries(fields).map(([name, value]) => ({ name, value }))
  const body = Buffer.from(JSON.stringify(made))
  return { status: 200, statusMessage: '', headers, removed: [], body, trailers: [] }
}

const part = fc.constantFrom('a=1', 'a=2', '%61=1', 'b=1', 'b=2', 'c=1', 'c=2', 'd=1', 'd', 'd=', 'A=1')
const query = fc.array(part, { maxLength: 4 }).map((parts) => parts.join('&'))
// A bare name is not one with an empty value, whatever a form would make of it.
const formed = query.filter((text) => !/(^|&)d(=?&|=?$)/.test(text))
const stated = fc.constantFrom(...FIELDS.map(([field]) => field))
const own = fc.constantFrom(undefined, 'x', 'y')

describe('No-Vary-Search', () => {
  it('shares an answer between two queries only where the answer itself says that they are equal', async () => {
    const step = fc.record({
      query,
      own,
      field: stated,
      vary: fc.constantFrom('', '', 'x-own'),
      seconds: fc.constantFrom(0, 0, 0, 400),
      isPurge: fc.boolean(),
    })
    let shared = 0
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 25 }), async (steps) => {
        const { ask, time, cache } = route()
        const varied = new Map<number, boolean>()
        for (const { query, own, field, vary, seconds, isPurge } of steps) {
          time.move(seconds * 1000)
          if (isPurge && seconds > 0) await cache.clear()
          const made = await ask({ query, own }, field, vary)
          if (!varied.has(made.run)) varied.set(made.run, vary !== '')
          if (made.query !== query) shared += 1
          expect(mayAnswer(made.field, made.query, query), `${made.field}: ${made.query} for ${query}`).toBe(true)
          if (varied.get(made.run)) expect(made.own).toBe(own)
        }
      }),
      { numRuns: 500 },
    )
    expect(shared, 'some answers were shared').toBeGreaterThan(100)
  })

  it('shares them where a route is of one mind', async () => {
    const uniform = fc.record({ field: stated, queries: fc.array(formed, { minLength: 2, maxLength: 12 }) })
    await fc.assert(
      fc.asyncProperty(uniform, async ({ field, queries }) => {
        const { ask, runs } = route()
        await ask({ query: 'a=0&b=0&c=0&d=0' }, field)
        const classes: string[] = []
        for (const query of queries) {
          await ask({ query }, field)
          if (!classes.some((known) => mayAnswer(field, known, query))) classes.push(query)
        }
        const isFirst = classes.every((known) => !mayAnswer(field, known, 'a=0&b=0&c=0&d=0'))
        expect(runs()).toBe(classes.length + (isFirst ? 1 : 0))
      }),
      { numRuns: 300 },
    )
  })

  it('of what is handed in counts as well', async () => {
    const step = fc.record({ query, field: stated, asked: query })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 15 }), async (steps) => {
        const cache = createCache({ time: new ManualTime() })
        for (const { query, field, asked } of steps) {
          const headers = field === undefined ? {} : { 'No-Vary-Search': field }
          cache.set('GET /', { query }, [], { headers, body: query })
          const found = cache.getByRequest('GET /', { query: asked })
          if (!found) continue
          const made = Buffer.from(found.body).toString()
          const said = found.headers['no-vary-search'] as string | undefined
          expect(mayAnswer(said, made, asked), `${said}: ${made} for ${asked}`).toBe(true)
        }
      }),
      {
        numRuns: 500,
        examples: [
          [
            [
              { query: 'b=1', field: undefined, asked: '' },
              { query: 'a=1&b=2', field: 'params=("a")', asked: 'a=2&b=1' },
            ],
          ],
        ],
      },
    )
  })

  it('is learned for each route, and each namespace, for itself', () => {
    const variants = new Variants(new ManualTime())
    const at = (route: string, query: string[], namespace?: string) => ({
      parts: { route, params: [], query, vary: [], ...(namespace === undefined ? {} : { namespace }) },
      headers: {},
      forms: new Map(),
    })
    variants.lodge(at('GET /', ['a=1']), [], { 'no-vary-search': 'params' }, 100)
    expect(variants.locate(at('GET /', ['b=2'])).key).toBe('GET /')
    expect(variants.locate(at('GET /other', ['b=2'])).key).toBe('GET /other?b=2')
    expect(variants.locate(at('GET /', ['b=2'], 'shop')).key).toBe('shop|GET /?b=2')
  })

  it('of a route that changes its mind is trusted again when some time has passed', async () => {
    const { ask, time } = route()
    const isShared = async (tag: number) => {
      const first = await ask({ query: `c=${tag}&a=1` }, 'params=("a")')
      const second = await ask({ query: `c=${tag}&a=2` }, 'params=("a")')
      return first.run === second.run
    }
    expect(await isShared(1)).toBe(true)
    await ask({ query: 'c=2&a=1' }, 'params=("b")')
    expect(await isShared(3)).toBe(false)
    time.move(9 * 60 * 1000)
    expect(await isShared(4)).toBe(false)
    time.move(2 * 60 * 1000)
    await isShared(5)
    await isShared(6)
    expect(await isShared(7)).toBe(true)
  })

  it('of responses that disagree is trusted by nobody', async () => {
    const { ask } = route()
    for (let at = 0; at < 20; at++) {
      const field = at % 2 === 0 ? 'params=("a")' : undefined
      await ask({ query: `c=${at}&a=1` }, field)
      const made = await ask({ query: `c=${at}&a=2` }, field)
      if (at > 0) expect(made.query).toBe(`c=${at}&a=2`)
    }
  })
})
