import type { Command } from './command.ts'
import { clear } from './commands/clear.ts'
import { completionOf } from './commands/completion.ts'
import { entries } from './commands/entries.ts'
import { explain } from './commands/explain.ts'
import { inspect } from './commands/inspect.ts'
import { purge } from './commands/purge.ts'
import { stats } from './commands/stats.ts'
import { tags } from './commands/tags.ts'
import { top } from './commands/top.ts'
import { watch } from './commands/watch.ts'

const ABOUT_CACHES = [stats, top, tags, entries, inspect, explain, purge, clear, watch] as const

/** All commands: help, completion and what is run are made of this table. */
export const COMMANDS: readonly Command[] = [...ABOUT_CACHES, completionOf(ABOUT_CACHES)]
