import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { redis } from '../../src/backends/redis/redis.ts'
import { createCache } from '../../src/index.ts'
import { listen } from '../support/http.ts'
import { type RedisServer, startRedis, until } from '../support/redis.ts'
import { finished, openShop, root, run, type Shop, start, TOKEN, written } from './support.ts'

// Clears the screen in two ways, goes back to the beginning of the line, and turns text around.
const TRICKS = '\x1b[2J\u009b2J\r\u202e\u2028'
const HARMFUL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

const CHILD = `
import { Redis } from 'ioredis'
import { createCache } from './src/index.ts'
import { redis } from './src/backends/redis/redis.ts'
const [port, namespace, requests] = process.argv.slice(-3)
const client = new Redis(Number(port), '127.0.0.1')
const cache = createCache({ backend: redis(client, { namespace }), publishStats: '1s' })
const count = (outcome, reason) => cache.flow.events.emit({ type: 'trace', outcome, reason, route: 'GET /child', stored: false })
for (let at = 0; at < Number(requests); at++) count('hit')
process.stdin.on('data', (text) => {
  if (String(text).includes('end')) return client.disconnect()
  if (String(text).includes('fault')) return cache.flow.events.emit({ type: 'fault', operation: 'lookup', error: new Error('x') })
  count('miss', 'uri-miss')
})
console.log('ready')
`

let server: RedisServer
let client: Redis
beforeAll(async () => {
  server = await startRedis()
  client = new Redis(server.port, { maxRetriesPerRequest: 1 })
})
afterAll(async () => {
  client.disconnect()
  await server.stop()
})

const where = (namespace: string) => ['--redis', `redis://127.0.0.1:${server.port}`, '--namespace', namespace]

/** A process of its own, with so many hits. */
async function startNode(namespace: string, hits: number) {
  const args = [
    '--import',
    'tsx',
    '--input-type=module',
    '-e',
    CHILD,
    '--',
    String(server.port),
    namespace,
    String(hits),
  ]
  const child = spawn(process.execPath, args, { stdio: ['pipe', 'pipe', 'inherit'], cwd: root })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(createInterface(child.stdout), 'line')
  return child
}

async function shopOf(namespace: string, publishStats: boolean | string = '1s'): Promise<Shop> {
  const shop = await openShop({
    backend: redis(client, { namespace }),
    publishStats: publishStats as '1s',
    backendTimeout: 5,
  })
  onTestFinished(() => shop.close())
  return shop
}

