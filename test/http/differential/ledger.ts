import { formatDate } from '../../../src/http/date.ts'
import {
  type Answered,
  type Asked,
  type Case,
  type Control,
  type Directive,
  find,
  has,
  type Later,
  NO_MEMBERS,
  type Stamp,
  secondsOf,
} from './case.ts'
import { decidePeer, type Standing, standings } from './peer.ts'
import type { Answer, Verdict } from './verdict.ts'

/**
 * A rule on which http-cache-semantics decides otherwise than we do. It is told the case in such words, or its verdict
 * is changed in such a way, that it keeps to that rule: what is left of a disagreement then is not explained by it.
 */
export interface LedgerEntry {
  readonly name: string
  /** Of RFC 9111, where no other is named. */
  readonly clause: string
  /** Who keeps to the clause. `both`: it leaves the choice. `theirs`: a fault of ours, until it is mended. */
  readonly right: 'ours' | 'theirs' | 'both'
  readonly why: string
  /** Whether the rule comes into play. */
  readonly recognises: (given: Case) => boolean
  /** The case in words by which the peer keeps to the rule. */
  readonly retell?: (given: Case) => Case
  /** The verdict of a peer that keeps to the rule. */
  readonly revise?: (verdict: Verdict, given: Case) => Verdict
}

// ——— Retelling ———

function answering(given: Case, change: Partial<Answered>): Case {
  return { ...given, response: { ...given.response, ...change } }
}

function asking(given: Case, change: (asked: Asked) => Partial<Asked>): Case {
  return {
    ...given,
    request: { ...given.request, ...change(given.request) },
    later: given.later.map((later) => ({ ...later, ...change(later) })),
  }
}

function askingLater(given: Case, change: (later: Later, index: number) => Partial<Later>): Case {
  return { ...given, later: given.later.map((later, index) => ({ ...later, ...change(later, index) })) }
}

function controlling(given: Case, change: (control: Control) => Control): Case {
  const { control } = given.response
  return control ? answering(given, { control: change(control) }) : given
}

// In all of the case's Cache-Control fields.
function controllingAll(given: Case, change: (control: Control) => Control): Case {
  return asking(controlling(given, change), ({ control }) => ({ control: control && change(control) }))
}

function eachMember(change: (member: Directive) => Directive): (control: Control) => Control {
  return (control) => ({ ...control, members: control.members.map(change) })
}

function without(...names: readonly string[]): (control: Control) => Control {
  return (control) => ({ ...control, members: control.members.filter(({ name }) => !names.includes(name)) })
}

function directive(name: string): Directive {
  return { name, written: name, argument: '', seconds: undefined }
}

function withMember(given: Case, name: string): Case {
  const { control = NO_MEMBERS } = given.response
  return answering(given, { control: { ...control, members: [directive(name), ...control.members] } })
}

function refused(given: Case): Case {
  return withMember(given, 'no-store')
}

// The response may not be served stale, whoever would have it.
function neverStale(given: Case): Case {
  const narrowed = controlling(given, without('stale-while-revalidate', 'stale-if-error'))
  return askingLater(narrowed, ({ control }) => ({ control: control && without('max-stale')(control) }))
}

// Requests look as if they had no Authorization, though Vary still tells them apart by it.
function hideAuthorization(given: Case): Case {
  const vary = given.response.vary.map((line) => line.replace(/authorization/gi, 'x-hidden'))
  return asking(answering(given, { vary }), ({ authorization, fields }) => ({
    authorization: undefined,
    fields:
      authorization === undefined ? fields : { ...fields, 'x-hidden': { text: authorization, plain: authorization } },
  }))
}

function withStamps(given: Case, change: (stamp: Stamp) => Stamp): Case {
  const { expires, date, modified } = given.response
  return answering(given, {
    expires: expires.map(change),
    date: date && change(date),
    modified: modified && change(modified),
  })
}

function standingsLater(given: Case): Standing[] {
  return standings(
    given,
    given.later.map(({ at }) => at),
  )
}

