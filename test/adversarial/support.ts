import type { RequestListener } from 'node:http'
import { onTestFinished } from 'vitest'
import { memory } from '../../src/index.ts'
import { Overridden } from '../support/backends.ts'
import { type Answer, ask, askRaw, listen } from '../support/http.ts'

/** A server for one test, and how to ask it. */
export interface Served {
  readonly port: number
  get(path: string, headers?: Record<string, string>): Promise<Answer>
  send(method: string, path: string, headers?: Record<string, string>): Promise<Answer>
  /** Asks with a request target that no client would send; answers with the bytes that came back. */
  target(text: string): Promise<string>
}

/** Starts a server that ends with the test. */
export async function serving(listener: unknown): Promise<Served> {
  const server = await listen(listener as RequestListener)
  onTestFinished(() => server.close())
  const send: Served['send'] = (method, path, headers = {}) => ask(server.url + path, { method, headers })
  return {
    port: server.port,
    send,
    get: (path, headers) => send('GET', path, headers),
    target: (text) =>
      askRaw(server.port, `GET ${text} HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nConnection: close\r\n\r\n`),
  }
}

/** The texts of these paths, asked for one after the other. */
export async function read({ get }: Pick<Served, 'get'>, ...paths: string[]): Promise<string[]> {
  const texts: string[] = []
  for (const path of paths) texts.push((await get(path)).text)
  return texts
}

/** A backend in memory that takes a moment for each purge. */
export function slowToPurge(): Overridden {
  const inner = memory()
  const invalidate = async (tags: readonly string[]) => {
    await new Promise((resolve) => setTimeout(resolve, 20))
    inner.invalidate(tags)
  }
  return new Overridden(inner, { sync: false, invalidate })
}

/** What the process was told while the test ran: warnings by name, and rejections that nobody handled. */
export function watchProcess(): { readonly warnings: string[]; readonly rejections: unknown[] } {
  const warnings: string[] = []
  const rejections: unknown[] = []
  const warn = ({ name }: Error) => void warnings.push(name)
  const reject = (reason: unknown) => void rejections.push(reason)
  process.on('warning', warn).on('unhandledRejection', reject)
  onTestFinished(() => void process.off('warning', warn).off('unhandledRejection', reject))
  return { warnings, rejections }
}
