import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const src = join(root, 'src')
const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))

function importsOf(file: string): string[] {
  const text = readFileSync(join(src, file), 'utf8')
  return [...text.matchAll(/(?:from|import\() ?'(\.[^']+)'/g)].map(([, path]) =>
    relative(src, resolve(src, dirname(file), path!)),
  )
}

function roomOf(file: string): string {
  return file.replace(/\.ts$/, '').split('/', 1)[0]!
}

function allowed(): Map<string, string[]> {
  const table = readFileSync(join(root, 'docs/architecture.md'), 'utf8').matchAll(/^\| `(\w+)` \|.*\| (.*?) ?\|$/gm)
  return new Map([...table].map(([, room, list]) => [room!, list!.split(', ').filter(Boolean)]))
}

describe('the rooms', () => {
  it('import only what the table in docs/architecture.md allows', () => {
    const rooms = allowed()
    const breaches = files.flatMap((file) =>
      importsOf(file)
        .filter((path) => roomOf(path) !== roomOf(file) && !rooms.get(roomOf(file))?.includes(roomOf(path)))
        .map((path) => `${file} imports ${path}`),
    )
    expect(breaches).toEqual([])
  })

  it('are all in the table', () => {
    expect([...new Set(files.map(roomOf))].sort()).toEqual([...allowed().keys()].sort())
  })

  it('have no circles', () => {
    const graph = new Map(files.map((file) => [file, importsOf(file)]))
    const visit = (file: string, path: readonly string[]): string[] => {
      if (path.includes(file)) return [[...path.slice(path.indexOf(file)), file].join(' → ')]
      return (graph.get(file) ?? []).flatMap((next) => visit(next, [...path, file]))
    }
    const circles = new Set(files.flatMap((file) => visit(file, [])))
    expect([...circles]).toEqual([])
  })
})
