import type { IncomingMessage, ServerResponse } from 'node:http'

/** Why something is not answered. `code` is stable. */
export class Refusal extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(message)
  }
}

// Everything that the page needs comes from here, and nothing of it is made of text at run time.
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ')

const HEADERS = {
  // Not even to be validated: a cache above would answer whoever asks.
  'Cache-Control': 'no-store, no-transform',
  'Content-Security-Policy': POLICY,
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Referrer-Policy': 'no-referrer',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'X-Robots-Tag': 'noindex',
} as const

/** Begins an answer with what all of them have. */
export function begin(res: ServerResponse, status: number, headers: Readonly<Record<string, string>>): void {
  res.statusCode = status
  for (const [name, value] of Object.entries({ ...HEADERS, ...headers })) res.setHeader(name, value)
}

/** Answers with a body, or with its headers alone to HEAD. */
export function send(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  body: Buffer,
  headers: Readonly<Record<string, string>>,
): void {
  if (res.headersSent || res.destroyed) return
  begin(res, status, { ...headers, 'Content-Length': String(body.byteLength) })
  res.end(req.method === 'HEAD' ? undefined : body)
}

/** Answers with JSON. */
export function sendJson(
  req: IncomingMessage,
  res: ServerResponse,
  status: number,
  value: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  const body = Buffer.from(`${JSON.stringify(value)}\n`)
  send(req, res, status, body, { 'Content-Type': 'application/json; charset=utf-8', ...headers })
}

/** Answers that something is refused, or has failed. */
export function sendRefusal(req: IncomingMessage, res: ServerResponse, error: unknown): void {
  const { status, code, message, headers } =
    error instanceof Refusal ? error : new Refusal(500, 'failed', 'It has failed; the events of the cache may say why.')
  sendJson(req, res, status, { error: { code, message } }, headers)
}
