import { type Channel, channel } from 'node:diagnostics_channel'
import type { CacheEvent } from './core/trace.ts'

/** Which of a process's caches is meant. */
export interface Source {
  /** Its name in `Cache-Status`. */
  readonly cacheName: string
  readonly namespace: string | undefined
}

/** One name for it. */
export function nameOf({ cacheName, namespace }: Source): string {
  return namespace === undefined ? cacheName : `${cacheName}/${namespace}`
}

/** What the channels `tagcache:trace`, `tagcache:invalidation`, … of node:diagnostics_channel carry: there is one for each type of event. */
export interface ChannelMessage<E extends CacheEvent['type'] = CacheEvent['type']> {
  readonly cache: Source
  readonly event: Extract<CacheEvent, { type: E }>
}

const CHANNELS = {
  trace: channel('tagcache:trace'),
  removal: channel('tagcache:removal'),
  refresh: channel('tagcache:refresh'),
  invalidation: channel('tagcache:invalidation'),
  clear: channel('tagcache:clear'),
  failure: channel('tagcache:failure'),
  compression: channel('tagcache:compression'),
  fault: channel('tagcache:fault'),
  backend: channel('tagcache:backend'),
  warning: channel('tagcache:warning'),
} satisfies Record<CacheEvent['type'], Channel>

/** Tells whoever subscribes to the channel of the event. */
export function publish(cache: Source, event: CacheEvent): void {
  const own: Channel = CHANNELS[event.type]
  if (own.hasSubscribers) own.publish({ cache, event } satisfies ChannelMessage)
}

/** Whether anybody subscribes to the channel of such events. */
export function isFollowed(type: CacheEvent['type']): boolean {
  const own: Channel = CHANNELS[type]
  return own.hasSubscribers
}
