import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
let project: string

/** A project into which the packed library and its dependencies are installed, and nothing else. */
beforeAll(() => {
  project = mkdtempSync(join(tmpdir(), 'tagcache-'))
  const packed = execFileSync('npm', ['pack', '--ignore-scripts', '--pack-destination', project], {
    cwd: root,
    encoding: 'utf8',
  })
  execFileSync('tar', ['xzf', join(project, packed.trim().split('\n').at(-1)!)], { cwd: project })
  mkdirSync(join(project, 'node_modules'))
  cpSync(join(project, 'package'), join(project, 'node_modules/tagcache'), { recursive: true })
  for (const name of Object.keys(manifest.dependencies)) install(name)
})
afterAll(() => rmSync(project, { recursive: true, force: true }))

function install(name: string | undefined): void {
  const place = join(project, 'node_modules', name ?? '')
  if (name === undefined || existsSync(place)) return
  mkdirSync(dirname(place), { recursive: true })
  symlinkSync(join(root, 'node_modules', name), place)
}

function run(file: string, code: string): string {
  writeFileSync(join(project, file), code)
  return execFileSync(process.execPath, ['--no-warnings', file], { cwd: project, encoding: 'utf8' }).trim()
}

describe('the package', () => {
  it('has a file for every name that it exports', () => {
    for (const target of Object.values(manifest.exports) as (string | Record<string, string>)[]) {
      for (const file of typeof target === 'string' ? [target] : Object.values(target)) {
        expect(existsSync(join(project, 'node_modules/tagcache', file)), file).toBe(true)
      }
    }
  })

  it('holds what it needs and nothing else', () => {
    expect(readdirSync(join(project, 'package')).sort()).toEqual([
      'CHANGELOG.md',
      'LICENSE',
      'README.md',
      'dist',
      'package.json',
    ])
    const inside = readdirSync(join(project, 'package/dist'), { recursive: true, encoding: 'utf8' })
    const served = inside.filter((name) => name.startsWith('dashboard/page/'))
    expect(served.filter((name) => !/\.(?:js|css|html|svg)$/.test(name))).toEqual([])
    expect(inside.filter((name) => /\.(?:test|map|tsbuildinfo)|(?<!\.d)\.ts$/.test(name))).toEqual([])
  })

  const paths = Object.keys(manifest.exports).filter((path) => path !== './package.json')
  // What is made for a library alone is of no use without it, and says so when it is imported.
  const NEEDS: Readonly<Record<string, string>> = {
    './opentelemetry': '@opentelemetry/api',
    './prometheus': 'prom-client',
  }

  it.each(Object.entries(NEEDS))('%s asks for %s where it is not installed', (path, needed) => {
    expect(() => run('n.mjs', `import '${path.replace('.', 'tagcache')}'`)).toThrow(`Cannot find package '${needed}'`)
  })
  it.each(paths)('%s is imported without any framework installed', (path) => {
    install(NEEDS[path])
    const name = path.replace('.', 'tagcache')
    expect(run('a.mjs', `import * as all from '${name}'; console.log(Object.keys(all).length > 0)`)).toBe('true')
  })

  it.each(paths)('%s is loaded by require', (path) => {
    install(NEEDS[path])
    const name = path.replace('.', 'tagcache')
    expect(run('a.cjs', `console.log(Object.keys(require('${name}')).length > 0)`)).toBe('true')
  })

  it('has the page of the dashboard in it', () => {
    const code = `
      import http from 'node:http'
      import { once } from 'node:events'
      import { createCache } from 'tagcache'
      import { dashboard } from 'tagcache/dashboard'
      const server = http.createServer(dashboard(createCache(), { authorize: () => true })).listen(0)
      await once(server, 'listening')
      const url = 'http://127.0.0.1:' + server.address().port
      const page = await (await fetch(url)).text()
      const files = [...page.matchAll(/(?:src|href)="([\\w.]+)"/g)].map(([, file]) => fetch(url + '/' + file))
      console.log(files.length, (await Promise.all(files)).every(({ status }) => status === 200))
      process.exit()`
    expect(run('page.mjs', code)).toBe('6 true')
  })

  it('has the command line in it, which needs no framework', () => {
    const file = join(project, 'node_modules/tagcache', manifest.bin.tagcache)
    const run = (...args: string[]) => execFileSync(process.execPath, [file, ...args], { encoding: 'utf8' })
    expect(run('--version')).toBe(`${manifest.version}\n`)
    expect(run('--help')).toContain('tagcache purge product:42')
    expect(readFileSync(file, 'utf8').startsWith('#!/usr/bin/env node\n')).toBe(true)
  })

  it('works from plain JavaScript', () => {
    const code = `
      const { createCache } = require('tagcache')
      const cache = createCache()
      cache.set('GET /a', {}, ['a'], { body: 'one' })
      const before = Buffer.from(cache.getByRequest('GET /a').body).toString()
      cache.invalidateTags('a')
      console.log(before, cache.getByRequest('GET /a'))`
    expect(run('b.cjs', code)).toBe('one undefined')
  })

  it('keeps its inside to itself', () => {
    expect(readFileSync(join(project, 'node_modules/tagcache/dist/cache.d.ts'), 'utf8')).not.toContain('@internal')
  })
})
