import { describe, expect, it } from 'vitest'
import { readWrk } from '../../bench/measure/load.ts'
import { compare, type Reading, type Round, summarise } from '../../bench/measure/rounds.ts'
import { percentile, spreadOf } from '../../bench/measure/statistics.ts'
import { chartOf } from '../../bench/report/chart.ts'
import { judge } from '../../bench/targets.ts'

function reading(rate: number): Reading {
  return { rate, perCpu: rate * 2, p50: 1, p99: 2, rss: 1e6 }
}

function round(before: number, rate: number, after: number): Round {
  return { before: reading(before), reading: reading(rate), after: reading(after) }
}

const PLAN = { rounds: 2, attempts: 4, tolerance: 0.05 }

describe('the bench', () => {
  it('takes the median and the range', () => {
    expect(spreadOf([3, 1, 2])).toEqual({ median: 2, low: 1, high: 3 })
    expect(spreadOf([4, 1, 2, 3]).median).toBe(2.5)
    expect(spreadOf([]).median).toBeNaN()
    expect(percentile([...Array(100).keys()], 99)).toBe(98)
  })

  it('measures each subject between two measurements of its baseline', async () => {
    const measured: string[] = []
    const found = await compare('base', ['one', 'two'], { ...PLAN, rounds: 1 }, async (subject) => {
      measured.push(subject)
      return reading(subject === 'base' ? 100 : 50)
    })
    expect(measured).toEqual(['base', 'one', 'base', 'two', 'base'])
    expect(summarise(found.get('one')!, 0.05).ratio.median).toBe(0.5)
  })

  it('repeats a round whose baselines disagree, and only so often', async () => {
    let rate = 100
    const found = await compare('base', ['one'], PLAN, async () => reading((rate *= 1.5)))
    expect(found.get('one')).toHaveLength(PLAN.attempts)
  })

  it('counts rounds whose baselines agree, and says where there is none', () => {
    const kept = summarise([round(100, 50, 102), round(100, 90, 200)], 0.05)
    expect(kept).toMatchObject({ kept: 1, made: 2, isNoisy: false })
    expect(kept.ratio.median).toBeCloseTo(0.495)
    expect(summarise([round(100, 90, 200)], 0.05)).toMatchObject({ kept: 0, isNoisy: true, ratio: { median: 0.6 } })
  })

  it('reads what wrk prints', () => {
    const output = '  50%  418.00us\n  99%    1.20ms\n  2313 requests in 417.69ms, 277.83KB read\n'
    expect(readWrk(output)).toEqual({ requests: 2313, seconds: 0.41769, p50: 0.418, p99: 1.2 })
    expect(() => readWrk(`${output}  Non-2xx or 3xx responses: 3\n`)).toThrow('Non-2xx')
  })

  it('judges a target by the best of its subjects', () => {
    const target = { scenario: 'hit', subjects: ['a', 'b'], baseline: 'c', value: 'ratio', atLeast: 0.9 }
    const row = (subject: string, ratio: number) => ({ subject, baseline: 'c', values: { ratio } })
    expect(judge(target, [row('a', 0.5), row('b', 0.95)])).toMatchObject({ state: 'reached', subject: 'b' })
    expect(judge(target, [row('a', 0.5)]).state).toBe('not reached')
    expect(judge(target, []).state).toBe('not measured')
  })

  it('draws bars in order, and escapes what it writes', () => {
    const svg = chartOf('a < b', 'unit', [
      { label: 'slow', value: 10, isOurs: false },
      { label: 'fast & ours', value: 1234, isOurs: true },
    ])
    expect(svg.indexOf('fast &#38; ours')).toBeLessThan(svg.indexOf('slow'))
    expect(svg).toContain('a &#60; b')
    expect(svg).toContain('class="bar ours"')
  })
})
