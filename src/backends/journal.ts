import { appendFileSync, closeSync, fsyncSync, openSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { TagcacheError } from '../errors.ts'
import type { Journal } from './undelivered.ts'

const taken = new Set<string>()

// One line a call: a JSON list of tags, or null for everything.
const EVERYTHING = 'null'

/**
 * A journal in a file of this process alone, written only while a backend does not take invalidations. Bytes are with the disk
 * before a writer is answered. Throws `ERR_TAGCACHE_JOURNAL` where the file cannot be written, or is another journal's of this process.
 */
export function fileJournal(path: string): Journal & { close(): void } {
  const file = trueName(path)
  if (taken.has(file)) {
    throw new TagcacheError('ERR_TAGCACHE_JOURNAL', `Another cache of this process uses ${file} as its journal.`)
  }
  check(file)
  taken.add(file)
  return {
    read: () => parse(readText(file)),
    add: (tags) => write(file, tags === undefined ? EVERYTHING : JSON.stringify(tags)),
    empty: () => rmSync(file, { force: true }),
    close: () => void taken.delete(file),
  }
}

// One file may have several names; a folder that is not there is found out below.
function trueName(path: string): string {
  const file = resolve(path)
  try {
    return join(realpathSync(dirname(file)), basename(file))
  } catch {
    return file
  }
}

function check(file: string): void {
  try {
    const isThere = readText(file) !== undefined
    closeSync(openSync(file, 'a'))
    if (!isThere) rmSync(file)
  } catch (cause) {
    const message = `The journal ${file} cannot be written: ${(cause as Error).message}. Name a file in a folder that this process may write to.`
    throw new TagcacheError('ERR_TAGCACHE_JOURNAL', message, { cause })
  }
}

function readText(file: string): string | undefined {
  try {
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(readFileSync(file))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
}

function write(file: string, line: string): void {
  const handle = openSync(file, 'a')
  try {
    appendFileSync(handle, `${line}\n`)
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

// A line that cannot be read is an invalidation of nobody knows what.
function parse(text: string | undefined): { tags: string[]; everything: boolean } {
  const tags = new Set<string>()
  for (const line of text?.split('\n') ?? []) {
    if (line === '') continue
    const list = listOf(line)
    if (!list) return { tags: [], everything: true }
    for (const tag of list) tags.add(tag)
  }
  return { tags: [...tags], everything: false }
}

function listOf(line: string): string[] | undefined {
  try {
    // What is no text is read as this character, which no tag has to have.
    const list = line.includes('\ufffd') ? undefined : JSON.parse(line)
    return Array.isArray(list) && list.every((tag) => typeof tag === 'string') ? list : undefined
  } catch {
    return undefined
  }
}
