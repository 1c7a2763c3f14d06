import diagnostics from 'node:diagnostics_channel'
import express from 'express'
import { describe, expect, it, onTestFinished } from 'vitest'
import { tagcache } from '../../src/adapters/express.ts'
import { type CacheEvent, type CacheOptions, type ChannelMessage, createCache, memory } from '../../src/index.ts'
import { ask, listen } from '../support/http.ts'

/** Subscribes for one test. */
function hear<E extends CacheEvent['type']>(type: E): ChannelMessage<E>[] {
  const heard: ChannelMessage<E>[] = []
  const listener = (message: unknown) => void heard.push(message as ChannelMessage<E>)
  diagnostics.subscribe(`tagcache:${type}`, listener)
  onTestFinished(() => void diagnostics.unsubscribe(`tagcache:${type}`, listener))
  return heard
}

async function serve(options: CacheOptions<never>) {
  const { cache, cached } = tagcache(options as object)
  const app = express().get('/items/:id', cached({ tags: ['items'] }), (_req, res) => void res.send('one'))
  const server = await listen(app)
  onTestFinished(() => server.close())
  return { cache, url: server.url }
}

describe('the channels', () => {
  it('carry what listeners are told, each type on a channel of its own', async () => {
    const [traces, invalidations, clears] = [hear('trace'), hear('invalidation'), hear('clear')]
    const { cache, url } = await serve({ namespace: 'shop', cacheName: 'front' })
    const told: CacheEvent[] = []
    cache.on((event) => told.push(event))
    await ask(`${url}/items/1`)
    await ask(`${url}/items/1`)
    cache.invalidateTags('items')
    cache.clear()
    expect(traces.map(({ event }) => event.outcome)).toEqual(['miss', 'hit'])
    expect(invalidations.map(({ event }) => event.tags)).toEqual([['items']])
    expect(clears).toHaveLength(1)
    const heard = [...traces, ...invalidations, ...clears]
    expect(heard.map(({ event }) => event)).toEqual(told.filter(({ type }) => type !== 'removal'))
    for (const { cache: source } of heard) expect(source).toEqual({ cacheName: 'front', namespace: 'shop' })
  })

  it('tell the caches of a process apart', async () => {
    const clears = hear('clear')
    createCache({ namespace: 'a' }).clear()
    createCache().clear()
    expect(clears.map(({ cache }) => cache.namespace)).toEqual(['a', undefined])
  })

  it('carry faults of the backend, warnings and removals', () => {
    const [faults, states, warnings, removals] = [hear('fault'), hear('backend'), hear('warning'), hear('removal')]
    const inner = memory()
    const cache = createCache({ backend: inner })
    cache.set('a', {}, ['t'], { body: 'a' })
    cache.delete('a')
    inner.lookup = () => {
      throw new Error('down')
    }
    cache.getByRequest('a')
    cache.on('clear', () => {
      throw new Error('a listener')
    })
    cache.clear()
    expect(removals.map(({ event }) => event.reason)).toEqual(['deleted'])
    expect(faults.map(({ event }) => event.operation)).toEqual(['lookup'])
    expect(states.map(({ event }) => event.state)).toEqual(['paused', 'behind'])
    expect(warnings.map(({ event }) => event.code)).toEqual(['TAGCACHE_LISTENER_FAILED'])
  })

  it('are given nothing while nobody subscribes, to any or to the one in question', () => {
    const published: unknown[] = []
    const own = diagnostics.channel('tagcache:removal')
    own.publish = (message) => void published.push(message)
    onTestFinished(() => void Reflect.deleteProperty(own, 'publish'))
    hear('clear')
    const cache = createCache()
    const once = () => {
      cache.set('a', {}, [], { body: 'a' })
      cache.delete('a')
    }
    once()
    expect(published).toEqual([])
    hear('removal')
    once()
    expect(published).toHaveLength(1)
  })
})
