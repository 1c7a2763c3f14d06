import { withoutCredentials } from '../core/explanation.ts'
import { decodeKey, encodeKey } from '../core/key.ts'
import type { Flow } from './flow.ts'
import type { Tagging } from './run.ts'

/** The field in which clients are told under which key their response is looked for, with the option `debug`. */
export const KEY_FIELD = 'X-Cache-Key'

/** Fields that are added to an answer for whoever develops the application: none, unless the option says so. */
export function debugFields({ options }: Flow, key: string): readonly (readonly [name: string, value: string])[] {
  if (!options.isDebugged) return []
  const text = encodeKey(withoutCredentials(decodeKey(key)))
  return [[KEY_FIELD, text.replace(/[^\x20-\x7e]+/g, (part) => encodeURIComponent(part.toWellFormed()))]]
}

/** The same beside what clients are told of tags. */
export function withDebug(flow: Flow, key: string, tagging: Tagging | undefined): Tagging | undefined {
  if (!flow.options.isDebugged) return tagging
  return { remove: tagging?.remove ?? [], set: [...(tagging?.set ?? []), ...debugFields(flow, key)] }
}
