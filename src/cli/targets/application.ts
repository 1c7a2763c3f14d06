import { setTimeout as sleep } from 'node:timers/promises'
import type { CacheStats } from '../../core/trace.ts'
import type { PurgeResult } from '../../dashboard/purge.ts'
import type { Happening } from '../../dashboard/timeline.ts'
import { EXIT, Failure, misused, unreachable } from '../exit.ts'
import { messagesOf } from './stream.ts'
import type { Asked, NodeNumbers, Numbers, Purging, SecondSeen, Target, Watcher, Whose } from './target.ts'

const UNDELIVERED =
  'Its backend has not taken it. The application keeps it and delivers it as soon as it can; until then it trusts nothing stored, but other processes may answer with it.'
const RECONNECT_AFTER = 1000

interface Process {
  readonly pid: number
  readonly host: string
  readonly since: number
}

interface Tick {
  readonly of: Process
  readonly events: readonly Happening[]
  readonly seconds: readonly SecondSeen[]
}

/** The admin routes of a running application. */
export class Application implements Target {
  readonly name: string
  readonly undelivered = UNDELIVERED
  readonly #base: string
  readonly #token: string | undefined
  readonly #timeout: number

  /**
   * @param url where its dashboard is mounted
   * @param timeout for each answer, in milliseconds
   */
  constructor(url: string, token: string | undefined, timeout: number) {
    this.#base = baseOf(url)
    this.name = this.#base
    this.#token = tokenOf(token)
    this.#timeout = timeout
  }

  async whose(): Promise<Whose> {
    const { of } = (await this.read('/api/about', {})) as { of: Process }
    return { ...of, kind: 'process' }
  }

  async numbers(isOfFleet: boolean): Promise<Numbers> {
    if (isOfFleet) return this.#fleetNumbers()
    const found = (await this.read('/api/stats', {})) as {
      of: Process
      stats: CacheStats
      health: string
      maxBytes?: number
    }
    const { of, stats, ...rest } = found
    // The dashboard counts from when it was mounted, the cache from when it was made.
    const process = { ...of, kind: 'process', since: stats.since } as const
    return { of: process, stats, nodes: [{ id: `${of.host}:${of.pid}`, at: Date.now(), stats }], ...rest }
  }

  async #fleetNumbers(): Promise<Numbers> {
    const found = (await this.read('/api/stats', { of: 'fleet', by: 'node' })) as {
      of: Whose
      stats: CacheStats
      health: string
      nodes: readonly NodeNumbers[]
    }
    const { of, stats, health } = found
    // One that does not know of fleets answers with its own.
    if (of.kind !== 'fleet')
      throw new Failure(
        EXIT.refused,
        `${this.name} knows of no numbers but its own: its tagcache is older than this one.`,
        'Ask the Redis that the processes share: --redis.',
      )
    const nodes = found.nodes.map(({ id, at, stats }) => ({ id, at, stats }))
    return { of: { kind: 'fleet', nodes: of.nodes, unread: of.unread }, stats, nodes, health }
  }

  read(path: string, query: Readonly<Record<string, string>>): Promise<unknown> {
    const search = new URLSearchParams(query).toString()
    return this.#ask(search === '' ? path : `${path}?${search}`, {})
  }

  explain(request: Asked, other?: Asked): Promise<unknown> {
    return this.#post('/api/explain', { request, ...(other ? { other } : {}) })
  }

  purge(purging: Purging): Promise<PurgeResult> {
    return this.#post('/api/purge', purging) as Promise<PurgeResult>
  }

  async watch(watcher: Watcher, stop: AbortSignal): Promise<void> {
    const memory = new Memory(watcher)
    memory.begin((await this.#events()) as Told)
    watcher.began()
    while (!stop.aborted) {
      const lost = await this.#stream(memory, stop)
      if (lost !== undefined && !stop.aborted) watcher.lost(lost)
      const told = stop.aborted ? undefined : await this.#eventsAgain(stop)
      if (told) memory.catchUp(told)
    }
  }

  // An application that is started anew is away for a moment. Undefined where it is stopped meanwhile.
  async #eventsAgain(stop: AbortSignal): Promise<Told | undefined> {
    const until = performance.now() + this.#timeout
    while (!stop.aborted) {
      await sleep(RECONNECT_AFTER, undefined, { signal: stop }).catch(() => {})
      try {
        return (await this.#events()) as Told
      } catch (error) {
        if (!(error instanceof Failure) || error.exit !== EXIT.unreachable || performance.now() > until) throw error
      }
    }
    return undefined
  }

  async close(): Promise<void> {}

  #events(): Promise<unknown> {
    return this.read('/api/events', {})
  }

  // Why it ended; undefined where the server has ended it, as it does now and then.
  async #stream(memory: Memory, stop: AbortSignal): Promise<string | undefined> {
    // Something comes every second.
    const silence = new AbortController()
    let timer = setTimeout(() => silence.abort(), this.#timeout)
    try {
      const response = await this.#fetch('/api/live', { signal: AbortSignal.any([stop, silence.signal]) })
      if (!response.ok) await this.#read(response)
      for await (const { id, event, data } of messagesOf(response.body!)) {
        clearTimeout(timer)
        timer = setTimeout(() => silence.abort(), this.#timeout)
        if (event === 'tick' && memory.tick(Number(id), JSON.parse(data)))
          memory.catchUp((await this.#events()) as Told)
      }
      return undefined
    } catch (error) {
      if (error instanceof Failure) throw error
      return silence.signal.aborted ? 'it says nothing any more' : unreachable(this.name, error).message
    } finally {
      clearTimeout(timer)
      silence.abort()
    }
  }

  #post(path: string, body: unknown): Promise<unknown> {
    const headers = { 'Content-Type': 'application/json', 'X-Tagcache': '1' }
    return this.#ask(path, { method: 'POST', headers, body: JSON.stringify(body) })
  }

  async #ask(path: string, init: RequestInit): Promise<unknown> {
    try {
      return await this.#read(await this.#fetch(path, { ...init, signal: AbortSignal.timeout(this.#timeout) }))
    } catch (error) {
      if (error instanceof Failure) throw error
      throw unreachable(this.name, error, 'Is it running, and is that its address?')
    }
  }

  #fetch(path: string, init: RequestInit): Promise<Response> {
    const headers = {
      ...(init.headers as Record<string, string> | undefined),
      ...(this.#token === undefined ? {} : { Authorization: `Bearer ${this.#token}` }),
    }
    return fetch(this.#base + path, { ...init, headers, redirect: 'manual' })
  }

  async #read(response: Response): Promise<unknown> {
    const value = parse(await response.text())
    if (response.ok && value !== undefined) return value
    const { code, message } = Object(Object(value).error) as { code?: string; message?: string }
    if (code === undefined || message === undefined) throw this.#isNone(response)
    throw new Failure(
      EXIT[EXITS.get(code) ?? 'refused'],
      `${this.name} refuses: ${message} (${code})`,
      this.#hintOf(code),
    )
  }

  #isNone({ status, headers }: Response): Failure {
    const place = headers.get('location')
    const what = place ? `it sends one on to ${place}` : `it answers ${status}, and not as a dashboard of tagcache does`
    return new Failure(
      EXIT.unreachable,
      `Cannot use ${this.name}: ${what}.`,
      'Give as --url the place where dashboard() is mounted, as http://localhost:3000/cache.',
    )
  }

  #hintOf(code: string): string | undefined {
    if (code === 'unauthorised' || code === 'forbidden')
      return this.#token === undefined
        ? 'Set TAGCACHE_TOKEN to a token that its `authorize` knows, as byToken() has them.'
        : 'It does not know the token in TAGCACHE_TOKEN.'
    return HINTS.get(code)
  }
}

