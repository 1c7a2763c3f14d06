import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { TagBackend } from '../../src/backends/backend.ts'
import { fileJournal } from '../../src/backends/journal.ts'
import { memory } from '../../src/backends/memory.ts'
import { redis } from '../../src/backends/redis/redis.ts'
import { type CacheEvent, createCache } from '../../src/index.ts'
import { Overridden } from '../support/backends.ts'
import { ask } from '../support/http.ts'
import { type RelayedRedis, startRedis, until } from '../support/redis.ts'
import { redisLibraries } from '../support/redis-clients.ts'
import { startRelay } from '../support/relay.ts'
import { ManualTime } from '../support/time.ts'

const SLACK = 800
const [ioredis] = redisLibraries

/** A path in a folder that is gone after the test. */
async function place(name = 'journal'): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'tagcache-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return path.join(folder, name)
}

/** A journal that is closed after the test. */
function journalAt(file: string) {
  const journal = fileJournal(file)
  onTestFinished(() => journal.close())
  return journal
}

/** What the next process reads. */
function read(file: string) {
  const journal = fileJournal(file)
  try {
    return journal.read()
  } finally {
    journal.close()
  }
}

const NOTHING = { tags: [], everything: false }
const EVERYTHING = { tags: [], everything: true }

describe('a journal', () => {
  it('leaves no file while there is nothing to keep', async () => {
    const file = await place()
    expect(journalAt(file).read()).toEqual(NOTHING)
    expect(existsSync(file)).toBe(false)
  })

  it('has the next process read what was added', async () => {
    const file = await place()
    const journal = fileJournal(file)
    journal.add(['a', 'line\\nbreak', '"quoted"', '✓ 𝒳'])
    journal.add([])
    journal.add(['b', 'a'])
    journal.close()
    expect(read(file)).toEqual({ tags: ['a', 'line\\nbreak', '"quoted"', '✓ 𝒳', 'b'], everything: false })
    expect(read(file).tags).toHaveLength(5)
  })

  it('has the next process read that everything is wrong, whatever else was added', async () => {
    const file = await place()
    const journal = fileJournal(file)
    journal.add(['a'])
    journal.add(undefined)
    journal.add(['b'])
    journal.close()
    expect(read(file)).toEqual(EVERYTHING)
  })

  it('is gone once it is empty, and can be filled again', async () => {
    const file = await place()
    const journal = journalAt(file)
    journal.add(['a'])
    journal.empty()
    expect(existsSync(file)).toBe(false)
    journal.empty()
    journal.add(['b'])
    expect(journal.read()).toEqual({ tags: ['b'], everything: false })
  })

  it('says nothing where its file is empty', async () => {
    const file = await place()
    for (const text of ['', '\n', '\n\n\n']) {
      writeFileSync(file, text)
      expect(read(file)).toEqual(NOTHING)
    }
  })

  it('whose last line is torn, wherever that is, forgets none that was written', async () => {
    const file = await place()
    const lines = [['one', 'two'], ['drei'], ['✓ vier', 'a]', '["b"]']]
    const whole = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
    for (let length = 0; length <= whole.byteLength; length++) {
      const part = whole.subarray(0, length)
      writeFileSync(file, part)
      const count = part.toString('latin1').split('\n').length - 1
      const complete = lines.slice(0, count).flat()
      const { tags, everything } = read(file)
      // Half a line is no shorter list of tags; one that lacks its end alone is whole.
      if (!everything) expect([complete, lines.slice(0, count + 1).flat()]).toContainEqual(tags)
      // Nor does what comes after it make sense of it.
      const journal = fileJournal(file)
      journal.add(['after'])
      const both = journal.read()
      journal.close()
      expect(both.everything || both.tags.includes('after')).toBe(true)
      if (!both.everything) expect(both.tags).toEqual(expect.arrayContaining(complete))
    }
  })

  it.each([
    ['{}'],
    ['"text"'],
    ['42'],
    ['true'],
    ['["a", 1]'],
    ['[["a"]]'],
    ['["a"'],
    ['["a"]["b"]'],
    ['["a"] x'],
    ['\u0000\u0000\u0000'],
    ['\uFEFF["a"]'],
    ['["a"]\n\u0000\u0000\n["b"]'],
    ['nul'],
    ['not JSON at all'],
  ])('that is damaged means everything: %j', async (text) => {
    const file = await place()
    writeFileSync(file, `${text}\n`)
    expect(read(file)).toEqual(EVERYTHING)
  })

  it('whose bytes are no text means everything', async () => {
    const file = await place()
    const bytes = Buffer.from('["product:42"]\n')
    bytes[4] = 0xff
    writeFileSync(file, bytes)
    expect(read(file)).toEqual(EVERYTHING)
  })

  it('cannot be where nothing can be written', async () => {
    const file = await place()
    await mkdir(file)
    const paths = [file, path.join(file, 'no', 'such', 'folder'), path.join(file, 'nul\0'), '/proc/journal']
    if (process.getuid?.() !== 0) {
      const locked = path.join(file, 'locked')
      writeFileSync(locked, '')
      await chmod(locked, 0o400)
      paths.push(locked)
    }
    for (const each of paths) {
      expect(() => fileJournal(each)).toThrow(expect.objectContaining({ code: 'ERR_TAGCACHE_JOURNAL' }))
    }
    await rm(file, { recursive: true })
    // It has not been taken for that.
    journalAt(file)
  })
})

