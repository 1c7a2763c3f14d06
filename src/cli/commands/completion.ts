import type { Command } from '../command.ts'
import { completionFor, SHELLS } from '../completion.ts'
import { EXIT, misused } from '../exit.ts'

/** The command that completes the others, and itself. */
export function completionOf(others: readonly Command[]): Command {
  const completion: Command = {
    name: 'completion',
    summary: 'a script that has your shell complete commands and options',
    takes: '<shell>',
    least: 1,
    most: 1,
    choices: SHELLS,
    about: 'Writes a script for bash, zsh or fish.',
    options: {},
    examples: [
      ['source <(tagcache completion bash)', 'in ~/.bashrc'],
      ['source <(tagcache completion zsh)', 'in ~/.zshrc, behind compinit'],
      ['tagcache completion fish > ~/.config/fish/completions/tagcache.fish', 'once'],
    ],
    hasTarget: false,
    run({ given, out }) {
      const shell = SHELLS.find((name) => name === given.arguments[0])
      if (!shell) throw misused(`There is completion for ${SHELLS.join(', ')}; not for ${given.arguments[0]}.`)
      out.verbatim(completionFor(shell, [...others, completion]))
      return EXIT.done
    },
  }
  return completion
}
