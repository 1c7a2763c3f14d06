import type { State } from './suite.ts'

export const presets = ['rfc9111', 'rfc9111-full'] as const
export type Preset = (typeof presets)[number]

/** Tests, and what they have in common. */
export interface Group {
  readonly reason: string
  readonly tests: readonly string[]
}

/** Tests that are left out. */
export const obsolete: readonly Group[] = [
  {
    reason: 'Surrogate-Control has given way to targeted fields (RFC 9213): the suite now tests CDN-Cache-Control',
    tests: ids(`
      surrogate-max-age surrogate-max-age-max surrogate-max-age-max-plus surrogate-max-age-me-target
      surrogate-max-age-other-target surrogate-max-age-age surrogate-max-age-space-before-equals
      surrogate-max-age-space-after-equals surrogate-max-age-0 surrogate-max-age-extension
      surrogate-max-age-case-insensitive surrogate-max-age-expires surrogate-max-age-cc-max-age-invalid-expires
      surrogate-max-age-0-expires surrogate-max-age-short-cc-max-age surrogate-max-age-long-cc-max-age
      surrogate-no-store surrogate-no-store-cc-fresh surrogate-fresh-cc-nostore surrogate-append-capabilities
      surrogate-remove-header
    `),
  },
  {
    reason:
      "Only the first member of Age counts, and only if it is all digits (RFC 9111, 5.1): today's suite expects that, this state of it the opposite",
    tests: ids(`
      age-parse-nonnumeric age-parse-negative age-parse-float age-parse-prefix-twoline age-parse-dup-0
      age-parse-dup-0-twoline age-parse-dup-old age-parse-parameter age-parse-numeric-parameter
    `),
  },
  {
    reason:
      "The origin breaks off, and the test expects a 200 all the same: today's suite expects that nothing stale is served",
    tests: ids(`
      stale-close-must-revalidate stale-close-proxy-revalidate stale-close-no-cache stale-close-s-maxage=2
    `),
  },
  {
    reason:
      "A 304 renews these fields too (RFC 9111, 3.2): today's suite only asks, this state of it expects the old value",
    tests: ids(`
      304-etag-update-response-Content-Encoding 304-etag-update-response-Content-MD5
      304-etag-update-response-Content-Range 304-etag-update-response-ETag
    `),
  },
]

const SAME_FOR_BOTH: readonly Group[] = [
  {
    reason:
      'A fault of the suite: without Last-Modified the date of the response counts (RFC 9110, 13.1.3; RFC 9111, 4.3.2), which is later than the one that the client has',
    tests: ids('conditional-lm-fresh-no-lm'),
  },
  {
    reason:
      'A fault of the suite: the body has five bytes where Content-Range says six. What is not as long as it says is not stored',
    tests: ids(`
      partial-store-partial-reuse-partial partial-store-partial-reuse-partial-byterange
      partial-store-partial-reuse-partial-absent partial-store-partial-reuse-partial-suffix
    `),
  },
]

// What the preset of safe defaults leaves to an option.
const BY_OPTION: readonly Group[] = [
  {
    reason: 'Option `heuristic`: whoever writes the handler says how long, or nothing is reused',
    tests: ids(`
      heuristic-200-cached heuristic-203-cached heuristic-204-cached heuristic-404-cached heuristic-405-cached
      heuristic-410-cached heuristic-414-cached heuristic-501-cached heuristic-599-cached
    `),
  },
  { reason: 'Option `storePost`: a POST changes something, as a rule', tests: ids('method-POST') },
  {
    reason:
      'Option `normaliseVary`: some servers read an order of languages, and what white space means in a field is its own affair',
    tests: ids('vary-normalise-lang-order vary-normalise-lang-select vary-normalise-space'),
  },
  {
    reason: 'Option `storePartial`: a handler is seldom asked for parts alone',
    tests: ids('partial-store-partial-complete'),
  },
  {
    reason: 'Option `storeSetCookie`: a cookie is set for one visitor',
    tests: ids('headers-store-Set-Cookie other-set-cookie'),
  },
  { reason: "Option `scope: 'rfc9111'`: who has a cookie may be somebody", tests: ids('other-cookie') },
]

/** Tests that are known not to pass. One that passes after all has to go from here. */
export const exceptions: Record<State, Record<Preset, readonly Group[]>> = {
  registry: {
    rfc9111: [
      ...SAME_FOR_BOTH,
      ...BY_OPTION,
      { reason: 'Option `storeSetCookie`', tests: ids('304-etag-update-response-Set-Cookie') },
    ],
    'rfc9111-full': SAME_FOR_BOTH,
  },
  current: {
    rfc9111: [
      ...SAME_FOR_BOTH,
      ...BY_OPTION,
      {
        reason: 'They build on stale-close: option `staleIfError`',
        tests: ids(`
          stale-close-must-revalidate stale-close-proxy-revalidate stale-close-no-cache stale-close-s-maxage=2
        `),
      },
      {
        reason: 'Option `targetedFields`: CDN-Cache-Control is for the CDN in front, unless a site says otherwise',
        tests: ids(`
          cdn-max-age cdn-max-age-max cdn-max-age-max-plus cdn-max-age-age cdn-max-age-0 cdn-max-age-extension
          cdn-max-age-expires cdn-max-age-cc-max-age-invalid-expires cdn-max-age-0-expires
          cdn-max-age-short-cc-max-age cdn-max-age-long-cc-max-age cdn-private cdn-no-cache cdn-no-store-cc-fresh
          cdn-fresh-cc-nostore cdn-cc-invalid-sh-type-unknown cdn-cc-invalid-sh-type-wrong
        `),
      },
    ],
    'rfc9111-full': SAME_FOR_BOTH,
  },
}

