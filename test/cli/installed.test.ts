import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createClient } from 'redis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { redis } from '../../src/backends/redis/redis.ts'
import { createCache } from '../../src/index.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { root } from './support.ts'

const { dependencies, bin } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8'))
let server: RedisServer
let home: string

/** A Redis with an entry, and a place for projects. */
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'tagcache-cli-'))
  server = await startRedis()
  const client = await createClient({ url: `redis://127.0.0.1:${server.port}` }).connect()
  const cache = createCache({ backend: redis(client), backendTimeout: 5 })
  expect(await cache.set('GET /a', {}, ['kept'], { body: 'x' })).toBe(true)
  await cache.close()
  client.destroy()
})
afterAll(async () => {
  await server.stop()
  rmSync(home, { recursive: true, force: true })
})

/** A project into which the package and its dependencies are installed, and these. */
function project(name: string, ...installed: string[]): string {
  const modules = join(home, name, 'node_modules')
  cpSync(`${root}/dist`, join(modules, 'tagcache/dist'), { recursive: true })
  cpSync(`${root}/package.json`, join(modules, 'tagcache/package.json'))
  for (const one of [...Object.keys(dependencies), ...installed]) link(join(modules, one), one)
  mkdirSync(join(modules, '.bin'))
  symlinkSync(join('..', 'tagcache', bin.tagcache), join(modules, '.bin/tagcache'))
  return join(home, name)
}

function link(place: string, name: string): void {
  mkdirSync(dirname(place), { recursive: true })
  symlinkSync(join(root, 'node_modules', name), place)
}

function run(from: string, cwd: string, ...args: string[]): { code: number; stdout: string; stderr: string } {
  try {
    const stdout = execFileSync(join(from, 'node_modules/.bin/tagcache'), args, {
      cwd,
      encoding: 'utf8',
      stdio: 'pipe',
    })
    return { code: 0, stdout, stderr: '' }
  } catch (error) {
    const { status, stdout, stderr } = error as { status: number; stdout: string; stderr: string }
    return { code: status, stdout, stderr }
  }
}

describe('the installed command line', () => {
  it.each(['ioredis', 'redis'])('uses %s where that is installed', (name) => {
    const from = project(`with-${name}`, name)
    const { code, stdout } = run(from, from, 'tags', '--redis', `redis://127.0.0.1:${server.port}`, '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout).tags).toMatchObject([{ name: 'kept', entries: 1 }])
    expect(run(from, from, 'purge', 'some', '--redis', `redis://127.0.0.1:${server.port}`).code).toBe(0)
    expect(run(from, from, 'purge', 'some', '--redis', 'redis://127.0.0.1:9').code).toBe(3)
  })

  it('writes nothing to standard output that a library has to say', () => {
    const from = project('talkative')
    symlinkSync(join(root, 'node_modules/redis5'), join(from, 'node_modules/redis'))
    const { code, stdout } = run(from, from, 'tags', '--redis', 'redis+sentinel://127.0.0.1:9/m', '--timeout', '1')
    expect([code, stdout]).toEqual([3, ''])
  })

  it('asks for one of them where none is, and needs none for an application', () => {
    const from = project('alone')
    const { code, stderr } = run(from, from, 'tags', '--redis', `redis://127.0.0.1:${server.port}`)
    expect(code).toBe(2)
    expect(stderr).toContain('npm install ioredis')
    expect(run(from, from, 'tags', '--url', 'http://127.0.0.1:9/cache').code).toBe(3)
  })

  it('finds one in the project where it is run', () => {
    const [from, cwd] = [project('global'), join(home, 'elsewhere')]
    link(join(cwd, 'node_modules/redis'), 'redis')
    expect(run(from, cwd, 'tags', '--redis', `redis://127.0.0.1:${server.port}`).code).toBe(0)
  })
})
