import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { type AddressInfo, connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type RedisCluster,
  type RedisServer,
  type Sentinels,
  startCluster,
  startRedis,
  startSentinels,
} from '../support/redis.ts'
import { finished, root, run } from './support.ts'

/** Purges a tag through one of the libraries. */
const PURGE = `
const [name, url] = process.argv.slice(-2)
const { placeOf } = await import('./src/cli/targets/redis-address.ts')
const { ioRedis } = await import('./src/cli/targets/ioredis.ts')
const { nodeRedis } = await import('./src/cli/targets/node-redis.ts')
const { createCache } = await import('./src/index.ts')
const { redis } = await import('./src/backends/redis/redis.ts')
const place = placeOf(url)
const ways = (name.startsWith('ioredis') ? ioRedis : nodeRedis)(await import(name), { place, timeout: 10_000 })
const kind = place.sentinel ? ways.sentinel(place.sentinel) : place.hosts.length > 1 ? ways.cluster() : ways.single(place.hosts[0])
const { client, end } = await kind
const cache = createCache({ backend: redis(client), backendTimeout: 5 })
console.log(await cache.invalidateTags('over-tls'))
await cache.close()
end()
process.exit()
`

let home: string
let single: RedisServer
let cluster: RedisCluster
let sentinels: Sentinels
// Where each server is reached with TLS, by its own port.
const fronts = new Map<number, Server>()

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'tagcache-tls-'))
  const certificate = '-x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=tagcache'.split(
    ' ',
  )
  const files = ['-keyout', join(home, 'key'), '-out', join(home, 'certificate')]
  execFileSync('openssl', ['req', ...certificate, '-addext', 'subjectAltName=IP:127.0.0.1', ...files], {
    stdio: 'pipe',
  })
  single = await startRedis()
  cluster = await startCluster({ masters: 3, replicas: 0 })
  sentinels = await startSentinels(single, { count: 1 })
  for (const port of [single.port, ...cluster.ports, ...sentinels.ports]) fronts.set(port, await openFront(port))
}, 90_000)
afterAll(async () => {
  for (const front of fronts.values()) front.close()
  await sentinels?.stop()
  await cluster?.stop()
  await single?.stop()
  rmSync(home, { recursive: true, force: true })
}, 30_000)

/** Ends TLS before a server, and has it say that the others are behind TLS as well. */
async function openFront(port: number): Promise<Server> {
  const [key, cert] = ['key', 'certificate'].map((name) => readFileSync(join(home, name)))
  const front = createServer({ key, cert } as object, (socket: TLSSocket) => {
    const server = connect(port, '127.0.0.1')
    for (const one of [socket, server]) one.on('error', () => {})
    socket.pipe(server)
    server.on('data', (chunk) => socket.write(Buffer.from(translated(chunk.toString('latin1')), 'latin1')))
    server.on('close', () => socket.destroy())
    socket.on('close', () => server.destroy())
  })
  await new Promise<void>((resolve) => front.listen(0, '127.0.0.1', resolve))
  return front
}

function translated(text: string): string {
  return [...fronts].reduce((said, [port, front]) => said.replaceAll(String(port), String(portOf(front))), text)
}

function portOf(front: Server): number {
  return (front.address() as AddressInfo).port
}

function urlOf(kind: string): string {
  const at = (ports: readonly number[]) => ports.map((port) => `127.0.0.1:${portOf(fronts.get(port)!)}`).join(',')
  if (kind === 'sentinel') return `rediss+sentinel://${at(sentinels.ports)}/${sentinels.name}`
  return `rediss://${at(kind === 'cluster' ? cluster.ports : [single.port])}`
}

describe.each(['single', 'cluster', 'sentinel'])('a Redis behind TLS, %s,', (kind) => {
  it('is purged by the command line, and by nobody who does not trust its certificate', async () => {
    const purge = ['purge', 'over-tls', '--redis', urlOf(kind), '--timeout', '5']
    const trusting = await run(purge, { env: { NODE_EXTRA_CA_CERTS: join(home, 'certificate') } })
    expect([trusting.code, trusting.stdout]).toEqual([0, expect.stringContaining('Purged the tag over-tls')])
    expect((await run(purge)).code).toBe(3)
  }, 30_000)

  it.each(['ioredis', 'ioredis5', 'redis', 'redis5'])(
    'is purged with %s',
    async (name) => {
      const args = ['--import', 'tsx', '--input-type=module', '-e', PURGE, '--', name, urlOf(kind)]
      const env = { ...process.env, NODE_EXTRA_CA_CERTS: join(home, 'certificate') }
      expect((await finished(spawn(process.execPath, args, { cwd: root, env }))).stdout).toBe('true\n')
    },
    30_000,
  )
})