describe('the journal of a cache', () => {
  const brokenBackend = () => {
    const state = { isDown: true, invalidated: [] as (readonly string[])[], clears: 0 }
    const inner = memory()
    const refuse = () => {
      throw new Error('down')
    }
    const backend: TagBackend = new Overridden(inner, {
      invalidate(tags) {
        if (state.isDown) refuse()
        state.invalidated.push(tags)
        return inner.invalidate(tags)
      },
      clear() {
        if (state.isDown) refuse()
        state.clears += 1
        return inner.clear()
      },
    })
    return Object.assign(state, { backend })
  }

  const cacheWith = (journal: string, backend: TagBackend, time = new ManualTime()) => {
    const cache = createCache({ journal, backend, time })
    onTestFinished(() => void cache.close())
    const events: CacheEvent[] = []
    cache.on((event) => events.push(event))
    return { cache, time, events }
  }

  it('is one of its own: a second one at the same path is refused, by whatever name', async () => {
    const file = await place()
    cacheWith(file, memory())
    const relative = path.relative(process.cwd(), file)
    const roundabout = path.join(path.dirname(file), '.', 'x', '..', path.basename(file))
    for (const same of [file, relative, roundabout]) {
      expect(() => createCache({ journal: same })).toThrow(expect.objectContaining({ code: 'ERR_TAGCACHE_JOURNAL' }))
    }
  })

  it('is one of its own, though the folder has another name', async () => {
    const file = await place()
    const alias = await place()
    await symlink(path.dirname(file), alias)
    cacheWith(file, memory())
    expect(() => createCache({ journal: path.join(alias, 'journal') })).toThrow(
      expect.objectContaining({ code: 'ERR_TAGCACHE_JOURNAL' }),
    )
  })

  it('can be used again after the cache was closed', async () => {
    const file = await place()
    createCache({ journal: file }).close()
    cacheWith(file, memory())
  })

  it('can be used by another cache where making the first one has failed', async () => {
    const file = await place()
    const backend = memory()
    createCache({ backend })
    expect(() => createCache({ backend, journal: file })).toThrow(
      expect.objectContaining({ code: 'ERR_TAGCACHE_NAMESPACE_TAKEN' }),
    )
    cacheWith(file, memory())
  })

  it.each([[''], [42], [null], [{}]])('has to be a path: %j', (journal) => {
    expect(() => createCache({ journal: journal as string })).toThrow(
      expect.objectContaining({ code: 'ERR_TAGCACHE_OPTION_VALUE' }),
    )
  })

  it('has what was not delivered before whoever purged is answered', async () => {
    const file = await place()
    const { cache } = cacheWith(file, brokenBackend().backend)
    expect(cache.invalidateTags('a')).toBe(false)
    expect(readFileSync(file, 'utf8')).toBe('["tag/a"]\n')
  })

  it('is delivered by the next process before anything is looked up, and is gone then', async () => {
    const file = await place()
    const before = brokenBackend()
    const first = cacheWith(file, before.backend)
    first.cache.invalidateTags(['a', 'b'])
    first.cache.invalidateTags('c')
    first.cache.close()
    expect(existsSync(file)).toBe(true)
    const after = Object.assign(brokenBackend(), { isDown: false })
    const { cache, events } = cacheWith(file, after.backend)
    expect(cache.getByRequest('GET /', {})).toBeUndefined()
    expect(after.invalidated).toEqual([['tag/a', 'tag/b', 'tag/c']])
    expect(existsSync(file)).toBe(false)
    expect(events).toContainEqual({ type: 'backend', state: 'delivered' })
  })

  it('does not grow while its delivery fails again and again, nor by what it has already', async () => {
    const file = await place()
    const { backend } = brokenBackend()
    const { cache, time } = cacheWith(file, backend)
    for (const tag of ['a', 'b', 'c']) cache.invalidateTags(tag)
    const { size } = statSync(file)
    for (let at = 0; at < 100; at++) {
      time.move(1000)
      cache.getByRequest('GET /', {})
      cache.invalidateTags(['a', 'c'])
    }
    expect(statSync(file).size).toBe(size)
  })

  it('becomes everything where it is more than 10,000 tags, and grows no more', async () => {
    const file = await place()
    const state = brokenBackend()
    const { cache, time } = cacheWith(file, state.backend)
    const purge = (from: number, to: number) => {
      for (let first = from; first < to; first += 500)
        cache.invalidateTags(Array.from({ length: 500 }, (_, at) => `tag ${first + at}`))
    }
    purge(0, 10_000)
    expect(read2(file)).toEqual({ tags: 10_000, everything: false })
    purge(10_000, 10_500)
    expect(read2(file).everything).toBe(true)
    const { size } = statSync(file)
    purge(10_500, 30_000)
    expect(statSync(file).size).toBe(size)
    state.isDown = false
    time.move(1000)
    expect([state.clears, state.invalidated]).toEqual([1, []])
    expect(existsSync(file)).toBe(false)
  })

  it('that cannot be written any more is told of, and costs no answer', async () => {
    const file = await place()
    const { cache, events } = cacheWith(file, brokenBackend().backend)
    await rm(path.dirname(file), { recursive: true })
    expect(cache.invalidateTags('a')).toBe(false)
    expect(events).toContainEqual(expect.objectContaining({ type: 'fault', operation: 'journal' }))
  })

  // A journal of this process is open already.
  function read2(file: string): { tags: number; everything: boolean } {
    const lines = readFileSync(file, 'utf8').trim().split('\n')
    return { tags: lines.flatMap((line) => JSON.parse(line) ?? []).length, everything: lines.includes('null') }
  }
})

