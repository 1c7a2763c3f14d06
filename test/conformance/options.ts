import { parseArgs } from 'node:util'
import type { Adapter } from './applications.ts'
import { type Preset, presets } from './ledger.ts'

export interface Options {
  readonly suite: string | undefined
  readonly adapters: readonly Adapter[]
  readonly presets: readonly Preset[]
  readonly only: string | undefined
  readonly json: string | undefined
}

const USAGE = `npm run conformance -- [options]
  --suite DIR       a checkout of the HTTP cache tests, instead of the registry's package
  --adapter NAME    express or koa alone
  --preset NAME     ${presets.join(' or ')} alone
  --only ID         one test, with all that client and origin exchange
  --json FILE       write what became of each test`

/** Reads the command line; it ends the process where it cannot be read. */
export function readOptions(args: readonly string[]): Options {
  try {
    const text = { type: 'string' } as const
    const { values } = parseArgs({
      args: [...args],
      options: { suite: text, adapter: text, preset: text, only: text, json: text },
    })
    const { suite, adapter, preset, only, json } = values
    return {
      suite,
      adapters: among(['express', 'koa'], adapter),
      presets: among(presets, preset),
      only,
      json,
    }
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`)
    process.exit(2)
  }
}

function among<T extends string>(names: readonly T[], wanted: string | undefined): readonly T[] {
  if (wanted === undefined) return names
  const found = names.filter((name) => name === wanted)
  if (found.length === 0) throw new Error(`'${wanted}' is none of ${names.join(', ')}`)
  return found
}
