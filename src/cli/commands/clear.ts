import { createInterface } from 'node:readline'
import type { Command } from '../command.ts'
import { EXIT, misused } from '../exit.ts'
import type { Target } from '../targets/target.ts'
import { harmless } from '../text.ts'

export const clear: Command = {
  name: 'clear',
  summary: 'purge everything',
  about:
    'Purges everything that is stored or being computed, for all processes that share the backend. It asks first; a script says --yes. After it each request runs its handler once, so choose the hour.',
  options: { yes: { type: 'boolean', short: 'y', about: 'do not ask' } },
  examples: [
    ['tagcache clear --url http://localhost:3000/cache', 'asks, and purges'],
    ['tagcache clear --yes --redis redis://localhost:6379 --namespace shop', 'in a script'],
  ],
  hasTarget: true,
  async run({ given, out, target: open }) {
    const isAsked = !given.is('yes')
    if (isAsked && !process.stdin.isTTY)
      throw misused('Nobody can be asked here: say --yes if everything is to be purged.')
    const target = await open()
    if (isAsked && !(await confirm(target))) {
      out.note('Nothing was purged.')
      return EXIT.nothing
    }
    const { isDelivered } = await target.purge({ everything: true })
    if (out.isJson) out.json({ target: target.name, isDelivered, everything: true })
    else if (isDelivered) out.line(`Purged everything in ${target.name}.`)
    if (!isDelivered) out.note(`Not delivered: everything in ${target.name}. ${target.undelivered}`)
    return isDelivered ? EXIT.done : EXIT.undelivered
  },
}

// Whoever ends the input, or types Ctrl-C, has not said yes.
function confirm({ name }: Target): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  return new Promise((resolve) => {
    terminal.once('close', () => resolve(false))
    terminal.question(harmless(`Purge everything in ${name}? Say yes: `), (answer) => {
      resolve(answer.trim().toLowerCase() === 'yes')
      terminal.close()
    })
  })
}