// A process of its own, whose data lies in a file.

const CHILD = `
import { readFileSync, writeFileSync } from 'node:fs'
import express from 'express'
import { Redis } from 'ioredis'
import { tagcache } from './src/adapters/express.ts'
import { redis } from './src/backends/redis/redis.ts'
const { REDIS_PORT, JOURNAL, DATA } = process.env
const client = new Redis(Number(REDIS_PORT), '127.0.0.1', { retryStrategy: () => 50, maxRetriesPerRequest: 1 })
client.on('error', () => {})
const { cached, invalidates } = tagcache({
  backend: redis(client),
  backendPause: '100ms',
  ...(JOURNAL === '' ? {} : { journal: JOURNAL }),
})
const app = express()
app.get('/:name', cached({ host: false, ttl: '1h', tags: (req) => req.params.name }), (req, res) => {
  res.send(readFileSync(DATA, 'utf8'))
})
app.put('/:name', invalidates((req) => req.params.name), (req, res) => {
  writeFileSync(DATA, String(Number(readFileSync(DATA, 'utf8')) + 1))
  res.send('done')
})
app.listen(0, '127.0.0.1', function () {
  console.log(this.address().port)
})
`

interface Child {
  get(name?: string): Promise<string>
  put(name?: string): Promise<{ status: number; took: number }>
  kill(): Promise<void>
}

