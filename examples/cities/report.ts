/** What the demo prints. A line with ✓ or ✗ is a claim that was checked in this run; one ✗ fails the run. */
import { styleText } from 'node:util'

type Style = Parameters<typeof styleText>[0]

const hasColours = process.stdout.isTTY === true && !process.env.NO_COLOR
let claims = 0
let failedClaims = 0

export function print(text = ''): void {
  process.stdout.write(`${text}\n`)
}

export function printHeading(text: string): void {
  print(`\n${paint('bold', text)}`)
}

export function printFact(name: string, value: string): void {
  print(`  ${paint('dim', name.padEnd(14))} ${value}`)
}

export function claim(text: string, isTrue: boolean): void {
  claims += 1
  if (!isTrue) failedClaims += 1
  print(isTrue ? `  ${paint('green', '✓')} ${text}` : `  ${paint('red', '✗ NOT TRUE:')} ${text}`)
}

export function countClaims(): { claims: number; failedClaims: number } {
  return { claims, failedClaims }
}

export function formatMs(ms: number): string {
  return `${ms < 10 ? ms.toFixed(2) : ms.toFixed(1)} ms`
}

export function formatCount(count: number): string {
  return count.toLocaleString('en')
}

/** The smallest value that at least `share` of all values do not exceed. */
export function percentile(values: number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN
}

function paint(style: Style, text: string): string {
  return hasColours ? styleText(style, text) : text
}
