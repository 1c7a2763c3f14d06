import { hostname } from 'node:os'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { memory, type TagBackend } from '../../src/index.ts'
import { listen } from '../support/http.ts'
import { bash, finished, HOSTILE_TAG, openShop, type Result, run, type Shop, start, TOKEN, written } from './support.ts'

let shop: Shop
beforeAll(async () => {
  shop = await openShop()
})
afterAll(() => shop.close())

function ask(...args: string[]): Promise<Result> {
  return run(args, { env: shop.env })
}

async function askJson(...args: string[]) {
  const { code, stdout, stderr } = await ask(...args, '--json')
  expect(stderr).toBe('')
  return { code, ...JSON.parse(stdout) }
}

const OF = { kind: 'process', pid: process.pid, host: hostname() }

describe('stats', () => {
  it('says whose numbers they are, what requests came to, and by which route', async () => {
    for (const _ of [1, 2]) await shop.get('/products/stats')
    await shop.get('/products/stats', { cookie: 'a=b' })
    const { code, stdout, stderr } = await ask('stats')
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain(`Process ${process.pid} on ${hostname()} alone`)
    expect(stdout).toMatch(/^bypasses +1 /m)
    expect(stdout).toMatch(/^GET \/products\/:id +3 +33\.3 % /m)
    const json = await askJson('stats')
    expect(json).toMatchObject({ code: 0, target: shop.url, of: OF, health: 'well', stats: { requests: 3, hits: 1 } })
    expect(json.stats).toEqual(JSON.parse(JSON.stringify(shop.cache.stats())))
  })
})

describe('top', () => {
  it('tells rates between two looks, as JSON lines', async () => {
    const child = start(['top', '--json', '--count', '2', '--interval', '1'], shop.env)
    const ended = finished(child, '')
    await written(child, /\n/)
    for (let at = 0; at < 10; at++) await shop.get('/products/top')
    const [first, second] = (await ended).stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(first).toMatchObject({ of: OF, perSecond: null })
    expect(second.perSecond.hits).toBeCloseTo(second.perSecond.requests * 0.9, 5)
    expect(second.routes['GET /products/:id'].requests).toBeGreaterThan(3)
  })

  it('shows one table after the other where there is no terminal', async () => {
    const { code, stdout } = await ask('top', '-n', '2', '--interval', '0.1')
    expect(code).toBe(0)
    expect(stdout.match(/^ROUTE +REQ\/S/gm)).toHaveLength(2)
    expect(stdout).not.toContain('\x1b')
  })
})

describe('tags and entries', () => {
  it('are listed, as far as they were asked for', async () => {
    for (const id of ['a', 'b', 'c']) await shop.get(`/products/${id}`)
    const listed = await ask('tags', '--prefix', 'product:')
    expect(listed.code).toBe(0)
    expect(listed.stdout).toMatch(/^TAG +ENTRIES +LAST PURGE +BY$/m)
    expect(listed.stdout).toMatch(/^product:a +1$/m)
    const some = await askJson('entries', '--tag', 'products', '--limit', '2')
    expect(some).toMatchObject({ code: 0, of: OF, isAll: false, entries: [{ state: 'fresh' }, { state: 'fresh' }] })
    const all = await askJson('entries', '--route', 'GET /products/:id', '--all')
    expect(all.isAll).toBe(true)
    expect(all.entries.length).toBeGreaterThan(2)
    expect((await ask('entries', '--limit', '1')).stderr).toContain('There may be more')
  })

  it('that are not there end with 1', async () => {
    const { code, stdout } = await ask('entries', '--tag', 'nobody-has-this')
    expect(code).toBe(1)
    expect(stdout).toContain('KEY')
    expect(await askJson('tags', '--prefix', 'nobody')).toMatchObject({ code: 1, isAll: true, tags: [] })
  })

  it('say who has purged a tag last', async () => {
    await shop.get('/products/told')
    expect((await ask('purge', 'product:told')).code).toBe(0)
    await shop.get('/products/told')
    expect((await ask('tags', '--prefix', 'product:told')).stdout).toMatch(/^product:told +1 +\d{4}-.* +ann$/m)
  })
})

