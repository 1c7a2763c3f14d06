import { measureCosts } from './costs/measure.ts'

// What look-ups, stores and invalidations cost over Redis, in commands and bytes: npm run costs

const rows = (await measureCosts()).map(({ setUp, operation, commands, roundTrips, time, received, sent }) => [
  setUp,
  operation,
  String(commands),
  String(commands === 0 ? 0 : roundTrips),
  time.toFixed(1),
  String(Math.round(received)),
  String(Math.round(sent)),
])
const head = ['set-up', 'operation', 'commands', 'round trips', 'µs of Redis', 'bytes to Redis', 'bytes from Redis']
const widths = head.map((_, at) => Math.max(...[head, ...rows].map((row) => row[at]!.length)))
for (const row of [head, ...rows]) {
  console.log(row.map((cell, at) => (at < 2 ? cell.padEnd(widths[at]!) : cell.padStart(widths[at]!))).join('  '))
}
