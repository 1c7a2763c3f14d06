import { parseArgs } from 'node:util'
import { type Command, type Given, optionsOf } from './command.ts'
import { misused } from './exit.ts'

/** Reads what stands behind a command's name. Throws a `Failure`. */
export function readGiven(command: Command, args: readonly string[]): Given {
  const known = optionsOf(command)
  const { values, positionals, tokens } = parse(command, args)
  for (const [name, value] of Object.entries(values)) {
    const { choices, value: stands } = known[name]!
    if (stands === 'N') checkNumber(command, name, value)
    if (choices && !choices.includes(String(value)))
      throw misused(`--${name} is one of ${choices.join(', ')}; not ${String(value)}.`, helpOf(command))
  }
  if (!values.help) checkCount(command, positionals)
  return {
    text: (name) => values[name] as string | undefined,
    texts: (name) => (values[name] ?? []) as string[],
    is: (name) => values[name] === true,
    number: (name, otherwise) => (values[name] === undefined ? otherwise : Number(values[name])),
    order: tokens.flatMap((token) =>
      token.kind === 'option' && typeof token.value === 'string' ? [[token.name, token.value] as const] : [],
    ),
    arguments: positionals,
  }
}

function parse(command: Command, args: readonly string[]) {
  const options = Object.fromEntries(
    Object.entries(optionsOf(command)).map(([name, { type, short, multiple = false }]) => [
      name,
      { type, multiple, ...(short === undefined ? {} : { short }) },
    ]),
  )
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, tokens: true })
  } catch (error) {
    throw misused(`tagcache ${command.name}: ${(error as Error).message}`, helpOf(command))
  }
}

function checkNumber(command: Command, name: string, value: unknown): void {
  const number = Number(value)
  if (Number.isSafeInteger(number) && number > 0) return
  throw misused(`--${name} takes a positive whole number; not ${String(value)}.`, helpOf(command))
}

function checkCount(command: Command, { length }: readonly string[]): void {
  const { least = 0, most = 0, takes = 'nothing' } = command
  if (length < least) throw misused(`tagcache ${command.name} takes ${takes}.`, helpOf(command))
  if (length > most) throw misused(`tagcache ${command.name} takes ${takes}, and no more.`, helpOf(command))
}

function helpOf({ name }: Command): string {
  return `See: tagcache ${name} --help`
}
