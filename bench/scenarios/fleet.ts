import { setTimeout as sleep } from 'node:timers/promises'
import type { Ask } from '../measure/ask.ts'
import { check, type Expectation } from '../measure/check.ts'
import { type Server, startServer } from '../measure/server.ts'
import { Unavailable } from '../server/subject.ts'
import type { Workload } from '../server/workload.ts'
import type { Absent } from './scenario.ts'

/** The subjects of a scenario that run and do what they are for, and those that do not. */
export interface Fleet {
  readonly servers: ReadonlyMap<string, Server>
  readonly absent: readonly Absent[]
  stop(): Promise<void>
}

export interface Muster {
  readonly subjects: readonly string[]
  readonly work: Workload
  /** What is expected of all, where that is not what their names say. */
  readonly expectation?: Expectation
  /** How the check asks. */
  readonly asked?: Omit<Ask, 'port' | 'path'>
}

/** Starts and checks subjects. What fails its check is stopped, and not measured. */
export async function muster({ subjects, work, expectation, asked = {} }: Muster): Promise<Fleet> {
  const servers = new Map<string, Server>()
  const absent: Absent[] = []
  const enlist = async (subject: string) => {
    const found = await started(subject, work)
    if ('kind' in found) return absent.push(found)
    const wrong = await wrongWith(found, expectation ?? expectationOf(subject), asked)
    if (wrong === undefined) return servers.set(subject, found)
    await found.stop()
    return absent.push({ subject, kind: 'failed', reason: wrong })
  }
  for (const batch of batchesOf(new Set(subjects), 4)) await Promise.all(batch.map(enlist))
  return {
    servers,
    absent,
    stop: async () => void (await Promise.all([...servers.values()].map((server) => server.stop()))),
  }
}

function expectationOf(subject: string): Expectation {
  if (/ (static|bare)$/.test(subject)) return 'static'
  return / no cache$| compression$/.test(subject) && !subject.includes('tagcache') ? 'run' : 'hit'
}

async function started(subject: string, work: Workload): Promise<Server | Absent> {
  try {
    return await startServer(subject, work)
  } catch (error) {
    const kind = error instanceof Unavailable ? 'skipped' : 'failed'
    return { subject, kind, reason: (error as Error).message }
  }
}

async function wrongWith(
  server: Server,
  expectation: Expectation,
  asked: Omit<Ask, 'port' | 'path'>,
): Promise<string | undefined> {
  const late = new AbortController()
  try {
    const silence = sleep(5000, 'does not answer', { signal: late.signal })
    silence.catch(() => {})
    return await Promise.race([check(server, expectation, asked), silence])
  } catch (error) {
    return `fails: ${(error as Error).message}`
  } finally {
    late.abort()
  }
}

function batchesOf<V>(values: Iterable<V>, size: number): V[][] {
  const all = [...values]
  return Array.from({ length: Math.ceil(all.length / size) }, (_, at) => all.slice(at * size, (at + 1) * size))
}
