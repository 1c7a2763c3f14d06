import { ALL, GROUPS } from './database.ts'
import type { Random } from './random.ts'

/** What is read of one server in one process. */
export function pathOfOne(random: Random): string {
  const dice = random()
  if (dice < 0.1) return '/rows'
  if (dice < 0.35) return `/brief/${anyRow(random)}`
  if (dice < 0.6) return `/groups/${Math.floor(random() * GROUPS)}`
  return `/rows/${anyRow(random)}`
}

/** What is read of several servers: less of what needs a handler each time, which takes longer than all that stands between. */
export function pathOfMany(random: Random): string {
  const dice = random()
  if (dice < 0.1) return '/rows'
  if (dice < 0.15) return `/brief/${anyRow(random)}`
  if (dice < 0.22) return `/brisk/${anyRow(random)}`
  if (dice < 0.3) return `/chains/${anyRow(random)}`
  if (dice < 0.5) return `/groups/${Math.floor(random() * GROUPS)}`
  return `/rows/${anyRow(random)}`
}

/** Some rows are asked for and changed more often than others. */
export function anyRow(random: Random): number {
  return Math.floor(random() ** 2 * ALL.length)
}

/** Whether those who ask may wait for another process that makes the response. */
export function isClusterWide(path: string): boolean {
  return /^\/(?:rows$|groups|brisk)/.test(path)
}
