import fc from 'fast-check'
import { parseList } from 'structured-headers'
import { describe, expect, it } from 'vitest'
import type { TagList } from '../../../src/index.ts'
import type { Answer } from '../../support/http.ts'
import {
  type CallCacheOptions,
  type CallOptions,
  counting,
  type Handler,
  oneRoute,
  type Reply,
  type Site,
  type Stack,
  site,
  type Tools,
  turns,
  until,
} from '../../support/stacks.ts'
import { ManualTime } from '../../support/time.ts'

const FIELDS = ['Cache-Groups', 'Surrogate-Key', 'Cache-Tag'] as const

/** How two tags are told in each of the fields. */
const TOLD: Record<(typeof FIELDS)[number], string> = {
  'Cache-Groups': '"one", "two"',
  'Surrogate-Key': 'one two',
  'Cache-Tag': 'one,two',
}

/** What a handler may have said in all of them. */
const OWN = { 'Cache-Groups': '"own"', 'Surrogate-Key': 'own', 'Cache-Tag': 'own' }

function toldIn({ headers }: Pick<Answer, 'headers'>): Record<string, unknown> {
  return Object.fromEntries(
    FIELDS.flatMap((name) => {
      const value = headers[name.toLowerCase()]
      return value === undefined ? [] : [[name, value]]
    }),
  )
}

const MALFORMED = ['one, two', '"one', '"one" "two"', '"one",', '"\u00e9"', '(', '"one"; "two"', "'one'"]

