import type { Lookup, Page, Query } from '../backends/backend.ts'
import type { Flow } from '../flow/flow.ts'
import { type EntrySummary, keyPrefix, partsOf, summarise, variantPrefix } from './entries.ts'
import { type ShownTag, showTag, type TagKind } from './names.ts'
import type { LastPurge, Recorder } from './recorder.ts'
import { Refusal } from './reply.ts'

/** A tag, with what carries it. */
export interface ListedTag extends ShownTag {
  readonly entries: number
  readonly isAtLeast?: boolean
  readonly lastPurge?: LastPurge
}

/** What is asked for of a list. */
export interface ListQuery {
  readonly prefix: string
  readonly after: string | undefined
  readonly limit: number
}

// A backend may give page after page with hardly anything on it; then the rest is for the next time.
const LONGEST_SEARCH = 1000
const MOST_LISTED_BY_TAG = 1000

/** Tags of one kind. Throws a `Refusal` where the backend lists none. */
export async function listTags(
  flow: Flow,
  recorder: Recorder,
  kind: TagKind,
  query: ListQuery,
): Promise<Page<ListedTag>> {
  if (!flow.guard.lists.tags) throw notListed('tags')
  const prefix = flow.backendName(`${kind}/${query.prefix}`)
  return fill(
    { ...query, prefix },
    (asked) => flow.guard.tags(asked),
    (record) => {
      const shown = showTag(flow, record.tag)
      if (!shown) return undefined
      const { entries, isAtLeast, invalidatedTime: time } = record
      const lastPurge = recorder.lastPurge(`${kind}/${shown.name}`) ?? (time === undefined ? undefined : { time })
      return { ...shown, entries, ...(isAtLeast ? { isAtLeast } : {}), ...(lastPurge ? { lastPurge } : {}) }
    },
  )
}

/** Entries by what their keys begin with. Throws a `Refusal` where the backend lists none. */
export async function listEntries(flow: Flow, query: ListQuery): Promise<Page<EntrySummary>> {
  const prefix = flow.backendName(query.prefix)
  return listKeys(flow, { ...query, prefix }, (found) => summarise(flow, found))
}

/** Entries of one route. */
export async function listRoute(
  flow: Flow,
  route: string,
  query: Omit<ListQuery, 'prefix'>,
): Promise<Page<EntrySummary>> {
  return listKeys(flow, { ...query, prefix: keyPrefix(flow, route) }, (found) => {
    const entry = summarise(flow, found)
    return entry?.route === route ? entry : undefined
  })
}

/** Entries that carry a tag, the newest first. */
export async function listTagged(
  flow: Flow,
  tag: string,
  { after, limit }: Omit<ListQuery, 'prefix'>,
): Promise<Page<EntrySummary>> {
  const skip = /^\d+$/.test(after ?? '') ? Math.min(Number(after), MOST_LISTED_BY_TAG) : 0
  const found = (await flow.guard.list(flow.tagKey(tag), skip + limit + 1)) ?? []
  const items = found.slice(skip, skip + limit).flatMap((one) => summarise(flow, one) ?? [])
  const isLast = found.length <= skip + limit || skip + limit >= MOST_LISTED_BY_TAG
  return { items, ...(isLast ? {} : { next: String(skip + limit) }) }
}

/** The other variants of a response; none where the backend cannot tell. */
export async function listVariants(flow: Flow, key: string): Promise<readonly EntrySummary[]> {
  if (!flow.guard.lists.entries) return []
  const prefix = variantPrefix(key)
  const { items } = await listKeys(flow, { prefix, after: undefined, limit: 50 }, (found) => {
    const entry = summarise(flow, found)
    return entry && entry.key !== key && variantPrefix(entry.key) === prefix ? entry : undefined
  })
  return items
}

function listKeys(
  flow: Flow,
  query: ListQuery,
  show: (found: Lookup) => EntrySummary | undefined,
): Promise<Page<EntrySummary>> {
  if (!flow.guard.lists.entries) throw notListed('entries')
  return fill(
    query,
    (asked) => flow.guard.entries(asked),
    (found) => {
      return found.entry && partsOf(flow, found.entry.key) ? show(found) : undefined
    },
  )
}

async function fill<V, S>(
  { prefix, after, limit }: ListQuery,
  ask: (query: Query) => Promise<Page<V> | undefined>,
  show: (item: V) => S | undefined,
): Promise<Page<S>> {
  const items: S[] = []
  const until = performance.now() + LONGEST_SEARCH
  let next = after
  do {
    const asked = { prefix, limit: limit - items.length, ...(next === undefined ? {} : { after: next }) }
    const page = await ask(asked)
    if (!page) throw new Refusal(503, 'backend-away', 'The backend does not answer.')
    items.push(...page.items.flatMap((item) => show(item) ?? []))
    next = page.next
  } while (next !== undefined && items.length < limit && performance.now() < until)
  return { items, ...(next === undefined ? {} : { next }) }
}

function notListed(what: string): Refusal {
  return new Refusal(501, 'not-listed', `This backend cannot list its ${what}.`)
}
