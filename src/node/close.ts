import type { ServerResponse } from 'node:http'

// Not a WeakMap: until a full collection, V8 keeps all that one of some age leads to, and this leads back to the response.
const WAITING = Symbol('tagcache: waiting for the close')
type Watched = ServerResponse & { [WAITING]?: Waiter }

// Nor an array: those that V8 has seen live for some time are made in old memory, and keep what they lead to in the same way.
class Waiter {
  next: Waiter | undefined = undefined

  constructor(readonly run: () => void) {}
}

/** Calls `run` when the response is closed; with one listener for all, however many layers stand around it. */
export function onClose(res: Watched, run: () => void): void {
  const waiter = new Waiter(run)
  const first = res[WAITING]
  if (first) {
    let last = first
    while (last.next) last = last.next
    last.next = waiter
    return
  }
  res[WAITING] = waiter
  // Nor `once`, which makes an object of its own for each listener.
  res.on('close', () => {
    for (let due: Waiter | undefined = waiter; due; due = due.next) due.run()
  })
}
