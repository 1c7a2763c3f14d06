import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { redis } from '../../src/backends/redis/redis.ts'
import { byToken } from '../../src/dashboard/dashboard.ts'
import { createCache, keyValue, memory, tiered } from '../../src/index.ts'
import { Overridden } from '../support/backends.ts'
import { type RedisServer, startRedis, until } from '../support/redis.ts'
import { ManualTime } from '../support/time.ts'
import { ANN, board, jsonOf } from './support.ts'

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

function shared(namespace: string) {
  const client = new Redis(server.port, { maxRetriesPerRequest: 1 })
  onTestFinished(() => client.disconnect())
  return redis(client, { namespace })
}

/** Another process of the fleet. */
function other(namespace: string) {
  const cache = createCache({ backend: shared(namespace), publishStats: '1s' })
  onTestFinished(() => cache.close())
  return cache
}

const trace = { type: 'trace', outcome: 'hit', route: 'GET /a', stored: false, cost: 500 } as const
const missed = { ...trace, outcome: 'miss', forward: 'uri-miss', reason: 'uri-miss' } as const

interface FleetAnswer {
  of: { kind: string; nodes: { id: string; at: number }[]; asked: object; unread: number }
  stats: { requests: number; hits: number; routes: Record<string, { requests: number }> }
  nodes: { id: string; at: number; isAsked: boolean; health: string; stats: Record<string, unknown> }[]
}

