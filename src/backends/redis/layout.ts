// XMODEM's polynomial, with which Redis Cluster chooses slots.
const CRC16 = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  return crc
})

const SLOTS = 16_384

/** The slot of a key of Redis Cluster that has no braces, or of what stands between them. */
export function slotOf(text: string): number {
  let crc = 0
  for (const byte of Buffer.from(text)) crc = ((crc << 8) ^ CRC16[((crc >> 8) ^ byte) & 0xff]!) & 0xffff
  return crc % SLOTS
}

/** What the keys of one partition begin with. */
export interface Place {
  readonly ledger: string
  readonly entry: (key: string) => string
  readonly lease: (key: string) => string
  readonly index: (tag: string) => string
  readonly board: string
  readonly notice: (id: string) => string
}

/**
 * The places of so many partitions, each in a slot of its own, evenly over all slots, so that they spread evenly over the
 * masters of a cluster. One partition alone is anywhere.
 */
export function placesOf(namespace: string, partitions: number): Place[] {
  return Array.from({ length: partitions }, (_, at) => placeOf(braced(namespace, at, partitions)))
}

function placeOf(prefix: string): Place {
  return {
    ledger: `${prefix}:ledger`,
    entry: (key) => `${prefix}:entry:${key}`,
    lease: (key) => `${prefix}:lease:${key}`,
    index: (tag) => `${prefix}:index:${tag}`,
    board: `${prefix}:board`,
    notice: (id) => `${prefix}:notice:${id}`,
  }
}

function braced(namespace: string, partition: number, partitions: number): string {
  if (partitions === 1) return `{${namespace}}`
  const [from, to] = [partition, partition + 1].map((at) => Math.floor((at * SLOTS) / partitions)) as [number, number]
  for (let attempt = 0; ; attempt++) {
    const name = `${namespace}/${partitions}/${partition}/${attempt}`
    const slot = slotOf(name)
    if (slot >= from && slot < to) return `{${name}}`
  }
}

/** The partition of a key: the same for all variants of one response, whose stamps are taken before it is known what varies. */
export function partitionOf(key: string, partitions: number): number {
  if (partitions === 1) return 0
  return Math.floor((slotOf(withoutVariant(key)) * partitions) / SLOTS)
}

// Variants of a response end with what varies, each field behind a tilde.
function withoutVariant(key: string): string {
  const ends = key.indexOf('#')
  const variant = ends === -1 ? -1 : key.slice(ends).search(/[#&]~/)
  return variant === -1 ? key : key.slice(0, ends + variant)
}
