import { crc32 } from 'node:zlib'
import type { Entry } from '../core/entry.ts'
import { TagcacheError } from '../errors.ts'

// A frame: four bytes of magic with the version, the head's length, a checksum of what follows, the head as JSON, the body.
const MAGIC = Buffer.from('tgc1', 'latin1')
const PREFIX = 12

/** Writes an entry as bytes. `identity` is whatever the writer wants to find again in `decodeEntry`. */
export function encodeEntry(entry: Entry, identity: string): Uint8Array {
  const { body, ...response } = entry.response
  const head = Buffer.from(JSON.stringify({ identity, entry: { ...entry, response } }), 'utf8')
  const frame = Buffer.allocUnsafeSlow(PREFIX + head.byteLength + body.byteLength)
  MAGIC.copy(frame)
  frame.writeUInt32LE(head.byteLength, 4)
  head.copy(frame, PREFIX)
  frame.set(body, PREFIX + head.byteLength)
  frame.writeUInt32LE(checksumOf(frame), 8)
  return frame
}

/** Reads what `encodeEntry` wrote. Throws `ERR_TAGCACHE_FRAME` for anything else, and for bytes that were damaged. */
export function decodeEntry(bytes: unknown): { entry: Entry; identity: string } {
  if (!(bytes instanceof Uint8Array)) throw damaged(`a ${typeof bytes} is no frame`)
  const frame = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (frame.byteLength < PREFIX || !frame.subarray(0, 4).equals(MAGIC))
    throw damaged('it does not begin as a frame does')
  if (checksumOf(frame) !== frame.readUInt32LE(8)) throw damaged('its checksum does not fit')
  const bodyAt = PREFIX + frame.readUInt32LE(4)
  const { identity, entry } = JSON.parse(frame.toString('utf8', PREFIX, bodyAt))
  return { identity, entry: { ...entry, response: { ...entry.response, body: frame.subarray(bodyAt) } } }
}

// Of everything but the magic, which is compared, and itself.
function checksumOf(frame: Buffer): number {
  return crc32(frame.subarray(PREFIX), crc32(frame.subarray(4, 8)))
}

function damaged(how: string): TagcacheError {
  return new TagcacheError('ERR_TAGCACHE_FRAME', `Stored bytes cannot be read: ${how}. They count as a miss.`)
}
