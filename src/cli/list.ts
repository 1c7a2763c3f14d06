import type { EntrySummary } from '../dashboard/entries.ts'
import type { ShownTag } from '../dashboard/names.ts'
import type { Call, Option } from './command.ts'
import type { Output, Part } from './output.ts'
import { styled } from './output.ts'
import type { Target } from './targets/target.ts'
import { count, duration, size } from './text.ts'

/** The options of commands that list something. */
export const LIST_OPTIONS: Readonly<Record<string, Option>> = {
  limit: { type: 'string', short: 'n', value: 'N', about: 'how many at the most; default 50' },
  all: { type: 'boolean', about: 'all of them, however long that takes' },
}

/** What was found, and whether there is more. */
export interface Listed<V> {
  readonly items: readonly V[]
  readonly isAll: boolean
}

const MOST_ON_PAGE = 500

/** Reads page after page of a list, as far as was asked for. Throws a `Failure`. */
export async function list<V>(
  { given, out, stop }: Call,
  target: Target,
  path: string,
  query: Readonly<Record<string, string>>,
): Promise<Listed<V>> {
  const most = given.is('all') ? Number.POSITIVE_INFINITY : given.number('limit', 50)
  const items: V[] = []
  let isAll = false
  for await (const page of pages<V>(target, path, query, () => most - items.length)) {
    items.push(...page.items)
    isAll = page.isLast
    if (isAll || stop.aborted || items.length >= most) break
    out.progress(`${count(items.length)} found so far`)
  }
  out.endProgress()
  return { items: items.slice(0, most), isAll }
}

/** The pages of a list. `room` says how many more are wanted. */
export async function* pages<V>(
  target: Target,
  path: string,
  query: Readonly<Record<string, string>>,
  room: () => number = () => MOST_ON_PAGE,
): AsyncGenerator<{ items: readonly V[]; isLast: boolean }> {
  let after: string | undefined
  do {
    const limit = String(Math.min(MOST_ON_PAGE, Math.max(1, room())))
    const page = (await target.read(path, { ...query, limit, ...(after === undefined ? {} : { after }) })) as Record<
      string,
      unknown
    >
    after = page.next as string | undefined
    yield { items: page[path.slice('/api/'.length)] as readonly V[], isLast: after === undefined }
  } while (after !== undefined)
}

/** Says that there is more than is shown. */
export function sayMore({ isAll, items }: Listed<unknown>, out: Output): void {
  if (!isAll) out.note(`There may be more than these ${count(items.length)}: --limit N, or --all.`)
}

/** Writes a table of entries. */
export function showEntries(entries: readonly EntrySummary[], out: Output): void {
  out.table(
    [
      { title: 'KEY', isCut: true },
      { title: 'STATUS', isRight: true },
      { title: 'STATE' },
      { title: 'AGE', isRight: true },
      { title: 'TTL', isRight: true },
      { title: 'SIZE', isRight: true },
      { title: 'TAGS', isCut: true },
    ],
    entries.map((entry) => [
      entry.key,
      String(entry.status),
      stateOf(entry),
      duration(entry.age),
      duration(entry.ttl),
      size(entry.size),
      tagsOf(entry.tags, 'tag').join(' '),
    ]),
  )
}

/** The names of tags of one kind. */
export function tagsOf(tags: readonly ShownTag[], kind: ShownTag['kind']): string[] {
  return tags.filter((tag) => tag.kind === kind).map(({ name }) => name)
}

/** How an entry stands. */
export function stateOf({ state }: Pick<EntrySummary, 'state'>): Part {
  return state === 'fresh' ? styled('green', state) : styled(state === 'purged' ? 'red' : 'yellow', state)
}
