import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

export type Kind = 'required' | 'optimal' | 'check'

/** A request of a test, as much of it as is of interest here. */
export interface SuiteRequest {
  interim_responses?: [status: number, headers?: unknown][]
}

export interface SuiteTest {
  readonly id: string
  readonly kind?: Kind
  readonly depends_on?: readonly string[]
  readonly browser_only?: boolean
  readonly requests: readonly SuiteRequest[]
  dump?: boolean
}

/** Tests about one subject. */
export interface Family {
  readonly id: string
  readonly name: string
  readonly tests: readonly SuiteTest[]
}

/** The registry's package is some years behind what is published today. */
export type State = 'registry' | 'current'

export interface Suite {
  readonly root: string
  /** Where its client and its server are. */
  readonly engine: string
  readonly state: State
  readonly families: readonly Family[]
}

/** What its client says of a test: true, or the name and the message of an error. */
export type Outcome = true | readonly [name: string, message: string]

// More make the processes lag behind the seconds that the tests count; the suite's own 25 need more than twice the time.
const AT_A_TIME = 100

/** Opens a checkout of the suite, or the registry's package without one. */
export async function openSuite(directory?: string): Promise<Suite> {
  const root = directory === undefined ? registryPackage() : resolve(directory)
  const engine = [root, join(root, 'test-engine')].find((place) => existsSync(join(place, 'client/runner.mjs')))
  if (engine === undefined)
    throw new Error(`${root} holds no client/runner.mjs: it is no checkout of the HTTP cache tests`)
  const families = await readFamilies(root)
  const state = families.some(({ id }) => id === 'cdn-cache-control') ? 'current' : 'registry'
  return { root, engine, state, families }
}

/** Runs the tests through the suite's own client. It keeps what it knows in its modules: once for each process. */
export async function runClient(
  { root, engine }: Suite,
  families: readonly Family[],
  base: string,
): Promise<Record<string, Outcome>> {
  const { runTests, getResults } = await load(join(engine, 'client/runner.mjs'))
  const takesFetch = 'setFetch' in (await load(join(engine, 'client/config.mjs')))
  const fetcher = takesFetch ? [(await loadFor(root, 'node-fetch')).default] : []
  if (!takesFetch) await useOneFetch(root)
  await runTests(families, ...fetcher, false, base, AT_A_TIME)
  return getResults()
}

/** The tests of a server's cache; those of a browser's own are none of ours. */
export function serverTests(families: readonly Family[], isWanted: (id: string) => boolean): Family[] {
  return families
    .map((family) => ({ ...family, tests: family.tests.filter((test) => !test.browser_only && isWanted(test.id)) }))
    .filter(({ tests }) => tests.length > 0)
}

export function idsOf(families: readonly Family[]): string[] {
  return families.flatMap(({ tests }) => tests.map(({ id }) => id))
}

/** Has client and origin print what they exchange. */
export function dump(test: SuiteTest): void {
  test.dump = true
  // The origin dies of printing an interim response that is given without fields.
  for (const { interim_responses = [] } of test.requests) {
    for (const interim of interim_responses) interim[1] ??= []
  }
}

async function readFamilies(root: string): Promise<readonly Family[]> {
  const { default: families } = await load(join(root, 'tests/index.mjs'))
  const apart = join(root, 'tests/surrogate-control.mjs')
  return existsSync(apart) ? [...families, (await load(apart)).default] : families
}

function registryPackage(): string {
  return dirname(createRequire(import.meta.url).resolve('http-cache-tests/package.json'))
}

// Its client hands a dispatcher of the undici beside it to the global fetch: they have to be of one version.
async function useOneFetch(root: string): Promise<void> {
  const { Agent, fetch, setGlobalDispatcher } = await loadFor(root, 'undici')
  setGlobalDispatcher(new Agent())
  globalThis.fetch = fetch
}

function loadFor(root: string, name: string) {
  try {
    return load(createRequire(join(root, 'package.json')).resolve(name))
  } catch (cause) {
    throw new Error(`The suite's client needs ${name}: npm install --no-save ${name} in ${root}`, { cause })
  }
}

// biome-ignore lint/suspicious/noExplicitAny: modules of the suite have no types
function load(path: string): Promise<any> {
  return import(pathToFileURL(path).href)
}
