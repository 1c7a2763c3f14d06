import fc from 'fast-check'
import { formatDate } from '../../../src/http/date.ts'
import {
  type Answered,
  type Asked,
  type Case,
  type Control,
  type Directive,
  find,
  type Later,
  type Stamp,
} from './case.ts'
import { storedOf } from './ours.ts'

type Numbered<T> = readonly (readonly [weight: number, value: T])[]

function oftenest<T>(...choices: Numbered<T>): fc.Arbitrary<T> {
  return fc.oneof(...choices.map(([weight, value]) => ({ weight, arbitrary: fc.constant(value) })))
}

function maybe<T>(arbitrary: fc.Arbitrary<T>, percent: number): fc.Arbitrary<T | undefined> {
  return fc.oneof({ weight: percent, arbitrary }, { weight: 100 - percent, arbitrary: fc.constant(undefined) })
}

// Times are multiples of an eighth of a second, which seconds in floating point hold exactly.
const GRID = 125
const HOUR = 3_600_000
const DAY = 24 * HOUR
const YEAR = 365 * DAY

// ——— Directives ———

const LONG = 2 ** 31
const SECONDS = fc.constantFrom(0, 1, 5, 10, 10, 30, 60, 60, 120, 600, 3600, 86_400, 2_147_483_647)

interface Spelling {
  readonly spell: (seconds: number) => string
  /** What it means; undefined where nothing. */
  readonly read: (seconds: number) => number | undefined
}

const same = (seconds: number) => seconds
const never = () => undefined
const readable = (spell: (seconds: number) => string): Spelling => ({ spell, read: same })
const unreadable = (spell: (seconds: number) => string): Spelling => ({ spell, read: never })

// RFC 9111, 1.2.2 and 5.2: digits, or digits in a quoted string; nothing else.
const SPELLINGS = oftenest<Spelling>(
  [90, readable((n) => `=${n}`)],
  [3, readable((n) => `="${n}"`)],
  [2, readable((n) => `=00${n}`)],
  [1, readable((n) => `="\\${n}"`)],
  [1, readable((n) => `=${n} \t`)],
  [1, { spell: (n) => `=9999999999${n}`, read: () => LONG }],
  [1, { spell: () => '=2147483649', read: () => LONG }],
  [1, unreadable((n) => `=${n}.5`)],
  [1, unreadable((n) => `=-${n}`)],
  [1, unreadable((n) => `=+${n}`)],
  [1, unreadable((n) => `= ${n}`)],
  [1, unreadable((n) => ` =${n}`)],
  [1, unreadable((n) => `=${n};q=1`)],
  [1, unreadable((n) => `=${n} 5`)],
  [1, unreadable((n) => `='${n}'`)],
  [1, unreadable((n) => `=${n}"`)],
  [1, unreadable((n) => `="${n}"0`)],
  [1, unreadable((n) => `="${n},${n}"`)],
  [1, unreadable((n) => `=${n}s`)],
  [1, unreadable(() => '=0x10')],
  [1, unreadable(() => '=1e3')],
  [1, unreadable(() => '=ten')],
  [1, unreadable(() => '=')],
  [1, unreadable(() => '=""')],
  [1, unreadable(() => '')],
  [1, unreadable((n) => `="${n}`)],
)

const CASINGS = oftenest<(name: string) => string>(
  [85, (name) => name],
  [5, (name) => name.toUpperCase()],
  [5, (name) => name.replace(/(^|-)[a-z]/g, (start) => start.toUpperCase())],
  [5, (name) => name.replace(/[aeiou]/g, (vowel) => vowel.toUpperCase())],
)

function numbered(names: fc.Arbitrary<string>): fc.Arbitrary<Directive> {
  return fc.tuple(names, CASINGS, SPELLINGS, SECONDS).map(([name, casing, { spell, read }, seconds]) => {
    return { name, written: casing(name), argument: spell(seconds), seconds: read(seconds) }
  })
}

function flag(names: fc.Arbitrary<string>): fc.Arbitrary<Directive> {
  const argument = oftenest(
    [88, ''],
    [3, '='],
    [3, '=""'],
    [2, '="set-cookie, x-a"'],
    [2, '="x"'],
    [1, '=1'],
    [1, ' =x'],
  )
  return fc.tuple(names, CASINGS, argument).map(([name, casing, text]) => {
    return { name, written: casing(name), argument: text, seconds: undefined }
  })
}

