import type { RequestListener } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import type express from 'express'
import type { Express, RequestHandler } from 'express'
import { type Make, peerDefault } from './subject.ts'
import type { Origin } from './workload.ts'

// Servers on Express, of either version

export type Version = 'express' | 'express4'

/** Where middleware stands before the handler. */
export interface Layers {
  readonly use?: readonly RequestHandler[]
  readonly route?: readonly RequestHandler[]
}

/** An application with one handler behind what is to be measured. */
export async function expressApp(version: Version, origin: Origin, layers: Layers = {}): Promise<Express> {
  const app = (await peerDefault<typeof express>(version))()
  const handler = handlerOf(origin)
  for (const layer of layers.use ?? []) app.use(layer)
  return app.get('/items/:id', ...(layers.route ?? []), handler).post('/items/:id', handler)
}

/** A server with middleware in its route, or before all routes. */
export function expressWith(
  version: Version,
  place: keyof Layers,
  middleware: (origin: Origin) => RequestHandler | Promise<RequestHandler>,
): Make {
  return async (origin) => listenerOf(await expressApp(version, origin, { [place]: [await middleware(origin)] }))
}

/** The cheapest answer that a route can give: bytes made beforehand, past `res.json` and `res.send`. */
export function expressStatic(version: Version): Make {
  return async (origin) => {
    const body = origin.body('1')
    const app = (await peerDefault<typeof express>(version))()
    return listenerOf(
      app.get('/items/:id', (_req, res) => {
        res.setHeader('Content-Type', 'application/json; charset=utf-8').end(body)
      }),
    )
  }
}

/** A server without any cache. */
export function expressPlain(version: Version): Make {
  return async (origin) => listenerOf(await expressApp(version, origin))
}

export function listenerOf(app: Express): RequestListener {
  return app as unknown as RequestListener
}

function handlerOf(origin: Origin): RequestHandler<{ id: string }> {
  const { delay, cacheControl } = origin.work
  const answer: RequestHandler<{ id: string }> = (req, res) => {
    const item = origin.run(req.params.id)
    if (cacheControl) res.setHeader('Cache-Control', cacheControl)
    res.json(item)
  }
  if (!delay) return answer
  return async (req, res) => {
    const item = origin.run(req.params.id)
    await sleep(delay)
    res.json(item)
  }
}
