import type { ExitCode } from './exit.ts'
import type { Output } from './output.ts'
import type { Target } from './targets/target.ts'

/** An option of a command. */
export interface Option {
  readonly type: 'string' | 'boolean'
  readonly short?: string
  readonly multiple?: boolean
  /** What stands for its value in the help; `N` is a positive whole number. */
  readonly value?: string
  readonly about: string
  /** The values that it may have. */
  readonly choices?: readonly string[]
}

/** What was given on a command line. */
export interface Given {
  text(name: string): string | undefined
  texts(name: string): readonly string[]
  is(name: string): boolean
  /** A positive whole number. */
  number(name: string, otherwise: number): number
  /** Options and their values in the order in which they stand. */
  readonly order: readonly (readonly [name: string, value: string])[]
  readonly arguments: readonly string[]
}

/** One run of a command. */
export interface Call {
  readonly given: Given
  readonly out: Output
  /** Aborts when the user wants an end, or nobody reads any more. */
  readonly stop: AbortSignal
  /** The target that the command line names. Throws a `Failure`. */
  target(): Promise<Target>
}

/** A command: what it takes, what it says of itself, and what it does. */
export interface Command {
  readonly name: string
  readonly summary: string
  /** What stands behind its name, as `<tag>…`. */
  readonly takes?: string
  /** How many arguments it takes. */
  readonly least?: number
  readonly most?: number
  /** The values that its argument may have. */
  readonly choices?: readonly string[]
  readonly about: string
  readonly options: Readonly<Record<string, Option>>
  readonly examples: readonly (readonly [line: string, means: string])[]
  /** Whether it is asked of an application or Redis. */
  readonly hasTarget: boolean
  /** Whether it goes on until somebody ends it. */
  readonly isEndless?: boolean
  run(call: Call): Promise<ExitCode> | ExitCode
}

/** The options of all commands that have a target. */
export const TARGET_OPTIONS: Readonly<Record<string, Option>> = {
  url: {
    type: 'string',
    value: 'URL',
    about: 'the admin routes of a running application, as http://localhost:3000/cache',
  },
  redis: {
    type: 'string',
    value: 'URL',
    about:
      'a Redis that caches share, as redis://localhost:6379; nodes of a Cluster, as redis://node-1:6379,node-2:6379; or Sentinels, as redis+sentinel://host-1:26379,host-2:26379/mymaster',
  },
  namespace: { type: 'string', value: 'NAME', about: "the namespace of redis(); default 'tagcache'" },
  'cache-namespace': {
    type: 'string',
    value: 'NAME',
    about: 'the namespace of the cache, where it has one of its own',
  },
  partitions: { type: 'string', value: 'N', about: 'the partitions of redis(), of a Cluster; default 64' },
  timeout: { type: 'string', value: 'SECONDS', about: 'how long an answer may take; default 10' },
}

/** The options of every command. */
export const COMMON_OPTIONS: Readonly<Record<string, Option>> = {
  json: { type: 'boolean', about: 'JSON, for scripts' },
  help: { type: 'boolean', short: 'h', about: 'explain the command' },
}

/** All options of a command. */
export function optionsOf({ options, hasTarget }: Command): Readonly<Record<string, Option>> {
  return { ...options, ...(hasTarget ? TARGET_OPTIONS : {}), ...COMMON_OPTIONS }
}
