import http from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listen, type TestServer } from '../support/http.ts'
import { finished, HOSTILE_TAG, openShop, type Result, run, type Shop, start, TOKEN, written } from './support.ts'

// Clears the screen in two ways, goes back to the beginning of the line, names the window, and turns text around.
const TRICKS = '\x1b[2J\u009b2J\r\x1b]0;taken\x07\u202e\u2028\ud800'
const HARMFUL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u

let shop: Shop
let evil: TestServer
let keyOfHostile: string

/** A server that stands for a dashboard, and has tricks in every text that it answers. */
beforeAll(async () => {
  shop = await openShop()
  for (const path of ['/products/1', '/products/1', '/hostile', '/account', '/greeting']) await shop.get(path)
  await shop.cache.invalidateTags('purged')
  keyOfHostile = JSON.parse((await run(['inspect', '/hostile', '--json'], { env: shop.env })).stdout).entry.key
  evil = await listen((req, res) => {
    const { method, headers } = req
    const asked = http.request(shop.server.url + req.url, { method, headers }, (answer) => {
      res.writeHead(answer.statusCode ?? 500, { 'content-type': answer.headers['content-type'] ?? '' })
      answer.setEncoding('utf8')
      answer.on('data', (text: string) => void res.write(spoil(text)))
      answer.on('end', () => res.end())
    })
    res.on('close', () => asked.destroy())
    asked.on('error', () => res.destroy())
    req.pipe(asked)
  })
})
afterAll(async () => {
  await evil.close()
  await shop.close()
})

function spoil(text: string): string {
  return text.replace(
    /^(data: )?(\{[^\n]*\})$/gm,
    (_, data = '', json) => data + JSON.stringify(spoilt(JSON.parse(json))),
  )
}

// What the answer depends upon stays: who is evil would see to that.
const KEPT = new Set(['code', 'id', 'next'])

function spoilt(value: unknown): unknown {
  if (typeof value === 'string') return value + TRICKS
  if (Array.isArray(value)) return value.map(spoilt)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([name, one]) => [name, KEPT.has(name) ? one : spoilt(one)] as const),
  )
}

function ask(...args: string[]): Promise<Result> {
  return run(args, { env: { TAGCACHE_URL: `${evil.url}/cache`, TAGCACHE_TOKEN: TOKEN } })
}

function expectHarmless(text: string): void {
  const harm = text.split('\n').filter((line) => HARMFUL.test(line))
  expect(harm.map((line) => JSON.stringify(line))).toEqual([])
}

describe('an application that is an attacker', () => {
  const commands = [
    ['stats'],
    ['top', '--count', '1'],
    ['tags', '--all'],
    ['entries'],
    ['explain', '/products/1'],
    ['explain', '/products/1', '--and', '/greeting'],
    ['purge', '--key', `nothing${TRICKS.slice(0, -1)}`],
    ['inspect', `nothing${TRICKS.slice(0, -1)}`],
    ['inspect', '/account', '-H', 'x-user: a'],
  ]
  it.each(commands.flatMap((args) => [[args], [[...args, '--json']]]))(
    'does nothing to a terminal: %j',
    async (args) => {
      const { stdout, stderr } = await ask(...args)
      expect(stdout + stderr).toContain('1b[2J')
      expectHarmless(stdout)
      expectHarmless(stderr)
    },
  )

  it('does nothing to a terminal by an entry', async () => {
    const { code, stdout } = await ask('inspect', keyOfHostile)
    expect(code).toBe(0)
    expect(stdout).toContain('\\x1b[2Jgone')
    expectHarmless(stdout)
  })

  it.each([[[]], [['--json']]])('does nothing to a terminal by events: %j', async (args) => {
    const child = start(['watch', ...args], { TAGCACHE_URL: `${evil.url}/cache`, TAGCACHE_TOKEN: TOKEN })
    const ended = finished(child)
    const told = written(child, /again/)
    let isTold = false
    told.then(() => {
      isTold = true
    })
    while (!isTold) {
      await shop.cache.invalidateTags([HOSTILE_TAG, 'again'], { by: TRICKS })
      await shop.get('/products/1')
    }
    child.kill('SIGINT')
    const { stdout } = await ended
    expect(stdout).toContain('1b[2J')
    expectHarmless(stdout)
  })

  it('says its refusals as text', async () => {
    const { code, stderr } = await run(['stats'], { env: { TAGCACHE_URL: `${evil.url}/cache` } })
    expect(code).toBe(4)
    expectHarmless(stderr)
  })

  it('gives JSON that says what it said', async () => {
    await shop.get('/hostile')
    const { stdout } = await ask('tags', '--prefix', 'x', '--json')
    expect(JSON.parse(stdout).tags[0].name).toBe(HOSTILE_TAG + TRICKS)
  })
})
