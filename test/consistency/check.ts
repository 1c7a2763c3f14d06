import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { attack, type Plan, type Result } from './model.ts'

// Reads and writes over HTTP, and no read may show less than what was acknowledged before it was sent:
//   npm run check:consistency -- [--reads 200000] [--seed 1] [--without-stamps]

const { values } = parseArgs({
  options: {
    reads: { type: 'string', default: '200000' },
    seed: { type: 'string', default: '1' },
    'without-stamps': { type: 'boolean', default: false },
  },
})
const plan: Plan = { reads: Number(values.reads), seed: Number(values.seed) }
const stamps = !values['without-stamps']
if (!(plan.reads > 0) || !Number.isSafeInteger(plan.seed)) {
  console.error('--reads takes a positive number, --seed a whole one.')
  process.exit(2)
}

const server = fork(fileURLToPath(new URL('./server.ts', import.meta.url)), [stamps ? 'stamps' : 'none', values.seed])
const [port] = (await Promise.race([
  once(server, 'message'),
  once(server, 'exit').then(() => Promise.reject(new Error('The server did not start.'))),
])) as [number]
const result = await attack(port, plan, progressOf(plan)).finally(() => server.kill())
if (process.stderr.isTTY) process.stderr.write('\r\x1b[K')
console.log(table(result))
for (const { path, row, shown, acknowledged, source } of result.examples) {
  console.log(`GET ${path} showed version ${shown} of row ${row}; ${acknowledged} was acknowledged before (${source})`)
}
const faults = judge(result)
for (const fault of faults) console.error(`FAILED: ${fault}`)
console.log(
  faults.length > 0 ? '' : stamps ? 'No stale answer.' : 'As expected: without stamps there are stale answers.',
)
process.exitCode = faults.length > 0 ? 1 : 0

function judge({ reads, hits, stale, validated, collapsed, writes, violations }: Result): string[] {
  return [
    stamps && violations > 0 ? `${violations} answers were older than what had been acknowledged.` : '',
    !stamps && violations === 0 ? 'without stamps nothing stale was found, so the check finds nothing.' : '',
    hits < reads / 2 ? `only ${hits} of ${reads} reads were hits, so stored responses were hardly checked.` : '',
    collapsed < reads / 100
      ? `only ${collapsed} of ${reads} reads were collapsed, so flights were hardly checked.`
      : '',
    stale < reads / 200 ? `only ${stale} of ${reads} reads were stale, so stale responses were hardly checked.` : '',
    validated < reads / 1000
      ? `only ${validated} of ${reads} reads were validated, so renewals were hardly checked.`
      : '',
    writes < reads / 100 ? `only ${writes} writes for ${reads} reads, so purges were hardly checked.` : '',
  ].filter((fault) => fault !== '')
}

function table({ examples: _, seconds, ...counts }: Result): string {
  const rows = {
    stamps: stamps ? 'on' : 'off',
    seed: plan.seed,
    ...counts,
    seconds: seconds.toFixed(1),
    'reads/s': Math.round(counts.reads / seconds),
  }
  return Object.entries(rows)
    .map(([name, value]) => `${name.padEnd(11)}${value.toLocaleString('en').padStart(9)}`)
    .join('\n')
}

// On a terminal one line that is written over; in a log one line for every tenth.
function progressOf({ reads }: Plan): (result: Result) => void {
  let told = 0
  return (result) => {
    const share = Math.floor((100 * result.reads) / reads)
    const line = `${share} % of ${reads.toLocaleString('en')} reads, ${result.writes.toLocaleString('en')} writes, ${result.violations} violations`
    if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`)
    else if (share >= told + 10 && share < 100) {
      told = share - (share % 10)
      console.error(line)
    }
  }
}
