import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Place, Profile, Profiled, Question, Start, Started, State } from '../server/protocol.ts'
import { Unavailable } from '../server/subject.ts'
import type { Workload } from '../server/workload.ts'
import { onOwnCore } from './machine.ts'
import { proxies } from './proxies.ts'

const MAIN = fileURLToPath(new URL('../server/main.ts', import.meta.url))

/** A subject that runs. */
export interface Server {
  readonly port: number
  state(question?: 'state' | 'alive'): Promise<State>
  stop(): Promise<void>
}

/** Starts a subject in a process of its own. Throws `Unavailable` where it cannot run here. */
export function startServer(subject: string, work: Workload): Promise<Server> {
  const proxy = proxies[subject]
  return proxy
    ? proxy(() => startNode({ subject: 'node no cache', work: { ...work, cacheControl: 'max-age=3600' } }))
    : startNode({ subject, work })
}

/** Starts a subject that is no proxy. */
export async function startNode(start: Start): Promise<NodeServer> {
  const [file, ...args] = onOwnCore([
    process.execPath,
    '--expose-gc',
    '--no-deprecation',
    '--import',
    'tsx',
    MAIN,
    JSON.stringify(start),
  ])
  const child = spawn(file, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const started = await answerOf<Started>(child)
  if ('port' in started) return new NodeServer(child, started.port)
  child.disconnect()
  throw 'unavailable' in started ? new Unavailable(started.unavailable) : new Error(started.error)
}

export class NodeServer implements Server {
  readonly port: number
  readonly #child: ChildProcess

  constructor(child: ChildProcess, port: number) {
    this.#child = child
    this.port = port
  }

  state(question: 'state' | 'alive' = 'state'): Promise<State> {
    return this.#ask<State>(question)
  }

  /** What it does with its time or its memory while something happens. */
  async profile(profiled: Profiled, meanwhile: () => Promise<void>): Promise<readonly Place[]> {
    await this.#ask<Profile>(profiled)
    await meanwhile()
    return (await this.#ask<Profile>(profiled)).places
  }

  #ask<A>(question: Question): Promise<A> {
    const answer = answerOf<A>(this.#child)
    this.#child.send(question)
    return answer
  }

  async stop(): Promise<void> {
    if (!this.#child.connected) return
    const ended = once(this.#child, 'exit')
    this.#child.disconnect()
    await ended
  }
}

/** The next message of a process, if it lives so long. */
async function answerOf<M>(child: ChildProcess): Promise<M> {
  const stop = new AbortController()
  const { signal } = stop
  try {
    const ended = once(child, 'exit', { signal }).then(([code]) => {
      throw new Error(`The process of a subject has ended, with ${code}.`)
    })
    const [message] = await Promise.race([once(child, 'message', { signal }), ended])
    return message as M
  } finally {
    stop.abort()
  }
}
