import type { Cache } from '../../src/cache.ts'
import type { StoredResponse } from '../../src/core/entry.ts'
import type { TagList } from '../../src/core/tags.ts'
import { decide } from '../../src/flow/decide.ts'
import { abandon, land } from '../../src/flow/land.ts'
import { look as firstLook } from '../../src/flow/look.ts'
import type { Decision, Finding, Run } from '../../src/flow/run.ts'
import { addTags } from '../../src/flow/tags.ts'
import type { ResponseHead } from '../../src/http/policy.ts'
import type { RouteOptions } from '../../src/options/route.ts'
import type { Target, Visit } from '../../src/visit.ts'

/** A request as adapters hand it to the cache. */
export function visitOf(
  cache: Cache,
  path: string,
  options: RouteOptions<never> = {},
  more: Partial<Omit<Visit, 'target'>> & { target?: Partial<Target> } = {},
): Visit {
  const { target, ...rest } = more
  return {
    method: 'GET',
    headers: {},
    route: cache.flow.route(options),
    call: (option) => option(...([] as never)),
    canRefresh: () => false,
    ...rest,
    target: { pattern: path, mount: '', path, params: {}, query: '', host: '', ...target },
  }
}

/** The first look of a request, as a promise. */
export async function look(cache: Cache, visit: Visit): Promise<Finding> {
  return firstLook(cache.flow, visit, () => {})
}

/** The run of a request that is expected to be for the handler. */
export async function begin(cache: Cache, visit: Visit): Promise<Run> {
  const finding = await look(cache, visit)
  if (finding.kind !== 'run') throw new Error(`a run was expected, not ${JSON.stringify(finding)}`)
  return finding.run
}

/** Ends a run with a response, as a handler that answers it. */
export async function finish(
  cache: Cache,
  run: Run,
  { body = '', tags = [], head = {} }: { body?: string; tags?: TagList; head?: Partial<ResponseHead> } = {},
): Promise<Decision> {
  addTags(cache.flow, run, tags)
  const decision = decide(cache.flow, run, { status: 200, fields: {}, ...head })
  if (decision.store) await land(cache.flow, run, decision, responseOf(body))
  else abandon(cache.flow, run, decision.reason)
  return decision
}

export function responseOf(body: string): StoredResponse {
  return { status: 200, statusMessage: '', headers: [], removed: [], body: Buffer.from(body), trailers: [] }
}

/** What a finding answers: the body of a hit, or what happens instead. */
export function answerOf(finding: Finding): string {
  if (finding.kind === 'hit') return Buffer.from(finding.entry.response.body).toString()
  return finding.kind === 'pass' ? `pass: ${finding.trace.reason}` : finding.kind
}
