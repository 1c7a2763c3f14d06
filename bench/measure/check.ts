import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { type Answer, type Ask, ask } from './ask.ts'
import type { Server } from './server.ts'

/** What a subject has to do before its speed means anything. */
export type Expectation =
  /** The second answer is the first one, and no handler ran for it. */
  | 'hit'
  /** A handler runs each time. */
  | 'run'
  /** There is no handler. */
  | 'static'

/** What is wrong with a subject, or undefined. */
export async function check(
  server: Server,
  expectation: Expectation,
  asked: Omit<Ask, 'port' | 'path'>,
): Promise<string | undefined> {
  const question = { ...asked, port: server.port, path: '/items/check' }
  const first = await ask(question)
  if (expectation === 'static') return first.status === 200 ? undefined : `answers ${first.status}`
  let { answer: second, runs } = await counted(server, question)
  if (expectation === 'hit' && runs > 0) {
    await sleep(STORING)
    ;({ answer: second, runs } = await counted(server, question))
  }
  const other = await ask({ ...question, path: '/items/other' })
  return differenceOf(first, second) ?? wrongRuns(expectation, runs) ?? wrongItems(first, other)
}

// How many milliseconds a store may still be under way, or left alone, where the machine is busy.
const STORING = 1500

/** An answer, and how often a handler ran for it. */
async function counted(server: Server, question: Ask): Promise<{ answer: Answer; runs: number }> {
  const before = await runsOf(server)
  const answer = await ask(question)
  return { answer, runs: (await runsOf(server)) - before }
}

async function runsOf(server: Server): Promise<number> {
  return (await server.state()).runs
}

function differenceOf(first: Answer, second: Answer): string | undefined {
  if (first.status !== 200) return `answers ${first.status}`
  if (second.status !== first.status) return `answers ${second.status} the second time, ${first.status} the first time`
  if (second.type !== first.type)
    return `says Content-Type ${second.type} the second time, ${first.type} the first time`
  return plain(second).equals(plain(first)) ? undefined : 'answers with another body the second time'
}

function wrongRuns(expectation: Expectation, runs: number): string | undefined {
  if (expectation === 'hit' && runs > 0) return 'runs the handler for the second answer'
  return expectation === 'run' && runs !== 1 ? `runs the handler ${runs} times for an answer` : undefined
}

function wrongItems(one: Answer, other: Answer): string | undefined {
  const isRight = plain(one).includes('"id":"check"') && plain(other).includes('"id":"other"')
  return isRight ? undefined : 'answers with the wrong item'
}

function plain({ encoding, body }: Answer): Buffer {
  return encoding === 'gzip' ? gunzipSync(body) : body
}
