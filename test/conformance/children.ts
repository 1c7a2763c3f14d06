import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

/** A process that runs a file beside this one; it ends with its parent, and tells one thing. */
export interface Child<T> {
  readonly told: Promise<T>
  /** Rejects when the process ends. */
  readonly ended: Promise<never>
  stop(): void
}

export function start<T>(file: string, argument: string, prints: boolean): Child<T> {
  const child = fork(fileURLToPath(new URL(file, import.meta.url)), [argument], {
    execArgv: ['--import', 'tsx', '--no-warnings'],
    stdio: ['ignore', prints ? 'inherit' : 'ignore', 'inherit', 'ipc'],
  })
  const ended = ending(child, file)
  return { told: Promise.race([message<T>(child), ended]), ended, stop: () => child.kill() }
}

function message<T>(child: ChildProcess): Promise<T> {
  return new Promise((resolve) => child.once('message', (told) => resolve(told as T)))
}

function ending(child: ChildProcess, file: string): Promise<never> {
  const ended = new Promise<never>((_, reject) => {
    child.once('error', reject)
    child.once('exit', (code, signal) => reject(new Error(`${file} has ended with ${signal ?? code}`)))
  })
  // Every process ends sometime, and nobody may be waiting for it.
  ended.catch(() => {})
  return ended
}
