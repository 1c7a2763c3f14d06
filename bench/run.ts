import { type ChildProcess, execFileSync, fork } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism, cpus } from 'node:os'
import { fileURLToPath } from 'node:url'
import { generator, load } from './load.ts'

const isQuick = process.argv.includes('--quick')
const ROUNDS = isQuick ? 3 : 7
const SECONDS = isQuick ? 1 : 2
const path = (file: string) => fileURLToPath(new URL(file, import.meta.url))

interface Subject {
  readonly name: string
  readonly process: ChildProcess
  readonly url: string
  readonly rates: number[]
}

async function start(name: string): Promise<Subject> {
  const child = fork(path('./server.ts'), [name], { execArgv: ['--import', 'tsx'] })
  const [address] = (await once(child, 'message')) as [{ port: number }]
  return { name, process: child, url: `http://127.0.0.1:${address.port}/`, rates: [] }
}

async function names(): Promise<string[]> {
  const child = fork(path('./server.ts'), [], { execArgv: ['--import', 'tsx'] })
  const [list] = (await once(child, 'message')) as [string[]]
  child.disconnect()
  return list
}

/** A cached answer has to be the handler's own, and not made twice; otherwise its speed means nothing. */
async function check({ name, url }: Subject): Promise<void> {
  const answers = await Promise.all([0, 1].map(async () => (await fetch(url)).text()))
  const last = await fetch(url)
  const isHit = last.headers.get('cache-status')?.startsWith('tagcache; hit') ?? false
  if (answers[0] !== answers[1] || (await last.text()) !== answers[0])
    throw new Error(`${name} answers differently each time`)
  if (isHit !== name.includes('hit')) throw new Error(`${name}: Cache-Status is ${last.headers.get('cache-status')}`)
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

// Rates of one round are compared with each other alone: what else the machine does changes from round to round.
function ratios(subject: Subject, measure: Subject): number[] {
  return subject.rates.map((rate, round) => rate / (measure.rates[round] ?? Number.NaN))
}

function row(cells: readonly string[]): string {
  return cells.map((cell, at) => (at === 0 ? cell.padEnd(24) : cell.padStart(16))).join('')
}

const subjects = await Promise.all((await names()).map(start))
try {
  for (const subject of subjects) await check(subject)
  for (const { url } of subjects) await load(url, 1)
  for (let round = 0; round < ROUNDS; round++) {
    process.stderr.write(`round ${round + 1} of ${ROUNDS}\n`)
    for (const subject of subjects) subject.rates.push((await load(subject.url, SECONDS)).requestsPerSecond)
  }
} finally {
  for (const subject of subjects) subject.process.disconnect()
}

console.log(
  `${cpus()[0]?.model ?? 'CPU'} × ${availableParallelism()}, Node ${process.version}, ${generator}, ${ROUNDS} rounds of ${SECONDS} s\n`,
)
console.log(row(['1 KB', 'requests/s', 'of static', 'range']))
for (const subject of subjects) {
  const framework = subject.name.split(' ', 1)[0]
  const measured = ratios(subject, subjects.find(({ name }) => name === `${framework} static`)!)
  const range = `${Math.min(...measured).toFixed(2)} to ${Math.max(...measured).toFixed(2)}`
  console.log(row([subject.name, median(subject.rates).toFixed(0), median(measured).toFixed(2), range]))
}

console.log(
  `\n${row(['entries of one tag', 'bytes/entry', 'charged', 'content', 'purge ms', 'longest block', 'all free ms'])}`,
)
for (const count of isQuick ? [10_000] : [10_000, 100_000]) {
  const output = execFileSync(
    process.execPath,
    ['--expose-gc', '--import', 'tsx', path('./memory.ts'), String(count)],
    { encoding: 'utf8' },
  )
  const { taken, charged, content, purge, block, freed } = JSON.parse(output) as Record<string, number>
  console.log(
    row([
      String(count),
      String(taken),
      String(charged),
      String(content),
      purge!.toFixed(2),
      block!.toFixed(1),
      freed!.toFixed(0),
    ]),
  )
}