// Unknown names, and quoted strings that look like more than they are.
const EXTENSION: fc.Arbitrary<Directive> = fc
  .constantFrom(
    ['no-transform', ''],
    ['x-no-store', ''],
    ['no-storex', ''],
    ['xmax-age', '=1'],
    ['community', '="UCI"'],
    ['ext', '="a, no-store"'],
    ['ext', '="a, no-store, b"'],
    ['ext', '="a, max-age=7, b"'],
    ['ext', '="a\\", private, b"'],
    ['ext', '="a,must-revalidate,b"'],
    ['ext', '=private'],
    ['__proto__', '=1'],
  )
  .map(([name, argument]) => ({ name: name!, written: name!, argument: argument!, seconds: undefined }))

function control(members: fc.Arbitrary<Directive>, minLength: number, maxLength: number): fc.Arbitrary<Control> {
  return fc.record({
    members: fc.array(members, { minLength, maxLength, size: 'max' }).map(unclosedLast),
    separator: oftenest([80, ', '], [8, ','], [4, ' ,\t'], [4, ', ,'], [4, ',,']),
    isSplit: oftenest([85, false], [15, true]),
  })
}

// A quoted string that is not closed ends where the next one begins: what it means is only plain at the end.
function unclosedLast(members: readonly Directive[]): Directive[] {
  const isOpen = ({ argument }: Directive) => argument.startsWith('="') && argument.split('"').length === 2
  const open = members.filter(isOpen)
  return [...members.filter((member) => !isOpen(member)), ...open.slice(0, 1)]
}

const RESPONSE_CONTROL = control(
  fc.oneof(
    { weight: 40, arbitrary: numbered(fc.constantFrom('max-age', 'max-age', 's-maxage')) },
    { weight: 22, arbitrary: numbered(fc.constantFrom('stale-while-revalidate', 'stale-if-error')) },
    { weight: 12, arbitrary: flag(fc.constantFrom('public')) },
    { weight: 11, arbitrary: flag(fc.constantFrom('must-revalidate', 'proxy-revalidate')) },
    { weight: 5, arbitrary: flag(fc.constantFrom('no-cache')) },
    { weight: 2, arbitrary: flag(fc.constantFrom('private', 'no-store')) },
    { weight: 3, arbitrary: flag(fc.constantFrom('must-understand')) },
    { weight: 3, arbitrary: flag(fc.constantFrom('immutable')) },
    { weight: 6, arbitrary: EXTENSION },
  ),
  1,
  5,
)

const UNDERSTOOD: Control = {
  members: [
    { name: 'must-understand', written: 'must-understand', argument: '', seconds: undefined },
    { name: 'no-store', written: 'no-store', argument: '', seconds: undefined },
  ],
  separator: ', ',
  isSplit: false,
}

// RFC 9111, 5.2.2.3 wants the two together.
const WITH_UNDERSTOOD = RESPONSE_CONTROL.map((given) => ({
  ...given,
  members: [...UNDERSTOOD.members, ...given.members],
}))

const REQUEST_CONTROL = control(
  fc.oneof(
    { weight: 25, arbitrary: numbered(fc.constantFrom('max-age', 'min-fresh')) },
    { weight: 25, arbitrary: numbered(fc.constantFrom('max-stale')) },
    { weight: 15, arbitrary: flag(fc.constantFrom('max-stale')).filter(({ argument }) => argument === '') },
    { weight: 6, arbitrary: flag(fc.constantFrom('no-cache')) },
    { weight: 3, arbitrary: flag(fc.constantFrom('no-store', 'only-if-cached')) },
    { weight: 4, arbitrary: EXTENSION },
  ),
  0,
  3,
)

// ——— Dates ———

const second = (time: number) => Math.floor(time / 1000) * 1000

interface Form {
  readonly name: string
  readonly write: (time: number) => string
  /** What it means, of the time that it was written for. */
  readonly read?: (time: number) => number
}

const LONG_DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']

function partsOf(time: number): Record<'day' | 'date' | 'month' | 'year' | 'clock', string> {
  const [day, date, month, year, clock] = new Date(time).toUTCString().replace(',', '').split(' ') as string[]
  return { day: day!, date: date!, month: month!, year: year!, clock: clock! }
}

function rfc850(time: number): string {
  const { date, month, year, clock } = partsOf(time)
  return `${LONG_DAYS[new Date(time).getUTCDay()]}, ${date}-${month}-${year.slice(-2)} ${clock} GMT`
}

