import type { IncomingMessage, ServerResponse } from 'node:http'
import { isPromise, type MaybePromise } from '../core/maybe.ts'
import { namesPurged, type TagList } from '../core/tags.ts'
import { inTime } from '../core/time.ts'
import { checkOptions } from '../core/values.ts'
import type { Flow } from '../flow/flow.ts'
import { purge, purgeEverything } from '../flow/purge.ts'
import { parseGroups } from '../http/cache-groups.ts'
import { combined, type Fields } from '../http/fields.ts'
import { formatTags } from '../http/tag-fields.ts'
import type { Call, Target } from '../visit.ts'
import { onClose } from './close.ts'
import { interceptHead } from './head.ts'
import { impliedPurge } from './unsafe.ts'

/** When an `invalidates()` purges. */
export interface InvalidatesOptions<Args extends readonly unknown[] = readonly unknown[]> {
  /** Whether the answer means that the write happened. Default: its status is below 400. */
  when?: (...args: Args) => boolean
}

/** Tags, or what gives them once the write has succeeded; a promise of them is waited for. */
export type PurgeTags<Args extends readonly unknown[], T extends string = string> =
  | TagList<T>
  | ((...args: Args) => MaybePromise<TagList<T>>)

/** A request on its way through an `invalidates()`. */
export interface Mutation {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly call: Call
  readonly target: () => Target
}

/** Purges what one `invalidates()` names when its write has succeeded, and what the request implies (RFC 9111, 4.4). */
export type Purge = (mutation: Mutation) => (status: number) => MaybePromise<void>

/** Checks what `invalidates()` was given, when it is mounted. Throws `ERR_TAGCACHE_TAG` or `ERR_TAGCACHE_OPTION_UNKNOWN`. */
export function preparePurge(flow: Flow, tags: PurgeTags<never>, options: InvalidatesOptions<never> = {}): Purge {
  checkOptions('invalidates()', options, ['when'])
  if (typeof tags !== 'function' && namesPurged(tags).length === 0) flow.warn('TAGCACHE_INVALIDATES_NOTHING')
  const { when } = options
  const isTold = flow.route({}).tagField === 'Cache-Groups'
  return ({ req, res, call, target }) => {
    const implied = impliedPurge(flow, req, res, target)
    return purgeOnAnswer(flow, res, (status, fields, tell) => {
      // The author knows better than the status whether the write happened.
      const isDue = when ? isWanted(flow, when, call) : status < 400
      if (!isDue) return
      const { groups, uris } = implied(status, fields)
      return purgeNamed(flow, tags, call, (list) => {
        const names = [...new Set([...namesPurged(list), ...groups])]
        if (isTold) tell(names)
        return purge(flow, names, uris)
      })
    })
  }
}

// Where it cannot be told whether the write happened, or what it wrote, everything may be wrong.
function isWanted(flow: Flow, when: (...args: never) => boolean, call: Call): boolean {
  try {
    return call(when) === true
  } catch (error) {
    flow.warn('TAGCACHE_PURGE_TAGS_FAILED', undefined, error)
    return true
  }
}

function purgeNamed(
  flow: Flow,
  tags: PurgeTags<never>,
  call: Call,
  act: (tags: TagList) => MaybePromise<void>,
): MaybePromise<void> {
  const everything = (error: unknown) => {
    flow.warn('TAGCACHE_PURGE_TAGS_FAILED', undefined, error)
    return purgeEverything(flow)
  }
  try {
    const given = typeof tags === 'function' ? (call(tags) as ReturnType<typeof tags>) : tags
    if (!isPromise(given)) return act(given)
    return inTime(flow, LONGEST_TAGS, given, () => new Error(`The tags did not come within ${LONGEST_TAGS} ms.`))
      .then(act)
      .catch(everything)
  } catch (error) {
    return everything(error)
  }
}

// A write is not kept waiting for ever by tags that do not come.
const LONGEST_TAGS = 10_000

/** What is done when an answer with this head begins; `tell` has its client told the tags that are purged (RFC 9875, 3). */
export type OnAnswer = (status: number, fields: Fields, tell: (names: readonly string[]) => void) => MaybePromise<void>

