import { styleText } from 'node:util'
import { cutTo, harmless, harmlessJson, widthOf } from './text.ts'

type Style = 'bold' | 'dim' | 'red' | 'yellow' | 'green'

/** A piece of a line: text, or text with a style. Either may come from anywhere. */
export type Part = string | { readonly text: string; readonly style: Style }

/** A column of a table. */
export interface Column {
  readonly title: string
  readonly isRight?: boolean
  /** It is cut where the terminal is narrow. */
  readonly isCut?: boolean
}

/** A piece of a line with a style. */
export function styled(style: Style, text: string): Part {
  return { text, style }
}

const GAP = 2
const NARROWEST = 8
const TELL_EVERY = 5000

/** Writes what people or scripts read. No text that is handed in can do anything to a terminal. */
export class Output {
  readonly isJson: boolean
  /** Of a terminal; undefined where lines may be of any length. */
  readonly width: number | undefined
  readonly height: number | undefined
  /** Whether what is written stays on one screen. */
  readonly isScreen: boolean
  /** Aborts when nobody reads any more. */
  readonly readers = new AbortController()
  readonly #isColoured: boolean
  #toldAt = performance.now()
  #isProgressShown = false

  constructor(isJson: boolean) {
    const { stdout, env } = process
    this.isJson = isJson
    this.isScreen = stdout.isTTY === true && env.TERM !== 'dumb'
    this.width = widthIn(stdout.isTTY ? stdout.columns : Number(env.COLUMNS))
    this.height = stdout.isTTY ? stdout.rows : undefined
    this.#isColoured = this.isScreen && !env.NO_COLOR
    stdout.on('error', (error: NodeJS.ErrnoException) => {
      // Whoever read has gone, as `head` does; that is no failure.
      if (error.code !== 'EPIPE') throw error
      this.readers.abort()
    })
    process.stderr.on('error', () => {})
  }

  /** Writes a line. */
  line(...parts: Part[]): void {
    this.#write(`${this.#paint(parts)}\n`)
  }

  /** Writes one JSON document. */
  json(value: unknown): void {
    this.#write(`${harmlessJson(value, 2)}\n`)
  }

  /** Writes JSON as one line of many. */
  jsonLine(value: unknown): void {
    this.#write(`${harmlessJson(value)}\n`)
  }

  /** Writes a program for a shell as it is. */
  verbatim(text: string): void {
    this.#write(text)
  }

  /** Writes a table that fits the terminal. */
  table(columns: readonly Column[], rows: readonly (readonly Part[])[]): void {
    for (const line of this.tableLines(columns, rows)) this.line(...line)
  }

  /** The lines of a table that fits the terminal. */
  tableLines(columns: readonly Column[], rows: readonly (readonly Part[])[]): Part[][] {
    const head = columns.map(({ title }) => styled('bold', title))
    const all = [head, ...rows].map((row) => row.map(tame))
    const widths = shrink(columns, all, this.width)
    return all.map((row) => row.flatMap((cell, at) => place(cell, columns, widths, at)))
  }

  /** Shows a list of names and values. */
  facts(facts: readonly (readonly [name: string, value: Part | undefined])[]): void {
    const known = facts.filter((fact): fact is [string, Part] => fact[1] !== undefined)
    const width = Math.max(0, ...known.map(([name]) => name.length))
    for (const [name, value] of known) this.line(styled('dim', name.padEnd(width + GAP)), value)
  }

  /** Writes over what was on the screen; elsewhere, after it. */
  frame(lines: readonly Part[][]): void {
    const shown = this.height === undefined ? lines : lines.slice(0, Math.max(1, this.height - 1))
    const text = shown.map((line) => `${this.#paint(line)}${this.isScreen ? '\x1b[K' : ''}\n`).join('')
    this.#write(this.isScreen ? `\x1b[H${text}\x1b[J` : `${text}\n`)
  }

  /** Begins a screen of frames; returns the way to end it. */
  openScreen(): () => void {
    if (!this.isScreen) return () => {}
    this.#write('\x1b[?1049h\x1b[?25l')
    return () => this.#write('\x1b[?25h\x1b[?1049l')
  }

  /** Tells whoever watches something beside the result. */
  note(message: string): void {
    this.endProgress()
    process.stderr.write(`${harmless(message)}\n`)
  }

  /** Says how far long work has come: on a terminal at once, elsewhere every five seconds. */
  progress(message: string): void {
    if (process.stderr.isTTY) {
      process.stderr.write(`\r\x1b[K${cutTo(harmless(message), (process.stderr.columns || 80) - 1)}`)
      this.#isProgressShown = true
      return
    }
    const now = performance.now()
    if (now - this.#toldAt < TELL_EVERY) return
    this.#toldAt = now
    process.stderr.write(`${harmless(message)}\n`)
  }

  /** Takes away what `progress` shows. */
  endProgress(): void {
    if (this.#isProgressShown) process.stderr.write('\r\x1b[K')
    this.#isProgressShown = false
  }

  #paint(parts: readonly Part[]): string {
    return parts
      .map(tame)
      .map((part) => (typeof part === 'string' ? part : this.#isColoured ? paint(part) : part.text))
      .join('')
      .trimEnd()
  }

  #write(text: string): void {
    if (!this.readers.signal.aborted) process.stdout.write(text)
  }
}

function widthIn(given: number | undefined): number | undefined {
  return given !== undefined && Number.isInteger(given) && given > 0 ? Math.max(given, 20) : undefined
}

function paint({ text, style }: Exclude<Part, string>): string {
  return styleText(style, text, { validateStream: false })
}

function tame(part: Part): Part {
  return typeof part === 'string' ? harmless(part) : { ...part, text: harmless(part.text) }
}

function textOf(part: Part): string {
  return typeof part === 'string' ? part : part.text
}

// What can be cut is cut, the widest first, as far as that is needed and leaves something to read.
function shrink(columns: readonly Column[], rows: readonly (readonly Part[])[], room: number | undefined): number[] {
  const widths = columns.map((_, at) => Math.max(...rows.map((row) => widthOf(textOf(row[at] ?? '')))))
  if (room === undefined) return widths
  let excess = widths.reduce((sum, width) => sum + width + GAP, -GAP) - room
  for (; excess > 0; excess--) {
    const elastic = columns.flatMap(({ isCut }, at) => (isCut && widths[at]! > NARROWEST ? [at] : []))
    const [widest] = elastic.sort((a, b) => widths[b]! - widths[a]!)
    if (widest === undefined) break
    widths[widest]! -= 1
  }
  return widths
}

function place(cell: Part, columns: readonly Column[], widths: readonly number[], at: number): Part[] {
  const text = cutTo(textOf(cell), widths[at]!)
  const space = ' '.repeat(widths[at]! - widthOf(text))
  const shown = typeof cell === 'string' ? text : { ...cell, text }
  const gap = at === columns.length - 1 ? '' : ' '.repeat(GAP)
  return columns[at]!.isRight ? [space, shown, gap] : [shown, space, gap]
}
