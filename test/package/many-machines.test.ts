import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, it } from 'vitest'

const root = fileURLToPath(new URL('../..', import.meta.url))

it('the example with two servers and one Redis has near hits, far hits, and no answer that is too old', {
  timeout: 60_000,
}, async () => {
  const { stdout } = await promisify(execFile)('npx', ['tsx', 'examples/many-machines/run.ts', '2'], { cwd: root })
  const counts = (name: string) =>
    [...stdout.matchAll(/^ *([\d,]+) {2}(.*)$/gm)]
      .filter(([, , own]) => own === name)
      .map(([, count]) => Number(count!.replaceAll(',', '')))
  for (const name of ['hit, near', 'hit, far']) {
    expect(counts(name), name).toHaveLength(2)
    for (const count of counts(name)) expect(count, name).toBeGreaterThan(10)
  }
  expect(stdout).toMatch(/The longest that an answer was behind: \d+\.\d ms; allowed is 1,000 ms\./)
})

it('the costs in the documentation have a row for each set-up and operation that is measured', async () => {
  const text = readFileSync(`${root}/docs/many-machines.md`, 'utf8')
  for (const setUp of ['redis()', 'tiered(), bounded', 'tiered(), strong', 'redis(), Cluster']) {
    for (const operation of [
      'hit of 1 KB',
      'hit of 100 KB',
      'miss: look-up',
      'miss: store of 1 KB',
      'invalidation of 2 tags',
    ]) {
      expect(text).toMatch(new RegExp(`^${setUp.replace(/[()]/g, '\\$&')} +${operation} +\\d`, 'm'))
    }
  }
})
