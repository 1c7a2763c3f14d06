import { crc32 } from 'node:zlib'
import type { Encoding, Entry, HeaderField } from '../core/entry.ts'
import { TagcacheError } from '../errors.ts'
import { FrameReader, FrameWriter } from './frame.ts'

// A frame: magic with the version, a checksum of what follows, and then what a script in Redis reads without knowing the rest:
// stamp, end of freshness in epoch milliseconds, length of the tags, identity behind its length, tags as a MessagePack list.
const MAGIC = Buffer.from('tgc2', 'latin1')
// With encodings, which readers of the other would take for the body.
const MAGIC_ENCODED = Buffer.from('tgc3', 'latin1')
const CHECKED_FROM = 8
const PREFIX = 29

/** What is kept of an entry beside it. */
export interface Kept {
  /** Whatever the writer wants to find again, so that it knows the entry as its own; at most 255 bytes. */
  readonly identity: string
  /** How the body was compressed before it was written. */
  readonly isCompressed?: boolean
}

const MUST_REVALIDATE = 1
const IS_SHARED = 2
const IS_COMPRESSED = 4
const HAS_ENCODINGS = 8

/** Writes an entry as bytes. */
export function encodeEntry(entry: Entry, { identity, isCompressed = false }: Kept): Buffer {
  const { response } = entry
  const own = Buffer.from(identity)
  const tags = packTexts(entry.tags)
  const head = new FrameWriter()
  head.byte(
    (entry.mustRevalidate ? MUST_REVALIDATE : 0) |
      (entry.isShared ? IS_SHARED : 0) |
      (isCompressed ? IS_COMPRESSED : 0) |
      (response.encodings ? HAS_ENCODINGS : 0),
  )
  head.text(entry.key)
  for (const number of numbersOf(entry)) head.number(number)
  head.count(response.status)
  head.text(response.statusMessage)
  writeFields(head, response.headers)
  writeFields(head, response.trailers)
  head.list(response.removed, (name) => head.text(name))
  if (response.encodings) writeEncodings(head, response.encodings)
  const frame = Buffer.allocUnsafeSlow(
    PREFIX + own.byteLength + tags.byteLength + head.length + response.body.byteLength,
  )
  const magic = response.encodings ? MAGIC_ENCODED : MAGIC
  magic.copy(frame)
  frame.writeDoubleLE(entry.stamp, 8)
  frame.writeDoubleLE(entry.time + entry.lifetime, 16)
  frame.writeUInt32LE(tags.byteLength, 24)
  frame.writeUInt8(own.byteLength, 28)
  own.copy(frame, PREFIX)
  tags.copy(frame, PREFIX + own.byteLength)
  const bodyAt = head.copyTo(frame, PREFIX + own.byteLength + tags.byteLength)
  frame.set(response.body, bodyAt)
  frame.writeUInt32LE(crc32(frame.subarray(CHECKED_FROM)), 4)
  return frame
}

/** Reads what `encodeEntry` wrote. Throws `ERR_TAGCACHE_FRAME` for anything else, and for bytes that were damaged. */
export function decodeEntry(bytes: unknown): Kept & { entry: Entry } {
  if (!(bytes instanceof Uint8Array)) throw damaged(`a ${typeof bytes} is no frame`)
  const frame = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (frame.byteLength < PREFIX || !hasMagic(frame)) throw damaged('it does not begin as a frame does')
  if (crc32(frame.subarray(CHECKED_FROM)) !== frame.readUInt32LE(4)) throw damaged('its checksum does not fit')
  try {
    return read(frame)
  } catch (cause) {
    // Whoever writes other bytes can write their checksum as well.
    throw damaged('it ends too soon', cause)
  }
}

function hasMagic(frame: Buffer): boolean {
  return MAGIC.compare(frame, 0, 4) === 0 || MAGIC_ENCODED.compare(frame, 0, 4) === 0
}