function asctime(time: number): string {
  const { day, date, month, year, clock } = partsOf(time)
  return `${day} ${month} ${date.replace(/^0/, ' ')} ${clock} ${year}`
}

const minute = (time: number) => Math.floor(time / 60_000) * 60_000

// RFC 9110, 5.6.7.
const READABLE_FORMS = oftenest<Form>(
  [70, { name: 'imf', write: formatDate }],
  [8, { name: 'rfc850', write: rfc850 }],
  [8, { name: 'asctime', write: asctime }],
  [3, { name: 'imf', write: (time) => formatDate(time).toLowerCase() }],
  [2, { name: 'imf', write: (time) => formatDate(time).replace(/^.../, 'Mon') }],
  [2, { name: 'leap', write: (time) => formatDate(minute(time) - 1000).replace(':59 ', ':60 '), read: minute }],
)

// None of the three forms.
const UNREADABLE_FORMS = fc.constantFrom<((time: number) => string)[]>(
  () => '0',
  () => '-1',
  () => '',
  () => 'never',
  (time) => String(time / 1000),
  (time) => new Date(time).toISOString(),
  (time) => formatDate(time).replace('GMT', 'UTC'),
  (time) => formatDate(time).replace('GMT', '+0000'),
  (time) => formatDate(time).replace('GMT', 'PST'),
  (time) => formatDate(time).replace(' GMT', ''),
  (time) => formatDate(time).replace(',', ''),
  (time) => formatDate(time).replace(' ', '  '),
  (time) => formatDate(time).replace(/(\d\d) (\w{3}) /, '$1-$2-'),
  (time) => formatDate(time).replaceAll(':', '.'),
  (time) =>
    formatDate(time)
      .replace(/ 0?(\d):/, ' $1:')
      .replace(/ \d(\d):/, ' $1:'),
  (time) => formatDate(time).replace(/:\d\d GMT/, ' GMT'),
  (time) => formatDate(time).replace(/^(\w{3}, )\d\d \w{3}/, '$131 Feb'),
  (time) => formatDate(time).replace(/ \d\d:/, ' 24:'),
  (time) => formatDate(time).replace(/:\d\d:/, ':61:'),
  (time) => formatDate(time).replace(/^\w+/, 'Xxx'),
)

function stampOf(offset: fc.Arbitrary<number>, storedAt: number): fc.Arbitrary<Stamp> {
  const readable = fc.tuple(READABLE_FORMS, offset).map(([{ name, write, read = same }, shift]) => {
    const time = second(storedAt + shift)
    return { form: name, text: write(time), time: read(time) }
  })
  const unreadable = fc.tuple(UNREADABLE_FORMS, offset).map(([write, shift]) => {
    return { form: 'none', text: write(second(storedAt + shift)), time: undefined }
  })
  return fc.oneof({ weight: 85, arbitrary: readable }, { weight: 15, arbitrary: unreadable })
}

// Two digits that seem to be more than fifty years ahead, though the year is not.
function halfCentury(storedAt: number): Stamp {
  const time = Date.UTC(new Date(storedAt).getUTCFullYear() - 50, 11, 31, 23, 59, 59)
  return { form: 'rfc850', text: rfc850(time), time }
}

const DATE_OFFSET = oftenest(
  [45, 0],
  [20, -1000],
  [15, -7000],
  [5, -10_000],
  [3, -HOUR],
  [5, 5000],
  [3, HOUR],
  [1, -DAY],
)
const EXPIRES_OFFSET = fc.constantFrom(
  ...[-YEAR, -HOUR, -1000, 0, 1000, 10_000, 60_000, 60_000, HOUR, HOUR, DAY, YEAR, 30 * YEAR, 40 * YEAR],
)
const MODIFIED_OFFSET = fc.constantFrom(
  ...[-40 * YEAR, -YEAR, -20 * DAY, -10 * DAY, -DAY, -HOUR, -600_000, -100_000, -12_345_000, -10_000, 0, 60_000],
)

// ——— Messages ———

const LISTED = [200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501]
// All that RFC 9110 defines beside, and some that nobody does.
const OTHERS = [
  ...[
    201, 202, 205, 302, 303, 307, 400, 401, 402, 403, 406, 407, 408, 409, 411, 412, 413, 415, 416, 417, 421, 422, 426,
  ],
  ...[500, 502, 503, 504, 505, 299, 418, 425, 499, 506, 599],
]
const RARE = [206, 304, 428, 429, 431, 511, 101, 600]

