import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const pages = [
  'README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((file) => file.endsWith('.md'))
    .map((file) => `docs/${file}`),
]
const read = (file: string) => readFileSync(join(root, file), 'utf8')

function namesIn(page: string, heading: string): string[] {
  const section = read(page)
    .split(/^## /m)
    .find((text) => text.startsWith(heading))
  return [...(section ?? '').matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name!)
}

function listIn(file: string, name: string): string[] {
  const [, list] = new RegExp(`const ${name} = \\[([^\\]]*)\\]`).exec(read(file)) ?? []
  return [...(list ?? '').matchAll(/'(\w+)'/g)].map(([, option]) => option!)
}

describe('the documentation', () => {
  it('has only snippets that compile', () => {
    const folder = mkdtempSync(join(root, 'test/package/snippets-'))
    try {
      for (const page of pages) {
        const snippets = [...read(page).matchAll(/^```ts\n(.*?)^```/gms)].map(([, code]) => code!)
        snippets.forEach((code, at) => {
          const name = `${page.replace(/\W/g, '-')}-${at + 1}.ts`
          writeFileSync(join(folder, name), `${code}\nexport {}\n`)
        })
      }
      const compiler = { noUnusedLocals: false, skipLibCheck: true }
      writeFileSync(
        join(folder, 'tsconfig.json'),
        JSON.stringify({
          extends: join(root, 'tsconfig.json'),
          compilerOptions: compiler,
          include: ['*.ts'],
          exclude: [],
        }),
      )
      expect(compile(folder)).toBe('')
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('lists every option of a route and of a cache', () => {
    expect(namesIn('docs/options.md', 'Of a route').sort()).toEqual(
      listIn('src/options/route.ts', 'ROUTE_OPTIONS').sort(),
    )
    const own = listIn('src/options/cache.ts', 'CACHE_OPTIONS').filter((name) => name !== 'tags' && name !== 'name')
    expect(namesIn('docs/options.md', 'Of a cache').sort()).toEqual(['ttl', ...own].sort())
  })

  it('shows the program that the quickstart example is', () => {
    expect(read('README.md')).toContain(read('examples/quickstart/server.ts'))
  })

  it('has no link into nowhere', () => {
    const files = new Set(
      readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((file) => !file.startsWith('node_modules')),
    )
    const broken = pages.flatMap((page) =>
      [...read(page).matchAll(/\]\((?!https?:)([^)#]+)/g)]
        .map(([, link]) => join(dirname(page), link!))
        .filter((target) => !files.has(target))
        .map((target) => `${page}: ${target}`),
    )
    expect(broken).toEqual([])
  })
})

function compile(folder: string): string {
  try {
    execFileSync(join(root, 'node_modules/.bin/tsc'), ['-p', folder], { encoding: 'utf8', cwd: folder })
    return ''
  } catch (error) {
    return (error as { stdout: string }).stdout
  }
}
