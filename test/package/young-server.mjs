import express from 'express'
import Koa from 'koa'
import { tagcache as expressCache } from '../../dist/adapters/express.js'
import { tagcache as koaCache } from '../../dist/adapters/koa.js'

// One application, asked from another process; run with --trace-gc, whose lines tell how much outlives each small collection.

const headers = { 'Cache-Control': 'no-store' }
const body = { text: 'a'.repeat(600) }

function expressWith(...layers) {
  return express().get('/', ...layers, (_req, res) => void res.set(headers).json(body))
}

const applications = {
  'express alone': () => expressWith(),
  'express hit': () => express().get('/', expressCache().cached(), (_req, res) => void res.json(body)),
  'express no-store': () => expressWith(expressCache().cached()),
  'express invalidates': () => expressWith(expressCache().invalidates('a')),
  'koa no-store': () => {
    const app = new Koa()
    return app.use(koaCache().cached()).use((ctx) => {
      ctx.set(headers)
      ctx.body = body
    })
  },
}

const server = applications[process.argv[2]]().listen(0, '127.0.0.1', () =>
  console.log(`PORT ${server.address().port}`),
)
