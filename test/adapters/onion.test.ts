import Router from '@koa/router'
import type { Context, Middleware } from 'koa'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tagcache as koaCache } from '../../src/adapters/koa.ts'
import { ask, gate, listen } from '../support/http.ts'
import { type Call, counting, type Handler, KOAS, STACKS, type Stack, site, until } from '../support/stacks.ts'
import { ManualTime } from '../support/time.ts'

/** A site with a layer above the cache that knows how often it ran. */
function under(stack: Stack, above: (call: Call, run: number) => unknown, handler: Handler = counting()) {
  const time = new ManualTime()
  let runs = 0
  const served = site(stack, { time }, (app, { cached }) => {
    app.use(stack.before((call) => above(call, ++runs)))
    app.on('GET', '/', cached({ tags: 'page' }), handler)
  })
  return served.then((found) => ({ ...found, time }))
}

function append({ res }: Call, name: string, value: string): void {
  const before = res.getHeader(name)
  res.setHeader(name, before === undefined ? value : `${before}, ${value}`)
}

describe.each(STACKS)('what layers above set under $name', (stack) => {
  it('is fresh on each hit, and not stored', async () => {
    const { get, cache } = await under(stack, ({ req, res }, run) => {
      res.setHeader('Access-Control-Allow-Origin', req.headers.origin ?? 'nobody')
      res.setHeader('X-Request-Id', `request ${run}`)
      res.setHeader('Set-Cookie', [`session=${run}`, 'theme=dark'])
      res.setHeader('X-RateLimit-Remaining', 100 - run)
    })
    for (const [at, origin] of ['http://a.example', 'http://b.example', 'http://c.example'].entries()) {
      const { headers, text } = await get('/', { origin })
      expect(text).toBe('run 1')
      expect(headers['access-control-allow-origin']).toBe(origin)
      expect(headers['x-request-id']).toBe(`request ${at + 1}`)
      expect(headers['set-cookie']).toEqual([`session=${at + 1}`, 'theme=dark'])
      expect(headers['x-ratelimit-remaining']).toBe(String(99 - at))
    }
    const stored = (await cache.getByTags(['page']))!.headers
    for (const name of ['access-control-allow-origin', 'x-request-id', 'set-cookie', 'x-ratelimit-remaining']) {
      expect(stored).not.toHaveProperty([name])
    }
  })

  it('is each waiter’s own', async () => {
    const held = gate()
    const handler = counting((text) => held.opened.then(() => text))
    const { get, time } = await under(stack, ({ req, res }) => res.setHeader('X-For', req.headers['x-user']!), handler)
    const answers = ['ann', 'bob', 'cem'].map((user) => get('/', { 'x-user': user }))
    await until(() => time.pending === 2)
    held.open()
    const seen = (await Promise.all(answers)).map(({ headers, text }) => [headers['x-for'], text])
    expect(seen).toEqual([
      ['ann', 'run 1'],
      ['bob', 'run 1'],
      ['cem', 'run 1'],
    ])
  })

  it('is on a 304 too, on miss and hit', async () => {
    const handler = counting((body) => ({ headers: { ETag: '"v1"' }, body }))
    const { get } = await under(stack, ({ res }, run) => res.setHeader('X-Request-Id', run), handler)
    for (const run of ['1', '2']) {
      const { status, headers } = await get('/', { 'if-none-match': '"v1"' })
      expect([status, headers['x-request-id']]).toEqual([304, run])
    }
  })

  it('does not split the cache with its Vary, while what the handler appends does', async () => {
    const handler = counting((body, call) => {
      append(call, 'Vary', 'Accept-Language')
      return body
    })
    const { get } = await under(stack, ({ res }) => res.setHeader('Vary', 'Origin'), handler)
    const read = async (origin: string, language: string) => {
      const { text, headers } = await get('/', { origin, 'accept-language': language })
      return [text, headers.vary]
    }
    expect(await read('http://a.example', 'en')).toEqual(['run 1', 'Origin, Accept-Language'])
    expect(await read('http://b.example', 'en')).toEqual(['run 1', 'Origin, Accept-Language'])
    expect(await read('http://a.example', 'de')).toEqual(['run 2', 'Origin, Accept-Language'])
  })

  it('comes before the lines that the handler appends', async () => {
    const handler = counting((body, { res }) => {
      res.appendHeader('X-Line', ['below', 'below too'])
      return body
    })
    const { get } = await under(stack, ({ res }, run) => res.setHeader('X-Line', [`above ${run}`]), handler)
    const linesOf = async () => (await get('/')).rawHeaders.filter((_, at, all) => all[at - 1] === 'X-Line')
    expect(await linesOf()).toEqual(['above 1', 'below', 'below too'])
    expect(await linesOf()).toEqual(['above 2', 'below', 'below too'])
  })

  it('is gone where the handler takes it away, on hits too', async () => {
    const handler = counting((body, { res }) => {
      res.removeHeader('X-Above')
      return body
    })
    const { get } = await under(stack, ({ res }) => res.setHeader('X-Above', '1'), handler)
    expect((await get('/')).headers['x-above']).toBeUndefined()
    expect((await get('/')).headers['x-above']).toBeUndefined()
  })

  it('gives way to what the handler sets', async () => {
    const handler = counting((body) => ({ headers: { 'X-Own': 'below' }, body }))
    const { get } = await under(stack, ({ res }, run) => res.setHeader('X-Own', `above ${run}`), handler)
    expect((await get('/')).headers['x-own']).toBe('below')
    expect((await get('/')).headers['x-own']).toBe('below')
  })

  it('is heard where it says how clients may cache', async () => {
    const { get } = await under(stack, ({ res }, run) => res.setHeader('Cache-Control', `max-age=${run}`))
    expect((await get('/')).headers['cache-control']).toBe('max-age=1')
    const hit = await get('/')
    expect([hit.headers['cache-control'], hit.cacheStatus]).toEqual(['max-age=2', 'tagcache; hit; ttl=60'])
  })

  it.each(['no-store', 'private'])('keeps the response from being stored with %s', async (directive) => {
    const { get, cache } = await under(stack, ({ res }) => res.setHeader('Cache-Control', directive))
    expect((await get('/')).cacheStatus).toBe(`tagcache; fwd=uri-miss; detail=${directive}`)
    expect(cache.stats().entries).toBe(0)
  })

  it('does not hide a cookie that the handler adds', async () => {
    const handler = counting((body, { res }) => {
      res.appendHeader('Set-Cookie', 'mine=1')
      return body
    })
    const { get, cache } = await under(stack, ({ res }) => res.setHeader('Set-Cookie', ['session=1']), handler)
    const answer = await get('/')
    expect(answer.headers['set-cookie']).toEqual(['session=1', 'mine=1'])
    expect(answer.cacheStatus).toBe('tagcache; fwd=uri-miss; detail=set-cookie')
    expect(cache.stats().entries).toBe(0)
  })
})