// ——— Recognising ———

const NUMBERED = ['max-age', 's-maxage', 'stale-while-revalidate', 'stale-if-error', 'max-stale', 'min-fresh']
const FLAGS = ['public', 'private', 'no-store', 'no-cache', 'must-revalidate', 'proxy-revalidate', 'immutable']
const UNREADABLE = 'unreadable'

function controlsOf({ request, response, later }: Case): Control[] {
  return [request, response, ...later].map(({ control }) => control).filter((control) => control !== undefined)
}

function someMember(test: (member: Directive) => boolean): (given: Case) => boolean {
  return (given) => controlsOf(given).some(({ members }) => members.some(test))
}

function someStamp(given: Case, test: (stamp: Stamp) => boolean): boolean {
  const { expires, date, modified } = given.response
  return [...expires, date, modified].some((stamp) => stamp !== undefined && test(stamp))
}

const isNumber = ({ name }: Directive) => NUMBERED.includes(name)

// RFC 9110, 15.1.
const isHeuristicStatus = (status: number) =>
  [200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501].includes(status)

// RFC 9110, 15: the final codes that it defines, less those whose rules about parts and validation are options or no answers.
const isDefinedStatus = (status: number) =>
  (status >= 200 && status <= 205) ||
  [300, 301, 302, 303, 307, 308, 421, 422, 426].includes(status) ||
  (status >= 400 && status <= 417) ||
  (status >= 500 && status <= 505)

// The peer's own list.
const isKnownToPeer = (status: number) =>
  (isHeuristicStatus(status) && status !== 206) || [302, 303, 307].includes(status)
const isFinal = (status: number) => status >= 200 && status <= 599 && status !== 206 && status !== 304
const isNeverStored = (status: number) => [428, 429, 431, 511].includes(status)

const hasLifetime = ({ response: { control, expires } }: Case) =>
  has(control, 'max-age', 's-maxage') || expires.length > 0

function mayBeEstimated({ heuristic, response: { status, control, modified } }: Case): boolean {
  return heuristic && modified?.time !== undefined && (isHeuristicStatus(status) || has(control, 'public'))
}

const saysLifetime = (given: Case) => hasLifetime(given) || has(given.response.control, 'no-cache')
const isEstimated = (given: Case) => !saysLifetime(given) && mayBeEstimated(given)
const dateOf = ({ storedAt, response: { date } }: Case) => date?.time ?? storedAt
const LONGEST_BASE = 10 * 24 * 3_600_000

function apparentAge({ storedAt, response: { date } }: Case): number {
  return date?.time === undefined ? 0 : Math.floor(storedAt / 1000) - date.time / 1000
}

// ——— Revising ———

function isAtEndOfStaleIfError(given: Case, { matches, outcome, left }: Answer): boolean {
  const seconds = secondsOf(given.response.control, 'stale-if-error') ?? 0
  return matches && outcome === 'ask' && seconds > 0 && Math.abs(left + seconds * 1000) < 0.001
}