function read(frame: Buffer): Kept & { entry: Entry } {
  const tagsAt = PREFIX + frame.readUInt8(28)
  const tagsEnd = tagsAt + frame.readUInt32LE(24)
  const identity = frame.toString('utf8', PREFIX, tagsAt)
  const tags = unpackTexts(frame.subarray(tagsAt, tagsEnd))
  const head = new FrameReader(frame, tagsEnd)
  const flags = head.byte()
  const hasEncodings = (flags & HAS_ENCODINGS) !== 0
  if (hasEncodings !== (MAGIC_ENCODED.compare(frame, 0, 4) === 0)) throw new RangeError('It is of another version.')
  const key = head.text()
  const [time, cost, lifetime, initialAge, staleWhileRevalidate, staleIfError] = [1, 2, 3, 4, 5, 6].map(() =>
    head.number(),
  ) as [number, number, number, number, number, number]
  const response = {
    status: head.count(),
    statusMessage: head.text(),
    headers: readFields(head),
    trailers: readFields(head),
    removed: head.list(() => head.text()),
    ...(hasEncodings ? { encodings: readEncodings(head) } : {}),
    body: head.rest(),
  }
  const entry: Entry = {
    key,
    tags,
    stamp: frame.readDoubleLE(8),
    time,
    cost,
    lifetime,
    initialAge,
    staleWhileRevalidate,
    staleIfError,
    mustRevalidate: (flags & MUST_REVALIDATE) !== 0,
    isShared: (flags & IS_SHARED) !== 0,
    response,
  }
  return { identity, isCompressed: (flags & IS_COMPRESSED) !== 0, entry }
}

function numbersOf({ time, cost, lifetime, initialAge, staleWhileRevalidate, staleIfError }: Entry): number[] {
  return [time, cost, lifetime, initialAge, staleWhileRevalidate, staleIfError]
}

const APPEND = 1
const IS_DEFAULT = 2
const IS_LIST = 4

function writeFields(head: FrameWriter, fields: readonly HeaderField[]): void {
  head.list(fields, ({ name, value, append, isDefault }) => {
    head.byte((append ? APPEND : 0) | (isDefault ? IS_DEFAULT : 0) | (typeof value === 'string' ? 0 : IS_LIST))
    head.text(name)
    if (typeof value === 'string') head.text(value)
    else head.list(value, (line) => head.text(line))
  })
}

function readFields(head: FrameReader): HeaderField[] {
  return head.list(() => {
    const flags = head.byte()
    const name = head.text()
    const value = flags & IS_LIST ? head.list(() => head.text()) : head.text()
    return {
      name,
      value,
      ...(flags & APPEND ? { append: true } : {}),
      ...(flags & IS_DEFAULT ? { isDefault: true } : {}),
    }
  })
}

function writeEncodings(head: FrameWriter, encodings: readonly Encoding[]): void {
  head.list(encodings, ({ coding, body }) => {
    head.text(coding)
    head.bytes(body)
  })
}

// Whether the coding is one of ours, `isSound` says.
function readEncodings(head: FrameReader): Encoding[] {
  return head.list(() => ({ coding: head.text() as Encoding['coding'], body: head.bytes() }))
}

/** Texts as MessagePack: array 32, and str 32 for each. */
export function packTexts(texts: readonly string[]): Buffer {
  const sizes = texts.map((text) => Buffer.byteLength(text))
  const packed = Buffer.allocUnsafe(sizes.reduce((sum, size) => sum + size + 5, 5))
  let at = packed.writeUInt32BE(texts.length, packed.writeUInt8(0xdd, 0))
  for (const [index, text] of texts.entries()) {
    at = packed.writeUInt32BE(sizes[index]!, packed.writeUInt8(0xdb, at))
    at += packed.write(text, at)
  }
  return packed
}

function unpackTexts(packed: Buffer): string[] {
  let at = 5
  return Array.from({ length: packed.readUInt32BE(1) }, () => {
    const start = at + 5
    at = start + packed.readUInt32BE(at + 1)
    if (at > packed.byteLength) throw new RangeError('A tag is cut.')
    return packed.toString('utf8', start, at)
  })
}

function damaged(how: string, cause?: unknown): TagcacheError {
  const message = `Stored bytes cannot be read: ${how}. They count as a miss.`
  return new TagcacheError('ERR_TAGCACHE_FRAME', message, cause === undefined ? undefined : { cause })
}
