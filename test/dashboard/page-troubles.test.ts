import { expect, it } from 'vitest'
import { fill, inBrowser } from './in-browser.ts'

const NO_CONNECTION = /ERR_|Failed to load/

inBrowser('the page, in trouble', (watch) => {
  it('says so when the server goes away, and goes on when it is back', async () => {
    const { page, shop } = await watch('', { expected: NO_CONNECTION })
    await page.getByText('Live', { exact: true }).waitFor()
    await page.context().setOffline(true)
    shop.server.server.closeAllConnections()
    await page.getByText('Not live').waitFor()
    const banner = page.getByRole('alert')
    expect(await banner.innerText()).toMatch(
      /^The server does not answer\. What you see is as it was at \d\d:\d\d:\d\d\./,
    )
    expect(await page.locator('main.past').count()).toBe(1)
    await page.context().setOffline(false)
    await page.getByText('Live', { exact: true }).waitFor({ timeout: 20_000 })
    expect(await banner.isVisible()).toBe(false)
    expect(await page.locator('main.past').count()).toBe(0)
  })

  it('makes no alarm of a connection that is ended and made anew', async () => {
    const { page, shop } = await watch('', { expected: NO_CONNECTION })
    await page.getByText('Live', { exact: true }).waitFor()
    shop.server.server.closeAllConnections()
    await page.getByText('Connecting again').waitFor()
    await page.getByText('Live', { exact: true }).waitFor({ timeout: 20_000 })
    expect(await page.locator('#lost').textContent()).toBe('')
  })

  it('says why nothing comes any more where the visitor may not watch', async () => {
    let isAllowed = true
    const { page, shop } = await watch('', {
      authorize: () => (isAllowed ? { name: 'ann' } : undefined),
      expected: NO_CONNECTION,
    })
    await page.getByText('Live', { exact: true }).waitFor()
    isAllowed = false
    shop.server.server.closeAllConnections()
    await page.getByRole('alert').filter({ hasText: 'You may not see this.' }).waitFor({ timeout: 20_000 })
  })

  it.each([
    ['#tags', 'tags', 'product:1'],
    ['#entries', 'entries', 'GET /products/:id?id=1'],
  ])('keeps what it has shown while the backend does not answer, and claims nothing: %s', async (hash, name, text) => {
    const { page, shop } = await watch('#routes', { expected: /503/ })
    fill(shop, [1])
    await page.getByRole('link', { name: hash === '#tags' ? 'Tags' : 'Entries' }).click()
    await page.getByText(text, { exact: true }).waitFor()
    const body = JSON.stringify({ error: { code: 'backend-away', message: 'The backend does not answer.' } })
    await page.route(`**/api/${name}?**`, (route) => route.fulfill({ status: 503, body }))
    const lookAgain = async () => {
      if (hash === '#entries') await page.getByRole('button', { name: 'Look again' }).click()
      else shop.cache.invalidateTags('another')
    }
    await lookAgain()
    await page.locator('.notice', { hasText: 'The backend does not answer.' }).waitFor()
    expect(await page.getByText(text, { exact: true }).isVisible()).toBe(true)
    expect(await page.locator('.empty').isVisible()).toBe(false)
    await page.unroute(`**/api/${name}?**`)
    // Tags are looked for again without being asked for.
    if (hash === '#entries') await lookAgain()
    await page.locator('main .notice').waitFor({ state: 'hidden' })
  })

  it('lists ten thousand tags, a page at a time, and finds one', async () => {
    const { page, shop } = await watch('#tags')
    for (let id = 0; id < 10_000; id++)
      shop.cache.set('GET /many/:id', { params: { id } }, [`many:${id}`], { body: '' })
    await page.reload()
    const rows = page.locator('tbody tr')
    await expect.poll(() => rows.count()).toBe(100)
    await page.getByText('The first 100; they are sorted among themselves.').waitFor()
    await page.getByRole('button', { name: 'More' }).click()
    await expect.poll(() => rows.count()).toBe(200)
    await page.getByLabel('Begins with').fill('many:9999')
    await expect.poll(() => rows.count()).toBe(1)
    await page.getByRole('link', { name: 'many:9999' }).click()
    await expect.poll(() => rows.count()).toBe(1)
    await page.getByText('GET /many/:id?id=9999').waitFor()
    // Who comes back finds what he has looked for.
    await page.reload()
    await page.getByText('GET /many/:id?id=9999').waitFor()
  })

  it('says what a visitor cannot do where it is refused by the server alone', async () => {
    const { page, shop } = await watch('#tags', { expected: /403/ })
    fill(shop, [1])
    await page.reload()
    const body = JSON.stringify({ error: { code: 'read-only', message: 'Here nobody may purge.' } })
    await page.route('**/api/purge', (route) => route.fulfill({ status: 403, body }))
    await page.getByRole('button', { name: 'Purge product:1' }).click()
    await page.getByRole('button', { name: 'Purge', exact: true }).click()
    await page.getByText('product:1: not purged. Here nobody may purge.').waitFor()
  })
})
