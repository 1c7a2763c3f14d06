// Checked by the compiler; nothing here runs.
import { createServer } from 'node:http'
import express, { type Request } from 'express'
import Koa, { type ParameterizedContext } from 'koa'
import { byToken, dashboard } from '../../src/dashboard/dashboard.ts'
import { createCache } from '../../src/index.ts'

// Dashboards over caches of every kind, in every framework, with its own request or context.

export function mounted(): void {
  const cache = createCache<'products'>()
  const isUser = (req: Request) => (req.get('x-user') === 'ann' ? { name: 'ann' } : undefined)
  express().use('/cache', dashboard(cache, { authorize: isUser }))
  express().use('/cache', dashboard(cache, { authorize: byToken({ ann: 'a long enough token' }) }))

  const byState = (_req: unknown, ctx: ParameterizedContext<{ user?: string }>) => ctx.state.user === 'ann'
  new Koa<{ user?: string }>().use(dashboard(cache, { authorize: byState, path: '/cache' }).koa)
  new Koa().use(dashboard(cache, { authorize: async () => ({ name: 'ann' }) }).koa)

  createServer(dashboard(cache, { authorize: (req) => req.headers['x-user'] === 'ann' }))

  // @ts-expect-error node:http has no such request
  createServer(dashboard(cache, { authorize: isUser }))
  // @ts-expect-error whoever may see it has a name
  dashboard(cache, { authorize: () => ({ user: 'ann' }) })
}
