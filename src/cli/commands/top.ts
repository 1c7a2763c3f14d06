import { setTimeout as sleep } from 'node:timers/promises'
import type { Command } from '../command.ts'
import { EXIT, misused } from '../exit.ts'
import { type Output, type Part, styled } from '../output.ts'
import { type AllRates, RateMeter } from '../rates.ts'
import type { Numbers, Target } from '../targets/target.ts'
import { count, percent, rate, size } from '../text.ts'
import { FLEET_OPTION, sayWhose, whoseJson } from '../whose.ts'
import { answered, mainReason } from './stats.ts'

export const top: Command = {
  name: 'top',
  summary: 'requests by the second and by route, live',
  about:
    'Shows again and again what requests come to, the busiest routes first. On a terminal it stays on one screen; Ctrl-C ends it. Of an application it shows that one process, or with --fleet all processes that publish their numbers; over Redis always the fleet. Processes publish every ten seconds as a rule, so of a fleet it changes no more often than that.',
  options: {
    fleet: FLEET_OPTION,
    interval: { type: 'string', value: 'SECONDS', about: 'how long to wait in between; default 2' },
    count: { type: 'string', short: 'n', value: 'N', about: 'end after so many times; default never' },
  },
  examples: [
    ['tagcache top --url http://localhost:3000/cache', 'watch a process at work'],
    ['tagcache top --fleet --url http://localhost:3000/cache', 'watch all processes that share its Redis'],
    ['tagcache top --json --count 2', 'two lines of JSON: the second has the rates in between'],
  ],
  hasTarget: true,
  isEndless: true,
  async run({ given, out, stop, target: open }) {
    const interval = intervalOf(given.text('interval'))
    const most = given.text('count') === undefined ? Number.POSITIVE_INFINITY : given.number('count', 1)
    const target = await open()
    const meter = new RateMeter()
    let numbers = await target.numbers(given.is('fleet'))
    const close = out.isJson ? () => {} : out.openScreen()
    try {
      for (let turn = 1; !stop.aborted; turn++) {
        show(numbers, meter.take(numbers.nodes), target, out)
        if (turn >= most) break
        await sleep(interval, undefined, { signal: stop }).catch(() => {})
        if (!stop.aborted) numbers = await target.numbers(given.is('fleet'))
      }
    } finally {
      close()
    }
    return EXIT.done
  },
}

function intervalOf(text: string | undefined): number {
  const seconds = text === undefined ? 2 : Number(text)
  if (seconds >= 0.1 && seconds <= 3600) return seconds * 1000
  throw misused(`--interval takes seconds, from 0.1 to 3600; not ${text}.`)
}

function show(numbers: Numbers, rates: AllRates | undefined, target: Target, out: Output): void {
  const { of, stats } = numbers
  if (!out.isJson) return out.frame(frameOf(numbers, rates, target, out))
  out.jsonLine({
    time: Date.now(),
    ...whoseJson(of, target),
    requests: stats.requests,
    hitRatio: stats.requests > 0 ? answered(stats) / stats.requests : null,
    entries: stats.entries,
    bytes: stats.bytes,
    perSecond: rates?.total ?? null,
    routes: rates?.routes ?? null,
  })
}

function frameOf(
  { of, stats, health, maxBytes }: Numbers,
  rates: AllRates | undefined,
  target: Target,
  out: Output,
): Part[][] {
  const now = rates?.total
  const seconds = (name: 'savedSeconds' | 'spentSeconds') => rate(now?.[name])
  const bound = maxBytes === undefined ? '' : ` of ${size(maxBytes)}`
  const isWell = (health ?? stats.backend.state) === 'well'
  return [
    [styled('bold', sayWhose(of, target))],
    [
      `${rate(now?.requests)} requests/s, ${now ? percent(answered(now), now.requests) : '–'} from the cache (${percent(answered(stats), stats.requests)} of ${count(stats.requests)} in all)`,
    ],
    [
      `handlers: ${seconds('spentSeconds')} s/s spent, ${seconds('savedSeconds')} s/s saved; held: ${count(stats.entries)} entries, ${size(stats.bytes)}${bound}; backend: `,
      styled(isWell ? 'green' : 'red', health ?? stats.backend.state),
    ],
    [],
    ...out.tableLines(COLUMNS, rowsOf(stats.routes, rates)),
  ]
}

const COLUMNS = [
  { title: 'ROUTE', isCut: true },
  { title: 'REQ/S', isRight: true },
  { title: 'FROM CACHE', isRight: true },
  { title: 'MISS/S', isRight: true },
  { title: 'BYPASS/S', isRight: true },
  { title: 'SAVED S/S', isRight: true },
  { title: 'REQUESTS', isRight: true },
  { title: 'MOSTLY NOT A HIT FOR', isCut: true },
] as const

function rowsOf(routes: Numbers['stats']['routes'], rates: AllRates | undefined): Part[][] {
  const rateOf = (name: string) => (rates && Object.hasOwn(rates.routes, name) ? rates.routes[name] : undefined)
  return Object.entries(routes)
    .sort(
      ([a, one], [b, other]) =>
        (rateOf(b)?.requests ?? 0) - (rateOf(a)?.requests ?? 0) || other.requests - one.requests,
    )
    .map(([name, tally]) => {
      const now = rateOf(name)
      return [
        name,
        rate(now?.requests),
        now ? percent(answered(now), now.requests) : '–',
        rate(now?.misses),
        rate(now?.bypasses),
        rate(now?.savedSeconds),
        count(tally.requests),
        mainReason(tally),
      ]
    })
}
