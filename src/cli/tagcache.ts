#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import type { Call, Command, Given } from './command.ts'
import { COMMANDS } from './commands.ts'
import { EXIT, type ExitCode, Failure, misused } from './exit.ts'
import { readGiven } from './given.ts'
import { generalHelp, helpFor } from './help.ts'
import { Output } from './output.ts'
import { openTarget } from './targets/open.ts'
import type { Target } from './targets/target.ts'
import { harmless } from './text.ts'

// A fault of this program itself (EX_SOFTWARE).
const BROKEN = 70
const WIDEST_HELP = 100
// What was left open ends with the process, if it does not end by itself.
const LEAVE_AFTER = 500

tellWarnings()
// Standard output has the answer, and nothing that a library has to say (as redis 5 of Sentinels).
console.log = () => {}
process.exitCode = await main(process.argv.slice(2))
setTimeout(() => process.exit(), LEAVE_AFTER).unref()

// What is wrong with a set-up is told; what Node has to say of the libraries in use is of no use here.
function tellWarnings(): void {
  process.removeAllListeners('warning')
  process.on('warning', ({ name, message }) => {
    if (name === 'TagcacheWarning') process.stderr.write(harmlessLines(`tagcache: warning: ${message}`))
  })
}

async function main(args: readonly string[]): Promise<number> {
  try {
    return await dispatch(args)
  } catch (error) {
    if (!(error instanceof Failure)) {
      process.stderr.write(harmlessLines(`tagcache has failed, by its own fault: ${(error as Error)?.stack ?? error}`))
      return BROKEN
    }
    process.stderr.write(
      harmlessLines(`tagcache: ${error.message}${error.hint === undefined ? '' : `\n${error.hint}`}`),
    )
    return error.exit
  }
}

async function dispatch([first, ...rest]: readonly string[]): Promise<ExitCode> {
  if (first === '--version' || first === '-v') return write(`${version()}\n`)
  if (first === '--help' || first === '-h') return write(generalHelp(COMMANDS))
  if (first === 'help')
    return write(rest[0] === undefined ? generalHelp(COMMANDS) : helpFor(find(rest[0]), widthOfHelp()))
  if (first === undefined) throw misused('Say what to do.', generalHelp(COMMANDS).trimEnd())
  if (first.startsWith('-')) throw misused(`The command comes first; ${first} is none.`, 'See: tagcache --help')
  const command = find(first)
  const given = readGiven(command, rest)
  return given.is('help') ? write(helpFor(command, widthOfHelp())) : run(command, given)
}

async function run(command: Command, given: Given): Promise<ExitCode> {
  const out = new Output(given.is('json'))
  const stop = stopOf(command, out)
  let opened: Target | undefined
  const call: Call = {
    given,
    out,
    stop,
    async target() {
      opened = await openTarget(given)
      return opened
    },
  }
  try {
    return await command.run(call)
  } finally {
    out.endProgress()
    await opened?.close()
  }
}

// What goes on until it is ended is ended by the user in the usual way, and that is no failure.
function stopOf({ isEndless }: Command, out: Output): AbortSignal {
  const asked = new AbortController()
  if (isEndless) for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => asked.abort())
  return AbortSignal.any([asked.signal, out.readers.signal])
}

function find(name: string): Command {
  const command = COMMANDS.find((one) => one.name === name)
  if (command) return command
  throw misused(
    `There is no command ${name}.`,
    `There are: ${COMMANDS.map((one) => one.name).join(', ')}. See: tagcache --help`,
  )
}

function write(text: string): ExitCode {
  process.stdout.on('error', () => {})
  process.stdout.write(text)
  return EXIT.done
}

function widthOfHelp(): number {
  return Math.min(process.stdout.columns || WIDEST_HELP, WIDEST_HELP)
}

function version(): string {
  return JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')).version
}

function harmlessLines(text: string): string {
  return `${text.split('\n').map(harmless).join('\n')}\n`
}
