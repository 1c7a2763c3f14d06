import type { ServerResponse } from 'node:http'

const waiting = new WeakMap<ServerResponse, (() => void)[]>()

/** Calls `run` when the response is closed; with one listener for all, however many layers stand around it. */
export function onClose(res: ServerResponse, run: () => void): void {
  const known = waiting.get(res)
  if (known) {
    known.push(run)
    return
  }
  const all = [run]
  waiting.set(res, all)
  res.once('close', () => {
    for (const one of all) one()
  })
}
