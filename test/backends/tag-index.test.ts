import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Member, TagIndex } from '../../src/backends/tag-index.ts'
import { isOutdated } from '../../src/core/tags.ts'
import { Slices } from '../support/backends.ts'
import { ManualTime } from '../support/time.ts'

interface Named extends Member {
  readonly name: string
}

/** An index by a clock on which it takes so many milliseconds to reclaim a member. */
function setUp(perMember = 0) {
  const slices = new Slices()
  const time = new ManualTime()
  const reclaimed: string[] = []
  const reclaim = (member: Named) => {
    reclaimed.push(member.name)
    index.detach(member)
    time.move(perMember)
  }
  const index: TagIndex<Named> = new TagIndex<Named>(reclaim, slices.schedule, time.now)
  const attach = (name: string, tags: string[], stamp = index.clock) => {
    const member: Named = { name, stamp, links: [] }
    index.attach(member, tags)
    return member
  }
  return { index, slices, reclaimed, attach, names: (tag: string) => [...index.newest(tag)].map(({ name }) => name) }
}

describe('TagIndex', () => {
  it('knows the latest invalidation of tags, and of a member', () => {
    const { index, attach } = setUp()
    const member = attach('m', ['a', 'b'])
    expect(index.latestOf(member)).toBe(0)
    index.invalidate(['a'])
    const first = index.clock
    index.invalidate(['c'])
    expect([index.invalidatedAt(['a', 'b']), index.latestOf(member)]).toEqual([first, first])
    expect(index.invalidatedAt(['a', 'c'])).toBe(index.clock)
    expect(index.invalidatedAt(['never'])).toBe(0)
  })

  it('lists members newest first, until they are detached', () => {
    const { index, attach, names } = setUp()
    const [one] = [attach('one', ['t']), attach('two', ['t', 'u']), attach('three', ['t'])]
    expect([names('t'), names('u'), names('never')]).toEqual([['three', 'two', 'one'], ['two'], []])
    index.detach(one)
    index.detach(one)
    expect(names('t')).toEqual(['three', 'two'])
  })

  it('goes on listing when the member at hand is detached', () => {
    const { index, attach } = setUp()
    for (const name of ['one', 'two', 'three']) attach(name, ['t'])
    const seen: string[] = []
    for (const member of index.newest('t')) {
      seen.push(member.name)
      index.detach(member)
    }
    expect(seen).toEqual(['three', 'two', 'one'])
  })

  it('reclaims outdated members alone', () => {
    const { index, slices, reclaimed, attach } = setUp()
    attach('old', ['t'])
    attach('other', ['u'])
    index.invalidate(['t'])
    attach('new', ['t'])
    slices.runAll()
    expect(reclaimed).toEqual(['old'])
  })

  it('reclaims nothing before it gets its turn', () => {
    const { index, slices, reclaimed, attach } = setUp()
    attach('m', ['t'])
    index.invalidate(['t'])
    expect(reclaimed).toEqual([])
    expect(slices.runAll()).toBe(1)
    expect(reclaimed).toEqual(['m'])
  })

  it('reclaims 100,000 members in slices of at most 500', () => {
    const { index, slices, reclaimed, attach } = setUp()
    for (let at = 0; at < 100_000; at++) attach(`${at}`, ['all', `some ${at % 7}`])
    index.invalidate(['all', 'some 3'])
    let largest = 0
    let count = 0
    for (let before = 0; slices.runOne(); before = reclaimed.length) {
      largest = Math.max(largest, reclaimed.length - before)
      count += 1
    }
    expect(reclaimed.length).toBe(100_000)
    expect(largest).toBe(500)
    expect(count).toBeGreaterThanOrEqual(200)
    expect(index.tags, 'the tags are remembered for those still computing').toBe(2)
  })

  it('reclaims for half a millisecond at a time, where that is less', () => {
    const { index, slices, reclaimed, attach } = setUp(1 / 256)
    for (let at = 0; at < 1000; at++) attach(`${at}`, ['all'])
    index.invalidate(['all'])
    slices.runOne()
    expect(reclaimed.length).toBeGreaterThanOrEqual(128)
    expect(reclaimed.length).toBeLessThan(128 + 25)
    slices.runAll()
    expect(reclaimed.length).toBe(1000)
  })

  it('schedules one slice at a time, however many invalidations there are', () => {
    const { index, slices, attach } = setUp()
    for (let at = 0; at < 100; at++) {
      attach(`${at}`, ['t'])
      index.invalidate(['t'])
    }
    expect(slices.runAll()).toBe(1)
  })

  it('goes on reclaiming what is invalidated meanwhile', () => {
    const { index, slices, reclaimed, attach } = setUp()
    for (let at = 0; at < 600; at++) attach(`t${at}`, ['t'])
    index.invalidate(['t'])
    slices.runOne()
    attach('u', ['u'])
    index.invalidate(['u'])
    slices.runAll()
    expect(reclaimed.length).toBe(601)
  })

  it('forgets tags that nothing carries and nothing was invalidated of', () => {
    const { index, attach } = setUp()
    for (let at = 0; at < 1000; at++) index.detach(attach(`${at}`, [`tag ${at}`]))
    expect(index.tags).toBe(0)
  })

  it('remembers at most 10,000 tags that nothing carries, and stays right where it forgets', () => {
    const { index, attach } = setUp()
    const stamp = index.clock
    attach('kept', ['carried'])
    for (let at = 0; at < 50_000; at++) index.invalidate([`tag ${at}`])
    expect(index.tags).toBe(10_001)
    for (const at of [0, 1, 39_999, 40_000, 49_999]) {
      expect(isOutdated(stamp, index.invalidatedAt([`tag ${at}`])), `tag ${at}`).toBe(true)
    }
    expect(isOutdated(index.clock, index.invalidatedAt(['tag 0', 'tag 49999', 'never seen']))).toBe(false)
    expect(isOutdated(stamp, index.invalidatedAt(['carried'])), 'a tag that is known is not affected').toBe(false)
  })

  it('counts a tag that it may have forgotten as invalidated with the forgotten ones', () => {
    const { index } = setUp()
    const stamp = index.clock
    for (let at = 0; at < 10_001; at++) index.invalidate([`tag ${at}`])
    expect(isOutdated(stamp, index.invalidatedAt(['never seen']))).toBe(true)
  })

  it('holds the same bound for tags that lose their members', () => {
    const { index, slices, attach } = setUp()
    for (let at = 0; at < 30_000; at++) {
      attach(`${at}`, [`tag ${at}`])
      index.invalidate([`tag ${at}`])
      slices.runAll()
    }
    expect(index.tags).toBe(10_000)
  })

  it('forgets everything on clear(), and outdates what was before', () => {
    const { index, slices, reclaimed, attach } = setUp()
    const member = attach('m', ['t'])
    const stamp = index.clock
    index.invalidate(['t', 'u'])
    index.clear()
    expect(index.tags).toBe(0)
    expect(isOutdated(stamp, index.invalidatedAt(['t']))).toBe(true)
    expect(isOutdated(stamp, index.invalidatedAt(['never seen']))).toBe(true)
    expect(isOutdated(stamp, index.invalidatedAt([])), 'without tags, too').toBe(true)
    slices.runAll()
    index.detach(member)
    expect([reclaimed, index.tags]).toEqual([[], 0])
    attach('again', ['t'])
    expect(isOutdated(index.clock, index.invalidatedAt(['t']))).toBe(false)
  })

  it('lists those that are left of many, newest first, with the tags that each was given', () => {
    const tags = fc.subarray(['few', 'many', 'all'])
    const given = fc.array(fc.record({ tags, isLeft: fc.boolean(), place: fc.nat() }), { maxLength: 200 })
    fc.assert(
      fc.property(given, (given) => {
        const { index, attach, names } = setUp()
        const members = given.map(({ tags, ...more }, at) => {
          const all = ['every', ...tags, `own ${at}`]
          return { ...more, at, tags: all, member: attach(`${at}`, all) }
        })
        const leaving = members.filter(({ isLeft }) => !isLeft).sort((one, other) => one.place - other.place)
        for (const { member } of leaving) index.detach(member)
        const left = members.filter(({ isLeft }) => isLeft).toReversed()
        for (const tag of ['every', 'few', 'many', 'all']) {
          const carriers = left.filter(({ tags }) => tags.includes(tag))
          expect(names(tag)).toEqual(carriers.map(({ at }) => `${at}`))
        }
        for (const { member, tags } of left) expect(index.tagsOf(member)).toEqual(tags)
        for (const { member } of left) index.detach(member)
        expect(index.tags).toBe(0)
      }),
      { numRuns: 200 },
    )
  })

  it('agrees with a model that forgets nothing, and errs only towards outdated', () => {
    const tags = fc.subarray(['a', 'b', 'c', 'd'])
    const step = fc.oneof(
      fc.record({ type: fc.constant('attach' as const), tags }),
      fc.record({ type: fc.constant('invalidate' as const), tags }),
      fc.record({ type: fc.constant('detach' as const), at: fc.nat(20) }),
      fc.record({ type: fc.constant('slice' as const) }),
      fc.record({ type: fc.constant('clear' as const) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), tags, (steps, asked) => {
        const { index, slices, attach } = setUp()
        let members: { member: Named; tags: string[] }[] = []
        const model = new Map<string, number>()
        let cleared = 0
        for (const step of steps) {
          if (step.type === 'attach') members.push({ member: attach('m', step.tags), tags: step.tags })
          else if (step.type === 'slice') slices.runOne()
          else if (step.type === 'detach') members.splice(step.at, 1).map(({ member }) => index.detach(member))
          else if (step.type === 'clear') {
            index.clear()
            cleared = index.clock
            members = []
            model.clear()
          } else {
            index.invalidate(step.tags)
            for (const tag of step.tags) model.set(tag, index.clock)
          }
          for (const { member, tags } of members) {
            const latest = Math.max(0, ...tags.map((tag) => model.get(tag) ?? 0))
            if (member.links.length > 0) {
              expect(isOutdated(member.stamp, index.latestOf(member))).toBe(isOutdated(member.stamp, latest))
            } else if (tags.length > 0) {
              expect(isOutdated(member.stamp, latest), 'only what is outdated was reclaimed').toBe(true)
            }
          }
          if (asked.length > 0) {
            const latest = Math.max(cleared, ...asked.map((tag) => model.get(tag) ?? 0))
            expect(index.invalidatedAt(asked)).toBe(latest)
          }
        }
      }),
      { numRuns: 500 },
    )
  })
})