describe('inspect', () => {
  it('shows an entry by its key, its URL and its path', async () => {
    await shop.get('/products/seen')
    const { entry } = await askJson('inspect', '/products/seen')
    expect(entry).toMatchObject({ route: 'GET /products/:id', state: 'fresh', body: { text: '{"id":"seen"}' } })
    for (const asked of [entry.key, `${shop.server.url}/products/seen`]) {
      const { code, stdout } = await ask('inspect', asked)
      expect(code).toBe(0)
      expect(stdout).toContain(entry.key)
      expect(stdout).toMatch(/^tag +product:seen$/m)
      expect(stdout).toMatch(/^Content-Type: application\/json/m)
      expect(stdout).toContain('\n{"id":"seen"}\n')
    }
  })

  it('finds the variant that the fields of a request ask for', async () => {
    await shop.get('/greeting', { 'accept-language': 'de' })
    await shop.get('/greeting', { 'accept-language': 'fr' })
    const { entry } = await askJson('inspect', '/greeting', '-H', 'Accept-Language: fr')
    expect(entry.body.text).toBe('fr')
    expect(entry.variants).toHaveLength(1)
  })

  it('shows what is kept for somebody alone without naming him', async () => {
    await shop.get('/account', { 'x-user': 'ann-the-secret' })
    const { code, stdout } = await ask('inspect', '/account', '-H', 'x-user: ann-the-secret')
    expect(code).toBe(0)
    expect(stdout).toContain('sha256-')
    expect(stdout).not.toContain('ann-the-secret')
  })

  it('ends with 1 where nothing is stored, and says why', async () => {
    const { code, stdout, stderr } = await ask('inspect', '/products/unseen')
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toContain('Nothing is stored for /products/unseen')
    expect((await ask('inspect', 'GET /no/such/key')).code).toBe(1)
  })
})

describe('explain', () => {
  it('says what would become of a request, and where each option comes from', async () => {
    await shop.get('/products/why')
    const hit = await ask('explain', '/products/why')
    expect(hit.code).toBe(0)
    expect(hit.stdout).toContain('GET /products/why: hit')
    expect(hit.stdout).toMatch(/^ttl +60 +cache$/m)
    expect(await askJson('explain', '/products/why', '-H', 'cookie: a=b')).toMatchObject({
      of: OF,
      decision: { outcome: 'bypass', reason: 'credentials' },
    })
  })

  it('says in what two requests differ; fields after --and are of the second alone', async () => {
    const { stdout } = await ask('explain', '/products/1', '--and', '/products/1?utm=x')
    expect(stdout).toContain('They do not share: they differ in `query` of the key, at `utm`: nothing and "x".')
    await shop.get('/greeting', { 'accept-language': 'de' })
    const args = ['/greeting', '-H', 'accept-language: de', '--and', '/greeting']
    expect(await askJson('explain', ...args)).toMatchObject({ isShared: true })
    expect(await askJson('explain', ...args, '-H', 'accept-language: fr')).toMatchObject({
      isShared: false,
      difference: { part: 'vary', name: 'accept-language', first: 'de', second: 'fr' },
    })
  })

  it('ends with 1 where no cached() is reached', async () => {
    const { code, stdout } = await ask('explain', '/plain')
    expect(code).toBe(1)
    expect(stdout).toContain('GET /plain')
  })
})

