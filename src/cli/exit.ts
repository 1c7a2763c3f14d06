/** What the process ends with; scripts may rely on it. */
export const EXIT = {
  /** It is done. */
  done: 0,
  /** There is nothing like it: no such entry, nobody who publishes numbers, a URL that comes to no `cached()`. */
  nothing: 1,
  /** It was asked for in a way that cannot be, or of a target that cannot do it. */
  usage: 2,
  /** The application or Redis cannot be reached, or is none. */
  unreachable: 3,
  /** It is there, and refuses, or has failed. */
  refused: 4,
  /** A purge has not taken effect everywhere. */
  undelivered: 5,
} as const

/** One of the numbers that the process ends with. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

/** Why a command ends without having done what it was asked for. */
export class Failure extends Error {
  /** @param hint what to do about it */
  constructor(
    readonly exit: ExitCode,
    message: string,
    readonly hint?: string,
  ) {
    super(message)
  }
}

/** A command line that cannot be. */
export function misused(message: string, hint?: string): Failure {
  return new Failure(EXIT.usage, message, hint)
}

/** Something that does not answer; says what the network said. */
export function unreachable(name: string, cause: unknown, hint?: string): Failure {
  return new Failure(EXIT.unreachable, `Cannot reach ${name}: ${reasonOf(cause)}`, hint)
}

// The errors of several addresses are in one, and that is the cause of another.
function reasonOf(error: unknown): string {
  const { name, message, code, cause, errors } = Object(error) as Error & { code?: string; errors?: unknown[] }
  if (name === 'TimeoutError') return 'it did not answer in time.'
  if (cause) return reasonOf(cause)
  if (errors?.length) return reasonOf(errors[0])
  return message || code || String(error)
}
