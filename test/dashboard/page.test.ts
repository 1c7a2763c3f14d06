import { expect, it } from 'vitest'
import { ask } from '../support/http.ts'
import { findChromium } from './browser.ts'
import { fill, inBrowser } from './in-browser.ts'
import { HOSTILE } from './shop.ts'

const executable = findChromium()
if (!executable) {
  console.warn(
    '\n!!! There is no Chromium on the path: THE PAGE OF THE DASHBOARD IS NOT TESTED. apt-get install chromium !!!\n',
  )
}

it.runIf(process.env.CI)('CI has a Chromium to test the page in', () => expect(executable).toBeDefined())

inBrowser('the page', (watch) => {
  it('shows at once what there is, and whose it is', async () => {
    const { page } = await watch()
    await page.getByText('Well').waitFor()
    expect(await page.locator('.tiles .card').count()).toBe(6)
    expect(await page.locator('#whose').textContent()).toMatch(
      new RegExp(`This process alone: ${process.pid} on .* · you are ann`),
    )
    expect(await page.title()).toBe('overview · tagcache')
    await page.locator('.chart canvas').first().waitFor()
  })

  it('is small: less than 100 kB come over the connection, headers and all', async () => {
    const { page, loaded } = await watch()
    await page.locator('.chart canvas').first().waitFor()
    expect(loaded.transferred).toBeGreaterThan(20_000)
    expect(loaded.transferred).toBeLessThan(100_000)
    expect(loaded.own).toBeGreaterThan(50_000)
    expect(loaded.own).toBeLessThan(110_000)
    expect(loaded.charts).toBeLessThan(60_000)
  })

  it('shows how long answers take, from the cache and by the handler, and which share comes from it', async () => {
    const { page } = await watch('', { perSecond: 100 })
    const card = (title: string) =>
      page.locator('.charts .card', { has: page.locator('h2', { hasText: new RegExp(`^${title}`) }) })
    const values = async (title: string) =>
      (await card(title).locator('.legend b').allTextContents()).map((text) => Number.parseFloat(text))
    await expect.poll(() => values('Latency'), { timeout: 10_000 }).not.toContain(Number.NaN)
    const [hit, slowHit, handler, slowHandler] = await values('Latency')
    expect(hit! <= slowHit! && handler! <= slowHandler!).toBe(true)
    // Handlers of the shop sleep for 15 ms at the least.
    expect([hit! < 15, handler! >= 14, slowHandler! < 1000]).toEqual([true, true, true])
    await expect.poll(async () => (await values('From the cache'))[0], { timeout: 10_000 }).toBeGreaterThan(20)
    const memory = () => card('Memory').locator('.legend').textContent()
    await expect.poll(memory, { timeout: 10_000 }).toMatch(/held [\d.]+ k?B.*bound 64 MB/)
    await expect.poll(() => page.locator('.chart canvas').count()).toBe(4)
  })

  it('says so where there is no traffic yet', async () => {
    const { page } = await watch()
    await page.getByText('no traffic yet').waitFor()
    await page.getByText('So far nothing was purged, and nothing has failed.').waitFor()
    await page.getByRole('link', { name: 'Routes' }).click()
    await page.getByText('No request has come to a cached() yet.').waitFor()
    await page.getByRole('link', { name: 'Tags' }).click()
    await page.getByText('Nothing stored carries such a tag.').waitFor()
    await page.getByRole('link', { name: 'Entries' }).click()
    await page.getByText('Nothing is stored there.').waitFor()
  })

  it('leaves no charts behind in views that are shown no more', async () => {
    const { page } = await watch()
    const charts = () => page.evaluate(`uPlot.sync('time').plots.length`)
    for (const [name, count] of [
      ['Activity', 1],
      ['Overview', 4],
      ['Routes', 0],
      ['Overview', 4],
    ] as const) {
      await page.getByRole('link', { name, exact: true }).click()
      await expect.poll(charts).toBe(count)
    }
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
    shop.cache.invalidateTags('from a route')
    await page.locator('.events li', { hasText: 'from a route' }).getByText('by the application').waitFor()
    expect(await page.locator('.events time').first().getAttribute('datetime')).toMatch(/^\d{4}-.*Z$/)
  })

  it('lets nothing move away under the hand of who reads what happened, nor the focus', async () => {
    const { page, shop } = await watch('#activity')
    shop.cache.invalidateTags('first')
    const link = page.getByRole('link', { name: 'first' })
    await link.waitFor()
    await link.focus()
    shop.cache.invalidateTags('second')
    await page.getByRole('button', { name: 'Show 1 new' }).waitFor()
    expect(await page.locator('.events li').count()).toBe(1)
    await page.getByRole('button', { name: 'Show 1 new' }).click()
    await page.getByRole('link', { name: 'second' }).waitFor()
    await page.getByRole('link', { name: 'Overview', exact: true }).click()
    await page.mouse.move(0, 0)
    await link.focus()
    shop.cache.invalidateTags('third')
    await page.getByRole('link', { name: 'third' }).waitFor()
    expect(await page.evaluate('document.activeElement.textContent')).toBe('first')
  })

  it('finds what happened by kind and by text', async () => {
    const { page, shop } = await watch('#activity')
    shop.cache.invalidateTags('one', { by: 'Ann' })
    shop.cache.invalidateTags('two', { by: 'bob' })
    shop.cache.flow.events.emit({ type: 'fault', operation: 'lookup', error: new Error('refused') })
    const items = page.locator('.events li')
    await expect.poll(() => items.count()).toBe(3)
    await page.getByLabel('Show').selectOption('All but purges')
    await expect.poll(() => items.allInnerTexts()).toMatchObject([expect.stringContaining('refused')])
    await page.getByLabel('Show').selectOption('Purges alone')
    await page.getByLabel('With the text').fill('ann')
    await expect.poll(() => items.allInnerTexts()).toMatchObject([expect.stringContaining('one')])
    await page.getByLabel('With the text').fill('nobody')
    await page.getByText('Nothing of that kind.').waitFor()
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
    await page.getByLabel('Kind').selectOption('uri')
    await page.getByText('Nothing stored carries such a tag.').waitFor()
    await ask(`${shop.server.url}/products`)
    expect(shop.cache.getByTags('products')).toBeDefined()
    await page.getByLabel('Kind').selectOption('tag')
    await page.getByLabel('Kind').selectOption('uri')
    await page.getByRole('button', { name: `Purge 127.0.0.1:${shop.server.port}/products` }).click()
    await page.getByRole('button', { name: 'Purge', exact: true }).click()
    await page.getByText('/products: purged.').waitFor()
    await expect.poll(() => shop.cache.stats().entries).toBe(2)
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
})
