// A chart of horizontal bars, readable on light and dark pages

export interface Bar {
  readonly label: string
  readonly value: number
  readonly isOurs: boolean
}

const WIDTH = 800
const LABELS = 240
const ROW = 24
const TOP = 56

/** An SVG of the bars, the longest first. */
export function chartOf(title: string, unit: string, bars: readonly Bar[]): string {
  const ordered = [...bars].sort((a, b) => b.value - a.value)
  const longest = Math.max(...ordered.map(({ value }) => value))
  const height = TOP + ordered.length * ROW + 8
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escaped(title)}">
<style>${STYLE}</style>
<text class="title" x="0" y="18">${escaped(title)}</text>
<text class="unit" x="0" y="38">${escaped(unit)}</text>
${ordered.map((bar, at) => barAt(bar, TOP + at * ROW, longest)).join('\n')}
</svg>
`
}

// The colours hold against white and against black; those of text follow the page.
const STYLE = `
text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:15px}.unit,.value{fill:#59636e}
.bar{fill:#8c959f}.ours{fill:#1f883d}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.unit,.value{fill:#9198a1}.bar{fill:#656c76}.ours{fill:#3fb950}}
`

function barAt({ label, value, isOurs }: Bar, top: number, longest: number): string {
  const width = Math.max(1, Math.round((value / longest) * (WIDTH - LABELS - 90)))
  const line = top + 13
  return `<text x="${LABELS - 10}" y="${line}" text-anchor="end">${escaped(label)}</text><rect class="bar${isOurs ? ' ours' : ''}" x="${LABELS}" y="${top}" width="${width}" height="${ROW - 7}" rx="2"/><text class="value" x="${LABELS + width + 8}" y="${line}">${Math.round(value).toLocaleString('en')}</text>`
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`)
}
