import { COMMON_OPTIONS, type Command, type Option, TARGET_OPTIONS } from './command.ts'

const INTRODUCTION = `tagcache sees what a cache does, asks it why, and purges by hand.

Usage: tagcache <command> [options]`

const WHERE = `Of which cache:
  --url URL      the admin routes of a running application: where dashboard() is mounted.
                 A token for byToken() is taken from TAGCACHE_TOKEN.
  --redis URL    a Redis that caches share, with --namespace as given to redis().
                 Several nodes of a Cluster with commas in between; Sentinels as
                 redis+sentinel://host-1:26379,host-2:26379/mymaster.
                 Needs ioredis or redis to be installed.
  Or set TAGCACHE_URL or TAGCACHE_REDIS_URL once for all.`

const EXITS = `Exit codes:
  0  done
  1  there is nothing like it: no such entry, no numbers, a URL that reaches no cached()
  2  asked for in a way that cannot be, or of a target that cannot do it
  3  the application or Redis cannot be reached, or is none
  4  it is there, and refuses or has failed
  5  a purge has not taken effect everywhere`

/** The help for everything. */
export function generalHelp(commands: readonly Command[]): string {
  const width = Math.max(...commands.map((command) => usageOf(command).length))
  const list = commands.map((command) => `  ${usageOf(command).padEnd(width)}  ${command.summary}`)
  return `${INTRODUCTION}

Commands:
${list.join('\n')}

${WHERE}

Examples:
  tagcache stats --url http://localhost:3000/cache
  tagcache explain /products/1 --url http://localhost:3000/cache
  tagcache purge product:42 --redis redis://localhost:6379

${EXITS}

--json gives JSON for scripts. More of a command: tagcache <command> --help
`
}

/** The help for one command. */
export function helpFor(command: Command, width: number): string {
  const examples = command.examples.flatMap(([line, means]) => [`  # ${means}`, `  ${line}`, ''])
  const sections = [
    `tagcache ${command.name}: ${command.summary}`,
    `Usage: tagcache ${usageOf(command)} [options]`,
    wrapped(command.about, width),
    ...(Object.keys(command.options).length > 0 ? [`Options:\n${optionLines(command.options, width)}`] : []),
    ...(command.hasTarget ? [`Of which cache:\n${optionLines(TARGET_OPTIONS, width)}`] : []),
    `Always:\n${optionLines(COMMON_OPTIONS, width)}`,
    `Examples:\n${examples.join('\n').trimEnd()}`,
    ...(command.hasTarget ? [EXITS] : []),
  ]
  return `${sections.join('\n\n')}\n`
}

function usageOf({ name, takes }: Command): string {
  return takes === undefined ? name : `${name} ${takes}`
}

function optionLines(options: Readonly<Record<string, Option>>, width: number): string {
  const flags = Object.entries(options).map(([name, { short, value }]) => {
    const long = `--${name}${value === undefined ? '' : ` ${value}`}`
    return short === undefined ? `    ${long}` : `-${short}, ${long}`
  })
  const column = Math.max(...flags.map((flag) => flag.length)) + 4
  const abouts = Object.values(options).map(({ about }) => wrapped(about, Math.max(30, width - column)))
  return flags
    .map((flag, at) => `  ${flag.padEnd(column - 2)}${abouts[at]!.replaceAll('\n', `\n${' '.repeat(column)}`)}`)
    .join('\n')
}

function wrapped(text: string, width: number): string {
  const lines = ['']
  for (const word of text.split(' ')) {
    const last = lines.at(-1)!
    if (last !== '' && last.length + 1 + word.length > width) lines.push(word)
    else lines[lines.length - 1] = last === '' ? word : `${last} ${word}`
  }
  return lines.join('\n')
}
