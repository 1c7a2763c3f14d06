import { PassThrough } from 'node:stream'
import { pino } from 'pino'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tagcache } from '../../src/adapters/node.ts'
import { scrub } from '../../src/core/log.ts'
import { type CacheOptions, createCache, memory, type TagBackend, TagcacheError } from '../../src/index.ts'
import { Overridden } from '../support/backends.ts'
import { ask, listen } from '../support/http.ts'
import { ManualTime } from '../support/time.ts'

/** A real pino, and the lines that it has written. */
function logTo() {
  const stream = new PassThrough()
  const logger = pino({ base: null, timestamp: false, level: 'debug' }, stream)
  const lines = (): Record<string, unknown>[] =>
    String(stream.read() ?? '')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line))
  return { logger, lines }
}

function setUp(options: CacheOptions & { backend?: TagBackend<true> } = {}) {
  const time = new ManualTime()
  const { logger, lines } = logTo()
  const cache = createCache({ time, logger, ...options })
  onTestFinished(() => cache.close())
  const fault = (...[error]: [unknown?]) => cache.flow.events.emit({ type: 'fault', operation: 'lookup', error })
  return { time, cache, logger, lines, fault }
}

const INFO = 30
const WARN = 40
const ERROR = 50

describe('the log', () => {
  it('has a line when the backend fails, and one when it is back, with the purges that waited', () => {
    const inner = memory()
    let isDown = true
    const backend = new Overridden(inner, {
      invalidate: (tags) => {
        if (isDown) throw Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
        return inner.invalidate(tags)
      },
    })
    const { cache, lines, time } = setUp({ backend: backend as TagBackend as TagBackend<true>, namespace: 'shop' })
    cache.invalidateTags('a')
    const error = { type: 'Error', code: 'ECONNREFUSED', message: 'connect ECONNREFUSED' }
    expect(lines()).toMatchObject([
      { level: WARN, event: 'backend.paused', cache: 'tagcache/shop' },
      { level: ERROR, event: 'fault.invalidate', error },
      { level: WARN, event: 'purges.queued', msg: expect.stringMatching(/^tagcache: purges wait/) },
    ])
    isDown = false
    time.move(1000)
    expect(lines()).toMatchObject([
      { level: INFO, event: 'backend.resumed' },
      { level: INFO, event: 'purges.delivered' },
    ])
  })

  it('has a line when a bound is reached, and when copies near are not trusted and are again', () => {
    const { cache, lines, time } = setUp({ backend: memory({ maxEntries: 2 }) })
    for (let at = 0; at < 5; at++) cache.set(`GET /${at}`, {}, [], { body: 'a' })
    expect(lines()).toMatchObject([{ level: INFO, event: 'bound.reached' }])
    time.move(60_000)
    expect(lines()).toMatchObject([{ level: INFO, event: 'bound.reached', times: 2 }])
    for (const state of ['near-lost', 'near-trusted'] as const) cache.flow.events.emit({ type: 'backend', state })
    expect(lines()).toMatchObject([
      { level: WARN, event: 'near.lost' },
      { level: INFO, event: 'near.trusted' },
    ])
  })

  it('has warnings and failures of handlers, and nothing of ordinary requests', async () => {
    const time = new ManualTime()
    const { logger, lines } = logTo()
    const { cached, invalidates } = tagcache({ time, logger })
    let fails: 'throws' | 'answers' | undefined
    const caches = cached({ name: 'a', ttl: 1, staleIfError: 600 })
    const purges = invalidates([])
    const server = await listen((req, res) => {
      if (req.method === 'POST') return purges(req, res, () => res.end('b'))
      return caches(req, res, () => {
        if (fails === 'throws') throw new Error('no database at postgres://me:hunter2@db/shop')
        if (fails === 'answers') res.statusCode = 503
        res.end('a')
      })
    })
    onTestFinished(() => server.close())
    expect(lines()).toMatchObject([{ level: WARN, code: 'TAGCACHE_INVALIDATES_NOTHING' }])
    for (let hit = 0; hit < 3; hit++) await ask(`${server.url}/a`)
    await ask(`${server.url}/b`, { method: 'POST' })
    expect(lines()).toEqual([])
    fails = 'throws'
    time.move(2000)
    expect((await ask(`${server.url}/a`)).text).toBe('a')
    expect(lines()).toMatchObject([
      {
        level: WARN,
        event: 'handler.failed',
        route: 'a',
        error: { message: 'no database at postgres://…@db/shop' },
      },
    ])
    fails = 'answers'
    time.move(60_000)
    expect((await ask(`${server.url}/a`)).text).toBe('a')
    const [line] = lines()
    expect(line).toMatchObject({ level: WARN, event: 'handler.failed', route: 'a', status: 503 })
    expect(line).not.toHaveProperty('error')
  })

  it('has the first line of a kind at once, and then one a minute with how often it has happened', () => {
    const { time, lines, fault } = setUp()
    for (let at = 0; at < 10; at++) fault(new Error(`error ${at}`))
    expect(lines()).toMatchObject([{ error: { message: 'error 0' } }])
    time.move(59_999)
    expect(lines()).toEqual([])
    time.move(1)
    expect(lines()).toMatchObject([{ error: { message: 'error 9' }, times: 9 }])
    fault()
    time.move(59_999)
    expect(lines()).toEqual([])
    time.move(1)
    expect(lines()).toMatchObject([{ event: 'fault.lookup' }])
    time.move(60_000)
    expect(lines()).toEqual([])
    fault()
    expect(lines()).toHaveLength(1)
  })

  it('keeps kinds apart', () => {
    const { cache, lines, fault } = setUp()
    fault()
    cache.flow.events.emit({ type: 'fault', operation: 'store', error: new Error('down') })
    fault()
    expect(lines().map(({ event }) => event)).toEqual(['fault.lookup', 'fault.store'])
  })

  it('has what was left out when the cache is closed, and leaves no timer', () => {
    const { time, cache, lines, fault } = setUp()
    for (let at = 0; at < 3; at++) fault()
    cache.close()
    expect(lines().map(({ times }) => times)).toEqual([undefined, 2])
    expect(time.pending).toBe(0)
  })

  it('has no queries, credentials, bodies and line breaks, however errors speak of them', () => {
    const { lines, time, fault } = setUp()
    const said = [
      ['GET /reset?token=hunter2 failed', 'GET /reset?… failed'],
      ['redis://user:hunter2@10.0.0.1:6379/0 is away', 'redis://…@10.0.0.1:6379/0 is away'],
      ['sent Authorization: Bearer hunter2', 'sent Authorization: …'],
      ['login with password=hunter2 refused', 'login with password=…'],
      ['{"apiKey":"hunter2"}', '{"apiKey":…'],
      ['auth was Basic hunter2', 'auth was Basic …'],
      ['a\r\nlevel=fatal', 'a level=fatal'],
      ['x'.repeat(2000), 'x'.repeat(300)],
    ] as const
    for (const [message, logged] of said) {
      fault(new Error(message))
      const [line] = lines()
      expect(line).toMatchObject({ error: { message: logged } })
      expect(JSON.stringify(line)).not.toContain('hunter2')
      time.move(60_000)
    }
  })

  it('tells errors that are none, too', () => {
    const { lines, time, fault } = setUp()
    const odd = [
      [undefined, { type: 'undefined', message: 'undefined' }],
      ['text?a=1', { type: 'string', message: 'text?…' }],
      [
        new TagcacheError('ERR_TAGCACHE_BACKEND_AWAY', 'gone'),
        { type: 'TagcacheError', code: 'ERR_TAGCACHE_BACKEND_AWAY' },
      ],
    ] as const
    for (const [error, described] of odd) {
      fault(error)
      expect(lines()).toMatchObject([{ error: described }])
      time.move(60_000)
    }
  })

  it('is written by whatever has the shape of pino, such as console, and one that throws does no harm', () => {
    const said: unknown[][] = []
    const like = { info() {}, warn() {}, error: (...args: unknown[]) => void said.push(args) }
    setUp({ logger: like }).fault()
    expect(said).toEqual([
      [expect.objectContaining({ event: 'fault.lookup' }), 'tagcache: lookup failed; it counted as a miss'],
    ])
    const broken = () => {
      throw new Error('disk full')
    }
    const { cache, fault } = setUp({ logger: { info: broken, warn: broken, error: broken } })
    expect(fault).not.toThrow()
    expect(cache.stats().faults).toBe(1)
    expect(() => createCache({ logger: console })).not.toThrow()
    const code = expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_VALUE' })
    for (const logger of [null, {}, { info() {} }]) expect(() => createCache({ logger: logger as never })).toThrow(code)
  })

  it('scrubs long hostile texts soon', () => {
    const begun = performance.now()
    for (const piece of ['?', '://', 'token=', 'password ', '\n', 'a@', '"cookie"']) scrub(piece.repeat(100_000))
    expect(performance.now() - begun).toBeLessThan(500)
  })
})