describe('the numbers of a fleet', () => {
  it('are asked of one application, or of Redis, and are the same', async () => {
    const shop = await shopOf('shop')
    const children = await Promise.all([startNode('shop', 3), startNode('shop', 4)])
    await shop.get('/products/1')
    const askJson = async (...args: string[]) => {
      const { stdout } = await run(['stats', '--json', ...args], { env: shop.env })
      return JSON.parse(stdout || '{}')
    }
    await until('all have published', async () => (await askJson('--fleet')).stats?.hits === 7)
    await until('Redis knows it', async () =>
      (await run(['stats', '--json', ...where('shop')])).stdout.includes('"requests": 8'),
    )
    const [byUrl, byRedis] = [
      await askJson('--fleet'),
      JSON.parse((await run(['stats', '--fleet', '--json', ...where('shop')])).stdout),
    ]
    expect(byUrl).toMatchObject({
      target: shop.url,
      of: { kind: 'fleet', unread: 0 },
      stats: { requests: 8, hits: 7 },
      health: 'well',
    })
    const ids = (json: typeof byUrl) => json.nodes.map(({ id }: { id: string }) => id).sort()
    expect(ids(byUrl)).toEqual(ids(byRedis))
    expect(byUrl.of.nodes.map(({ id }: { id: string }) => id).sort()).toEqual(ids(byUrl))
    for (const { pid } of [process, ...children]) expect(ids(byUrl).join()).toContain(`:${pid}:`)
    expect(byRedis.stats.routes).toEqual(byUrl.stats.routes)
    // Without it they are those of the process, as ever.
    expect(await askJson()).toMatchObject({ of: { kind: 'process' }, stats: { hits: 0 } })
    const { code, stdout, stderr } = await run(['stats', '--fleet'], { env: shop.env })
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^The fleet: 3 nodes that publish their numbers, the oldest of them .* old \(http.*\)$/m)
    expect(stdout).toMatch(/^NODE +SAID +REQUESTS +HIT RATIO +SAVED +HELD +BACKEND$/m)
    expect(stdout).toMatch(new RegExp(`:${children[0]!.pid}:\\w+ +[\\d.]+ m?s ago +3 +100\\.0 % .* well$`, 'm'))
    expect(stdout).toMatch(/^GET \/child +7 +100\.0 % /m)
    for (const child of children) child.stdin.end('end')
  }, 30_000)

  it('are seen by the second with top', async () => {
    const shop = await shopOf('top')
    const child = await startNode('top', 5)
    await until('it has published', async () =>
      (await run(['stats', '--fleet'], { env: shop.env })).stdout.includes('2 nodes'),
    )
    const looking = start(['top', '--fleet', '--json', '--interval', '0.5'], shop.env)
    const ended = finished(looking, '')
    const seen = written(looking, /"GET \/child":\{"requests":(?:0\.[1-9]|[1-9])/)
    let isSeen = false
    seen.then(() => {
      isSeen = true
    })
    await until('rates are shown', async () => {
      child.stdin.write('miss\n')
      await new Promise((resolve) => setTimeout(resolve, 100))
      return isSeen
    })
    looking.kill('SIGINT')
    const { code, stdout } = await ended
    expect(code).toBe(0)
    expect(JSON.parse(stdout.split('\n')[0]!)).toMatchObject({
      target: shop.url,
      of: { kind: 'fleet', nodes: [{}, {}] },
    })
    expect((await run(['top', '--fleet', '--count', '1'], { env: shop.env })).stdout).toContain('The fleet: 2 nodes')
    child.stdin.end('end')
  }, 30_000)

  it('nobody publishes are 1, and that is said', async () => {
    const shop = await shopOf('silent', false)
    for (const command of ['stats', 'top']) {
      const { code, stdout, stderr } = await run([command, '--fleet'], { env: shop.env })
      expect([code, stdout]).toEqual([1, ''])
      expect(stderr).toContain('publishStats: true')
    }
  })

  it('over a backend that nobody shares are 2, and that is said', async () => {
    const shop = await openShop()
    onTestFinished(() => shop.close())
    const { code, stdout, stderr } = await run(['stats', '--fleet'], { env: shop.env })
    expect([code, stdout]).toEqual([2, ''])
    expect(stderr).toContain('without --fleet')
  })

  it('are never those of one process of an older release', async () => {
    const old = await listen((_req, res) => {
      res.setHeader('content-type', 'application/json')
      const stats = createCache().stats()
      res.end(JSON.stringify({ of: { pid: 1, host: 'old', since: 1 }, health: 'well', stats }))
    })
    onTestFinished(() => old.close())
    const { code, stdout, stderr } = await run(['stats', '--fleet', '--url', `${old.url}/cache`])
    expect([code, stdout]).toEqual([4, ''])
    expect(stderr).toContain('older')
  })
})

