import type { Comparison, Explanation } from '../../core/explanation.ts'
import type { Command } from '../command.ts'
import { EXIT } from '../exit.ts'
import { type Output, type Part, styled } from '../output.ts'
import { fieldsOf, HEADER_OPTION, requestTo } from '../requests.ts'
import { count, duration, moment, size } from '../text.ts'
import { sayWhose, whoseJson } from '../whose.ts'

export const explain: Command = {
  name: 'explain',
  summary: 'what would become of a request, and why; or why two requests do not share',
  takes: '<url>',
  least: 1,
  most: 1,
  about:
    'Asks a running application what it would do with a request now: the decision with its reason, the parts of the key, what is stored, and the options that count, with where each comes from. Nothing is stored or purged, and no handler of a cached route runs. With --and it says in what the keys of two requests differ first; fields before --and are sent with both, those behind it with the second alone.',
  options: {
    header: HEADER_OPTION,
    and: { type: 'string', value: 'URL', about: 'a second request' },
    method: { type: 'string', short: 'X', value: 'METHOD', about: 'default GET' },
  },
  examples: [
    ['tagcache explain /products/1', 'why does this not hit?'],
    ["tagcache explain /products/1 -H 'cookie: session=1'", 'and with a cookie?'],
    ["tagcache explain '/search?q=tea' --and '/search?q=tea&utm_source=mail'", 'why do these not share?'],
    ["tagcache explain / -H 'accept-language: de' --and / -H 'accept-language: fr'", 'do these two languages?'],
  ],
  hasTarget: true,
  async run({ given, out, target: open }) {
    const [first, second] = fieldsOf(given)
    const request = requestTo(given.arguments[0]!, first, given.text('method'))
    const and = given.text('and')
    const other = and === undefined ? undefined : requestTo(and, second, given.text('method'))
    const target = await open()
    const found = (await target.explain(request, other)) as Explanation | Comparison
    const whose = await target.whose()
    if (out.isJson) out.json({ ...whoseJson(whose, target), ...found })
    else {
      out.line(styled('bold', sayWhose(whose, target)))
      out.line()
      if ('first' in found) showPair(found, out)
      else showOne(found, out)
    }
    const isReached = 'first' in found ? found.first.isReached && found.second.isReached : found.isReached
    return isReached ? EXIT.done : EXIT.nothing
  },
}

function showPair({ first, second, isShared, text }: Comparison, out: Output): void {
  out.line(styled(isShared ? 'green' : 'yellow', text))
  for (const one of [first, second]) {
    out.line()
    out.line(styled('bold', `${one.method} ${one.url}`))
    out.line(decisionOf(one))
    if (one.key) out.line(`key  ${one.key.text}`)
  }
}

/** Shows what would become of a request. */
export function showOne(found: Explanation, out: Output): void {
  out.line(`${found.method} ${found.url}: `, decisionOf(found))
  out.line(found.decision.text)
  if (!found.isReached && found.status !== undefined) out.line(`The application answered ${found.status}.`)
  if (found.refused) out.line(`The last response for it was not kept: ${found.refused}`)
  if (found.key) {
    heading('Key', out)
    out.facts(keyFacts(found.key))
  }
  if (found.entry) showEntry(found.entry, out)
  if (found.options) showOptions(found.options, out)
}

function decisionOf({ decision: { outcome, reason, forward } }: Explanation): Part {
  const isAnswered = outcome === 'hit' || outcome === 'stale' || outcome === 'collapsed'
  const why = reason ?? forward
  return styled(isAnswered ? 'green' : 'yellow', why === undefined ? outcome : `${outcome} (${why})`)
}

function heading(title: string, out: Output): void {
  out.line()
  out.line(styled('bold', title))
}

function keyFacts(key: Explanation['key'] & {}): [string, Part | undefined][] {
  const { text, params, query, vary, ...plain } = key
  return [
    ['text', text],
    ...Object.entries(plain),
    ...Object.entries(params).map(([name, value]) => [`param ${name}`, [value].flat().join(' / ')] as [string, string]),
    ['query', query.length > 0 ? query.join(' & ') : undefined],
    ...Object.entries(vary).map(
      ([name, { value, from }]) => [`field ${name}`, `${value ?? '(none)'}  (from the ${from})`] as [string, string],
    ),
  ]
}

function showEntry(entry: Explanation['entry'] & {}, out: Output): void {
  heading('Stored', out)
  const tags = entry.tags.map(({ name, invalidatedAt }) =>
    invalidatedAt !== undefined && invalidatedAt > entry.stamp ? `${name} (purged since)` : name,
  )
  out.facts([
    ['status', String(entry.status)],
    ['made', `${moment(entry.time)}, in ${duration(entry.cost)}`],
    ['age', `${duration(entry.age)} of ${duration(entry.lifetime)}`],
    ['fresh for', entry.ttl > 0 ? duration(entry.ttl) : `stale since ${duration(-entry.ttl)}`],
    ['purged', entry.isInvalidated ? styled('red', 'yes') : 'no'],
    ['body', size(entry.size)],
    ['tier', entry.tier],
    ['encodings', entry.encodings.join(', ') || undefined],
    ['variants', entry.variants.length > 0 ? count(entry.variants.length) : undefined],
    ['tags', tags.join('  ')],
  ])
}

function showOptions(options: Explanation['options'] & {}, out: Output): void {
  const all = Object.entries(options)
  const said = all.filter(([, { from }]) => from !== 'default')
  const others = `${count(all.length - said.length)} others have their defaults; --json shows them.`
  heading('Options', out)
  if (said.length > 0) {
    out.table(
      [{ title: 'OPTION' }, { title: 'VALUE', isCut: true }, { title: 'FROM' }],
      said.map(([name, { value, from }]) => [name, sayValue(value), from]),
    )
  }
  out.line(styled('dim', others))
}

function sayValue(value: unknown): string {
  if (value === undefined) return 'as the response says'
  return typeof value === 'string' ? value : JSON.stringify(value)
}
