import { describe, expect, it } from 'vitest'
import type { Entry } from '../../src/core/entry.ts'
import { HandedOut, madeOnce } from '../../src/core/made-once.ts'

const entry: Entry = {
  key: 'GET /',
  tags: [],
  stamp: 1,
  time: 0,
  cost: 0,
  lifetime: 1,
  initialAge: 0,
  staleWhileRevalidate: 0,
  staleIfError: 0,
  mustRevalidate: false,
  isShared: false,
  response: { status: 200, statusMessage: '', headers: [], removed: [], body: new Uint8Array(), trailers: [] },
}

describe('what is made once of an entry', () => {
  it('is made once of one that is handed out again, and each time of any other', () => {
    let times = 0
    const made = madeOnce(() => `time ${++times}`)
    const shared = new HandedOut(entry)
    expect([made(shared), made(shared), made(entry), made(entry)]).toEqual(['time 1', 'time 1', 'time 2', 'time 3'])
    expect(made(new HandedOut(entry))).toBe('time 4')
  })

  it('is one thing for each maker', () => {
    const [one, other] = [madeOnce(() => 'one'), madeOnce(() => false)]
    const shared = new HandedOut(entry)
    expect([one(shared), other(shared), one(shared), other(shared)]).toEqual(['one', false, 'one', false])
  })

  it('does not go along into a copy with something else in it', () => {
    const statusOf = madeOnce(({ response }) => `${response.status}`)
    const shared = new HandedOut(entry)
    expect(statusOf(shared)).toBe('200')
    expect(statusOf({ ...shared, response: { ...entry.response, status: 404 } })).toBe('404')
    expect({ ...shared }).toEqual(entry)
  })
})
