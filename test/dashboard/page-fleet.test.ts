import { Redis } from 'ioredis'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { redis } from '../../src/backends/redis/redis.ts'
import { createCache } from '../../src/index.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { inBrowser, type Watched } from './in-browser.ts'
import { HOSTILE } from './shop.ts'

let server: RedisServer
beforeAll(async () => {
  server = await startRedis()
})
afterAll(() => server.stop())

const hit = { type: 'trace', outcome: 'hit', route: 'GET /elsewhere', stored: false, cost: 500 } as const

inBrowser('whose numbers the page shows', (watch) => {
  function shared(namespace: string) {
    const client = new Redis(server.port, { maxRetriesPerRequest: 1 })
    onTestFinished(() => client.disconnect())
    return redis(client, { namespace })
  }

  const whose = ({ page }: Watched) => page.locator('#whose').textContent()
  const turnToFleet = ({ page }: Watched) => page.getByRole('button', { name: 'Fleet' }).click()

  it('those of this process, without a switch, where nobody else shares what is stored', async () => {
    const watched = await watch()
    await watched.page.getByText('Well').waitFor()
    expect(await watched.page.getByRole('button', { name: 'Fleet' }).isVisible()).toBe(false)
    await watched.page.getByRole('link', { name: 'Tags' }).click()
    await expect.poll(() => whose(watched)).toMatch(/^What the backend of \d+ on .* holds/)
  })

  it('those of all processes where that is asked for, and says so in each view', async () => {
    const watched = await watch('', { backend: shared('shop') })
    const { page } = watched
    const other = createCache({ backend: shared('shop'), publishStats: '1s' })
    onTestFinished(() => other.close())
    for (let at = 0; at < 7; at++) other.flow.events.emit(hit)
    await page.getByText('Well').waitFor()
    expect(await whose(watched)).toMatch(/^This process alone: /)
    expect(await page.getByLabel('Processes').isVisible()).toBe(false)
    await turnToFleet(watched)
    const rows = page.getByLabel('Processes').locator('tbody tr')
    await expect.poll(() => rows.count(), { timeout: 20_000 }).toBe(2)
    await expect.poll(() => whose(watched)).toMatch(/^The fleet: 2 processes, as \d+ on .* knows them/)
    await expect.poll(() => page.locator('.tiles').innerText(), { timeout: 20_000 }).toContain('7 so far')
    expect(await page.getByRole('button', { name: 'Fleet' }).getAttribute('aria-pressed')).toBe('true')
    await page.getByText('The charts, and what happened lately, are of this process alone.').waitFor()
    await page.getByRole('link', { name: 'Routes', exact: true }).click()
    await page.locator('tr', { hasText: 'GET /elsewhere' }).locator('td', { hasText: '100 %' }).waitFor()
    await page.getByRole('button', { name: 'This process' }).click()
    await page.getByText('No request has come to a cached() yet.').waitFor()
    await page.getByRole('link', { name: 'Tags' }).click()
    await expect.poll(() => whose(watched)).toMatch(/^What all processes share, as /)
    expect(await page.getByRole('button', { name: 'Fleet' }).isVisible()).toBe(false)
    await page.getByRole('link', { name: 'Activity' }).click()
    await expect.poll(() => whose(watched)).toMatch(/^This process alone: /)
  })

  it('says why those of all processes are not there', async () => {
    const watched = await watch('', { backend: shared('silent'), expected: /503/ })
    const { page } = watched
    const body = JSON.stringify({ error: { code: 'backend-away', message: 'The backend does not answer.' } })
    await page.route('**/api/*?of=fleet', (route) => route.fulfill({ status: 503, body }))
    await turnToFleet(watched)
    await page.locator('.notice', { hasText: 'The backend does not answer.' }).waitFor()
    await page.getByRole('link', { name: 'Routes', exact: true }).click()
    await page.locator('.notice', { hasText: 'The backend does not answer.' }).waitFor()
  })

  it('shows names of processes as text, and how many cannot be read', async () => {
    const watched = await watch('', { backend: shared('hostile') })
    const { page } = watched
    await page.route('**/api/stats?of=fleet', async (route) => {
      const answer = await (await route.fetch()).json()
      const node = { ...answer.nodes[0], id: HOSTILE, isAsked: false, health: HOSTILE, at: answer.now + 5000 }
      answer.nodes.push(node)
      answer.of.unread = 3
      await route.fulfill({ json: answer })
    })
    await turnToFleet(watched)
    const row = page.locator('tr', { hasText: HOSTILE })
    await row.waitFor()
    expect(await row.innerText()).toContain('0 s ago')
    await expect.poll(() => whose(watched)).toContain('and 3 more that cannot be read')
    expect(await page.title()).not.toContain('taken')
    expect(await page.locator('main img').count()).toBe(0)
  })
})
