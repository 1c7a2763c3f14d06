import { normaliseQuery } from '../core/key.ts'
import type { Reason } from '../core/reasons.ts'
import { namesCarried, type TagList } from '../core/tags.ts'
import { uriName } from '../core/uri.ts'
import { parseGroups } from '../http/cache-groups.ts'
import { combined, type Fields } from '../http/fields.ts'
import { formatTags, TAG_FIELDS } from '../http/tag-fields.ts'
import type { ResolvedRoute } from '../options/route.ts'
import { askedUri, type Call, routeName, type Visit } from '../visit.ts'
import type { Flow } from './flow.ts'
import type { Run, Tagging } from './run.ts'

/** Adds tags to a run. Throws `ERR_TAGCACHE_TAG`. */
export function addTags(flow: Flow, run: Run, tags: TagList): void {
  for (const name of namesCarried(tags)) run.tags.add(flow.tagKey(name))
}

/** Lets an inner layer's options count for a run that an outer one began. */
export function refine(flow: Flow, run: Run, route: ResolvedRoute, call: Call): void {
  run.route = route
  run.call = call
  expectTags(flow, run)
}

/** Takes down the tags that can be told before the handler runs, for those who come meanwhile. */
export function expectTags(flow: Flow, run: Run): void {
  run.expectedTags.add(uriTag(flow, run.visit))
  try {
    for (const name of askTags(flow, run)) run.expectedTags.add(name)
  } catch {
    // Most tag functions look at the request alone. Others fail here, or say something else later: then that counts.
  }
}

function askTags(flow: Flow, run: Run): string[] {
  return run.route.tags.flatMap((source) => {
    const tags = typeof source === 'function' ? (run.call(source) as TagList) : source
    if (tags instanceof Promise) tags.catch(() => {})
    return namesCarried(tags).map((name) => flow.tagKey(name))
  })
}

/** Takes down the tags, those of the response's own field (RFC 9875, 2) among them; or gives the reason why they are not known. */
export function collectTags(flow: Flow, run: Run, fields: Fields): Reason | undefined {
  try {
    for (const name of askTags(flow, run)) run.tags.add(name)
    if (fields['cache-groups'] !== undefined) addTags(flow, run, parseGroups(combined(fields, 'cache-groups')))
    return undefined
  } catch (error) {
    flow.warn('TAGCACHE_TAGS_FAILED', routeName(run.visit), error)
    return 'tags-failed'
  }
}

/**
 * What an entry carries so that its URI can be purged (RFC 9111, 4.4).
 * @param response its fields, where they are known
 */
export function uriTag(flow: Flow, { target, route }: Visit, response: Fields = {}): string {
  const [path, query] = askedUri(target)
  // What answers for several queries is purged by a write to any of them.
  const isForOne = route.query === true && route.key === undefined && response['no-vary-search'] === undefined
  const host = route.host === true ? target.host : undefined
  return flow.backendName(uriName(host, path, isForOne ? normaliseQuery(query) : undefined))
}

/** The fields that no response of the route has, whether it is stored or not. */
export function withheldFields({ tagField }: ResolvedRoute): readonly string[] {
  return tagField === false ? TAG_FIELDS : []
}

/** How clients are told the tags of a response, where its route says so. */
export function taggingOf(flow: Flow, { tagField }: ResolvedRoute, tags: Iterable<string>): Tagging | undefined {
  if (tagField === undefined) return undefined
  if (tagField === false) return { remove: TAG_FIELDS, set: [] }
  const names = flow.tagNames(tags)
  const value = formatTags(tagField, names)
  if (names.length > 0 && value === undefined) flow.warn('TAGCACHE_TAGS_TOO_LONG')
  return { remove: TAG_FIELDS, set: value === undefined ? [] : [[tagField, value]] }
}