export function groups(stack: Stack): void {
  const warnings = ({ events }: Site) => events.flatMap((event) => (event.type === 'warning' ? [event.code] : []))

  describe('Cache-Groups of a response (RFC 9875, 2)', () => {
    const grouped = (value: string | string[], route: CallOptions = {}) =>
      oneRoute(
        stack,
        counting((body) => ({ headers: { 'Cache-Groups': value }, body })),
        route,
      )

    it.each<[name: string, value: string | string[]]>([
      ['in one line', '"one", "two"'],
      ['in two lines', ['"one"', '"two"']],
      ['with parameters', '"one";a=1, "two";b'],
      ['beside members that are no strings', 'token, 5, "one", ("two"), "two"'],
    ])('are tags: %s', async (_, value) => {
      const { get, cache } = await grouped(value)
      const miss = await get('/')
      expect(miss.headers['cache-groups']).toBe([value].flat().join(', '))
      expect((await get('/')).headers['cache-groups']).toBe([value].flat().join(', '))
      for (const [at, tag] of ['one', 'two'].entries()) {
        await cache.invalidateTags(tag)
        expect((await get('/')).text).toBe(`run ${at + 2}`)
        expect((await get('/')).text).toBe(`run ${at + 2}`)
      }
      await cache.invalidateTags(['token', 'three', 'ONE'])
      expect((await get('/')).text).toBe('run 3')
    })

    it('add to the tags of the route', async () => {
      const { get, cache } = await grouped('"one"', { tags: 'zero' })
      await get('/')
      await cache.invalidateTags('zero')
      expect((await get('/')).text).toBe('run 2')
      await cache.invalidateTags('one')
      expect((await get('/')).text).toBe('run 3')
    })

    it.each(MALFORMED)('count for nothing where the field is malformed: %s', async (value) => {
      const served = await grouped(value)
      expect((await served.get('/')).cacheStatus).toBe('tagcache; fwd=uri-miss; stored')
      await served.cache.invalidateTags(['one', 'two'])
      expect((await served.get('/')).text).toBe('run 1')
      expect(warnings(served)).toEqual([])
    })

    it('that a 304 brings take the place of the old ones in the field, and both are tags', async () => {
      const time = new ManualTime()
      const handler: Handler = ({ req }) =>
        req.headers['if-none-match'] === '"v1"'
          ? { status: 304, headers: { ETag: '"v1"', 'Cache-Groups': '"two"' } }
          : { headers: { ETag: '"v1"', 'Cache-Groups': '"one"' }, body: 'page' }
      const { get, cache } = await oneRoute(stack, handler, { ttl: 10 }, { time })
      await get('/')
      time.move(11_000)
      expect((await get('/')).headers['cache-groups']).toBe('"two"')
      const hit = await get('/')
      expect([hit.headers['cache-groups'], hit.cacheStatus]).toEqual(['"two"', 'tagcache; hit; ttl=10'])
      await cache.invalidateTags('two')
      expect((await get('/')).cacheStatus).not.toMatch(/hit/)
    })

    it('that no tag can have never outlive their invalidation', async () => {
      const long = 'x'.repeat(300)
      const served = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        app.use(cached())
        app.on(
          'GET',
          '/',
          counting((body) => ({ headers: { 'Cache-Groups': `"${long}"` }, body })),
        )
        app.on('POST', '/other', () => ({ headers: { 'Cache-Group-Invalidation': `"${long}"` }, body: 'done' }))
      })
      expect((await served.get('/')).text).toBe('run 1')
      expect((await served.send('POST', '/other')).text).toBe('done')
      expect((await served.get('/')).text).toBe('run 2')
    })
  })

  describe('Cache-Group-Invalidation (RFC 9875, 3)', () => {
    const shop = (reply: Reply | Handler, place: 'cached' | 'invalidates' = 'cached', options: CallCacheOptions = {}) =>
      site(stack, { time: new ManualTime(), ...options }, (app, { cached, invalidates }) => {
        for (const page of ['one', 'two', 'three']) {
          app.on('GET', `/${page}`, cached(), () => ({ headers: { 'Cache-Groups': `"${page}"` }, body: 'page' }))
        }
        const layers = place === 'cached' ? [cached()] : [invalidates('other')]
        for (const method of ['POST', 'PUT', 'DELETE', 'M-SEARCH', 'GET', 'OPTIONS']) {
          app.on(method, '/write', ...layers, typeof reply === 'function' ? reply : () => reply)
        }
      })

    const keptOf = async ({ get }: Site) => {
      const kept: string[] = []
      for (const page of ['one', 'two', 'three']) {
        if (/; hit/.test((await get(`/${page}`)).cacheStatus!)) kept.push(page)
      }
      return kept
    }

    const fill = async (served: Site) => {
      await keptOf(served)
      expect(await keptOf(served)).toEqual(['one', 'two', 'three'])
    }

    describe.each(['cached', 'invalidates'] as const)('of a write behind %s()', (place) => {
      it.each(['POST', 'PUT', 'DELETE', 'M-SEARCH'])('%s purges the groups that its answer names', async (method) => {
        const headers = { 'Cache-Group-Invalidation': '"one", token, "two";a' }
        const served = await shop({ headers, body: 'done' }, place)
        await fill(served)
        const written = await served.send(method, '/write')
        expect(written.headers['cache-group-invalidation']).toBe(headers['Cache-Group-Invalidation'])
        expect(await keptOf(served)).toEqual(['three'])
      })

      it.each([201, 204, 303])('an answer of %i purges', async (status) => {
        const served = await shop({ status, headers: { 'Cache-Group-Invalidation': '"one"' } }, place)
        await fill(served)
        await served.send('POST', '/write')
        expect(await keptOf(served)).toEqual(['two', 'three'])
      })

      it.each([400, 409, 500])('an answer of %i does not', async (status) => {
        const served = await shop({ status, headers: { 'Cache-Group-Invalidation': '"one"' }, body: 'no' }, place)
        await fill(served)
        await served.send('POST', '/write')
        expect(await keptOf(served)).toEqual(['one', 'two', 'three'])
      })

      it.each(['GET', 'OPTIONS'])('%s does not', async (method) => {
        const served = await shop({ headers: { 'Cache-Group-Invalidation': '"one"' }, body: 'read' }, place)
        await fill(served)
        await served.send(method, '/write')
        expect(await keptOf(served)).toEqual(['one', 'two', 'three'])
      })

      it.each(MALFORMED)('a malformed field purges nothing: %s', async (value) => {
        const served = await shop({ headers: { 'Cache-Group-Invalidation': value }, body: 'done' }, place)
        await fill(served)
        expect((await served.send('POST', '/write')).text).toBe('done')
        expect(await keptOf(served)).toEqual(['one', 'two', 'three'])
      })

      it('names that no tag can have do no harm', async () => {
        const headers = { 'Cache-Group-Invalidation': `"", "${'x'.repeat(300)}", "one"` }
        const served = await shop({ headers, body: 'done' }, place)
        await fill(served)
        expect((await served.send('POST', '/write')).text).toBe('done')
        expect(await keptOf(served)).toEqual(['two', 'three'])
        // A cached() on a POST route is told of on its own account.
        expect(warnings(served).filter((code) => code !== 'TAGCACHE_UNSAFE_ROUTE')).toEqual([])
      })
    })

    it('does nothing where `when` says that nothing was written', async () => {
      const served = await site(stack, { time: new ManualTime() }, (app, { cached, invalidates }) => {
        app.on('GET', '/', cached({ tags: 'one' }), counting())
        app.on('POST', '/write', invalidates('other', { when: () => false }), () => ({
          headers: { 'Cache-Group-Invalidation': '"one"' },
          body: 'nothing written',
        }))
      })
      await served.get('/')
      await served.send('POST', '/write')
      expect((await served.get('/')).text).toBe('run 1')
    })

    describe('where tagField is Cache-Groups', () => {
      const told = async (
        tags: Parameters<Tools['invalidates']>[0],
        reply: Reply = 'done',
        options: CallCacheOptions = { tagField: 'Cache-Groups' },
      ) => {
        const { send } = await site(stack, { time: new ManualTime(), ...options }, (app, { invalidates }) => {
          app.on('PUT', '/:id', invalidates(tags), () => reply)
        })
        const answer = await send('PUT', '/1')
        return answer.headers['cache-group-invalidation']
      }

      it.each<[name: string, tags: Parameters<Tools['invalidates']>[0]]>([
        ['a list', ['one', 'two']],
        ['a function', () => ['one', 'two']],
        ['an asynchronous function', () => turns(2).then(() => ['one', 'two'])],
      ])('invalidates() tells what it purges: %s', async (_, tags) => {
        expect(await told(tags)).toBe('"one", "two"')
      })

      it('tells one id as that one, and a type as the type', async () => {
        expect(await told([{ type: 'item', id: 1 }, { type: 'list' }])).toBe('"item:1", "list"')
      })

      it('tells what the handler names beside', async () => {
        const value = (await told('one', { headers: { 'Cache-Group-Invalidation': '"two", "one"' }, body: 'done' }))!
        expect(
          parseList(value as string)
            .map(([name]) => name)
            .sort(),
        ).toEqual(['one', 'two'])
      })

      it('tells names so that they can be read back', async () => {
        expect(parseList((await told('say "hi" \\ there')) as string)[0]![0]).toBe('say "hi" \\ there')
      })

      it('tells nothing after an error', async () => {
        expect(await told('one', { status: 409, body: 'no' })).toBeUndefined()
      })

      it.each([undefined, false, 'Surrogate-Key', 'Cache-Tag'] as const)(
        'and nothing where it is %s',
        async (field) => {
          expect(await told('one', 'done', field === undefined ? {} : { tagField: field })).toBeUndefined()
        },
      )
    })
  })

  describe.each(FIELDS)('tagField: %s', (tagField) => {
    const value = TOLD[tagField]
    const others = FIELDS.filter((name) => name !== tagField)

    /** Of a response with two tags, and with words of its own in all fields where `own`. */
    const tagged = (
      handler: Handler = counting(),
      more: CallOptions = {},
      options: CallCacheOptions = { time: new ManualTime() },
    ) => oneRoute(stack, handler, { tagField, tags: ['one', 'two'], ...more }, options)

    it('tells the tags on miss, hit and 304', async () => {
      const { get } = await tagged(counting((body) => ({ headers: { ETag: '"v1"' }, body })))
      const miss = await get('/')
      expect([miss.cacheStatus, toldIn(miss)]).toEqual(['tagcache; fwd=uri-miss; stored', { [tagField]: value }])
      expect(toldIn(await get('/'))).toEqual({ [tagField]: value })
      const unchanged = await get('/', { 'if-none-match': '"v1"' })
      expect([unchanged.status, toldIn(unchanged)]).toEqual([304, { [tagField]: value }])
    })

    it('tells them on a miss that is answered 304', async () => {
      const { get } = await tagged(counting((body) => ({ headers: { ETag: '"v1"' }, body })))
      const unchanged = await get('/', { 'if-none-match': '"v1"' })
      expect([unchanged.status, toldIn(unchanged)]).toEqual([304, { [tagField]: value }])
    })

    it('tells them on HEAD', async () => {
      const { get, send } = await tagged()
      await get('/')
      expect(toldIn(await send('HEAD', '/'))).toEqual({ [tagField]: value })
    })

    it('tells them on a part', async () => {
      const { get } = await tagged()
      await get('/')
      const part = await get('/', { range: 'bytes=0-1' })
      expect([part.status, toldIn(part)]).toEqual([206, { [tagField]: value }])
    })

    it('tells them on a stored part', async () => {
      const handler = counting(() => ({ status: 206, headers: { 'Content-Range': 'bytes 0-3/9' }, body: 'part' }))
      const { get } = await tagged(handler, { storePartial: true })
      for (const range of ['bytes=0-3', 'bytes=1-2']) {
        const part = await get('/', { range })
        expect([part.status, toldIn(part)]).toEqual([206, { [tagField]: value }])
      }
      expect(handler.runs()).toBe(1)
    })

    it('tells them on what is stale: served meanwhile, validated, or instead of an error', async () => {
      const time = new ManualTime()
      let mode = 'fresh'
      const handler: Handler = () => {
        if (mode === 'down') return { status: 503, body: 'down' }
        if (mode === 'same') return { status: 304, headers: { ETag: '"v1"' } }
        return { headers: { ETag: '"v1"' }, body: 'page' }
      }
      const more = { ttl: 10, staleIfError: 1_000, staleWhileRevalidate: 5 }
      const { get, events } = await tagged(handler, more, { time })
      await get('/')
      const refreshes = () => events.filter((event) => event.type === 'refresh').length
      time.move(12_000)
      const meanwhile = await get('/')
      expect([meanwhile.cacheStatus, toldIn(meanwhile)]).toEqual([
        'tagcache; hit; ttl=-2; detail=stale-while-revalidate',
        { [tagField]: value },
      ])
      await until(() => refreshes() === 1)
      mode = 'same'
      time.move(20_000)
      const renewed = await get('/')
      expect([renewed.cacheStatus, toldIn(renewed)]).toEqual([
        'tagcache; fwd=stale; fwd-status=304; stored',
        { [tagField]: value },
      ])
      mode = 'down'
      time.move(20_000)
      const instead = await get('/')
      expect([instead.status, toldIn(instead)]).toEqual([200, { [tagField]: value }])
      expect(instead.cacheStatus).toMatch(/stale-if-error/)
    })

    it('tells them to those who waited', async () => {
      const time = new ManualTime()
      let open = () => {}
      const held = new Promise<void>((resolve) => {
        open = resolve
      })
      const { get } = await tagged(
        counting((text) => held.then(() => text)),
        {},
        { time },
      )
      const answers = [get('/'), get('/')]
      await until(() => time.pending === 1)
      open()
      for (const answer of await Promise.all(answers)) expect(toldIn(answer)).toEqual({ [tagField]: value })
    })

    it('tells the tags that the handler adds before the head', async () => {
      const { get } = await site(stack, { time: new ManualTime() }, (app, { cached, tag }) => {
        const handler = counting((text, call) => {
          tag(call, 'two')
          return text
        })
        app.on('GET', '/', cached({ tagField, tags: 'one' }), handler)
      })
      for (const _ of [1, 2]) {
        const answer = toldIn(await get('/'))[tagField] as string
        expect(answer.split(/, ?| /).sort()).toEqual(value.split(/, ?| /).sort())
      }
    })

    it('tells the tags of what streams', async () => {
      const { get } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
        app.raw('GET', '/', cached({ tagField, tags: ['one', 'two'] }), (_req, res) => {
          res.write('part')
          setImmediate(() => res.end('rest'))
        })
      })
      for (const _ of [1, 2]) expect(toldIn(await get('/'))).toEqual({ [tagField]: value })
    })

    it('tells both names of { type, id }, and no name of the namespace', async () => {
      const options = { time: new ManualTime(), namespace: 'shop' }
      const { get } = await tagged(counting(), { tags: [{ type: 'item', id: 1 }] }, options)
      const written = { 'Cache-Groups': '"item:1", "item"', 'Surrogate-Key': 'item:1 item', 'Cache-Tag': 'item:1,item' }
      for (const _ of [1, 2]) expect(toldIn(await get('/'))).toEqual({ [tagField]: written[tagField] })
    })

    it('takes the place of what the handler said, in all of the fields; its groups stay tags', async () => {
      const { get, cache } = await tagged(counting((body) => ({ headers: OWN, body })))
      for (const _ of [1, 2]) {
        const answer = await get('/')
        expect(toldIn(answer)[tagField]).toMatch(/one.*two.*own/)
        for (const name of others) expect(answer.headers[name.toLowerCase()]).toBeUndefined()
      }
      await cache.invalidateTags('own')
      expect((await get('/')).text).toBe('run 2')
    })

    it('tells nothing where there are no tags', async () => {
      const { get } = await oneRoute(stack, counting(), { tagField })
      for (const _ of [1, 2]) expect(toldIn(await get('/'))).toEqual({})
    })

    it('is left out, with a warning, where the tags do not fit', async () => {
      const tags = Array.from({ length: 200 }, (_, at) => `tag:${at}:${'x'.repeat(100)}`)
      const served = await tagged(
        counting((body) => ({ headers: OWN, body })),
        { tags },
      )
      for (const text of ['run 1', 'run 1']) {
        const answer = await served.get('/')
        expect([answer.status, answer.text, toldIn(answer)]).toEqual([200, text, {}])
      }
      expect(warnings(served)).toContain('TAGCACHE_TAGS_TOO_LONG')
      await served.cache.invalidateTags(tags[199]!)
      expect((await served.get('/')).text).toBe('run 2')
    })

    it('cannot be broken by any tag', async () => {
      let tags: TagList = []
      const { get } = await oneRoute(stack, () => 'page', { tagField, tags: () => tags, query: true })
      const linesOf = ({ rawHeaders }: Answer) =>
        rawHeaders.filter((_, at) => at % 2 === 0).map((name) => name.toLowerCase())
      tags = 'plain'
      const [miss, hit] = [linesOf(await get('/')), linesOf(await get('/'))]
      const names = fc.array(fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 4 })
      let at = 0
      await fc.assert(
        fc.asyncProperty(names, async (hostile) => {
          tags = hostile
          const path = `/?${++at}`
          const first = await get(path)
          expect([first.status, first.text]).toEqual([200, 'page'])
          if (!/stored/.test(first.cacheStatus!)) return
          expect(linesOf(first).sort()).toEqual([...miss].sort())
          const second = await get(path)
          expect(linesOf(second).sort()).toEqual([...hit].sort())
          expect(toldIn(second)).toEqual(toldIn(first))
          expect(countOf(tagField, String(toldIn(first)[tagField]))).toBe(new Set(hostile).size)
        }),
        {
          numRuns: 60,
          examples: [
            [['a\r\nSet-Cookie: a=1']],
            [['", "']],
            [['\\"']],
            [['a b', 'a,b']],
            [['%', '%25']],
            [['\u2028', 'é']],
          ],
        },
      )
    })
  })

  describe('tagField: false', () => {
    const silent = (reply: (text: string) => Reply, more: CallOptions = {}, options?: CallCacheOptions) =>
      oneRoute(stack, counting(reply), { tagField: false, tags: ['one'], ...more }, options)

    it('takes what the handler said away, on miss, hit, 304, HEAD and part', async () => {
      const { get, send, cache } = await silent((body) => ({ headers: { ...OWN, ETag: '"v1"' }, body }))
      expect(toldIn(await get('/'))).toEqual({})
      expect(toldIn(await get('/'))).toEqual({})
      expect(toldIn(await get('/', { 'if-none-match': '"v1"' }))).toEqual({})
      expect(toldIn(await get('/', { range: 'bytes=0-1' }))).toEqual({})
      expect(toldIn(await send('HEAD', '/'))).toEqual({})
      await cache.invalidateTags('own')
      expect((await get('/')).text).toBe('run 2')
    })

    it('takes it away from what is stale', async () => {
      const time = new ManualTime()
      const reply = (text: string): Reply =>
        text === 'run 1'
          ? { headers: { ...OWN, ETag: '"v1"' }, body: text }
          : { status: 304, headers: { ETag: '"v1"', ...OWN } }
      const { get, events } = await silent(reply, { ttl: 10, staleWhileRevalidate: 5 }, { time })
      await get('/')
      time.move(12_000)
      expect(toldIn(await get('/'))).toEqual({})
      await until(() => events.some((event) => event.type === 'refresh'))
      time.move(20_000)
      const renewed = await get('/')
      expect([renewed.cacheStatus, toldIn(renewed)]).toEqual(['tagcache; fwd=stale; fwd-status=304; stored', {}])
    })

    // What is not for clients is not for them because of the tags, not because of the store.
    it.each<[name: string, reply: Partial<Exclude<Reply, string>>, headers: Record<string, string>, more: CallOptions]>(
      [
        ['a response that forbids it', { headers: { 'Cache-Control': 'no-store' } }, {}, {}],
        ['an error', { status: 500 }, {}, {}],
        ['a request with credentials', {}, { cookie: 'session=1' }, {}],
        ['a request that forbids it', {}, { 'cache-control': 'no-store' }, {}],
        ['a body that is too large', {}, {}, { maxBodySize: 1 }],
      ],
    )('takes it away where nothing is stored, because of %s', async (_, reply, headers, more) => {
      const { get } = await silent((body) => ({ body, ...reply, headers: { ...OWN, ...reply.headers } }), more)
      const answer = await get('/', headers)
      expect(answer.cacheStatus).not.toMatch(/stored/)
      expect(toldIn(answer)).toEqual({})
    })
  })

  it('no tagField leaves what the handler said', async () => {
    const { get } = await oneRoute(
      stack,
      counting((body) => ({ headers: OWN, body })),
      { tags: ['one'] },
    )
    for (const _ of [1, 2]) expect(toldIn(await get('/'))).toEqual(OWN)
  })

  it('tagField of an inner cached() goes before the outer one', async () => {
    const { get } = await site(stack, { time: new ManualTime() }, (app, { cached }) => {
      app.use(cached({ tagField: 'Cache-Tag', tags: 'one' }))
      app.on('GET', '/', cached({ tagField: 'Surrogate-Key', tags: 'two' }), counting())
    })
    expect(toldIn(await get('/'))).toEqual({ 'Surrogate-Key': 'one two' })
  })
}

/** How many names a field tells. */
function countOf(field: (typeof FIELDS)[number], value: string): number {
  if (field === 'Cache-Groups') return parseList(value).length
  return value.split(field === 'Surrogate-Key' ? ' ' : ',').length
}
