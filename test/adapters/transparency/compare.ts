import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { expect, onTestFinished } from 'vitest'
import type { Cache } from '../../../src/index.ts'
import { listen } from '../../support/http.ts'
import { exchange, kept, passedOn } from '../../support/wire.ts'
import type { Log } from './cases.ts'

/** Something that is served, with a cache around it or without. */
export interface Served {
  readonly listener: RequestListener
  readonly cache?: Cache
}

export interface Asked {
  readonly request: string
  /** The request that fills the cache. Default: the same. */
  readonly fill?: string
  /** Default: yes. */
  readonly isStored?: boolean
  /** Whether what is stored is stale at once, so that the handler is asked each time. */
  readonly isValidated?: boolean
}

/**
 * Has both servers answer, and compares what went over the wire and what the handlers saw.
 * `make` is asked for a server without a cache, and for one with.
 */
export async function expectSame(make: (log: Log, isCached: boolean) => Served, asked: Asked): Promise<void> {
  const { request, fill = request, isStored = true, isValidated = false } = asked
  const plain = await start(make, false)
  const cached = await start(make, true)

  const [expected, expectedLog] = await plain.ask(request)
  const [miss, missLog] = await cached.ask(fill)
  if (fill === request) {
    expect(passedOn(miss)).toEqual(passedOn(expected))
    expect(missLog).toEqual(expectedLog)
    if (expected !== '') expect(miss).toMatch(/^Cache-Status: tagcache; fwd=uri-miss/m)
  }
  expect(cached.cache!.stats().entries).toBe(isStored ? 1 : 0)

  const [second, secondLog] = await cached.ask(request)
  if (!isStored) {
    expect(passedOn(second)).toEqual(passedOn(expected))
    expect(secondLog).toEqual(expectedLog)
    return
  }
  const status = isValidated
    ? /^Cache-Status: tagcache; fwd=stale; fwd-status=304; stored/m
    : /^Cache-Status: tagcache; hit/m
  expect(second).toMatch(status)
  expect(kept(second)).toEqual(kept(expected))
  expect(cached.runs()).toBe(isValidated ? 2 : 1)
}

async function start(make: (log: Log, isCached: boolean) => Served, isCached: boolean) {
  let lines: unknown[] = []
  const { listener, cache } = make((...what) => void lines.push(what), isCached)
  let closed: Promise<unknown> | undefined
  const server = await listen((req, res) => {
    closed = new Promise((resolve) => res.once('close', resolve))
    return listener(req, res)
  })
  onTestFinished(() => server.close())
  let runs = 0
  return {
    cache,
    runs: () => runs,
    async ask(request: string): Promise<[text: string, log: unknown[]]> {
      lines = []
      const text = await exchange(server.port, request)
      await closed
      if (lines.length > 0) runs += 1
      return [text, lines]
    },
  }
}

/** Logs what becomes of a response. */
export function watch(res: ServerResponse, log: Log): void {
  log('run')
  for (const event of ['drain', 'finish', 'close']) {
    res.on(event, () => log(event, res.headersSent, res.writableEnded, res.writableFinished))
  }
  res.on('error', (error: NodeJS.ErrnoException) => log('error', error.code ?? error.message))
}

/** A handler that is watched. */
export function watched(log: Log, run: (res: ServerResponse, log: Log, req: IncomingMessage) => unknown) {
  return (req: IncomingMessage, res: ServerResponse): void => {
    watch(res, log)
    run(res, log, req)
  }
}
