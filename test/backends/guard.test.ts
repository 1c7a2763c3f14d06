import { describe, expect, it } from 'vitest'
import type { TagBackend } from '../../src/backends/backend.ts'
import { Guard } from '../../src/backends/guard.ts'
import { memory } from '../../src/backends/memory.ts'
import { isOutdated } from '../../src/core/tags.ts'
import { TagcacheError } from '../../src/errors.ts'
import { entryOf, Overridden } from '../support/backends.ts'
import { gate } from '../support/http.ts'
import { ManualTime } from '../support/time.ts'

const TIMEOUT = 250
const PAUSE = 1_000

function setUp(changes: (inner: TagBackend<true>) => Partial<TagBackend> = () => ({})) {
  const time = new ManualTime()
  const inner = memory({ time })
  const events: string[] = []
  const errors: unknown[] = []
  const guard = new Guard(
    new Overridden(inner, changes(inner)),
    { timeout: TIMEOUT, pause: PAUSE, time },
    {
      fault: (operation, error) => {
        events.push(`fault ${operation}`)
        errors.push(error)
      },
      state: (state) => events.push(state),
    },
  )
  return { time, inner, guard, events, errors }
}

const turns = () => new Promise<void>((resolve) => setImmediate(resolve))
const never = () => new Promise<never>(() => {})
const fail = () => {
  throw new Error('down')
}

describe('a backend behind the guard', () => {
  it('is asked and answers at once where it is synchronous', () => {
    const { guard, inner, events } = setUp()
    expect(guard.store(entryOf('k', { tags: ['t'] }), 60_000)).toBe(true)
    expect(guard.lookup('k')).toEqual(inner.lookup('k'))
    expect(guard.clock()).toBe(inner.clock())
    expect(guard.invalidate(['t'])).toBe(true)
    expect(guard.invalidatedAt(['t'])).toBe(inner.clock())
    expect(guard.delete('k')).toBe(true)
    expect(guard.list('t', 1)).toEqual([])
    expect(guard.clear()).toBe(true)
    expect([events, guard.isBehind]).toEqual([[], false])
  })

  const all = ['lookup', 'clock', 'invalidatedAt', 'store', 'list', 'delete', 'invalidate', 'clear'] as const
  const call = (guard: Guard, operation: (typeof all)[number]): unknown => {
    if (operation === 'store') return guard.store(entryOf('k'), 60_000)
    if (operation === 'list') return guard.list('t', 1)
    if (operation === 'lookup' || operation === 'delete') return guard[operation]('k')
    if (operation === 'clock' || operation === 'clear') return guard[operation]()
    return guard[operation](['t'])
  }
  const nothing = (operation: (typeof all)[number]) =>
    ['store', 'delete', 'invalidate', 'clear'].includes(operation) ? false : undefined
  const told = (operation: (typeof all)[number]) => [
    'paused',
    `fault ${operation}`,
    ...(operation === 'invalidate' || operation === 'clear' ? ['behind'] : []),
  ]

  it.each(all)('that throws in %s() costs no more than the answer', (operation) => {
    const { guard, events } = setUp(() => ({ [operation]: fail }))
    expect(call(guard, operation)).toBe(nothing(operation))
    expect(events).toEqual(told(operation))
  })

  it.each(all)('that rejects in %s() costs no more than the answer', async (operation) => {
    const { guard, events } = setUp(() => ({ [operation]: () => Promise.reject(new Error('down')) }))
    expect(await call(guard, operation)).toBe(nothing(operation))
    expect(events).toEqual(told(operation))
  })

  it.each(all)('that hangs in %s() is waited for no longer than the deadline', async (operation) => {
    const { guard, events, errors, time } = setUp(() => ({ [operation]: never }))
    const answer = call(guard, operation)
    time.move(TIMEOUT - 1)
    await Promise.resolve()
    expect(events).toEqual([])
    time.move(1)
    expect(await answer).toBe(nothing(operation))
    expect(events).toEqual(told(operation))
    expect(errors).toEqual([expect.objectContaining({ code: 'ERR_TAGCACHE_BACKEND_TIMEOUT' })])
  })

  const garbage: Record<string, unknown[]> = {
    lookup: [
      undefined,
      null,
      'text',
      42,
      {},
      { entry: undefined, invalidatedAt: 0, clock: Number.NaN },
      { entry: undefined, invalidatedAt: '0', clock: 1 },
      { entry: {}, invalidatedAt: 0, clock: 1 },
      { entry: null, invalidatedAt: 0, clock: 1 },
      { entry: { ...entryOf('k'), stamp: undefined }, invalidatedAt: 0, clock: 1 },
      { entry: { ...entryOf('k'), response: undefined }, invalidatedAt: 0, clock: 1 },
      { entry: { ...entryOf('k'), response: { body: 'text', headers: [] } }, invalidatedAt: 0, clock: 1 },
    ],
    clock: [undefined, null, '1', Number.NaN, {}],
    invalidatedAt: [undefined, null, '1', Number.NaN],
    store: [undefined, 'OK', 1],
    delete: [undefined, 1, 'true'],
    list: [undefined, null, {}, [null], [{}], 'text'],
  }

  it.each(Object.entries(garbage).flatMap(([operation, answers]) => answers.map((answer) => [operation, answer])))(
    'that answers nonsense in %s() is not believed: %j',
    (operation, answer) => {
      const { guard, errors } = setUp(() => ({ [operation as 'clock']: () => answer as never }))
      expect(call(guard, operation as (typeof all)[number])).toBe(nothing(operation as (typeof all)[number]))
      expect(errors).toEqual([expect.objectContaining({ code: 'ERR_TAGCACHE_BACKEND_ANSWER' })])
    },
  )

  it('is left alone while it is paused, tried once after that, and taken back', () => {
    let isDown = true
    let calls = 0
    const { guard, events, time } = setUp(() => ({
      clock: () => {
        calls += 1
        return isDown ? fail() : 7
      },
    }))
    guard.clock()
    for (let at = 0; at < 5; at++) expect(guard.clock()).toBeUndefined()
    time.move(PAUSE - 1)
    guard.clock()
    expect(calls).toBe(1)
    time.move(1)
    guard.clock()
    guard.clock()
    expect(calls).toBe(2)
    isDown = false
    time.move(PAUSE)
    expect([guard.clock(), guard.clock()]).toEqual([7, 7])
    expect(events).toEqual(['paused', 'fault clock', 'fault clock', 'resumed'])
  })

  it('is tried by one call alone when the pause is over', async () => {
    const answer = gate<number>()
    let calls = 0
    const { guard, time, events } = setUp(() => ({
      clock: () => (++calls === 1 ? Promise.reject(new Error('down')) : answer.opened),
    }))
    await guard.clock()
    time.move(PAUSE)
    const [probe, other] = [guard.clock(), guard.clock()]
    expect(other).toBeUndefined()
    answer.open(3)
    expect(await probe).toBe(3)
    expect([calls, events.at(-1)]).toEqual([2, 'resumed'])
  })

  it('is not paused for the damaged bytes of one entry, which are told and count as nothing', () => {
    const answer = { entry: undefined, invalidatedAt: 0, clock: 1, fault: new Error('damaged') }
    const { guard, events, errors } = setUp(() => ({ lookup: () => answer, list: () => [answer] }))
    expect(guard.lookup('k')).toBe(answer)
    expect(guard.list('t', 1)).toEqual([answer])
    expect([events, errors]).toEqual([
      ['fault lookup', 'fault list'],
      [answer.fault, answer.fault],
    ])
    expect(guard.clock()).toBe(1)
  })

  it('leaves no timer behind', async () => {
    const { guard, time } = setUp((inner) => ({ clock: async () => inner.clock() }))
    await guard.clock()
    await Promise.resolve()
    expect(time.pending).toBe(0)
  })
})

