import http from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'
import { PRODUCTS } from './shop.ts'
import type { Troubles } from './troubles.ts'

const VISITORS = 24
/** So many products are what most visitors look at. */
const POPULAR = 100
const LONGEST_PAUSE = 150

interface Visit {
  readonly method?: string
  readonly path: string
  readonly headers?: Record<string, string>
}

/** Has visitors come and go until they are told to stop. Returns the way to tell them, which waits for the last answer. */
export function drive(port: number, troubles: Troubles): () => Promise<void> {
  const agent = new http.Agent({ keepAlive: true })
  let isOver = false
  const stroll = async (choose: (troubles: Troubles) => Visit | undefined) => {
    while (!isOver) {
      const visit = choose(troubles)
      if (visit) await ask(agent, port, visit)
      await sleep(LONGEST_PAUSE * Math.random())
    }
  }
  const all = [...Array.from({ length: VISITORS }, () => stroll(someVisit)), stroll(someWrite)]
  const crawlers = Array.from({ length: VISITORS }, () => stroll(someCrawl))
  return async () => {
    isOver = true
    await Promise.all([...all, ...crawlers])
    agent.destroy()
  }
}

function someVisit({ isTracked }: Troubles): Visit {
  const headers: Record<string, string> = isTracked ? { cookie: 'campaign=spring' } : {}
  const chance = Math.random()
  if (chance < 0.55) return { path: `/products/${Math.floor(POPULAR * Math.random() ** 2)}`, headers }
  if (chance < 0.7) return { path: '/products', headers }
  if (chance < 0.85) return { path: `/search?q=${someQuery()}`, headers }
  if (chance < 0.93) return { path: '/report', headers }
  return { path: '/account', headers: { authorization: 'Bearer of-a-visitor' } }
}

function someQuery(): string {
  return Math.random() < 0.1 ? 'offers' : `tea${Math.floor(10 * Math.random())}`
}

function someWrite(): Visit | undefined {
  const chance = Math.random()
  if (chance < 0.3) return { method: 'PUT', path: `/products/${Math.floor(POPULAR * Math.random())}` }
  return chance < 0.35 ? { method: 'POST', path: '/import' } : undefined
}

function someCrawl({ isCrawled }: Troubles): Visit | undefined {
  return isCrawled ? { path: `/products/${Math.floor(PRODUCTS * Math.random())}` } : undefined
}

function ask(agent: http.Agent, port: number, { method = 'GET', path, headers = {} }: Visit): Promise<void> {
  return new Promise((resolve, reject) => {
    const sent = http.request({ agent, host: '127.0.0.1', port, method, path, headers }, (answer) => {
      answer.resume().on('end', resolve).on('error', reject)
    })
    sent.on('error', reject).end()
  })
}
