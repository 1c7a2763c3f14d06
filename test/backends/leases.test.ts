import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import express, { type Request, type Response } from 'express'
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { type ExpressCache, tagcache } from '../../src/adapters/express.ts'
import { memory } from '../../src/backends/memory.ts'
import { redis } from '../../src/backends/redis/redis.ts'
import { tiered } from '../../src/backends/tiered.ts'
import type { CacheEvent, CacheOptions, RouteOptions } from '../../src/index.ts'
import { type Answer, ask, gate, listen, type Question } from '../support/http.ts'
import { type RedisServer, startRedis, until } from '../support/redis.ts'
import { type RedisClient, type RedisLibrary, redisLibraries } from '../support/redis-clients.ts'
import { type Relay, startRelay } from '../support/relay.ts'

const LEASE = 3000
// Of a look-up; longer than by default, so that a busy machine does not pass for one that is away.
const DEADLINE = 1000
// What a machine that others load as well may be late by.
const SLACK = 800
const [ioredis, , nodeRedis] = redisLibraries as [RedisLibrary, RedisLibrary, RedisLibrary]

type Handler = (req: Request, res: Response, node: Node) => unknown

interface NodeOptions {
  readonly library?: RedisLibrary
  /** Where subscriptions connect to, if somewhere else. */
  readonly subscribeAt?: number
  readonly route?: RouteOptions<never>
  readonly cache?: Partial<CacheOptions<never>>
  readonly isTiered?: boolean
}

interface Node extends Pick<ExpressCache, 'cache' | 'tag'> {
  readonly url: string
  readonly client: RedisClient
  readonly events: CacheEvent[]
  get(path?: string, headers?: Question['headers']): Promise<Answer & { readonly took: number }>
  send(method: string, path: string): Promise<Answer>
}

/** A process as it were: a client, a cache and an HTTP server of its own, with one route that is coalesced in the cluster. */
async function nodeAt(port: number, handler: Handler, options: NodeOptions = {}): Promise<Node> {
  const { library = ioredis, subscribeAt, route, cache: more, isTiered = false } = options
  const client = await library.connect(port)
  onTestFinished(() => library.close(client))
  if (subscribeAt !== undefined) subscribeElsewhere(client, subscribeAt)
  const far = redis(client)
  const backend = isTiered ? tiered({ near: memory(), far }) : far
  const { cache, cached, invalidates, tag } = tagcache({
    backend,
    backendTimeout: DEADLINE / 1000,
    ...(more as CacheOptions),
  })
  onTestFinished(async () => void (await Promise.race([cache.close(), sleep(1000)])))
  const app = express().set('env', 'test')
  const layer = cached({ host: false, coalesce: 'cluster', tags: 'all', ...(route as RouteOptions) })
  app.get('/:name', layer, (req, res) => handler(req, res, node))
  app.put(
    '/:tag',
    invalidates((req) => req.params.tag as string),
    (_req, res) => void res.send('done'),
  )
  const server = await listen(app)
  onTestFinished(() => server.close())
  const events: CacheEvent[] = []
  cache.on((event) => events.push(event))
  const node: Node = {
    cache,
    tag,
    url: server.url,
    client,
    events,
    async get(path = '/item', headers = {}) {
      const begun = performance.now()
      const answer = await ask(server.url + path, { headers })
      return { ...answer, took: performance.now() - begun }
    },
    send: (method, path) => ask(server.url + path, { method }),
  }
  return node
}

function subscribeElsewhere(client: RedisClient, port: number): void {
  const { duplicate } = client as unknown as { duplicate(options: object): unknown }
  Object.assign(client, { duplicate: (options: object) => duplicate.call(client, { ...options, port }) })
}

function nodesAt(count: number, handler: Handler, options: NodeOptions = {}): Promise<Node[]> {
  return Promise.all(Array.from({ length: count }, () => nodeAt(server.port, handler, options)))
}

async function relayTo(server: RedisServer): Promise<Relay> {
  const relay = await startRelay(server.ownPort)
  onTestFinished(() => relay.stop())
  return relay
}

/** A handler that answers when the test says so, with the number of the run, and knows how many are under way. */
function gated(answer: (res: Response, text: string) => unknown = (res, text) => res.send(text)) {
  let runs = 0
  const waiting: (() => void)[] = []
  const handler: Handler = (_req, res) => {
    runs += 1
    const text = `run ${runs}`
    waiting.push(() => answer(res, text))
  }
  return Object.assign(handler, {
    runs: () => runs,
    waiting: () => waiting.length,
    /** Lets those go that have come so far. */
    open: () => {
      for (const go of waiting.splice(0)) go()
    },
  })
}