describe('what anybody has written into Redis', () => {
  const stats = JSON.parse(JSON.stringify(createCache().stats()))
  const tally = { ...stats, requests: 5, hits: 5 }

  it.each([
    ['stats', '--fleet'],
    ['stats', '--fleet', '--json'],
    ['top', '--fleet', '-n', '1'],
    ['top', '--fleet', '-n', '1', '--json'],
  ])('does nothing to a terminal: %s %s %s', async (...args) => {
    const namespace = `evil-${args.join('')}`
    const shop = await shopOf(namespace)
    const { board } = redis(client, { namespace })
    const said = { ...stats, requests: 5, hits: 5, routes: { [`GET /${TRICKS}`]: tally }, reasons: { [TRICKS]: 5 } }
    await board.publish(`|${TRICKS}`, JSON.stringify({ at: Date.now(), stats: said }), 60_000)
    await board.publish('|broken', `{"at":${TRICKS}`, 60_000)
    for (const target of [[], where(namespace)]) {
      const env = target.length > 0 ? {} : shop.env
      const { code, stdout, stderr } = await run([...args, ...target], { env })
      expect([code, stderr]).toEqual([0, ''])
      expect(stdout).toContain('1b[2J')
      expect(stdout).toContain(args.includes('--json') ? '"unread":' : '1 more said something that is not counted')
      expect(stdout.split('\n').filter((line) => HARMFUL.test(line))).toEqual([])
    }
  })

  it('is not counted where none of it is numbers, and that is 1', async () => {
    await redis(client, { namespace: 'noise' }).board.publish('|a', 'noise', 60_000)
    const { code, stderr } = await run(['stats', ...where('noise')])
    expect(code).toBe(1)
    expect(stderr).toContain('can be read')
  })
})

describe('over Redis, watch', () => {
  it('tells who comes and goes, whose backend is in trouble, and purges', async () => {
    const first = await startNode('watch', 1)
    const isThere = async () => (await run(['stats', ...where('watch')])).code === 0
    await until('it has published', isThere)
    const child = start(['watch', '--json', ...where('watch')])
    const ended = finished(child)
    await written(child, /"watching"/)
    const came = written(child, /"came"/)
    const second = await startNode('watch', 1)
    await came
    const faulty = written(child, /"kind":"fault"/)
    first.stdin.write('fault\n')
    await faulty
    const gone = written(child, /"gone"/)
    second.kill('SIGKILL')
    await gone
    child.kill('SIGINT')
    const { code, stdout } = await ended
    expect(code).toBe(0)
    const told = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .slice(1)
    expect(told).toMatchObject([
      { kind: 'node', what: 'came', node: expect.stringContaining(`:${second.pid}:`) },
      { kind: 'fault', count: 1, node: expect.stringContaining(`:${first.pid}:`) },
      { kind: 'node', what: 'gone', node: expect.stringContaining(`:${second.pid}:`) },
    ])
    first.stdin.end('end')
  }, 60_000)

  it('shows text for people, and nothing to a terminal', async () => {
    const { board } = redis(client, { namespace: 'people' })
    const stats = { ...createCache().stats(), backend: { ...createCache().stats().backend, state: 'paused' } }
    await board.publish(`|${TRICKS}`, JSON.stringify({ at: 1, stats }), 600_000)
    const child = start(['watch', ...where('people')])
    const ended = finished(child)
    expect(await written(child, /paused/)).toMatch(/ backend {2}paused, on \\x1b\[2J/)
    child.kill('SIGINT')
    expect((await ended).stdout.split('\n').filter((line) => HARMFUL.test(line))).toEqual([])
  }, 30_000)

  it('says that Redis is away', async () => {
    const away = await startRedis()
    const child = start(['watch', '--redis', `redis://127.0.0.1:${away.port}`, '--timeout', '1'])
    const ended = finished(child)
    await written(child, /from now on/)
    const told = written(child, /The connection is lost/, 'stderr')
    await away.stop()
    await told
    child.kill('SIGINT')
    expect((await ended).code).toBe(0)
  }, 30_000)
})

it('the token is asked for', async () => {
  const shop = await shopOf('token')
  const { code } = await run(['stats', '--fleet', '--url', shop.url], {
    env: { TAGCACHE_TOKEN: TOKEN.replace('a', 'b') },
  })
  expect(code).toBe(4)
})
