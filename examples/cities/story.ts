/** The scenes of the demo. Each sends requests, prints what came back, and claims only what it has just checked. */
import type { City } from './cities.ts'
import { type Answer, type Client, cacheStatus, isBypass, isCollapsed, isHit, isMiss } from './client.ts'
import type { Database } from './database.ts'
import { claim, formatCount, formatMs, percentile, printFact, printHeading } from './report.ts'

export interface Stage {
  database: Database
  /** The API without a cache. */
  plain: Client
  /** The same API, on the same database, with the cache. */
  cached: Client
}

type Cast = { berlin: City; potsdam: City }

const repetitions = 100
const crowd = 100
const rounds = 10

const nearBerlin = '/cities/nearest?lat=52.52&lng=13.405'
const nearTokyo = '/cities/nearest?lat=35.68&lng=139.69'
const largestInGermany = '/countries/DE/cities'
const largestInFrance = '/countries/FR/cities'
const searchInGermany = '/countries/DE/cities?q=berlin'
const searchForNewName = '/countries/DE/cities?q=spree'
const searchInFrance = '/countries/FR/cities?q=berlin'

export async function tellStory(stage: Stage): Promise<void> {
  const slow = await showWithoutCache(stage)
  const miss = await showMiss(stage)
  await showHits(stage, miss, slow)
  await showBurst(stage)
  const cast = await findCast(stage)
  await showRename(stage, cast)
  await showNewRanking(stage, cast)
  await showWriteAmidReads(stage, cast)
  await showBypass(stage)
  await showBadInput(stage)
}

async function showWithoutCache({ database, plain }: Stage): Promise<number> {
  printHeading('Without cache')
  const { result: answers, queries } = await countQueries(database, () =>
    repeat(repetitions, () => plain.get(nearBerlin)),
  )
  const median = medianMs(answers)
  printFact('request', `GET ${nearBerlin}, ${repetitions} times`)
  printFact('median', formatMs(median))
  claim(
    `every request ran its query: ${queries} for ${repetitions} requests`,
    queries === repetitions && allOk(answers),
  )
  return median
}

async function showMiss({ database, plain, cached }: Stage): Promise<Answer> {
  printHeading('Miss: the first request with the cache')
  const { result: answer, queries } = await countQueries(database, () => cached.get(nearBerlin))
  printAnswer(answer)
  claim('it ran one query, and its answer was stored', queries === 1 && /; *stored/.test(cacheStatus(answer)))
  claim('the answer is the one that the API gives without a cache', isSame(answer, await plain.get(nearBerlin)))
  return answer
}

async function showHits({ database, cached }: Stage, miss: Answer, slow: number): Promise<void> {
  printHeading('Hit: the same request again')
  const { result: answers, queries } = await countQueries(database, () =>
    repeat(repetitions, () => cached.get(nearBerlin)),
  )
  const median = medianMs(answers)
  printAnswer(answers[0]!)
  printFact('median', `${formatMs(median)} of ${repetitions}, against ${formatMs(slow)} without cache`)
  claim(`${repetitions} requests were answered without a query`, queries === 0 && answers.every(isHit))
  claim(
    'with the same body',
    answers.every((answer) => isSame(answer, miss)),
  )
  claim(`${(slow / median).toFixed(1)} times as fast`, median < slow)
}

async function showBurst({ database, cached }: Stage): Promise<void> {
  printHeading(`Burst: ${crowd} requests at once for an answer that nobody has yet`)
  const path = '/countries/US/cities?q=san'
  // Opening so many connections would take longer than the query, and spread the requests out.
  await atOnce(crowd, () => cached.get(nearBerlin))
  const { result: answers, queries } = await countQueries(database, () => atOnce(crowd, () => cached.get(path)))
  const waited = answers.filter(isCollapsed)
  const late = answers.filter(isHit)
  printFact('request', `GET ${path}, ${crowd} times`)
  printFact('Cache-Status', cacheStatus(waited[0] ?? answers[0]!))
  claim(`one query ran for ${crowd} requests`, queries === 1)
  claim(
    `${waited.length} waited for its answer, ${late.length} came when it was stored`,
    waited.length > 0 && waited.length + late.length === crowd - 1 && answers.filter(isMiss).length === 1,
  )
  claim('all got the same answer', allOk(answers) && answers.every((answer) => isSame(answer, answers[0]!)))
}

