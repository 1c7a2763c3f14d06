import { PerformanceObserver } from 'node:perf_hooks'
import { createCache, memory } from '../../dist/index.js'

// Fills a cache, invalidates a tag that all entries carry, and says what that took; run with --expose-gc.

const count = Number(process.argv[2] ?? 100_000)
const headers = { 'Content-Type': 'application/json', ETag: 'W/"c8-1234567890"', Date: 'Thu, 01 Jan 2026 00:00:00 GMT' }

function alive(): number {
  globalThis.gc?.()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/** Milliseconds of the CPU that this process has had. */
function busy(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

/** The longest time in which nothing else could run, until something is true. */
async function longestBlock(from: number, until: () => boolean): Promise<number> {
  let [block, last] = [0, from]
  while (!until()) {
    await new Promise((resolve) => setImmediate(resolve))
    const now = performance.now()
    block = Math.max(block, now - last)
    last = now
  }
  return block
}

/** An empty cache has the code warm. */
async function rehearse(): Promise<void> {
  const cache = createCache({ backend: memory() })
  for (let id = 0; id < 20_000; id += 1)
    cache.set('GET /items/:id', { params: { id } }, ['items', `item:${id}`], { body: 'x', headers })
  cache.invalidateTags('items')
  await longestBlock(performance.now(), () => cache.stats().entries === 0)
}

/** What a look-up takes of the CPU, of what is asked for again and again. Each request brings its key as a text of its own. */
function nanosecondsPerLookup(): number {
  const ends = backend.list('tag/items', 1000).map(({ entry }) => entry!.key.split('?') as [string, string])
  let least = Number.POSITIVE_INFINITY
  for (let round = 0; round < 20; round += 1) {
    const from = busy()
    for (let time = 0; time < 50; time += 1) for (const [start, end] of ends) backend.lookup(`${start}?${end}`)
    least = Math.min(least, ((busy() - from) * 1e6) / (50 * ends.length))
  }
  return least
}

/** The longest collection of garbage from now on. */
function longestCollection(): () => number {
  let longest = 0
  const observer = new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries()) longest = Math.max(longest, duration)
  })
  observer.observe({ entryTypes: ['gc'] })
  return () => longest
}

await rehearse()
const backend = memory({ maxSize: '8gb' })
const cache = createCache({ backend })
const before = alive()
for (let id = 0; id < count; id += 1)
  cache.set('GET /items/:id', { params: { id } }, ['items', `item:${id}`], { body: new Uint8Array(200), headers })
const taken = (alive() - before) / count
const lookup = nanosecondsPerLookup()
// What that collection left to other threads is not the purge's.
await new Promise((resolve) => setTimeout(resolve, 2000))
const collection = longestCollection()
const start = performance.now()
cache.invalidateTags('items')
const purge = performance.now() - start
const block = await longestBlock(start, () => cache.stats().entries === 0)
const free = performance.now() - start
await new Promise((resolve) => setTimeout(resolve, 20))
console.log(JSON.stringify({ count, purge, block, collection: collection(), free, taken, lookup }))
