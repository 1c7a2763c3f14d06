import { type Answer, fieldsOfAnswer } from '../core/answer.ts'
import type { HeaderField } from '../core/entry.ts'
import type { Substitution, Tagging } from '../flow/run.ts'
import { withNames } from '../http/vary.ts'
import type { Head, HeadChange } from './head.ts'
import type { InnerFields, OuterFields } from './layer.ts'
import { afterOthers } from './replay.ts'

/** What there is of a head in whose place a stored one is sent. */
export interface ReplacedHead {
  readonly head: Pick<Head, 'fields'>
  readonly inner: Pick<InnerFields, 'headers'>
  readonly outer: OuterFields
  readonly tagging: Tagging | undefined
}

/** Turns the head that a handler has begun into that of a stored response: what the layers above have set stays. */
export function substituteHead(answer: Answer, substitution: Substitution, replaced: ReplacedHead): HeadChange {
  const { response } = substitution.entry
  const fields = withoutInner(replaced)
  for (const name of response.removed) fields.set(name, undefined)
  for (const field of fieldsOfAnswer(answer, response)) place(fields, field)
  fields.set('trailer', undefined)
  fields.set('age', { name: 'Age', value: String(Math.floor(substitution.age / 1000)) })
  if (!answer.isBodiless && answer.status !== 204) {
    fields.set('content-length', { name: 'Content-Length', value: String(answer.body.byteLength) })
  }
  const { tagging, head } = replaced
  for (const name of tagging?.remove ?? []) fields.set(name, undefined)
  for (const [name, value] of tagging?.set ?? []) fields.set(name.toLowerCase(), { name, value })
  fields.set('cache-status', { name: 'Cache-Status', value: afterOthers(head.fields, substitution.cacheStatus) })
  const statusMessage = answer.status === response.status ? response.statusMessage : ''
  return { status: answer.status, statusMessage, ...changesOf(fields) }
}

type Plan = Map<string, Pick<HeaderField, 'name' | 'value'> | undefined>

// What the layers below have set is undone; what they have taken away or changed is as it was.
function withoutInner({ inner, outer }: ReplacedHead): Plan {
  const fields: Plan = new Map()
  for (const { name } of inner.headers) fields.set(name.toLowerCase(), undefined)
  for (const [name, field] of outer) fields.set(name, field)
  return fields
}

function place(fields: Plan, { name, value, append, isDefault }: HeaderField): void {
  const before = fields.get(name.toLowerCase())
  if (isDefault && before) return
  const isAdded = append && before !== undefined
  fields.set(name.toLowerCase(), { name, value: isAdded ? joined(name, before.value, value) : value })
}

function joined(name: string, before: HeaderField['value'], value: HeaderField['value']): HeaderField['value'] {
  if (name.toLowerCase() === 'vary') return withNames([before].flat().join(', '), [value].flat().join(', '))
  const isOne = typeof before === 'string' && typeof value === 'string' && name.toLowerCase() !== 'set-cookie'
  return isOne ? `${before}, ${value}` : [before, value].flat()
}

function changesOf(fields: Plan): Pick<HeadChange, 'set' | 'remove'> {
  const set: (readonly [string, string | readonly string[]])[] = []
  const remove: string[] = []
  for (const [lower, field] of fields) {
    if (field) set.push([field.name, field.value])
    else remove.push(lower)
  }
  return { set, remove }
}
