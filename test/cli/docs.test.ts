import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { optionsOf } from '../../src/cli/command.ts'
import { COMMANDS } from '../../src/cli/commands.ts'
import { EXIT } from '../../src/cli/exit.ts'
import { bash, openShop, root, type Shop } from './support.ts'

const page = readFileSync(`${root}/docs/cli.md`, 'utf8')
const shown = [...page.matchAll(/^```console\n(.*?)^```/gms)].flatMap(([, block]) =>
  block!
    .split(/^\$ /m)
    .filter(Boolean)
    .map((part) => {
      const [line = '', ...output] = part.split('\n')
      return { line, output: output.join('\n').trim() }
    }),
)

let shop: Shop
beforeAll(async () => {
  shop = await openShop()
  for (const path of ['/products/42', '/products/42', '/products/7', '/products/7', '/products/7', '/greeting'])
    await shop.get(path)
  await shop.get('/products/7', { cookie: 'session=1' })
})
afterAll(() => shop.close())

// Numbers are those of a machine and a moment, and so is how wide a column is.
function masked(text: string): string {
  return text
    .replaceAll(shop.server.url, 'http://localhost:3000')
    .replaceAll(encodeURIComponent(new URL(shop.url).host), 'localhost%3A3000')
    .replaceAll(new URL(shop.url).host, 'localhost:3000')
    .replaceAll(hostname(), 'web-1')
    .replaceAll(/-?\d[\d.,]*(?: (?:%|ms|s|min|h|d|B|KB|MB)(?![\w/]))?/g, '#')
    .replaceAll(/ +/g, ' ')
    .trim()
}

describe('docs/cli.md', () => {
  it.each(shown)('shows what is written by $line', async ({ line, output }) => {
    const { stdout, stderr } = await bash(line, { env: shop.env })
    expect(masked(stdout + stderr)).toBe(masked(output))
  })

  it('has every command with its options', () => {
    const [table = ''] = page.split('| command |')[1]!.split('\n\n')
    const rows = [...table.matchAll(/^\| `(\w+)[^`]*` \|.*\| (.*?) ?\|$/gm)]
    expect(rows.map(([, name]) => name)).toEqual(COMMANDS.map(({ name }) => name))
    for (const [, name, told] of rows) {
      const { options } = COMMANDS.find((one) => one.name === name)!
      expect([...told!.matchAll(/--([\w-]+)/g)].map(([, option]) => option)).toEqual(Object.keys(options))
    }
    for (const name of Object.keys(optionsOf(COMMANDS[0]!))) expect(page).toContain(`--${name}`)
  })

  it('has every exit code', () => {
    const rows = [...page.matchAll(/^\| (\d+) \|/gm)].map(([, code]) => Number(code))
    expect(rows).toEqual(Object.values(EXIT))
  })
})
