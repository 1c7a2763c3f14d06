import { existsSync } from 'node:fs'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { askRaw } from '../support/http.ts'
import { type RelayedMemcached, startMemcached } from '../support/memcached.ts'
import {
  infoOf,
  promote,
  type RedisCluster,
  type RedisServer,
  type RelayedRedis,
  startCluster,
  startRedis,
  startReplica,
  startSentinels,
  until,
} from '../support/redis.ts'
import { type RedisClient, redisLibraries } from '../support/redis-clients.ts'

// What these tests find broken is the support, not the library: without it no other test of Redis says anything.

/** What becomes of a promise within a moment: its value, `failed`, or `hangs`. */
function outcome(promise: Promise<unknown>, moment = 150): Promise<unknown> {
  const hangs = new Promise((resolve) => setTimeout(resolve, moment, 'hangs'))
  return Promise.race([promise.catch(() => 'failed'), hangs])
}

describe('a server', () => {
  let server: RedisServer
  beforeAll(async () => void (server = await startRedis()))
  afterAll(() => server.stop())

  test('hangs while it is frozen', async () => {
    server.freeze()
    const answer = server.command('PING')
    expect(await outcome(answer)).toBe('hangs')
    server.thaw()
    expect(await answer).toBe('PONG')
  })

  test('has forgotten everything when it comes back from a crash', async () => {
    await server.command('SET', 'a', '1')
    const { pid, port } = server
    server.freeze()
    await server.kill()
    expect(await outcome(server.command('PING'))).toBe('failed')
    await server.restart()
    expect(server.port).toBe(port)
    expect(server.pid).not.toBe(pid)
    expect(await server.command('GET', 'a')).toBeNull()
  })

  test('says why it does not start', async () => {
    await expect(startRedis({ args: ['--nonsense', '1'] })).rejects.toThrow(/FATAL CONFIG FILE ERROR/)
    await expect(startRedis({ port: server.port })).rejects.toThrow(/Address already in use/)
  })
})