async function startChild(port: number, journal: string, data: string): Promise<Child> {
  const env = { ...process.env, REDIS_PORT: String(port), JOURNAL: journal, DATA: data }
  const args = ['--import', 'tsx', '--input-type=module', '-e', CHILD]
  const child: ChildProcess = spawn(process.execPath, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  const [line] = (await once(child.stdout!, 'data')) as [Buffer]
  const url = `http://127.0.0.1:${Number(String(line))}`
  return {
    get: async (name = 'item') => (await ask(`${url}/${name}`)).text,
    async put(name = 'item') {
      const begun = performance.now()
      const { status } = await ask(`${url}/${name}`, { method: 'PUT' })
      return { status, took: performance.now() - begun }
    },
    async kill() {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    },
  }
}

describe('a process that is killed while Redis does not answer', () => {
  const setUp = async (journal: string) => {
    const server: RelayedRedis = await startRedis({ relay: true })
    onTestFinished(() => server.stop())
    const relay = await startRelay(server.ownPort)
    onTestFinished(() => relay.stop())
    const data = await place('data')
    writeFileSync(data, '1')
    const start = () => startChild(relay.port, journal, data)
    const other = await startChild(server.port, '', data)
    const child = await start()
    expect([await child.get(), await other.get()]).toEqual(['1', '1'])
    return { server, relay, data, start, other, child }
  }

  it('has its purges delivered by its successor: nobody is answered by what they made wrong', async () => {
    const journal = await place()
    const { relay, start, other, child } = await setUp(journal)
    relay.freeze()
    const { status, took } = await child.put()
    expect([status, took < 250 + SLACK]).toEqual([200, true])
    expect(readFileSync(journal, 'utf8')).toContain('"tag/item"')
    await child.put()
    await child.put()
    await until('what has been written has not been delivered', async () => (await child.get()) === '4')
    const { size } = statSync(journal)
    await sleep(1000)
    expect(statSync(journal).size).toBe(size)
    await child.kill()
    // What the dead process has sent gets lost as well.
    await relay.cut()
    await relay.heal()
    expect(await other.get()).toBe('1')

    const successor = await start()
    expect(await successor.get()).toBe('4')
    await until('it is delivered', async () => (await other.get()) === '4', 3000)
    expect(existsSync(journal)).toBe(false)
    expect(await successor.get()).toBe('4')
  })

  it('has them delivered though its successor is asked for nothing', async () => {
    const journal = await place()
    const { relay, start, other, child } = await setUp(journal)
    await relay.cut()
    await child.put()
    await child.kill()
    await relay.heal()
    await start()
    await until('it is delivered', async () => (await other.get()) === '2', 3000)
    await until('the journal is gone', () => !existsSync(journal))
  })

  it('has them delivered though its successor finds Redis away, and is killed as well', async () => {
    const journal = await place()
    const { relay, start, other, child } = await setUp(journal)
    await relay.cut()
    await child.put('something else')
    await child.kill()
    const second = await start()
    expect(await second.get()).toBe('2')
    await second.put()
    await second.kill()
    expect(await other.get()).toBe('1')
    await relay.heal()
    const third = await start()
    expect(await third.get()).toBe('3')
    await until('it is delivered', async () => (await other.get()) === '3', 3000)
    await until('the journal is gone', () => !existsSync(journal))
  })

  it('has everything purged by its successor where its journal was torn', async () => {
    const journal = await place()
    const { relay, start, other, child } = await setUp(journal)
    await relay.cut()
    await child.put()
    await child.kill()
    writeFileSync(journal, '["tag/it')
    await relay.heal()
    const successor = await start()
    expect(await successor.get()).toBe('2')
    await until('it is delivered', async () => (await other.get()) === '2', 3000)
    await until('the journal is gone', () => !existsSync(journal))
  })

  it('loses them without a journal, which is what it is for', async () => {
    const { relay, start, other, child } = await setUp('')
    await relay.cut()
    await child.put()
    await child.kill()
    await relay.heal()
    const successor = await start()
    expect([await successor.get(), await other.get()]).toEqual(['1', '1'])
  })
})

it('a cache over Redis leaves its journal behind when it is closed without having delivered it', async () => {
  const server = await startRedis({ relay: true })
  onTestFinished(() => server.stop())
  const file = await place()
  const client = await ioredis!.connect(server.port)
  onTestFinished(() => ioredis!.close(client))
  const cache = createCache({ backend: redis(client), journal: file })
  await server.relay.cut()
  expect(await cache.invalidateTags('a')).toBe(false)
  await cache.close()
  expect(read(file)).toEqual({ tags: ['tag/a'], everything: false })
})
