import type { Place, Profiled } from '../server/protocol.ts'

// Whose time or memory it is

const COLLECTOR = '(garbage collector)'
const WRITES = /^(?:writev|writeBuffer|writeUtf8String|writeLatin1String|writeAsciiString)$/

/** Shares of a whole, the largest first. */
export type Shares = readonly (readonly [owner: string, amount: number])[]

/** By whom: Node, V8, the kernel, a package, or this library. */
export function byOwner(places: readonly Place[]): Shares {
  return shares(places, ownerOf)
}

/** This library's own, by module. */
export function byModule(places: readonly Place[]): Shares {
  return shares(places, ({ url }) => (isOurs(url) ? moduleOf(url) : undefined))
}

/** This library's own, by function. */
export function byFunction(places: readonly Place[]): Shares {
  return shares(places, (place) =>
    isOurs(place.url) ? `${place.function || '(anonymous)'}, ${moduleOf(place.url)}` : undefined,
  )
}

/** All of it, but for what is nobody's: waiting. */
export function total(places: readonly Place[]): number {
  return byOwner(places).reduce((sum, [, amount]) => sum + amount, 0)
}

/** What amounts are in, for a request. */
export const UNITS: Readonly<Record<Profiled, string>> = { time: 'µs', memory: 'bytes' }

function shares(places: readonly Place[], nameOf: (place: Place) => string | undefined): Shares {
  const found = new Map<string, number>()
  for (const place of places) {
    const name = nameOf(place)
    if (name !== undefined) found.set(name, (found.get(name) ?? 0) + place.amount)
  }
  return [...found].sort(([, one], [, other]) => other - one)
}

function ownerOf({ function: name, url }: Place): string | undefined {
  if (name === '(idle)' || name === '(root)') return undefined
  if (name === COLLECTOR) return 'garbage collection'
  if (WRITES.test(name)) return 'writes to sockets (kernel)'
  if (name === '(program)') return 'outside JavaScript (kernel, parser)'
  if (url === '') return 'V8'
  if (url.startsWith('node:')) return 'Node'
  if (isOurs(url)) return 'tagcache'
  return /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1] ?? 'the handler'
}

function isOurs(url: string): boolean {
  return url.includes('/dist/') && !url.includes('/node_modules/')
}

function moduleOf(url: string): string {
  return url.slice(url.indexOf('/dist/') + 6).replace(/\.js$/, '')
}
