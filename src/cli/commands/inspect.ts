import type { Explanation } from '../../core/explanation.ts'
import { uriNames } from '../../core/uri.ts'
import type { EntryDetails, EntrySummary } from '../../dashboard/entries.ts'
import type { ShownTag } from '../../dashboard/names.ts'
import type { LastPurge } from '../../dashboard/recorder.ts'
import type { Call, Command } from '../command.ts'
import { EXIT, type ExitCode, Failure } from '../exit.ts'
import { pages, showEntries, stateOf, tagsOf } from '../list.ts'
import { type Output, styled } from '../output.ts'
import { HEADER_OPTION, isUrl, requestTo } from '../requests.ts'
import type { Target, Whose } from '../targets/target.ts'
import { count, duration, moment, size } from '../text.ts'
import { sayWhoseEntries, whoseJson } from '../whose.ts'
import { showOne } from './explain.ts'

type Shown = Omit<EntryDetails, 'tags'> & {
  readonly tags: readonly (ShownTag & { readonly lastPurge?: LastPurge })[]
  readonly variants: readonly EntrySummary[]
}

export const inspect: Command = {
  name: 'inspect',
  summary: 'one stored response: headers, tags, lifetimes, variants, the beginning of its body',
  takes: '<key|url>',
  least: 1,
  most: 1,
  about:
    'Shows an entry by its key, as `tagcache entries` lists it, or by the URL that it answers. An application finds the entry of a URL as it would for a request with those fields; in Redis all entries are gone through, which takes a while where there are many, and only those are found that were made for that URL.',
  options: { header: HEADER_OPTION },
  examples: [
    ["tagcache inspect 'GET /products/:id?id=42#host=localhost%3A3000'", 'by key'],
    ['tagcache inspect /products/42', 'by path'],
    ["tagcache inspect https://example.com/ -H 'accept-language: de'", 'the variant for a language'],
  ],
  hasTarget: true,
  async run(call) {
    const [asked = ''] = call.given.arguments
    const target = await call.target()
    const whose = await target.whose()
    const entry = await entryOf(target, asked)
    if (entry) return show(call, target, whose, entry)
    if (!isUrl(asked)) throw new Failure(EXIT.nothing, `There is no entry of the key ${asked} in ${target.name}.`)
    if (whose.kind === 'store') return inspectScanned(call, target, whose, asked)
    return inspectExplained(call, target, whose, asked)
  },
}

async function entryOf(target: Target, key: string): Promise<Shown | undefined> {
  try {
    return (await target.read('/api/entry', { key })) as Shown
  } catch (error) {
    if (error instanceof Failure && error.exit === EXIT.nothing) return undefined
    throw error
  }
}

async function inspectExplained(call: Call, target: Target, whose: Whose, url: string): Promise<ExitCode> {
  const found = (await target.explain(requestTo(url, call.given.texts('header')))) as Explanation
  const entry = found.key && (await entryOf(target, found.key.text))
  if (entry) return show(call, target, whose, entry)
  if (!found.entry) {
    throw new Failure(
      EXIT.nothing,
      `Nothing is stored for ${url} in ${target.name}. ${found.decision.text}`,
      'More: tagcache explain',
    )
  }
  // What is kept for somebody alone is shown without the key, which names him.
  if (call.out.isJson) call.out.json({ ...whoseJson(whose, target), explanation: found })
  else {
    call.out.line(styled('bold', sayWhoseEntries(whose, target)))
    showOne(found, call.out)
  }
  return EXIT.done
}

async function inspectScanned(call: Call, target: Target, whose: Whose, url: string): Promise<ExitCode> {
  const { out, stop } = call
  const isAsked = matcherOf(url)
  const found: EntrySummary[] = []
  let seen = 0
  for await (const { items } of pages<EntrySummary>(target, '/api/entries', {})) {
    found.push(...items.filter(({ tags }) => tagsOf(tags, 'uri').some(isAsked)))
    seen += items.length
    if (stop.aborted) break
    out.progress(`${count(seen)} entries gone through, ${count(found.length)} found`)
  }
  out.endProgress()
  const [first] = found
  if (!first) throw new Failure(EXIT.nothing, `Nothing is stored for ${url} in ${target.name}.`)
  const entry = found.length === 1 ? await entryOf(target, first.key) : undefined
  if (entry) return show(call, target, whose, entry)
  if (out.isJson) out.json({ ...whoseJson(whose, target), entries: found })
  else {
    out.line(styled('bold', sayWhoseEntries(whose, target)))
    out.line(`${count(found.length)} entries answer for ${url}; each is shown by its key.`)
    showEntries(found, out)
  }
  return EXIT.done
}

// A path is of any host.
function matcherOf(url: string): (name: string) => boolean {
  const { host, pathname, search } = new URL(url, 'http://any')
  const names = uriNames(host, pathname, search.slice(1)).map((name) => name.slice('uri/'.length))
  if (!url.startsWith('/')) return (name) => names.includes(name)
  const paths = names.map(withoutHost)
  return (name) => paths.includes(withoutHost(name))
}

function withoutHost(name: string): string {
  const at = name.indexOf('/')
  return at === -1 ? name : name.slice(at)
}

function show({ out }: Call, target: Target, whose: Whose, entry: Shown): ExitCode {
  if (out.isJson) out.json({ ...whoseJson(whose, target), entry })
  else {
    out.line(styled('bold', sayWhoseEntries(whose, target)))
    out.line()
    showFacts(entry, out)
    showFields(entry, out)
    if (entry.variants.length > 0) {
      heading('Other variants', out)
      showEntries(entry.variants, out)
    }
    showBody(entry, out)
  }
  return EXIT.done
}

function showFacts(entry: Shown, out: Output): void {
  const { staleWhileRevalidate, staleIfError } = entry
  out.facts([
    ['key', entry.key],
    ['route', entry.route],
    ['state', stateOf(entry)],
    ['status', `${entry.status} ${entry.statusMessage}`],
    ['made', `${moment(entry.time)}, in ${duration(entry.cost / 1000)}`],
    ['age', duration(entry.age)],
    ['fresh for', entry.ttl > 0 ? duration(entry.ttl) : `stale since ${duration(-entry.ttl)}`],
    ['stale while revalidating', staleWhileRevalidate > 0 ? duration(staleWhileRevalidate) : undefined],
    ['stale if error', staleIfError > 0 ? duration(staleIfError) : undefined],
    ['body', size(entry.size)],
    ['encodings', entry.encodings.map(({ coding, size: bytes }) => `${coding} ${size(bytes)}`).join(', ') || undefined],
  ])
  heading('Tags', out)
  for (const { kind, name, lastPurge } of entry.tags) {
    const by = lastPurge?.by === undefined ? '' : ` by ${lastPurge.by}`
    out.line(styled('dim', `${kind.padEnd(5)} `), name, lastPurge ? `  (purged ${moment(lastPurge.time)}${by})` : '')
  }
}

function showFields({ headers, trailers }: Shown, out: Output): void {
  heading('Headers', out)
  for (const [name, lines] of [...headers, ...trailers]) {
    for (const line of lines) out.line(styled('dim', `${name}: `), line)
  }
}

function showBody({ body }: Shown, out: Output): void {
  heading('Body', out)
  if (body.text === undefined) return out.line(`${size(body.size)} of ${body.type ?? 'no type'}, not shown`)
  for (const line of body.text.split(/\r?\n/)) out.line(line.replaceAll('\t', '    '))
  if (body.isCut) out.line(styled('dim', `… ${size(body.size)} in all`))
}

function heading(title: string, out: Output): void {
  out.line()
  out.line(styled('bold', title))
}
