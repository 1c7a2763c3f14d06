import { type Command, type Option, optionsOf } from './command.ts'

/** The shells for which there is a completion. */
export const SHELLS = ['bash', 'zsh', 'fish'] as const

type Shell = (typeof SHELLS)[number]

/** A script that has a shell complete these commands. */
export function completionFor(shell: Shell, commands: readonly Command[]): string {
  return { bash, zsh, fish }[shell](commands)
}

function bash(commands: readonly Command[]): string {
  const choices = new Map(
    commands.flatMap((command) =>
      Object.entries(optionsOf(command)).flatMap(([name, { choices }]) => (choices ? [[name, choices] as const] : [])),
    ),
  )
  const valued = new Set(
    commands.flatMap((command) =>
      Object.entries(optionsOf(command)).flatMap(([name, option]) =>
        option.type === 'string' ? flagsOf(name, option) : [],
      ),
    ),
  )
  return `# bash completion of tagcache: source it, or: tagcache completion bash > /etc/bash_completion.d/tagcache
_tagcache() {
  local current="\${COMP_WORDS[COMP_CWORD]}" previous="\${COMP_WORDS[COMP_CWORD-1]}" command="" words="" at
  for ((at = 1; at < COMP_CWORD; at++)); do
    case "\${COMP_WORDS[at]}" in
      ${commands.map(({ name }) => name).join('|')}) command="\${COMP_WORDS[at]}"; break ;;
    esac
  done
  case "$previous" in
${[...choices].map(([name, values]) => `    --${name}) COMPREPLY=($(compgen -W '${values.join(' ')}' -- "$current")); return ;;`).join('\n')}
    ${[...valued].filter((flag) => !choices.has(flag.slice(2))).join('|')}) return ;;
  esac
  case "$command" in
    '') words='${commands.map(({ name }) => name).join(' ')} --help --version' ;;
${commands.map((command) => `    ${command.name}) words='${wordsOf(command).join(' ')}' ;;`).join('\n')}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -F _tagcache tagcache
`
}

function zsh(commands: readonly Command[]): string {
  const cases = commands.map((command) => {
    const specs = Object.entries(optionsOf(command)).map(([name, option]) => `'${zshSpec(name, option)}'`)
    const rest = command.choices ? [`'1:${command.takes}:(${command.choices.join(' ')})'`] : []
    return `    ${command.name}) _arguments ${[...specs, ...rest].join(' ')} ;;`
  })
  return `#compdef tagcache
# zsh completion of tagcache: put it as _tagcache into a directory of $fpath, or source it
_tagcache() {
  local -a commands=(
${commands.map(({ name, summary }) => `    '${name}:${quoted(summary)}'`).join('\n')}
  )
  if (( CURRENT == 2 )); then
    _describe 'command' commands
    return
  fi
  local command=$words[2]
  shift words; (( CURRENT-- ))
  case $command in
${cases.join('\n')}
  esac
}
compdef _tagcache tagcache
`
}

function zshSpec(name: string, { about, value, multiple, choices, type }: Option): string {
  const end = type === 'boolean' ? '' : `:${spelt(value ?? 'value')}:${choices ? `(${choices.join(' ')})` : ''}`
  return `${multiple ? '*' : ''}--${name}[${spelt(about)}]${end}`
}

// Colons and brackets are its syntax.
function spelt(text: string): string {
  return quoted(text.replace(/[[\]:]/g, '\\$&'))
}

function fish(commands: readonly Command[]): string {
  const lines = commands.flatMap((command) => {
    const seen = `-n '__fish_seen_subcommand_from ${command.name}'`
    const options = Object.entries(optionsOf(command)).map(([name, { short, type, about, choices }]) => {
      const letter = short === undefined ? '' : ` -s ${short}`
      const value = type === 'boolean' ? '' : choices ? ` -x -a '${choices.join(' ')}'` : ' -x'
      return `complete -c tagcache ${seen} -l ${name}${letter}${value} -d '${fishQuoted(about)}'`
    })
    const values = command.choices ? [`complete -c tagcache ${seen} -a '${command.choices.join(' ')}'`] : []
    return [
      `complete -c tagcache -n __fish_use_subcommand -a ${command.name} -d '${fishQuoted(command.summary)}'`,
      ...options,
      ...values,
    ]
  })
  return `# fish completion of tagcache: tagcache completion fish > ~/.config/fish/completions/tagcache.fish
complete -c tagcache -f
${lines.join('\n')}
`
}

function wordsOf(command: Command): string[] {
  return [...(command.choices ?? []), ...Object.keys(optionsOf(command)).map((name) => `--${name}`)]
}

function flagsOf(name: string, { short }: Option): string[] {
  return [`--${name}`, ...(short === undefined ? [] : [`-${short}`])]
}

function quoted(text: string): string {
  return text.replaceAll("'", "'\\''")
}

function fishQuoted(text: string): string {
  return text.replace(/['\\]/g, '\\$&')
}