describe('of the fleet', () => {
  it('the numbers of all processes are given, with who they are and when each has said them', async () => {
    const own = await board(undefined, ANN, { backend: shared('shop') })
    const others = [other('shop'), other('shop')]
    for (const cache of others) cache.flow.events.emit(trace)
    own.cache.flow.events.emit(missed)
    expect(jsonOf<{ can: object }>(await own.get('/api/about')).can).toMatchObject({ fleet: true })
    const read = async () => jsonOf<FleetAnswer>(await own.get('/api/stats?of=fleet'))
    await until('all have published', async () => (await read()).stats?.hits === 2)
    const { of, nodes, stats } = await read()
    expect(of).toMatchObject({ kind: 'fleet', asked: { kind: 'process', pid: process.pid }, unread: 0 })
    expect(of.nodes).toEqual(nodes.map(({ id, at }) => ({ id, at })))
    expect(nodes.map(({ isAsked }) => isAsked)).toEqual([true, false, false])
    expect(nodes.every(({ at, health }) => Math.abs(Date.now() - at) < 60_000 && health === 'well')).toBe(true)
    expect(nodes.map(({ stats }) => [stats.hits, stats.routes])).toEqual([
      [0, undefined],
      [1, undefined],
      [1, undefined],
    ])
    expect(stats).toMatchObject({ hits: 2, routes: { 'GET /a': { requests: 3, savedSeconds: 1 } } })
    const byNode = jsonOf<FleetAnswer>(await own.get('/api/stats?of=fleet&by=node'))
    expect(byNode.nodes.map(({ stats }) => stats.routes)).toMatchObject(
      [1, 1, 1].map((requests) => ({ 'GET /a': { requests } })),
    )
    const { routes, of: whose } = jsonOf<{ of: object; routes: { route: string }[] }>(
      await own.get('/api/routes?of=fleet'),
    )
    expect(whose).toMatchObject({ kind: 'fleet', nodes: [{}, {}, {}] })
    // The dashboard of these tests is below a cached() that counts its requests too.
    expect(routes.filter(({ route }) => route === 'GET /a')).toMatchObject([
      {
        requests: 3,
        hits: 2,
        misses: 1,
        hitRatio: 2 / 3,
        reasons: [{ reason: 'uri-miss', count: 1 }],
      },
    ])
    // What is asked of the process is still its own.
    for (const path of ['/api/stats', '/api/stats?of=process', '/api/routes', '/api/series?of=fleet', '/api/events']) {
      expect(jsonOf(await own.get(path))).toMatchObject({ of: { kind: 'process', pid: process.pid } })
    }
    expect(jsonOf(await own.get('/api/stats'))).toMatchObject({ stats: { hits: 0 } })
  })

  it('nobody who publishes is said, and what to do about it', async () => {
    const own = await board(undefined, ANN, { backend: shared('silent') })
    const answer = await own.get('/api/stats?of=fleet')
    expect([answer.status, jsonOf(answer)]).toMatchObject([404, { error: { code: 'no-fleet' } }])
    expect(answer.text).toContain('publishStats: true')
    expect((await own.get('/api/routes?of=fleet')).status).toBe(404)
    const alone = await board(undefined, ANN, { backend: shared('alone'), publishStats: true })
    expect(jsonOf(await alone.get('/api/stats?of=fleet'))).toMatchObject({ of: { nodes: [{}] } })
  })

  it('a backend that nobody shares is said', async () => {
    for (const backend of [memory(), keyValue(new Map())]) {
      const own = await board(undefined, ANN, { backend, publishStats: true })
      expect(jsonOf(await own.get('/api/about'))).toMatchObject({ can: { fleet: false } })
      const answer = await own.get('/api/stats?of=fleet')
      expect([answer.status, jsonOf(answer)]).toMatchObject([501, { error: { code: 'no-board' } }])
    }
    const near = tiered({ near: memory(), far: shared('tiers') })
    const own = await board(undefined, ANN, { backend: near, publishStats: true })
    expect((await own.get('/api/stats?of=fleet')).status).toBe(200)
  })

  it('a Redis that does not answer is said', async () => {
    const away = await startRedis()
    const client = new Redis(away.port, { maxRetriesPerRequest: 0, retryStrategy: () => 50 })
    client.on('error', () => {})
    onTestFinished(() => client.disconnect())
    const own = await board(undefined, ANN, { backend: redis(client), publishStats: true })
    await away.stop()
    const answer = await own.get('/api/stats?of=fleet')
    expect([answer.status, jsonOf(answer)]).toMatchObject([503, { error: { code: 'backend-away' } }])
  })

  it('what cannot be asked is said', async () => {
    const own = await board(undefined, ANN, { backend: shared('bad'), publishStats: true })
    for (const query of ['of=everybody', 'of=', 'of=fleet&by=route']) {
      const answer = await own.get(`/api/stats?${query}`)
      expect([query, answer.status, jsonOf(answer)]).toMatchObject([query, 400, { error: { code: 'bad-value' } }])
    }
  })

  it('nobody is told who may not see the dashboard, nor a page of another site', async () => {
    const authorize = byToken({ ann: 'a-token-of-the-tests' })
    const own = await board(undefined, { authorize }, { backend: shared('guarded'), publishStats: true })
    for (const path of ['/api/stats?of=fleet', '/api/routes?of=fleet']) {
      expect((await own.get(path)).status).toBe(401)
      const may = { authorization: 'Bearer a-token-of-the-tests' }
      expect((await own.get(path, { ...may, origin: 'http://evil.example' })).status).toBe(403)
      expect((await own.get(path, may)).status).toBe(200)
    }
  })

  it('it is read once a second, however many ask', async () => {
    let reads = 0
    const read = () => {
      reads += 1
      return []
    }
    const notices = { publish: () => {}, read }
    const backend = Object.assign(new Overridden(memory(), { sync: false }), { board: notices })
    const time = new ManualTime()
    const own = await board(undefined, ANN, { backend, time, publishStats: true })
    await Promise.all(Array.from({ length: 20 }, () => own.get('/api/stats?of=fleet')))
    expect(reads).toBe(1)
    time.move(999)
    await own.get('/api/routes?of=fleet')
    expect(reads).toBe(1)
    time.move(1)
    await own.get('/api/routes?of=fleet')
    expect(reads).toBe(2)
  })

  it('what anybody has written into Redis is nothing but text and numbers', async () => {
    const own = await board(undefined, ANN, { backend: shared('hostile'), publishStats: true })
    const stats = JSON.parse(JSON.stringify(createCache().stats()))
    const notices = shared('hostile').board
    const id = '\u001b[2J</script><img src=x onerror=alert(1)>'
    await notices.publish(`|${id}`, JSON.stringify({ at: 1, stats: { ...stats, evil: '<b>' } }), 60_000)
    await notices.publish('|broken', '{"at":1,"stats":{"requests":"<b>"}}', 60_000)
    const answer = await own.get('/api/stats?of=fleet')
    expect(jsonOf(answer)).toMatchObject({ of: { nodes: [{}, { id, at: 1 }], unread: 1 } })
    expect(answer.text).not.toContain('<b>')
    expect(answer.headers).toMatchObject({
      'content-type': 'application/json; charset=utf-8',
      'x-content-type-options': 'nosniff',
      'cache-control': 'no-store, no-transform',
    })
  })
})
