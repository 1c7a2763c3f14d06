import type { RequestListener } from 'node:http'
import type { Origin } from './workload.ts'

/** Makes the server of a subject. */
export type Make = (origin: Origin) => RequestListener | Promise<RequestListener>

/** What cannot be measured here, and why. */
export class Unavailable extends Error {}

/** A package that is compared with, or a framework: of bench/node_modules, whose types nobody needs. */
export async function peer<M>(name: string): Promise<M> {
  return (await import(name)) as M
}

/** The default export of such a package. */
export async function peerDefault<M>(name: string): Promise<M> {
  return (await peer<{ default: M }>(name)).default
}
