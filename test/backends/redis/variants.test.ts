import express from 'express'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { tagcache } from '../../../src/adapters/express.ts'
import { redis } from '../../../src/backends/redis/redis.ts'
import { memory, tiered } from '../../../src/index.ts'
import { ask, listen } from '../../support/http.ts'
import { type RedisServer, startRedis } from '../../support/redis.ts'
import { type AnyRedisClient, redisLibraries } from '../../support/redis-clients.ts'

let server: RedisServer
let client: AnyRedisClient
const [library] = redisLibraries

beforeAll(async () => {
  server = await startRedis()
  client = await library!.connect(server.port)
})

afterAll(async () => {
  await library!.close(client)
  await server.stop()
})

let namespaces = 0

/** Several processes with one Redis; each is asked for `/page` with a value of the field that it varies on. */
async function startProcesses(count: number, { isTiered = false, coalesce = false as boolean | 'cluster' } = {}) {
  const namespace = `variants-${++namespaces}`
  const state = { runs: 0, vary: 'x-taste' }
  const processes = await Promise.all(
    Array.from({ length: count }, async () => {
      const far = redis(client, { namespace })
      const { cached, invalidates, cache } = tagcache({
        host: false,
        backend: isTiered ? tiered({ near: memory(), far }) : far,
      })
      onTestFinished(() => cache.close())
      const app = express()
      app.get('/page', cached({ tags: 'page', coalesce }), async (req, res) => {
        state.runs += 1
        await new Promise((resolve) => setImmediate(resolve))
        res.set('Vary', state.vary).send(`for ${req.headers['x-taste']}`)
      })
      app.put('/page', invalidates('page'), (_req, res) => void res.send('changed'))
      return (await listen(app)).url
    }),
  )
  const get = async (at: number, taste: string) => {
    const { text, cacheStatus } = await ask(`${processes[at]}/page`, { headers: { 'x-taste': taste } })
    return `${text}; ${/hit/.test(cacheStatus ?? '') ? 'hit' : 'miss'}`
  }
  const put = (at: number) => ask(`${processes[at]}/page`, { method: 'PUT' })
  return { state, get, put }
}

describe.each([{ isTiered: false }, { isTiered: true }])('what responses vary on, tiered: $isTiered,', (how) => {
  it('is known to a process that has made none of them', async () => {
    const { state, get } = await startProcesses(3, how)
    expect([await get(0, 'sweet'), await get(0, 'sour')]).toEqual(['for sweet; miss', 'for sour; miss'])
    expect([await get(1, 'sour'), await get(1, 'sweet')]).toEqual(['for sour; hit', 'for sweet; hit'])
    expect([await get(2, 'salty'), await get(2, 'sweet')]).toEqual(['for salty; miss', 'for sweet; hit'])
    expect(await get(0, 'salty')).toBe('for salty; hit')
    expect(state.runs).toBe(3)
  })

  it('never has one variant answer for another, also when more varies than before', async () => {
    const { state, get } = await startProcesses(2, how)
    await get(0, 'sweet')
    state.vary = 'x-taste, x-other'
    expect(await get(1, 'sour')).toBe('for sour; miss')
    expect(await get(0, 'sour')).toMatch(/^for sour/)
    expect(await get(1, 'sweet')).toMatch(/^for sweet/)
    expect(await get(0, 'sweet')).toMatch(/^for sweet/)
  })

  it('is not in the way of a purge', async () => {
    const { get, put } = await startProcesses(2, how)
    await get(0, 'sweet')
    await get(1, 'sweet')
    await put(0)
    expect(await get(0, 'sweet')).toBe('for sweet; miss')
  })
})

it('one run for each variant, though nobody knew that it varies', async () => {
  const { state, get } = await startProcesses(4, { coalesce: 'cluster' })
  const tastes = ['sweet', 'sour']
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, at) => get(at % 4, tastes[at % 2]!).then((answer) => [tastes[at % 2], answer])),
  )
  for (const [taste, answer] of answers) expect(answer).toMatch(new RegExp(`^for ${taste};`))
  expect(state.runs).toBeLessThan(12)
})
