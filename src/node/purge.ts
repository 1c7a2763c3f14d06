import type { IncomingMessage, ServerResponse } from 'node:http'
import { chain, isPromise, type MaybePromise } from '../core/maybe.ts'
import { namesPurged, type TagList } from '../core/tags.ts'
import { inTime } from '../core/time.ts'
import { checkOptions } from '../core/values.ts'
import type { Flow } from '../flow/flow.ts'
import { purge, purgeEverything } from '../flow/purge.ts'
import { parseGroups } from '../http/cache-groups.ts'
import { combined, type Fields } from '../http/fields.ts'
import { carry, NOWHERE } from '../http/position.ts'
import { formatTags } from '../http/tag-fields.ts'
import { oneOf } from '../options/checks.ts'
import type { Call, Target } from '../visit.ts'
import { onClose } from './close.ts'
import { interceptHead } from './head.ts'
import { isQuestion } from './question.ts'
import { impliedPurge } from './unsafe.ts'

/** When an `invalidates()` purges. */
export interface InvalidatesOptions<Args extends readonly unknown[] = readonly unknown[]> {
  /** Whether the answer means that the write happened. Default: its status is below 400. */
  when?: (...args: Args) => boolean
  /**
   * What the client is answered where the backend does not take the purge: what the handler said (`'continue'`), or 503
   * (`'fail'`), and where the answer has begun its connection is closed. Either way the write is done, the purge is kept, and
   * delivered later; until then nothing stored earlier is trusted here. Default `'continue'`, with an event.
   */
  onError?: 'fail' | 'continue'
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

/** Purges what one `invalidates()` names when its write has succeeded, and what the request implies (RFC 9111, 4.4). False where the client is to be told that it failed. */
export type Purge = (mutation: Mutation) => (status: number) => MaybePromise<boolean>

/** Checks what `invalidates()` was given, when it is mounted. Throws `ERR_TAGCACHE_TAG` or `ERR_TAGCACHE_OPTION_UNKNOWN`. */
export function preparePurge(flow: Flow, tags: PurgeTags<never>, options: InvalidatesOptions<never> = {}): Purge {
  checkOptions('invalidates()', options, ['when', 'onError'])
  const mayFail = oneOf('onError', options.onError, ['fail', 'continue']) === 'fail'
  if (typeof tags !== 'function' && namesPurged(tags).length === 0) flow.warn('TAGCACHE_INVALIDATES_NOTHING')
  const { when } = options
  const isTold = flow.route({}).tagField === 'Cache-Groups'
  return ({ req, res, call, target }) => {
    // Nothing is done for a request that is only to be explained.
    if (isQuestion(req)) return () => true
    const implied = impliedPurge(flow, req, res, target)
    return purgeOnAnswer(flow, res, (status, fields, tell) => {
      // The author knows better than the status whether the write happened.
      const isDue = when ? isWanted(flow, when, call) : status < 400
      if (!isDue) return true
      const { groups, uris } = implied(status, fields)
      const purged = purgeNamed(flow, tags, call, (list) => {
        const names = [...new Set([...namesPurged(list), ...groups])]
        if (isTold) tell(names)
        return purge(flow, names, uris)
      })
      return chain(purged, (isDelivered) => isDelivered || !mayFail)
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
  act: (tags: TagList) => MaybePromise<boolean>,
): MaybePromise<boolean> {
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

// Where the purge stands, for the client to tell other processes; as long as it is not known, further than anybody is.
function positionField(
  { guard, options }: Flow,
  fields: Fields,
  isPending: boolean,
): [string, string | readonly string[]] | undefined {
  if (!options.carrier || !guard.hasPositions) return undefined
  const position = isPending ? NOWHERE : guard.position()
  if (position === undefined) return undefined
  const [name, value] = carry(options.carrier, position, guard.maxStaleness)
  if (name !== 'Set-Cookie') return [name, value]
  return [name, [...[(fields['set-cookie'] as string | string[]) ?? []].flat(), value]]
}

// A write is not kept waiting for ever by tags that do not come.
const LONGEST_TAGS = 10_000

/** What is done when an answer with this head begins; `tell` has its client told the tags that are purged (RFC 9875, 3). False: the client is not to get this answer. */
export type OnAnswer = (
  status: number,
  fields: Fields,
  tell: (names: readonly string[]) => void,
) => MaybePromise<boolean>

/**
 * Acts when the answer begins, before its first byte leaves, and again before the last one of a streamed answer.
 * @returns acts at once for an answer of that status, so that its beginning does not have to
 */
export function purgeOnAnswer(
  flow: Flow,
  res: ServerResponse,
  onAnswer: OnAnswer,
): (status: number, fields?: Fields) => MaybePromise<boolean> {
  const isLate = res.headersSent
  if (isLate) flow.warn('TAGCACHE_INVALIDATES_TOO_LATE')
  let pending: MaybePromise<boolean> = true
  let hasBegun = isLate
  let told: readonly string[] = []
  const settle = (status: number, fields: Fields = res.getHeaders()) => {
    hasBegun = true
    if (!isLate) res.statusCode = status
    const acted = () =>
      onAnswer(status, fields, (names) => {
        told = names
      })
    // One purge of several that failed is enough.
    const purging = chain(pending, (before) => chain(acted(), (isDone) => before && isDone))
    pending = purging
    if (isPromise(purging))
      void purging.then(
        (isDone) => (pending = pending === purging ? isDone : pending),
        () => {},
      )
    return purging
  }
  interceptHead(res, {
    change: ({ status, fields }) => {
      if (!hasBegun) {
        const purging = settle(status, fields)
        if (isPromise(purging)) holdBack(res, purging)
      }
      const set: (readonly [string, string | readonly string[]])[] = []
      const position = status >= 400 ? undefined : positionField(flow, fields, isPromise(pending))
      if (position) set.push(position)
      if (told.length === 0) return set.length > 0 ? { set, remove: [] } : undefined
      const groups = [...new Set([...told, ...parseGroups(combined(fields, 'cache-group-invalidation'))])]
      const value = formatTags('Cache-Groups', groups)
      if (value === undefined) flow.warn('TAGCACHE_TAGS_TOO_LONG')
      if (value !== undefined) set.push(['Cache-Group-Invalidation', value])
      return { set, remove: [] }
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
function holdBack(res: ServerResponse, until: Promise<boolean>): void {
  const hold = () => {
    const { socket } = res
    socket?.cork()
    void until.then(
      (isDone) => (isDone ? socket?.uncork() : socket?.destroy()),
      () => socket?.uncork(),
    )
  }
  if (res.socket) hold()
  else res.once('socket', hold)
}

// `end` lets everything go that the socket holds, so it has to wait itself; meanwhile the response looks as one that was sent.
function holdEnd(res: ServerResponse, settled: () => MaybePromise<boolean>): void {
  const { end } = res
  let isHeld = false
  const finish = (isDone: boolean, args: unknown[]): ServerResponse =>
    isDone ? Reflect.apply(end, res, args) : refuse(res, (body) => Reflect.apply(end, res, [body]))
  res.end = ((...args: unknown[]): ServerResponse => {
    if (isHeld) return res
    if (res.writableEnded) return Reflect.apply(end, res, args)
    const waiting = settled()
    if (!isPromise(waiting)) return finish(waiting, args)
    isHeld = true
    const release = closeFor(res)
    const go = (isDone: boolean) => {
      isHeld = false
      release()
      finish(isDone, args)
    }
    waiting.then(go, () => go(true))
    return res
  }) as typeof res.end
}

// What the handler said is not said: the writer has to know.
function refuse(res: ServerResponse, end: (body: string) => void): ServerResponse {
  if (res.headersSent) return res.destroy()
  for (const name of res.getHeaderNames()) {
    if (/^(?:content-|etag$|last-modified$|transfer-encoding$|location$|trailer$)/.test(name)) res.removeHeader(name)
  }
  res.statusCode = 503
  res.statusMessage = ''
  res.setHeader('Content-Type', 'text/plain; charset=utf-8')
  res.setHeader('Cache-Control', 'no-store')
  end(UNDELIVERED)
  return res
}

/** What the client of a write is told whose purge was not taken. */
export const UNDELIVERED =
  'The write is done, but responses that it made wrong may still be served elsewhere: their purge is not delivered yet.\n'

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
