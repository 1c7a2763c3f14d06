import type { Browser, BrowserContextOptions } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { ask } from '../support/http.ts'
import { findChromium, launch, open, type WatchedPage } from './browser.ts'
import { HOSTILE, openShop, type Shop } from './shop.ts'

const executable = findChromium()
if (!executable) {
  console.warn(
    '\n!!! There is no Chromium on the path: THE PAGE OF THE DASHBOARD IS NOT TESTED. apt-get install chromium !!!\n',
  )
}

it.runIf(process.env.CI)('CI has a Chromium to test the page in', () => expect(executable).toBeDefined())

describe.skipIf(!executable)('the page', () => {
  let browser: Browser

  beforeAll(async () => {
    browser = await launch(executable!)
  }, 60_000)
  afterAll(() => browser?.close())

  /** A shop for one test, and a page open on its dashboard. Nothing may go wrong in the page, whatever the test is about. */
  async function watch(
    hash = '',
    options: BrowserContextOptions & { readOnly?: boolean; perSecond?: number } = {},
  ): Promise<WatchedPage & { shop: Shop }> {
    const { readOnly = false, perSecond = 0, ...context } = options
    const shop = await openShop({ readOnly })
    const stop = perSecond > 0 ? shop.visit(perSecond) : () => {}
    const watched = await open(browser, `${shop.server.url}/cache/${hash}`, context)
    onTestFinished(async () => {
      stop()
      await watched.page.context().close()
      await shop.close()
      expect(watched.faults).toEqual([])
    })
    return { ...watched, shop }
  }

  const fill = (shop: Shop, ids: readonly number[]) => {
    for (const id of ids)
      shop.cache.set('GET /products/:id', { params: { id } }, ['products', `product:${id}`], {
        body: `{"id":${id}}`,
        headers: { 'content-type': 'application/json' },
      })
  }

  it('shows at once what there is, and whose it is', async () => {
    const { page, bytes } = await watch()
    await page.getByText('Well').waitFor()
    expect(await page.locator('.tiles .card').count()).toBe(6)
    expect(await page.locator('#whose').textContent()).toMatch(
      new RegExp(`This process alone: ${process.pid} on .* · you are ann`),
    )
    expect(await page.title()).toBe('overview · tagcache')
    await page.locator('.chart canvas').first().waitFor()
    expect(bytes()).toBeGreaterThan(20_000)
    expect(bytes()).toBeLessThan(100_000)
  })

  it('goes on by itself while requests come', async () => {
    const { page } = await watch('', { perSecond: 100 })
    const requests = async () =>
      Number((await page.locator('.tiles .card').nth(1).locator('.tile-more').textContent())!.replace(/\D/g, ''))
    await expect.poll(requests, { timeout: 10_000 }).toBeGreaterThan(50)
    const before = await requests()
    await expect.poll(requests, { timeout: 10_000 }).toBeGreaterThan(before + 50)
    expect(await page.locator('#live').textContent()).toBe('Live')
    await expect.poll(() => page.locator('.legend b').first().textContent()).toMatch(/^[1-9]/)
  })

  it('sorts routes, and keeps the order while numbers change', async () => {
    const { page } = await watch('#routes', { perSecond: 100 })
    const routes = () => page.locator('tbody tr td:first-child').allTextContents()
    await expect.poll(async () => (await routes()).length, { timeout: 10_000 }).toBeGreaterThan(3)
    expect((await routes())[0]).toBe('GET /products/:id')
    await page.getByRole('button', { name: 'Route', exact: true }).click()
    const sorted = (await routes()).toSorted((a, b) => a.localeCompare(b))
    expect(await routes()).toEqual(sorted)
    expect(await page.locator('th').first().getAttribute('aria-sort')).toBe('ascending')
    const cell = page.locator('tr', { hasText: 'GET /products/:id' }).locator('td').nth(1)
    const before = await cell.textContent()
    await expect.poll(() => cell.textContent(), { timeout: 10_000 }).not.toBe(before)
    expect((await routes()).toSorted((a, b) => a.localeCompare(b))).toEqual(await routes())
    await page.getByText('credentials').first().waitFor()
  })

  it('purges a tag once that is confirmed, and shows that it happened', async () => {
    const { page, shop } = await watch('#tags')
    fill(shop, [1, 2])
    await page.reload()
    const row = page.locator('tr', { hasText: 'product:1' })
    await row.getByRole('button', { name: 'Purge product:1' }).click()
    await page.getByRole('button', { name: 'Cancel' }).click()
    expect(shop.cache.getByTags('product:1')).toBeDefined()
    await row.getByRole('button', { name: 'Purge product:1' }).click()
    await page.getByRole('button', { name: 'Purge', exact: true }).click()
    await page.getByText('product:1: purged.').waitFor()
    expect(shop.cache.getByTags('product:1')).toBeUndefined()
    expect(shop.cache.getByTags('product:2')).toBeDefined()
    await row.waitFor({ state: 'detached' })
    await page.getByRole('link', { name: 'Activity' }).click()
    await page.locator('.events li', { hasText: 'product:1' }).getByText('by ann').waitFor()
  })

  it('shows purges of others as they happen', async () => {
    const { page, shop } = await watch('#activity')
    await page.getByText('So far nothing').waitFor()
    shop.cache.invalidateTags('elsewhere', { by: 'the nightly import' })
    await page.locator('.events li', { hasText: 'elsewhere' }).getByText('by the nightly import').waitFor()
  })

  it('purges everything only where it is asked for twice', async () => {
    const { page, shop } = await watch()
    fill(shop, [1])
    await page.getByRole('button', { name: 'Purge everything' }).click()
    const yes = page.getByRole('button', { name: 'Purge', exact: true })
    expect(await yes.isDisabled()).toBe(true)
    await page.keyboard.type('everythin')
    await page.keyboard.press('Enter')
    expect(await yes.isDisabled()).toBe(true)
    expect(shop.cache.stats().entries).toBe(1)
    await page.keyboard.type('g')
    await yes.click()
    await page.getByText('Everything: purged.').waitFor()
    expect(shop.cache.stats().entries).toBe(0)
  })

  it('purges a route, and one entry', async () => {
    const { page, shop } = await watch('#entries')
    fill(shop, [1, 2, 3])
    await page.getByRole('button', { name: 'Look again' }).click()
    await page.getByRole('link', { name: /id=2/ }).click()
    await page.getByRole('button', { name: 'Purge entry' }).click()
    await page.getByRole('button', { name: 'Purge', exact: true }).click()
    await page.getByText('id=2: purged.').waitFor()
    await page.getByRole('link', { name: /id=1/ }).waitFor()
    expect(shop.cache.stats().entries).toBe(2)
    await page.goto(`${shop.server.url}/cache/#tags`)
    await page.getByLabel('Kind').selectOption('route')
    await page.getByRole('button', { name: 'Purge GET /products/:id' }).click()
    await page.getByRole('button', { name: 'Purge', exact: true }).click()
    await page.getByText('GET /products/:id: purged.').waitFor()
    expect(shop.cache.stats().entries).toBe(0)
  })

  it('offers no purge where nobody may', async () => {
    const { page, shop } = await watch('#tags', { readOnly: true })
    fill(shop, [1])
    await page.reload()
    await page.getByText('product:1').waitFor()
    expect(await page.getByRole('button', { name: /Purge/ }).count()).toBe(0)
    expect(await page.locator('#whose').textContent()).toContain('may only look')
  })

  it('finds tags by how they begin', async () => {
    const { page, shop } = await watch('#tags')
    fill(shop, [1, 2])
    await page.reload()
    await page.getByText('product:1').waitFor()
    await page.keyboard.press('/')
    await page.keyboard.type('product:2')
    await page.locator('td', { hasText: 'product:2' }).waitFor()
    await expect.poll(() => page.locator('tbody tr').count()).toBe(1)
    await page.getByRole('link', { name: 'product:2' }).click()
    await page.getByRole('link', { name: 'GET /products/:id?id=2' }).click()
    await page.getByText('{"id":2}').waitFor()
  })

  it('shows hostile tags, keys, headers and bodies as text', async () => {
    const { page, shop } = await watch('#tags')
    const body = `<script>document.title='taken'</script>${HOSTILE}`
    shop.cache.set(HOSTILE, { query: `q=${HOSTILE}` }, [HOSTILE], {
      body,
      headers: { 'content-type': 'text/html', 'x-hostile': HOSTILE },
    })
    shop.cache.set('GET /svg', {}, [], {
      body: `<svg onload="document.title='taken'"/>`,
      headers: { 'content-type': 'image/svg+xml' },
    })
    shop.cache.invalidateTags(`${HOSTILE} purged`, { by: HOSTILE })
    await page.reload()
    await page.getByRole('link', { name: HOSTILE, exact: true }).click()
    await page.locator('tbody a.name').click()
    await page.locator('pre', { hasText: body }).waitFor()
    await page.locator('dd', { hasText: HOSTILE }).first().waitFor()
    await page.getByRole('link', { name: 'Activity' }).click()
    await page.locator('.events').getByText(`by ${HOSTILE}`).waitFor()
    await page.goto(`${shop.server.url}/cache/#entry?key=${encodeURIComponent(shop.cache.keyFromRequest('GET /svg'))}`)
    await page.locator('pre', { hasText: '<svg onload' }).waitFor()
    await page.goto(`${shop.server.url}/cache/#entries?by=tag&value=${encodeURIComponent(HOSTILE)}`)
    await page.locator('tbody a.name').waitFor()
    await page.goto(`${shop.server.url}/cache/#${encodeURIComponent(HOSTILE)}`)
    expect(await page.title()).not.toContain('taken')
    expect(await page.locator('main img, main script, main svg').count()).toBe(0)
  })

  it('does not let anything in that is no text, even if it tried', async () => {
    const { page, faults } = await watch()
    await page.getByText('Well').waitFor()
    const write = `try { document.body.innerHTML = '<b>x</b>'; 'written' } catch { 'refused' }`
    expect(await page.evaluate(write)).toBe('refused')
    const add = `const script = document.createElement('script')
      script.append('document.title = "taken"')
      document.body.append(script)
      document.title === 'taken'`
    expect(await page.evaluate(add).catch(() => false)).toBe(false)
    // That the browser has refused is what it says now.
    expect(faults.splice(0).every((fault) => /Trusted|Content Security Policy/i.test(fault))).toBe(true)
  })

  it('explains a request: the verdict, the key, what is stored, and who has said which option', async () => {
    const { page, shop } = await watch('#explain')
    await ask(`${shop.server.url}/products/1`)
    shop.cache.invalidateTags('product:1', { by: 'the nightly import' })
    await ask(`${shop.server.url}/products/1`)
    await page.getByLabel('Path or URL').first().fill('/products/1')
    await page.keyboard.press('Enter')
    await page.locator('.verdict .chip', { hasText: 'hit' }).waitFor()
    await page.locator('.verdict', { hasText: 'It would hit: a fresh response is stored.' }).waitFor()
    const rows = await page.locator('.parts tr').allInnerTexts()
    expect(rows.map((row) => row.replace(/\s+/g, ' '))).toEqual([
      'Route GET /products/:id',
      `Host 127.0.0.1:${shop.server.port}`,
      'Parameter id 1',
    ])
    await page.locator('.life.fresh', { hasText: 'of 1 min · fresh for' }).waitFor()
    const purged = page.locator('dt', { hasText: 'product:1' }).first().locator('+ dd')
    await expect.poll(() => purged.innerText()).toMatch(/(?:now|ago) by the nightly import/)
    const option = (name: string) =>
      page.locator('tr', { has: page.locator('th', { hasText: new RegExp(`^${name}$`) }) })
    expect((await option('ttl').innerText()).split(/\t/).slice(1)).toEqual(['1 min', 'the cache'])
    expect((await option('tags').innerText()).split(/\t/).slice(1)).toEqual(['a function', 'the route'])
    expect(await option('maxBodySize').isVisible()).toBe(false)
    await page.getByText('more are as by default').click()
    expect((await option('maxBodySize').innerText()).split(/\t/).slice(1)).toEqual(['4 MB', 'default'])
    // It can be loaded again.
    await page.reload()
    await page.locator('.verdict', { hasText: 'It would hit' }).waitFor()
  })

  it('says why a request with these headers goes past the cache, and what is no header', async () => {
    const { page, shop } = await watch('#explain')
    fill(shop, [1])
    await page.getByLabel('Path or URL').first().fill('/products/1')
    await page.getByLabel('Headers').first().fill('Cookie: a=b')
    await page.getByRole('button', { name: 'Explain' }).click()
    await page.locator('.verdict code', { hasText: 'credentials' }).waitFor()
    await page.locator('.verdict', { hasText: 'the route does not say who may share its responses' }).waitFor()
    expect(page.url()).not.toContain('a=b')
    await page.getByLabel('Headers').first().fill('no header')
    await page.getByRole('button', { name: 'Explain' }).click()
    await page.getByText('“no header” is no header').waitFor()
  })

  it('says in which part of the key two requests differ first, and marks it', async () => {
    const { page, shop } = await watch('#explain')
    fill(shop, [1])
    expect(await page.getByLabel('Path or URL').nth(1).isVisible()).toBe(false)
    await page.getByLabel('Path or URL').first().fill('/search?q=tea&page=1')
    await page.getByLabel(/Compare/).check()
    expect(await page.getByLabel('Path or URL').nth(1).inputValue()).toBe('/search?q=tea&page=1')
    await page.getByLabel('Path or URL').nth(1).fill('/search?utm=mail&q=cup&page=1')
    await page.keyboard.press('Enter')
    await page.locator('.verdict', { hasText: 'They do not share' }).waitFor()
    const verdict = await page.locator('.verdict').innerText()
    expect(verdict).toContain('Their keys differ first in Query q: tea for the first, cup for the second.')
    expect((await page.locator('.first-difference').allInnerTexts()).map((row) => row.split(/\s+/))).toEqual([
      ['Query', 'q', 'differs', 'first', 'tea', 'cup'],
    ])
    expect((await page.locator('.difference').allInnerTexts()).map((row) => row.split(/\s+/))).toEqual([
      ['Query', 'utm', 'differs', 'nothing', 'mail'],
    ])
    await page.getByLabel('Path or URL').nth(1).fill('/search?page=1&q=tea')
    await page.keyboard.press('Enter')
    await page.locator('.verdict', { hasText: 'They share one response' }).waitFor()
    expect(await page.locator('.first-difference, .difference').count()).toBe(0)
  })

  it('is used with the keyboard alone', async () => {
    const { page, shop } = await watch()
    fill(shop, [1])
    await page.getByText('Well').waitFor()
    await page.keyboard.press('Tab')
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to the numbers')
    const tabTo = async (name: string) => {
      for (let at = 0; at < 40; at++) {
        const focused = await page.evaluate(
          `document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent`,
        )
        if (focused === name) return
        await page.keyboard.press('Tab')
      }
      throw new Error(`${name} is not reached`)
    }
    await tabTo('Tags')
    await page.keyboard.press('Enter')
    await page.getByText('product:1').waitFor()
    await tabTo('Purge product:1')
    await page.keyboard.press('Enter')
    await page.keyboard.press('Escape')
    expect(shop.cache.getByTags('product:1')).toBeDefined()
    expect(await page.evaluate(`document.activeElement.getAttribute('aria-label')`)).toBe('Purge product:1')
    await page.keyboard.press('Enter')
    await page.keyboard.press('Enter')
    await page.getByText('product:1: purged.').waitFor()
  })

  it('keeps the focus while numbers change', async () => {
    const { page } = await watch('#routes', { perSecond: 60 })
    const button = page.getByRole('button', { name: 'Purge GET /products/:id' })
    await button.focus()
    const cell = page.locator('tr', { hasText: 'GET /products/:id' }).locator('td').nth(1)
    const before = await cell.textContent()
    await expect.poll(() => cell.textContent(), { timeout: 10_000 }).not.toBe(before)
    expect(await page.evaluate(`document.activeElement.getAttribute('aria-label')`)).toBe('Purge GET /products/:id')
  })

  it.each(['#overview', '#routes', '#tags', '#entries', '#activity', '#explain', 'entry'])(
    'fits on a phone: %s',
    async (hash) => {
      const { page, shop } = await watch('', { viewport: { width: 375, height: 700 }, perSecond: 60 })
      const long = 'x'.repeat(200)
      shop.cache.set(`GET /${long}`, {}, [long], {
        body: long.repeat(5),
        headers: { 'content-type': 'text/plain', 'x-long': long },
      })
      shop.cache.invalidateTags(`${long} purged`, { by: long })
      await page.getByText('Well').waitFor()
      const key = encodeURIComponent(shop.cache.keyFromRequest(`GET /${long}`))
      await page.goto(`${shop.server.url}/cache/${hash === 'entry' ? `#entry?key=${key}` : hash}`)
      await page.waitForTimeout(1500)
      const root = 'document.documentElement'
      const widths = await page.evaluate(`[${root}.scrollWidth, ${root}.clientWidth]`)
      expect(widths).toEqual([375, 375])
    },
  )

  it('is dark where that is wanted', async () => {
    const colours: [string, string][] = []
    for (const colorScheme of ['light', 'dark'] as const) {
      const { page } = await watch('', { colorScheme })
      await page.getByText('Well').waitFor()
      const style = 'getComputedStyle(document.body)'
      colours.push(await page.evaluate<[string, string]>(`[${style}.backgroundColor, ${style}.color]`))
    }
    const light = (colour: string) => Number(/\d+/.exec(colour)) > 128
    expect(colours.map(([back, text]) => [light(back), light(text)])).toEqual([
      [true, false],
      [false, true],
    ])
  })

  it('says so when the server goes away, and goes on when it is back', async () => {
    const { page, shop, faults } = await watch()
    await page.getByText('Live', { exact: true }).waitFor()
    await page.context().setOffline(true)
    shop.server.server.closeAllConnections()
    await page.getByText('Not live').waitFor()
    await page.context().setOffline(false)
    await page.getByText('Live', { exact: true }).waitFor({ timeout: 20_000 })
    expect(faults.splice(0).every((fault) => /ERR_|Failed to load/.test(fault))).toBe(true)
  })
})