async function leases(): Promise<string[]> {
  return (await server.command('KEYS', '{tagcache}:lease:*')) as string[]
}

function noLeases(): Promise<void> {
  return until('all leases have ended', async () => (await leases()).length === 0, 1000)
}

/** How many processes wait for a lease. */
async function waitingNodes(): Promise<number> {
  const fields = await Promise.all((await leases()).map((lease) => server.command('HKEYS', lease) as Promise<string[]>))
  return fields.flat().filter((field) => field.startsWith('node:')).length
}

let server: RedisServer
beforeAll(async () => void (server = await startRedis()))
afterAll(() => server.stop())
beforeEach(async () => void (await server.command('FLUSHALL')))

describe.each([ioredis, nodeRedis])('requests for one response that is slow to make, by $name', (library) => {
  it('have one handler run among all processes', async () => {
    const handler = gated()
    const nodes = await nodesAt(4, handler, { library })
    const answers = Array.from({ length: 200 }, (_, at) => nodes[at % 4]!.get())
    await until('all of them wait', async () => (await waitingNodes()) === 4)
    await sleep(100)
    handler.open()
    expect(new Set((await Promise.all(answers)).map(({ text }) => text))).toEqual(new Set(['run 1']))
    expect(handler.runs()).toBe(1)
    const traces = nodes.flatMap(({ events }) => events.filter((event) => event.type === 'trace'))
    expect(traces).toHaveLength(200)
    expect(traces.filter(({ outcome }) => outcome === 'miss')).toHaveLength(1)
    await noLeases()
  })

  it('are told at once when it is there', async () => {
    const handler = gated()
    const [a, b] = (await nodesAt(2, handler, { library })) as [Node, Node]
    for (const path of [
      '/plain',
      '/a%20b',
      '/a%0Ab%0D%0Ac',
      '/%E2%9C%93%F0%9F%98%80',
      '/stored%20x',
      '/%22%5C%7B%7D',
    ]) {
      const first = a.get(path)
      await until('it runs', () => handler.waiting() === 1)
      const second = b.get(path)
      await until('another process waits', async () => (await waitingNodes()) === 1)
      const begun = performance.now()
      handler.open()
      expect((await second).text).toBe((await first).text)
      expect(performance.now() - begun).toBeLessThan(SLACK)
    }
    expect(handler.runs()).toBe(6)
  })
})

