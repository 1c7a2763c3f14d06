import { createHmac, timingSafeEqual } from 'node:crypto'
import { combined, type Fields } from './fields.ts'

/** How clients carry where their last write stands from one process to another. */
export interface Carrier {
  readonly via: 'cookie' | 'header'
  readonly name: string
  readonly secret: string
}

/** What a request says of its client's last write, and its fields without that. */
export interface Carried {
  readonly headers: Fields
  readonly position: string | undefined
}

// For the way there and back, and for clocks that do not run alike.
const SECONDS_BEYOND = 60

/**
 * The field that tells a client where its write stands.
 * @param maxStaleness in how many milliseconds every process has caught up, or does not trust its copies
 */
export function carry(
  { via, name, secret }: Carrier,
  position: string,
  maxStaleness: number,
): [name: string, value: string] {
  const token = `${position}.${sign(secret, position)}`
  return via === 'header'
    ? [name, token]
    : ['Set-Cookie', `${name}=${token}; Max-Age=${secondsFor(maxStaleness)}; Path=/; HttpOnly; SameSite=Lax`]
}

// What goes beyond a year is as good as for ever, and some clients read no larger numbers.
function secondsFor(maxStaleness: number): number {
  return Math.min(SECONDS_BEYOND + Math.ceil(maxStaleness / 1000), 365 * 24 * 60 * 60)
}

/** A position that nobody has ever passed: whoever carries it is sent to the shared backend. */
export const NOWHERE = '0.0'

/** Reads it back. What is not signed with the secret says nothing. */
export function carried({ via, name, secret }: Carrier, headers: Fields): Carried {
  if (via === 'header') return { headers, position: verify(secret, combined(headers, name.toLowerCase())) }
  const all = combined(headers, 'cookie')
  if (!all?.includes(`${name}=`)) return { headers, position: undefined }
  const cookies = all.split(/; */).filter((cookie) => cookie !== '')
  const [own, others] = [true, false].map((isOwn) =>
    cookies.filter((cookie) => cookie.startsWith(`${name}=`) === isOwn),
  ) as [string[], string[]]
  const { cookie: _, ...rest } = headers
  // It is the cache's own, and no credential of the visitor's.
  const without = others.length === 0 ? rest : { ...rest, cookie: others.join('; ') }
  // Another application may set one of the same name.
  const positions = own.flatMap((cookie) => verify(secret, cookie.slice(name.length + 1)) ?? [])
  return { headers: without, position: positions.length > 0 ? positions.reduce(later) : undefined }
}

function later(one: string, other: string): string {
  const [ours, theirs] = [one, other].map((position) => position.split('.')) as [string[], string[]]
  if (ours[0] !== theirs[0]) return NOWHERE
  return Number(ours[1]) >= Number(theirs[1]) ? one : other
}

function verify(secret: string, token: string | undefined): string | undefined {
  const [, position, signature] = /^(\d{1,20}\.\d{1,20})\.([\w-]{43})$/.exec(token ?? '') ?? []
  if (position === undefined || signature === undefined) return undefined
  const isOurs = timingSafeEqual(Buffer.from(signature), Buffer.from(sign(secret, position)))
  return isOurs ? position : undefined
}

function sign(secret: string, position: string): string {
  return createHmac('sha256', secret).update(position).digest('base64url')
}
