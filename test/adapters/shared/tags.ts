import { expect, it } from 'vitest'
import { counting, oneRoute, type Site, type Stack, site } from '../../support/stacks.ts'
import { ManualTime } from '../../support/time.ts'

export function tags(stack: Stack): void {
  const expectRuns = async ({ get }: Site, ...texts: string[]) => {
    for (const text of texts) expect((await get('/')).text).toBe(text)
  }

  it('purges the responses that carry a tag, and no others', async () => {
    const { get, cache } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
      app.on('GET', '/items/:id', cached({ tags: ({ params }) => [`item:${params.id}`, 'items'] }), counting())
    })
    await get('/items/1')
    await get('/items/2')
    cache.invalidateTags('item:1')
    expect((await get('/items/1')).text).toBe('run 3')
    expect((await get('/items/2')).text).toBe('run 2')
    cache.invalidateTags('items')
    expect((await get('/items/2')).text).toBe('run 4')
  })

  it.each([
    ['its id', { type: 'item', id: 1 }, 'run 2'],
    ['its id as text', 'item:1', 'run 2'],
    ['its type', { type: 'item' }, 'run 2'],
    ['another id', { type: 'item', id: 2 }, 'run 1'],
  ])('reaches { type, id } by %s', async (_, tag, text) => {
    const served = await oneRoute(stack, counting(), { tags: { type: 'item', id: 1 } })
    await expectRuns(served, 'run 1')
    served.cache.invalidateTags(tag)
    await expectRuns(served, text)
  })

  it('takes tags from the handler', async () => {
    const served = await site(stack, { time: new ManualTime() }, (app, { cached, tag }) => {
      const handler = counting((text, call) => {
        tag(call, 'one', ['two', { type: 'three', id: 3 }])
        return text
      })
      app.on('GET', '/', cached({ tags: 'zero' }), handler)
    })
    await expectRuns(served, 'run 1', 'run 1')
    for (const [at, tag] of ['zero', 'one', 'two', 'three', 'three:3'].entries()) {
      served.cache.invalidateTags(tag)
      await expectRuns(served, `run ${at + 2}`, `run ${at + 2}`)
    }
  })

  it('does not store what the handler skips', async () => {
    const served = await site(stack, { time: new ManualTime() }, (app, { cached, skip }) => {
      const handler = counting((text, call) => {
        skip(call)
        return text
      })
      app.on('GET', '/', cached(), handler)
    })
    await expectRuns(served, 'run 1', 'run 2')
    expect((await served.get('/')).cacheStatus).toBe('tagcache; fwd=uri-miss; detail=skip')
  })

  it("takes the handler's ttl over the route's", async () => {
    const served = await site(stack, { time: new ManualTime() }, (app, { cached, ttl }) => {
      const handler = counting((text, call) => {
        ttl(call, '5s')
        return text
      })
      app.on('GET', '/', cached({ ttl: '1h' }), handler)
    })
    await served.get('/')
    expect((await served.get('/')).cacheStatus).toBe('tagcache; hit; ttl=5')
  })

  it('stores nothing for the ttl 0 of a handler', async () => {
    const served = await site(stack, { time: new ManualTime() }, (app, { cached, ttl }) => {
      const handler = counting((text, call) => {
        ttl(call, 0)
        return text
      })
      app.on('GET', '/', cached(), handler)
    })
    await expectRuns(served, 'run 1', 'run 2')
  })

  it('has tag, skip and ttl do nothing where no cached() is at work', async () => {
    const served = await site(stack, { time: new ManualTime() }, (app, { tag, skip, ttl }) => {
      const handler = counting((text, call) => {
        tag(call, 'item')
        skip(call)
        ttl(call, -1)
        return text
      })
      app.on('GET', '/', handler)
    })
    await expectRuns(served, 'run 1', 'run 2')
    expect(served.events).toEqual([])
  })

  it('answers but does not store where a handler names something that is no tag', async () => {
    const served = await site(stack, { time: new ManualTime() }, (app, { cached, tag }) => {
      const handler = counting((text, call) => {
        tag(call, '')
        return text
      })
      app.on('GET', '/', cached(), handler)
    })
    await expectRuns(served, 'run 1', 'run 2')
    const codes = served.events.flatMap((event) => (event.type === 'warning' ? [event.code] : []))
    expect(codes).toEqual(['TAGCACHE_CONTROL_FAILED', 'TAGCACHE_CONTROL_FAILED'])
  })

  it('asks for tags when the response is known', async () => {
    const served = await oneRoute(
      stack,
      counting((body, { res }) => {
        res.setHeader('X-Item', '7')
        return body
      }),
      { tags: ({ res }) => `item:${res.getHeader('x-item') ?? 'unknown'}` },
    )
    await expectRuns(served, 'run 1')
    served.cache.invalidateTags('item:unknown')
    await expectRuns(served, 'run 1')
    served.cache.invalidateTags('item:7')
    await expectRuns(served, 'run 2')
  })
}