describe('a process that computes for others', () => {
  it('is told of no more when it is cut off: its lease ends, and exactly one takes over', async () => {
    const handler = gated()
    const relay = await relayTo(server)
    const a = await nodeAt(relay.port, handler)
    const others = await nodesAt(3, handler)
    const first = a.get()
    await until('it runs', () => handler.waiting() === 1)
    await until('its lease is there', async () => (await leases()).length === 1)
    const answers = others.flatMap((node) => Array.from({ length: 10 }, () => node.get()))
    await until('the others wait', async () => (await waitingNodes()) === 3)
    relay.freeze()
    const cut = performance.now()
    // It ends in vain.
    handler.open()
    expect((await first).text).toBe('run 1')
    await until('one takes over', () => handler.waiting() > 0)
    const tookOver = performance.now() - cut
    await sleep(200)
    expect(handler.waiting()).toBe(1)
    handler.open()
    expect(new Set((await Promise.all(answers)).map(({ text }) => text))).toEqual(new Set(['run 2']))
    expect(handler.runs()).toBe(2)
    expect(tookOver).toBeLessThan(LEASE + SLACK)
  })

  it('may be killed: its lease ends, and exactly one takes over', async () => {
    const child = await startChild(server.port)
    const handler = gated()
    const others = await nodesAt(2, handler)
    const first = ask(`${child.url}/item`).catch(() => 'lost')
    await until('its lease is there', async () => (await leases()).length === 1)
    const answers = others.flatMap((node) => Array.from({ length: 10 }, () => node.get()))
    await until('the others wait', async () => (await waitingNodes()) === 2)
    child.process.kill('SIGKILL')
    const killed = performance.now()
    expect(await first).toBe('lost')
    await until('one takes over', () => handler.waiting() > 0)
    const tookOver = performance.now() - killed
    await sleep(200)
    expect(handler.waiting()).toBe(1)
    handler.open()
    expect(new Set((await Promise.all(answers)).map(({ text }) => text))).toEqual(new Set(['run 1']))
    expect(tookOver).toBeLessThan(LEASE + SLACK)
  })

  it('keeps its lease for as long as it takes', async () => {
    const handler = gated()
    const [a, b] = (await nodesAt(2, handler)) as [Node, Node]
    const first = a.get()
    await until('it runs', () => handler.waiting() === 1)
    const second = b.get()
    await sleep(LEASE + 1500)
    expect(handler.runs()).toBe(1)
    handler.open()
    expect((await second).text).toBe((await first).text)
    expect((await second).took).toBeLessThan(LEASE + 1500 + SLACK)
  })

  it('gives its lease back when its client leaves', async () => {
    const handler = gated()
    const [a, b] = (await nodesAt(2, handler)) as [Node, Node]
    const request = http.get(`${a.url}/item`).on('error', () => {})
    await until('it runs', () => handler.waiting() === 1)
    const second = b.get()
    await until('another process waits', async () => (await waitingNodes()) === 1)
    request.destroy()
    const left = performance.now()
    await until('the other one runs', () => handler.runs() === 2)
    expect(performance.now() - left).toBeLessThan(SLACK)
    handler.open()
    expect((await second).text).toBe('run 2')
  })

  it('gives its lease back when its handler throws', async () => {
    let isBroken = true
    const handler = gated((res, text) => (isBroken ? res.destroy() : res.send(text)))
    const [a, b] = (await nodesAt(2, handler)) as [Node, Node]
    const first = a.get().catch(() => 'lost')
    await until('it runs', () => handler.waiting() === 1)
    const second = b.get()
    await until('another process waits', async () => (await waitingNodes()) === 1)
    handler.open()
    isBroken = false
    expect(await first).toBe('lost')
    await until('the other one runs', () => handler.waiting() === 1)
    handler.open()
    expect(await second).toMatchObject({ text: 'run 2' })
    expect((await second).took).toBeLessThan(2000)
  })

  it('that hangs keeps others waiting for no longer than `maxWait`, and their response is kept', async () => {
    const handler = gated()
    const route = { coalesce: { maxWait: '500ms', within: 'cluster' } } as const
    const [a, b, c] = (await nodesAt(3, handler, { route })) as [Node, Node, Node]
    const first = a.get()
    await until('it runs', () => handler.waiting() === 1)
    const second = b.get()
    await until('the other one runs', () => handler.waiting() === 2)
    handler.open()
    const { took, text } = await second
    expect([took > 450, took < 500 + SLACK, text]).toEqual([true, true, 'run 2'])
    await first
    expect((await c.get()).cacheStatus).toMatch(/hit|collapsed/)
    expect(handler.runs()).toBe(2)
  })
})

describe('a purge while others wait', () => {
  it('has those who come after it begin anew, one run for all of them, and those before it answered', async () => {
    const handler = gated()
    const [a, b, c] = (await nodesAt(3, handler)) as [Node, Node, Node]
    const first = a.get()
    await until('it runs', () => handler.waiting() === 1)
    const early = Array.from({ length: 5 }, () => b.get())
    await until('another process waits', async () => (await waitingNodes()) === 1)
    await sleep(50)
    expect((await c.send('PUT', '/all')).status).toBe(200)
    const late = [a, b, c].flatMap((node) => Array.from({ length: 10 }, () => node.get()))
    await until('one of them runs', () => handler.waiting() === 2)
    await sleep(150)
    expect(handler.runs()).toBe(2)
    handler.open()
    expect((await first).text).toBe('run 1')
    expect(new Set((await Promise.all(late)).map(({ text }) => text))).toEqual(new Set(['run 2']))
    for (const { text, took } of await Promise.all(early)) {
      expect(['run 1', 'run 2']).toContain(text)
      expect(took).toBeLessThan(LEASE + SLACK)
    }
    expect(handler.runs()).toBe(2)
  })

  it('of a tag that was known only at the end reaches whoever came after it', async () => {
    let version = 1
    let runs = 0
    const [reached, go] = [gate(), gate()]
    const handler: Handler = async (_req, res, node) => {
      runs += 1
      const read = version
      if (runs === 1) {
        reached.open()
        await go.opened
      }
      node.tag(res, 'late')
      res.send(`version ${read}`)
    }
    const [a, b, c] = (await nodesAt(3, handler, { route: { tags: [] } })) as [Node, Node, Node]
    const first = a.get()
    await reached.opened
    version = 2
    await c.send('PUT', '/late')
    const late = [a, b, c].map((node) => node.get())
    await until('they wait', async () => (await waitingNodes()) > 0)
    go.open()
    expect((await first).text).toBe('version 1')
    expect((await Promise.all(late)).map(({ text }) => text)).toEqual(Array(3).fill('version 2'))
    expect((await b.get()).text).toBe('version 2')
  })

  it('of something else does not disturb them', async () => {
    const handler = gated()
    const [a, b] = (await nodesAt(2, handler)) as [Node, Node]
    const first = a.get()
    await until('it runs', () => handler.waiting() === 1)
    await until('its tags are known', async () => (await server.command('HEXISTS', (await leases())[0]!, 'tags')) === 1)
    await b.send('PUT', '/other')
    const second = b.get()
    await until('another process waits', async () => (await waitingNodes()) === 1)
    expect(handler.runs()).toBe(1)
    handler.open()
    expect((await second).text).toBe((await first).text)
  })
})

