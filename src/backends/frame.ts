/** Writes the parts of a frame one after the other. */
export class FrameWriter {
  readonly #parts: Buffer[] = []
  length = 0

  byte(value: number): void {
    this.#push(Buffer.of(value))
  }

  number(value: number): void {
    const part = Buffer.allocUnsafe(8)
    part.writeDoubleLE(value)
    this.#push(part)
  }

  /** A whole number from 0 on, seven bits a byte. */
  count(value: number): void {
    const digits: number[] = []
    let left = value
    do {
      digits.push(left >= 128 ? (left % 128) + 128 : left)
      left = Math.floor(left / 128)
    } while (left > 0)
    this.#push(Buffer.from(digits))
  }

  /** As UTF-8; a text that UTF-8 has no way to write, as UTF-16. */
  text(value: string): void {
    const isWellFormed = value.isWellFormed()
    const part = Buffer.from(value, isWellFormed ? 'utf8' : 'utf16le')
    this.count(part.byteLength * 2 + (isWellFormed ? 0 : 1))
    this.#push(part)
  }

  bytes(value: Uint8Array): void {
    this.count(value.byteLength)
    this.#push(Buffer.from(value.buffer, value.byteOffset, value.byteLength))
  }

  list<V>(values: readonly V[], write: (value: V) => void): void {
    this.count(values.length)
    for (const value of values) write(value)
  }

  /** Copies what was written into `target`, and answers where it ends. */
  copyTo(target: Buffer, at: number): number {
    let end = at
    for (const part of this.#parts) end += part.copy(target, end)
    return end
  }

  #push(part: Buffer): void {
    this.#parts.push(part)
    this.length += part.byteLength
  }
}

/** Reads the parts of a frame in the order in which they were written. Throws a `RangeError` where the frame ends too soon. */
export class FrameReader {
  readonly #frame: Buffer
  #at: number

  constructor(frame: Buffer, at: number) {
    this.#frame = frame
    this.#at = at
  }

  byte(): number {
    return this.#frame.readUInt8(this.#at++)
  }

  number(): number {
    const value = this.#frame.readDoubleLE(this.#at)
    this.#at += 8
    return value
  }

  count(): number {
    let value = 0
    for (let unit = 1; ; unit *= 128) {
      const digit = this.byte()
      value += (digit % 128) * unit
      if (digit < 128) return value
    }
  }

  text(): string {
    const marked = this.count()
    const end = this.#at + Math.floor(marked / 2)
    if (end > this.#frame.byteLength) throw new RangeError('A text is cut.')
    const value = this.#frame.toString(marked % 2 === 0 ? 'utf8' : 'utf16le', this.#at, end)
    this.#at = end
    return value
  }

  bytes(): Buffer {
    const length = this.count()
    const end = this.#at + length
    if (end > this.#frame.byteLength) throw new RangeError('Bytes are cut.')
    const value = this.#frame.subarray(this.#at, end)
    this.#at = end
    return value
  }

  list<V>(readOne: () => V): V[] {
    const length = this.count()
    const values: V[] = []
    while (values.length < length) values.push(readOne())
    return values
  }

  rest(): Buffer {
    return this.#frame.subarray(this.#at)
  }
}
