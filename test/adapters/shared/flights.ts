import http from 'node:http'
import { describe, expect, it } from 'vitest'
import { type Answer, gate } from '../../support/http.ts'
import {
  type Call,
  type CallOptions,
  counting,
  oneRoute,
  type Reply,
  type Stack,
  turns,
  until,
} from '../../support/stacks.ts'
import { ManualTime } from '../../support/time.ts'

export function flights(stack: Stack): void {
  /** A handler whose first run is held until `lead`, the others until `follow`. */
  const held = async (
    firstReply: (text: string, call: Call) => Reply,
    route: CallOptions = {},
    nextReply: (text: string, call: Call) => Reply = (text) => text,
  ) => {
    const time = new ManualTime()
    const lead = gate()
    const follow = gate()
    const handler = counting(async (text, call) => {
      await (text === 'run 1' ? lead.opened : follow.opened)
      return text === 'run 1' ? firstReply(text, call) : nextReply(text, call)
    })
    const served = await oneRoute(stack, handler, route, { time })
    const waiting = (count: number) => until(() => time.pending === count)
    const running = (count: number) => until(() => handler.runs() === count)
    return { ...served, time, lead, follow, handler, waiting, running }
  }

  const textsOf = async (answers: Promise<Answer>[]) => (await Promise.all(answers)).map(({ text }) => text)

  it('has a hundred requests share one run', async () => {
    const { get, lead, waiting, handler, cache } = await held((text) => text)
    const answers = Array.from({ length: 100 }, () => get('/'))
    await waiting(99)
    lead.open()
    expect(new Set(await textsOf(answers))).toEqual(new Set(['run 1']))
    expect(handler.runs()).toBe(1)
    expect(cache.stats()).toMatchObject({ requests: 100, misses: 1, collapsed: 99, entries: 1 })
  })

  it('answers each waiter by its own conditions and method', async () => {
    const { get, send, lead, waiting, running } = await held((body) => ({ headers: { ETag: '"v1"' }, body }))
    const leader = get('/')
    await running(1)
    const conditional = get('/', { 'if-none-match': '"v1"' })
    const plain = send('GET', '/')
    await waiting(2)
    lead.open()
    expect((await leader).status).toBe(200)
    expect([(await conditional).status, (await conditional).text]).toEqual([304, ''])
    expect([(await plain).status, (await plain).text]).toEqual([200, 'run 1'])
  })

  describe('releases those who wait, all at once, when the leader', () => {
    const expectParallel = async (
      { get, waiting, running, follow, handler }: Awaited<ReturnType<typeof held>>,
      end: () => void,
      leader: Promise<unknown>,
    ) => {
      await running(1)
      const waiters = [get('/'), get('/'), get('/')]
      await waiting(3)
      end()
      await running(4)
      follow.open()
      const answers = await Promise.all(waiters)
      expect(answers.map(({ text }) => text).sort()).toEqual(['run 2', 'run 3', 'run 4'])
      await leader
      expect(handler.runs()).toBe(4)
    }

    it('throws', async () => {
      const served = await held(() => {
        throw new Error('thrown by the leader')
      })
      await expectParallel(served, () => served.lead.open(), served.get('/'))
    })

    it.each([
      ['sets a cookie', { headers: { 'Set-Cookie': 'a=1' }, body: 'mine' }],
      ['answers an error', { status: 500, body: 'broken' }],
      ['says no-store', { headers: { 'Cache-Control': 'no-store' }, body: 'mine' }],
    ] as [string, Reply][])('%s', async (_, reply) => {
      const served = await held(() => reply)
      await expectParallel(served, () => served.lead.open(), served.get('/'))
    })

    it('is too large', async () => {
      const served = await held(() => 'x'.repeat(101), { maxBodySize: 100 })
      await expectParallel(served, () => served.lead.open(), served.get('/'))
    })

    it('loses its client', async () => {
      const served = await held((text) => text)
      const request = http.get(served.server.url, { agent: false }).on('error', () => {})
      await expectParallel(served, () => request.destroy(), Promise.resolve())
      served.lead.open()
    })

    it('hangs longer than they may wait', async () => {
      const served = await held((text) => text, { coalesce: { maxWait: '3s' } })
      const leader = served.get('/')
      await expectParallel(served, () => served.time.move(3_000), Promise.resolve())
      served.lead.open()
      expect((await leader).text).toBe('run 1')
    })
  })

  it('lets nobody go before the deadline', async () => {
    const { get, time, waiting, running, handler, lead } = await held((text) => text, { coalesce: { maxWait: '3s' } })
    const answers = [get('/')]
    await running(1)
    answers.push(get('/'))
    await waiting(1)
    time.move(2_999)
    await turns()
    expect(handler.runs()).toBe(1)
    lead.open()
    expect(await textsOf(answers)).toEqual(['run 1', 'run 1'])
    expect(time.pending).toBe(0)
  })

  it('does not gather requests for a key whose responses are of no use to others', async () => {
    const mine = (body: string) => ({ headers: { 'Set-Cookie': 'a=1' }, body })
    const { get, lead, follow, running, time } = await held(mine, {}, mine)
    lead.open()
    await get('/')
    const answers = [get('/'), get('/'), get('/')]
    await running(4)
    expect(time.pending).toBe(0)
    follow.open()
    expect((await textsOf(answers)).sort()).toEqual(['run 2', 'run 3', 'run 4'])
  })

  it('gathers requests again once a response was of use', async () => {
    const { get, lead, follow, running, waiting, cache } = await held((body) => ({
      headers: { 'Set-Cookie': 'a=1' },
      body,
    }))
    lead.open()
    await get('/')
    follow.open()
    await get('/')
    expect(cache.stats().entries).toBe(1)
    expect((await get('/')).text).toBe('run 2')
    cache.clear()
    const answers = [get('/'), get('/')]
    await running(3)
    await waiting(0)
    expect(await textsOf(answers)).toEqual(['run 3', 'run 3'])
  })

  it('does not have a newcomer wait for a run that began before an invalidation', async () => {
    const { get, lead, follow, running, cache } = await held((text) => text, { tags: 'item' })
    const early = get('/')
    await running(1)
    cache.invalidateTags('item')
    const late = get('/')
    await running(2)
    follow.open()
    expect((await late).text).toBe('run 2')
    lead.open()
    expect((await early).text).toBe('run 1')
    expect((await get('/')).text).toBe('run 2')
  })

  it('has an invalidation of other tags change nothing', async () => {
    const { get, lead, running, waiting, handler, cache } = await held((text) => text, { tags: 'item' })
    const answers = [get('/')]
    await running(1)
    cache.invalidateTags('other')
    answers.push(get('/'))
    await waiting(1)
    lead.open()
    expect(await textsOf(answers)).toEqual(['run 1', 'run 1'])
    expect(handler.runs()).toBe(1)
  })

  it('does not run the handler for who has left while waiting', async () => {
    const { server, lead, running, waiting, handler, get } = await held(() => {
      throw new Error('thrown by the leader')
    })
    const leader = get('/')
    await running(1)
    const request = http.get(server.url, { agent: false }).on('error', () => {})
    await waiting(1)
    request.destroy()
    await waiting(0)
    lead.open()
    await leader
    await turns()
    expect(handler.runs()).toBe(1)
  })
}
