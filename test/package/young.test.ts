import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'

const SERVER = fileURLToPath(new URL('young-server.mjs', import.meta.url))
const REQUEST = 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'
const REQUESTS = 12_000
const CONNECTIONS = 4

/** What share of what an application allocates outlives the small collection after it, once it is warm. */
async function shareThatSurvives(application: string): Promise<number> {
  const server = spawn(process.execPath, ['--trace-gc', SERVER, application], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void server.kill())
  const lines: string[] = []
  const port = await new Promise<number>((resolve) => {
    createInterface(server.stdout).on('line', (line) => {
      lines.push(line)
      if (line.startsWith('PORT ')) resolve(Number(line.slice(5)))
    })
  })
  await askOften(port, REQUESTS)
  lines.length = 0
  await askOften(port, REQUESTS)
  return survivalIn(lines)
}

async function askOften(port: number, times: number): Promise<void> {
  await Promise.all(Array.from({ length: CONNECTIONS }, () => askInTurn(port, times / CONNECTIONS)))
}

async function askInTurn(port: number, times: number): Promise<void> {
  const socket = connect(port, '127.0.0.1')
  let left = times
  socket.on('connect', () => socket.write(REQUEST))
  socket.on('data', (chunk) => {
    if (!chunk.toString('latin1').startsWith('HTTP/1.1 200')) return
    left -= 1
    if (left > 0) socket.write(REQUEST)
    else socket.destroy()
  })
  await once(socket, 'close')
}

function survivalIn(lines: readonly string[]): number {
  let [last, allocated, survived] = [Number.NaN, 0, 0]
  for (const line of lines) {
    const [, kind, before, after] = /(Scavenge|Mark-Compact)[^\d]*([\d.]+) \([\d.]+\) -> ([\d.]+)/.exec(line) ?? []
    if (kind === 'Scavenge' && !Number.isNaN(last)) {
      allocated += Number(before) - last
      survived += Number(after) - last
    }
    if (kind !== undefined) last = Number(after)
  }
  return survived / allocated
}

describe('requests and responses die young', () => {
  it.each(['express hit', 'express invalidates', 'express no-store', 'koa no-store'])('%s', async (application) => {
    expect(await shareThatSurvives(application)).toBeLessThan(0.2)
  })

  it('while Express by itself keeps much more of them, without which this would say nothing', async () => {
    const isMuch = (await shareThatSurvives('express alone')) > 0.3
    // The V8 of Node 24 does better by itself.
    expect(isMuch).toBe(Number.parseInt(process.versions.node, 10) < 24)
  })
})
