import type { MaybePromise } from '../core/maybe.ts'
import { MAX_TAG_LENGTH } from '../core/tags.ts'
import { TagcacheError } from '../errors.ts'
import type { Flow } from '../flow/flow.ts'
import { purge, purgeEntry, purgeEverything, purgeRoute } from '../flow/purge.ts'
import { textOf } from './body.ts'
import { partsOf } from './entries.ts'
import { Refusal } from './reply.ts'

/** What came of a purge. */
export interface PurgeResult {
  /** Whether there was something to purge, as far as that is known: of an entry. */
  readonly isPurged: boolean
  /** Whether the backend has taken it; else it is kept and delivered later. */
  readonly isDelivered: boolean
}

const WAYS = ['tags', 'route', 'uri', 'key', 'everything'] as const
const MOST_TAGS = 1000
const LONGEST_NAME = 60_000

/** Purges what somebody asks for, by one of five ways, as any write of a route would. Throws a `Refusal`. */
export async function purgeAsked(
  flow: Flow,
  given: Readonly<Record<string, unknown>>,
  by: string,
): Promise<PurgeResult> {
  const ways = WAYS.filter((way) => Object.hasOwn(given, way))
  if (ways.length !== 1)
    throw new Refusal(400, 'bad-value', 'Say one of "tags", "route", "uri", "key" and "everything".')
  const key = textOf({ key: given.key }, 'key', LONGEST_NAME)
  if (key !== undefined) {
    // A key of another cache of the same backend is none here.
    const isPurged = partsOf(flow, key) !== undefined && (await purgeEntry(flow, key, { by }))
    return { isPurged, isDelivered: isPurged || flow.guard.isBehind === false }
  }
  try {
    return { isPurged: true, isDelivered: await purgeMany(flow, given, by) }
  } catch (error) {
    if (error instanceof TagcacheError) throw new Refusal(400, error.code, error.message)
    throw error
  }
}

function purgeMany(flow: Flow, given: Readonly<Record<string, unknown>>, by: string): MaybePromise<boolean> {
  const route = textOf({ route: given.route }, 'route', LONGEST_NAME)
  if (route !== undefined) return purgeRoute(flow, route, { by })
  const uri = textOf({ uri: given.uri }, 'uri', LONGEST_NAME)
  if (uri !== undefined) return purge(flow, [], [`uri/${uri}`], { by })
  if (given.tags !== undefined) return purge(flow, tagsOf(given.tags), [], { by })
  if (given.everything === true) return purgeEverything(flow, { by })
  throw new Refusal(400, 'bad-value', '"everything" has to be true.')
}

function tagsOf(given: unknown): string[] {
  const isList = Array.isArray(given) && given.length > 0 && given.length <= MOST_TAGS
  if (isList && given.every((tag) => typeof tag === 'string' && tag.length <= MAX_TAG_LENGTH)) return given as string[]
  throw new Refusal(400, 'bad-value', `"tags" has to be a list of 1 to ${MOST_TAGS} tags.`)
}
