import type { IncomingMessage, ServerResponse } from 'node:http'

// Express gives each request and response another prototype. From then on V8 makes a hidden class of its own for each of them
// with every property that is added: no inline cache of Node, Express or ours ever hits, and the classes outlive the request.

/** An Express application, as far as it handles requests. */
export interface Handling {
  readonly request: object
  readonly response: object
  handle(req: IncomingMessage, res: ServerResponse, next?: (error?: unknown) => void): unknown
}

const settled = new WeakSet<object>()

/**
 * Keeps the requests and responses of an application cheap to work with, from the next one on: they get Express's
 * prototypes, and the shape that they keep, just before Express sets the same prototypes itself.
 * @returns whether that was so before
 */
export function settleFromStart(app: Handling): boolean {
  if (settled.has(app)) return true
  settled.add(app)
  const { handle } = app
  Reflect.set(app, 'handle', function settling(this: unknown, ...args: Parameters<Handling['handle']>) {
    const [req, res] = args
    Object.setPrototypeOf(req, app.request)
    Object.setPrototypeOf(res, app.response)
    settleShape(req, res)
    return Reflect.apply(handle, this, args)
  })
  return false
}

/**
 * Makes one request and its response cheap to work with from here on. Taking a property away and setting it again changes nothing but
 * that V8 keeps both as dictionaries, which share their hidden class.
 */
export function settleShape(req: IncomingMessage, res: ServerResponse): void {
  renew(res, 'sendDate')
  renew(req, 'upgrade')
}

function renew(holder: object, name: string): void {
  const property = Object.getOwnPropertyDescriptor(holder, name)
  if (!property?.configurable) return
  Reflect.deleteProperty(holder, name)
  Object.defineProperty(holder, name, property)
}
