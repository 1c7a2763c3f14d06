import { History } from './history.ts'
import { attack } from './load.ts'
import { pathOfOne } from './paths.ts'
import { generator } from './random.ts'
import { emptyResult, emptySpell, type Result } from './result.ts'

/** How much is done to one server. */
export interface Plan {
  readonly reads: number
  readonly seed: number
}

/** Reads from and writes to one server, whose answers are never stale, until the plan is done. */
export async function checkOne(
  port: number,
  { reads, seed }: Plan,
  progress: (result: Result) => void = () => {},
): Promise<Result> {
  const [result, spell] = [emptyResult(), emptySpell('none', false)]
  await attack({
    targets: [{ name: 'the server', kind: 'memory', staleness: 0, port, whenUp: async () => {} }],
    random: generator(seed),
    history: new History(),
    result,
    more: (begun) => begun < reads,
    spell: () => spell,
    isSpared: () => false,
    pathToRead: pathOfOne,
    readsPerWrite: 25,
    progress: () => progress(result),
  })
  return result
}
