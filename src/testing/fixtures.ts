import type { Entry, StoredResponse } from '../core/entry.ts'

/** Keys and tags that a backend must not confuse, cut or reject. */
export const HOSTILE_NAMES = [
  'plain',
  'GET /products/:id?id=42&page=2#host=example.com',
  'with space',
  'with\nnewline',
  'trailing ',
  '*',
  '{braces}',
  '../up',
  '__proto__',
  'constructor',
  'ünïcödé-✓-😀',
  `${'long'.repeat(60)}a`,
  `${'long'.repeat(60)}b`,
]

/** An entry like any other, where nothing else is said. */
export function makeEntry(
  key: string,
  more: Partial<Omit<Entry, 'key' | 'response'>> & { readonly response?: Partial<StoredResponse> } = {},
): Entry {
  const { response, ...rest } = more
  return {
    key,
    tags: [],
    stamp: 0,
    time: Date.UTC(2026, 0, 1),
    initialAge: 0,
    lifetime: MINUTE,
    staleWhileRevalidate: 0,
    staleIfError: 0,
    mustRevalidate: false,
    isShared: false,
    cost: 0,
    ...rest,
    response: {
      status: 200,
      statusMessage: 'OK',
      headers: [],
      removed: [],
      body: Buffer.from(`body of ${key}`),
      trailers: [],
      ...response,
    },
  }
}

/** Every byte that there is, as a view into a larger buffer. */
export function allBytes(): Uint8Array {
  const bytes = Uint8Array.from({ length: 300 }, (_, at) => at % 256)
  return bytes.subarray(20, 20 + 256)
}

export const MINUTE = 60_000
