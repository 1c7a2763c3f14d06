import { TextDecoder } from 'node:util'
import { fieldsOf, type StoredResponse } from '../core/entry.ts'
import { firstLine } from '../http/fields.ts'

/** The beginning of a body as text, or its size alone where it is none. */
export interface Preview {
  /** In bytes. */
  readonly size: number
  readonly type?: string
  readonly text?: string
  /** The text is not all of it. */
  readonly isCut?: boolean
}

const MOST_SHOWN = 4096
const TEXT =
  /^(?:text\/|application\/(?:[\w.-]+\+)?(?:json|xml|javascript|x-www-form-urlencoded|graphql|yaml)\b|image\/svg\+xml)/i

/** What can be shown of a body. It is never more than text: whoever shows it has to keep it from being anything else. */
export function previewOf({ headers, body }: StoredResponse): Preview {
  const fields = fieldsOf(headers)
  const type = firstLine(fields, 'content-type')
  const known = { size: body.byteLength, ...(type === undefined ? {} : { type }) }
  const isEncoded = (firstLine(fields, 'content-encoding') ?? 'identity') !== 'identity'
  if (isEncoded || type === undefined || !TEXT.test(type)) return known
  const isCut = body.byteLength > MOST_SHOWN
  const text = decoderOf(type).decode(body.subarray(0, MOST_SHOWN), { stream: isCut })
  return isCut ? { ...known, text, isCut } : { ...known, text }
}

function decoderOf(type: string): TextDecoder {
  const [, charset = 'utf-8'] = /;\s*charset="?([\w-]+)/i.exec(type) ?? []
  try {
    return new TextDecoder(charset)
  } catch {
    return new TextDecoder()
  }
}
