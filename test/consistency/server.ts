import { memory, tiered } from 'tagcache'
import { tagcache } from 'tagcache/express'
import { redis } from 'tagcache/redis'
import { databaseOfParent } from './database.ts'
import { serveFromMemory, serveFromRedis } from './serving.ts'
import type { Setup } from './setup.ts'

// A server that check.ts reads from and writes to, in a process of its own.
const given = JSON.parse(process.argv[2] ?? '') as { stamps: boolean; seed: number } | Setup
const { port } =
  'stamps' in given
    ? await serveFromMemory({ memory, tagcache }, given.stamps, given.seed)
    : await serveFromRedis({ memory, tiered, redis, tagcache }, given, databaseOfParent())
process.send?.(port)
process.on('disconnect', () => process.exit())
