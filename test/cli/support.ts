import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import express from 'express'
import { tagcache } from '../../src/adapters/express.ts'
import { byToken, dashboard } from '../../src/dashboard/dashboard.ts'
import type { Cache, CacheOptions } from '../../src/index.ts'
import { listen, type TestServer } from '../support/http.ts'

export const root = resolve(fileURLToPath(new URL('../..', import.meta.url)))
/** What `npm run build` has made. */
export const BIN = `${root}/dist/cli/tagcache.js`
export const TOKEN = 'a token of the tests'.replaceAll(' ', '-')

/** What came of a run. */
export interface Result {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

interface Settings {
  readonly env?: NodeJS.ProcessEnv
  readonly input?: string
}

/** Runs the command line as a process of its own. */
export async function run(args: readonly string[], { env = {}, input = '' }: Settings = {}): Promise<Result> {
  return finished(start(args, env), input)
}

/** Begins to run it. */
export function start(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcess {
  return spawn(process.execPath, [BIN, ...args], { env: environment(env), cwd: root })
}

/** Runs a line of bash, in which `tagcache` is the command line. */
export async function bash(line: string, { env = {}, input = '' }: Settings = {}): Promise<Result> {
  const script = `tagcache() { ${quoted(process.execPath)} ${quoted(BIN)} "$@"; }\n${line}`
  return finished(spawn('bash', ['-c', script], { env: environment(env), cwd: root }), input)
}

/** Begins to run it on a terminal of so many columns. What is written is what it types. */
export function onTerminal(args: readonly string[], env: NodeJS.ProcessEnv = {}, columns = 100): ChildProcess {
  const line = `stty cols ${columns} rows 30; exec ${[process.execPath, BIN, ...args].map(quoted).join(' ')}`
  return spawn('script', ['-qec', line, '/dev/null'], { env: environment({ TERM: 'xterm', ...env }), cwd: root })
}

/** What a process came to, when it has ended. */
export async function finished(child: ChildProcess, input?: string): Promise<Result> {
  const [stdout, stderr] = [gather(child.stdout!), gather(child.stderr!)]
  child.stdin!.on('error', () => {})
  if (input !== undefined) child.stdin!.end(input)
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, stdout: stdout(), stderr: stderr() }
}

/** Resolves with what a process has written, once that has in it what is waited for. */
export async function written(
  child: ChildProcess,
  pattern: RegExp,
  from: 'stdout' | 'stderr' = 'stdout',
): Promise<string> {
  let text = ''
  return new Promise((resolve, reject) => {
    child[from]!.on('data', (chunk) => {
      text += chunk
      if (pattern.test(text)) resolve(text)
    })
    child.once('close', () => reject(new Error(`It ended, and had written: ${text}`)))
  })
}

function gather(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = []
  stream.on('data', (chunk) => chunks.push(chunk))
  return () => Buffer.concat(chunks).toString()
}

// Nothing of who runs the tests is to count.
function environment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const { PATH, HOME } = process.env
  return { PATH, HOME, ...env }
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

/** A tag that a terminal would act upon. */
export const HOSTILE_TAG = 'x\u009b2J\u202e日本語'

/** An application with a dashboard. */
export interface Shop {
  readonly server: TestServer
  readonly cache: Cache
  readonly url: string
  /** What the command line needs to reach it. */
  readonly env: { readonly TAGCACHE_URL: string; readonly TAGCACHE_TOKEN: string }
  get(path: string, headers?: Record<string, string>): Promise<string | null>
  close(): Promise<void>
}

/** Opens a shop with products, a page that varies, a hostile one, and one that nobody caches. */
export async function openShop(options: CacheOptions = {}, { readOnly = false, port = 0 } = {}): Promise<Shop> {
  const { cached, cache } = tagcache({ ttl: 60, ...options })
  const app = express()
  app.use('/cache', dashboard(cache, { authorize: byToken({ ann: TOKEN }), readOnly }))
  app.get('/products/:id', cached({ tags: (req) => ['products', `product:${req.params.id}`] }), (req, res) => {
    res.json({ id: req.params.id })
  })
  app.get('/greeting', cached({ tags: ['greetings'] }), (req, res) => {
    res.vary('Accept-Language').send(req.headers['accept-language'] ?? 'none')
  })
  app.get('/hostile', cached({ tags: [HOSTILE_TAG] }), (_req, res) => {
    res.set('X-Hostile', '\u009b2J').type('text').send('\x1b[2Jgone\rover\x07')
  })
  app.get('/account', cached({ scope: (req) => req.headers['x-user'] as string }), (_req, res) => void res.send('mine'))
  app.get('/plain', (_req, res) => void res.send('plain'))
  const server = await listen(app, port)
  const url = `${server.url}/cache`
  return {
    server,
    cache: cache as unknown as Cache,
    url,
    env: { TAGCACHE_URL: url, TAGCACHE_TOKEN: TOKEN },
    async get(path, headers = {}) {
      const response = await fetch(server.url + path, { headers })
      await response.text()
      return response.headers.get('cache-status')
    },
    async close() {
      await cache.close()
      await server.close()
    },
  }
}
