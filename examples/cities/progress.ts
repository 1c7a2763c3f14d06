/** How far the set-up is: a bar that moves in a terminal, a line for each new step elsewhere. */
import type { Progress } from './database.ts'

const barWidth = 30

export function createProgress(): { show: (progress: Progress) => void; stop: () => void } {
  return process.stdout.isTTY === true ? createBar() : createLog()
}

/** Redrawn five times a second, so that a long step is seen to be alive. */
function createBar() {
  const startTime = performance.now()
  let current: Progress = { label: 'starting', done: 0 }
  const draw = () => {
    const filled = Math.round(current.done * barWidth)
    const bar = '█'.repeat(filled) + '░'.repeat(barWidth - filled)
    const seconds = Math.floor((performance.now() - startTime) / 1000)
    process.stdout.write(`\r\x1b[2K  ${bar} ${formatShare(current)}  ${current.label}, ${seconds} s`)
  }
  const timer = setInterval(draw, 200)
  const show = (progress: Progress) => {
    current = progress
    draw()
  }
  const stop = () => {
    clearInterval(timer)
    process.stdout.write('\n')
  }
  return { show, stop }
}

function createLog() {
  let lastLabel = ''
  const show = (progress: Progress) => {
    if (progress.label === lastLabel) return
    lastLabel = progress.label
    process.stdout.write(`  ${formatShare(progress)}  ${progress.label}\n`)
  }
  return { show, stop: () => {} }
}

function formatShare({ done }: Progress): string {
  return `${String(Math.round(done * 100)).padStart(3)} %`
}
