import { readdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { extname } from 'node:path'
import { gzipSync } from 'node:zlib'

/** A file of the page. */
export interface PageFile {
  readonly type: string
  readonly body: Buffer
  readonly gzipped: Buffer
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}

/** All that the page consists of, by path: what is not in it does not exist. */
export function readPage(): ReadonlyMap<string, PageFile> {
  const folder = new URL('./page/', import.meta.url)
  const names = readdirSync(folder).filter((name) => extname(name) in TYPES)
  const files = names.map((name) => [`/${name}`, fileOf(name, readFileSync(new URL(name, folder)))] as const)
  const { resolve } = createRequire(import.meta.url)
  const charts = ['uPlot.iife.min.js', 'uPlot.min.css'].map(
    (name) => [`/${name}`, fileOf(name, readFileSync(resolve(`uplot/dist/${name}`)))] as const,
  )
  const all = new Map([...files, ...charts])
  return all.set('/', all.get('/index.html')!)
}

function fileOf(name: string, body: Buffer): PageFile {
  return { type: TYPES[extname(name)]!, body, gzipped: gzipSync(body) }
}
