import net from 'node:net'
import { Readable } from 'node:stream'
import type { Context } from 'koa'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tagcache as koaCache } from '../../src/adapters/koa.ts'
import { type Cache, createCache, keyValue, memory, type TagBackend } from '../../src/index.ts'
import { AsyncMap, Overridden, Slices } from '../support/backends.ts'
import { gate } from '../support/http.ts'
import { type CallOptions, counting, KOAS, oneRoute, STACKS, site, turns, until } from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'
import { read, serving, watchProcess } from './support.ts'

const [EXPRESS] = STACKS

describe('very long durations', () => {
  it.each([Number.POSITIVE_INFINITY, '30 days', '200 years'])(
    'a backend’s deadline of %s is no early one',
    async (timeout) => {
      const { warnings } = watchProcess()
      const options = { backend: keyValue(new AsyncMap()), backendTimeout: timeout }
      const { get, events } = await oneRoute(EXPRESS!, counting(), {}, options)
      expect(await read({ get }, '/', '/')).toEqual(['run 1', 'run 1'])
      await turns()
      expect(events.filter(({ type }) => type === 'fault')).toEqual([])
      expect(warnings).toEqual([])
    },
  )

  it.each([Number.POSITIVE_INFINITY, '30 days'])('a longest wait of %s is no short one', async (maxWait) => {
    const { warnings } = watchProcess()
    const held = gate()
    const handler = counting((text) => held.opened.then(() => text))
    const { get } = await oneRoute(EXPRESS!, handler, { coalesce: { maxWait } }, {})
    const answers = [1, 2, 3, 4, 5].map(() => get('/'))
    await new Promise((resolve) => setTimeout(resolve, 50))
    held.open()
    expect(new Set((await Promise.all(answers)).map(({ text }) => text))).toEqual(new Set(['run 1']))
    expect(warnings).toEqual([])
  })
})

describe('a backend of three methods', () => {
  it.each([new Map<string, Uint8Array>(), new AsyncMap()])('heals from damaged bytes with one miss', async (store) => {
    const backend = keyValue(store as AsyncMap)
    const { get, events } = await oneRoute(EXPRESS!, counting(), { ttl: '1h' }, { backend })
    await get('/')
    const map = store instanceof AsyncMap ? store.map : store
    for (const key of map.keys()) map.set(key, Buffer.from('garbage'))
    expect(await read({ get }, '/', '/', '/')).toEqual(['run 2', 'run 2', 'run 2'])
    expect(events.filter(({ type }) => type === 'fault')).toMatchObject([
      { operation: 'lookup', error: { code: 'ERR_TAGCACHE_FRAME' } },
    ])
    expect(events.filter(({ type }) => type === 'backend')).toEqual([])
  })

  it('gives the memory of purged bodies back, slice by slice', () => {
    const map = new Map<string, Uint8Array>()
    const slices = new Slices()
    const cache = createCache({ backend: keyValue(map, { schedule: slices.schedule }) })
    for (let at = 0; at < 1200; at += 1) cache.set('GET /', { query: `i=${at}` }, [], { body: 'x' }, 60)
    cache.clear()
    expect(map.size).toBe(1200)
    const sizes: number[] = []
    while (map.size > 0 && slices.runOne()) sizes.push(map.size)
    expect(map.size).toBe(0)
    expect(sizes.length).toBeGreaterThan(1)
  })

  it('keeps what was stored after the purge', () => {
    const map = new Map<string, Uint8Array>()
    const slices = new Slices()
    const cache = createCache({ backend: keyValue(map, { schedule: slices.schedule }) })
    for (const body of ['old', 'new']) {
      cache.set('GET /', {}, [], { body }, 60)
      if (body === 'old') cache.clear()
    }
    slices.runAll()
    expect(cache.getByRequest('GET /')?.body.toString()).toBe('new')
  })
})

const failing = async () => {
  throw new Error('no database')
}

describe.each(STACKS)('options whose functions are asynchronous, under $name', (stack) => {
  it.each<[string, CallOptions]>([
    ['host', { host: (async () => 'a') as never }],
    ['host', { host: failing as never }],
    ['enabled', { enabled: (async () => true) as never }],
    ['enabled', { enabled: failing as never }],
    ['key', { key: (async () => 'a') as never }],
    ['key', { key: failing as never }],
  ])('%s has the cache stand aside', async (_option, options) => {
    const { rejections } = watchProcess()
    const { get, events } = await oneRoute(stack, counting(), options)
    for (const text of ['run 1', 'run 2']) {
      expect(await get('/')).toMatchObject({ text, cacheStatus: 'tagcache; fwd=bypass; detail=option-failed' })
    }
    expect(events).toContainEqual(expect.objectContaining({ type: 'warning', code: 'TAGCACHE_OPTION_FAILED' }))
    await turns()
    expect(rejections).toEqual([])
  })

  it.each([async () => 'ann', failing])('scope names nobody', async (scope) => {
    const { rejections } = watchProcess()
    const { get } = await oneRoute(stack, counting(), { scope: scope as never })
    for (const text of ['run 1', 'run 2']) {
      expect(await get('/')).toMatchObject({ text, cacheStatus: 'tagcache; fwd=bypass; detail=scope' })
    }
    await turns()
    expect(rejections).toEqual([])
  })

  it.each([async () => ['p'], failing])('tags keep the response from being stored', async (tags) => {
    const { rejections } = watchProcess()
    const { get, events } = await oneRoute(stack, counting(), { tags: tags as never })
    for (const text of ['run 1', 'run 2']) {
      expect(await get('/')).toMatchObject({ text, cacheStatus: 'tagcache; fwd=uri-miss; detail=tags-failed' })
    }
    expect(events).toContainEqual(expect.objectContaining({ type: 'warning', code: 'TAGCACHE_TAGS_FAILED' }))
    await turns()
    expect(rejections).toEqual([])
  })
})