describe.each(KOAS)('layers above under $name that act after the handler', ({ Koa }) => {
  const serve = async (above: Middleware, handler: (ctx: Context) => unknown) => {
    const { cached, cache } = koaCache({ time: new ManualTime() })
    const router = new Router().get('/', cached({ tags: 'page' }) as never, handler as never)
    const app = new Koa().use(above).use(router.routes() as never)
    const server = await listen(app.callback())
    onTestFinished(() => server.close())
    return { cache, get: (headers = {}) => ask(server.url, { headers }) }
  }

  const bodies: [name: string, body: (run: number) => unknown][] = [
    ['text', (run) => `text ${run}`],
    ['a Buffer', (run) => Buffer.from(`text ${run}`)],
  ]

  it('set fields for each visitor', async () => {
    let runs = 0
    const { cache, get } = await serve(
      async (ctx, next) => {
        await next()
        ctx.set('X-Request-Id', ctx.get('x-user'))
        ctx.cookies.set('session', ctx.get('x-user'))
      },
      (ctx) => {
        ctx.body = `run ${++runs}`
      },
    )
    for (const user of ['ann', 'bob']) {
      const { text, headers } = await get({ 'x-user': user })
      expect([text, headers['x-request-id']]).toEqual(['run 1', user])
      expect(headers['set-cookie']).toEqual([`session=${user}; path=/; httponly`])
    }
    const stored = (await cache.getByTags(['page']))!
    expect(Object.keys(stored.headers)).not.toContain('x-request-id')
    expect(Object.keys(stored.headers)).not.toContain('set-cookie')
  })

  it.each(bodies)('change %s, on miss and hit alike', async (_, body) => {
    let runs = 0
    const { get } = await serve(
      async (ctx, next) => {
        await next()
        ctx.body = `<${ctx.body}>`
      },
      (ctx) => {
        ctx.body = body(++runs)
      },
    )
    expect((await get()).text).toBe('<text 1>')
    const hit = await get()
    expect([hit.text, hit.cacheStatus]).toEqual(['<text 1>', 'tagcache; hit; ttl=60'])
  })

  it('do not change what is stored when they write into the body', async () => {
    const { get } = await serve(
      async (ctx, next) => {
        await next()
        ;(ctx.body as Buffer).fill('!')
      },
      (ctx) => {
        ctx.body = Buffer.from('text')
      },
    )
    expect((await get()).text).toBe('!!!!')
    expect((await get()).text).toBe('!!!!')
  })

  it('see the status and the fields of a hit', async () => {
    const seen: unknown[] = []
    const { get } = await serve(
      async (ctx, next) => {
        await next()
        seen.push([ctx.status, ctx.type, ctx.length, ctx.response.get('X-Own'), String(ctx.body)])
      },
      (ctx) => {
        ctx.set('X-Own', 'own')
        ctx.status = 203
        ctx.type = 'html'
        ctx.body = '<p>'
      },
    )
    await get()
    await get()
    expect(seen).toEqual([
      [203, 'text/html', 3, 'own', '<p>'],
      [203, 'text/html', 3, 'own', '<p>'],
    ])
  })
})
