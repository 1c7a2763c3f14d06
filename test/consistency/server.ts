import { memory } from 'tagcache'
import { tagcache } from 'tagcache/express'
import { serve } from './model.ts'

// The server that check.ts reads from and writes to, in a process of its own.
const [stamps, seed] = process.argv.slice(2)
const { port } = await serve({ memory, tagcache }, stamps === 'stamps', Number(seed))
process.send?.(port)
process.on('disconnect', () => process.exit())
