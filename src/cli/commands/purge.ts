import { createInterface } from 'node:readline'
import type { PurgeResult } from '../../dashboard/purge.ts'
import type { Call, Command, Given } from '../command.ts'
import { EXIT, type ExitCode, misused } from '../exit.ts'
import type { Purging, Target } from '../targets/target.ts'
import { count } from '../text.ts'

const TAGS_AT_ONCE = 500

export const purge: Command = {
  name: 'purge',
  summary: 'purge tags, routes or entries',
  takes: '<tag>…',
  most: Number.POSITIVE_INFINITY,
  about:
    'Purges as a route of the application would: once it has ended with 0, no request that starts afterwards is answered by a response that carries one of those tags and was begun before; not from the store, and not from a computation that is still running. That holds for all processes that share the backend; copies in a near tier of tiered() may outlast it by a second at the very worst, or not at all with `strong` consistency. Tags are what `tagcache tags` lists; {"type": "product", "id": 42} is product:42. An entry (--key) is deleted, which a computation of it may outlast.',
  options: {
    route: {
      type: 'string',
      short: 'r',
      multiple: true,
      value: 'ROUTE',
      about: "all of a route, as 'GET /products/:id'; may be repeated",
    },
    key: { type: 'string', multiple: true, value: 'KEY', about: 'one entry, by its key; may be repeated' },
    stdin: { type: 'boolean', about: 'read more tags from standard input, one a line' },
  },
  examples: [
    ['tagcache purge product:42 products', 'two tags'],
    ["tagcache purge --route 'GET /products/:id'", 'all that a route has given'],
    ['tagcache purge release && echo done', 'in a deploy script: `done` is said only if it has taken effect'],
    ['generate-tags | tagcache purge --stdin', 'as many as one likes'],
  ],
  hasTarget: true,
  async run(call) {
    const tags = [...call.given.arguments, ...(call.given.is('stdin') ? await readTags() : [])]
    const purgings = purgingsOf(tags, call.given)
    const target = await call.target()
    const results: PurgeResult[] = []
    for (const purging of purgings) {
      results.push(await target.purge(purging))
      if (purgings.length > 1) call.out.progress(`${count(results.length)} of ${count(purgings.length)} purges made`)
    }
    call.out.endProgress()
    const missing = call.given
      .texts('key')
      .filter((_, at) => !results.at(at - call.given.texts('key').length)!.isPurged)
    const purged = { tags, routes: call.given.texts('route'), keys: call.given.texts('key') }
    return report(
      call,
      target,
      purged,
      results.every(({ isDelivered }) => isDelivered),
      missing,
    )
  },
}

// Keys come last.
function purgingsOf(tags: readonly string[], given: Given): Purging[] {
  const purgings = [
    ...chunksOf([...new Set(tags)]).map((some) => ({ tags: some })),
    ...given.texts('route').map((route) => ({ route })),
    ...given.texts('key').map((key) => ({ key })),
  ]
  if (purgings.length > 0) return purgings
  throw misused('Say what to purge: tags, --route, or --key.', 'Everything is purged by: tagcache clear')
}

function chunksOf(tags: readonly string[]): string[][] {
  return Array.from({ length: Math.ceil(tags.length / TAGS_AT_ONCE) }, (_, at) =>
    tags.slice(at * TAGS_AT_ONCE, (at + 1) * TAGS_AT_ONCE),
  )
}

async function readTags(): Promise<string[]> {
  const tags: string[] = []
  for await (const line of createInterface({ input: process.stdin })) if (line.trim() !== '') tags.push(line.trim())
  return tags
}

/** What was purged. */
interface Purged {
  readonly tags: readonly string[]
  readonly routes: readonly string[]
  readonly keys: readonly string[]
}

function report(
  { out }: Call,
  target: Target,
  purged: Purged,
  isDelivered: boolean,
  missing: readonly string[],
): ExitCode {
  if (out.isJson) out.json({ target: target.name, isDelivered, ...purged, missing })
  else if (isDelivered) out.line(`Purged ${sayPurged(purged, missing)} in ${target.name}.`)
  for (const key of missing) out.note(`There is no entry of the key ${key}.`)
  if (!isDelivered) out.note(`Not delivered: ${sayPurged(purged, missing)} in ${target.name}. ${target.undelivered}`)
  if (!isDelivered) return EXIT.undelivered
  return missing.length > 0 ? EXIT.nothing : EXIT.done
}

function sayPurged({ tags, routes, keys }: Purged, missing: readonly string[]): string {
  const found = keys.filter((key) => !missing.includes(key))
  const parts = [some('tag', tags), some('route', routes), some('entry', found)].filter(Boolean)
  return parts.join(', ') || 'nothing'
}

const MOST_NAMED = 5

function some(what: string, names: readonly string[]): string {
  if (names.length === 0) return ''
  const plural = what === 'entry' ? 'entries' : `${what}s`
  if (names.length > MOST_NAMED) return `${count(names.length)} ${plural}`
  return `${names.length === 1 ? `the ${what}` : plural} ${names.join(', ')}`
}