describe.each(KOAS)('a stream under $name that fails', ({ Koa }) => {
  const BODIES: Record<string, () => Readable> = {
    'before its first byte': () =>
      new Readable({
        read() {
          this.destroy(new Error('no file'))
        },
      }),
    'after its first byte': () =>
      Readable.from(
        (async function* () {
          yield 'a'
          throw new Error('no file')
        })(),
      ),
  }

  it.each(Object.entries(BODIES))('%s is told as often as it is uncached', async (_when, bodyOf) => {
    const told: string[][] = []
    for (const layers of [[], [koaCache().cached()]]) {
      const errors: string[] = []
      const app = new Koa()
      app.on('error', ({ message }) => errors.push(message))
      for (const layer of layers) app.use(layer)
      app.use((ctx) => {
        ctx.body = bodyOf()
      })
      const { port } = await serving(app.callback())
      // What the client sees differs from version to version, and it may wait for ever.
      const client = net.connect(port, '127.0.0.1').on('error', () => {})
      onTestFinished(() => void client.destroy())
      client.write('GET / HTTP/1.1\r\nHost: h\r\n\r\n')
      await until(() => errors.length > 0)
      await turns()
      told.push(errors)
    }
    const [uncached, cached] = told
    expect(new Set(uncached)).toEqual(new Set(['no file']))
    expect(cached).toEqual(uncached)
  })
})

describe('bodies of the web under Koa 3', () => {
  const { Koa } = KOAS.find(({ version }) => version === 3)!
  const BODIES: Record<string, () => unknown> = {
    Blob: () => new Blob(['hello']),
    ReadableStream: () => new Blob(['hello']).stream(),
    Response: () => new Response('hello'),
  }

  it.each(Object.entries(BODIES))('%s is delivered and not stored', async (_kind, bodyOf) => {
    const app = new Koa()
    let runs = 0
    app.use(koaCache().cached())
    app.use((ctx: Context) => {
      runs += 1
      ctx.body = bodyOf()
    })
    const served = await serving(app.callback())
    expect(await read(served, '/', '/')).toEqual(['hello', 'hello'])
    expect(runs).toBe(2)
    expect((await served.get('/')).cacheStatus).not.toContain('hit')
  })
})

describe.each(STACKS)('a chain of many caches under $name', (stack) => {
  it('adds no more listeners than one', async () => {
    const { warnings } = watchProcess()
    const caches = Array.from({ length: 12 }, () => stack.tools())
    const { get, send } = await site(stack, {}, (app) => {
      for (const { cached, invalidates } of caches) app.use(cached(), invalidates('x'))
      app.on('GET', '/', () => 'page')
      app.on('PUT', '/', () => 'written')
    })
    expect((await get('/')).text).toBe('page')
    expect((await get('/', { cookie: 'a=1' })).text).toBe('page')
    expect((await send('PUT', '/')).text).toBe('written')
    await turns()
    expect(warnings).not.toContain('MaxListenersExceededWarning')
  })
})

const METHODS = ['lookup', 'clock', 'invalidatedAt', 'store', 'invalidate', 'delete', 'clear', 'list'] as const

describe('many purges that a backend has not taken', () => {
  it('cost nothing while it rests, and are delivered a thousand at a time', async () => {
    const inner = memory()
    const calls: string[] = []
    let isDown = true
    const counted = Object.fromEntries(
      METHODS.map((name) => [
        name,
        async (...args: never[]) => {
          calls.push(name)
          if (isDown) throw new Error('down')
          return (inner[name] as (...args: never[]) => unknown)(...args)
        },
      ]),
    )
    const time = new ManualTime()
    const backend = new Overridden(inner, { ...counted, sync: false } as Partial<TagBackend>)
    const cache = createCache({ backend, backendPause: '60s', time })
    for (let from = 0; from < 9_900; from += 100) {
      await cache.invalidateTags(Array.from({ length: 100 }, (_, at) => `tag ${from + at}`))
    }
    expect(calls).toEqual(['invalidate'])
    const began = performance.now()
    for (let at = 0; at < 2_000; at += 1) await cache.getByRequest('GET /')
    // Going through all that is kept would take seconds.
    expect(performance.now() - began).toBeLessThan(500)
    expect(calls).toEqual(['invalidate'])
    isDown = false
    time.move(60_000)
    await new Promise((resolve) => setTimeout(resolve, 50))
    await cache.getByRequest('GET /')
    expect(calls).toEqual(['invalidate', ...Array(10).fill('invalidate'), 'lookup'])
  })

  it('become a purge of everything of their own cache where they are too many, and of no other that shares the backend', async () => {
    const inner = memory()
    let isDown = false
    const invalidate = async (tags: readonly string[]) => {
      if (isDown) throw new Error('down')
      inner.invalidate(tags)
    }
    const time = new ManualTime()
    const backend = new Overridden(inner, { sync: false, invalidate })
    const [one, other] = ['one', 'other'].map((namespace) =>
      createCache({ backend, namespace, backendPause: '1s', time }),
    ) as [Cache, Cache]
    for (const cache of [one, other]) await cache.set('GET /', {}, ['kept'], { body: 'x' }, '1h')
    isDown = true
    for (let from = 0; from < 10_100; from += 100)
      await one.invalidateTags(Array.from({ length: 100 }, (_, at) => `tag ${from + at}`))
    expect(one.stats().backend.undelivered).toBe('everything')
    isDown = false
    time.move(1000)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(one.stats().backend.undelivered).toBe(0)
    expect([await one.getByRequest('GET /'), (await other.getByRequest('GET /'))?.tags]).toEqual([undefined, ['kept']])
  })
})