async function showRename({ database, cached }: Stage, { berlin, potsdam }: Cast): Promise<void> {
  printHeading('Write: Berlin gets a new name')
  const outdated = [pageOf(berlin), nearBerlin, searchInGermany, searchForNewName]
  const untouched = [pageOf(potsdam), nearTokyo, largestInGermany, largestInFrance, searchInFrance]
  const before = await warm(cached, [...outdated, ...untouched])
  const foundBefore = before.some((answer) => answer.path === searchForNewName && showsCity(answer, berlin))
  const written = await cached.patch(pageOf(berlin), { name: 'Berlin an der Spree' })
  printFact('request', `PATCH ${pageOf(berlin)} {"name":"Berlin an der Spree"}`)
  claim('the write succeeded', written.status === 200 && cityIn(written).name === 'Berlin an der Spree')

  printHeading('Fresh answers after the write')
  const fresh = await getAll(cached, outdated)
  printOutcomes(fresh)
  claim(
    'what shows Berlin was purged, even the search that had not found it before',
    !foundBefore && fresh.every(isMiss),
  )
  claim(
    'and shows the new name',
    fresh.every((answer) => answer.status === 200 && answer.body.includes('"Berlin an der Spree"')),
  )

  printHeading('Neighbours that stayed cached')
  const { result: kept, queries } = await countQueries(database, () => getAll(cached, untouched))
  printOutcomes(kept)
  claim('what the write did not change is still answered by the cache', queries === 0 && kept.every(isHit))
  claim(
    'rightly so: none of it shows Berlin',
    kept.every((answer) => !showsCity(answer, berlin)),
  )
}

async function showNewRanking({ database, cached }: Stage, { berlin, potsdam }: Cast): Promise<void> {
  printHeading('Write: Berlin outgrows every other German city')
  const [before] = await warm(cached, [largestInGermany, pageOf(potsdam), largestInFrance])
  const largest = citiesIn(before!)[0]!
  const population = largest.population + 1
  const written = await cached.patch(pageOf(berlin), { population })
  printFact('request', `PATCH ${pageOf(berlin)} {"population":${population}}`)
  const after = await cached.get(largestInGermany)
  printOutcomes([after])
  const first = citiesIn(after)[0]!
  claim(
    `the list was purged, though Berlin was not on it: it began with ${largest.name}`,
    written.status === 200 && isMiss(after) && !showsCity(before!, berlin),
  )
  claim(`and begins with ${first.name} now`, first.id === berlin.id && first.population === population)
  const { result: kept, queries } = await countQueries(database, () =>
    getAll(cached, [pageOf(potsdam), largestInFrance]),
  )
  claim('the page of Potsdam and the French list stayed cached', queries === 0 && kept.every(isHit))
}

async function showWriteAmidReads({ cached }: Stage, { berlin }: Cast): Promise<void> {
  printHeading('Writes in the middle of reads')
  const late: { answer: Answer; expected: number }[] = []
  for (let round = 1; round <= rounds; round++) {
    const early = atOnce(crowd / 2, () => cached.get(pageOf(berlin)))
    await cached.patch(pageOf(berlin), { population: round })
    const answers = await atOnce(crowd / 2, () => cached.get(pageOf(berlin)))
    late.push(...answers.map((answer) => ({ answer, expected: round })))
    await early
  }
  printFact('requests', `${rounds} writes, each with ${crowd / 2} reads under way and ${crowd / 2} reads after it`)
  const stale = late.filter(({ answer, expected }) => cityIn(answer).population !== expected)
  claim(`none of ${late.length} reads that began after a write got an answer from before it`, stale.length === 0)
}