describe('an invalidation that the backend did not take', () => {
  function flaky() {
    const state = { isDown: true, taken: [] as (string | string[])[] }
    const set = setUp((inner) => ({
      invalidate(tags) {
        if (state.isDown) fail()
        state.taken.push([...tags])
        return inner.invalidate(tags)
      },
      clear() {
        if (state.isDown) fail()
        state.taken.push('everything')
        return inner.clear()
      },
    }))
    return { ...set, state }
  }

  it('is kept, and nothing is trusted until it is delivered', () => {
    const { guard, inner, time, state } = flaky()
    inner.store(entryOf('k', { tags: ['t'] }), 60_000)
    expect(guard.invalidate(['t'])).toBe(false)
    expect(guard.isBehind).toBe(true)
    expect([guard.lookup('k'), guard.clock(), guard.invalidatedAt(['t']), guard.list('t', 1)]).toEqual([
      undefined,
      undefined,
      undefined,
      undefined,
    ])
    time.move(PAUSE)
    expect(guard.lookup('k'), 'it fails again').toBeUndefined()
    state.isDown = false
    time.move(PAUSE)
    const found = guard.lookup('k') as { entry: { stamp: number }; invalidatedAt: number }
    expect(state.taken).toEqual([['t']])
    expect(isOutdated(found.entry.stamp, found.invalidatedAt)).toBe(true)
    expect(guard.isBehind).toBe(false)
  })

  it('is delivered with the others, once', () => {
    const { guard, time, state } = flaky()
    guard.invalidate(['a', 'b'])
    guard.invalidate(['b', 'c'])
    state.isDown = false
    time.move(PAUSE)
    guard.clock()
    guard.clock()
    expect(state.taken).toEqual([['a', 'b', 'c']])
  })

  it('becomes a clear() where there are too many', () => {
    const { guard, time, state } = flaky()
    for (let at = 0; at <= 10_000; at++) guard.invalidate([`tag ${at}`])
    guard.invalidate(['one more'])
    state.isDown = false
    time.move(PAUSE)
    guard.clock()
    expect(state.taken).toEqual(['everything'])
  })

  it('does not become one before that', () => {
    const { guard, time, state } = flaky()
    for (let at = 0; at < 10_000; at++) guard.invalidate([`tag ${at}`])
    state.isDown = false
    time.move(PAUSE)
    guard.clock()
    expect(state.taken.map(({ length }) => length)).toEqual(Array(10).fill(1000))
  })

  it('of everything covers those of tags, and is kept as well', () => {
    const { guard, time, state } = flaky()
    guard.invalidate(['a'])
    guard.clear()
    guard.invalidate(['b'])
    state.isDown = false
    time.move(PAUSE)
    guard.clock()
    expect(state.taken).toEqual(['everything'])
  })

  it('is kept where it timed out, though the backend may have taken it', async () => {
    let isHanging = true
    const taken: string[][] = []
    const { guard, time } = setUp(() => ({
      invalidate(tags) {
        taken.push([...tags])
        return isHanging ? never() : undefined
      },
    }))
    const answer = guard.invalidate(['t'])
    time.move(TIMEOUT)
    await answer
    isHanging = false
    time.move(PAUSE)
    expect(await guard.clock()).toBe(1)
    expect(taken).toEqual([['t'], ['t']])
  })

  it('is not lost where it comes during a delivery that fails', async () => {
    const deliveries: { tags: string[]; done: ReturnType<typeof gate<boolean>> }[] = []
    const { guard, time } = setUp(() => ({
      invalidate(tags) {
        const done = gate<boolean>()
        deliveries.push({ tags: [...tags], done })
        return done.opened.then((isTaken) => (isTaken ? undefined : fail()))
      },
    }))
    const first = guard.invalidate(['a'])
    deliveries[0]!.done.open(false)
    await first
    time.move(PAUSE)
    expect(deliveries.map(({ tags }) => tags)).toEqual([['a'], ['a']])
    await guard.invalidate(['b'])
    deliveries[1]!.done.open(false)
    await turns()
    time.move(PAUSE)
    expect(new Set(deliveries.at(-1)!.tags)).toEqual(new Set(['a', 'b']))
    deliveries.at(-1)!.done.open(true)
    await turns()
    expect([guard.clock(), deliveries.length]).toEqual([1, 3])
  })

  it('is not lost where it comes during a delivery that succeeds, and is delivered right after it', async () => {
    const done = gate()
    const taken: string[][] = []
    const { guard, time, events } = setUp(() => ({
      invalidate(tags) {
        if (taken.push([...tags]) === 1) fail()
        return taken.length === 2 ? done.opened : undefined
      },
    }))
    guard.invalidate(['a'])
    time.move(PAUSE)
    expect([guard.invalidate(['b']), guard.isBehind]).toEqual([false, true])
    done.open()
    await turns()
    expect([taken, guard.isBehind, events.at(-1)]).toEqual([[['a'], ['a'], ['b']], false, 'delivered'])
  })

  it('is delivered though nobody asks for anything, while those who ask go without', async () => {
    const done = gate()
    let deliveries = 0
    const { guard, time } = setUp(() => ({
      invalidate: () => (++deliveries === 1 ? fail() : done.opened),
    }))
    guard.invalidate(['a'])
    time.move(PAUSE)
    expect(deliveries).toBe(2)
    expect([await guard.clock(), await guard.lookup('k')]).toEqual([undefined, undefined])
    done.open()
    await turns()
    expect([guard.clock(), deliveries]).toEqual([1, 2])
  })

  it('does not keep a response from being stored, which the delivery outdates', () => {
    let isRefusing = true
    const { guard, inner, events } = setUp((inner) => ({
      invalidate(tags) {
        if (isRefusing) throw new TagcacheError('ERR_TAGCACHE_BACKEND_REPLY', 'full')
        return inner.invalidate(tags)
      },
    }))
    const stamp = inner.clock()
    guard.invalidate(['t'])
    expect(guard.store(entryOf('k', { tags: ['t'], stamp }), 60_000)).toBe(true)
    expect(guard.lookup('k'), 'nothing is trusted').toBeUndefined()
    expect(events, 'whoever refuses is there').not.toContain('paused')
    isRefusing = false
    const found = guard.lookup('k') as { entry?: { stamp: number }; invalidatedAt: number }
    expect(found.entry === undefined || isOutdated(found.entry.stamp, found.invalidatedAt)).toBe(true)
  })
})