/** How many tests pass at least, where some families may be left out of the count. */
export interface Floor {
  readonly required: number
  readonly optimal: number
  readonly without?: readonly string[]
}

export const floors: Record<State, Partial<Record<Preset, Floor>>> = {
  registry: { 'rfc9111-full': { required: 140, optimal: 81 } },
  current: {
    rfc9111: { required: 145, optimal: 76, without: ['cdn-cache-control'] },
    'rfc9111-full': { required: 160, optimal: 100 },
  },
}

/**
 * What the full preset answers where the suite asks only: these tell behaviour, not merit. `stale-503` is a yes since with
 * `staleIfError` a handler that answers 503 has failed as much as one that throws.
 */
export const answers = {
  preset: 'rfc9111-full',
  yes: ids(`
    freshness-none freshness-max-age-date freshness-max-age-two-fresh-stale-sameline
    freshness-max-age-two-fresh-stale-sepline freshness-max-age-quoted freshness-max-age-space-before-equals
    freshness-max-age-space-after-equals stale-close stale-sie-close stale-sie-503 stale-503 heuristic-delta-60
    heuristic-delta-300 heuristic-delta-600 heuristic-delta-1200 heuristic-delta-1800 heuristic-delta-3600
    heuristic-delta-43200 heuristic-delta-86400 pragma-request-no-cache pragma-request-extension
    pragma-response-no-cache pragma-response-no-cache-heuristic pragma-response-extension
    304-etag-update-response-Content-Encoding
    304-etag-update-response-Content-Location 304-etag-update-response-Content-MD5
    304-etag-update-response-Content-Range 304-etag-update-response-Content-Security-Policy
    304-etag-update-response-Content-Type 304-etag-update-response-Clear-Site-Data 304-etag-update-response-ETag
    304-etag-update-response-Expires 304-etag-update-response-Public-Key-Pins 304-etag-update-response-Set-Cookie
    304-etag-update-response-Set-Cookie2 304-etag-update-response-X-Frame-Options
    304-etag-update-response-X-XSS-Protection head-writethrough invalidate-POST-location invalidate-PUT-location
    invalidate-DELETE-location invalidate-M-SEARCH-location invalidate-POST-cl invalidate-PUT-cl
    invalidate-DELETE-cl invalidate-M-SEARCH-cl other-date-update-expires-update
    other-heuristic-content-disposition-attachment other-fresh-content-disposition-attachment
    cdn-max-age-space-before-equals cdn-max-age-space-after-equals cdn-remove-header cdn-remove-age-exceed
    cdn-date-update-exceed cdn-expires-update-exceed
  `),
  no: ids(`
    freshness-max-age-two-stale-fresh-sameline freshness-max-age-two-stale-fresh-sepline
    freshness-max-age-decimal-zero freshness-max-age-decimal-five freshness-max-age-a100 freshness-max-age-100a
    age-parse-parameter age-parse-numeric-parameter stale-warning-stored stale-warning-become
    heuristic-delta-5 heuristic-delta-10 heuristic-delta-30 conditional-etag-quoted-respond-unquoted
    conditional-etag-unquoted-respond-quoted conditional-etag-strong-generate-unquoted conditional-etag-forward
    head-200-retain head-200-freshness-update
    cdn-max-age-case-insensitive
  `),
  /** Either answer is as good. */
  either: ids(`
    headers-omit-headers-listed-in-Cache-Control-no-cache-single
    headers-omit-headers-listed-in-Cache-Control-no-cache conditional-etag-unquoted-respond-unquoted
    conditional-etag-weak-respond-lowercase conditional-etag-weak-respond-backslash
    conditional-etag-weak-respond-omit-slash other-age-delay conditional-etag-forward-unquoted head-200-update
    head-410-update conditional-etag-strong-respond-obs-text
  `),
  /** The site decides, by an option. */
  option: ids(`
    ccreq-ma0 ccreq-ma1 ccreq-magreaterage ccreq-max-stale ccreq-max-stale-age ccreq-min-fresh ccreq-min-fresh-age
    ccreq-no-cache ccreq-no-cache-lm ccreq-no-cache-etag ccreq-no-store ccreq-oic
    conditional-etag-vary-headers-mismatch
  `),
} as const

function ids(text: string): readonly string[] {
  return text.trim().split(/\s+/)
}
