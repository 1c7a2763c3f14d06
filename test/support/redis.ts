import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, closeSync, constants, mkdtempSync, openSync } from 'node:fs'
import { readFile, rm, writeFile } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { onFreePort, type Relay, startRelay } from './relay.ts'

// One server, and its replicas

export interface RedisOptions {
  /** More of the command line, as in `['--save', '60', '1', '--appendonly', 'yes']`. */
  readonly args?: readonly string[]
  readonly port?: number
  /** Where the data is. This directory stays when the server is stopped. */
  readonly dir?: string
  /** Puts a relay in front, which clients are to connect to. */
  readonly relay?: boolean
}

export type RelayedRedis = RedisServer & { readonly relay: Relay }

/** Starts a Redis of one's own, without persistence where nothing else is said. */
export function startRedis(options: RedisOptions & { readonly relay: true }): Promise<RelayedRedis>
export function startRedis(options?: RedisOptions): Promise<RedisServer>
export async function startRedis({ args = [], port, dir, relay = false }: RedisOptions = {}): Promise<RedisServer> {
  const file = await findRedis()
  const startAt = async (at: number) => {
    const setup = { file, firstArgs: [...DEFAULTS, ...args], relay: relay ? await startRelay(at) : undefined, dir }
    return launched(new RedisServer(at, setup))
  }
  const server = await (port === undefined ? onFreePort(startAt) : startAt(port))
  await server.rewriteConf()
  return server
}

// By default a master lets a replica wait for five seconds, in case that others ask for the data too.
const DEFAULTS = ['--save', '', '--appendonly', 'no', '--repl-diskless-sync-delay', '0']

/** Starts a replica of a server, or of the server behind a relay: while that is frozen, the replica lags. */
export async function startReplica(of: { readonly port: number }, options: RedisOptions = {}): Promise<RedisServer> {
  const args = ['--replicaof', '127.0.0.1', String(of.port), ...(options.args ?? [])]
  const replica = await startRedis({ ...options, args })
  await until('the replica has the data of its master', () => isLinked(replica))
  return replica
}

/** Makes a replica a master. */
export async function promote(replica: RedisServer): Promise<void> {
  await replica.command('REPLICAOF', 'NO', 'ONE')
}

/** What a server tells of itself in a section of `INFO`. */
export async function infoOf(server: RedisServer, section: string): Promise<Readonly<Record<string, string>>> {
  return fieldsOf(await server.command('INFO', section))
}

function fieldsOf(text: unknown): Record<string, string> {
  return Object.fromEntries([...String(text).matchAll(/^(\w+):(.*?)\r?$/gm)].map(([, name, value]) => [name, value]))
}

async function isLinked(replica: RedisServer): Promise<boolean> {
  const { role, master_link_status: link } = await infoOf(replica, 'replication')
  return role === 'slave' && link === 'up'
}

let redisFile: Promise<string> | undefined

/** The path of `redis-server`: the one of this machine, or else one that `redis-memory-server` downloads and builds. */
export function findRedis(): Promise<string> {
  redisFile ??= Promise.resolve(onPath('redis-server') ?? buildRedis())
  return redisFile
}

async function buildRedis(): Promise<string> {
  try {
    const { RedisBinary } = await import('redis-memory-server')
    return await RedisBinary.getPath()
  } catch (cause) {
    throw new Error(
      'THESE TESTS NEED REDIS: there is no redis-server on the PATH, and none could be built. ' +
        'Install it: apt-get install redis-server',
      { cause },
    )
  }
}

// A cluster

export interface ClusterOptions {
  readonly masters?: number
  /** How many replicas each master has. */
  readonly replicas?: number
  /** After how many milliseconds of silence a node is taken for dead. */
  readonly nodeTimeout?: number
  /** More of the command line of every node. */
  readonly args?: readonly string[]
}

/** Starts a Redis Cluster whose nodes all know each other and have their data. The masters have equal shares of the slots. */
export async function startCluster(options: ClusterOptions = {}): Promise<RedisCluster> {
  const { masters = 3, replicas = 1, nodeTimeout = 1500, args = [] } = options
  const count = masters * (1 + replicas)
  const nodeArgs = [...CLUSTER_ARGS, '--cluster-node-timeout', String(nodeTimeout), ...args]
  const nodes = await startAll(Array.from({ length: count }, () => () => startRedis({ args: nodeArgs })))
  return whenReady(new RedisCluster(nodes), async () => {
    await assemble(nodes, masters)
    await until('the cluster is complete', () => isComplete(nodes, masters, replicas), 20_000)
  })
}