/** In the order in which they are applied: first what a message means, then what follows from it. */
export const LEDGER: readonly LedgerEntry[] = [
  // ——— What is written ———
  {
    name: 'names of directives in any case',
    clause: '5.2',
    right: 'ours',
    why: 'Names are case-insensitive; theirs knows them in lower case alone.',
    recognises: someMember(({ name, written }) => name !== written),
    retell: (given) =>
      controllingAll(
        given,
        eachMember((member) => ({ ...member, written: member.name })),
      ),
  },
  {
    name: 'commas within quoted strings',
    clause: '5.2; RFC 9110, 5.6.4',
    right: 'ours',
    why: 'A quoted string is one argument; theirs splits at every comma and finds directives in it.',
    recognises: someMember(({ name, argument }) => name === 'ext' && argument.includes(',')),
    retell: (given) =>
      controllingAll(
        given,
        eachMember((member) => (member.name === 'ext' ? { ...member, argument: '' } : member)),
      ),
  },
  {
    name: 'a directive given twice',
    clause: '4.2.1',
    right: 'ours',
    why: 'The first occurrence is to be used, or the response to be considered stale; theirs uses the last.',
    recognises: (given) =>
      controlsOf(given).some(({ members }) => new Set(members.map(({ name }) => name)).size < members.length),
    retell: (given) =>
      controllingAll(given, (control) => ({
        ...control,
        members: control.members.filter((member) => find(control, member.name) === member),
      })),
  },
  {
    name: 'an argument that is no number of seconds',
    clause: '1.2.2, 4.2.1',
    right: 'ours',
    why: 'Seconds are digits alone; what is there but invalid is best considered stale. Theirs reads the digits that it begins with, and takes an empty argument for no directive.',
    recognises: someMember((member) => isNumber(member) && member.argument !== '' && member.seconds === undefined),
    retell: (given) =>
      controllingAll(
        given,
        eachMember((member) =>
          isNumber(member) && member.argument !== '' && member.seconds === undefined
            ? { ...member, argument: '=0', seconds: 0 }
            : member,
        ),
      ),
  },
  {
    name: 'escapes in a quoted number',
    clause: '5.2; RFC 9110, 5.6.4',
    right: 'ours',
    why: 'A recipient takes both forms of an argument, and an escaped character for that character; theirs leaves the backslash.',
    recognises: someMember((member) => isNumber(member) && member.argument.includes('\\')),
    retell: (given) =>
      controllingAll(
        given,
        eachMember((member) =>
          isNumber(member) && member.argument.includes('\\') ? { ...member, argument: `=${member.seconds}` } : member,
        ),
      ),
  },
  {
    name: 'seconds beyond 2^31',
    clause: '1.2.2',
    right: 'both',
    why: 'What is too large counts as 2147483648, or as the largest that can be represented.',
    recognises: someMember((member) => isNumber(member) && member.seconds === 2 ** 31),
    retell: (given) =>
      controllingAll(
        given,
        eachMember((member) => (member.seconds === 2 ** 31 ? { ...member, argument: '=2147483648' } : member)),
      ),
  },
  {
    name: 'an empty argument where there should be none',
    clause: '5.2.2',
    right: 'ours',
    why: 'A directive is there, whatever its argument; an empty one makes theirs overlook no-store, private and the like.',
    recognises: someMember(({ name, argument }) => FLAGS.includes(name) && argument !== ''),
    retell: (given) =>
      controllingAll(
        given,
        eachMember((member) => (FLAGS.includes(member.name) ? directive(member.name) : member)),
      ),
  },
  {
    name: 'dates that have none of the three forms',
    clause: '5.3; RFC 9110, 5.6.7',
    right: 'ours',
    why: 'Invalid dates, and above all 0, mean "already expired" in Expires, and nothing elsewhere; theirs takes all that Date.parse takes, and an empty Expires for none.',
    recognises: (given) => someStamp(given, ({ time }) => time === undefined),
    retell: (given) =>
      withStamps(given, (stamp) => (stamp.time === undefined ? { ...stamp, text: UNREADABLE } : stamp)),
  },
  {
    name: 'forms of dates',
    clause: 'RFC 9110, 5.6.7',
    right: 'ours',
    why: 'All three forms are to be accepted, all of them in GMT, with leap seconds; Date.parse knows no second 60, takes asctime for local time, and every two-digit year below 50 for this century.',
    recognises: (given) => someStamp(given, ({ form, time }) => form !== 'imf' && time !== undefined),
    retell: (given) => withStamps(given, (stamp) => (stamp.time === undefined ? stamp : imf(stamp.time))),
  },
  {
    name: 'two Expires lines',
    clause: '4.2.1',
    right: 'both',
    why: 'The first is to be used, or the response to be considered stale: theirs is given the first, ours considers it stale.',
    recognises: ({ response }) => response.expires.length > 1,
    retell: (given) => answering(given, { expires: [{ form: 'none', text: UNREADABLE, time: undefined }] }),
  },
  {
    name: 'an Age that is no number of seconds',
    clause: '5.1',
    right: 'ours',
    why: 'Of a list the first member counts, and what is invalid is ignored; theirs reads the digits that it begins with, with their sign.',
    recognises: ({ response: { age } }) => age !== undefined && !/^\d+$/.test(age.lines[0]!),
    retell: (given) => answering(given, { age: aged(given.response.age?.seconds) }),
  },
  {
    name: 'an Age beyond 2^31',
    clause: '1.2.2',
    right: 'both',
    why: 'What is too large counts as 2147483648, or as the largest that can be represented.',
    recognises: ({ response: { age } }) => age?.seconds === 2 ** 31,
    retell: (given) => answering(given, { age: aged(2 ** 31) }),
  },
  {
    name: 'Pragma in a response',
    clause: '5.4',
    right: 'both',
    why: 'It was never specified for responses, and is deprecated in requests; theirs takes it for no-cache.',
    recognises: ({ response }) => response.pragma !== undefined,
    retell: (given) => answering(given, { pragma: undefined }),
  },
  {
    name: 'Pragma beside Cache-Control, or with another word',
    clause: '5.4; RFC 7234, 5.4',
    right: 'ours',
    why: 'Pragma: no-cache counts where there is no Cache-Control, and is a word among others; theirs searches for it as text, in lower case, whatever else the request says.',
    recognises: (given) => given.later.some(({ pragma }) => pragma !== undefined),
    retell: (given) =>
      askingLater(given, ({ pragma, control }) => ({
        pragma: pragma?.isNoCache && !control ? { text: 'no-cache', isNoCache: true } : undefined,
      })),
  },
  {
    name: 'Accept-Encoding by what it means',
    clause: '4.1; RFC 9110, 12.5.3',
    right: 'both',
    why: 'A cache may normalise what it knows to have identical semantics: order of equal weights, case, x-gzip.',
    recognises: ({ request, later }) =>
      [request, ...later].some(({ fields }) => fields['accept-encoding']?.text !== fields['accept-encoding']?.plain),
    retell: (given) =>
      asking(given, ({ fields }) => {
        const encoding = fields['accept-encoding']
        return { fields: { ...fields, 'accept-encoding': encoding && { ...encoding, text: encoding.plain } } }
      }),
  },

  // ——— Who may use it ———
  {
    name: 'must-understand',
    clause: '5.2.2.3',
    right: 'ours',
    why: 'A cache that implements it ignores no-store beside it where it knows the status, and stores nothing where it does not.',
    recognises: ({ response }) => has(response.control, 'must-understand'),
    retell: (given) =>
      isDefinedStatus(given.response.status)
        ? controlling(given, without('must-understand', 'no-store'))
        : refused(controlling(given, without('must-understand'))),
  },
  {
    name: 'a shared response for a request with Authorization',
    clause: '3.5',
    right: 'both',
    why: 'The clause speaks of responses to requests with Authorization. Ours does not give a request with Authorization what was made for one without either, unless the response says that it may.',
    recognises: ({ response: { control }, later }) =>
      !has(control, 'public', 'must-revalidate', 's-maxage') &&
      later.some(({ authorization }) => authorization !== undefined),
    retell: (given) =>
      askingLater(given, ({ authorization, url }) => ({ url: authorization === undefined ? url : '/elsewhere' })),
  },
  {
    name: 'HEAD is answered by what GET got',
    clause: '4; RFC 9110, 9.3.2',
    right: 'ours',
    why: 'The method of a stored GET allows it to be used for HEAD; theirs wants the same method.',
    recognises: ({ request, later }) => request.method === 'GET' && later.some(({ method }) => method === 'HEAD'),
    retell: (given) => askingLater(given, ({ method }) => ({ method: method === 'HEAD' ? 'GET' : method })),
  },
  {
    name: 'responses to HEAD and POST',
    clause: '3; RFC 9110, 9.3.2 and 9.3.3',
    right: 'both',
    why: 'Storing is never demanded. Ours stores no answer to HEAD, and one to POST only by an option and for GET; theirs stores both, and answers the next POST without asking.',
    recognises: ({ request }) => request.method === 'HEAD' || request.method === 'POST',
    retell: refused,
  },
  {
    name: 'Vary with a * in it',
    clause: '4.1',
    right: 'ours',
    why: 'A * anywhere never matches, so there is nothing to keep; theirs keeps what has another name beside it, or may be served stale.',
    recognises: ({ response }) => response.vary.some((line) => line.includes('*')),
    retell: refused,
  },

  // ——— Whether it is stored ———
  {
    name: 'final statuses that are not heuristically cacheable',
    clause: '3',
    right: 'ours',
    why: 'Any final status may be stored with a lifetime of its own, understood or not; theirs knows 302, 303 and 307 alone.',
    recognises: ({ response: { status } }) => isFinal(status) && !isKnownToPeer(status) && !isNeverStored(status),
    retell: (given) => answering(given, { status: 302 }),
  },
  {
    name: 'Set-Cookie',
    clause: '7.3',
    right: 'both',
    why: 'Set-Cookie does not keep a response from being stored. Theirs takes it for stale unless it is public; ours refuses it unless `storeSetCookie`, which is on here.',
    recognises: ({ response }) => response.cookies.length > 0,
    retell: (given) => answering(given, { cookies: [] }),
  },
  {
    name: 'immutable',
    clause: 'RFC 8246, 2',
    right: 'ours',
    why: 'It tells clients not to reload what is fresh, and gives no lifetime; theirs makes it a day at least.',
    recognises: ({ response }) => has(response.control, 'immutable'),
    retell: (given) => controlling(given, without('immutable')),
  },
  {
    name: 'no lifetime of any kind',
    clause: '3, 4.2.2',
    right: 'both',
    why: 'Storing is never demanded, and neither is estimating a lifetime. Ours stores nothing that says nothing of its lifetime, not for validation and not to be served stale either.',
    recognises: (given) => !saysLifetime(given) && !mayBeEstimated(given),
    retell: refused,
  },

  // ——— How old it is, and how long it is fresh ———
  {
    name: 'the age that Date shows',
    clause: '4.2.3',
    right: 'ours',
    why: 'A response is as old as its Age or its Date says, whichever is more; theirs looks at Age alone.',
    recognises: (given) => apparentAge(given) > (given.response.age?.seconds ?? 0),
    retell: (given) => answering(given, { age: aged(apparentAge(given)) }),
  },
  {
    name: 'a day at the most is estimated',
    clause: '4.2.2',
    right: 'both',
    why: 'The RFC sets no limit, and has a share of the time since Last-Modified as an example; ours takes a tenth, but a day at the most.',
    recognises: (given) => isEstimated(given) && dateOf(given) - given.response.modified!.time! > LONGEST_BASE,
    retell: (given) => {
      const time = dateOf(given) - LONGEST_BASE
      return answering(given, { modified: { form: 'iso', text: new Date(time).toISOString(), time } })
    },
  },
  {
    name: 'a clock that was set back',
    clause: '4.2.3',
    right: 'both',
    why: 'The RFC supposes a clock that goes on. Ours takes a request from before the response for one of the same moment; theirs makes the response younger than it was.',
    recognises: ({ storedAt, later }) => later.some(({ at }) => at < storedAt),
    retell: (given) => askingLater(given, ({ at }) => ({ at: Math.max(at, given.storedAt) })),
  },

  // ——— Whether it may be served stale ———
  {
    name: 'no-cache is never served stale',
    clause: '5.2.2.4, 4.2.4',
    right: 'ours',
    why: 'It must not be used without validation; theirs serves it within stale-while-revalidate, and to max-stale.',
    recognises: ({ response }) => has(response.control, 'no-cache'),
    retell: neverStale,
  },
  {
    name: 's-maxage is never served stale',
    clause: '5.2.2.10, 4.2.4',
    right: 'ours',
    why: 'It includes proxy-revalidate; theirs serves it within stale-while-revalidate, and to max-stale.',
    recognises: ({ response }) => has(response.control, 's-maxage'),
    retell: neverStale,
  },
  {
    name: 'must-revalidate and proxy-revalidate',
    clause: '5.2.2.2, 5.2.2.8, 4.2.4',
    right: 'ours',
    why: 'They begin to count when the response has become stale, and then forbid every stale use; theirs never uses the one without validation and takes the other for stale, yet lets errors be replaced.',
    recognises: ({ response }) => has(response.control, 'must-revalidate', 'proxy-revalidate'),
    retell: (given) => {
      // The one also allows storing what a request with Authorization got, which has to stay.
      const isShared = has(given.response.control, 'must-revalidate')
      const told = controlling(neverStale(given), without('must-revalidate', 'proxy-revalidate'))
      return isShared ? hideAuthorization(told) : told
    },
  },
  {
    name: 'max-stale to the very second',
    clause: '5.2.1.2',
    right: 'ours',
    why: 'A response may have exceeded its lifetime by no more than that, so by just that; theirs wants less.',
    recognises: (given) => given.later.some(({ control }) => secondsAllowed(control) !== undefined),
    // Its comparison takes any number, and two times here that differ do so by a hundredth of a second at least.
    retell: (given) =>
      askingLater(given, ({ control }) => ({
        control:
          control &&
          eachMember((member) => {
            const seconds = member.name === 'max-stale' ? secondsAllowed(control) : undefined
            return seconds === undefined ? member : { ...member, argument: `=${seconds}.005` }
          })(control),
      })),
  },
  {
    name: 'stale-while-revalidate before max-stale',
    clause: '5.2.1.2; RFC 5861, 3',
    right: 'both',
    why: 'Where both allow a stale answer, ours makes a new response in the background; theirs does without.',
    recognises: (given) =>
      (secondsOf(given.response.control, 'stale-while-revalidate') ?? 0) > 0 &&
      given.later.some(({ control }) => has(control, 'max-stale')),
    retell: (given) => {
      const stands = standingsLater(given)
      return askingLater(given, ({ control }, index) => {
        const { isStale, mayServeWhileRevalidating } = stands[index]!
        return { control: control && isStale && mayServeWhileRevalidating ? without('max-stale')(control) : control }
      })
    },
  },
  {
    name: 'stale-if-error to the very second',
    clause: 'RFC 5861, 4',
    right: 'ours',
    why: 'Its value is the upper limit to staleness: what is more stale must not be used, what is just as stale may be; theirs wants less.',
    recognises: ({ response }) => (secondsOf(response.control, 'stale-if-error') ?? 0) > 0,
    revise: (verdict, given) => ({
      ...verdict,
      answers: verdict.answers.map((answer) =>
        isAtEndOfStaleIfError(given, answer) ? { ...answer, replacesError: true } : answer,
      ),
    }),
  },
]

function secondsAllowed(control: Control | undefined): number | undefined {
  const member = find(control, 'max-stale')
  return member && member.argument !== '' ? member.seconds : undefined
}

function aged(seconds: number | undefined): Answered['age'] {
  return seconds === undefined ? undefined : { lines: [String(seconds)], seconds }
}

function imf(time: number): Stamp {
  return { form: 'imf', text: formatDate(time), time }
}

/** What a peer that keeps to those rules makes of a case, and which of them came into play. */
export function decideBy(entries: readonly LedgerEntry[], given: Case): { verdict: Verdict; inPlay: LedgerEntry[] } {
  const inPlay: LedgerEntry[] = []
  let told = given
  for (const entry of entries) {
    if (!entry.recognises(told)) continue
    inPlay.push(entry)
    told = entry.retell?.(told) ?? told
  }
  const verdict = inPlay.reduce((found, { revise }) => revise?.(found, told) ?? found, decidePeer(told))
  return { verdict, inPlay }
}
