import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import express from 'express'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { decodeEntry, encodeEntry } from '../../src/backends/codec.ts'
import { redis } from '../../src/backends/redis/redis.ts'
import { type Entry, isSound } from '../../src/core/entry.ts'
import { keyValue, memory, type TagBackend, tiered } from '../../src/index.ts'
import { AsyncMap, entryOf } from '../support/backends.ts'
import { ask, listen } from '../support/http.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { type AnyRedisClient, redisLibraries } from '../support/redis-clients.ts'
import { until } from '../support/stacks.ts'

const TEXT = 'all work and no play makes a dull page. '.repeat(100)

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
const far = (options = {}) => redis(client, { namespace: `encodings-${++namespaces}`, ...options })

/** A process with a route that is compressed. */
async function start(backend: TagBackend) {
  const { cached, invalidates, cache } = tagcache({ host: false, backend, compress: { codings: ['br', 'gzip'] } })
  onTestFinished(() => void cache.close())
  const app = express()
  app.get('/', cached({ tags: 'page' }), (_req, res) => void res.type('txt').send(TEXT))
  app.put('/', invalidates('page'), (_req, res) => void res.send('put'))
  const { url } = await listen(app)
  const removals: unknown[] = []
  cache.on('removal', (removal) => removals.push(removal))
  let kept = 0
  cache.on('compression', ({ isKept }) => void (kept += isKept ? 1 : 0))
  const get = (accepted: string) => ask(url, { headers: { 'accept-encoding': accepted } })
  return { get, put: () => ask(url, { method: 'PUT' }), kept: () => kept, removals }
}

async function expectEncodings(get: (accepted: string) => ReturnType<typeof ask>): Promise<void> {
  const [br, gzip, plain] = [await get('br'), await get('gzip'), await get('identity')]
  expect([br, gzip, plain].map(({ cacheStatus }) => /; hit/.test(cacheStatus ?? ''))).toEqual([true, true, true])
  expect([br, gzip, plain].map(({ headers }) => headers['content-encoding'])).toEqual(['br', 'gzip', undefined])
  expect(brotliDecompressSync(br.body).toString()).toBe(TEXT)
  expect(gunzipSync(gzip.body).toString()).toBe(TEXT)
  expect(plain.text).toBe(TEXT)
}

describe.each<[name: string, make: () => TagBackend]>([
  ['memory()', () => memory()],
  ['keyValue() that answers at once', () => keyValue(new Map<string, Uint8Array>())],
  ['keyValue()', () => keyValue(new AsyncMap())],
  ['redis()', () => far()],
  ['redis() that compresses what it stores', () => far({ compressFrom: 100 })],
  ['tiered()', () => tiered({ near: memory(), far: far() })],
])('encodings in %s', (_name, make) => {
  it('are answered with, until they are purged', async () => {
    const { get, put, kept, removals } = await start(make())
    await get('br')
    await until(() => kept() === 1)
    await expectEncodings(get)
    expect(removals).toEqual([])
    await put()
    const { headers, cacheStatus } = await get('br')
    expect(headers['content-encoding']).toBeUndefined()
    expect(cacheStatus).not.toContain('; hit')
  })
})

it('encodings in Redis answer in another process, too', async () => {
  const namespace = `encodings-${++namespaces}`
  const [one, other] = [await start(redis(client, { namespace })), await start(redis(client, { namespace }))]
  await one.get('br')
  await until(() => one.kept() === 1)
  await expectEncodings(other.get)
})

describe('a frame', () => {
  const encodings = [
    { coding: 'br', body: Buffer.from('small') },
    { coding: 'gzip', body: Buffer.from('larger') },
  ] as const
  const { response, ...rest } = entryOf('k', { tags: ['tag/a'] })
  const entry: Entry = { ...rest, response: { ...response, encodings } }
  const kept = { identity: 'me' }

  it.each([
    ['encodings', entry],
    ['none yet', { ...rest, response: { ...response, encodings: [] } }],
    ['no choice', { ...rest, response }],
  ])('gives back an entry with %s', (_what, given) => {
    const found = decodeEntry(encodeEntry(given, kept)).entry
    expect(found).toEqual(given)
    expect(isSound(found)).toBe(true)
  })

  // Written before there were encodings: `Buffer.toString('base64')` of an entry with the key, tags and fields below.
  it('of an older release is still read, byte by byte', () => {
    expect(encodeEntry({ ...rest, response }, kept).toString('base64')).toBe(OLD_FRAME)
    expect(decodeEntry(Buffer.from(OLD_FRAME, 'base64')).entry).toEqual({ ...rest, response })
  })

  it('with encodings is none to a reader that does not know them', () => {
    expect(encodeEntry(entry, kept).subarray(0, 4).toString()).toBe('tgc3')
    expect(
      encodeEntry({ ...rest, response }, kept)
        .subarray(0, 4)
        .toString(),
    ).toBe('tgc2')
  })

  it('whose version does not fit what is in it is refused', () => {
    for (const [given, magic] of [
      [entry, 'tgc2'],
      [{ ...rest, response }, 'tgc3'],
    ] as const) {
      const frame = encodeEntry(given, kept)
      frame.write(magic, 'latin1')
      expect(() => decodeEntry(frame)).toThrow(expect.objectContaining({ code: 'ERR_TAGCACHE_FRAME' }))
    }
  })

  it('with a coding that is none of ours is no entry to answer with', () => {
    const bad = { ...rest, response: { ...response, encodings: [{ coding: 'x\r\ny', body: Buffer.from('') }] } }
    expect(isSound(decodeEntry(encodeEntry(bad as never, kept)).entry)).toBe(false)
  })
})

const OLD_FRAME =
  'dGdjMqR6nkUAAAAAAADwPwAAJrltt3lCDwAAAAJtZd0AAAAB2wAAAAV0YWcvYQACawAAgKptt3lCAAAAAAAAAAAAAAAAAEztQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAMgBAAAAAGs='
