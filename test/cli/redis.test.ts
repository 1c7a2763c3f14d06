import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { redis } from '../../src/backends/redis/redis.ts'
import { memory, tiered } from '../../src/index.ts'
import { type RedisServer, startCluster, startRedis } from '../support/redis.ts'
import { finished, openShop, type Result, run, type Shop, start, written } from './support.ts'

let server: RedisServer
let client: Redis
let shop: Shop
beforeAll(async () => {
  server = await startRedis()
  client = new Redis(server.port, { maxRetriesPerRequest: 1 })
  shop = await openShop({ backend: redis(client, { namespace: 'shop' }), publishStats: 1, backendTimeout: 5 })
})
afterAll(async () => {
  await shop.close()
  client.disconnect()
  await server.stop()
})

function ask(...args: string[]): Promise<Result> {
  return run([...args, '--redis', `redis://127.0.0.1:${server.port}`, '--namespace', 'shop'])
}

async function askJson(...args: string[]) {
  const { code, stdout, stderr } = await ask(...args, '--json')
  expect(stderr).toBe('')
  return { code, ...JSON.parse(stdout) }
}

async function until(isSo: () => Promise<boolean>): Promise<void> {
  while (!(await isSo())) {}
}

/** How many commands were refused for want of replicas. */
async function refusals(): Promise<number> {
  const [, count] = /errorstat_NOREPLICAS:count=(\d+)/.exec(String(await server.command('INFO', 'errorstats'))) ?? []
  return Number(count ?? 0)
}

describe('over Redis', () => {
  it('numbers are those of the fleet', async () => {
    await shop.get('/products/1')
    await until(async () => (await ask('stats')).code === 0)
    await until(async () => (await askJson('stats')).stats.requests > 0)
    const { code, stdout } = await ask('stats')
    expect(code).toBe(0)
    expect(stdout).toMatch(/^The fleet: 1 node that publishes its numbers, .* namespace shop\)$/m)
    const json = await askJson('stats')
    expect(json).toMatchObject({ of: { kind: 'fleet', nodes: [{ id: expect.stringContaining(`:${process.pid}:`) }] } })
    expect(json.stats).toEqual(json.nodes[0].stats)
    expect((await ask('top', '--count', '1')).stdout).toContain('The fleet: 1 node')
  })

  it('nobody who publishes numbers is 1, and said', async () => {
    const { code, stderr } = await run([
      'stats',
      '--redis',
      `redis://127.0.0.1:${server.port}`,
      '--namespace',
      'nobody',
    ])
    expect(code).toBe(1)
    expect(stderr).toContain('publishStats')
  })

  it('tags and entries are those of all processes', async () => {
    for (const id of ['a', 'b']) await shop.get(`/products/${id}`)
    const tags = await ask('tags', '--prefix', 'product:')
    expect(tags.stdout).toContain(`What all processes share that use redis://127.0.0.1:${server.port}, namespace shop`)
    expect(tags.stdout).toMatch(/^product:a +1$/m)
    const { entries, of } = await askJson('entries', '--tag', 'product:a')
    expect(of).toEqual({ kind: 'store' })
    expect(entries).toMatchObject([{ route: 'GET /products/:id', state: 'fresh' }])
    expect((await askJson('entries', '--all')).entries.length).toBeGreaterThan(1)
    expect((await ask('entries', '--tag', 'nobody')).code).toBe(1)
  })

  it('an entry is found by its key, its URL, and its path', async () => {
    await shop.get('/products/seen')
    const { entry } = await askJson('inspect', '/products/seen')
    expect(entry.body.text).toBe('{"id":"seen"}')
    for (const asked of [entry.key, `${shop.server.url}/products/seen`]) {
      expect((await ask('inspect', asked)).stdout).toContain('\n{"id":"seen"}\n')
    }
    for (const asked of ['/products/seen?other', 'http://example.com/products/seen']) {
      expect((await ask('inspect', asked)).code).toBe(1)
    }
  })

  it('the entries of a URL that vary are listed', async () => {
    await shop.get('/greeting', { 'accept-language': 'de' })
    await shop.get('/greeting', { 'accept-language': 'fr' })
    expect((await askJson('inspect', '/greeting')).entries).toHaveLength(2)
  })

  it('a purge has taken effect in the application when it ends with 0', async () => {
    for (const path of ['/products/p1', '/products/p2']) await shop.get(path)
    expect(await ask('purge', 'product:p1')).toMatchObject({ code: 0, stderr: '' })
    expect(await shop.get('/products/p1')).toContain('invalidated')
    expect(await shop.get('/products/p2')).toContain('hit')
    expect((await ask('purge', '--route', 'GET /products/:id')).code).toBe(0)
    expect(await shop.get('/products/p2')).toContain('invalidated')
    const { entry } = await askJson('inspect', '/products/p2')
    expect((await ask('purge', '--key', entry.key)).code).toBe(0)
    expect((await ask('purge', '--key', entry.key)).code).toBe(1)
    expect(await shop.get('/products/p2')).not.toContain('hit')
    expect(await ask('clear', '--yes')).toMatchObject({ code: 0 })
    expect(await shop.get('/products/p2')).toContain('invalidated')
  })

  it('a purge reaches responses that are being computed, and copies in near tiers', async () => {
    const own = new Redis(server.port)
    const backend = tiered({ near: memory(), far: redis(own, { namespace: 'near' }) })
    const near = await openShop({ backend, backendTimeout: 5, namespace: 'inner' })
    const where = ['--redis', `redis://127.0.0.1:${server.port}`, '--namespace', 'near', '--cache-namespace', 'inner']
    try {
      for (const _ of [1, 2]) await near.get('/products/copied')
      const stamp = await near.cache.stamp('GET /late')
      expect(await run(['purge', 'product:copied', 'late', ...where])).toMatchObject({ code: 0 })
      // A near tier may answer for as long as it has not heard of it, a second at the very worst.
      await until(async () => !(await near.get('/products/copied'))?.includes('hit'))
      await near.cache.set('GET /late', {}, ['late'], { body: 'old' }, 60, stamp)
      expect(await near.cache.getByRequest('GET /late')).toBeUndefined()
      await near.cache.set('GET /late', {}, ['late'], { body: 'new' })
      expect(await run(['clear', '--yes', ...where])).toMatchObject({ code: 0 })
      expect(await near.cache.getByRequest('GET /late')).toBeUndefined()
    } finally {
      await near.close()
      own.disconnect()
    }
  })

  it('purges of all processes are watched', async () => {
    const child = start(['watch', '--json', '--redis', `redis://127.0.0.1:${server.port}`, '--namespace', 'shop'])
    const ended = finished(child)
    const told = written(child, /"tags":\["watched"\]/)
    let isTold = false
    told.then(() => {
      isTold = true
    })
    await until(async () => {
      await shop.cache.invalidateTags('watched')
      await new Promise((resolve) => setImmediate(resolve))
      return isTold
    })
    child.kill('SIGINT')
    const { code, stdout } = await ended
    expect(code).toBe(0)
    expect(JSON.parse(stdout.split('\n')[0]!)).toMatchObject({ kind: 'watching', of: { kind: 'store' } })
  })

  it('what Redis cannot know is 2, and says whom to ask', async () => {
    for (const args of [
      ['explain', '/'],
      ['watch', '--requests'],
    ]) {
      const { code, stdout, stderr } = await ask(...args)
      expect([code, stdout]).toEqual([2, ''])
      expect(stderr).toContain('--url')
    }
  })
})

