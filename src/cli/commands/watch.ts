import type { Command } from '../command.ts'
import { EXIT, misused } from '../exit.ts'
import { type Output, type Part, styled } from '../output.ts'
import type { SecondSeen, Seen } from '../targets/target.ts'
import { moment } from '../text.ts'
import { sayWhoseEntries, whoseJson } from '../whose.ts'

export const watch: Command = {
  name: 'watch',
  summary: 'purges, faults and warnings as they happen',
  about:
    'Tells what happens beside requests, until Ctrl-C ends it. Of an application it tells purges with who asked, the state of the backend, faults, failures and warnings of that one process, and with --requests what each second of requests came to. Over Redis it tells the purges of all processes, as they are told each other, without who asked; and of processes that publish their numbers, every few seconds, who has come or gone, how their backend does and how many faults it had. Everything that a process tells is seen with --url alone.',
  options: { requests: { type: 'boolean', about: 'also what the requests of each second came to' } },
  examples: [
    ['tagcache watch --url http://localhost:3000/cache', 'what happens'],
    ['tagcache watch --redis redis://localhost:6379', 'what all processes purge, and who is in trouble'],
    ['tagcache watch --json | jq -r \'select(.kind == "purge") | .tags[]?\'', 'purged tags, one a line'],
  ],
  hasTarget: true,
  isEndless: true,
  async run({ given, out, stop, target: open }) {
    const target = await open()
    const whose = await target.whose()
    if (given.is('requests') && whose.kind === 'store')
      throw misused(
        'Redis knows of no requests.',
        'Watch a running application: --url http://localhost:3000/cache --requests',
      )
    await target.watch(
      {
        began: () => begin(out, whoseJson(whose, target), sayWhoseEntries(whose, target)),
        happened: (seen) => (out.isJson ? out.jsonLine(seen) : out.line(...lineOf(seen))),
        second(step) {
          if (given.is('requests')) showSecond(step, out)
        },
        lost: (why) => out.note(`The connection is lost: ${why}. Trying again.`),
      },
      stop,
    )
    return EXIT.done
  },
}

function begin(out: Output, whose: object, said: string): void {
  if (out.isJson) out.jsonLine({ time: Date.now(), kind: 'watching', ...whose })
  else out.line(styled('bold', said), styled('dim', ', from now on'))
}

function lineOf(seen: Seen): Part[] {
  const { time, kind, count = 1, isDelivered = true, by, node } = seen
  const details = [
    what(seen),
    ...(isDelivered ? [] : ['not delivered yet']),
    ...(by === undefined ? [] : [`by ${by}`]),
    ...(node === undefined ? [] : [`on ${node}`]),
    ...(count > 1 ? [`${count} times`] : []),
  ]
  const isTrouble =
    kind === 'fault' || kind === 'failure' || !isDelivered || /^(?:paused|behind|near-lost)$/.test(seen.what ?? '')
  const name = kind.padEnd(8)
  return [
    styled('dim', moment(time)),
    '  ',
    isTrouble ? styled('red', name) : name,
    ` ${details.filter(Boolean).join(', ')}`,
  ]
}

function what({ kind, tags = [], routes = [], uris = [], keys = [], more = 0, what, message }: Seen): string {
  if (kind === 'clear') return 'everything'
  const named = [
    ...tags.map((tag) => `tag ${tag}`),
    ...routes.map((route) => `route ${route}`),
    ...uris.map((uri) => `uri ${uri.replace(/^uri\//, '')}`),
    ...keys.map((key) => `entry ${key}`),
    ...(more > 0 ? [`${more} more`] : []),
  ]
  return [named.join(', '), what, message].filter(Boolean).join(': ')
}

const OUTCOMES = ['hits', 'stale', 'collapsed', 'misses', 'bypasses'] as const

function showSecond(step: SecondSeen, out: Output): void {
  const counts = OUTCOMES.map((name) => [name, step[name] ?? 0] as const)
  if (counts.every(([, number]) => number === 0)) return
  if (out.isJson) return out.jsonLine({ time: step.time, kind: 'requests', ...Object.fromEntries(counts) })
  const some = counts.filter(([, number]) => number > 0).map(([name, number]) => `${number} ${name}`)
  out.line(styled('dim', moment(step.time)), `  requests ${some.join(', ')}`)
}