describe('a stale response', () => {
  it.each([false, true])(
    'is made anew by one process, and served by all meanwhile (in two tiers: %s)',
    async (isTiered) => {
      const handler = gated()
      const route = { ttl: '1s', staleWhileRevalidate: '1m' } as const
      const nodes = await nodesAt(4, handler, { route, isTiered })
      const first = nodes[0]!.get()
      await until('it runs', () => handler.waiting() === 1)
      handler.open()
      await first
      for (const node of nodes) await node.get()
      await until('it is stale', async () => {
        const stale = await nodes[0]!.get()
        return stale.cacheStatus?.includes('stale-while-revalidate') === true
      })
      await until('it is made anew', () => handler.waiting() === 1)
      const answers = await Promise.all(nodes.flatMap((node) => Array.from({ length: 10 }, () => node.get())))
      for (const { text, took, cacheStatus } of answers) {
        expect(text).toBe('run 1')
        expect(cacheStatus).toContain('stale-while-revalidate')
        expect(took).toBeLessThan(SLACK)
      }
      expect(handler.runs()).toBe(2)
      handler.open()
      await until(
        'all have the new one',
        async () => {
          const texts = await Promise.all(nodes.map((node) => node.get()))
          return texts.every(({ text }) => text === 'run 2')
        },
        900,
      )
    },
  )
})

describe('a response that is not stored', () => {
  const cases: [string, RouteOptions<never>, (res: Response, text: string) => unknown][] = [
    ['no-store', {}, (res, text) => res.set('Cache-Control', 'no-store').send(text)],
    ['private', {}, (res, text) => res.set('Cache-Control', 'private').send(text)],
    ['Set-Cookie', {}, (res, text) => res.cookie('a', '1').send(text)],
    ['500', {}, (res, text) => res.status(500).send(text)],
    ['404', {}, (res, text) => res.status(404).send(text)],
    ['ttl 0', { ttl: 0 }, (res, text) => res.send(text)],
    ['too large', { maxBodySize: '1kb' }, (res, text) => res.send(text.padEnd(5000))],
    [
      'too large, streamed',
      { maxBodySize: '1kb' },
      (res, text) => {
        res.write(text.padEnd(5000))
        setTimeout(() => res.end(), 30)
      },
    ],
    ['Vary: *', {}, (res, text) => res.set('Vary', '*').send(text)],
  ]

  it.each(cases)('is told to those who wait, who then run all at once: %s', async (_, route, answer) => {
    const handler = gated(answer)
    const nodes = await nodesAt(3, handler, { route })
    const first = nodes[0]!.get()
    await until('it runs', () => handler.waiting() === 1)
    const others = nodes.slice(1).flatMap((node) => Array.from({ length: 10 }, () => node.get()))
    await until('the others wait', async () => (await waitingNodes()) === 2)
    await sleep(100)
    expect(handler.runs()).toBe(1)
    handler.open()
    const begun = performance.now()
    await first
    await until('all of them run', () => handler.waiting() === 20, 2500)
    expect(performance.now() - begun).toBeLessThan(2000)
    // Nor do the next ones wait.
    const next = nodes.map((node) => node.get())
    await until('the next ones run', () => handler.waiting() === 23, 2000)
    handler.open()
    await Promise.all([...others, ...next])
    await noLeases()
  })
})

