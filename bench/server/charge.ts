import { type Entry, memory } from '../../dist/index.js'

// Compares what entries of several kinds take of the memory with what they are charged; run with --expose-gc.

const COUNT = 50_000
const VIEWS = 3000

/** What an entry is like, by its number. */
type Kind = (id: number) => { tags?: string[]; fields?: string[]; size?: number; encodings?: number[] }

const KINDS: Readonly<Record<string, Kind>> = {
  'no tags': () => ({}),
  'one tag of its own': (id) => ({ tags: [`item:${id}`] }),
  'three tags of its own': (id) => ({ tags: [`item:${id}`, `list:${id}`, `page:${id}`] }),
  'two tags that ten carry': (id) => ({ tags: [`item:${id % (COUNT / 10)}`, `page:${(id * 7) % (COUNT / 10)}`] }),
  'two tags that two carry': (id) => ({ tags: [`item:${id % (COUNT / 2)}`, `page:${(id * 7) % (COUNT / 2)}`] }),
  'three tags that all carry': () => ({ tags: ['items', 'lists', 'pages'] }),
  'four fields of its own': (id) => ({ fields: ['a', 'b', 'c', 'd'].map((name) => `${name}${id}`) }),
  'a body of 1,000 bytes': () => ({ size: 1000 }),
  'a body of 1,100 bytes': () => ({ size: 1100 }),
  'a body of 8,000 bytes': () => ({ size: 8000 }),
  'two encodings': () => ({ size: 2000, encodings: [400, 500] }),
}

function entryOf(id: number, kind: Kind): Entry {
  const { tags = [], fields = [], size = 200, encodings } = kind(id)
  return {
    key: `GET /items/:id?id=${id}#host=www.example.com`,
    tags,
    stamp: 1,
    time: Date.now(),
    cost: id % 50,
    lifetime: 3_600_000,
    initialAge: 0,
    staleWhileRevalidate: 0,
    staleIfError: 0,
    mustRevalidate: false,
    isShared: false,
    response: {
      status: 200,
      statusMessage: '',
      headers: [
        { name: 'Content-Type', value: 'application/json' },
        ...fields.map((value, at) => ({ name: `X-${at}`, value })),
      ],
      removed: [],
      body: new Uint8Array(size),
      trailers: [],
      ...(encodings && {
        encodings: encodings.map((size, at) => ({ coding: at === 0 ? 'br' : 'gzip', body: new Uint8Array(size) })),
      }),
    },
  }
}

/** What is alive when nothing waits to be freed any more. */
async function alive(): Promise<number> {
  for (let time = 0; time < 4; time += 1) {
    globalThis.gc?.()
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

async function compared(kind: Kind) {
  const before = await alive()
  const backend = memory({ maxSize: '4gb' })
  const charged = () => backend.size!().bytes
  for (let id = 0; id < COUNT; id += 1) backend.store(entryOf(id, kind), 3_600_000)
  const [stored, forEntries] = [await alive(), charged()]
  for (let id = 0; id < VIEWS; id += 1) backend.lookup(entryOf(id, kind).key)
  const [shown, forAll] = [await alive(), charged()]
  backend.close()
  return {
    taken: Math.round((stored - before) / COUNT),
    charged: Math.round(forEntries / COUNT),
    'a view': Math.round((shown - stored) / VIEWS),
    'charged for it': Math.round((forAll - forEntries) / VIEWS),
  }
}

await compared(() => ({}))
const rows: Record<string, object> = {}
for (const [name, kind] of Object.entries(KINDS)) rows[name] = await compared(kind)
console.table(rows)
