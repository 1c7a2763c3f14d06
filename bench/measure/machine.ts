import { execFileSync, spawnSync } from 'node:child_process'
import { availableParallelism, cpus } from 'node:os'

// The machine, and who runs on which of its cores

const hasTaskset = spawnSync('taskset', ['--version']).error === undefined
const cores = hasTaskset ? allowedCores() : []

/** Whether what is measured has a core for itself. */
export const isPinned = cores.length > 1

/** Keeps this process, and what it starts, off the core of what is measured. */
export function stepAside(): void {
  if (isPinned) execFileSync('taskset', ['-a', '-c', '-p', cores.slice(1).join(','), String(process.pid)])
}

/** A command that runs on the core of what is measured. */
export function onOwnCore(command: readonly string[]): [file: string, ...args: string[]] {
  return onCores(cores.slice(0, 1), command)
}

/** A command that runs on all cores again, where there is no load beside it. */
export function onAllCores(command: readonly string[]): [file: string, ...args: string[]] {
  return onCores(cores, command)
}

/** The machine in a line. */
export function describeMachine(): string {
  const model = cpus()[0]?.model.trim() ?? 'CPU'
  return `${model} × ${cores.length || availableParallelism()}, Node ${process.version}`
}

/** How the work is spread, in a line. */
export function describePinning(): string {
  if (isPinned) return `what is measured has core ${cores[0]}, the load cores ${cores.slice(1).join(', ')}`
  return hasTaskset ? 'one core for all' : 'cores are shared: there is no taskset'
}

function onCores(some: readonly number[], command: readonly string[]): [file: string, ...args: string[]] {
  const bound = isPinned ? ['taskset', '-c', some.join(','), ...command] : [...command]
  return bound as [string, ...string[]]
}

function allowedCores(): number[] {
  const told = execFileSync('taskset', ['-c', '-p', String(process.pid)], { encoding: 'utf8' })
  return told
    .slice(told.lastIndexOf(':') + 1)
    .split(',')
    .flatMap((part) => {
      const [first = 0, last = first] = part.trim().split('-').map(Number)
      return Array.from({ length: last - first + 1 }, (_, at) => first + at)
    })
}
