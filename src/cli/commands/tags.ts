import type { ListedTag } from '../../dashboard/listing.ts'
import type { Command } from '../command.ts'
import { EXIT } from '../exit.ts'
import { LIST_OPTIONS, list, sayMore } from '../list.ts'
import { styled } from '../output.ts'
import { count, moment } from '../text.ts'
import { sayWhoseEntries, whoseJson } from '../whose.ts'

export const tags: Command = {
  name: 'tags',
  summary: 'tags, with how many entries carry them and when they were purged last',
  about:
    'Lists the tags that entries carry, those of most entries first among the listed. Purged entries that are not yet gone may be counted. Who has purged a tag last is known of an application, since its dashboard was mounted.',
  options: {
    prefix: { type: 'string', value: 'TEXT', about: 'those that begin with that' },
    kind: {
      type: 'string',
      value: 'KIND',
      about: 'tag (the default), route, or uri: what the cache itself gives to entries',
      choices: ['tag', 'route', 'uri'],
    },
    ...LIST_OPTIONS,
  },
  examples: [
    ['tagcache tags --prefix product:', 'tags of products'],
    ["tagcache tags --all --json | jq -r '.tags[].name'", 'all of them, one a line'],
  ],
  hasTarget: true,
  async run(call) {
    const { given, out } = call
    const target = await call.target()
    const whose = await target.whose()
    const found = await list<ListedTag>(call, target, '/api/tags', {
      kind: given.text('kind') ?? 'tag',
      prefix: given.text('prefix') ?? '',
    })
    const sorted = [...found.items].sort((a, b) => b.entries - a.entries || (a.name < b.name ? -1 : 1))
    if (out.isJson) {
      out.json({ ...whoseJson(whose, target), isAll: found.isAll, tags: sorted })
    } else {
      out.line(styled('bold', sayWhoseEntries(whose, target)))
      out.table(
        [
          { title: 'TAG', isCut: true },
          { title: 'ENTRIES', isRight: true },
          { title: 'LAST PURGE' },
          { title: 'BY', isCut: true },
        ],
        sorted.map(({ name, entries, isAtLeast, lastPurge }) => [
          name,
          `${count(entries)}${isAtLeast ? '+' : ''}`,
          lastPurge ? moment(lastPurge.time) : '',
          lastPurge?.by ?? '',
        ]),
      )
      sayMore(found, out)
    }
    return sorted.length > 0 ? EXIT.done : EXIT.nothing
  },
}
