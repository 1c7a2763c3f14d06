import type { Flow } from '../flow/flow.ts'

/** What a name that entries carry stands for. */
export type TagKind = 'tag' | 'route' | 'uri'

/** A tag as people know it: one that a route has given, or one of those that the cache gives itself. */
export interface ShownTag {
  readonly kind: TagKind
  readonly name: string
}

/** What is known to the backend under that name, of this cache; undefined for what says nothing, or is another cache's. */
export function showTag(flow: Flow, backendName: string): ShownTag | undefined {
  const own = flow.backendName('')
  if (!backendName.startsWith(own)) return undefined
  const [, kind, name] = /^(tag|route|uri)\/(.*)$/s.exec(backendName.slice(own.length)) ?? []
  return kind === undefined ? undefined : { kind: kind as TagKind, name: name! }
}
