import type { IncomingMessage } from 'node:http'
import type { Run } from '../flow/run.ts'
import { validatorsOf } from '../flow/usable.ts'
import type { Fields } from '../http/fields.ts'
import { CONDITIONS, isConditional } from '../http/validators.ts'

/**
 * The conditions of a request while its handler runs. The client's own are taken out, so that there is a full response to
 * store; in their place stand the validators of what is stored, so that the handler can say that it is still good (RFC 9111, 4.3.1).
 */
export class Conditions {
  /** What the client asked, where it was taken out. */
  readonly client: Fields | undefined
  readonly #req: IncomingMessage
  #isRestored = true

  constructor(run: Run, req: IncomingMessage) {
    this.#req = req
    const ours = run.stored && !run.completion && isAsked(req) ? validatorsOf(run.stored) : undefined
    const isTaken = ours !== undefined || (!run.isGrounded && !run.isSolo && isConditional(req.headers))
    if (!isTaken) return
    this.#isRestored = false
    this.client = Object.fromEntries(CONDITIONS.map((name) => [name, req.headers[name]]))
    this.#set({ 'if-none-match': ours?.etag, 'if-modified-since': ours?.modified })
  }

  /** Puts the client's own conditions back. */
  restore(): void {
    if (this.#isRestored || !this.client) return
    this.#isRestored = true
    this.#set(this.client)
  }

  #set(conditions: Fields): void {
    const { headers, rawHeaders } = this.#req
    const kept = rawHeaders.filter((_, at) => !isCondition(rawHeaders[at - (at % 2)]))
    const lines = CONDITIONS.flatMap((name) => (conditions[name] === undefined ? [] : [name, String(conditions[name])]))
    rawHeaders.splice(0, rawHeaders.length, ...kept, ...lines)
    for (const name of CONDITIONS) {
      const value = conditions[name]
      if (value === undefined) delete headers[name]
      else headers[name] = String(value)
    }
  }
}

function isCondition(name: string | undefined): boolean {
  return CONDITIONS.some((condition) => condition === name?.toLowerCase())
}

// For other methods a condition means something else: 412 (RFC 9110, 13.1.2).
function isAsked({ method }: IncomingMessage): boolean {
  return method === 'GET' || method === 'HEAD'
}
