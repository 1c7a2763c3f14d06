import type { IncomingMessage, ServerResponse } from 'node:http'

/**
 * Makes a request and a response cheap to work with again after Express has given them other prototypes. From then on each
 * of them has a hidden class of its own in V8, so that no inline cache of Node, Express or ours ever hits, and each
 * property that is added copies the class. Taking a property away and setting it again changes nothing but that:
 * both are kept as dictionaries, which share theirs.
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