const STATUS = fc.oneof(
  { weight: 65, arbitrary: fc.constant(200) },
  { weight: 15, arbitrary: fc.constantFrom(...LISTED) },
  { weight: 16, arbitrary: fc.constantFrom(...OTHERS) },
  { weight: 4, arbitrary: fc.constantFrom(...RARE) },
)

const AGE = oftenest<Exclude<Answered['age'], undefined>>(
  [30, { lines: ['0'], seconds: 0 }],
  [30, { lines: ['5'], seconds: 5 }],
  [10, { lines: ['30'], seconds: 30 }],
  [5, { lines: ['3600'], seconds: 3600 }],
  [5, { lines: ['007'], seconds: 7 }],
  [5, { lines: ['99999999999'], seconds: LONG }],
  [5, { lines: ['5, 10'], seconds: 5 }],
  [5, { lines: ['5 , old'], seconds: 5 }],
  [5, { lines: ['7', '30'], seconds: 7 }],
  [3, { lines: ['old'], seconds: undefined }],
  [3, { lines: ['-5'], seconds: undefined }],
  [3, { lines: ['+5'], seconds: undefined }],
  [3, { lines: ['5.5'], seconds: undefined }],
  [3, { lines: ['5;x=1'], seconds: undefined }],
  [3, { lines: ['5 10'], seconds: undefined }],
  [3, { lines: ['old, 5'], seconds: undefined }],
  [3, { lines: [''], seconds: undefined }],
)

const VARY = oftenest<readonly string[]>(
  [60, []],
  [10, ['Accept-Encoding']],
  [6, ['accept-language']],
  [4, ['Accept-Encoding, Accept-Language']],
  [3, ['X-Tenant ,\taccept-language']],
  [3, ['x-tenant', 'Accept-Encoding']],
  [2, [',X-TENANT,,']],
  [2, ['Authorization']],
  [1, ['']],
  [2, ['*']],
  [1, ['accept-language, *']],
  [1, ['accept-language', '*']],
  [1, ['', '*']],
)

const ENCODINGS = fc.constantFrom(
  ...[
    ['gzip, br', 'br,gzip'],
    ['br,gzip', 'br,gzip'],
    ['GZIP ,BR;q=1', 'br,gzip'],
    ['gzip', 'gzip'],
    ['x-gzip', 'gzip'],
    ['br;q=0.5, gzip', 'gzip,br;q=0.5'],
    ['gzip, br;q=0.50', 'gzip,br;q=0.5'],
    ['', ''],
  ].map(([text, plain]) => ({ text: text!, plain: plain! })),
)
const EXACT = (...texts: string[]) => fc.constantFrom(...texts.map((text) => ({ text, plain: text })))

const SELECTING = fc.record({
  'accept-encoding': maybe(ENCODINGS, 75),
  'accept-language': maybe(EXACT('en', 'en', 'EN', 'fr', 'en, fr', 'en,fr', ''), 75),
  'x-tenant': maybe(EXACT('a', 'a', 'b', ''), 75),
})

const AUTHORIZATION = fc.constantFrom('Bearer a', 'Bearer b')
const PRAGMA = fc.constantFrom(
  { text: 'no-cache', isNoCache: true },
  { text: 'No-Cache', isNoCache: true },
  { text: 'x, no-cache', isNoCache: true },
  { text: 'x-no-cache', isNoCache: false },
  { text: 'x="no-cache"', isNoCache: false },
  { text: 'foo', isNoCache: false },
)

const FIRST: fc.Arbitrary<Asked> = fc.record({
  url: fc.constant('/'),
  method: oftenest([95, 'GET'], [2, 'HEAD'], [2, 'POST'], [1, 'PUT']),
  control: maybe(REQUEST_CONTROL, 6),
  pragma: maybe(PRAGMA, 3),
  authorization: maybe(AUTHORIZATION, 8),
  fields: SELECTING,
})

