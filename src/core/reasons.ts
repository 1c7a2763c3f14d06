/** Every rule by which a request is not answered from the cache, or a response is not kept; docs/reasons.md says what to do. */
export const REASONS = {
  // The request goes past the cache.
  method: 'Its method is not among those that the route caches.',
  disabled: 'The `enabled` option of the route says that the cache is not used.',
  credentials: 'It has `Authorization` or `Cookie`, and the route does not say who may share its responses.',
  scope: 'The `scope` function of the route gave no principal.',
  key: 'The `key` function of the route gave no key.',
  range: 'It asks for a part in another unit than bytes.',
  precondition: 'It has `If-Match` or `If-Unmodified-Since`, which speak of what the handler has now.',
  body: 'It has a body, and the route has no `key` that covers it.',
  fragment: 'Its target has a number sign, which everybody reads differently.',
  'option-failed': 'A function among the options of the route threw, or gave what it cannot give.',
  closed: 'The cache was closed.',
  backend: 'The backend did not answer, or did not take the response.',
  'only-if-cached': 'The client wants nothing but what is stored, and nothing is.',
  // Nothing stored answers it.
  'uri-miss': 'Nothing is known of a stored response: it is the first request, or it was forgotten long ago.',
  'vary-miss': 'What is stored was made for other values of the request fields that the response varies on.',
  expired: 'What is stored, or was, is past its lifetime.',
  invalidated: 'What was stored has been purged.',
  evicted: 'What was stored had to make room for something else.',
  deleted: 'What was stored was deleted: by `cache.delete()`, or by a newer response that is not kept.',
  request: 'What is stored is not fresh enough for what the client asks for in `Cache-Control`.',
  // It was answered with a stale response, or with one that the handler has confirmed.
  'stale-while-revalidate': 'A stale response was served, while a new one is made in the background.',
  'stale-if-error': 'A stale response was served, since the handler fails.',
  'max-stale': 'A stale response was served, since the client accepts it.',
  validated: 'The handler said that what is stored is still good.',
  // The response is not kept: by what the request says.
  'request-no-store': 'The client forbids storing the response.',
  head: 'The answer to HEAD has no body that could be stored.',
  // By what the handler says.
  skip: 'The handler called `skip()`.',
  status: 'Its status is not stored, unless the response gives itself a lifetime.',
  partial: 'It is a part, and parts are not stored, or it is not the part that it says.',
  'not-modified': 'It is a 304 that speaks of nothing that is stored.',
  'no-store': 'It says `Cache-Control: no-store`, or a layer above does.',
  private: 'It says `Cache-Control: private`, or a layer above does.',
  authorization: 'It answers a request with `Authorization`, and does not say that it may be shared.',
  'set-cookie': 'It has `Set-Cookie`.',
  vary: 'It varies on everything: `Vary: *`.',
  connection: 'It stops being HTTP: `Connection: upgrade`.',
  endless: 'It is a stream of events, which does not end.',
  'no-lifetime': 'It has no lifetime, or one that is over, and nothing by which it could be validated.',
  etag: 'The 304 of the handler names another entity-tag than what is stored.',
  // By what became of it.
  'too-large': 'Its body is larger than `maxBodySize`.',
  'tags-failed': 'The `tags` function of the route threw, or gave what is no tag.',
  'late-tag': 'The response to a POST has tags that were not known before its purge.',
  aborted: 'It did not come to its end: the client left, or the handler broke off.',
  'length-mismatch': 'Its body is not as long as its `Content-Length` says.',
  failed: 'The handler threw.',
  unreadable: 'Its body is of a kind whose bytes are not known before it is sent.',
  variants: 'It cannot be told where its variant belongs.',
  outdated: 'One of its tags was purged while the handler ran.',
  'not-kept': 'The backend has no room for it.',
  unstorable: 'What was made to complete a stored part is not to be kept.',
  // A run in the background came to nothing.
  unreached: 'The request did not come to a `cached()` of this cache.',
  timeout: 'The application did not answer in time.',
  // Of explanations alone.
  unasked: 'Its method might write, so the application was not asked.',
} as const satisfies Readonly<Record<string, string>>

/** The code of a rule that decided about a request or a response. */
export type Reason = keyof typeof REASONS

/** What a code means, in one sentence. */
export function explainReason(reason: Reason): string {
  return REASONS[reason]
}
