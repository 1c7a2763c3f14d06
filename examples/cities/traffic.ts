/** A stretch of ordinary traffic: the same pages in the same order, in every run. */
import type { CityChange } from './cities.ts'
import { type Answer, type Client, isHit } from './client.ts'

export type Step = { path: string; change?: CityChange }
export type Traffic = { reads: Answer[]; writes: Answer[] }

const countries = ['US', 'DE', 'FR', 'IN', 'BR', 'JP', 'GB', 'IT', 'ES', 'MX', 'CH', 'AT', 'NL', 'PL', 'SE']
const searches = ['ber', 'san', 'new', 'bad', 'saint', 'villa', 'burg', 'ville']
const distinctCities = 300
const distinctPoints = 150
const writeShare = 0.02

/**
 * Some pages are asked for far more often than others; one request in fifty is a write. What is written starts from
 * `firstNumber`: a second run must not write what is already there, since then no stale answer would show.
 */
export function planTraffic(length: number, places: number, firstNumber: number): Step[] {
  const random = createRandom(1)
  const pick = (count: number) => Math.floor(count * random() ** 3)
  const cityId = () => 1 + Math.floor((pick(distinctCities) * places) / distinctCities)
  return Array.from({ length }, (_, index) => {
    if (random() < writeShare) return { path: `/cities/${cityId()}`, change: planChange(firstNumber + index) }
    const kind = random()
    if (kind < 0.4) return { path: `/cities/${cityId()}` }
    if (kind < 0.7) return { path: nearestPath(pick(distinctPoints)) }
    const list = `/countries/${countries[pick(countries.length)]}/cities`
    if (kind < 0.85) return { path: `${list}?page=${1 + pick(5)}` }
    return { path: `${list}?q=${searches[pick(searches.length)]}` }
  })
}

/** One client, one request after the other: what is measured is the answer, not the queue for it. */
export async function sendTraffic(server: Client, steps: Step[]): Promise<Traffic> {
  const traffic: Traffic = { reads: [], writes: [] }
  for (const { path, change } of steps) {
    if (change) traffic.writes.push(await server.patch(path, change))
    else traffic.reads.push(await server.get(path))
  }
  return traffic
}

/** Asks both servers for the same pages; what differs is what the cache has wrong. */
export async function compareAnswers(
  cached: Client,
  plain: Client,
  paths: string[],
): Promise<{ fromCache: number; differing: string[] }> {
  let fromCache = 0
  const differing: string[] = []
  for (const path of paths) {
    const answer = await cached.get(path)
    const truth = await plain.get(path)
    if (isHit(answer)) fromCache += 1
    if (answer.body !== truth.body || answer.status !== truth.status) differing.push(path)
  }
  return { fromCache, differing }
}

/** Names that searches of this traffic find, and populations that reach the top of a country. */
function planChange(number: number): CityChange {
  return number % 2 === 0 ? { population: number } : { name: `New San ${number}` }
}

function nearestPath(point: number): string {
  const lat = ((point * 37) % 120) - 55
  const lng = ((point * 61) % 360) - 180
  return `/cities/nearest?lat=${lat}&lng=${lng}`
}

/** mulberry32: small, and the same everywhere. */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
