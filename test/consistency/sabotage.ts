import { createHash } from 'node:crypto'
import { setTimeout as later } from 'node:timers/promises'
import type { RedisClient } from '../../src/backends/redis/redis.ts'
import type { Feed, TagBackend } from '../../src/index.ts'

// What the library does for its promise, undone from outside, to see that the check would notice.

/** What other caches do: a purge deletes what is there, and an answer that arrives later is stored like any other. */
export function deletingOnly(inner: TagBackend<true>): TagBackend<true> {
  return {
    sync: true,
    maxBodySize: inner.maxBodySize,
    lookup: (key) => ({ entry: inner.lookup(key).entry, invalidatedAt: 0, clock: 0 }),
    clock: () => 0,
    invalidatedAt: () => 0,
    store: (entry, ttl) => inner.store({ ...entry, stamp: Number.MAX_SAFE_INTEGER }, ttl),
    invalidate: (tags) => {
      for (const tag of tags) for (const { entry } of inner.list(tag, MOST)) if (entry) inner.delete(entry.key)
    },
    delete: (key) => inner.delete(key),
    clear: () => inner.clear(),
    list: (tag, limit) => inner.list(tag, limit),
    close: () => inner.close(),
  }
}

const MOST = 1000

/** Responses are stamped when they are stored, not before their handlers run. */
export function stampingLate(inner: TagBackend<false>): TagBackend<false> {
  const store: TagBackend<false>['store'] = async (entry, ttl, holder) =>
    inner.store({ ...entry, stamp: await inner.clock(entry.key) }, ttl, holder)
  return replacing(inner, { store })
}

/** Where no news can be had, that counts as news that there are none: copies are trusted for ever. */
export function believing(far: TagBackend<false>): TagBackend<false> {
  const inner = far.feed!
  const changesSince: Feed['changesSince'] = async (position) => {
    const none = { tags: [], keys: [], position: position ?? '' }
    const asked = inner.changesSince(position)
    return position === undefined ? asked : Promise.race([asked.catch(() => none), later(PATIENCE).then(() => none)])
  }
  const feed = replacing(inner, { changesSince })
  return replacing(far, { feed })
}

const PATIENCE = 100

// What scripts say of the master and of the ledger's clock, and what they are made to say.
const SAYINGS = [
  ['string.sub(info, at + 14, at + 53)', "'for-ever'"],
  [
    'clock = -tonumber(found[3])',
    "clock = (function() local now = redis.call('TIME'); return now[1] * 1000000 + now[2] + found[6] end)()",
  ],
  // The short look-up gives way to the one that can be made to say so.
  ['if not found[1] then return {} end', 'do return {} end'],
] as const

/**
 * A client whose server always seems to be the same master, and the ledger's clock never to go back, so that nobody notices what
 * a restart or a failover has lost.
 */
export function withOneReign<C extends RedisClient>(client: C): C {
  const shas = new Map<string, string>()
  const altered = ([command, script, ...rest]: unknown[]): unknown[] => {
    if (command === 'EVAL') {
      const said = SAYINGS.filter(([saying]) => String(script).includes(saying))
      if (said.length < 2) throw new Error('The script says who reigns, and what the time is, in other words now.')
      const text = said.reduce((words, [saying, lie]) => words.replaceAll(saying, lie), String(script))
      shas.set(sha1(String(script)), sha1(text))
      return [command, text, ...rest]
    }
    // A script that was not altered yet seems to be unknown, and is sent as a text.
    return command === 'EVALSHA' ? [command, shas.get(String(script)) ?? UNKNOWN, ...rest] : [command, script, ...rest]
  }
  const call = (method: string, args: unknown[]) =>
    (Reflect.get(client, method) as (...args: unknown[]) => unknown).apply(client, args)
  // With ioredis a method for each command, with node-redis one for all.
  const named =
    (command: string) =>
    (...args: unknown[]) => {
      const [name, ...rest] = altered([command, ...args])
      return call(`${String(name).toLowerCase()}Buffer`, rest)
    }
  const sendCommand = (words: unknown[], ...options: unknown[]) => call('sendCommand', [altered(words), ...options])
  return replacing(client, { evalshaBuffer: named('EVALSHA'), evalBuffer: named('EVAL'), sendCommand })
}

const UNKNOWN = '0'.repeat(40)

function sha1(text: string): string {
  return createHash('sha1').update(text).digest('hex')
}

/** The same with other members in the place of some that it has. */
function replacing<V extends object>(inner: V, members: object): V {
  return new Proxy(inner, {
    get(target, name) {
      if (name in members && name in target) return Reflect.get(members, name)
      // Classes with private members want to be called on themselves.
      const member: unknown = Reflect.get(target, name, target)
      return typeof member === 'function' ? member.bind(target) : member
    },
  })
}