describe('a request that waits for another process', () => {
  it('is answered in time though the message of the end is lost', async () => {
    const handler = gated()
    const subscriptions = await relayTo(server)
    const a = await nodeAt(server.port, handler)
    const b = await nodeAt(server.port, handler, { subscribeAt: subscriptions.port })
    const warmed = b.get('/other')
    await until('it runs', () => handler.waiting() === 1)
    handler.open()
    await warmed
    subscriptions.freeze()
    const first = a.get()
    await until('it runs', () => handler.waiting() === 1)
    const second = b.get()
    await until('another process waits', async () => (await waitingNodes()) === 1)
    handler.open()
    await first
    const { text, took, cacheStatus } = await second
    expect([text, cacheStatus]).toEqual(['run 2', expect.stringContaining('collapsed')])
    expect(took).toBeLessThan(LEASE + SLACK)
    expect(handler.runs()).toBe(2)
  })

  it('is answered in time though its subscription is killed', async () => {
    const handler = gated()
    const [a, b] = (await nodesAt(2, handler)) as [Node, Node]
    const first = a.get()
    await until('it runs', () => handler.waiting() === 1)
    const second = b.get()
    await until('another process waits', async () => (await waitingNodes()) === 1)
    await server.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    handler.open()
    await first
    expect(await second).toMatchObject({ text: 'run 1' })
    expect((await second).took).toBeLessThan(LEASE + SLACK)
  })

  it('has its handler run within about a deadline after the lease, when Redis is cut off or hangs', async () => {
    for (const fault of ['cut', 'freeze'] as const) {
      await server.command('FLUSHALL')
      const handler = gated()
      const relay = await relayTo(server)
      const a = await nodeAt(server.port, handler)
      const b = await nodeAt(relay.port, handler)
      const first = a.get()
      await until('it runs', () => handler.waiting() === 1)
      const second = b.get()
      await until('another process waits', async () => (await waitingNodes()) === 1)
      await relay[fault]()
      const cut = performance.now()
      await until('it runs there too', () => handler.waiting() === 2)
      expect(performance.now() - cut).toBeLessThan(LEASE + DEADLINE + SLACK)
      handler.open()
      await Promise.all([first, second])
      await relay.heal()
    }
  })

  it('runs no handler when its client has left', async () => {
    const handler = gated()
    const [a, b] = (await nodesAt(2, handler)) as [Node, Node]
    const first = a.get()
    await until('it runs', () => handler.waiting() === 1)
    const request = http.get(`${b.url}/item`).on('error', () => {})
    await until('another process waits', async () => (await waitingNodes()) === 1)
    request.destroy()
    await sleep(50)
    handler.open()
    await first
    await sleep(100)
    expect(handler.runs()).toBe(1)
    await noLeases()
  })

  it.each([
    ['and another request has asked meanwhile', 'afterwards'],
    ['and another request waits already', 'before'],
  ])('hears of the end though it comes before the answer that there is somebody to wait for, %s', async (_, other) => {
    const handler = gated()
    const commands = await relayTo(server)
    const a = await nodeAt(server.port, handler)
    const b = await nodeAt(commands.port, handler, { subscribeAt: server.port, cache: { backendTimeout: '3s' } })
    const first = a.get()
    await until('it runs', () => handler.waiting() === 1)
    const answers = other === 'before' ? [b.get()] : []
    if (other === 'before') await until('another process waits', async () => (await waitingNodes()) === 1)
    await sleep(100)
    commands.freeze('toClient')
    const { bytesToServer } = commands
    answers.push(b.get())
    await until('it has asked', () => commands.bytesToServer > bytesToServer)
    await until('another process waits', async () => (await waitingNodes()) === 1)
    await sleep(50)
    handler.open()
    await first
    await until('the lease has ended', async () => (await leases()).length === 0)
    await sleep(50)
    if (other === 'afterwards') {
      answers.push(b.get())
      await sleep(50)
    }
    await commands.heal()
    for (const { took } of await Promise.all(answers)) expect(took).toBeLessThan(1500)
  })
})

