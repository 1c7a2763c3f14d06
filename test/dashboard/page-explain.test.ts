import { expect, it } from 'vitest'
import { ask } from '../support/http.ts'
import { fill, inBrowser } from './in-browser.ts'

inBrowser('the page, asked why', (watch) => {
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
    // It can be loaded again, and handed on; but a link alone asks nothing of the application.
    const asked: string[] = []
    page.on('request', (request) => asked.push(request.url()))
    await page.reload()
    await expect.poll(() => page.getByLabel('Path or URL').first().inputValue()).toBe('/products/1')
    await expect.poll(() => page.evaluate('document.activeElement.textContent')).toBe('Explain')
    expect(asked.filter((url) => url.includes('/api/explain'))).toEqual([])
    await page.keyboard.press('Enter')
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
})
