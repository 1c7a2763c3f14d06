import type { RequestListener } from 'node:http'
import { pipeline } from 'node:stream'
import express, { type ErrorRequestHandler } from 'express'
import Koa from 'koa'
import { tagcache as forExpress } from 'tagcache/express'
import { tagcache as forKoa } from 'tagcache/koa'
import { askOrigin, OriginUnreachable, responseFields } from './gateway.ts'
import type { Preset } from './ledger.ts'

export type Adapter = 'express' | 'koa'

/** Applications that hold the cache and a gateway to the origin behind it, nothing else. */
export const applications: Record<Adapter, (preset: Preset, origin: number) => RequestListener> = {
  express: expressApplication,
  koa: koaApplication,
}

function expressApplication(preset: Preset, origin: number): RequestListener {
  const app = express()
  app.use(forExpress({ preset }).cached())
  app.use(async (req, res) => {
    const answer = await askOrigin(origin, req, res)
    res.statusCode = answer.statusCode!
    res.statusMessage = answer.statusMessage!
    for (const [name, value] of responseFields(answer)) res.setHeader(name, value)
    // Breaks the response off where the origin does.
    pipeline(answer, res, () => {})
  })
  app.use(badGateway)
  return app
}

const badGateway: ErrorRequestHandler = (error, _req, res, next) => {
  if (!(error instanceof OriginUnreachable)) return next(error)
  res.status(502).type('text').send(error.message)
}

const EMPTY = [204, 205, 304]

function koaApplication(preset: Preset, origin: number): RequestListener {
  const app = new Koa()
  // The cache tells of the failures that it hides from a client; those of the origin are part of the tests.
  app.on('error', (error) => error instanceof OriginUnreachable || console.error(error))
  app.use(badGatewayKoa)
  app.use(forKoa({ preset }).cached())
  app.use(async (ctx) => {
    const answer = await askOrigin(origin, ctx.req, ctx.res)
    ctx.status = answer.statusCode!
    ctx.message = answer.statusMessage!
    if (EMPTY.includes(ctx.status)) answer.resume()
    // Before the fields: setting a body changes some of them.
    ctx.body = EMPTY.includes(ctx.status) ? null : answer
    ctx.remove('Content-Type')
    for (const [name, value] of responseFields(answer)) ctx.set(name, value)
  })
  return app.callback()
}

async function badGatewayKoa(ctx: Koa.Context, next: Koa.Next): Promise<void> {
  try {
    await next()
  } catch (error) {
    if (!(error instanceof OriginUnreachable)) throw error
    ctx.status = 502
    ctx.body = error.message
  }
}