describe('purge', () => {
  it('has taken effect when it ends with 0', async () => {
    for (const path of ['/products/p1', '/products/p2', '/greeting']) await shop.get(path)
    const { code, stdout } = await ask('purge', 'product:p1', 'greetings')
    expect([code, stdout]).toEqual([0, `Purged tags product:p1, greetings in ${shop.url}.\n`])
    expect(await shop.get('/products/p1')).toContain('invalidated')
    expect(await shop.get('/products/p2')).toContain('hit')
    expect(await askJson('purge', '--route', 'GET /products/:id')).toMatchObject({
      code: 0,
      isDelivered: true,
      routes: ['GET /products/:id'],
    })
    expect(await shop.get('/products/p2')).toContain('invalidated')
  })

  it('takes tags from standard input, as many as there are', async () => {
    await shop.get('/products/piped')
    const input = [...Array.from({ length: 1200 }, (_, at) => `other:${at}`), 'product:piped'].join('\n')
    const { code, stdout } = await run(['purge', '--stdin'], { env: shop.env, input })
    expect([code, stdout]).toEqual([0, `Purged 1,201 tags in ${shop.url}.\n`])
    expect(await shop.get('/products/piped')).toContain('invalidated')
  })

  it('of one entry ends with 1 where there is none', async () => {
    await shop.get('/products/one')
    const { entry } = await askJson('inspect', '/products/one')
    expect((await ask('purge', '--key', entry.key)).code).toBe(0)
    const again = await ask('purge', '--key', entry.key, '--json')
    expect(again.code).toBe(1)
    expect(JSON.parse(again.stdout)).toMatchObject({ missing: [entry.key] })
    expect(again.stderr).toContain('There is no entry')
  })

  it('that the backend has not taken ends with 5', async () => {
    const deaf = await openShop({ backend: withoutInvalidation(), backendPause: 3600 })
    try {
      const { code, stdout, stderr } = await run(['purge', 'products'], { env: deaf.env })
      expect([code, stdout]).toEqual([5, ''])
      expect(stderr).toContain('Not delivered: the tag products')
      const cleared = await run(['clear', '--yes', '--json'], { env: deaf.env })
      expect(cleared.code).toBe(5)
      expect(JSON.parse(cleared.stdout)).toMatchObject({ isDelivered: false })
    } finally {
      await deaf.close()
    }
  })

  it('is refused with 4 where nobody may purge, and for a tag that is none', async () => {
    const closed = await openShop({}, { readOnly: true })
    try {
      const { code, stderr } = await run(['purge', 'a'], { env: closed.env })
      expect(code).toBe(4)
      expect(stderr).toContain('readOnly')
    } finally {
      await closed.close()
    }
    expect((await ask('purge', 'a\x07')).code).toBe(4)
  })
})

// A backend that answers, and takes no invalidation.
function withoutInvalidation(): TagBackend {
  const refuse = () => {
    throw new Error('refused')
  }
  const backend = memory()
  return new Proxy(backend, {
    get(_, name) {
      if (name === 'invalidate' || name === 'clear') return refuse
      const value = Reflect.get(backend, name, backend)
      return typeof value === 'function' ? value.bind(backend) : value
    },
  })
}

describe('clear', () => {
  it('purges everything if that is said', async () => {
    await shop.get('/products/all')
    expect(await ask('clear', '--yes')).toMatchObject({ code: 0, stdout: `Purged everything in ${shop.url}.\n` })
    expect(await shop.get('/products/all')).toContain('stored')
  })

  it('purges nothing where nobody can be asked', async () => {
    await shop.get('/products/kept')
    const { code, stderr } = await run(['clear'], { env: shop.env, input: 'yes\n' })
    expect(code).toBe(2)
    expect(stderr).toContain('--yes')
    expect(await shop.get('/products/kept')).toContain('hit')
  })
})

describe('watch', () => {
  it('tells purges with who asked, until it is interrupted', async () => {
    const child = start(['watch'], shop.env)
    const ended = finished(child)
    await written(child, /from now on/)
    const told = written(child, /purge +tag watched, by ann/)
    while (!(await Promise.race([told.then(() => true), purgeSoon('watched')]))) {}
    child.kill('SIGINT')
    expect(await ended).toMatchObject({ code: 0, stderr: '' })
  })

  it('tells the requests of each second where it is asked to, as JSON lines', async () => {
    const child = start(['watch', '--requests', '--json'], shop.env)
    const ended = finished(child)
    await written(child, /watching/)
    const told = written(child, /"kind":"requests"/)
    while (!(await Promise.race([told.then(() => true), shop.get('/products/r').then(() => false)]))) {}
    child.kill('SIGTERM')
    const { code, stdout } = await ended
    expect(code).toBe(0)
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines[0]).toMatchObject({ kind: 'watching', target: shop.url, of: OF })
    expect(lines.find(({ kind }) => kind === 'requests').hits).toBeGreaterThanOrEqual(0)
  })
})

describe('watch, of an application that is started anew', () => {
  it('goes on with what the new process tells, and says that it was away', async () => {
    const first = await openShop()
    const child = start(['watch'], first.env)
    const ended = finished(child)
    await written(child, /from now on/)
    const lost = written(child, /The connection is lost/, 'stderr')
    await first.close()
    await lost
    const second = await openShop({}, { port: first.server.port })
    try {
      const told = written(child, /purge +tag anew/)
      await second.cache.invalidateTags('anew')
      await told
    } finally {
      await second.close()
    }
    child.kill('SIGINT')
    expect((await ended).code).toBe(0)
  })

  it('ends with 3 where it does not come back', async () => {
    const gone = await openShop()
    const child = start(['watch', '--timeout', '1'], gone.env)
    const ended = finished(child)
    await written(child, /from now on/)
    await gone.close()
    expect((await ended).code).toBe(3)
  })
})

