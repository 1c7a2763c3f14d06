import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import { badValue } from '../core/values.ts'
import type { Authorisation, Authorize } from './options.ts'

/** Somebody who may see the dashboard. */
export interface Visitor {
  /** What is told of his purges. */
  readonly name: string
}

const LONGEST_NAME = 100

/** Whom an authorisation means; undefined for nobody. What is neither a name nor `true` is nobody. */
export function visitorOf(given: Authorisation): Visitor | undefined {
  if (given === true) return { name: 'somebody' }
  const name: unknown = Object(given).name
  if (typeof given !== 'object' || typeof name !== 'string') return undefined
  return {
    name:
      name
        .replace(/\p{Cc}/gu, ' ')
        .slice(0, LONGEST_NAME)
        .trim() || 'somebody',
  }
}

/**
 * Whether a request comes from this machine, and was meant for it: a page of another site can have a browser here ask under a
 * name of its own (DNS rebinding), and a proxy here asks for others.
 */
export function isLocal({ socket, headers }: IncomingMessage): boolean {
  const isForwarded = ['forwarded', 'x-forwarded-for', 'x-real-ip', 'via'].some((name) => headers[name] !== undefined)
  return !isForwarded && isLoopback(socket.remoteAddress ?? '') && isLoopbackName(headers.host ?? '')
}

function isLoopback(address: string): boolean {
  return /^(?:::ffff:)?127(?:\.\d{1,3}){3}$|^::1$/.test(address)
}

function isLoopbackName(host: string): boolean {
  return /^(?:(?:[a-z\d-]+\.)*localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i.test(host)
}

/**
 * Lets in whoever has one of these tokens, each under its name: with `Authorization: Bearer`, as the command line does, or as the
 * password that a browser asks for. `byToken({ deploy: process.env.DEPLOY_TOKEN })`. Throws `ERR_TAGCACHE_OPTION_VALUE`
 * for a token of less than 16 characters: one that is not set, for instance.
 */
export function byToken(tokens: Readonly<Record<string, string | undefined>>): Authorize<IncomingMessage, unknown> {
  const known = Object.entries(tokens).map(([name, token]) => {
    if (typeof token !== 'string' || token.length < 16)
      throw badValue(`byToken.${name}`, token === undefined ? token : '…', 'a text of 16 characters or more')
    return { name, digest: digestOf(token) }
  })
  const authorize = ({ headers }: IncomingMessage) => {
    const given = digestOf(tokenIn(headers.authorization ?? ''))
    // All of them, so that the time that it takes says nothing of any.
    const [found] = known.filter(({ digest }) => timingSafeEqual(digest, given))
    return found && { name: found.name }
  }
  return Object.assign(authorize, { challenge: 'Basic realm="tagcache", charset="UTF-8"' })
}

function tokenIn(authorization: string): string {
  const [, scheme, value = ''] = /^(bearer|basic) +(\S+) *$/i.exec(authorization) ?? []
  if (scheme?.toLowerCase() !== 'basic') return value
  const pair = Buffer.from(value, 'base64').toString()
  return pair.slice(pair.indexOf(':') + 1)
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