function answered(storedAt: number): fc.Arbitrary<Answered> {
  const expires = fc.oneof(
    { weight: 93, arbitrary: stampOf(EXPIRES_OFFSET, storedAt) },
    { weight: 7, arbitrary: fc.constant(halfCentury(storedAt)) },
  )
  return fc.record({
    status: STATUS,
    control: fc.oneof(
      { weight: 88, arbitrary: RESPONSE_CONTROL },
      { weight: 5, arbitrary: WITH_UNDERSTOOD },
      { weight: 7, arbitrary: fc.constant(undefined) },
    ),
    expires: fc.oneof(
      { weight: 55, arbitrary: fc.constant([]) },
      { weight: 40, arbitrary: expires.map((stamp) => [stamp]) },
      { weight: 5, arbitrary: fc.tuple(expires, expires) },
    ),
    date: maybe(stampOf(DATE_OFFSET, storedAt), 70),
    modified: maybe(stampOf(MODIFIED_OFFSET, storedAt), 45),
    age: maybe(AGE, 25),
    pragma: maybe(fc.constantFrom('no-cache', 'no-cache', 'foo'), 12),
    vary: VARY,
    etag: maybe(fc.constantFrom('"a"', 'W/"a"', 'a'), 50),
    cookies: oftenest<readonly string[]>([90, []], [7, ['a=1']], [3, ['a=1', 'b=2']]),
  })
}

// ——— Sequences ———

// From where a later request's time is counted: mostly a moment at which something ends.
const ANCHORS = oftenest(
  [20, 'stored'],
  [35, 'lifetime'],
  [12, 'stale-while-revalidate'],
  [12, 'stale-if-error'],
  [10, 'max-stale'],
  [6, 'min-fresh'],
  [6, 'max-age'],
  [2, 'before'],
)
const DELTAS = fc.constantFrom(...[0, 0, 0, GRID, -GRID, 1000, -1000, 7375, 60_000])

interface Plan {
  readonly anchor: string
  readonly delta: number
  readonly method: string
  readonly control: Control | undefined
  readonly pragma: Asked['pragma']
  readonly authorization: string | undefined
  readonly isChanged: boolean
  readonly fields: Asked['fields']
}

const PLAN: fc.Arbitrary<Plan> = fc.record({
  anchor: ANCHORS,
  delta: DELTAS,
  method: oftenest([88, 'GET'], [8, 'HEAD'], [4, 'POST']),
  control: maybe(REQUEST_CONTROL, 50),
  pragma: maybe(PRAGMA, 8),
  authorization: maybe(AUTHORIZATION, 10),
  isChanged: oftenest([70, false], [30, true]),
  fields: SELECTING,
})

function scheduled(given: Case, lifetime: number, age: number, plan: Plan): Later {
  const { anchor, delta, isChanged, fields, ...asked } = plan
  const { control: said } = given.response
  const spoken = (of: Control | undefined, name: string) => (find(of, name)?.seconds ?? 0) * 1000
  const offsets: Record<string, number> = {
    stored: Math.abs(delta),
    before: -60_000,
    lifetime: lifetime + delta,
    'stale-while-revalidate': lifetime + spoken(said, 'stale-while-revalidate') + delta,
    'stale-if-error': lifetime + spoken(said, 'stale-if-error') + delta,
    'max-stale': lifetime + spoken(asked.control, 'max-stale') + delta,
    'min-fresh': lifetime - spoken(asked.control, 'min-fresh') + delta,
    'max-age': spoken(asked.control, 'max-age') - age + delta,
  }
  const offset = anchor === 'before' ? offsets.before! : Math.max(0, offsets[anchor]!)
  const { request, storedAt } = given
  const at = storedAt + Math.round(offset / GRID) * GRID
  return { ...asked, url: request.url, fields: isChanged ? fields : request.fields, at }
}

const STORED_AT = fc
  .tuple(fc.integer({ min: Date.UTC(2024, 0, 1) / 1000, max: Date.UTC(2030, 11, 30) / 1000 }), fc.nat(7))
  .map(([seconds, eighths]) => seconds * 1000 + (eighths < 4 ? 0 : eighths * GRID))

/** Cases of all kinds, most of them storable, and asked for when something ends. */
export const CASES: fc.Arbitrary<Case> = STORED_AT.chain((storedAt) =>
  fc.tuple(
    fc.record({
      storedAt: fc.constant(storedAt),
      keepStale: oftenest([50, 0], [50, HOUR]),
      heuristic: fc.boolean(),
      request: FIRST,
      response: answered(storedAt),
    }),
    fc.array(PLAN, { minLength: 2, maxLength: 4, size: 'max' }),
  ),
).map(([known, plans]) => {
  const given: Case = { ...known, later: [] }
  const { lifetime = 60_000, initialAge = 0 } = storedOf(given)?.entry ?? {}
  return { ...given, later: plans.map((plan) => scheduled(given, lifetime, initialAge, plan)) }
})
