import type { IncomingMessage } from 'node:http'
import { Refusal } from './reply.ts'

const LONGEST_BODY = 64 * 1024
const CLOSE = { Connection: 'close' }

/** The JSON object that a request carries; whoever is above may have read it already. Throws a `Refusal`. */
export async function readObject(req: IncomingMessage, parsed: unknown): Promise<Readonly<Record<string, unknown>>> {
  const value = parsed === undefined || !req.readableEnded ? parse(await readText(req)) : parsed
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw noJson()
  return value as Record<string, unknown>
}

/** A text of an object, of so many characters at the most; undefined where there is none of that name. Throws a `Refusal`. */
export function textOf(given: Readonly<Record<string, unknown>>, name: string, most: number): string | undefined {
  const value = Object.hasOwn(given, name) ? given[name] : undefined
  if (value === undefined) return undefined
  if (typeof value === 'string' && value !== '' && value.length <= most) return value
  throw new Refusal(400, 'bad-value', `"${name}" has to be a text of 1 to ${most} characters.`)
}

async function readText(req: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  try {
    for await (const chunk of req) {
      length += (chunk as Buffer).byteLength
      if (length > LONGEST_BODY) throw new Refusal(413, 'too-large', 'The request is too large.', CLOSE)
      chunks.push(chunk as Buffer)
    }
  } catch (error) {
    throw error instanceof Refusal ? error : new Refusal(400, 'aborted', 'The request came to no end.')
  }
  return Buffer.concat(chunks).toString()
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw noJson()
  }
}

function noJson(): Refusal {
  return new Refusal(400, 'bad-json', 'Send a JSON object.')
}
