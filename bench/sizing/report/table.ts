/** A text in lines of equal columns: the first to the left, the others to the right. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((name, at) => Math.max(name.length, ...rows.map((row) => (row[at] ?? '').length)))
  const line = (cells: readonly string[]) =>
    `  ${cells.map((cell, at) => pad(cell, widths[at]!, at)).join('   ')}`.trimEnd()
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')
}

/** Lines of a name, a value and what it means. */
export function list(rows: readonly (readonly [name: string, value: string, says?: string])[]): string {
  const widths = [0, 1].map((at) => Math.max(...rows.map((row) => row[at]!.length)))
  return rows
    .map(([name, value, says = '']) =>
      `  ${name.padEnd(widths[0]!)}   ${value.padStart(widths[1]!)}   ${says}`.trimEnd(),
    )
    .join('\n')
}

function pad(cell: string, width: number, at: number): string {
  return at === 0 ? cell.padEnd(width) : cell.padStart(width)
}

export function whole(value: number): string {
  return Math.round(value).toLocaleString('en')
}

/** Three digits that count. */
export function rough(value: number): string {
  return value >= 1000 ? whole(value) : value.toLocaleString('en', { maximumSignificantDigits: 3 })
}

export function percent(share: number): string {
  // Adding zero makes of -0 a 0.
  return `${(Math.round(1000 * share) / 10 + 0).toFixed(1)} %`
}

export function times(ratio: number): string {
  return `${ratio.toFixed(2)} ×`
}

export function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toLocaleString('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 })} MB/s`
}

export function gigabytes(bytes: number): string {
  return `${(bytes / 2 ** 30).toLocaleString('en', { minimumFractionDigits: 1, maximumFractionDigits: 1 })} GB`
}

export function seconds(time: number): string {
  return time === Number.POSITIVE_INFINITY ? 'never' : `${rough(time)} s`
}