async function showBypass({ database, cached }: Stage): Promise<void> {
  printHeading('Personal requests pass by the cache')
  const visit = () => cached.get(nearBerlin, { authorization: 'Bearer demo' })
  const { result: answers, queries } = await countQueries(database, () => repeat(2, visit))
  printFact('request', `GET ${nearBerlin} with Authorization, twice`)
  printFact('Cache-Status', cacheStatus(answers[0]!))
  claim('neither was answered by the cache', queries === 2 && answers.every(isBypass))
}

async function showBadInput({ cached }: Stage): Promise<void> {
  printHeading('Errors are answered, and not kept')
  const requests = [
    { path: '/cities/nearest?lat=north&lng=0', status: 400 },
    { path: '/countries/DE/cities?page=0', status: 400 },
    { path: '/cities/999999999', status: 404 },
    { path: '/countries/XX/cities', status: 404 },
  ]
  const first = await getAll(
    cached,
    requests.map(({ path }) => path),
  )
  const second = await getAll(
    cached,
    requests.map(({ path }) => path),
  )
  for (const answer of first) printFact(String(answer.status), `GET ${answer.path}   ${answer.body}`)
  claim(
    'each got the status that says what was wrong',
    requests.every(({ status }, index) => first[index]?.status === status),
  )
  claim(
    'asked again, none came from the cache',
    second.every((answer) => !isHit(answer)),
  )
}

/** Identifiers are positions in the data, so the cities are looked up, as a visitor would. */
async function findCast({ plain }: Stage): Promise<Cast> {
  return { berlin: await findCityNamed(plain, 'Berlin'), potsdam: await findCityNamed(plain, 'Potsdam') }
}

async function findCityNamed(client: Client, name: string): Promise<City> {
  const found = citiesIn(await client.get(`/countries/DE/cities?size=100&q=${encodeURIComponent(name)}`))
  const city = found.find((candidate) => candidate.name === name)
  if (!city) throw new Error(`the data has no German city named ${name}`)
  return city
}

async function countQueries<Result>(
  database: Database,
  action: () => Promise<Result>,
): Promise<{ result: Result; queries: number }> {
  const before = database.queries
  const result = await action()
  return { result, queries: database.queries - before }
}

/** Asks twice, so that the second answers come from the cache, and returns them. */
async function warm(client: Client, paths: string[]): Promise<Answer[]> {
  await getAll(client, paths)
  const answers = await getAll(client, paths)
  claim(`before the write, all ${paths.length} answers below come from the cache`, answers.every(isHit))
  return answers
}

async function getAll(client: Client, paths: string[]): Promise<Answer[]> {
  const answers: Answer[] = []
  for (const path of paths) answers.push(await client.get(path))
  return answers
}

async function repeat(times: number, send: () => Promise<Answer>): Promise<Answer[]> {
  const answers: Answer[] = []
  for (let count = 0; count < times; count++) answers.push(await send())
  return answers
}

function atOnce(times: number, send: () => Promise<Answer>): Promise<Answer[]> {
  return Promise.all(Array.from({ length: times }, send))
}

function printAnswer(answer: Answer): void {
  printFact('request', `GET ${answer.path}`)
  printFact('answer', `${answer.status}, ${formatCount(answer.body.length)} characters in ${formatMs(answer.ms)}`)
  printFact('Cache-Status', cacheStatus(answer))
}

function printOutcomes(answers: Answer[]): void {
  const width = Math.max(...answers.map(({ path }) => path.length))
  for (const answer of answers) printFact('GET', `${answer.path.padEnd(width)}   ${cacheStatus(answer)}`)
}

function medianMs(answers: Answer[]): number {
  return percentile(
    answers.map(({ ms }) => ms),
    0.5,
  )
}

function allOk(answers: Answer[]): boolean {
  return answers.every(({ status }) => status === 200)
}

function isSame(one: Answer, other: Answer): boolean {
  return one.status === other.status && one.body === other.body
}

function pageOf(city: City): string {
  return `/cities/${city.id}`
}

function cityIn(answer: Answer): City {
  return JSON.parse(answer.body) as City
}

function citiesIn(answer: Answer): City[] {
  return (JSON.parse(answer.body) as { cities: City[] }).cities
}

function showsCity(answer: Answer, city: City): boolean {
  return answer.body.includes(`"id":${city.id},`)
}
