import { el, fill } from './dom.js'

/**
 * @typedef {object} Line
 * @property {string} label
 * @property {'accent' | 'muted' | 'warn'} colour
 * @property {boolean} [isFilled]
 * @property {boolean} [isDashed]
 * @property {(value: number | null) => string} show
 */

/**
 * @typedef {object} Scale how high it is; by default as high as its highest value
 * @property {number} [top] the highest value there can be
 * @property {boolean} [isLog] each step up is ten times as much
 * @property {boolean} [isBinary] steps are powers of two, as those of bytes are
 */

/**
 * A chart over time, with a legend that says what is under the cursor, or else what is newest. All charts of a page share the cursor.
 * @param {string} label what it shows, for those who do not see it
 * @param {Line[]} lines
 * @param {Scale} [scale]
 */
export function makeChart(label, lines, scale = {}) {
  const legend = el('p', { class: 'legend' })
  const box = el('div', { class: 'chart', role: 'img', 'aria-label': label })
  const element = el('div', {}, legend, box)
  /** @type {any} */ let plot
  /** @type {(number | null)[][]} */ let data = [[], ...lines.map(() => [])]

  const tell = () => {
    const under = plot?.cursor.idx
    const at = under ?? data[0].length - 1
    const values = lines.map(({ label, colour, isDashed, show }, line) => {
      const kind = `key ${colour}${isDashed ? ' dashed' : ''}`
      return el('span', { class: kind }, `${label} `, el('b', {}, show(data[line + 1][at] ?? null)))
    })
    const when = typeof under === 'number' && el('span', {}, seconds.format(Number(data[0][under]) * 1000))
    fill(legend, ...values, when)
  }
  const draw = () => {
    plot?.destroy()
    plot = new uPlot(optionsOf(lines, scale, box, tell), data, box)
    tell()
  }
  const resizing = new ResizeObserver(() => {
    if (plot && box.clientWidth > 0) plot.setSize({ width: box.clientWidth, height: box.clientHeight })
  })
  resizing.observe(box)
  const dark = matchMedia('(prefers-color-scheme: dark)')
  const redraw = () => box.isConnected && draw()
  dark.addEventListener('change', redraw)
  return {
    element,
    /** @param {(number | null)[][]} columns times in epoch milliseconds, and a column for each line */
    show([times, ...columns]) {
      data = [times.map((time) => Number(time) / 1000), ...columns]
      if (!plot && box.clientWidth > 0) draw()
      else plot?.setData(data)
      tell()
    },
    /** It is not shown any more. */
    stop() {
      resizing.disconnect()
      dark.removeEventListener('change', redraw)
      plot?.destroy()
    },
  }
}

/**
 * @param {Line[]} lines
 * @param {Scale} scale
 * @param {HTMLElement} box
 * @param {() => void} onCursor
 */
function optionsOf(lines, scale, box, onCursor) {
  const style = getComputedStyle(document.documentElement)
  const colour = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim()
  const axis = {
    stroke: colour('soft'),
    font: '11px system-ui, sans-serif',
    grid: { stroke: colour('line'), width: 1 },
    ticks: { show: false },
  }
  const [{ show }] = lines
  return {
    width: box.clientWidth,
    height: box.clientHeight,
    padding: [8, 18, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false }, sync: { key: 'time' } },
    hooks: { setCursor: [onCursor] },
    scales: {
      y: scale.isLog
        ? { distr: 3, range: decades }
        : { range: (/** @type {any[]} */ ...given) => upTo(scale, given[2]) },
    },
    axes: [
      {
        ...axis,
        size: 24,
        space: 80,
        values: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits.map(hourOf),
      },
      {
        ...axis,
        size: 62,
        space: 32,
        values: (/** @type {any} */ _, /** @type {number[]} */ splits) =>
          splits.map((split) => show(split).replace(/\.0+(?=\D)/, '')),
        ...(scale.isBinary ? { incrs: BINARY } : {}),
        ...(scale.isLog ? { splits: (/** @type {any[]} */ ...given) => powers(given[2], given[3]), filter: all } : {}),
      },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        stroke: colour(line.colour),
        width: 1.5,
        points: { show: false },
        spanGaps: scale.isLog,
        ...(line.isDashed ? { dash: [3, 3], width: 1 } : {}),
        ...(line.isFilled ? { fill: colour(`${line.colour}-soft`) } : {}),
      })),
    ],
  }
}

const BINARY = Array.from({ length: 50 }, (_, at) => 2 ** at)

/** @param {Scale} scale @param {number | null} highest */
function upTo({ top }, highest) {
  return [0, top ?? (highest ? highest * 1.1 : 1)]
}

/** @param {any} _ @param {number | null} lowest @param {number | null} highest */
function decades(_, lowest, highest) {
  if (!lowest || !highest) return [0.1, 100]
  return [10 ** Math.floor(Math.log10(lowest)), 10 ** Math.ceil(Math.log10(highest * 1.01))]
}

/** @param {number} from @param {number} to */
function powers(from, to) {
  const [first, last] = [Math.round(Math.log10(from)), Math.round(Math.log10(to))]
  return Array.from({ length: last - first + 1 }, (_, at) => 10 ** (first + at))
}

/** @param {any} _ @param {number[]} splits */
function all(_, splits) {
  return splits
}

const hours = new Intl.DateTimeFormat(undefined, { hour: '2-digit', hourCycle: 'h23', minute: '2-digit' })
const seconds = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit',
  hourCycle: 'h23',
  minute: '2-digit',
  second: '2-digit',
})

/** @param {number} time in epoch seconds */
function hourOf(time) {
  return (time % 60 === 0 ? hours : seconds).format(time * 1000)
}
