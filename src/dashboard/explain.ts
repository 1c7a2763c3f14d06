import type { Cache } from '../cache.ts'
import type { Comparison, ExplainedTag, Explanation } from '../core/explanation.ts'
import { TagcacheError } from '../errors.ts'
import { textOf } from './body.ts'
import { showTag } from './names.ts'
import type { LastPurge, Recorder } from './recorder.ts'
import { Refusal } from './reply.ts'

/** A request to be explained. */
export interface AskedRequest {
  readonly method: string
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

const LONGEST_URL = 16_000
const MOST_FIELDS = 100

/** Whether this cache can explain: one without an adapter has no application to ask. */
export function canExplain(cache: Cache): boolean {
  return cache.flow.ask !== undefined
}

/** What an explained entry carries, with when that was purged last, as far as it was seen. */
type PurgedTag = ExplainedTag & { readonly lastPurge?: LastPurge }

/** What a cache says of one request, or of two. Throws a `Refusal`. */
export async function explain(
  cache: Cache,
  recorder: Recorder,
  given: Readonly<Record<string, unknown>>,
): Promise<Explanation | Comparison> {
  const request = requestOf(given.request)
  const other = given.other === undefined || given.other === null ? undefined : requestOf(given.other)
  try {
    if (!other) return withPurges(cache, recorder, await cache.explain(request))
    const { first, second, ...more } = await cache.explain(request, other)
    return { ...more, first: withPurges(cache, recorder, first), second: withPurges(cache, recorder, second) }
  } catch (error) {
    if (error instanceof TagcacheError) throw new Refusal(400, error.code, error.message)
    throw error
  }
}

function withPurges({ flow }: Cache, recorder: Recorder, explained: Explanation): Explanation {
  const { entry } = explained
  if (!entry) return explained
  const tags = entry.tags.map((tag): PurgedTag => {
    // What the cache has added is told as the backend knows it.
    const shown = tag.kind === 'tag' ? tag : showTag(flow, tag.name)
    const lastPurge = shown && recorder.lastPurge(`${shown.kind}/${shown.name}`)
    return lastPurge ? { ...tag, lastPurge } : tag
  })
  return { ...explained, entry: { ...entry, tags } }
}

function requestOf(given: unknown): AskedRequest {
  if (typeof given !== 'object' || given === null)
    throw new Refusal(400, 'bad-value', '"request" has to be { method, url, headers }.')
  const fields = given as Record<string, unknown>
  const url = textOf(fields, 'url', LONGEST_URL)
  const method = textOf(fields, 'method', 20) ?? 'GET'
  if (url === undefined || !/^(?:\/|https?:\/\/)[!-~\u0080-\uffff]*$/.test(url))
    throw new Refusal(400, 'bad-value', '"url" has to be a path, or an http URL.')
  if (!/^[\w!#$%&'*+.^`|~-]+$/.test(method)) throw new Refusal(400, 'bad-value', '"method" is none.')
  return { method: method.toUpperCase(), url, headers: headersOf(fields.headers ?? {}) }
}

function headersOf(given: unknown): Readonly<Record<string, string>> {
  const fields = Object.entries(Object(given) as Record<string, unknown>)
  const isSound = fields.every(([name, value]) => /^[\w!#$%&'*+.^`|~-]+$/.test(name) && isValue(value))
  if (!isSound || fields.length > MOST_FIELDS)
    throw new Refusal(400, 'bad-value', '"headers" has to be texts by the names of fields.')
  if (fields.some(tellsAddress))
    throw new Refusal(400, 'bad-value', '"headers" may not say from whose address a request comes.')
  return Object.fromEntries(fields.map(([name, value]) => [name.toLowerCase(), String(value)]))
}

const ADDRESSES =
  /^(?:x-(?:forwarded-for|real-ip|client-ip|cluster-client-ip)|(?:true|fastly)-client-ip|cf-connecting-ip)$/i

// Whoever may see a dashboard may not therefore be on this machine, or wherever he says.
function tellsAddress([name, value]: readonly [string, unknown]): boolean {
  return ADDRESSES.test(name) || (/^forwarded$/i.test(name) && /\bfor\s*=/i.test(String(value)))
}

// What could not have come over a connection is not handed to the application either.
function isValue(value: unknown): boolean {
  return typeof value === 'string' && /^[\t -~\u0080-\u00ff]*$/.test(value)
}