const CLUSTER_ARGS = [
  ...['--cluster-enabled', 'yes'],
  // However busy the machine, a replica that was not heard of for a while may still take over.
  ...['--cluster-replica-validity-factor', '0'],
  // A replica is named to clients once it has been sent anything, which by default is a ping after ten seconds.
  ...['--repl-ping-replica-period', '1'],
]
const SLOTS = 16_384

/** Gives the first nodes the slots, and makes the others their replicas in turn. */
async function assemble(nodes: readonly RedisServer[], masters: number): Promise<void> {
  await Promise.all(nodes.map((node, index) => node.command('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)))
  await Promise.all(
    nodes.slice(0, masters).map((node, index) => node.command('CLUSTER', 'ADDSLOTSRANGE', ...rangeOf(index, masters))),
  )
  await Promise.all(
    nodes.flatMap((node, index) =>
      nodes.slice(index + 1).map((other) => node.command('CLUSTER', 'MEET', '127.0.0.1', other.ownPort)),
    ),
  )
  await Promise.all(nodes.slice(masters).map((replica, index) => follow(replica, nodes[index % masters]!)))
}

function rangeOf(index: number, masters: number): [first: number, last: number] {
  const startOf = (each: number) => Math.floor((SLOTS * each) / masters)
  return [startOf(index), startOf(index + 1) - 1]
}

async function follow(replica: RedisServer, master: RedisServer): Promise<void> {
  const id = await idOf(master)
  // Fails for as long as the replica has not heard of its master.
  const isFollowing = async () => (await replica.command('CLUSTER', 'REPLICATE', id)) === 'OK'
  await until('the replica follows its master', isFollowing)
}

async function isComplete(nodes: readonly RedisServer[], masters: number, replicas: number): Promise<boolean> {
  const areComplete = await Promise.all(
    nodes.map(async (node, index) => {
      const shards = await slotsOf(node)
      const isKnown = shards.length === masters && shards.every((shard) => shard.ports.length === 1 + replicas)
      return isKnown && (await isUp(node)) && (index < masters || (await isLinked(node)))
    }),
  )
  return areComplete.every(Boolean)
}

async function isUp(node: RedisServer): Promise<boolean> {
  return fieldsOf(await node.command('CLUSTER', 'INFO')).cluster_state === 'ok'
}

async function idOf(node: RedisServer): Promise<string> {
  return String(await node.command('CLUSTER', 'MYID'))
}

/** A range of slots, and who serves them: the master first. */
interface Shard {
  readonly first: number
  readonly last: number
  readonly ports: readonly number[]
}

/** The slots as a node knows them. */
async function slotsOf(node: RedisServer): Promise<Shard[]> {
  const ranges = (await node.command('CLUSTER', 'SLOTS')) as [
    first: number,
    last: number,
    ...[host: string, port: number][],
  ][]
  return ranges.map(([first, last, ...servers]) => ({ first, last, ports: servers.map(([, port]) => port) }))
}

/** Several Redis that share the slots among them. */
export class RedisCluster {
  /** The first masters, and then their replicas in the same order. Failing over changes roles, and not this order. */
  readonly nodes: readonly RedisServer[]

  constructor(nodes: readonly RedisServer[]) {
    this.nodes = nodes
  }

  get ports(): number[] {
    return this.nodes.map((node) => node.port)
  }

  async slotOf(key: string): Promise<number> {
    return Number(await awakeOf(this.nodes)[0]!.command('CLUSTER', 'KEYSLOT', key))
  }

  /** The master that has the slot, once all nodes that answer say the same. */
  async ownerOf(slot: number): Promise<RedisServer> {
    let owner: RedisServer | undefined
    await until('all nodes agree on the owner', async () => (owner = await this.#agreedOwnerOf(slot)) !== undefined)
    return owner!
  }

  /** Kills a master, and answers with the replica that has taken over, once all nodes that answer know it. */
  async failover(master: RedisServer | number): Promise<RedisServer> {
    const old = typeof master === 'number' ? this.nodes[master]! : master
    const shard = (await slotsOf(old)).find(({ ports }) => ports[0] === old.ownPort)
    if (!shard) throw new Error('This node is no master with slots.')
    await old.kill()
    return this.#successorOf(old, shard)
  }

  /** Begins to move a slot: from now on its owner redirects with ASK to the other node for keys that it does not have. */
  async moveSlot(slot: number, from: RedisServer, to: RedisServer): Promise<SlotMove> {
    await to.command('CLUSTER', 'SETSLOT', slot, 'IMPORTING', await idOf(from))
    await from.command('CLUSTER', 'SETSLOT', slot, 'MIGRATING', await idOf(to))
    const moveKeys = async (...keys: string[]) => {
      if (keys.length > 0) await from.command('MIGRATE', '127.0.0.1', to.ownPort, '', 0, 5000, 'KEYS', ...keys)
    }
    const keysLeft = async () => (await from.command('CLUSTER', 'GETKEYSINSLOT', slot, 1_000_000)) as string[]
    return {
      moveKeys,
      keysLeft,
      finish: async () => {
        await moveKeys(...(await keysLeft()))
        await this.#assign(slot, from, to)
      },
    }
  }

  async stop(): Promise<void> {
    await stopAll(this.nodes)
  }

  async #agreedOwnerOf(slot: number): Promise<RedisServer | undefined> {
    const views = await Promise.all(awakeOf(this.nodes).map(slotsOf))
    const owners = views.map((shards) => shards.find(({ first, last }) => first <= slot && slot <= last)?.ports[0])
    return owners.every((port) => port === owners[0])
      ? this.nodes.find((node) => node.ownPort === owners[0])
      : undefined
  }

  async #successorOf(old: RedisServer, { first }: Shard): Promise<RedisServer> {
    let owner: RedisServer | undefined
    const isTakenOver = async () => {
      owner = await this.#agreedOwnerOf(first)
      return owner !== undefined && owner !== old && (await Promise.all(awakeOf(this.nodes).map(isUp))).every(Boolean)
    }
    await until('a replica has taken over', isTakenOver, 30_000)
    return owner!
  }

  /** Tells the new owner first: it would have nobody to redirect to. */
  async #assign(slot: number, from: RedisServer, to: RedisServer): Promise<void> {
    const id = await idOf(to)
    for (const node of [to, from]) await node.command('CLUSTER', 'SETSLOT', slot, 'NODE', id)
    await until('all nodes know the new owner', async () => (await this.#agreedOwnerOf(slot)) === to)
  }
}

/** A slot that is on its way: its keys are partly here, partly there, for as long as it takes. */
export interface SlotMove {
  /** Moves these keys, those of the slot. */
  moveKeys(...keys: string[]): Promise<void>
  keysLeft(): Promise<string[]>
  /** Moves the keys that are left, and makes the other node the owner. */
  finish(): Promise<void>
}

// Sentinels

export interface SentinelOptions {
  readonly count?: number
  readonly name?: string
  /**
   * After how many milliseconds of silence a Sentinel takes a server for down. A server that was just made the master is
   * first asked after 400: with not much more than that, it is replaced at once.
   */
  readonly downAfter?: number
}

/** Starts Sentinels that watch a master, and that know each other and all replicas which the master has by now. */
export async function startSentinels(master: RedisServer, options: SentinelOptions = {}): Promise<Sentinels> {
  const { count = 3, name = 'mymaster', downAfter = 1000 } = options
  const file = await findRedis()
  const replicas = Number((await infoOf(master, 'replication')).connected_slaves)
  const confOf = (port: number) =>
    sentinelConf({ port, name, masterPort: master.ownPort, quorum: Math.floor(count / 2) + 1, downAfter })
  const startOne = () =>
    onFreePort((port) => launched(new RedisServer(port, { file, conf: confOf(port), args: ['--sentinel'] })))
  const nodes = await startAll(Array.from({ length: count }, () => startOne))
  return whenReady(new Sentinels(nodes, name), async () => {
    await Promise.all(
      nodes.map((node) => node.command('SENTINEL', 'DEBUG', ...Object.entries(SENTINEL_PERIODS).flat())),
    )
    const areReady = () => Promise.all(nodes.map((node) => isReady(node, name, count, replicas)))
    await until('the Sentinels know each other', async () => (await areReady()).every(Boolean), 20_000)
  })
}

// By default a Sentinel hears of the others every two seconds, of replicas every ten, and does nothing for half a minute
// where the machine is busy. A replica that was not heard of for five ping periods is not promoted, and while its master
// is down it is asked once a second.
const SENTINEL_PERIODS = {
  'ping-period': 400,
  'info-period': 200,
  'ask-period': 200,
  'publish-period': 200,
  'tilt-trigger': 10_000,
  'tilt-period': 1000,
}

function sentinelConf(sentinel: {
  port: number
  name: string
  masterPort: number
  quorum: number
  downAfter: number
}): string {
  const { port, name, masterPort, quorum, downAfter } = sentinel
  return `
port ${port}
bind 127.0.0.1
sentinel monitor ${name} 127.0.0.1 ${masterPort} ${quorum}
sentinel down-after-milliseconds ${name} ${downAfter}
sentinel failover-timeout ${name} 2000
`
}

/** Whether a Sentinel has what a failover takes. */
async function isReady(sentinel: RedisServer, name: string, count: number, replicas: number): Promise<boolean> {
  const usable = String(await sentinel.command('SENTINEL', 'CKQUORUM', name))
  const known = (await sentinel.command('SENTINEL', 'REPLICAS', name)) as string[][]
  const linked = known.filter((fields) => fields[fields.indexOf('master-link-status') + 1] === 'ok')
  return usable.startsWith(`OK ${count} usable`) && linked.length === replicas
}

/** Sentinels that watch one master. */
export class Sentinels {
  readonly nodes: readonly RedisServer[]
  /** What they call the master. */
  readonly name: string

  constructor(nodes: readonly RedisServer[], name: string) {
    this.nodes = nodes
    this.name = name
  }

  get ports(): number[] {
    return this.nodes.map((node) => node.port)
  }

  /** The port of the master, once all Sentinels that answer say the same. */
  async masterPort(): Promise<number> {
    let port: number | undefined
    await until('all Sentinels agree on the master', async () => (port = await this.#agreedPort()) !== undefined)
    return port!
  }

  /** Kills the master, and answers with the port of its successor, once all Sentinels that answer know it. */
  async failover(master: RedisServer): Promise<number> {
    await master.kill()
    let port: number | undefined
    const isTakenOver = async () => (port = await this.#agreedPort()) !== undefined && port !== master.ownPort
    await until('a replica has taken over', isTakenOver, 30_000)
    return port!
  }

  async stop(): Promise<void> {
    await stopAll(this.nodes)
  }

  async #agreedPort(): Promise<number | undefined> {
    const answers = await Promise.all(awakeOf(this.nodes).map((node) => this.#portBy(node)))
    return answers.every((port) => port === answers[0]) ? answers[0] : undefined
  }

  async #portBy(node: RedisServer): Promise<number> {
    const [, port] = (await node.command('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', this.name)) as [
      host: string,
      port: string,
    ]
    return Number(port)
  }
}

// Several servers

/** Starts them all, or leaves none of them. */
async function startAll(starts: readonly (() => Promise<RedisServer>)[]): Promise<RedisServer[]> {
  const results = await Promise.allSettled(starts.map((start) => start()))
  const servers = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
  const failed = results.find((result) => result.status === 'rejected')
  if (!failed) return servers
  await stopAll(servers)
  throw failed.reason
}

async function stopAll(servers: readonly RedisServer[]): Promise<void> {
  await Promise.all(servers.map((server) => server.stop()))
}

function awakeOf(servers: readonly RedisServer[]): RedisServer[] {
  return servers.filter((server) => server.isRunning && !server.isFrozen)
}

/** What was started, once it is ready; or nothing of it. */
async function whenReady<S extends { stop(): Promise<void> }>(started: S, ready: () => Promise<void>): Promise<S> {
  try {
    await ready()
    return started
  } catch (error) {
    await started.stop()
    throw error
  }
}

// Processes

/** The path of a program, where this machine has it. */
export function onPath(name: string): string | undefined {
  const directories = (process.env.PATH ?? '').split(delimiter)
  return directories.map((directory) => join(directory, name)).find(isExecutable)
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Starts a server that was made, or leaves nothing of it. */
export async function launched<S extends ServerProcess>(server: S): Promise<S> {
  try {
    await server.start()
    return server
  } catch (error) {
    await server.stop()
    throw error
  }
}

/** A server in a process of its own, on a port of loopback. It does not outlive this process, however that ends. */
export abstract class ServerProcess {
  /** Where the process itself listens. */
  readonly ownPort: number
  readonly relay: Relay | undefined
  /** A directory that is removed with the server. */
  readonly home = freshDirectory()
  #child: ChildProcess | undefined
  #isFrozen = false

  constructor(port: number, relay?: Relay) {
    this.ownPort = port
    this.relay = relay
  }

  /** Where clients are to connect. */
  get port(): number {
    return this.relay?.port ?? this.ownPort
  }

  /** The program and its arguments. */
  protected abstract commandLine(): Promise<string[]>

  /** The id of the process that answers on the port. */
  protected abstract askPid(): Promise<number>

  /** Called when the process has ended. */
  protected onEnd(): void {}

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  /** Whether the process is alive, frozen or not. */
  get isRunning(): boolean {
    return this.#child?.exitCode === null && this.#child.signalCode === null
  }

  get isFrozen(): boolean {
    return this.#isFrozen && this.isRunning
  }

  async start(): Promise<void> {
    this.#child = spawnInto(this.#logFile, this.home, await this.commandLine())
    this.#child.once('exit', () => this.onEnd())
    this.#isFrozen = false
    try {
      await until('the server answers', async () => !this.isRunning || (await this.askPid()) === this.pid)
      if (!this.isRunning) throw new Error('It has ended.')
    } catch (cause) {
      throw await this.#startError(cause)
    }
  }

  /** Stops the process for the time being: its connections stay open, and nothing answers. */
  freeze(): void {
    this.#child?.kill('SIGSTOP')
    this.#isFrozen = true
  }

  thaw(): void {
    this.#child?.kill('SIGCONT')
    this.#isFrozen = false
  }

  /** Ends the process as a crash does. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  /** Asks the process to end, and gives it the time that it takes. */
  async shutdown(): Promise<void> {
    this.thaw()
    await this.#end('SIGTERM')
  }

  /** Starts again, on the same port and with the same directory. Shuts down before, where it runs. */
  async restart(): Promise<void> {
    await this.shutdown()
    await this.start()
  }

  /** Ends it for good, its relay too, and removes its directory. */
  async stop(): Promise<void> {
    await Promise.all([this.kill(), this.relay?.stop()])
    await rm(this.home, { recursive: true, force: true, maxRetries: 5 })
  }

  get #logFile(): string {
    return join(this.home, 'log')
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (!this.#child || !this.isRunning) return
    const ended = once(this.#child, 'exit')
    this.#child.ref()
    this.#child.kill(signal)
    await ended
  }

  async #startError(cause: unknown): Promise<Error> {
    const log = await readFile(this.#logFile, 'utf8')
    const error = new Error(`A server did not start on port ${this.ownPort}. Its log ends with:\n${log.slice(-2000)}`, {
      cause,
    })
    return /address already in use/i.test(log) ? Object.assign(error, { code: 'EADDRINUSE' }) : error
  }
}

function spawnInto(logFile: string, cwd: string, [file = '', ...args]: readonly string[]): ChildProcess {
  const log = openSync(logFile, 'a')
  const child = spawn(file, args, { cwd, stdio: ['ignore', log, log] })
  closeSync(log)
  child.unref()
  guard.tell(`start ${child.pid}`)
  child.once('exit', () => guard.tell(`end ${child.pid}`))
  return child
}

function freshDirectory(): string {
  return mkdtempSync(join(guard.directory, 'server-'))
}

/**
 * Keeps a list of what runs until its input ends, as it does however this process ends; then kills what is left, and
 * removes the directory.
 */
const GUARD = `
pids=
while read -r change pid; do
  others=
  for each in $pids; do [ "$each" = "$pid" ] || others="$others $each"; done
  pids=$others
  [ "$change" = end ] || pids="$pids $pid"
done
[ -z "$pids" ] || kill -KILL $pids
rm -rf "$0"
`

/** The process that runs the script above, started when it is needed. */
class Guard {
  #directory: string | undefined
  #input: Socket | undefined

  get directory(): string {
    if (this.#directory === undefined) this.#start((this.#directory = mkdtempSync(join(tmpdir(), 'tagcache-'))))
    return this.#directory
  }

  tell(line: string): void {
    this.#input?.write(`${line}\n`)
  }

  #start(directory: string): void {
    // Detached, so that what interrupts the tests at a terminal does not interrupt it.
    const shell = spawn('sh', ['-c', GUARD, directory], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
    shell.unref()
    this.#input = shell.stdin as Socket
    this.#input.on('error', () => {})
    this.#input.unref()
  }
}

const guard = new Guard()

// A process of Redis

interface RedisSetup {
  readonly file: string
  /** What its configuration file says. */
  readonly conf?: string
  readonly args?: readonly string[]
  /** Said on the first start only; `rewriteConf` has it written to the configuration file. */
  readonly firstArgs?: readonly string[]
  readonly dir?: string | undefined
  readonly relay?: Relay | undefined
}

/** A process of `redis-server`, with an administrator's connection to it. */
export class RedisServer extends ServerProcess {
  readonly dir: string
  readonly #setup: RedisSetup
  readonly #admin: Admin
  #isConfWritten = false

  constructor(port: number, setup: RedisSetup) {
    super(port, setup.relay)
    this.#setup = setup
    this.#admin = new Admin(port)
    this.dir = setup.dir ?? this.home
  }

  /** Asks the server, on a connection that goes past the relay. Fails when the connection does. */
  command(...words: (string | number)[]): Promise<unknown> {
    return this.#admin.command(words)
  }

  /** From now on a restarted server is what it was told to be, on the command line and by others since. */
  async rewriteConf(): Promise<void> {
    await this.command('CONFIG', 'REWRITE')
    this.#isConfWritten = true
  }

  protected async commandLine(): Promise<string[]> {
    const { file, conf = '', args = [], firstArgs = [] } = this.#setup
    const confFile = join(this.home, 'redis.conf')
    await writeFile(confFile, conf, { flag: 'wx' }).catch(() => {})
    if (this.#isConfWritten) return [file, confFile, ...args]
    const place = ['--port', String(this.ownPort), '--bind', '127.0.0.1', '--dir', this.dir]
    return [file, confFile, ...place, ...firstArgs, ...args]
  }

  protected async askPid(): Promise<number> {
    await this.command('PING')
    return Number((await infoOf(this, 'server')).process_id)
  }

  protected override onEnd(): void {
    this.#admin.close()
  }
}

/** A connection that is made when it is used, and never by itself. */
class Admin {
  readonly #port: number
  #client: Redis | undefined

  constructor(port: number) {
    this.#port = port
  }

  command([name, ...args]: (string | number)[]): Promise<unknown> {
    if (!this.#client || this.#client.status === 'end') this.#client = this.#connect()
    return this.#client.call(String(name), ...args)
  }

  close(): void {
    this.#client?.disconnect()
    this.#client = undefined
  }

  #connect(): Redis {
    const client = new Redis({
      port: this.#port,
      host: '127.0.0.1',
      protocol: 2,
      lazyConnect: true,
      retryStrategy: () => null,
      enableReadyCheck: false,
      disableClientInfo: true,
    })
    // The command that meets the error rejects as well.
    return client.on('error', () => {})
  }
}

// Waiting

/** Asks until the answer is yes. A question that fails is asked again. */
export async function until(what: string, ask: () => Promise<boolean> | boolean, within = 10_000): Promise<void> {
  const deadline = Date.now() + within
  let failure: unknown
  while (Date.now() < deadline) {
    try {
      if (await by(deadline, ask())) return
    } catch (error) {
      failure = error
    }
    await sleep(15)
  }
  throw new Error(`Waited for ${within} ms in vain until ${what}.`, { cause: failure })
}

/** The answer, if it comes in time. */
async function by<T>(deadline: number, answer: Promise<T> | T): Promise<T> {
  const answered = new AbortController()
  const late = sleep(deadline - Date.now(), undefined, { signal: answered.signal }).then(() => {
    throw new Error('There was no answer.')
  })
  late.catch(() => {})
  try {
    return await Promise.race([answer, late])
  } finally {
    answered.abort()
  }
}