describe('a Redis that', () => {
  it('takes no writes is 5, and nothing was purged', async () => {
    await server.command('CONFIG', 'SET', 'min-replicas-to-write', 1)
    try {
      const { code, stdout, stderr } = await ask('purge', 'products', '--timeout', '1')
      expect([code, stdout]).toEqual([5, ''])
      expect(stderr).toContain('Not delivered: the tag products')
    } finally {
      await server.command('CONFIG', 'SET', 'min-replicas-to-write', 0)
    }
  })

  it('takes writes again in time is 0', async () => {
    const before = await refusals()
    await server.command('CONFIG', 'SET', 'min-replicas-to-write', 1)
    const purging = ask('purge', 'products', '--timeout', '20')
    await until(async () => (await refusals()) > before)
    await server.command('CONFIG', 'SET', 'min-replicas-to-write', 0)
    expect(await purging).toMatchObject({ code: 0 })
  })

  it('is away, or says nothing, is 3', async () => {
    const gone = await startRedis()
    await gone.stop()
    const away = await run(['purge', 'a', '--redis', `redis://:secret@127.0.0.1:${gone.port}`])
    expect(away.code).toBe(3)
    expect(away.stderr).toContain(`Cannot reach redis://127.0.0.1:${gone.port}: connect ECONNREFUSED`)
    expect(away.stderr).not.toContain('secret')
    const silent = createServer(() => {}).listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const { port } = silent.address() as ReturnType<Server['address']> & { port: number }
    const late = await run(['tags', '--redis', `redis://127.0.0.1:${port}`, '--timeout', '0.5'])
    silent.close()
    expect(late.code).toBe(3)
    expect(late.stderr).toContain('did not answer in time')
  })

  it('asks for a password is 4', async () => {
    const locked = await startRedis()
    await locked.command('CONFIG', 'SET', 'requirepass', 'open-sesame')
    const ask = (user: string) => run(['tags', '--redis', `redis://${user}127.0.0.1:${locked.port}`])
    try {
      for (const user of ['', ':wrong@']) {
        const { code, stderr } = await ask(user)
        expect(code).toBe(4)
        expect(stderr).toMatch(/refuses: .*(?:NOAUTH|WRONGPASS)/)
      }
      expect((await ask(':open-sesame@')).code).toBe(1)
    } finally {
      await locked.stop()
    }
  })

  it('is a Cluster is asked as one', async () => {
    const cluster = await startCluster({ replicas: 0 })
    const { Cluster } = await import('ioredis')
    const own = new Cluster(cluster.nodes.map(({ port }) => ({ host: '127.0.0.1', port })))
    const spread = await openShop({ backend: redis(own, { partitions: 8 }), backendTimeout: 5 })
    const where = ['--redis', `redis://127.0.0.1:${cluster.nodes[0]!.port}`, '--partitions', '8']
    try {
      for (const id of ['a', 'b', 'c']) await spread.get(`/products/${id}`)
      const tags = await run(['tags', '--json', ...where])
      expect(JSON.parse(tags.stdout).tags).toContainEqual(expect.objectContaining({ name: 'products', entries: 3 }))
      const purged = await run(['purge', 'products', ...where])
      expect(purged.code).toBe(0)
      expect(purged.stderr).toMatch(/^tagcache: warning: A master of this Redis Cluster has no replica\..*\n$/)
      expect(await spread.get('/products/b')).toContain('invalidated')
    } finally {
      await spread.close()
      own.disconnect()
      await cluster.stop()
    }
  }, 60_000)
})
