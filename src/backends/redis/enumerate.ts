import type { Query, TagRecord } from '../backend.ts'
import type { Partition } from './partition.ts'

// So much of the server is gone through for one page.
const SCANS_PER_PAGE = 10

/** Where a page begins: in which partition, at which cursor of SCAN, and how many of what that gives were on the page before. */
interface Place {
  readonly partition: number
  readonly cursor: string
  readonly skip: number
}

/** A name, and in which partition it was found. */
export interface Found {
  readonly name: string
  readonly partition: number
}

/** A page of names out of partition after partition. */
export async function scan(
  partitions: readonly Partition[],
  kind: 'index' | 'entry',
  { prefix = '', after, limit }: Query,
): Promise<{ found: Found[]; next?: string }> {
  const found: Found[] = []
  let place: Place | undefined = readPlace(after)
  for (let scans = 0; place && scans < SCANS_PER_PAGE && found.length < limit; scans++) {
    const from: Place = place
    const seen: { cursor: string; names: string[] } | undefined = await partitions[from.partition]?.scan(
      kind,
      prefix,
      from.cursor,
    )
    if (!seen) return { found }
    // The same cursor gives the same names again, as far as none has come or gone; in their order that shows least.
    const fresh = seen.names.sort().slice(from.skip)
    const room = limit - found.length
    found.push(...fresh.slice(0, room).map((name) => ({ name, partition: from.partition })))
    place =
      fresh.length > room
        ? { ...from, skip: from.skip + room }
        : following(from.partition, seen.cursor, partitions.length)
  }
  return { found, ...(place ? { next: writePlace(place) } : {}) }
}

function following(partition: number, cursor: string, partitions: number): Place | undefined {
  if (cursor !== '0') return { partition, cursor, skip: 0 }
  return partition + 1 < partitions ? { partition: partition + 1, cursor, skip: 0 } : undefined
}

/** What is known of tags over all partitions. Each is told once: where it was found in the first that lists it. */
export async function countTags(partitions: readonly Partition[], found: readonly Found[]): Promise<TagRecord[]> {
  const tags = [...new Set(found.map(({ name }) => name))]
  if (tags.length === 0) return []
  const counts = await Promise.all(partitions.map((partition) => partition.count(tags)))
  const isFirst = ({ name, partition }: Found) =>
    counts.findIndex((count) => count[tags.indexOf(name)]!.entries > 0) >= partition
  return [...new Set(found.filter(isFirst).map(({ name }) => name))].map((tag) => {
    const own = counts.map((count) => count[tags.indexOf(tag)]!)
    const entries = own.reduce((sum, one) => sum + one.entries, 0)
    const invalidatedTime = Math.max(...own.map((one) => one.invalidatedTime))
    return { tag, entries, ...(invalidatedTime > 0 ? { invalidatedTime } : {}) }
  })
}

function readPlace(after = '0.0.0'): Place {
  const [, partition = '0', cursor = '0', skip = '0'] = /^(\d{1,4})\.(\d{1,20})\.(\d{1,6})$/.exec(after) ?? []
  return { partition: Number(partition), cursor, skip: Number(skip) }
}

function writePlace({ partition, cursor, skip }: Place): string {
  return `${partition}.${cursor}.${skip}`
}