describe('a request that takes a lease and runs nothing', () => {
  it('gives it back: only-if-cached', async () => {
    const handler = gated()
    const [a, b] = (await nodesAt(2, handler, { route: { requestDirectives: true } })) as [Node, Node]
    expect((await a.get('/item', { 'cache-control': 'only-if-cached' })).status).toBe(504)
    const answer = b.get()
    await until('it runs', () => handler.waiting() === 1, SLACK)
    handler.open()
    await answer
  })

  it('gives it back: a look-up whose answer came too late', async () => {
    const handler = gated()
    const relay = await relayTo(server)
    const a = await nodeAt(relay.port, handler)
    const b = await nodeAt(server.port, handler)
    const warmed = a.get('/other')
    await until('it runs', () => handler.waiting() === 1)
    handler.open()
    await warmed
    relay.freeze('toClient')
    const first = a.get()
    // Past the cache, since Redis does not answer.
    await until('it runs', () => handler.waiting() === 1)
    handler.open()
    expect((await first).cacheStatus).toContain('backend')
    await relay.heal()
    await sleep(100)
    const begun = performance.now()
    const second = b.get()
    await until('it runs', () => handler.waiting() === 1)
    const waited = performance.now() - begun
    handler.open()
    await second
    expect(waited).toBeLessThan(1000)
  })

  it('takes none: HEAD, a range, no-store', async () => {
    const handler = gated()
    const [a] = (await nodesAt(1, handler)) as [Node]
    const answers = [
      ask(`${a.url}/item`, { method: 'HEAD' }),
      a.get('/item', { range: 'bytes=0-1' }),
      a.get('/item', { 'cache-control': 'no-store' }),
    ]
    await until('they run', () => handler.waiting() === 3)
    expect(await leases()).toEqual([])
    const full = a.get()
    await until('a whole one runs beside them', () => handler.waiting() === 4)
    expect(await leases()).toHaveLength(1)
    handler.open()
    await Promise.all([...answers, full])
  })

  it('takes none where the route is not coalesced in the cluster', async () => {
    const handler = gated()
    const [a] = (await nodesAt(1, handler, { route: { coalesce: true } })) as [Node]
    const answer = a.get()
    await until('it runs', () => handler.waiting() === 1)
    expect(await leases()).toEqual([])
    handler.open()
    await answer
  })
})

describe('a user of Redis who may not subscribe', () => {
  it('costs no connection for each request, and no answer', async () => {
    await server.command('ACL', 'SETUSER', 'silent', 'on', '>secret', '~*', '+@all', 'resetchannels')
    onTestFinished(async () => void (await server.command('ACL', 'DELUSER', 'silent')))
    const handler: Handler = (_req, res) => res.send('fine')
    const node = await nodeAt(server.port, handler, {
      cache: { backendPause: '50ms' },
      library: {
        ...ioredis,
        async connect(port) {
          const client = await ioredis.connect(port)
          await ioredis.send(client, 'AUTH', 'silent', 'secret')
          Object.assign((client as unknown as { options: object }).options, { username: 'silent', password: 'secret' })
          return client
        },
      },
    })
    const connections = async () =>
      String(await server.command('CLIENT', 'LIST'))
        .trim()
        .split('\n').length
    const before = await connections()
    for (let at = 0; at < 10; at++) {
      expect((await node.get()).text).toBe('fine')
      await sleep(80)
    }
    expect((await connections()) - before).toBeLessThanOrEqual(2)
  })
})

// A process of its own, whose handler never ends.

const CHILD = `
import express from 'express'
import { Redis } from 'ioredis'
import { tagcache } from './src/adapters/express.ts'
import { redis } from './src/backends/redis/redis.ts'
const { cached } = tagcache({ backend: redis(new Redis(Number(process.env.REDIS_PORT), '127.0.0.1')) })
const app = express()
app.get('/:name', cached({ host: false, coalesce: 'cluster', tags: 'all' }), () => {})
app.listen(0, '127.0.0.1', function () {
  console.log(this.address().port)
})
`

/** Starts a process that computes under the same key as the nodes of these tests do, and never ends. */
async function startChild(port: number): Promise<{ readonly url: string; readonly process: ChildProcess }> {
  const args = ['--import', 'tsx', '--input-type=module', '-e', CHILD]
  const env = { ...process.env, REDIS_PORT: String(port) }
  const child = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [line] = (await once(child.stdout!, 'data')) as [Buffer]
  return { url: `http://127.0.0.1:${Number(String(line))}`, process: child }
}