test('a server with persistence keeps its data', async () => {
  const server = await startRedis({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
  onTestFinished(() => server.stop())
  await server.command('SET', 'a', '1')
  await server.kill()
  await server.restart()
  expect(await server.command('GET', 'a')).toBe('1')
  await server.restart()
  expect(await server.command('GET', 'a')).toBe('1')
})

test('nothing is left of a server that was stopped', async () => {
  const server = await startRedis()
  const { pid, home } = server
  await server.stop()
  expect(() => process.kill(pid, 0)).toThrow('ESRCH')
  expect(existsSync(home)).toBe(false)
})

test('a replica lags while the relay before its master is frozen, and can be promoted', async () => {
  const master = await startRedis({ relay: true })
  onTestFinished(() => master.stop())
  const replica = await startReplica(master)
  onTestFinished(() => replica.stop())

  await master.command('SET', 'a', '1')
  await until('it is replicated', async () => (await replica.command('GET', 'a')) === '1')

  master.relay.freeze('toClient')
  await master.command('SET', 'a', '2')
  expect(await outcome(until('it is replicated', async () => (await replica.command('GET', 'a')) === '2'))).toBe(
    'hangs',
  )
  await master.relay.heal()
  await until('it is replicated', async () => (await replica.command('GET', 'a')) === '2')

  await promote(replica)
  await replica.rewriteConf()
  await replica.restart()
  expect((await infoOf(replica, 'replication')).role).toBe('master')
})

describe.each(redisLibraries)('a relay before a server, seen by $name', ({ connect, send, close }) => {
  let server: RelayedRedis
  let client: RedisClient
  beforeAll(async () => void (server = await startRedis({ relay: true })))
  afterAll(() => server.stop())
  beforeEach(async () => {
    client = await connect(server.port)
    return () => close(client)
  })

  const isAnswered = async () => (await send(client, 'PING')) === 'PONG'

  test('passes everything, and counts it', async () => {
    const { bytesToServer, bytesToClient } = server.relay
    const text = 'x'.repeat(1_000_000)
    await send(client, 'SET', 'a', text)
    expect(await send(client, 'GET', 'a')).toBe(text)
    expect(server.relay.bytesToServer - bytesToServer).toBeGreaterThan(1_000_000)
    expect(server.relay.bytesToClient - bytesToClient).toBeGreaterThan(1_000_000)
  })

  test('makes commands fail while it is cut', async () => {
    await server.relay.cut()
    expect(await outcome(send(client, 'PING'), 5000)).toBe('failed')
    await server.relay.heal()
    await until('the client is back', isAnswered)
  })

  test.each(['both', 'toServer', 'toClient'] as const)(
    'makes commands hang while it is frozen (%s)',
    async (direction) => {
      const { bytesToServer } = server.relay
      server.relay.freeze(direction)
      const answer = send(client, 'SET', 'direction', direction)
      const another = connect(server.port)
      expect(await outcome(answer)).toBe('hangs')
      expect(await outcome(another)).toBe('hangs')
      expect(server.relay.bytesToServer > bytesToServer).toBe(direction === 'toClient')
      await server.relay.heal()
      expect(await answer).toBe('OK')
      await close(await another)
    },
  )
})

describe.each(redisLibraries)('a server, seen by $name', ({ connect, connectLater, send, close }) => {
  let server: RedisServer
  beforeAll(async () => void (server = await startRedis()))
  afterAll(() => server.stop())

  test('makes commands fail while it is down', async () => {
    const client = await connect(server.port)
    onTestFinished(() => close(client))
    await server.kill()
    expect(await outcome(send(client, 'PING'), 5000)).toBe('failed')
    await server.restart()
    await until('the client is back', async () => (await send(client, 'PING')) === 'PONG')
  })

  test('may come up after its client', async () => {
    await server.shutdown()
    const client = connectLater(server.port)
    onTestFinished(() => close(client))
    await server.restart()
    await until('the client is there', async () => (await send(client, 'PING')) === 'PONG')
  })

  test('lets go of clients while it is frozen', async () => {
    const client = await connect(server.port)
    server.freeze()
    onTestFinished(() => server.thaw())
    const answer = outcome(send(client, 'PING'), 5000)
    await close(client)
    expect(await answer).toBe('failed')
  })
})

describe('a cluster', () => {
  let cluster: RedisCluster
  beforeAll(async () => void (cluster = await startCluster()))
  afterAll(() => cluster.stop())

  test.each(redisLibraries)('answers the clients of $name for all slots', async ({ connectCluster, send, close }) => {
    const client = await connectCluster(cluster.ports)
    onTestFinished(() => close(client))
    const keys = Array.from({ length: 50 }, (_, index) => `key ${index}`)
    await Promise.all(keys.map((key) => send(client, 'SET', key, key)))
    expect(await Promise.all(keys.map((key) => send(client, 'GET', key)))).toEqual(keys)
  })

  test('moves a slot in steps', async () => {
    const slot = await cluster.slotOf('{a}')
    const from = await cluster.ownerOf(slot)
    const to = cluster.nodes.slice(0, 3).find((node) => node !== from)!
    await from.command('MSET', '{a}1', 'one', '{a}2', 'two')

    const move = await cluster.moveSlot(slot, from, to)
    await move.moveKeys('{a}1')
    expect(await move.keysLeft()).toEqual(['{a}2'])
    expect(await from.command('GET', '{a}2')).toBe('two')
    await expect(from.command('GET', '{a}1')).rejects.toThrow(`ASK ${slot} 127.0.0.1:${to.port}`)
    await expect(from.command('MGET', '{a}1', '{a}2')).rejects.toThrow('TRYAGAIN')
    await expect(to.command('GET', '{a}1')).rejects.toThrow(`MOVED ${slot} 127.0.0.1:${from.port}`)

    await move.finish()
    expect(await to.command('MGET', '{a}1', '{a}2')).toEqual(['one', 'two'])
    expect(await cluster.ownerOf(slot)).toBe(to)
  })

  test('has a replica take over from a master that was killed, which comes back as its replica', async () => {
    const [master, , , replica] = cluster.nodes as [RedisServer, RedisServer, RedisServer, RedisServer]
    expect(await cluster.failover(0)).toBe(replica)
    expect(await replica.command('CLUSTER', 'COUNTKEYSINSLOT', 0)).toBe(0)
    await master.restart()
    await until('it is a replica', async () => (await infoOf(master, 'replication')).role === 'slave')
    expect(await cluster.ownerOf(0)).toBe(replica)
  })
})

test('Sentinels have a replica take over from a master that was killed, and its clients follow', async () => {
  const master = await startRedis()
  onTestFinished(() => master.stop())
  const replica = await startReplica(master)
  onTestFinished(() => replica.stop())
  const sentinels = await startSentinels(master)
  onTestFinished(() => sentinels.stop())
  expect(await sentinels.masterPort()).toBe(master.port)

  const clients = await Promise.all(
    redisLibraries.map(async ({ connectSentinel, send, close }) => {
      const client = await connectSentinel(sentinels.ports, sentinels.name)
      onTestFinished(() => close(client))
      return async () => (await send(client, 'SET', 'a', '1')) === 'OK'
    }),
  )
  expect(await Promise.all(clients.map((write) => write()))).toEqual(clients.map(() => true))

  expect(await sentinels.failover(master)).toBe(replica.port)
  await Promise.all(clients.map((write) => until('the client has followed', write)))
})

describe('a Memcached', () => {
  let server: RelayedMemcached
  beforeAll(async () => void (server = await startMemcached({ relay: true })))
  afterAll(() => server.stop())

  test('keeps what it is given until it is started again', async () => {
    expect(await server.command('set a 0 60 3', 'one')).toBe('STORED')
    expect(await server.command('get a')).toBe('VALUE a 0 3\r\none\r\nEND')
    await server.kill()
    expect(await outcome(server.command('get a'))).toBe('failed')
    await server.restart()
    expect(await server.command('get a')).toBe('END')
  })

  test('hangs while it or its relay is frozen', async () => {
    server.freeze()
    expect(await outcome(server.command('get a'))).toBe('hangs')
    server.thaw()
    expect(await server.command('version')).toMatch(/^VERSION/)

    server.relay.freeze()
    const answer = askRaw(server.port, 'version\r\nquit\r\n')
    expect(await outcome(answer)).toBe('hangs')
    await server.relay.heal()
    expect(await answer).toMatch(/^VERSION/)
  })
})