async function purgeSoon(tag: string): Promise<false> {
  await ask('purge', tag)
  return false
}

describe('whoever cannot be asked', () => {
  it('is named, with 3', async () => {
    const gone = await listen(() => {})
    await gone.close()
    const { code, stdout, stderr } = await run(['stats', '--url', `${gone.url}/cache`])
    expect([code, stdout]).toEqual([3, ''])
    expect(stderr).toContain(`Cannot reach ${gone.url}/cache: connect ECONNREFUSED`)
    const elsewhere = await run(['tags', '--url', `${shop.server.url}/plain`], { env: { TAGCACHE_TOKEN: TOKEN } })
    expect(elsewhere.code).toBe(3)
    expect(elsewhere.stderr).toContain('where dashboard() is mounted')
  })

  it('is not waited for longer than is said', async () => {
    const silent = await listen(() => {})
    try {
      for (const command of ['stats', 'watch']) {
        const { code, stderr } = await run([command, '--url', silent.url, '--timeout', '0.3'])
        expect(code).toBe(3)
        expect(stderr).toContain('it did not answer in time')
      }
    } finally {
      await silent.close()
    }
  })

  it('does not get a token by sending one on elsewhere', async () => {
    const asked: string[] = []
    const elsewhere = await listen((req, res) => {
      asked.push(req.url ?? '')
      res.end()
    })
    const sending = await listen((_req, res) => void res.writeHead(302, { location: elsewhere.url }).end())
    try {
      const { code, stderr } = await run(['stats', '--url', sending.url], { env: { TAGCACHE_TOKEN: TOKEN } })
      expect(code).toBe(3)
      expect(stderr).toContain(`it sends one on to ${elsewhere.url}`)
      expect(asked).toEqual([])
    } finally {
      await sending.close()
      await elsewhere.close()
    }
  })

  it('refuses a wrong token and none, with 4', async () => {
    const wrong = await run(['stats'], {
      env: { ...shop.env, TAGCACHE_TOKEN: 'another token'.padEnd(20, '-').replace(' ', '-') },
    })
    expect(wrong.code).toBe(4)
    expect(wrong.stderr).toContain('does not know the token in TAGCACHE_TOKEN')
    const none = await run(['watch'], { env: { TAGCACHE_URL: shop.url } })
    expect(none.code).toBe(4)
    expect(none.stderr).toContain('Set TAGCACHE_TOKEN')
  })
})

describe('a pipe that is closed', () => {
  it('ends lists and what goes on for ever, and is no failure', async () => {
    for (let at = 0; at < 600; at++)
      shop.cache.set('GET /many', { params: { at: String(at) } }, ['many'], { body: 'x' })
    for (const command of ['entries --all', 'top --interval 0.1', 'stats']) {
      const { stdout, stderr } = await bash(`tagcache ${command} | head -n 1; echo "ended with \${PIPESTATUS[0]}"`, {
        env: shop.env,
      })
      expect(stdout).toMatch(/\nended with 0\n$/)
      expect(stderr).toBe('')
    }
  })

  it('is none of a purge: that is made', async () => {
    await shop.get('/products/unheard')
    const { stdout } = await bash('tagcache purge product:unheard | true; echo $PIPESTATUS', { env: shop.env })
    expect(stdout).toBe('0\n')
    expect(await shop.get('/products/unheard')).toContain('invalidated')
  })
})

it('a hostile tag is shown as text, and purged as it is', async () => {
  await shop.get('/hostile')
  const { stdout } = await ask('tags', '--prefix', 'x')
  expect(stdout).toContain('x\\x9b2J\\u{202e}日本語')
  expect((await askJson('tags', '--prefix', 'x')).tags[0].name).toBe(HOSTILE_TAG)
  expect((await ask('purge', HOSTILE_TAG)).code).toBe(0)
  expect(await shop.get('/hostile')).toContain('invalidated')
})
