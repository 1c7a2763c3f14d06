import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import net, { type AddressInfo } from 'node:net'
import { dirname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, it } from 'vitest'
import { ask } from '../support/http.ts'

const root = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
let server: ChildProcess | undefined

afterEach(async () => {
  if (server?.exitCode === null) {
    server.kill()
    await once(server, 'exit')
  }
})

it('the program on the first page does what its four lines of terminal show', async () => {
  const port = await freePort()
  server = spawn(process.execPath, ['--import', 'tsx', 'examples/quickstart/server.ts'], {
    cwd: root,
    env: { ...process.env, PORT: String(port) },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(server.stdout!, 'data')
  const url = `http://localhost:${port}/products/1`
  const headers = { 'content-type': 'application/json' }

  expect((await ask(url)).cacheStatus).toBe('tagcache; fwd=uri-miss; stored')
  expect((await ask(url)).cacheStatus).toMatch(/^tagcache; hit; ttl=(59|60)$/)
  const written = await ask(url, { method: 'PUT', headers: { ...headers, 'content-length': 12 }, body: '{"price":25}' })
  expect(written.text).toBe('{"price":25,"id":"1"}')
  const after = await ask(url)
  expect(after.cacheStatus).toBe('tagcache; fwd=uri-miss; stored; detail=invalidated')
  expect(after.text).toBe(written.text)
})

async function freePort(): Promise<number> {
  const probe = net.createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as AddressInfo
  probe.close()
  await once(probe, 'close')
  return port
}
