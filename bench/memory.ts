import { createCache, memory } from 'tagcache'

/** What entries take and how long a purge takes, measured in this process; run with `--expose-gc`. */
const count = Number(process.argv[2] ?? 100_000)
const body = new Uint8Array(200)
const headers = { 'Content-Type': 'application/json', ETag: 'W/"c8-1234567890"', Date: 'Thu, 01 Jan 2026 00:00:00 GMT' }
const gc = globalThis.gc ?? (() => {})

function used(): number {
  gc()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

async function longestBlock(until: () => boolean): Promise<number> {
  let longest = 0
  let last = performance.now()
  while (!until()) {
    await new Promise((resolve) => setImmediate(resolve))
    const now = performance.now()
    longest = Math.max(longest, now - last)
    last = now
  }
  return longest
}

const cache = createCache({ backend: memory({ maxSize: '4gb' }) })
const before = used()
for (let id = 0; id < count; id++)
  cache.set('GET /products/:id', { params: { id } }, ['products', `product:${id}`], { body, headers })
const taken = (used() - before) / count
const charged = cache.stats().bytes / count
const content =
  body.byteLength + Object.entries(headers).reduce((sum, [name, value]) => sum + name.length + value.length, 0)

const start = performance.now()
cache.invalidateTags('products')
const purge = performance.now() - start
const block = await longestBlock(() => cache.stats().entries === 0)
const freed = performance.now() - start

console.log(
  JSON.stringify({ count, content, taken: Math.round(taken), charged: Math.round(charged), purge, block, freed }),
)
