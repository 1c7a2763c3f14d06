import { hostname } from 'node:os'
import type { Cache } from '../cache.ts'
import { REASONS } from '../core/reasons.ts'
import type { FleetStats } from '../fleet.ts'
import { textOf } from './body.ts'
import { detail } from './entries.ts'
import { canExplain, explain } from './explain.ts'
import { type FleetReading, healthOf, routeOf, showNodes } from './fleet.ts'
import { type ListQuery, listEntries, listRoute, listTagged, listTags, listVariants } from './listing.ts'
import type { TagKind } from './names.ts'
import { purgeAsked } from './purge.ts'
import type { Recorder } from './recorder.ts'
import { Refusal } from './reply.ts'
import type { Visitor } from './visitor.ts'

/** What the admin routes answer from. */
export interface Desk {
  readonly cache: Cache
  readonly recorder: Recorder
  readonly isReadOnly: boolean
  readonly readFleet: FleetReading
}

/** One question, read. */
export interface Question {
  readonly query: URLSearchParams
  /** What a POST carries. */
  readonly given: Readonly<Record<string, unknown>>
  readonly visitor: Visitor
}

/** Answers a question with what becomes JSON. Throws a `Refusal`. */
export type Answering = (desk: Desk, question: Question) => unknown

/** What can be asked. */
export const READS: ReadonlyMap<string, Answering> = new Map<string, Answering>([
  ['/api/about', about],
  ['/api/stats', (desk, { query }) => (isOfFleet(query) ? fleetStats(desk, query) : stats(desk))],
  ['/api/series', ({ recorder }) => ({ of: whose(recorder), ...recorder.series() })],
  ['/api/routes', (desk, { query }) => (isOfFleet(query) ? fleetRoutes(desk) : routes(desk))],
  ['/api/tags', tags],
  ['/api/entries', entries],
  ['/api/entry', entry],
  ['/api/reasons', () => ({ reasons: REASONS })],
  ['/api/events', ({ recorder }) => ({ of: whose(recorder), events: recorder.timeline.read() })],
])

/** What can be asked with more than fits into a URL. */
export const QUESTIONS: ReadonlyMap<string, Answering> = new Map<string, Answering>([
  ['/api/explain', ({ cache, recorder }, { given }) => explain(cache, recorder, given)],
])

/** What can be done. */
export const WRITES: ReadonlyMap<string, Answering> = new Map<string, Answering>([
  ['/api/purge', ({ cache }, { given, visitor }) => purgeAsked(cache.flow, given, visitor.name)],
])

/** What everybody is told once a second: no numbers by route, which may be hundreds, with names as long as paths. */
export function tick(desk: Desk): object {
  const { recorder } = desk
  const { stats: all, ...more } = stats(desk)
  const { routes: _, ...numbers } = all
  return { seconds: recorder.lastSeconds(), events: recorder.news(), ...more, stats: numbers }
}

/** Whose numbers they are: one process knows of nobody else's requests. */
function whose(recorder: Recorder): object {
  return { kind: 'process', pid: process.pid, host: hostname(), since: recorder.since }
}

/** The same of numbers of all processes, with when each has said something. */
function whoseFleet({ recorder }: Desk, { nodes, unread }: FleetStats): object {
  return { kind: 'fleet', asked: whose(recorder), nodes: nodes.map(({ id, at }) => ({ id, at })), unread }
}

function isOfFleet(query: URLSearchParams): boolean {
  const of = query.get('of') ?? 'process'
  if (of !== 'process' && of !== 'fleet') throw new Refusal(400, 'bad-value', '"of" is one of process and fleet.')
  return of === 'fleet'
}

function about(desk: Desk, { visitor }: Question): object {
  const { cache, recorder, isReadOnly } = desk
  const { lists } = cache.flow.guard
  return {
    of: whose(recorder),
    node: process.version,
    namespace: cache.flow.options.namespace ?? null,
    visitor,
    can: {
      purge: !isReadOnly,
      explain: canExplain(cache),
      listTags: lists.tags,
      listEntries: lists.entries,
      fleet: cache.flow.guard.hasBoard,
    },
  }
}

function stats({ cache, recorder }: Desk) {
  const { maxBytes } = cache.flow.guard
  return {
    of: whose(recorder),
    health: recorder.health,
    ...(maxBytes === undefined ? {} : { maxBytes }),
    stats: cache.stats(),
  }
}

async function fleetStats(desk: Desk, query: URLSearchParams): Promise<object> {
  const by = query.get('by')
  if (by !== null && by !== 'node') throw new Refusal(400, 'bad-value', '"by" is node, or nothing.')
  const fleet = await desk.readFleet()
  const { total } = fleet
  return {
    of: whoseFleet(desk, fleet),
    now: desk.cache.flow.now(),
    health: healthOf(total),
    stats: total,
    nodes: showNodes(fleet, by === 'node'),
  }
}

function routes({ recorder }: Desk): object {
  return { of: whose(recorder), routes: recorder.routes.read() }
}

async function fleetRoutes(desk: Desk): Promise<object> {
  const fleet = await desk.readFleet()
  const routes = Object.entries(fleet.total.routes).map(([name, tally]) => routeOf(name, tally))
  return { of: whoseFleet(desk, fleet), routes }
}

const KINDS: readonly string[] = ['tag', 'route', 'uri'] satisfies TagKind[]

async function tags({ cache, recorder }: Desk, { query }: Question): Promise<object> {
  const kind = query.get('kind') ?? 'tag'
  if (!KINDS.includes(kind)) throw new Refusal(400, 'bad-value', '"kind" is one of tag, route and uri.')
  const { items, ...next } = await listTags(cache.flow, recorder, kind as TagKind, listQuery(query))
  return { tags: items, ...next }
}

async function entries({ cache: { flow } }: Desk, { query }: Question): Promise<object> {
  const asked = listQuery(query)
  const [tag, route] = [query.get('tag'), query.get('route')]
  const found = tag
    ? await listTagged(flow, tag, asked)
    : route
      ? await listRoute(flow, route, asked)
      : await listEntries(flow, asked)
  const { items, ...next } = found
  return { entries: items, ...next }
}

async function entry({ cache: { flow }, recorder }: Desk, { query }: Question): Promise<object> {
  const key = textOf({ key: query.get('key') ?? undefined }, 'key', 60_000)
  if (key === undefined) throw new Refusal(400, 'bad-value', 'Say the "key" of an entry.')
  const found = await flow.guard.lookup(key)
  if (!found) throw new Refusal(503, 'backend-away', 'The backend does not answer.')
  const shown = detail(flow, found)
  if (!shown) throw new Refusal(404, 'no-entry', 'There is no entry of that key.')
  const purges = shown.tags.map(({ kind, name }) => ({ kind, name, lastPurge: recorder.lastPurge(`${kind}/${name}`) }))
  return { ...shown, tags: purges, variants: await listVariants(flow, key) }
}

const MOST_LISTED = 500

function listQuery(query: URLSearchParams): ListQuery {
  const limit = Number(query.get('limit') ?? 50)
  if (!Number.isInteger(limit) || limit < 1 || limit > MOST_LISTED)
    throw new Refusal(400, 'bad-value', `"limit" is a number from 1 to ${MOST_LISTED}.`)
  return { prefix: query.get('prefix') ?? '', after: query.get('after') ?? undefined, limit }
}
