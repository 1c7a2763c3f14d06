import http, { type RequestListener } from 'node:http'
import express from 'express'
import Koa from 'koa'
import { tagcache as express_ } from 'tagcache/express'
import { tagcache as koa_ } from 'tagcache/koa'
import { tagcache as node_ } from 'tagcache/node'

const body = Buffer.from(JSON.stringify({ text: 'x'.repeat(1000) }))

/** What is measured: a server each, by name. `static` ones answer without any cache, as the measure for the others. */
const subjects: Record<string, () => RequestListener> = {
  'node static': () => (_req, res) => {
    res.writeHead(200, ['Content-Type', 'application/json', 'Content-Length', String(body.byteLength)]).end(body)
  },
  'node hit': () => {
    const cached = node_().cached()
    return (req, res) => cached(req, res, () => res.setHeader('Content-Type', 'application/json').end(body))
  },
  'express static': () =>
    express().get('/', (_req, res) => {
      res.setHeader('Content-Type', 'application/json').end(body)
    }),
  'express hit': () =>
    express().get('/', express_().cached({ tags: ['a'] }), (_req, res) => {
      res.setHeader('Content-Type', 'application/json').end(body)
    }),
  'express hit, app.use': () =>
    express()
      .use(express_().cached({ tags: ['a'] }))
      .get('/', (_req, res) => {
        res.setHeader('Content-Type', 'application/json').end(body)
      }),
  'express not stored': () =>
    express().get('/', express_().cached({ ttl: 0 }), (_req, res) => {
      res.setHeader('Content-Type', 'application/json').end(body)
    }),
  'express bypass': () =>
    express().get('/', express_().cached({ enabled: false }), (_req, res) => {
      res.setHeader('Content-Type', 'application/json').end(body)
    }),
  'koa static': () => new Koa().use((ctx) => answerKoa(ctx)).callback(),
  'koa hit': () =>
    new Koa()
      .use(koa_().cached({ tags: ['a'] }))
      .use((ctx) => answerKoa(ctx))
      .callback(),
}

function answerKoa(ctx: Koa.Context): void {
  ctx.type = 'json'
  ctx.body = body
}

const name = process.argv[2] ?? ''
const subject = subjects[name]
if (!subject) {
  process.send?.(Object.keys(subjects))
} else {
  const server = http.createServer(subject()).listen(0, '127.0.0.1', () => process.send?.(server.address()))
}
process.on('disconnect', () => process.exit())
