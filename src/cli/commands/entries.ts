import type { EntrySummary } from '../../dashboard/entries.ts'
import type { Command, Given } from '../command.ts'
import { EXIT, misused } from '../exit.ts'
import { LIST_OPTIONS, list, sayMore, showEntries } from '../list.ts'
import { styled } from '../output.ts'
import { sayWhoseEntries, whoseJson } from '../whose.ts'

export const entries: Command = {
  name: 'entries',
  summary: 'stored responses, by tag, by route or by what their keys begin with',
  about:
    'Lists what is stored: of a tag the newest first, else in any order. An entry is fresh; or stale, and may still answer while it is made anew; or purged, which never answers and goes by itself.',
  options: {
    tag: { type: 'string', short: 't', value: 'TAG', about: 'those that carry that tag' },
    route: { type: 'string', short: 'r', value: 'ROUTE', about: "those of a route, as 'GET /products/:id'" },
    prefix: { type: 'string', value: 'TEXT', about: 'those whose keys begin with that' },
    ...LIST_OPTIONS,
  },
  examples: [
    ['tagcache entries --tag product:42', 'what a purge of that tag reaches'],
    ["tagcache entries --route 'GET /products/:id' --limit 10", 'ten entries of a route'],
  ],
  hasTarget: true,
  async run(call) {
    const { out } = call
    const query = queryOf(call.given)
    const target = await call.target()
    const whose = await target.whose()
    const found = await list<EntrySummary>(call, target, '/api/entries', query)
    if (out.isJson) {
      out.json({ ...whoseJson(whose, target), isAll: found.isAll, entries: found.items })
    } else {
      out.line(styled('bold', sayWhoseEntries(whose, target)))
      showEntries(found.items, out)
      sayMore(found, out)
    }
    return found.items.length > 0 ? EXIT.done : EXIT.nothing
  },
}

function queryOf(given: Given): Record<string, string> {
  const asked = ['tag', 'route', 'prefix'].flatMap((name) => {
    const text = given.text(name)
    return text === undefined ? [] : [[name, text] as const]
  })
  if (asked.length > 1) throw misused('Give one of --tag, --route and --prefix.')
  return Object.fromEntries(asked)
}
