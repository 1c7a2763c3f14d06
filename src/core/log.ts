import type { Time } from './time.ts'
import type { CacheEvent } from './trace.ts'

/** What the application logs with: pino, or anything of its shape, such as `console`. */
export interface Logger {
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Something that whoever operates the cache has to know. */
interface Line {
  readonly level: keyof Logger
  /** Lines of one kind are told once a minute at the most. */
  readonly event: string
  readonly message: string
  readonly fields?: object
  /** How often it has happened. Default once. */
  readonly times?: number
}

/** What of a kind was not told, since its last line. */
interface Kept {
  times: number
  last: Line | undefined
  readonly cancel: () => void
}

const QUIET = 60_000

/**
 * Writes what an operator has to know: each kind of line at once where it is the first, and then once a minute at the most,
 * with how often it has happened since.
 */
export class Log {
  readonly #logger: Logger
  readonly #cache: string
  readonly #time: Time
  readonly #kept = new Map<string, Kept>()
  #isClosed = false

  /** @param cache what tells the cache apart from others */
  constructor(logger: Logger, cache: string, time: Time) {
    this.#logger = logger
    this.#cache = cache
    this.#time = time
  }

  tell(event: CacheEvent): void {
    const line = event.type === 'trace' ? undefined : lineOf(event)
    if (!line) return
    const kept = this.#kept.get(line.event)
    if (!kept || this.#isClosed) {
      this.#write(line)
      if (!this.#isClosed) this.#beQuiet(line.event)
      return
    }
    kept.times += line.times ?? 1
    kept.last = line
  }

  /** Writes what was kept, and whatever comes after it at once. */
  close(): void {
    this.#isClosed = true
    for (const { cancel, last, times } of this.#kept.values()) {
      cancel()
      if (last) this.#write(last, times)
    }
    this.#kept.clear()
  }

  #beQuiet(event: string): void {
    const cancel = this.#time.after(QUIET, () => {
      const { last, times } = this.#kept.get(event)!
      this.#kept.delete(event)
      if (!last) return
      this.#write(last, times)
      this.#beQuiet(event)
    })
    this.#kept.set(event, { times: 0, last: undefined, cancel })
  }

  #write({ level, event, message, fields, times: own = 1 }: Line, times = own): void {
    const often = times > 1 ? { times } : {}
    try {
      this.#logger[level]({ cache: this.#cache, event, ...fields, ...often }, `tagcache: ${message}`)
    } catch {
      // A logger that fails is not the request's affair.
    }
  }
}

type Told<E extends CacheEvent['type']> = Extract<CacheEvent, { type: E }>

function lineOf(event: CacheEvent): Line | undefined {
  if (event.type === 'backend') return STATES[event.state]
  if (event.type === 'fault') return faultLine(event)
  if (event.type === 'failure') return failureLine(event)
  if (event.type === 'warning') return warningLine(event)
  if (event.type === 'removal' && event.reason === 'evicted') return { ...EVICTED, times: event.entries }
  return undefined
}

const STATES: Readonly<Record<Told<'backend'>['state'], Line>> = {
  paused: {
    level: 'warn',
    event: 'backend.paused',
    message: 'the backend failed and is left alone for a moment; requests go to their handlers',
  },
  resumed: { level: 'info', event: 'backend.resumed', message: 'the backend is used again' },
  behind: {
    level: 'warn',
    event: 'purges.queued',
    message: 'purges wait for the backend to take them; nothing stored is trusted until then',
  },
  delivered: { level: 'info', event: 'purges.delivered', message: 'the backend has taken all purges that waited' },
  'near-lost': {
    level: 'warn',
    event: 'near.lost',
    message: 'copies in this process are not trusted, for want of news from the shared backend',
  },
  'near-trusted': { level: 'info', event: 'near.trusted', message: 'copies in this process are trusted again' },
}

const EVICTED: Line = {
  level: 'info',
  event: 'bound.reached',
  message: 'the cache is full, so entries were evicted',
}

function faultLine({ operation, error }: Told<'fault'>): Line {
  return {
    level: 'error',
    event: `fault.${operation}`,
    message: `${operation} failed; it counted as a miss`,
    fields: { operation, error: describe(error) },
  }
}

function failureLine({ route, status, ...thrown }: Told<'failure'>): Line {
  const answered = status === undefined ? {} : { status }
  const why = 'error' in thrown ? { error: describe(thrown.error) } : {}
  return {
    level: 'warn',
    event: 'handler.failed',
    message: 'a handler failed, and its client was given a stale response instead',
    fields: { route: scrub(route), ...answered, ...why },
  }
}

function warningLine({ code, message, route, error }: Told<'warning'>): Line {
  const where = route === undefined ? {} : { route: scrub(route) }
  const why = error === undefined ? {} : { error: describe(error) }
  return { level: 'warn', event: `warning.${code}`, message, fields: { code, ...where, ...why } }
}

function describe(error: unknown): object {
  const { name, code, message } = Object(error) as Partial<Record<'name' | 'code' | 'message', unknown>>
  return {
    type: typeof name === 'string' ? scrub(name) : typeof error,
    ...(typeof code === 'string' || typeof code === 'number' ? { code } : {}),
    message: scrub(typeof message === 'string' ? message : String(error)),
  }
}

const LONGEST = 300
const NAMES = 'authorization|cookie|set-cookie|password|passwd|passphrase|secret|token|api[-_]?key|access[-_]?key'
const SECRETS: readonly (readonly [RegExp, string])[] = [
  // Control characters could feign a line.
  [/[\p{Cc}\u2028\u2029]+/gu, ' '],
  [/:\/\/[^\s/@]*@/g, '://…@'],
  [/\?[^\s"'<>)]+/g, '?…'],
  [new RegExp(`\\b([\\w-]*(?:${NAMES}))\\b(["']?\\s*[:=]\\s*).*`, 'gi'), '$1$2…'],
  [/\b(bearer|basic)\s+\S+/gi, '$1 …'],
]

/** A text of others as it may be logged: without queries, credentials and line breaks, and not too long. */
export function scrub(text: string): string {
  // What is cut off first may not be what shows that something is a secret.
  const short = text.slice(0, LONGEST * 4)
  return SECRETS.reduce((result, [secret, instead]) => result.replace(secret, instead), short).slice(0, LONGEST)
}
