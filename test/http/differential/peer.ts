import CachePolicy from 'http-cache-semantics'
import type { Fields } from '../../../src/http/fields.ts'
import { type Answered, type Asked, type Case, type Control, type Later, requestFields, responseLines } from './case.ts'
import { type Answer, REFUSED, type Verdict } from './verdict.ts'

// What the types leave out.
interface Policy extends CachePolicy {
  now(): number
  useStaleWhileRevalidate(): boolean
}
const Base = CachePolicy as unknown as new (
  request: CachePolicy.Request,
  response: CachePolicy.Response,
  options: CachePolicy.Options,
) => Policy

// The constructor asks for the time already.
const clock = { now: 0 }

class TimedPolicy extends Base {
  override now(): number {
    return clock.now
  }

  // A tenth has a last bit in floating point, and what is compared at the very second must not hang on it.
  override maxAge(): number {
    return Math.round(super.maxAge() * 1e6) / 1e6
  }
}

function peerRequest(asked: Asked): CachePolicy.Request {
  return { url: asked.url, method: asked.method, headers: requestFields(asked) }
}

// As node:http hands it over: Set-Cookie a list, of Age and Expires the first line, all else joined.
function peerFields(lines: Fields): CachePolicy.Headers {
  return Object.fromEntries(
    Object.entries(lines).map(([name, value]) => {
      if (!Array.isArray(value)) return [name, name === 'set-cookie' ? [String(value)] : String(value)]
      if (name === 'set-cookie') return [name, value]
      return [name, name === 'age' || name === 'expires' ? value[0] : value.join(', ')]
    }),
  )
}

function policyOf({ request, response, storedAt, heuristic }: Case, told: Answered = response): Policy {
  clock.now = storedAt
  const answered = { status: told.status, headers: peerFields(responseLines(told)) }
  return new TimedPolicy(peerRequest(request), answered, { shared: true, cacheHeuristic: heuristic ? 0.1 : 0 })
}

/** What http-cache-semantics knows of a stored response at a time; times in milliseconds. */
export interface Standing {
  readonly age: number
  readonly left: number
  readonly isStale: boolean
  readonly mayServeWhileRevalidating: boolean
}

function standing(policy: Policy, at: number): Standing {
  clock.now = at
  const age = policy.age() * 1000
  return {
    age,
    left: policy.maxAge() * 1000 - age,
    isStale: policy.stale(),
    mayServeWhileRevalidating: policy.useStaleWhileRevalidate(),
  }
}

/** The standing at each of those times. */
export function standings(given: Case, times: readonly number[]): Standing[] {
  const policy = policyOf(given)
  return times.map((at) => standing(policy, at))
}

/** What http-cache-semantics makes of a case, as it is. */
export function decidePeer(given: Case): Verdict {
  const policy = policyOf(given)
  if (!policy.storable()) return REFUSED
  const { left } = standing(policy, given.storedAt)
  const { etag, modified } = given.response
  const toValidate = etag !== undefined || modified ? given.keepStale : 0
  const keep = Math.max(policy.timeToLive(), toValidate > 0 ? Math.max(0, left) + toValidate : 0)
  const selector = selectorOf(given)
  return { isKept: keep > 0, keep, answers: given.later.map((later) => answerTo(policy, selector, later)) }
}

const FOR_EVER: Control = {
  members: [
    { name: 'public', written: 'public', argument: '', seconds: undefined },
    { name: 'max-age', written: 'max-age', argument: '=9999999999', seconds: 9999999999 },
  ],
  separator: ', ',
  isSplit: false,
}

// A response to the same request that answers, for ever, whoever it matches.
function selectorOf(given: Case): Policy {
  const { vary, etag } = given.response
  const request = { ...given.request, control: undefined }
  const nothing = { date: undefined, modified: undefined, age: undefined, pragma: undefined, expires: [], cookies: [] }
  return policyOf({ ...given, request }, { ...nothing, status: 200, control: FOR_EVER, vary, etag })
}

function answerTo(policy: Policy, selector: Policy, later: Later): Answer {
  const { age, left, isStale } = standing(policy, later.at)
  const matches = selector.satisfiesWithoutRevalidation(
    peerRequest({ ...later, control: undefined, pragma: undefined }),
  )
  const request = peerRequest(later)
  const { response, revalidation } = policy.evaluateRequest(request)
  const known = { matches, age, left }
  if (response) {
    const outcome = revalidation ? 'stale-while-revalidate' : isStale ? 'max-stale' : 'fresh'
    return { ...known, outcome, replacesError: false }
  }
  const failed = policy.revalidatedPolicy(request, { status: 500, headers: {} })
  return { ...known, outcome: 'ask', replacesError: matches && isStale && failed.policy === policy }
}
