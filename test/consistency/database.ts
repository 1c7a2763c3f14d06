import type { ChildProcess } from 'node:child_process'

/** A row as it was when it was read. */
export interface Row {
  readonly id: number
  readonly version: number
}

/** What the handlers read and write; each row is a number that grows with every write. */
export interface Database {
  read(ids: readonly number[]): Promise<Row[]> | Row[]
  /** Answers the new version. */
  write(id: number): Promise<number> | number
}

const ROWS = 24
const GROUP = 6

/** The ids of all rows. */
export const ALL: readonly number[] = Array.from({ length: ROWS }, (_, id) => id)

export const GROUPS = ROWS / GROUP

export function idsOfGroup(group: number): readonly number[] {
  return ALL.slice(group * GROUP, (group + 1) * GROUP)
}

/** The rows themselves. */
export class Table implements Database {
  readonly #versions = new Int32Array(ROWS)

  read(ids: readonly number[]): Row[] {
    return ids.map((id) => ({ id, version: this.#versions[id]! }))
  }

  write(id: number): number {
    return ++this.#versions[id]!
  }
}

type Question = readonly [number: number, write: number] | readonly [number: number, read: readonly number[]]
type Answer = readonly [number: number, given: Row[] | number]

/** Has a server in a process of its own read and write these rows, which all servers share. */
export function shareWith(child: ChildProcess, table: Table): void {
  child.on('message', (message) => {
    if (!Array.isArray(message)) return
    const [number, asked] = message as unknown as Question
    const answer: Answer = [number, typeof asked === 'number' ? table.write(asked) : table.read(asked)]
    if (child.connected) child.send(answer, () => {})
  })
}

/** The rows of the parent of this process. */
export function databaseOfParent(): Database {
  const waiting = new Map<number, (given: never) => void>()
  let asked = 0
  process.on('message', ([number, given]: Answer) => {
    waiting.get(number)?.(given as never)
    waiting.delete(number)
  })
  const ask = <V>(question: number | readonly number[]) =>
    new Promise<V>((resolve) => {
      asked += 1
      waiting.set(asked, resolve)
      process.send?.([asked, question])
    })
  return { read: (ids) => ask<Row[]>(ids), write: (id) => ask<number>(id) }
}
