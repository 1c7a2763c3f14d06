import { parseArgs } from 'node:util'
import { startRedis } from '../test/support/redis.ts'
import { askForAll } from './measure/ask.ts'
import { type Load, makeLoad } from './measure/load.ts'
import { describeMachine, stepAside } from './measure/machine.ts'
import { byFunction, byModule, byOwner, type Shares, total, UNITS } from './measure/owners.ts'
import { type NodeServer, startNode } from './measure/server.ts'
import type { Profiled } from './server/protocol.ts'
import { subjects } from './server/subjects.ts'

// Where the time and the memory of a request go, by the profilers of V8: npm run bench:profile -- SUBJECT

const USAGE = `npm run bench:profile -- SUBJECT [OPTIONS]
  --pick one|uniform|new   one URL (default), 10,000 of them, or none twice
  --no-store               the handler says Cache-Control: no-store
  --post                   a POST
  --seconds N              of load for each profile; default 5
subjects: ${Object.keys(subjects).join(', ')}`

const URLS = 10_000
const MOST_FUNCTIONS = 12

interface Wanted {
  readonly subject: string
  readonly load: Load
  readonly cacheControl?: string
  readonly seconds: number
}

function wantedFrom(args: readonly string[]): Wanted | undefined {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      pick: { type: 'string', default: 'one' },
      'no-store': { type: 'boolean', default: false },
      post: { type: 'boolean', default: false },
      seconds: { type: 'string', default: '5' },
    },
  })
  const subject = positionals[0]
  if (subject === undefined || !(subject in subjects)) return undefined
  const pick = values.pick as Load['pick']
  const load = { pick, ...(pick === 'uniform' ? { count: URLS } : {}), method: values.post ? 'POST' : 'GET' } as const
  return {
    subject,
    load,
    seconds: Number(values.seconds),
    ...(values['no-store'] ? { cacheControl: 'no-store' } : {}),
  }
}

async function profile({ subject, load, seconds, cacheControl }: Wanted): Promise<void> {
  stepAside()
  const redis = /Redis|near/.test(subject) ? await startRedis() : undefined
  const work = { size: 1024, ...(cacheControl ? { cacheControl } : {}), ...(redis ? { redisPort: redis.port } : {}) }
  const server = await startNode({ subject, work })
  try {
    if (load.count) await askForAll(server.port, load.count)
    await makeLoad(server.port, load, 3)
    console.log(`${subject}, ${Object.values(load).join(' ')}; ${describeMachine()}`)
    for (const profiled of ['time', 'memory'] as const) await report(server, profiled, load, seconds)
  } finally {
    await server.stop()
    await redis?.stop()
  }
}

async function report(server: NodeServer, profiled: Profiled, load: Load, seconds: number): Promise<void> {
  let requests = 0
  const places = await server.profile(profiled, async () => {
    requests = (await makeLoad(server.port, load, seconds)).requests
  })
  const each = (shares: Shares) =>
    shares.map(([name, amount]) => `  ${(amount / requests).toFixed(profiled === 'time' ? 2 : 0).padStart(8)}  ${name}`)
  console.log(
    `\n${profiled}: ${(total(places) / requests).toFixed(1)} ${UNITS[profiled]} for each of ${requests} requests`,
  )
  console.log(each(byOwner(places)).slice(0, MOST_FUNCTIONS).join('\n'))
  console.log(` of tagcache by module\n${each(byModule(places)).slice(0, MOST_FUNCTIONS).join('\n')}`)
  console.log(` of tagcache by function\n${each(byFunction(places)).slice(0, MOST_FUNCTIONS).join('\n')}`)
}

const wanted = wantedFrom(process.argv.slice(2))
if (wanted) await profile(wanted)
else console.log(USAGE)
