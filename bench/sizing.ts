import { parse, type Sizing } from './sizing/assumptions.ts'
import { reportOf } from './sizing/report/report.ts'

// What a fleet in front of a Redis Cluster needs, worked out; the flags are those that it lists first:
//   npx tsx bench/sizing.ts [--nodes 1000] [--requests 1000000] [--entries 100000000] …

function sizingGiven(): Sizing {
  try {
    return parse(process.argv.slice(2))
  } catch (error) {
    console.error((error as Error).message)
    process.exit(2)
  }
}

console.log(reportOf(sizingGiven()))
