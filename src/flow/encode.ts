import * as zlib from 'node:zlib'
import type { Encoding, Entry } from '../core/entry.ts'
import { chain, type MaybePromise } from '../core/maybe.ts'
import type { Coding } from '../http/compression.ts'
import type { ResolvedRoute } from '../options/route.ts'
import type { Flow } from './flow.ts'
import { isValid } from './usable.ts'

/** Has encodings made of an entry that was stored for so many milliseconds, where its route wants them and it has none yet. */
export function encodeLater(flow: Flow, entry: Entry, keep: number, { compress }: ResolvedRoute): void {
  const { encodings, body, trailers } = entry.response
  if (!compress || encodings?.length !== 0 || trailers.length > 0 || body.byteLength < compress.threshold) return
  flow.encoding.add(() => encode(flow, entry, keep, compress.codings))
}

async function encode(flow: Flow, entry: Entry, keep: number, codings: readonly Coding[]): Promise<void> {
  try {
    const encodings = await encodingsOf(entry.response.body, codings, flow.guard.maxBodySize)
    if (flow.isClosed || encodings.length === 0) return
    const isKept = await addEncodings(flow, entry, keep, encodings)
    flow.events.emit({ type: 'compression', key: entry.key, codings: encodings.map(({ coding }) => coding), isKept })
  } catch (error) {
    flow.events.emit({ type: 'fault', operation: 'compress', error })
  }
}

// What is stored now counts: its own stamp, its own tags. If that is another response, or none, there is nothing to add to.
function addEncodings(
  flow: Flow,
  { key, time, response }: Entry,
  keep: number,
  encodings: readonly Encoding[],
): MaybePromise<boolean> {
  return chain(flow.guard.lookup(key), (found) => {
    const entry = found && isValid(found, key) ? found.entry : undefined
    const left = time + keep - flow.now()
    if (!entry || left <= 0 || entry.time !== time || !Buffer.from(response.body).equals(entry.response.body)) {
      return false
    }
    return flow.guard.store({ ...entry, response: { ...entry.response, encodings } }, left)
  })
}

/** The encodings of a body that are smaller than it, from small to large: as many as a backend takes beside it. */
async function encodingsOf(body: Uint8Array, codings: readonly Coding[], most: number): Promise<Encoding[]> {
  const made: Encoding[] = []
  for (const coding of codings) {
    const encoded = await ENCODERS[coding]?.(body)
    if (encoded && encoded.byteLength < body.byteLength) made.push({ coding, body: ofOwnMemory(encoded) })
  }
  let room = most - body.byteLength
  return made
    .sort((one, other) => one.body.byteLength - other.body.byteLength)
    .filter((encoding) => (room -= encoding.body.byteLength) >= 0)
}

// What zlib gives is a part of a larger buffer, which would be kept as a whole.
function ofOwnMemory(bytes: Buffer): Buffer {
  const copy = Buffer.allocUnsafeSlow(bytes.byteLength)
  bytes.copy(copy)
  return copy
}

type Encode = (body: Uint8Array) => Promise<Buffer>

// Higher ones take ten times as long and more for a few per cent: see docs/decisions/compress.md.
const BROTLI_QUALITY = 5

const brotli: Encode = (body) => {
  const params = {
    [zlib.constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY,
    [zlib.constants.BROTLI_PARAM_SIZE_HINT]: body.byteLength,
  }
  return called((done) => zlib.brotliCompress(body, { params, chunkSize: chunkFor(body) }, done))
}

const gzip: Encode = (body) => called((done) => zlib.gzip(body, { chunkSize: chunkFor(body) }, done))

type Done = (error: Error | null, encoded: Buffer) => void

// Since Node 22.15 and 23.8; the types are of an older one.
const { zstdCompress } = zlib as unknown as {
  zstdCompress?: (body: Uint8Array, options: { chunkSize: number }, done: Done) => void
}
const zstd: Encode | undefined =
  zstdCompress && ((body) => called((done) => zstdCompress(body, { chunkSize: chunkFor(body) }, done)))

const ENCODERS: Readonly<Record<Coding, Encode | undefined>> = { br: brotli, zstd, gzip }

function called(call: (done: Done) => void): Promise<Buffer> {
  return new Promise((resolve, reject) => call((error, encoded) => (error ? reject(error) : resolve(encoded))))
}

// Between two chunks the thread waits for the event loop: most bodies are one.
function chunkFor({ byteLength }: Uint8Array): number {
  return Math.min(Math.max(1024, Math.ceil(byteLength / 2)), 1024 * 1024)
}