/**
 * Acts when the answer begins, before its first byte leaves, and again before the last one of a streamed answer.
 * @returns acts at once for an answer of that status, so that its beginning does not have to
 */
export function purgeOnAnswer(
  flow: Flow,
  res: ServerResponse,
  onAnswer: OnAnswer,
): (status: number, fields?: Fields) => MaybePromise<void> {
  const isLate = res.headersSent
  if (isLate) flow.warn('TAGCACHE_INVALIDATES_TOO_LATE')
  let pending: MaybePromise<void> | undefined
  let hasBegun = isLate
  let told: readonly string[] = []
  const settle = (status: number, fields: Fields = res.getHeaders()) => {
    hasBegun = true
    if (!isLate) res.statusCode = status
    const acted = () =>
      onAnswer(status, fields, (names) => {
        told = names
      })
    pending = isPromise(pending) ? pending.then(acted) : acted()
    return pending
  }
  interceptHead(res, {
    change: ({ status, fields }) => {
      if (!hasBegun) {
        const purging = settle(status, fields)
        if (isPromise(purging)) holdBack(res, purging)
      }
      if (told.length === 0) return undefined
      const groups = [...new Set([...told, ...parseGroups(combined(fields, 'cache-group-invalidation'))])]
      const value = formatTags('Cache-Groups', groups)
      if (value === undefined) flow.warn('TAGCACHE_TAGS_TOO_LONG')
      return value === undefined ? undefined : { set: [['Cache-Group-Invalidation', value]], remove: [] }
    },
    refused: () => {
      hasBegun = isLate
    },
  })
  holdEnd(res, () => (hasBegun && !res.headersSent ? pending : settle(res.statusCode)))
  // The write may have happened although nobody is left to be told; or it goes on, and ends with an answer to nobody.
  onClose(res, () => {
    if (hasBegun && !isLate) return
    void settle(res.statusCode)
    hasBegun = isLate
  })
  // Whoever has answered already tells of no end any more.
  if (isLate && res.writableEnded) void settle(res.statusCode)
  return settle
}

// Bytes wait in the socket; node:http notices nothing. A pipelined response gets its socket later.
function holdBack(res: ServerResponse, until: Promise<void>): void {
  const hold = () => {
    const { socket } = res
    socket?.cork()
    void until.finally(() => socket?.uncork())
  }
  if (res.socket) hold()
  else res.once('socket', hold)
}

// `end` lets everything go that the socket holds, so it has to wait itself; meanwhile the response looks as one that was sent.
function holdEnd(res: ServerResponse, settled: () => MaybePromise<void>): void {
  const { end } = res
  let isHeld = false
  res.end = ((...args: unknown[]): ServerResponse => {
    if (isHeld) return res
    if (res.writableEnded) return Reflect.apply(end, res, args)
    const waiting = settled()
    if (!isPromise(waiting)) return Reflect.apply(end, res, args)
    isHeld = true
    const release = closeFor(res)
    void waiting.finally(() => {
      isHeld = false
      release()
      Reflect.apply(end, res, args)
    })
    return res
  }) as typeof res.end
}

// What was said to the client is said, whatever is done to the response while it waits.
function closeFor(res: ServerResponse): () => void {
  const { statusCode, statusMessage } = res
  const refuse = () => {
    throw Object.assign(new Error('Cannot change headers after they are sent to the client'), {
      code: 'ERR_HTTP_HEADERS_SENT',
    })
  }
  const shadows = {
    headersSent: true,
    writableEnded: true,
    write: () => false,
    ...(res.headersSent ? {} : { writeHead: refuse, setHeader: refuse, appendHeader: refuse, removeHeader: refuse }),
  }
  const before = Object.getOwnPropertyDescriptors(res) as Record<string, PropertyDescriptor | undefined>
  for (const [name, value] of Object.entries(shadows))
    Object.defineProperty(res, name, { value, configurable: true, writable: true })
  return () => {
    for (const name of Object.keys(shadows)) {
      const descriptor = before[name]
      if (descriptor) Object.defineProperty(res, name, descriptor)
      else Reflect.deleteProperty(res, name)
    }
    if (res.headersSent) return
    res.statusCode = statusCode
    res.statusMessage = statusMessage
  }
}
