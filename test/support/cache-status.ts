import { parseList, Token } from 'structured-headers'
import type { Answer } from './http.ts'

/** One cache's member of Cache-Status. */
export type Member = Readonly<Record<string, unknown>> & { readonly cache: string }

/** The members of Cache-Status, nearest to the handler first. Throws where the field is no structured list. */
export function cacheStatusOf({ cacheStatus = '' }: Pick<Answer, 'cacheStatus'>): Member[] {
  return parseList(cacheStatus).map(([item, parameters]) => ({
    cache: textOf(item) as string,
    ...Object.fromEntries([...parameters].map(([name, value]) => [name, textOf(value)])),
  }))
}

function textOf(value: unknown): unknown {
  return value instanceof Token ? value.toString() : value
}
