import type { IncomingMessage, ServerResponse } from 'node:http'
import { begin, Refusal } from './reply.ts'

// What a client that reads slowly may have waiting; then it is told nothing more until it has read that.
const MOST_WAITING = 64 * 1024
const MOST_MISSED = 30
// Then a client asks again, and is looked at again: who may watch may not for ever.
const LONGEST_WATCH = 600
const RECONNECT_AFTER = 3000

interface Stream {
  readonly res: ServerResponse
  /** Messages since it began, and in a row that it was not told. */
  told: number
  missed: number
}

/** Those who watch: each is told the same once a second, as server-sent events. */
export class Live {
  readonly #streams = new Set<Stream>()
  readonly #most: number
  #isClosed = false
  #messages = 0

  /** @param most how many may watch at the same time */
  constructor(most: number) {
    this.#most = most
  }

  /** How many watch. */
  get size(): number {
    return this.#streams.size
  }

  /** Lets somebody watch. Throws a `Refusal` where too many do. */
  open(req: IncomingMessage, res: ServerResponse): void {
    if (this.#isClosed || this.#streams.size >= this.#most)
      throw new Refusal(503, 'too-many-streams', 'Too many watch already.', { 'Retry-After': '10' })
    begin(res, 200, { 'Content-Type': 'text/event-stream; charset=utf-8', 'X-Accel-Buffering': 'no' })
    if (req.method === 'HEAD') return void res.end()
    const stream = { res, told: 0, missed: 0 }
    this.#streams.add(stream)
    res.on('close', () => this.#streams.delete(stream))
    res.on('error', () => {})
    res.write(`retry: ${RECONNECT_AFTER}\n\n`)
  }

  /** Tells everybody; whoever is behind misses it, and sees that by the number. */
  tell(makeMessage: () => object): void {
    if (this.#streams.size === 0) return
    const text = `id: ${++this.#messages}\nevent: tick\ndata: ${JSON.stringify(makeMessage())}\n\n`
    for (const stream of this.#streams) {
      tellOne(stream, text)
      // One that waits for its turn on a connection is not closed when it is destroyed.
      if (stream.res.destroyed) this.#streams.delete(stream)
    }
  }

  close(): void {
    this.#isClosed = true
    for (const { res } of this.#streams) res.end()
    this.#streams.clear()
  }
}

function tellOne(stream: Stream, text: string): void {
  const { res } = stream
  stream.told += 1
  if (res.writableLength > MOST_WAITING) {
    stream.missed += 1
    if (stream.missed > MOST_MISSED) res.destroy()
    return
  }
  stream.missed = 0
  res.write(text)
  if (stream.told >= LONGEST_WATCH) res.end()
}
