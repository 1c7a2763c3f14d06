import { describe, expect, it } from 'vitest'
import { Flights } from '../../src/core/flights.ts'
import { ManualTime } from '../support/time.ts'

function setUp() {
  const time = new ManualTime()
  const flights = new Flights<string, string, string>(time)
  return { time, flights }
}

describe('Flights', () => {
  it('are found by key until they land', () => {
    const { flights } = setUp()
    const flight = flights.start('k', 'leader')!
    expect([flights.find('k'), flights.find('other'), flights.size]).toEqual([flight, undefined, 1])
    flights.land(flight, () => undefined)
    expect([flights.find('k'), flights.size]).toEqual([undefined, 0])
  })

  it('give each waiter what is for it', async () => {
    const { flights, time } = setUp()
    const flight = flights.start('k', 'leader')!
    const answers = ['a', 'b', 'c'].map((visitor) => flights.wait(flight, visitor, 1_000, () => {}))
    flights.land(flight, (visitor) => (visitor === 'b' ? undefined : `for ${visitor}`))
    expect(await Promise.all(answers)).toEqual(['for a', undefined, 'for c'])
    expect([flight.waiters.size, time.pending]).toEqual([0, 0])
  })

  it('take the place of an earlier one, which still serves its own', async () => {
    const { flights } = setUp()
    const old = flights.start('k', 'old')!
    const waiting = flights.wait(old, 'v', 1_000, () => {})
    const young = flights.start('k', 'young')!
    flights.land(old, () => 'old')
    expect([await waiting, flights.find('k')]).toEqual(['old', young])
  })

  it('that hang let all their waiters go when one has waited long enough', async () => {
    const { flights, time } = setUp()
    const flight = flights.start('k', 'leader')!
    const first = flights.wait(flight, 'a', 1_000, () => {})
    time.move(600)
    const second = flights.wait(flight, 'b', 1_000, () => {})
    time.move(399)
    expect(flights.find('k')).toBe(flight)
    time.move(1)
    expect([await first, await second, flights.find('k')]).toEqual([undefined, undefined, undefined])
    flights.land(flight, () => 'late')
    expect(time.pending).toBe(0)
  })

  it('let a waiter leave early', async () => {
    const { flights, time } = setUp()
    const flight = flights.start('k', 'leader')!
    let leave = () => {}
    const waiting = flights.wait(flight, 'a', 1_000, (way) => {
      leave = way
    })
    leave()
    expect([await waiting, flight.waiters.size, time.pending]).toEqual([undefined, 0, 0])
    expect(flights.find('k')).toBe(flight)
  })

  it('do not start for a while where the key was grounded', () => {
    const { flights, time } = setUp()
    flights.ground('k')
    expect([flights.start('k', 'a'), flights.isGrounded('k'), flights.isGrounded('other')]).toEqual([
      undefined,
      true,
      false,
    ])
    time.move(10_000)
    expect([flights.isGrounded('k'), flights.start('k', 'a')?.leader]).toEqual([false, 'a'])
    flights.ground('k')
    flights.clear('k')
    expect(flights.isGrounded('k')).toBe(false)
  })
})
