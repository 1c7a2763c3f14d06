import { el, fill } from './dom.js'

/**
 * @typedef {object} Line
 * @property {string} label
 * @property {'accent' | 'muted'} colour
 * @property {boolean} [isFilled]
 * @property {(value: number | null) => string} show
 */

/**
 * A chart over time, with a legend that says what is under the cursor, or else what is newest.
 * @param {string} label what it shows, for those who do not see it
 * @param {Line[]} lines
 */
export function makeChart(label, lines) {
  const legend = el('p', { class: 'legend' })
  const box = el('div', { class: 'chart', role: 'img', 'aria-label': label })
  const element = el('div', {}, legend, box)
  /** @type {any} */ let plot
  /** @type {(number | null)[][]} */ let data = [[], ...lines.map(() => [])]

  const tell = () => {
    const at = plot?.cursor.idx ?? data[0].length - 1
    const values = lines.map(({ label, colour, show }, line) =>
      el('span', { class: `key ${colour}` }, `${label} `, el('b', {}, show(data[line + 1][at] ?? null))),
    )
    fill(legend, ...values)
  }
  const draw = () => {
    plot?.destroy()
    plot = new uPlot(optionsOf(lines, box, tell), data, box)
    tell()
  }
  const onResize = () => {
    if (plot && box.clientWidth > 0) plot.setSize({ width: box.clientWidth, height: box.clientHeight })
  }
  new ResizeObserver(onResize).observe(box)
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => box.isConnected && draw())
  return {
    element,
    /** @param {(number | null)[][]} columns times in epoch milliseconds, and a column for each line */
    show([times, ...columns]) {
      data = [times.map((time) => Number(time) / 1000), ...columns]
      if (!plot && box.clientWidth > 0) draw()
      else plot?.setData(data)
      tell()
    },
  }
}

/**
 * @param {Line[]} lines
 * @param {HTMLElement} box
 * @param {() => void} onCursor
 */
function optionsOf(lines, box, onCursor) {
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
    cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } },
    hooks: { setCursor: [onCursor] },
    scales: {
      y: {
        range: (/** @type {any} */ _, /** @type {number} */ __, /** @type {number} */ top) => [
          0,
          top > 0 ? top * 1.1 : 1,
        ],
      },
    },
    axes: [
      {
        ...axis,
        size: 26,
        space: 80,
        values: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits.map(hourOf),
      },
      {
        ...axis,
        size: 62,
        space: 40,
        values: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits.map(show),
      },
    ],
    series: [
      {},
      ...lines.map((line) => ({
        stroke: colour(line.colour),
        width: 1.5,
        points: { show: false },
        ...(line.isFilled ? { fill: colour(`${line.colour}-soft`) } : {}),
      })),
    ],
  }
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
