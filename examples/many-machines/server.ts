import express from 'express'
import { Redis } from 'ioredis'
import { memory, tiered } from 'tagcache'
import { tagcache } from 'tagcache/express'
import { redis } from 'tagcache/redis'

// One of several servers that share a Redis: started by run.ts, which is told where it listens and, when it asks, what happened.
const client = new Redis(process.env.REDIS_URL ?? 'redis://127.0.0.1:6379')
const { cached, invalidates, cache } = tagcache({
  ttl: '1m',
  host: false,
  backend: tiered({ near: memory(), far: redis(client, { namespace: 'many-machines' }) }),
})

const counts: Record<string, number> = {}
cache.on('trace', ({ outcome, tier }) => {
  const name = tier === undefined ? outcome : `${outcome}, ${tier}`
  counts[name] = (counts[name] ?? 0) + 1
})

const app = express().disable('x-powered-by')

app.get('/rows/:id', cached({ coalesce: 'cluster', tags: (req) => [`row:${req.params.id}`] }), async (req, res) => {
  res.json({ version: Number(await client.get(`row:${req.params.id}`)) })
})

app.put(
  '/rows/:id',
  invalidates((req) => [`row:${req.params.id}`]),
  async (req, res) => {
    res.json({ version: await client.incr(`row:${req.params.id}`) })
  },
)

const server = app.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as { port: number }).port }))
process.on('message', () => process.send?.({ counts }))
process.on('disconnect', () => process.exit())