const EXITS: ReadonlyMap<string, keyof typeof EXIT> = new Map([
  ['no-entry', 'nothing'],
  ['no-fleet', 'nothing'],
  ['no-board', 'usage'],
  ['not-found', 'unreachable'],
])

const HINTS: ReadonlyMap<string, string> = new Map([
  ['not-local', 'Its dashboard has no `authorize`: ask on the machine itself, or give it one.'],
  ['not-found', 'Give as --url the place where dashboard() is mounted, as http://localhost:3000/cache.'],
  ['read-only', 'Its dashboard is mounted with `readOnly`. Purge through Redis (--redis), or where that is allowed.'],
  ['not-listed', 'Entries can be asked for by tag: tagcache entries --tag <tag>.'],
  ['no-board', 'Ask for the numbers of that process: without --fleet.'],
  ['backend-away', 'Its backend does not answer; `tagcache stats` says how it does.'],
])

interface Told {
  readonly of: Process
  readonly events: readonly Happening[]
}

/** What was told of a process's happenings; the same again is told when it has happened again. */
class Memory {
  readonly #watcher: Watcher
  #since = 0
  #counts = new Map<number, number>()
  #message: number | undefined
  #second = 0

  constructor(watcher: Watcher) {
    this.#watcher = watcher
  }

  /** What was before is known. */
  begin({ of, events }: Told): void {
    this.#since = of.since
    for (const { id, count } of events) this.#counts.set(id, count)
  }

  /** Tells what was missed. */
  catchUp({ of, events }: Told): void {
    if (of.since !== this.#since) this.#forget(of.since)
    for (const happening of [...events].reverse()) this.#tell(happening)
  }

  /** Takes a message in; answers whether something may have been missed before it. */
  tick(id: number, { of, events, seconds }: Tick): boolean {
    if (of.since !== this.#since) this.#forget(of.since)
    const isGap = id !== (this.#message ?? Number.NaN) + 1
    this.#message = id
    for (const happening of events) this.#tell(happening)
    for (const step of seconds) {
      if (step.time <= this.#second) continue
      this.#second = step.time
      this.#watcher.second(step)
    }
    return isGap
  }

  #tell(happening: Happening): void {
    if ((this.#counts.get(happening.id) ?? 0) >= happening.count) return
    this.#counts.set(happening.id, happening.count)
    // A process tells of its last 300.
    for (const id of this.#counts.keys()) if (id < happening.id - 1000) this.#counts.delete(id)
    this.#watcher.happened(happening)
  }

  // It is another process, that counts anew.
  #forget(since: number): void {
    this.#since = since
    this.#counts = new Map()
    this.#message = undefined
  }
}

function baseOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (!url || !/^https?:$/.test(url.protocol))
    throw misused('--url takes an http or https URL.', 'As: --url http://localhost:3000/cache')
  if (url.username !== '' || url.password !== '')
    throw misused('--url takes no password, since others may see it.', 'Set TAGCACHE_TOKEN instead.')
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`
}

function tokenOf(given: string | undefined): string | undefined {
  const token = given?.trim()
  if (!token) return undefined
  if (/^[\x21-\x7e]+$/.test(token)) return token
  throw misused('TAGCACHE_TOKEN has characters that no token has.')
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
