import { once } from 'node:events'
import http, { type ServerResponse } from 'node:http'
import net from 'node:net'
import { describe, expect, it } from 'vitest'
import { memory } from '../../../src/index.ts'
import { Overridden } from '../../support/backends.ts'
import { ask, gate } from '../../support/http.ts'
import {
  type App,
  type Call,
  counting,
  type Handler,
  type Layer,
  type RawHandler,
  type Site,
  type Stack,
  site,
  type Tools,
  turns,
  until,
} from '../../support/stacks.ts'
import { ManualTime } from '../../support/time.ts'

type Purging = (tools: Tools) => Layer

const done: Handler = () => 'done'

export function purge(stack: Stack): void {
  /** A page that carries `item:1`, and a write to it. */
  const page = (purging: Purging, write: Handler = done) =>
    site(stack, { time: new ManualTime() }, (app, tools) => {
      app.on('GET', '/items/:id', tools.cached({ tags: ({ params }) => `item:${params.id}` }), counting())
      app.on('PUT', '/items/:id', purging(tools), write)
    })

  const textsAround = async ({ get, send }: Site) => {
    const before = (await get('/items/1')).text
    const written = await send('PUT', '/items/1')
    return { before, written, after: (await get('/items/1')).text }
  }

  const idOf = ({ params }: Call) => params.id!

  it.each([
    ['a static list', ({ invalidates }) => invalidates(['item:1', 'other'])],
    ['one tag', ({ invalidates }) => invalidates('item:1')],
    ['a function', ({ invalidates }) => invalidates((call) => [{ type: 'item', id: idOf(call) }])],
    [
      'an asynchronous function',
      ({ invalidates }) =>
        invalidates(async (call) => {
          await turns(2)
          return `item:${idOf(call)}`
        }),
    ],
  ] as [string, Purging][])('purges by %s', async (_, purging) => {
    const { before, written, after } = await textsAround(await page(purging))
    expect([before, written.text, after]).toEqual(['run 1', 'done', 'run 2'])
  })

  it('purges nothing else', async () => {
    const { get, send } = await page(({ invalidates }) => invalidates('other'))
    await get('/items/1')
    await send('PUT', '/items/2')
    expect((await get('/items/1')).text).toBe('run 1')
  })

  it('purges what its own URI gave, whatever it is tagged with (RFC 9111, 4.4)', async () => {
    const { after } = await textsAround(await page(({ invalidates }) => invalidates('other')))
    expect(after).toBe('run 2')
  })

  it.each([400, 404, 409, 500, 503])('purges nothing for an answer of %i', async (status) => {
    const write: Handler = () => ({ status, body: 'refused' })
    const { written, after } = await textsAround(await page(({ invalidates }) => invalidates('item:1'), write))
    expect([written.status, after]).toEqual([status, 'run 1'])
  })

  it.each([201, 204, 302])('purges for an answer of %i', async (status) => {
    const { written, after } = await textsAround(
      await page(
        ({ invalidates }) => invalidates('item:1'),
        () => ({ status }),
      ),
    )
    expect([written.status, after]).toEqual([status, 'run 2'])
  })

  it('purges nothing where the handler throws', async () => {
    const write: Handler = () => Promise.reject(new Error('thrown by the handler'))
    const { written, after } = await textsAround(await page(({ invalidates }) => invalidates('item:1'), write))
    expect([written.status, after]).toEqual([500, 'run 1'])
  })

  it.each([
    ['a failure that has written', 500, true, 'run 2'],
    ['a success that has not', 200, false, 'run 1'],
  ])('`when` tells of %s', async (_, status, hasWritten, text) => {
    const purging: Purging = ({ invalidates }) => invalidates('item:1', { when: () => hasWritten })
    const { after } = await textsAround(await page(purging, () => ({ status, body: 'said' })))
    expect(after).toBe(text)
  })

  it('purges everything where the tags cannot be told', async () => {
    const purging: Purging = ({ invalidates }) =>
      invalidates(() => {
        throw new Error('thrown by the tags')
      })
    const served = await page(purging)
    const { written, after } = await textsAround(served)
    expect([written.text, after]).toEqual(['done', 'run 2'])
    expect(served.events.map((event) => event.type === 'warning' && event.code)).toContain('TAGCACHE_PURGE_TAGS_FAILED')
  })

  it('keeps what was begun before the write from being stored', async () => {
    const held = gate()
    const handler = counting(async (text) => {
      if (text === 'run 1') await held.opened
      return text
    })
    const { get, send } = await site(stack, { time: new ManualTime() }, (app, { cached, invalidates }) => {
      app.on('GET', '/', cached({ tags: 'item' }), handler)
      app.on('PUT', '/', invalidates('item'), done)
    })
    const early = get('/')
    await until(() => handler.runs() === 1)
    await send('PUT', '/')
    held.open()
    expect((await early).text).toBe('run 1')
    expect((await get('/')).text).toBe('run 2')
  })

  it('purges although the client has gone', async () => {
    const began = gate()
    const held = gate()
    const served = await page(
      ({ invalidates }) => invalidates('item:1'),
      async () => {
        began.open()
        await held.opened
        return 'done'
      },
    )
    await served.get('/items/1')
    const request = http.request(`${served.server.url}/items/1`, { method: 'PUT', agent: false }).end()
    request.on('error', () => {})
    await began.opened
    request.destroy()
    held.open()
    await until(() => served.events.some(({ type }) => type === 'invalidation'))
    expect((await served.get('/items/1')).text).toBe('run 2')
  })

  describe('purges when the write is done, not only when its client has gone', () => {
    const expectPurgeAfter = async (
      mount: (app: App, layer: Layer, write: (res: ServerResponse) => Promise<void>) => void,
    ) => {
      const left = gate()
      const held = gate()
      let value = 'old'
      const { server, get } = await site(stack, { time: new ManualTime() }, (app, { cached, invalidates }) => {
        app.on('GET', '/', cached({ tags: 'item' }), () => value)
        mount(app, invalidates('item'), async (res) => {
          res.once('close', left.open)
          await held.opened
          value = 'new'
        })
      })
      const request = http.request(server.url, { method: 'PUT', agent: false }).end()
      request.on('error', () => {})
      await once(request, 'finish')
      await get('/')
      request.destroy()
      await left.opened
      await turns()
      expect((await get('/')).text).toBe('old')
      held.open()
      await turns()
      expect((await get('/')).text).toBe('new')
    }

    it('with an answer of the framework', () =>
      expectPurgeAfter((app, layer, write) => {
        app.on('PUT', '/', layer, ({ res }) => write(res).then(() => 'done'))
      }))

    it('with an answer of node:http', () =>
      expectPurgeAfter((app, layer, write) => {
        app.raw('PUT', '/', layer, (_req, res) => void write(res).then(() => res.end('done')))
      }))
  })

  it('purges a streamed answer again before its end', async () => {
    const began = gate()
    const held = gate()
    let value = 'old'
    const { server, get } = await site(stack, { time: new ManualTime() }, (app, { cached, invalidates }) => {
      app.on('GET', '/', cached({ tags: 'item' }), () => value)
      app.raw('PUT', '/', invalidates('item'), async (_req, res) => {
        res.write('part', () => began.open())
        await held.opened
        value = 'new'
        res.end('rest')
      })
    })
    const written = ask(server.url, { method: 'PUT' })
    await began.opened
    expect((await get('/')).text).toBe('old')
    held.open()
    expect((await written).text).toBe('partrest')
    expect((await get('/')).text).toBe('new')
  })

  it('does so where the handler answers with a promise of its own', async () => {
    const { get, send } = await site(stack, { time: new ManualTime() }, (app, { cached, invalidates }) => {
      const handler = counting()
      app.on('GET', '/', cached({ tags: ['item'] }), handler)
      app.on('DELETE', '/', invalidates('item'), () => turns(3).then(() => ({ status: 204 })))
    })
    await get('/')
    expect((await send('DELETE', '/')).status).toBe(204)
    expect((await get('/')).text).toBe('run 2')
  })

  describe('over a slow backend, the client reads nothing before the purge', () => {
    const body = 'x'.repeat(70_000)
    const writes: [name: string, write: RawHandler][] = [
      ['one end()', (_req, res) => res.end(body)],
      ['end() with a length', (_req, res) => res.setHeader('Content-Length', body.length).end(body)],
      ['writeHead(), then end()', (_req, res) => res.writeHead(201, { 'X-Own': 'a' }).end(body)],
      ['flushHeaders(), then end()', (_req, res) => [res.flushHeaders(), res.end(body)]],
      [
        'write() and end()',
        (_req, res) => {
          res.write(body)
          res.end(body)
        },
      ],
      [
        'write(), and end() later',
        (_req, res) => {
          res.write(body)
          setImmediate(() => res.end(body))
        },
      ],
    ]

    /** A site whose purges wait for `open`, and the order in which purge and bytes were seen. */
    const slowSite = async (mount: (app: App, layer: Layer) => void) => {
      const inner = memory()
      const purging = gate()
      const order: string[] = []
      const invalidate = async (tags: readonly string[]) => {
        await purging.opened
        await turns(5)
        inner.invalidate(tags)
        order.push('purged')
      }
      const backend = new Overridden(inner, { sync: false, invalidate })
      const served = await site(stack, { backend, time: new ManualTime() }, (app, { invalidates }) => {
        app.on('GET', '/other', () => 'other')
        mount(app, invalidates('item'))
      })
      const talk = (text: string) => {
        const socket = net.connect(served.port, '127.0.0.1')
        const received: Buffer[] = []
        socket.on('data', (chunk) => {
          order.push('bytes')
          received.push(chunk)
        })
        socket.write(text)
        return { socket, text: () => Buffer.concat(received).toString('latin1') }
      }
      return { ...served, order, talk, open: () => purging.open() }
    }

    it.each(writes)('with %s', async (_, write) => {
      const answered = gate()
      const { get, talk, order, open } = await slowSite((app, layer) =>
        app.raw('PUT', '/', layer, (req, res) => {
          write(req, res)
          setImmediate(answered.open)
        }),
      )
      const client = talk('PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      await answered.opened
      await get('/other')
      await turns()
      expect(order).toEqual([])
      open()
      await once(client.socket, 'close')
      expect(order[0]).toBe('purged')
      expect(client.text()).toContain(body)
    })

    it('in the framework’s own way of answering', async () => {
      const { get, talk, order, open } = await slowSite((app, layer) => app.on('PUT', '/', layer, done))
      const client = talk('PUT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      await get('/other')
      await turns()
      expect(order).toEqual([])
      open()
      await once(client.socket, 'close')
      expect(order.slice(0, 2)).toEqual(['purged', 'bytes'])
      expect(client.text()).toMatch(/^HTTP\/1\.1 200 OK\r\n.*done/s)
    })

    const request = (method: string, path: string, close = false) =>
      `${method} ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n${close ? 'Connection: close\r\n' : ''}\r\n`

    it('before a pipelined request on the same socket', async () => {
      const { get, talk, order, open } = await slowSite((app, layer) => app.on('PUT', '/', layer, done))
      const client = talk(request('PUT', '/') + request('GET', '/other', true))
      await get('/other')
      await turns()
      expect(order).toEqual([])
      open()
      await once(client.socket, 'close')
      expect(order[0]).toBe('purged')
      expect(client.text()).toMatch(/^HTTP\/1\.1 200 OK\r\n.*doneHTTP\/1\.1 200 OK\r\n.*other$/s)
    })

    it.each(writes)('after a pipelined request on the same socket, with %s', async (_, write) => {
      const answered = gate()
      const held = gate()
      const { get, talk, order, open } = await slowSite((app, layer) => {
        app.on('GET', '/held', () => held.opened.then(() => 'was held'))
        app.raw('PUT', '/', layer, (req, res) => {
          write(req, res)
          setImmediate(answered.open)
        })
      })
      const client = talk(request('GET', '/held') + request('PUT', '/', true))
      await answered.opened
      held.open()
      await until(() => client.text().includes('was held'))
      await get('/other')
      await turns()
      expect(client.text()).toMatch(/was held$/)
      open()
      await once(client.socket, 'close')
      expect(order.indexOf('purged')).toBe(1)
      expect(client.text()).toContain(body)
    })
  })
}
