import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync } from 'node:fs'
import { rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onPath, until } from '../../test/support/redis.ts'
import { onFreePort } from '../../test/support/relay.ts'
import type { State } from '../server/protocol.ts'
import { Unavailable } from '../server/subject.ts'
import { onOwnCore } from './machine.ts'
import type { Server } from './server.ts'

// Caching proxies before a small server

type StartOrigin = () => Promise<Server>

/** What starts each of them: a caching proxy in a process of its own, in front of a Node server. */
export const proxies: Readonly<Record<string, (startOrigin: StartOrigin) => Promise<Server>>> = {
  nginx: (startOrigin) => startProxy('nginx', startOrigin, nginx),
  Varnish: (startOrigin) => startProxy('varnishd', startOrigin, varnish),
}

interface Setup {
  readonly file: string
  readonly home: string
  readonly port: number
  readonly origin: number
}

type CommandLine = (setup: Setup) => Promise<string[]>

async function startProxy(program: string, startOrigin: StartOrigin, commandLine: CommandLine): Promise<Server> {
  const file =
    onPath(program) ?? ['/usr/sbin', '/usr/local/sbin'].map((at) => join(at, program)).find((path) => existsSync(path))
  if (!file) throw new Unavailable(`${program} is not installed`)
  const origin = await startOrigin()
  const home = mkdtempSync(join(tmpdir(), 'tagcache-bench-'))
  try {
    return await onFreePort(async (port) => {
      const command = onOwnCore(await commandLine({ file, home, port, origin: origin.port }))
      return listening(new ProxyServer(spawnQuietly(command), port, home, origin))
    })
  } catch (error) {
    await origin.stop()
    throw error
  }
}

async function nginx({ file, home, port, origin }: Setup): Promise<string[]> {
  const conf = join(home, 'nginx.conf')
  await writeFile(
    conf,
    `daemon off;${process.getuid?.() === 0 ? ' user root;' : ''} worker_processes 1; pid ${home}/pid; error_log ${home}/error.log;
events { worker_connections 1024; }
http {
  access_log off; keepalive_requests 1000000000; client_body_temp_path ${home}/body; proxy_temp_path ${home}/temp;
  fastcgi_temp_path ${home}/fastcgi; uwsgi_temp_path ${home}/uwsgi; scgi_temp_path ${home}/scgi;
  proxy_cache_path ${home}/cache keys_zone=bench:64m;
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://127.0.0.1:${origin}; proxy_cache bench; proxy_cache_lock on; }
  }
}`,
  )
  return [file, '-p', home, '-c', conf, '-e', join(home, 'error.log')]
}

async function varnish({ file, home, port, origin }: Setup): Promise<string[]> {
  const place = ['-n', join(home, 'varnish'), '-a', `127.0.0.1:${port}`, '-b', `127.0.0.1:${origin}`]
  return [file, '-F', ...place, '-j', 'none', '-s', 'malloc,256m', '-p', 'thread_pools=1']
}

function spawnQuietly([file, ...args]: [string, ...string[]]): ChildProcess {
  return spawn(file, args, { stdio: 'ignore' })
}

async function listening(server: ProxyServer): Promise<ProxyServer> {
  try {
    await until('the proxy answers', async () => (await fetch(`http://127.0.0.1:${server.port}/items/0`)).ok)
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

class ProxyServer implements Server {
  readonly port: number
  readonly #child: ChildProcess
  readonly #home: string
  readonly #origin: Server

  constructor(child: ChildProcess, port: number, home: string, origin: Server) {
    this.#child = child
    this.port = port
    this.#home = home
    this.#origin = origin
  }

  async state(): Promise<State> {
    const { runs } = await this.#origin.state()
    const used = familyOf(this.#child.pid!).map(usageOf)
    const sum = (value: (usage: Usage) => number) => used.reduce((total, usage) => total + value(usage), 0)
    return { runs, cpu: sum(({ cpu }) => cpu), rss: sum(({ rss }) => rss) }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const ended = once(this.#child, 'exit')
      this.#child.kill('SIGTERM')
      await ended
    }
    await this.#origin.stop()
    await rm(this.#home, { recursive: true, force: true, maxRetries: 5 })
  }
}

interface Usage {
  readonly cpu: number
  readonly rss: number
}

/** A process and its children, as Linux lists them. */
function familyOf(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim()
  return [pid, ...(children === '' ? [] : children.split(' ').flatMap((child) => familyOf(Number(child))))]
}

/** What a process has used, by /proc: in ticks, of which there are a hundred in a second, and pages. */
function usageOf(pid: number): Usage {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .map(Number)
  return { cpu: (fields[11]! + fields[12]!) * 10_000, rss: fields[21]! * 4096 }
}
